"""`hub sequencer`: takes the leaves of the log into its tree and signs checkpoints. It alone holds the log's signing key.

One at a time holds an advisory lock of the database; others wait for it, and take over when it goes.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
import structlog

from hub.audit.notes import Signer, VerifierKey
from hub.audit.sequence import AT_ONCE, Memory, Place, Sequencer
from hub.audit.watch import Watch
from hub.db import connect_sequencer, passing_faults, read_roles_secret, transaction
from hub.errors import HubError, Refused
from hub.private_file import read_private
from hub.settings import Settings
from hub.setup import Addresses, log_folder, log_named
from hub.workers.ending import utc_now, wait_for_the_end

EVERY_S: Final = 0.2
LOOK_S: Final = 1.0
BEAT_S: Final = 5.0
MONTHS_S: Final = 3_600.0
MONTHS_AHEAD: Final = 3
LOCK: Final = 9
_log = structlog.get_logger("hub.sequencer")


def log_key(settings: Settings) -> Signer:
    """The log's signing key.

    Raises:
        Refused: its file is missing, damaged or open to others.
    """
    seed = read_private(log_folder(settings) / "log.key", "signing key of the audit log", 32)
    if len(seed) != 32:
        raise Refused(f"The signing key {log_folder(settings) / 'log.key'} is damaged: it has {len(seed)} bytes, not 32.")
    public = log_named(settings)
    found = Signer(public.name, seed)
    if found.key != public:
        raise Refused(f"log.key and log.pub in {log_folder(settings)} are not of one key.")
    return found


class Sequencing:
    """The sequencer's loop, and beside it the watch over the log. Closing it is for the end."""

    def __init__(self, settings: Settings, addresses: Addresses, clock: Callable[[], datetime] = utc_now) -> None:
        """Raises Refused: a file of its folder is missing, damaged or open to others."""
        folder = log_folder(settings)
        self.engine = connect_sequencer(addresses.main, read_roles_secret(folder))
        signer = log_key(settings)
        self.sequencer = Sequencer(self.engine, signer, Memory(folder / "signed.json"), clock)
        self.watch = Watch(self.engine, settings.witness_quorum, settings.witness_alarm_s, settings.log_behind_s)
        self.key: VerifierKey = signer.key
        self.pause = threading.Event()  # while it is set, nothing is taken
        self._held, self._stopped = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Works in threads of its own."""
        self._threads = [threading.Thread(target=target, name="sequencer", daemon=True) for target in (self.run, self._watch)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.engine.dispose()

    def run(self) -> None:
        """Works until it is closed. What fails is told and tried again."""
        while not self._stopped.is_set():
            self._tried(self._turn)
            self._held.clear()
            self._stopped.wait(LOOK_S)

    def _watch(self) -> None:
        """Beside the taking, which must not wait for it: after a start every signature is looked at once more."""
        while not self._stopped.wait(LOOK_S):
            while self._held.is_set() and not self._stopped.is_set() and self._tried(self.watch.look):
                pass

    def _tried(self, what: Callable[[], object]) -> object:
        try:
            return what()
        except HubError as error:
            _log.error("waits", error=error.detail)
        except Exception:
            if not self._stopped.is_set():
                _log.exception("waits")
        return None

    def _turn(self) -> None:
        with self._lock() as held:
            if held is not None:
                self._held.set()
                self._work(held)

    @contextmanager
    def _lock(self) -> Iterator[Any]:
        """The connection that holds the lock; None: another sequencer has it."""
        with passing_faults(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            had = connection.scalar(sa.text(f"select pg_try_advisory_lock(7201, {LOCK})"))
            try:
                yield connection if had else None
            finally:
                connection.invalidate()  # the lock goes with the session

    def _work(self, held: sa.Connection) -> None:
        chores = [
            _Chore(BEAT_S, self.sequencer.beat),
            _Chore(MONTHS_S, self._add_months),
            _Chore(LOOK_S, lambda: held.execute(sa.text("select 1"))),  # raises when the lock is gone
        ]
        while True:
            while not self.pause.is_set() and self.sequencer.take() == AT_ONCE and not self._stopped.is_set():
                pass
            for chore in chores:
                chore.do()
            if self._stopped.wait(EVERY_S):
                return

    def _add_months(self) -> None:
        with transaction(self.engine) as tx:
            tx.rows("select hub.add_audit_months(%s)", (MONTHS_AHEAD,))


class _Chore:
    """Something to do now and then, counted in rounds of the loop."""

    def __init__(self, every_s: float, what: Callable[[], object]) -> None:
        self._rounds, self._what, self._left = max(1, round(every_s / EVERY_S)), what, 0

    def do(self) -> None:
        if self._left == 0:
            self._what()
            self._left = self._rounds
        self._left -= 1


def run(settings: Settings, addresses: Addresses, until: Callable[[], object] | None = None) -> None:
    """Works until SIGTERM or SIGINT, or until `until` returns."""
    sequencing = Sequencing(settings, addresses)
    sequencing.start()
    _log.info("sequencer ready", log=str(sequencing.key))
    wait_for_the_end(until)
    sequencing.close()


def resume(settings: Settings, addresses: Addresses) -> Place:
    """Has the log go on from where its database is; a sequencer that waits takes it up. Where that is.

    Raises:
        Refused: a file of its folder is missing, damaged or open to others.
        Unavailable: the database can't be reached.
    """
    working = Sequencing(settings, addresses)
    try:
        return working.sequencer.resume()
    finally:
        working.close()
