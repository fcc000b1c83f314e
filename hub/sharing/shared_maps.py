"""Shared maps: a question with a name. It holds no record: whoever opens it asks the question with rights of their own, and is logged."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Engine

from hub.db import transaction
from hub.errors import Conflict, InvalidRequest

MAX_NAME = 200
MAX_BYTES = 8_192  # of a question as JSON
MOST = 200  # maps of one person
MAX_ZOOM = 24
_COLUMNS = "id, organisation, person, dataset, name, query, created_at"


@dataclass(frozen=True, slots=True)
class SharedMap:
    """`query` has the parameters of a map as its address has them: `bbox` (west,south,east,north in degrees) and `datetime`, both as
    text, `filters` (field → comma-separated values) and `zoom`; each may be missing.
    """

    id: UUID
    organisation_id: int
    person: UUID
    dataset: str
    name: str
    query: Mapping[str, Any]
    created_at: datetime


class SharedMaps:
    """The shared maps of every organisation; `engine` is the writer's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, organisation_id: int, person: UUID, dataset: str, name: str, query: Mapping[str, Any]) -> UUID:
        """Keeps a map; gives its id.

        Raises:
            InvalidRequest: the name or the question is not acceptable; `field` says which.
            Conflict: this person has too many.
        """
        if not (name.strip() and name.isprintable() and len(name) <= MAX_NAME):
            raise InvalidRequest(f"A map's name is 1 to {MAX_NAME} printable characters.", field="name")
        text = _checked(query)
        few = "(select count(*) from hub.shared_maps where person = %s::uuid) < %s"
        columns = "organisation, person, dataset, name, query"
        with transaction(self._engine) as tx:
            found = tx.rows(
                f"insert into hub.shared_maps ({columns}) select %s, %s::uuid, %s, %s, %s::jsonb where {few} returning id::text",
                (organisation_id, str(person), dataset, name, text, str(person), MOST),
            )
        if not found:
            raise Conflict(f"You have {MOST} shared maps; delete one that is no longer needed.")
        return UUID(found[0][0])

    def get(self, number: UUID) -> SharedMap | None:
        """A map by its id, whoever's it is."""
        found = self._find("id = %s::uuid", str(number))
        return found[0] if found else None

    def of(self, organisation_id: int) -> list[SharedMap]:
        """The maps of an organisation, newest first."""
        return self._find("organisation = %s", organisation_id)

    def delete(self, number: UUID, person: UUID) -> bool:
        """Deletes a map of this person; False when it is not there or is somebody else's."""
        with transaction(self._engine) as tx:
            owned = "id = %s::uuid and person = %s::uuid"
            return bool(tx.rows(f"delete from hub.shared_maps where {owned} returning true", (str(number), str(person))))

    def _find(self, where: str, value: object) -> list[SharedMap]:
        with transaction(self._engine) as tx:
            rows = tx.rows(f"select {_COLUMNS} from hub.shared_maps where {where} order by created_at desc, id", (value,))
        return [SharedMap(UUID(str(i)), organisation, UUID(str(person)), *rest) for i, organisation, person, *rest in rows]


def _checked(query: Mapping[str, Any]) -> str:
    """The question as JSON.

    Raises:
        InvalidRequest: it has an unknown member, one of another type, or is too long.
    """
    filters, zoom = query.get("filters", {}), query.get("zoom", 0)
    texts = [query[name] for name in ("bbox", "datetime") if name in query]
    texts += [*filters, *filters.values()] if isinstance(filters, dict) else [None]
    unknown = query.keys() - {"bbox", "datetime", "filters", "zoom"}
    if unknown or not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise InvalidRequest("A shared map holds bbox, datetime and filters as text, and zoom; nothing else.", field="query")
    if type(zoom) is not int or not 0 <= zoom <= MAX_ZOOM:
        raise InvalidRequest(f"zoom is a whole number from 0 to {MAX_ZOOM}.", field="query")
    try:
        text = orjson.dumps(dict(query), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise InvalidRequest("A shared map holds text that can be told in Unicode.", field="query") from None
    if len(text) > MAX_BYTES:
        raise InvalidRequest("This map's filters are too long to be kept; choose fewer values.", field="query")
    return text.decode()
