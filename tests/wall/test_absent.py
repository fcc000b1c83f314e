"""Absent and not shared are one answer: body, headers, statements, leaf, and (test_absent_time.py) time."""

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hub import db
from hub.audit.log import Search
from hub.crypto.remote import RemoteKeys
from hub.sharing import query
from tests.wall.sending import Answer, Ask, send
from tests.world import World, feature, grant

PURPOSE = "research"
ITEM = "/collections/incidents/items/{}"
PATHS = {"record": ITEM, "explanation": f"{ITEM}/explain"}
# Why there is nothing to see → how the id is chosen (see `ids`).
KINDS = [
    "nobody has it",
    "no grant",
    "no agreement",
    "another purpose",
    "its window has passed",
    "under embargo",
    "not an id",
    "upper case",
]


@pytest.fixture(scope="module")
def ids(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One id for each kind, and one of a record that is shared."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "hospital", "reader"):
        world.organisation(slug)
    world.organisation("auditor", "auditor")
    now = datetime.now(UTC)
    where = [{"field": "category", "one_of": ["theft"]}]
    window = {"lookback": "P30D", "embargo": "P2D"}
    fields = {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "place": {"grid_m": 500}, "narrative": "clear"}
    world.mou(folder, "MOU-1", "police", "reader", [grant(where=where, fields=fields, occurred=window), grant("other", ["other"])])
    times = {"shown": 10, "its window has passed": 40, "under embargo": 1, "no grant": 10, "another purpose": 10, "no agreement": 10}
    found = {}
    for kind, days in times.items():
        provider = "hospital" if kind == "no agreement" else "police"
        category = "fire" if kind in ("no grant", "another purpose") else "theft"
        sent = feature(kind, occurred_at=(now - timedelta(days=days)).isoformat(), category=category, narrative="x")
        answer = world.publish(provider, sent)
        assert answer.status_code == 201
        found[kind] = answer.json()["records"][0]["id"]
    return found | {"nobody has it": str(uuid4()), "not an id": "A-1", "upper case": found["shown"].upper()}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    """What is asked about a record: the record, or why it looks as it does."""
    return PATHS[request.param]


def _ask(world: World, wanted: str, path: str = ITEM, method: str = "GET") -> Answer:
    return send(world, [Ask(method, path.format(wanted), "reader", PURPOSE)])[0][0]


def test_the_shared_record_is_there(world: World, ids: dict[str, str], path: str) -> None:
    assert _ask(world, ids["shown"], path).status == 200
    other = send(world, [Ask("GET", path.format(ids["another purpose"]), "reader", "other")])[0][0]
    assert other.status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_same_byte_for_byte(world: World, ids: dict[str, str], path: str, kind: str, method: str) -> None:
    expected = _ask(world, str(uuid4()), path, method)
    assert expected.status == 404
    assert _ask(world, ids[kind], path, method) == expected
    assert ids[kind].encode() not in expected.body


def test_an_absent_record_and_its_explanation_are_one_answer(world: World, ids: dict[str, str]) -> None:
    assert _ask(world, ids["no grant"], PATHS["explanation"]) == _ask(world, ids["no grant"])


# --- the statements ----------------------------------------------------------------------------------------------------------------


class Spy:
    """Every message of a transaction: what PostgreSQL is asked to do, and how many characters are sent for it; and every message to the
    key process.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.heard: list[tuple[str, int]] = []
        for name in ("rows", "prepare", "copy"):
            patch.setattr(db.Transaction, name, self._listening(getattr(db.Transaction, name)))
        asked = RemoteKeys._exchange
        patch.setattr(RemoteKeys, "_exchange", lambda keys, message: (self.heard.append(("keys", len(message))), asked(keys, message))[1])

    def _listening(self, said: Callable[..., Any]) -> Callable[..., Any]:
        def listening(tx: db.Transaction, statement: str, *arguments: Any) -> Any:
            if threading.current_thread().name in ("keyd", "sequencer"):  # which go on, whoever asks for what
                return said(tx, statement, *arguments)
            given = arguments[0] if arguments else ()
            text = tx._cursor.mogrify(statement, given).decode() if said.__name__ == "rows" else f"{statement} {given}"
            # A time that falls on a whole second is written shorter, whatever it is the time of.
            self.heard.append((statement, len(re.sub(r"'[^']*'::timestamptz", "T", text))))
            return said(tx, statement, *arguments)

        return listening


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def _heard(world: World, spy: Spy, wanted: str, path: str = ITEM) -> list[tuple[str, int]]:
    _ask(world, wanted, path)  # the first may have to prepare, or to learn of a new policy
    spy.heard.clear()
    _ask(world, wanted, path)
    return list(spy.heard)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_statements_are_executed(world: World, ids: dict[str, str], spy: Spy, path: str, kind: str) -> None:
    expected = _heard(world, spy, str(uuid4()))
    assert any("execute incidents_item" in statement for statement, _ in expected)
    assert any("audit_append" in statement for statement, _ in expected)
    assert _heard(world, spy, ids[kind], path) == expected


def test_one_more_look_is_noticed(world: World, ids: dict[str, str], spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a build that looks a hidden record up once more than one that is not there."""
    _look_twice(world, monkeypatch, {ids["no grant"]})
    assert _heard(world, spy, ids["no grant"]) != _heard(world, spy, str(uuid4()))


def _look_twice(world: World, patch: pytest.MonkeyPatch, existing: set[str]) -> None:
    execute = query.Querying.execute

    def twice(self: Any, session: Any, path: str, arguments: Any, reach: Any) -> Any:
        found = execute(self, session, path, arguments, reach)
        if path == "item" and arguments[0] in existing:
            execute(self, session, path, arguments, reach)
        return found

    patch.setattr(query.Querying, "execute", twice)


# --- the log -----------------------------------------------------------------------------------------------------------------------


def _newest(world: World) -> Iterator[Any]:
    (entry,) = world.services.log.find(Search(limit=1))
    yield entry.body
    yield len(entry.text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_leaf_is_of_one_kind_and_length(world: World, ids: dict[str, str], path: str, kind: str) -> None:
    _ask(world, str(uuid4()))
    expected, length = _newest(world)
    _ask(world, ids[kind], path)
    leaf, its_length = _newest(world)
    assert leaf["decision"] == expected["decision"] == "absent"
    assert its_length == length
    assert "owner" not in leaf
    assert "under" not in leaf
    assert "shown" not in leaf
    differ = {name for name in leaf if leaf[name] != expected[name]}
    assert differ == {"asked", "at", "event", "salt"}
    # the id that was asked for is sealed and keyed-hashed: what is in clear of the question is the same
    assert {n: v for n, v in leaf["asked"].items() if n not in ("literals", "hash")} == {"fields": ["id"]}
    assert len(leaf["asked"]["literals"]) == len(expected["asked"]["literals"])


def test_no_owner_learns_that_somebody_asked_for_its_hidden_record(world: World, ids: dict[str, str]) -> None:
    """A leaf for the owner would need a look at who owns it: absent and hidden could then be told apart."""
    before = world.leaves(owner="police")
    _ask(world, ids["no grant"])
    assert world.leaves(owner="police") == before


# --- the log's own pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["no grant", "no agreement", "its window has passed", "shown", "not an id"])
def test_asking_the_log_for_a_record_of_others_is_the_same_answer(world: World, ids: dict[str, str], spy: Spy, kind: str) -> None:
    def asked(wanted: str) -> tuple[Answer, list[tuple[str, int]]]:
        spy.heard.clear()
        answer = send(world, [Ask("GET", "/audit/events", "reader", None, (("record", wanted),))])[0][0]
        return answer, list(spy.heard)

    asked(str(uuid4()))
    (expected, statements), (answer, its_statements) = asked(str(uuid4())), asked(ids[kind])
    assert expected.status == 404
    assert answer == expected
    assert its_statements == statements


# --- a client that may not read at all ---------------------------------------------------------------------------------------------


def test_without_any_agreement_every_record_is_absent(world: World, ids: dict[str, str], path: str) -> None:
    """And not forbidden: a 403 for some and a 404 for others would say which are there."""
    asked = [Ask("GET", path.format(wanted), "hospital", PURPOSE) for wanted in (*ids.values(), str(uuid4()))]
    answers = {answer for (answer,) in send(world, asked)}
    assert {answer.status for answer in answers} == {404}
    assert len(answers) == 1
