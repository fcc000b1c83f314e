"""How often somebody may fail to sign in: five times in fifteen minutes (CJIS AC-7), by source address and by person.

A try is counted when it begins and given back when it succeeds, so that many at once can't pass between counting and failing.
"""

import hashlib
import hmac
import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from hub.errors import TooMany
from hub.identity.connection import transaction

MOST = 5
WINDOW = timedelta(minutes=15)

# Two tries counted by the same take turns; sorted by the caller, so that two never wait for each other.
_LOCK = text("select pg_advisory_xact_lock(k) from unnest(cast(:locks as bigint[])) k")
_OLDEST_THAT_COUNTS = text("select at from hub.attempts where counted_by = :key and at > :since order by at desc offset :most - 1 limit 1")
_ADD = text("insert into hub.attempts (counted_by, at) select k, :now from unnest(cast(:keys as bytea[])) k")
_GIVE_BACK = text(
    "delete from hub.attempts where id in"
    " (select (select max(a.id) from hub.attempts a where a.counted_by = k) from unnest(cast(:keys as bytea[])) k)"
)
# A few at a time, none that another transaction is at: never worth waiting for.
_PURGE = text("delete from hub.attempts where id in (select id from hub.attempts where at <= :since limit 100 for update skip locked)")


class Attempts:
    """Counts over all of the hub's processes. What tries are counted by is kept as a keyed hash: the table names nobody."""

    def __init__(self, engine: Engine, key: bytes, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._key = key
        self._clock = clock

    def check(self, *counted_by: str) -> None:
        """Begins a try and counts it. A try that is refused here counts for nothing.

        Raises:
            TooMany: five tries counted by one of these did not succeed in the last fifteen minutes.
        """
        keys, now = self._keys(counted_by), self._clock()
        with transaction(self._engine) as connection:
            connection.execute(_PURGE, {"since": now - WINDOW})
            connection.execute(_LOCK, {"locks": _locks(keys)})
            # Statements of their own, for they must see what was committed while the locks were waited for.
            wait_s = max(_wait_s(connection, key, now) for key in keys)
            if wait_s == 0:
                connection.execute(_ADD, {"keys": keys, "now": now})
        if wait_s:
            raise TooMany(wait_s)

    def failed(self, *counted_by: str) -> None:
        """Ends a try that did not succeed: `check` has counted it already, so nothing is left to do."""

    def passed(self, *counted_by: str) -> None:
        """Gives back the try that `check` counted. Earlier failures stay: nobody buys guesses by signing in as themselves."""
        keys = self._keys(counted_by)
        with transaction(self._engine) as connection:
            connection.execute(_LOCK, {"locks": _locks(keys)})  # two at once would give one try back
            connection.execute(_GIVE_BACK, {"keys": keys})

    def key(self, counted_by: str) -> bytes:
        """What something is counted by, as tables may hold it."""
        return hmac.digest(self._key, b"attempts " + counted_by.encode("utf-8", "replace"), hashlib.sha256)

    def _keys(self, counted_by: Iterable[str]) -> list[bytes]:
        keys = sorted({self.key(word) for word in counted_by})
        if not keys:
            raise ValueError("a try is counted by something")
        return keys


def _locks(keys: Iterable[bytes]) -> list[int]:
    return sorted(int.from_bytes(key[:8], "big", signed=True) for key in keys)


def _wait_s(connection: Connection, key: bytes, now: datetime) -> int:
    """Whole seconds until one of the last five leaves the window; 0: there are fewer."""
    oldest: datetime | None = connection.scalar(_OLDEST_THAT_COUNTS, {"key": key, "since": now - WINDOW, "most": MOST})
    return math.ceil((oldest + WINDOW - now).total_seconds()) if oldest else 0
