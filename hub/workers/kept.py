"""Keeps a key process beside `hub serve` where nobody else runs one: starts it, and starts it anew when it ends."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from hub.errors import Refused
from hub.settings import Settings
from hub.setup import keyd_socket

START_S: Final = 60.0
LOOK_S: Final = 0.2
_log = structlog.get_logger("hub.serve")


@contextmanager
def kept(settings: Settings) -> Iterator[None]:
    """While it lasts, a key process answers: one that is there already, or one of its own, which ends with this process however that ends.

    Raises:
        Refused: none answers and none could be started; its own message is on standard error.
    """
    path, stopped = keyd_socket(settings), threading.Event()
    child = _Child(path)
    if not listens(path):
        child.start()
    keeper = threading.Thread(target=child.keep, args=(stopped,), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stopped.set()
        keeper.join()
        child.stop()


class _Child:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts one and waits until it listens."""
        self.stop()
        # Its standard input is a pipe from here: it ends when this process does, even by kill -9. A session of its own: Ctrl-C in a
        # terminal is for this process, which answers what is under way and then ends it.
        self._process = subprocess.Popen(
            [str(Path(sys.prefix) / "bin" / "hub"), "keyd", "--until-eof"], stdin=subprocess.PIPE, start_new_session=True, env=os.environ
        )
        until = time.monotonic() + START_S
        while not listens(self._path):
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise Refused("The key process did not start; its message is above.")
            time.sleep(0.02)

    def keep(self, stopped: threading.Event) -> None:
        while not stopped.wait(LOOK_S):
            ended = self._process is None or self._process.poll() is not None
            if ended and not listens(self._path):
                _log.error("the key process ended; starting another")
                with suppress(Refused):
                    self.start()

    def stop(self) -> None:
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def listens(path: Path) -> bool:
    """Whether somebody accepts connections at the socket `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
