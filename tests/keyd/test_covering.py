"""What an event must say for keys to be lent, member by member. Each refusal has the same leaf, whole, as its control."""

from base64 import b64encode
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.leaf import bitmap
from hub.crypto.keys import NotCovered
from hub.datasets.incidents import Incident
from hub.records import SEALED_CLASSES
from hub.workers.covering import FRESH_S, Asked, Holder, check, check_tested, classes_shown, names_all

CLIENT = Holder("token-1", "health-1", "health", "research", "2026/17")
PERSON = Holder("5b0d5be5-9a8a-4b4e-8f4b-6f1f4b6a7c11")
CASE, CONTACT, LOCATION = (SEALED_CLASSES[name] for name in ("case", "contact", "location"))
SHOWN = {"category": "clear", "narrative": "clear", "phone": "last:4", "place": "grid_m:500"}


def leaf(**changed: Any) -> dict[str, Any]:
    body = {
        "type": "query",
        "decision": "permit",
        "dataset": "incidents",
        "by": {"organisation": "health", "client": "health-1", "session": "token-1", "from": "10.0.0.7"},
        "purpose": "research",
        "case": "2026/17",
        "owner": "police",
        "shown": {"count": 3, "revisions": bitmap([7, 8, 1 << 40]), "fields": SHOWN},
    }
    return {name: value for name, value in (body | changed).items() if value is not None}


def covered(*bodies: dict[str, Any], asked: Asked | None = None, age_s: float = 0.1, holder: Holder = CLIENT) -> None:
    check([orjson.dumps(b).decode() for b in bodies], age_s, "incidents", Incident, holder, [asked or Asked("police", 7, CASE)])


@pytest.mark.parametrize("revision_no", [7, 8, 1 << 40])
@pytest.mark.parametrize("cls", [CASE, CONTACT])
@pytest.mark.parametrize("kind", ["query", "export"])
def test_what_a_fresh_event_of_the_holder_shows_is_covered(revision_no: int, cls: int, kind: str) -> None:
    covered(leaf(type=kind), asked=Asked("police", revision_no, cls))


def test_what_a_person_is_shown_is_covered_by_its_session() -> None:
    covered(leaf(by={"organisation": "health", "session": PERSON.session, "person": "p"}), holder=PERSON)


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "publish"},
        {"type": "audit"},
        {"type": "count"},
        {"decision": "refuse"},
        {"decision": "absent"},
        {"dataset": "alerts"},
        {"dataset": None},
        {"by": {"organisation": "health", "client": "health-1", "session": "token-2"}},
        {"by": {"organisation": "health", "client": "health-2", "session": "token-1"}},
        {"by": {"organisation": "housing", "client": "health-1", "session": "token-1"}},
        {"by": {}},
        {"purpose": "outreach"},
        {"purpose": None},
        {"case": "2026/18"},
        {"case": None},
        {"owner": None},
        {"owner": "fire"},
        {"shown": None},
        {"shown": {"count": 3, "fields": SHOWN}},
        {"shown": {"count": 0, "revisions": bitmap([]), "fields": SHOWN}},
        {"shown": {"count": 1, "revisions": bitmap([9]), "fields": SHOWN}},
        {"shown": {"count": 1, "revisions": bitmap([7])}},
        {"shown": {"count": 1, "revisions": bitmap([7]), "fields": {"category": "clear", "place": "clear", "phone": "clear"}}},
        {"shown": {"count": 1, "revisions": bitmap([7]), "fields": {"narrative": "match_only"}}},
        {"shown": {"count": 1, "revisions": bitmap([7]), "fields": {"narrative": "withhold"}}},
    ],
    ids=str,
)
def test_an_event_that_differs_in_one_thing_covers_nothing(changed: dict[str, Any]) -> None:
    covered(leaf())
    with pytest.raises(NotCovered):
        covered(leaf(**changed))


@pytest.mark.parametrize(
    "asked", [Asked("police", 6, CASE), Asked("fire", 7, CASE), Asked("", 7, CASE), Asked("police", 7, LOCATION), Asked("police", 7, 0)]
)
def test_another_revision_owner_or_class_is_not_covered(asked: Asked) -> None:
    with pytest.raises(NotCovered):
        covered(leaf(), asked=asked)


def test_what_one_owner_is_shown_doesnt_cover_anothers() -> None:
    other = leaf(owner="fire", shown={"count": 1, "revisions": bitmap([20]), "fields": {"place": "clear"}})
    covered(leaf(), other, asked=Asked("fire", 20, LOCATION))
    for asked in (Asked("fire", 7, LOCATION), Asked("police", 20, CASE), Asked("police", 7, LOCATION), Asked("fire", 20, CASE)):
        with pytest.raises(NotCovered):
            covered(leaf(), other, asked=asked)


def test_one_leaf_of_somebody_elses_spoils_the_event() -> None:
    with pytest.raises(NotCovered, match="somebody else"):
        covered(leaf(), leaf(owner="fire", by={"organisation": "health", "client": "health-2", "session": "token-1"}))


def test_an_event_covers_while_it_is_fresh_and_never_before_it_was() -> None:
    covered(leaf(), age_s=FRESH_S)
    for age_s in (FRESH_S + 0.1, 86_400.0, -2.0, float("nan")):
        with pytest.raises(NotCovered):
            covered(leaf(), age_s=age_s)
    with pytest.raises(NotCovered, match="No such event"):
        covered()


def test_parts_of_a_split_leaf_cover_together() -> None:
    parts = [leaf(part=n, parts=2, shown={"count": 1, "revisions": bitmap([n]), "fields": SHOWN}) for n in (1, 2)]
    for n in (1, 2):
        covered(*parts, asked=Asked("police", n, CASE))
    with pytest.raises(NotCovered):
        covered(*parts, asked=Asked("police", 3, CASE))


def test_a_key_is_covered_by_one_leaf_that_names_its_revision_and_its_class() -> None:
    """Of a split leaf every part has the same fields; parts that a worker made up are each taken at their word, and not mixed."""
    made_up = [
        leaf(part=1, parts=2, shown={"count": 1, "revisions": bitmap([1]), "fields": {"narrative": "clear"}}),
        leaf(part=2, parts=2, shown={"count": 1, "revisions": bitmap([2]), "fields": {"phone": "clear"}}),
    ]
    for bodies in (made_up, made_up[::-1]):
        covered(*bodies, asked=Asked("police", 1, CASE))
        covered(*bodies, asked=Asked("police", 2, CONTACT))
        for asked in (Asked("police", 1, CONTACT), Asked("police", 2, CASE)):
            with pytest.raises(NotCovered):
                covered(*bodies, asked=asked)


texts = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts | st.just(bitmap([7])),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*leaf(), "revisions", "fields", "phone"]) | texts, inner),
    max_leaves=6,
)
bitmaps = st.binary(max_size=40).map(lambda b: "roaring64:" + b64encode(b).decode()) | texts
MALFORMED = st.one_of(
    texts,
    values.map(lambda value: orjson.dumps(value).decode()),
    st.builds(lambda name, value: orjson.dumps(leaf() | {name: value}).decode(), st.sampled_from(sorted(leaf())), values),
    bitmaps.map(lambda text: orjson.dumps(leaf(shown={"count": 1, "revisions": text, "fields": SHOWN})).decode()),
    st.sampled_from(["{}", "", "[]", "null", "\ud800", "[" * 100_000, '{"type":"query"}', orjson.dumps(leaf()).decode()[:-1]]),
)


@given(st.lists(MALFORMED, min_size=1, max_size=3))
def test_whatever_stands_in_the_log_covers_or_doesnt(leaves: list[str]) -> None:
    """There is no other error: each would be a 500 for an event to which anybody can add a leaf."""
    for told in (leaves, [*leaves, orjson.dumps(leaf()).decode()]):
        with suppress(NotCovered):
            check(told, 0.1, "incidents", Incident, CLIENT, [Asked("police", 7, CASE)])
        with suppress(NotCovered):
            check_tested(told, 0.1, "incidents", CLIENT, "phone", "hmac:", [("police", 7)])
    with pytest.raises(NotCovered):
        check(leaves, 0.1, "incidents", Incident, CLIENT, [Asked("police", 9, CASE)])


SHRED = leaf(type="shred", purpose=None, case=None, shown={"count": 2, "revisions": bitmap([7, 8])})


def named(*bodies: dict[str, Any], numbers: list[int]) -> bool:
    return names_all([orjson.dumps(b).decode() for b in bodies], "incidents", "police", numbers)


def test_an_order_is_named_by_its_leaves_together() -> None:
    rest = SHRED | {"part": 2, "shown": {"count": 1, "revisions": bitmap([9])}}
    assert named(SHRED, numbers=[7, 8])
    assert named(SHRED, rest, numbers=[7, 8, 9])
    assert not named(SHRED, numbers=[7, 8, 9])
    assert not names_all([], "incidents", "police", [7])


@pytest.mark.parametrize(
    "changed",
    [{"type": "query"}, {"decision": "absent"}, {"dataset": "alerts"}, {"dataset": None}, {"owner": "fire"}, {"owner": None}],
    ids=str,
)
def test_a_leaf_of_another_kind_names_nothing_and_spoils_nothing(changed: dict[str, Any]) -> None:
    other = {name: value for name, value in (SHRED | changed).items() if value is not None}
    assert not named(other, numbers=[7])
    assert named(other, SHRED, numbers=[7, 8])
    assert not named(other | {"shown": {"revisions": bitmap([9])}}, SHRED, numbers=[7, 9])


@given(st.lists(MALFORMED, max_size=3), st.integers(0, 3))
def test_whatever_else_stands_in_the_log_an_order_is_named(leaves: list[str], at: int) -> None:
    text = orjson.dumps(SHRED).decode()
    assert names_all([*leaves[:at], text, *leaves[at:]], "incidents", "police", [7, 8])
    assert not names_all(leaves, "incidents", "police", [9])


def test_the_exact_place_is_the_only_treatment_of_a_place_that_opens_it() -> None:
    for treatment in ("grid_m:100", "grid_m:500,grid_m:2000", "withhold"):
        assert classes_shown(Incident, {"place": treatment}) == set()
    assert classes_shown(Incident, {"place": "clear"}) == {LOCATION}
    assert classes_shown(Incident, {"place": "clear,grid_m:500"}) == {LOCATION}


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20)))
def test_words_that_nobody_knows_open_nothing(fields: dict[str, str]) -> None:
    known = {f.name for f in Incident.fields}
    assert classes_shown(Incident, {name: text for name, text in fields.items() if name not in known}) == set()
