"""What pages ask about people, bound to the database: pages themselves have no way to it."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from hub.identity import organisations, people, recovery, tickets
from hub.identity.organisations import Organisation
from hub.identity.people import Named, Person
from hub.identity.tickets import Kind


class Directory:
    """People and organisations, tickets and recovery codes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def organisations(self) -> list[Organisation]:
        return organisations.all_of(self._engine)

    def person(self, id: UUID) -> Person | None:
        return people.by_id(self._engine, id)

    def people(self, organisation: str | None = None) -> list[Person]:
        """The people of an organisation (its slug), or everybody."""
        return people.all_of(self._engine, organisation)

    def names(self, ids: Iterable[UUID]) -> dict[UUID, Named]:
        return people.names(self._engine, ids)

    def look(self, token: str, kind: Kind, now: datetime) -> Person | None:
        """Whose ticket it is; it stays good."""
        return tickets.look(self._engine, token, kind, now)

    def use(self, token: str, kind: Kind, now: datetime) -> Person | None:
        """Whose ticket it was; exactly one caller gets an answer."""
        return tickets.use(self._engine, token, kind, now)

    def new_codes(self, person: UUID) -> list[str]:
        """New recovery codes; older ones are void."""
        return recovery.new_codes(self._engine, person)

    def use_code(self, handle: str, code: str, now: datetime) -> Person | None:
        return recovery.use(self._engine, handle, code, now)

    def codes_left(self, person: UUID) -> int:
        return recovery.left(self._engine, person)
