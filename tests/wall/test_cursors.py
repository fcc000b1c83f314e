"""A cursor is good for its reader, purpose, filter and grants; else 400, with nothing disclosed and nothing read."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from hub import db
from hub.sharing import cursor
from tests.wall.sending import Answer, Ask, send
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"
ASKED = (("bbox", "-79.5,43.5,-79.2,43.8"), ("datetime", "2020-01-01T00:00:00Z/.."), ("category", "theft"), ("limit", "2"))


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "housing", "fire"):
        world.organisation(slug)
    grants = [grant(), grant("second", ["planning"])]
    for n, reader in enumerate(("health", "housing")):
        world.mou(folder, f"MOU-{n}", "police", reader, [dict(g) for g in grants])
    assert world.publish("police", *(feature(f"A-{n}", lon=-79.38 + n * 0.001) for n in range(9))).status_code == 201
    return world


def _ask(world: World, client: str = "health", purpose: str = "research", asked: tuple[tuple[str, str], ...] = ASKED) -> Answer:
    return send(world, [Ask("GET", ITEMS, client, purpose, asked)])[0][0]


def _next(answer: Answer) -> str:
    assert answer.following
    return parse_qs(urlsplit(answer.following).query)["cursor"][0]


@pytest.fixture
def held(shared: World) -> str:
    return _next(_ask(shared))


def _changed(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple((dict(ASKED) | values).items())


def _refused(answer: Answer) -> None:
    assert answer.status == 400
    assert b'"field":"cursor"' in answer.body
    assert b"features" not in answer.body


def test_a_cursor_goes_on_where_its_page_ended(shared: World, held: str) -> None:
    first, second = _ask(shared), _ask(shared, asked=(*ASKED, ("cursor", held)))
    assert second.status == 200
    assert len(first.ids) == len(second.ids) == 2
    assert not set(first.ids) & set(second.ids)


def test_the_page_size_may_change_on_the_way(shared: World, held: str) -> None:
    rest = _ask(shared, asked=_changed(limit="1000", cursor=held))
    assert sorted(rest.ids + _ask(shared).ids) == sorted(_ask(shared, asked=_changed(limit="1000")).ids)


@pytest.mark.parametrize("purpose", ["research", "planning"])
@pytest.mark.parametrize("client", ["health", "housing"])
def test_a_cursor_is_of_no_use_to_another_reader_or_for_another_purpose(shared: World, held: str, client: str, purpose: str) -> None:
    answer = _ask(shared, client, purpose, (*ASKED, ("cursor", held)))
    if (client, purpose) == ("health", "research"):
        assert answer.status == 200
    else:
        _refused(answer)


def test_a_reader_without_an_agreement_learns_nothing_from_a_cursor(shared: World, held: str) -> None:
    answer = _ask(shared, "fire", "research", (*ASKED, ("cursor", held)))
    assert answer.status == 403
    assert answer == _ask(shared, "fire", "research", (*ASKED, ("cursor", "A" * 48)))


@pytest.mark.parametrize(
    "changed",
    [
        {"bbox": "-79.5,43.5,-79.2,43.81"},
        {"datetime": "2020-01-01T00:00:01Z/.."},
        {"datetime": "2020-01-01T00:00:00Z/2030-01-01T00:00:00Z"},
        {"category": "theft,fire"},
        {"status": "open"},
        {"external_id": "A-1"},
    ],
)
def test_a_cursor_is_of_no_use_with_another_filter(shared: World, held: str, changed: dict[str, str]) -> None:
    _refused(_ask(shared, asked=_changed(cursor=held, **changed)))


@pytest.mark.parametrize("left_out", ["bbox", "datetime", "category"])
def test_a_cursor_is_of_no_use_without_its_filter(shared: World, held: str, left_out: str) -> None:
    _refused(_ask(shared, asked=tuple((n, v) for n, v in (*ASKED, ("cursor", held)) if n != left_out)))


def test_a_cursor_changed_in_any_byte_is_refused(shared: World, held: str) -> None:
    raw = bytearray(urlsafe_b64decode(held))
    changed = [bytes(raw[:n]) + bytes([raw[n] ^ 1]) + bytes(raw[n + 1 :]) for n in range(len(raw))]
    changed += [bytes(raw[:-1]), bytes(raw) + b"\0", bytes(raw[:20]), bytes(36)]
    texts = [urlsafe_b64encode(wrong).rstrip(b"=").decode() for wrong in changed]
    texts += ["x", "é", "%00", "../", held + "=", f"{held[:5]}!{held[5:]}", held[:-1], held + held]
    for answer in (_ask(shared, asked=(*ASKED, ("cursor", text))) for text in texts if text != held):
        _refused(answer)


def test_a_cursor_is_refused_before_a_record_is_read(shared: World, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told by how long it takes, and nothing would have to be logged."""
    said = []
    rows = db.Transaction.rows
    monkeypatch.setattr(db.Transaction, "rows", lambda tx, text, *rest: (said.append(text), rows(tx, text, *rest))[1])
    _refused(_ask(shared, "housing", asked=(*ASKED, ("cursor", held))))
    assert not any("execute" in text or "audit_append" in text for text in said)
    _ask(shared, asked=(*ASKED, ("cursor", held)))
    assert any("execute" in text for text in said)


def test_a_cursor_ends_with_the_agreement_it_was_made_under(shared: World, tmp_path: Path, held: str) -> None:
    loaded = shared.mou(tmp_path, "MOU-0", "police", "health", [grant(), grant("second", ["planning"])], version=2)
    assert loaded.superseded == 1
    _refused(_ask(shared, asked=(*ASKED, ("cursor", held))))
    fresh = _ask(shared)
    assert fresh.status == 200
    assert _ask(shared, asked=(*ASKED, ("cursor", _next(fresh)))).status == 200


def test_a_cursor_names_nothing_but_what_its_page_showed(shared: World, held: str) -> None:
    """Whoever takes it apart finds the 2 km cell and the id of the last record that was shown."""
    raw = urlsafe_b64decode(held)
    assert len(raw) == 36
    assert str(UUID(bytes=raw[4:20])) == _ask(shared).ids[-1]


# --- the control: a cursor that carries no binding ----------------------------------------------------------------------------------

BINDINGS: dict[str, Callable[[World, str], Answer]] = {
    "reader": lambda world, held: _ask(world, "housing", asked=(*ASKED, ("cursor", held))),
    "purpose": lambda world, held: _ask(world, "health", "planning", (*ASKED, ("cursor", held))),
    "filter": lambda world, held: _ask(world, asked=_changed(category="theft,fire", cursor=held)),
}


@pytest.fixture
def unbound(monkeypatch: pytest.MonkeyPatch) -> None:
    make: Any = cursor._mac
    monkeypatch.setattr(cursor, "_mac", lambda key, _bound_to, body: make(key, b"", body))


@pytest.mark.parametrize("what", BINDINGS)
def test_an_unbound_cursor_would_be_taken(shared: World, unbound: None, what: str) -> None:
    assert BINDINGS[what](shared, _next(_ask(shared))).status == 200
