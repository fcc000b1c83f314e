"""Each client assertion works once (RFC 7523 §3, item 7)."""

import hashlib
import time
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from hub.identity.connection import transaction

PURGE_EVERY_S = 60
MARGIN = timedelta(seconds=60)  # another hub machine's clock may be behind: it would still accept what we forgot

_REMEMBER = text(
    "insert into hub.assertions_seen (client_id, jti_hash, expires_at) values (:client_id, :jti_hash, :expires_at) on conflict do nothing"
)
# One purge at a time, over all processes: two could wait for each other's rows.
_PURGE = text(
    "delete from hub.assertions_seen where expires_at < :before and (select pg_try_advisory_xact_lock(hashtext('hub.assertions_seen')))"
)


class Replays:
    """Remembers assertions until they could not be accepted anyway. Thread-safe; the database decides who was first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._purge_after = 0.0

    def is_first(self, client_id: str, jti: str, expires_at: datetime, now: datetime) -> bool:
        """True for exactly one caller per (client, jti), durably. `expires_at`: when it stops being acceptable."""
        jti_hash = hashlib.sha256(jti.encode("utf-8", "surrogatepass")).digest()
        row = {"client_id": client_id, "jti_hash": jti_hash, "expires_at": expires_at}
        with transaction(self._engine) as connection:
            inserted: int = connection.execute(_REMEMBER, row).rowcount
        self._purge(now)
        return inserted == 1

    def _purge(self, now: datetime) -> None:
        at = time.monotonic()
        if at >= self._purge_after:
            self._purge_after = at + PURGE_EVERY_S  # two threads may both get here: harmless
            with transaction(self._engine) as connection:
                connection.execute(_PURGE, {"before": now - MARGIN})
