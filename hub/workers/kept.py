"""Keeps a key process and a sequencer beside `hub serve`: starts them, and starts them anew when they end."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from hub.errors import Refused
from hub.settings import Settings
from hub.setup import keyd_socket, log_folder

START_S: Final = 60.0
LOOK_S: Final = 0.2
PAUSE_S: Final = 0.8
_log = structlog.get_logger("hub.serve")


@contextmanager
def kept(settings: Settings) -> Iterator[None]:
    """While it lasts, a key process answers: one that is there already, or one of its own, which ends with this process however that ends.
    So with a sequencer, where this process can read the log's signing key: one of several works, the others wait.

    Raises:
        Refused: no key process answers and none could be started; its own message is on standard error.
    """
    socket_path, stopped = keyd_socket(settings), threading.Event()
    keyd = _Child("keyd", lambda: listens(socket_path))
    children = [keyd]
    if not listens(socket_path):
        keyd.start()
    if os.access(log_folder(settings) / "log.key", os.R_OK):
        children.append(_Child("sequencer"))
    keepers = [threading.Thread(target=child.keep, args=(stopped,), daemon=True) for child in children]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stopped.set()
        for keeper in keepers:
            keeper.join()
        for child in children:
            child.stop()


class _Child:
    """The process of `hub <word>`. `serves`: whether one is at work already, this or somebody else's; without it nobody can tell."""

    def __init__(self, word: str, serves: Callable[[], bool] | None = None) -> None:
        self._word, self._serves = word, serves
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts one and waits until it serves, if that can be told."""
        self.stop()
        # Its standard input is a pipe from here: it ends when this process does, even by kill -9. A session of its own: Ctrl-C in a
        # terminal is for this process, which answers what is under way and then ends it.
        command = [str(Path(sys.prefix) / "bin" / "hub"), self._word, "--until-eof"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=os.environ)
        until = time.monotonic() + START_S
        while self._serves is not None and not self._serves():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise Refused(f"`hub {self._word}` did not start; its message is above.")
            time.sleep(0.02)

    def keep(self, stopped: threading.Event) -> None:
        while not stopped.wait(LOOK_S):
            ended = self._process is None or self._process.poll() is not None
            if ended and (self._serves is None or not self._serves()):
                if self._process is not None:
                    _log.error("ended; starting another", process=self._word)
                with suppress(Refused):
                    self.start()
                stopped.wait(PAUSE_S)

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
