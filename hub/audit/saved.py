"""Saved searches of the log: a question with a name, for oneself or for one's organisation. It holds no answer: whoever runs it asks with
rights of their own, and is logged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import Engine

from hub.db import transaction
from hub.errors import Conflict, InvalidRequest

MAX_NAME = 200
MAX_BYTES = 8_192  # of a question as JSON
MOST = 200  # searches of one person
_SEEN = "organisation = %s and (shared or person = %s::uuid)"


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """`query`: the fields of the log's form that are filled in, by name."""

    id: UUID
    person: UUID
    name: str
    query: Mapping[str, str]
    shared: bool
    created_at: datetime


class SavedSearches:
    """The saved searches of everybody; `engine` is the writer's. One that is not there and one that is not yours are one answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, organisation_id: int, person: UUID, name: str, query: Mapping[str, str], shared: bool) -> UUID:
        """Keeps a search; gives its id.

        Raises:
            InvalidRequest: the name is not acceptable, or the search too long; `field` says which.
            Conflict: this person has too many.
        """
        text = orjson.dumps(dict(query), option=orjson.OPT_SORT_KEYS)
        if len(text) > MAX_BYTES:
            raise InvalidRequest("This search is too long to be kept.", field="query")
        few = "(select count(*) from hub.saved_searches where person = %s::uuid) < %s"
        with transaction(self._engine) as tx:
            found = tx.rows(
                "insert into hub.saved_searches (organisation, person, name, query, shared)"
                f" select %s, %s::uuid, %s, %s::jsonb, %s where {few} returning id::text",
                (organisation_id, str(person), _named(name), text.decode(), shared, str(person), MOST),
            )
        if not found:
            raise Conflict(f"You have {MOST} saved searches; delete one that is no longer needed.")
        return UUID(found[0][0])

    def of(self, organisation_id: int, person: UUID) -> list[SavedSearch]:
        """Those of a person, and those shared in their organisation, by name."""
        return self._find(f"{_SEEN} order by lower(name), created_at", organisation_id, str(person))

    def get(self, number: UUID, organisation_id: int, person: UUID) -> SavedSearch | None:
        found = self._find(f"{_SEEN} and id = %s::uuid", organisation_id, str(person), str(number))
        return found[0] if found else None

    def rename(self, number: UUID, person: UUID, name: str) -> bool:
        """Gives a search of this person another name; False when it is not there or is somebody else's."""
        return self._changed("update hub.saved_searches set name = %s where", _named(name), str(number), str(person))

    def delete(self, number: UUID, person: UUID) -> bool:
        """Deletes a search of this person; False when it is not there or is somebody else's."""
        return self._changed("delete from hub.saved_searches where", str(number), str(person))

    def _changed(self, change: str, *values: str) -> bool:
        with transaction(self._engine) as tx:
            return bool(tx.rows(f"{change} id = %s::uuid and person = %s::uuid returning true", values))

    def _find(self, where: str, *values: object) -> list[SavedSearch]:
        with transaction(self._engine) as tx:
            rows = tx.rows(f"select id, person, name, query, shared, created_at from hub.saved_searches where {where}", values)
        return [SavedSearch(UUID(str(number)), UUID(str(person)), *rest) for number, person, *rest in rows]


def _named(name: str) -> str:
    if not (name.strip() and name.isprintable() and len(name) <= MAX_NAME):
        raise InvalidRequest(f"The name of a search is 1 to {MAX_NAME} printable characters.", field="name")
    return name.strip()
