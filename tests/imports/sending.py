"""A partner's side of an import: opening, sending, resuming, asking; and what must hold in the store afterwards."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from tests.imports.files import BY_ID, digest_of, repr_digest
from tests.world import BASE, World

IMPORTS = "/collections/incidents/imports"


def order(file: bytes | None, mapping: Mapping[str, Any] | None = BY_ID, **more: Any) -> dict[str, Any]:
    """The body that opens an import of `file`; without a file its length and digest stay unsaid."""
    said = {"mapping": mapping} if mapping is not None else {}
    known = {"length": len(file), "sha256": digest_of(file)} if file is not None else {}
    return said | known | more


def open_import(world: World, body: Any, client: str = "police", **headers: str) -> Any:
    return world.http.post(IMPORTS, json=body, headers=world.bearer(client) | headers)


def opened(world: World, file: bytes | None, mapping: Mapping[str, Any] | None = BY_ID, client: str = "police", **more: Any) -> str:
    """The path of a new import."""
    answer = open_import(world, order(file, mapping, **more), client)
    assert answer.status_code == 201, answer.text
    path: str = answer.headers["location"].removeprefix(BASE)
    return path


def part(world: World, path: str, data: Any, offset: int = 0, client: str = "police", **headers: str) -> Any:
    """Sends bytes from `offset` on; `Upload_Complete`, `Repr_Digest` … as keywords."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.http.patch(path, content=data, headers=world.bearer(client) | {"Upload-Offset": str(offset)} | named)


def run(world: World, file: bytes, mapping: Mapping[str, Any] | None = BY_ID, client: str = "police", **more: Any) -> dict[str, Any]:
    """A whole file in one request; the import as it stands then."""
    answer = part(world, opened(world, file, mapping, client, **more), file, client=client)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def resume(world: World, path: str, file: bytes, client: str = "police") -> dict[str, Any]:
    """Sends the rest of `file`, from where the import stands."""
    offset = told(world, path, client)["offset"]
    answer = part(world, path, file[offset:], offset, client, Repr_Digest=repr_digest(file))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def told(world: World, path: str, client: str = "police") -> dict[str, Any]:
    answer = world.http.get(path, headers=world.bearer(client))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def path_of(job: Mapping[str, Any]) -> str:
    return f"{IMPORTS}/{job['id']}"


def verdicts(world: World, path: str, client: str = "police", **params: str) -> list[dict[str, Any]]:
    answer = world.http.get(f"{path}/verdicts", params=params, headers=world.bearer(client))
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def counts(job: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """(rows, landed, updated, unchanged, refused)"""
    return job["rows"], job["landed"], job["updated"], job["unchanged"], job["refused"]


def rows(world: World, statement: str, **values: Any) -> list[Any]:
    """As the superuser."""
    with world.superuser() as connection:
        return [tuple(r) for r in connection.execute(sa.text(statement), values)]


def faults(sql: Callable[[str], list[Any]]) -> list[str]:
    """One sentence for each thing that does not hold in the store: one record for each external id; the revisions of a record are
    1 … n, each number once, in rising order; a tombstone is followed by nothing or by a revision; labels are those of a full recomputation.
    """
    found = []
    states = " union all ".join(
        f"select id, rev, revision_no, provider, external_id, '{t}' as kept from hub.incidents{t}" for t in ("", "_history", "_withdrawn")
    )
    kept = sql(f"select id, rev, revision_no, provider, external_id, kept from ({states}) s order by id, rev")
    names, numbers, of = Counter(), Counter(), {}  # type: ignore[var-annotated]
    for identifier, rev, number, provider, name, table in kept:
        of.setdefault(str(identifier), []).append((rev, number, provider, name, table))
        numbers[number] += 1
    found += [f"revision number {n} is used {times} times" for n, times in numbers.items() if times > 1]
    for identifier, revisions in of.items():
        names.update({(provider, name) for _, _, provider, name, _ in revisions})
        if len({r[2:4] for r in revisions}) != 1:
            found.append(f"{identifier} has several external ids or providers")
        if [r[0] for r in revisions] != list(range(1, len(revisions) + 1)):
            found.append(f"{identifier} ({revisions[0][3]}) has the revisions {[(r[0], r[4]) for r in revisions]}")
        if [r[1] for r in revisions] != sorted(r[1] for r in revisions):
            found.append(f"{identifier}: a later revision has an earlier number")
        if sum(r[4] == "" for r in revisions[:-1]) or revisions[-1][4] == "_history":
            found.append(f"{identifier}: {[r[4] for r in revisions]}: not the last one is current")
    found += [f"{name} names {times} records of {provider}" for (provider, name), times in names.items() if times > 1]
    return found


def faults_of(world: World) -> list[str]:
    return faults(lambda statement: rows(world, statement))
