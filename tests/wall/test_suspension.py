"""Suspension and termination reach everything that is under way: pooled connections, open cursors, requests that have read and not yet
logged, exports, maps, explanations, conditional requests; clients and people alike. The steps are those of agreement leads, over HTTP.

Nothing of a record is sent in pieces: pages, maps and exports are one body, made after the one commit of their leaf.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hub.api.services import SESSION_COOKIE
from hub.identity import people
from hub.identity.people import Person
from hub.sharing import disclosure, overview
from hub.sharing.live import Policies, Policy
from tests.agreements.parties import Party, party
from tests.wall.sending import Answer, Ask, send
from tests.wall.under_way import POOL, between, on_every_connection
from tests.world import World, feature, grant

ITEMS, MAP = "/collections/incidents/items", "/collections/incidents/map"
EARTH, ONE = (("bbox", "-180,-90,180,90"),), (("limit", "1"),)
CANARY = "A canary sings at the harbour"
SHOWN = {"category": "clear", "occurred_at": "clear", "place": "clear", "narrative": "clear"}
UNCHANGED = (("If-None-Match", "*"), ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"))
ENDINGS: dict[str, Callable[[Party, str], Any]] = {
    "suspended": lambda police, mou: police.step("suspension", mou, reason="A doubt"),
    "terminated": lambda police, mou: police.step("termination", mou, reason="The project is over"),
}


@pytest.fixture(scope="module")
def police(world: World) -> Party:
    """The provider, with two records."""
    world.organisation("police")
    assert world.publish("police", *(feature(f"A-{n}", narrative=CANARY) for n in range(2))).status_code == 201
    return party(world, "police")


@dataclass(frozen=True)
class Work:
    """A reader in the middle of its work under an agreement of its own: a client with a token, or an analyst (`cookie`, `csrf`). `record`
    is shared with it; `following` is the address of its next page.
    """

    world: World
    police: Party
    slug: str
    person: Person
    cookie: str | None
    csrf: str
    record: str = ""
    following: str = ""

    @property
    def mou(self) -> str:
        return f"MOU-{self.slug.upper()}"

    def end(self, how: str) -> None:
        answer = ENDINGS[how](self.police, self.mou)
        assert answer.json()["state"] == how

    def ask(self, path: str, method: str = "GET", **more: Any) -> Answer:
        headers = (*more.pop("headers", ()), *((("Cookie", f"{SESSION_COOKIE}={self.cookie}"),) if self.cookie else ()))
        client = (None, None) if self.cookie else (self.slug, "research")
        ((answer,),) = send(self.world, [Ask(method, path, *client, headers=headers, **more)])
        return answer

    def leaves(self) -> list[dict[str, Any]]:
        return self.world.leaves(organisation=self.slug)


WAYS: dict[str, Callable[[Work], Answer]] = {
    "a page": lambda work: work.ask(ITEMS),
    "the next page": lambda work: work.ask(work.following),
    "the length of a page": lambda work: work.ask(ITEMS, "HEAD"),
    "a page, unless it is as before": lambda work: work.ask(ITEMS, headers=UNCHANGED),
    "a map": lambda work: work.ask(MAP, params=EARTH),
    "a record": lambda work: work.ask(f"{ITEMS}/{work.record}"),
    "a record, unless it is as before": lambda work: work.ask(f"{ITEMS}/{work.record}", headers=UNCHANGED),
    "an explanation": lambda work: work.ask(f"{ITEMS}/{work.record}/explain"),
    "counts": lambda work: work.ask("/collections/incidents/counts"),
    "an export": lambda work: work.ask("/map/export", "POST", params=EARTH, form={"csrf": work.csrf}),
}
BY = {"a client": [way for way in WAYS if way != "an export"], "an analyst": list(WAYS)}  # exports are made by people alone
ABSENT = ("a record", "a record, unless it is as before", "an explanation")
ENDED = {way: 404 if way in ABSENT else 403 for way in WAYS}


@pytest.fixture
def start(world: World, police: Party, tmp_path: Path) -> Callable[[str], Work]:
    """Begins a reader's work: `by` a client or an analyst."""

    def begin(by: str) -> Work:
        slug = f"reader-{time.time_ns()}"
        world.organisation(slug)
        everything = grant(actions=["query", "export"], fields=SHOWN, aggregates={"min_count": 2})
        world.mou(tmp_path, f"MOU-{slug.upper()}", "police", slug, [everything])
        person = people.add(world.database.writer, slug, f"analyst@{slug}", "Analyst", ["analyst"])
        cookie, session = world.services.sessions.begin(person, "passkey")
        world.services.sessions.choose(session, "research", None)
        work = Work(world, police, slug, person, cookie if by == "an analyst" else None, session.csrf)
        first = work.ask(ITEMS, params=ONE)
        assert first.following
        return replace(work, record=first.ids[0], following=first.following)

    return begin


def _asked(work: Work, by: str) -> dict[str, int]:
    """How each way of asking is answered; of what is not given, nothing is told."""
    answers = {way: WAYS[way](work) for way in BY[by]}
    for way, answer in answers.items():
        _gives_all_or_nothing(way, answer)
    return {way: answer.status for way, answer in answers.items()}


def _gives_all_or_nothing(way: str, answer: Answer) -> None:
    if answer.status == 200:
        assert b"theft" in answer.body or way == "the length of a page"
    else:
        assert not any(word in answer.body for word in (CANARY.encode(), b"theft", b"43.65", b'"features"', b'"records"')), way


def _all(by: str) -> dict[str, int]:
    return dict.fromkeys(BY[by], 200)


def _none(by: str) -> dict[str, int]:
    return {way: ENDED[way] for way in BY[by]}


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("by", BY)
def test_from_the_next_question_on_nothing_is_given_whatever_is_asked(start: Callable[[str], Work], by: str, how: str) -> None:
    work = start(by)
    assert _asked(work, by) == _all(by)
    work.end(how)
    assert _asked(work, by) == _none(by)


@pytest.mark.parametrize("how", ENDINGS)
def test_every_pooled_connection_that_was_used_before_gives_nothing(
    start: Callable[[str], Work], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    work = start("a client")
    asked = lambda: _asked(work, "a client")  # noqa: E731
    assert on_every_connection(monkeypatch, asked) == [_all("a client")] * POOL
    work.end(how)
    assert on_every_connection(monkeypatch, asked) == [_none("a client")] * POOL


@pytest.mark.parametrize("by", BY)
def test_what_is_resumed_gives_again_with_what_was_published_meanwhile(start: Callable[[str], Work], by: str) -> None:
    """So it was the suspension that refused, and the cursor is as good as before."""
    work = start(by)
    work.end("suspended")
    assert _asked(work, by) == _none(by)
    name = f"LATER-{work.slug}"
    assert work.world.publish("police", feature(name)).status_code == 201
    assert _asked(work, by) == _none(by)
    before = {leaf["event"] for leaf in work.leaves()}
    assert work.police.step("resumption", work.mou).json()["state"] == "active"
    assert _asked(work, by) == _all(by)
    with work.world.superuser() as admin:
        later = admin.exec_driver_sql("select id::text from hub.incidents where external_id = %s", (name,)).scalar_one()
    assert later in work.ask(ITEMS, params=(("limit", "1000"),)).ids
    assert {leaf["decision"] for leaf in work.leaves() if leaf["event"] not in before and leaf["type"] == "query"} == {"permit"}


def test_what_another_agreement_gives_stays_and_no_more(start: Callable[[str], Work], tmp_path: Path) -> None:
    """A cursor made under both is of no use under one; the record shows what the other one releases."""
    work = start("a client")
    work.world.mou(tmp_path, f"{work.mou}-OTHER", "police", work.slug, [grant("other", fields={"category": "clear"})])
    cursor = work.ask(ITEMS, params=ONE).following
    assert cursor
    work.end("suspended")
    refused = work.ask(cursor)
    assert (refused.status, b'"field":"cursor"' in refused.body) == (400, True)
    _gives_all_or_nothing("the next page", refused)
    for answer in (work.ask(ITEMS), work.ask(f"{ITEMS}/{work.record}")):
        assert (answer.status, b"theft" in answer.body) == (200, True)
        assert CANARY.encode() not in answer.body
        assert b"43.65" not in answer.body


def test_a_map_that_counts_counts_nothing_more(start: Callable[[str], Work], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_RECORDS", 1)
    work = start("a client")
    assert b'"kind":"counts"' in WAYS["a map"](work).body
    work.end("suspended")
    refused = WAYS["a map"](work)
    assert (refused.status, b"counts" in refused.body) == (403, False)


def test_no_answer_may_be_kept_or_asked_for_again_on_a_condition(start: Callable[[str], Work]) -> None:
    """A browser or a proxy that kept an answer, or could ask whether it still holds, would show it after the suspension."""
    work = start("an analyst")
    for way in WAYS:
        headers = dict(WAYS[way](work).headers)
        assert headers[b"cache-control"] == b"no-store", way
        assert headers.keys().isdisjoint({b"etag", b"last-modified", b"expires"}), way


def test_an_analyst_is_offered_neither_the_purpose_nor_the_export_any_more(start: Callable[[str], Work]) -> None:
    work = start("an analyst")
    agreements, number, now = work.world.services.agreements, work.person.organisation.id, work.world.clock()
    assert [p.word for p in agreements.purposes(number, now)] == ["research"]
    assert agreements.may_export(number, "research", now)
    work.end("suspended")
    assert agreements.purposes(number, now) == []
    assert not agreements.may_export(number, "research", now)
    assert b"No agreement lets your organisation export" in work.ask("/map").body


UNDER_WAY = [
    *(("a client", way, "suspended") for way in BY["a client"]),
    *(("an analyst", way, "suspended") for way in ("a page", "an export")),
    *(("an analyst", way, "terminated") for way in ("the next page", "a record", "an export")),
]


@pytest.mark.parametrize(("by", "way", "how"), UNDER_WAY)
def test_a_request_that_has_read_and_not_yet_logged_is_decided_again_and_refused(
    start: Callable[[str], Work], monkeypatch: pytest.MonkeyPatch, opened: list[int], by: str, way: str, how: str
) -> None:
    work = start(by)
    opened.clear()
    before = {leaf["event"] for leaf in work.leaves()}
    attempts = between(monkeypatch, lambda n: work.end(how) if n == 1 else None)
    answer = WAYS[way](work)
    _gives_all_or_nothing(way, answer)
    assert answer.status == ENDED[way]
    assert attempts == [1, 2]
    assert opened == []
    (leaf,) = [leaf for leaf in work.leaves() if leaf["event"] not in before and leaf["type"] != "mou"]
    assert leaf["decision"] == ("absent" if way in ABSENT else "refuse")
    assert leaf.keys().isdisjoint({"owner", "shown", "under"})


# --- the controls: builds that would let it through -----------------------------------------------------------------------------------


def _keeps(monkeypatch: pytest.MonkeyPatch, renumbered: bool) -> None:
    """A build that keeps the policy of the epoch it saw first: as it was, or under the number of the epoch that is asked for."""
    kept: list[Policy] = []
    real = Policies.at

    def at(self: Policies, tx: Any, epoch: int, now: datetime) -> Policy:
        kept[:] = kept or [real(self, tx, epoch, now)]
        return replace(kept[0], epoch=epoch) if renumbered else kept[0]

    monkeypatch.setattr(Policies, "at", at)


@pytest.mark.parametrize("by", BY)
def test_a_build_that_keeps_the_former_policy_is_caught(start: Callable[[str], Work], monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Every way of asking would notice, the open cursor among them."""
    work = start(by)
    _keeps(monkeypatch, renumbered=True)
    assert _asked(work, by) == _all(by)
    work.end("suspended")
    found = _asked(work, by)
    assert all(status != ENDED[way] for way, status in found.items()), found


def test_the_log_takes_nothing_from_a_build_that_keeps_the_former_policy_as_it_was(
    start: Callable[[str], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line: its leaves are refused, so it answers nothing at all. It is caught all the same."""
    work = start("a client")
    _keeps(monkeypatch, renumbered=False)
    assert _asked(work, "a client") == _all("a client")
    work.end("suspended")
    assert _asked(work, "a client") == dict.fromkeys(BY["a client"], 503)


@pytest.mark.parametrize("way", ["a page", "the next page", "a map", "a record", "an explanation", "an export"])
def test_a_build_whose_log_does_not_ask_for_the_epoch_is_caught(
    start: Callable[[str], Work], monkeypatch: pytest.MonkeyPatch, opened: list[int], way: str
) -> None:
    send = disclosure.send
    monkeypatch.setattr(disclosure, "send", lambda tx, **more: send(tx, **more | {"epoch": None}))
    with pytest.raises(AssertionError, match=r"assert 200 == 40[34]"):
        test_a_request_that_has_read_and_not_yet_logged_is_decided_again_and_refused(
            start, monkeypatch, opened, "an analyst", way, "suspended"
        )
