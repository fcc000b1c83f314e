"""WebAuthn's challenges: random, of one kind and for one person or nobody yet, good once and for five minutes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import Engine, text
from webauthn.helpers import generate_challenge

from hub.identity.connection import transaction

TTL = timedelta(minutes=5)
MOST = 100  # open ones of one asker: an office behind one address can sign in at once, and nobody fills the table
Kind = Literal["create", "get"]

_ADD = text(
    "insert into hub.challenges (challenge, kind, person, expires_at, asker) values (:challenge, :kind, :person, :expires_at, :asker)"
)
_TAKE = text(
    "delete from hub.challenges where challenge = :challenge and kind = :kind and person is not distinct from :person"
    " and expires_at > :now returning challenge"
)
# A few at a time, none that another transaction is at: never worth waiting for.
_PURGE = text(
    "delete from hub.challenges where challenge in"
    " (select challenge from hub.challenges where expires_at <= :now limit 100 for update skip locked)"
)
# The asker's oldest make room, so that nobody is refused; two at once may leave one more.
_MAKE_ROOM = text(
    "delete from hub.challenges where challenge in (select challenge from hub.challenges where asker = :asker"
    " order by expires_at desc, challenge offset :most - 1 for update skip locked)"
)


class Challenges:
    """Kept in the database, so that any of the hub's processes may be asked for one and get the answer to another's."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def new(self, kind: Kind, person: UUID | None, asker: bytes) -> bytes:
        """A challenge for the person, or for whoever comes. `asker`: whose oldest ones make room when there are too many."""
        challenge, now = generate_challenge(), self._clock()
        with transaction(self._engine) as connection:
            connection.execute(_PURGE, {"now": now})
            connection.execute(_MAKE_ROOM, {"asker": asker, "most": MOST})
            values = {"challenge": challenge, "kind": kind, "person": person, "expires_at": now + TTL, "asker": asker}
            connection.execute(_ADD, values)
        return challenge

    def take(self, challenge: bytes, kind: Kind, person: UUID | None) -> bool:
        """True for exactly one caller, durably: the challenge is gone whatever comes of it. Only its own person can use one up."""
        values = {"challenge": challenge, "kind": kind, "person": person, "now": self._clock()}
        with transaction(self._engine) as connection:
            return connection.execute(_TAKE, values).one_or_none() is not None
