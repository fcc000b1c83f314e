"""The API's answers, and what the log says of them, against the oracle. Differences come out as sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from hub.audit.log import Search
from tests.policy.cases import Asked
from tests.policy.oracle import TIMES, Record, Released, Request, moment
from tests.policy.playing import Played, bearer, case_of, code_of
from tests.world import BASE


def api_differences(played: Played, asked: Asked) -> Iterator[str]:
    """What the API answers otherwise than the oracle, in values, order or size of pages."""
    played.set_clock(asked.now)
    try:
        pages = _pages(played, asked)
    except _Refused as refusal:
        if not (refusal.status == 403 and played.oracle.refused(asked.reader, asked.now)):
            yield f"{refusal.status} instead of an answer: {refusal.text}; {case_of(asked)}"
        return
    if played.oracle.refused(asked.reader, asked.now):
        yield f"an answer instead of a refusal; {case_of(asked)}"
    sizes = [len(p) for p in pages]
    if any(size != asked.request.limit for size in sizes[:-1]) or sizes[-1] > asked.request.limit or (len(sizes) > 1 and not sizes[-1]):
        yield f"pages of {sizes}; {case_of(asked)}"
    features = [f for page in pages for f in page]
    yield from _compare_features(played, asked, features)
    if len(pages) == 1:
        yield from _compare_leaves(played, asked)


def _compare_features(played: Played, asked: Asked, features: list[dict[str, Any]]) -> Iterator[str]:
    found = {f["id"]: f for f in features}
    if len(found) < len(features):
        yield f"a record comes twice; {case_of(asked)}"
    order: list[tuple[Any, ...]] = []
    for record in played.batch.records:
        name = record.values["external_id"]
        number = played.ids[name]
        shown = played.oracle.shown(record, asked.reader, asked.now, asked.request)
        feature = found.pop(number, None)
        expected = None if shown is None else as_feature(record, shown)
        if (None if feature is None else parsed(feature)) != expected:
            yield f"API, {name}: {expected} expected, {feature} found; {case_of(asked)}"
        if shown is not None:
            order.append((0, code_of(record), number) if shown.place else (1, 0, number))
    if found:
        yield f"API: records of others are shown: {sorted(found)}; {case_of(asked)}"
    if asked.request.bbox is None and [f["id"] for f in features] != [number for *_, number in sorted(order)]:
        yield f"API: the order is not that of cells and ids; {case_of(asked)}"


def item_differences(played: Played, asked: Asked, name: str) -> Iterator[str]:
    """One record by its id: as in the page without filters, or the one answer for absent and not shared."""
    played.set_clock(asked.now)
    record = next(r for r in played.batch.records if r.values["external_id"] == name)
    shown = played.oracle.shown(record, asked.reader, asked.now, Request())
    answer = played.world.http.get(f"/collections/incidents/items/{played.ids[name]}", headers=bearer(played.world, asked.reader))
    found = parsed(answer.json()) if answer.status_code == 200 else None
    if found != (None if shown is None else as_feature(record, shown)) or answer.status_code not in (200, 404):
        yield f"item {name}: {shown} expected, {answer.status_code} {answer.text} found; {case_of(asked)}"


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def _pages(played: Played, asked: Asked) -> list[list[dict[str, Any]]]:
    pages, headers = [], bearer(played.world, asked.reader)
    answer = played.world.http.get("/collections/incidents/items", params=_parameters(asked.request), headers=headers)
    while True:
        if answer.status_code != 200:
            raise _Refused(answer.status_code, answer.text)
        body = orjson.loads(answer.content)
        pages.append(body["features"])
        following = [link["href"] for link in body["links"] if link["rel"] == "next"]
        if not following:
            return pages
        answer = played.world.http.get(following[0].removeprefix(BASE), headers=headers)


def _parameters(request: Request) -> dict[str, str]:
    found = {"limit": str(request.limit)}
    if request.bbox:
        found["bbox"] = ",".join(map(repr, request.bbox))
    if request.since or request.until:
        since, until = (t.isoformat().replace("+00:00", "Z") if t else ".." for t in (request.since, request.until))
        found["datetime"] = f"{since}/{until}"
    return found | {n: ",".join(map(str, v)) for n, v in request.values.items()}


def as_feature(record: Record, shown: Released) -> tuple[Any, ...]:
    """The same of what the oracle says."""
    exact = shown.treatments["place"] == "clear"
    return [record.lon, record.lat] if exact else shown.place and list(shown.place), {"provider": record.provider, **shown.values}


def parsed(feature: Mapping[str, Any]) -> tuple[Any, ...]:
    """The coordinates, and the properties with times read."""
    properties = {n: moment(v) if n in TIMES else v for n, v in feature["properties"].items()}
    return feature["geometry"] and feature["geometry"]["coordinates"], properties


def _compare_leaves(played: Played, asked: Asked) -> Iterator[str]:
    """What the log says of the answer just given: under which grants, in which treatments, how many records, owner by owner."""
    found = played.world.services.log.find(Search(organisation=asked.reader.organisation, type="query", limit=2))
    bodies = [e.body for e in found if e.body["event"] == found[0].body["event"]]
    shown: dict[str, list[Released]] = {}
    for record in played.batch.records:
        if (released := played.oracle.shown(record, asked.reader, asked.now, asked.request)) is not None:
            shown.setdefault(record.provider, []).append(released)
    said = {b.get("owner"): _said(b) for b in bodies if b.get("shown", {}).get("count")}
    expected = {owner: _expected(records) for owner, records in shown.items()}
    if said != expected:
        yield f"the log: {expected} expected, {said} found; {case_of(asked)}"


def _said(leaf: Mapping[str, Any]) -> tuple[Any, ...]:
    under = {(u["mou"], u["version"], grant) for u in leaf["under"] for grant in (*u["grants"], *u.get("refusals", ()))}
    return leaf["shown"]["count"], under, {name: set(words.split(",")) for name, words in leaf["shown"]["fields"].items()}


def as_words(name: str, treatment: Any) -> str:
    """A treatment of the oracle as the hub writes it."""
    if isinstance(treatment, tuple):
        return f"bands:{'/'.join(map(str, treatment[1]))}" if treatment[0] == "bands" else f"last:{treatment[1]}"
    return treatment if treatment in ("clear", "match_only", "withhold") else f"{'grid_m' if name == 'place' else 'round_to'}:{treatment}"


def _expected(records: list[Released]) -> tuple[Any, ...]:
    fields: dict[str, set[str]] = {}
    for name, treatment in ((n, t) for r in records for n, t in r.treatments.items() if t not in ("withhold", "match_only")):
        fields.setdefault(name, set()).add(as_words(name, treatment))
    return len(records), {key for r in records for key in r.grants}, fields
