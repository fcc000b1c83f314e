"""Kill -9 at a named place: a process that ends itself at its n-th message to a database or to the key process, before it is sent, or once
it was answered. Run in the process itself, as its sabotage; it counts while the file `armed` is there.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hub.crypto import remote
from hub.crypto.keyring import Keyring
from hub.crypto.remote import RemoteKeys
from hub.db import Transaction
from hub.sharing.publish import Publishing
from hub.workers import destroying
from hub.workers.destroying import Destroying
from hub.workers.keyd import KeyServer

KEYD = "the key process is asked"


@dataclass
class Strike:
    """Ends this process at the `at`-th message, and writes which one it was to `told`."""

    at: int
    when: str  # before or after
    armed: Path
    told: Path
    seen: int = 0

    def around(self, name: str, message: Callable[[], Any]) -> Any:
        """Sends a message, unless it is the one."""
        number = self._next()
        self._end(number, "before", name)
        answer = message()
        self._end(number, "after", name)
        return answer

    def _next(self) -> int:
        if not self.armed.exists():
            return 0
        self.seen += 1
        return self.seen

    def _end(self, number: int, when: str, name: str) -> None:
        if (number, when) == (self.at, self.when):
            self.told.write_text(f"{when} {' '.join(name.split())[:200]}")
            os.kill(os.getpid(), signal.SIGKILL)


def in_server(strike: Strike) -> None:
    """The messages of a serving process: statements, and what it asks the key process."""
    rows, exchange = Transaction.rows, RemoteKeys._exchange

    def said(tx: Transaction, statement: str, *more: Any) -> Any:
        return strike.around(statement, lambda: rows(tx, statement, *more))

    def asked(keys: RemoteKeys, message: bytes) -> Any:
        return strike.around(KEYD, lambda: exchange(keys, message))

    Transaction.rows = said  # type: ignore[method-assign]
    RemoteKeys._exchange = asked  # type: ignore[method-assign]


def in_keyd(strike: Strike) -> None:
    """The messages of the key process while it answers; what it copies by itself is not counted."""
    reply, counted = KeyServer._reply, threading.local()

    def replied(server: KeyServer, body: bytes) -> Any:
        counted.now = True
        return reply(server, body)

    KeyServer._reply = replied  # type: ignore[method-assign]
    _in_its_databases(strike, counted)


def in_orders(strike: Strike) -> None:
    """The messages of the key process while it carries out an order to shred."""
    order, counted = Destroying._order, threading.local()

    def ordered(destroying: Destroying, *order_: Any) -> bool:
        counted.now = True
        try:
            return order(destroying, *order_)
        finally:
            counted.now = False

    Destroying._order = ordered  # type: ignore[method-assign]
    _in_its_databases(strike, counted)


def in_ends(strike: Strike) -> None:
    """The messages of the key process while it ends a retention bucket, which it does at once, as if the last day had come."""
    end, counted = Destroying._end, threading.local()

    def ended(destroying: Destroying, bucket: Any) -> bool:
        counted.now = True
        try:
            return end(destroying, bucket)
        finally:
            counted.now = False

    Destroying._end = ended  # type: ignore[method-assign]
    at_the_last_day()
    _in_its_databases(strike, counted)


def at_the_last_day() -> None:
    """A key process for which every retention has ended, and which looks all the time."""
    Destroying._today = lambda _: date.max  # type: ignore[method-assign]
    destroying.BUCKETS_S = 0.0  # type: ignore[misc]


def _in_its_databases(strike: Strike, counted: threading.local) -> None:
    """The messages to both databases in threads where they are counted."""
    execute, commit, rows = sa.Connection.execute, sa.Connection._commit_impl, Transaction.rows

    def said(connection: sa.Connection, statement: Any, *more: Any, **named: Any) -> Any:
        send = partial(execute, connection, statement, *more, **named)
        return strike.around(str(statement), send) if getattr(counted, "now", False) else send()

    def ran(tx: Transaction, statement: str, *more: Any) -> Any:
        send = partial(rows, tx, statement, *more)
        return strike.around(statement, send) if getattr(counted, "now", False) else send()

    def committed(connection: sa.Connection) -> Any:
        send = partial(commit, connection)
        return strike.around("commit", send) if getattr(counted, "now", False) else send()

    sa.Connection.execute = said  # type: ignore[method-assign]
    Transaction.rows = ran  # type: ignore[method-assign]
    sa.Connection._commit_impl = committed  # type: ignore[method-assign]


def impatient() -> None:
    """A serving process that asks a key process which is gone again at once: the test waits less."""
    remote.PAUSE_S = 0.01  # type: ignore[misc]


def hasty_in_server(strike: Strike) -> None:
    """The fault of one control: a hub that commits what it stored before the log has it."""
    store = Publishing._store

    def hasty(publishing: Publishing, tx: Transaction, *rest: Any) -> Any:
        numbers = store(publishing, tx, *rest)
        tx.rows("commit; begin")
        return numbers

    Publishing._store = hasty  # type: ignore[method-assign]
    in_server(strike)


def late_in_keyd() -> None:
    """The fault of the other: a key process that gives ciphertext out before its data keys are durable."""
    store = Keyring._store

    def later(keyring: Keyring, rows: Any) -> int:
        threading.Thread(target=lambda: (time.sleep(60), store(keyring, rows)), daemon=True).start()
        return len(rows)

    Keyring._store = later  # type: ignore[method-assign]
