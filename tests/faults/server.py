"""The hub as processes that may be killed: uvicorn with what `hub serve` gives it, on a loopback port that stays, and the key process."""

import http.client
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import uvicorn

from hub.app import create
from hub.logs import configure
from hub.settings import Settings
from hub.setup import Addresses, keyd_socket
from hub.workers import keyd, sequencing
from hub.workers.kept import listens

PATIENCE_S = 30
# A server that has imported everything and waits to be forked: a kill costs a tenth of a second instead of two.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["hub.app", "hub.workers.keyd", "hub.workers.sequencing", "tests.faults.kills"])


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, or a client could hold it while its server is dead."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def _serve(settings: Settings, addresses: Addresses, port: int, log: Path, sabotage: Callable[[], None] | None) -> None:
    if sabotage is not None:
        sabotage()
    _write_to(log, settings)
    app = create(settings, addresses)
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_config=None, server_header=False)


def _hold_keys(settings: Settings, addresses: Addresses, log: Path, sabotage: Callable[[], None] | None) -> None:
    if sabotage is not None:
        sabotage()
    _write_to(log, settings)
    keyd.run(settings, addresses)


def _write_to(log: Path, settings: Settings) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    configure(settings.log_level)


def _sequence(settings: Settings, addresses: Addresses, log: Path, sabotage: Callable[[], None] | None) -> None:
    if sabotage is not None:
        sabotage()
    _write_to(log, settings)
    sequencing.run(settings, addresses)


class Beside:
    """One process beside the server at a time, started as often as it is killed. `sabotage`, run in it first, is as for the server."""

    target: Callable[..., None]

    def __init__(self, settings: Settings, addresses: Addresses, log: Path) -> None:
        self.settings, self.addresses, self.log = settings, addresses, log
        self.sabotage: Callable[[], None] | None = None
        self._process: BaseProcess | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode if self._process else None

    def start(self) -> None:
        arguments = (self.settings, self.addresses, self.log, self.sabotage)
        self._process = _processes.Process(target=type(self).target, args=arguments, daemon=True)
        self._process.start()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None


class KeyProcess(Beside):
    target = staticmethod(_hold_keys)

    def start(self) -> None:
        """Returns when it listens. One that ends, because its database recovers still, is started anew, as `hub serve` does."""
        until = time.monotonic() + PATIENCE_S
        while not listens(keyd_socket(self.settings)):
            if not self.alive:
                super().start()
            assert time.monotonic() < until, f"the key process does not listen; its log is moved to {self.log.parent.parent / 'logs'}"
            time.sleep(0.02)


class SequencerProcess(Beside):
    target = staticmethod(_sequence)


class Server:
    """One hub process at a time, started as often as it is killed. `sabotage`, run in it first, is for tests that must fail."""

    def __init__(self, settings: Settings, addresses: Addresses, log: Path) -> None:
        self.settings, self.addresses, self.log, self.port = settings, addresses, log, free_port()
        self.sabotage: Callable[[], None] | None = None
        self._process: BaseProcess | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode if self._process else None

    def start(self) -> None:
        """Returns when it answers /healthz, which asks nothing of a database."""
        arguments = (self.settings, self.addresses, self.port, self.log, self.sabotage)
        self._process = _processes.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        until = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.alive, f"the server ended; its log is moved to {self.log.parent.parent / 'logs'}"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
