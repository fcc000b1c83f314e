"""Access reviews: opened when their period is over, with figures that the log gives again; decided by one person, signed off for good."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
import sqlalchemy as sa

from hub.audit import gathering
from hub.audit.figures import text_of
from hub.audit.flagged import FlagSearch
from hub.audit.leaf import By, instant
from hub.audit.log import Search
from hub.audit.periods import begin_of, end_of
from hub.audit.review import Decision, Run
from hub.audit.reviews import LATE, Reviews, SetUp
from hub.db import transaction
from hub.errors import Conflict, Forbidden, InvalidRequest, NoSuchResource, Unavailable
from hub.identity import people
from hub.reports import access_review
from tests.oversight.conftest import Story
from tests.pdf import text_of as words_of


@dataclass(frozen=True)
class Scene:
    story: Story
    reviews: Reviews
    people: dict[str, UUID]

    def by(self, who: str) -> By:
        return By(who.partition("@")[2], session="s", person=str(self.people[who]))

    def new(self, who: str = "one@watch", **more: Any) -> SetUp:
        begin = begin_of(self.story.world.clock() - self.story.world.clock.ahead, "month")
        return SetUp(
            **{"title": "Everything", "scope": {}, "every": "month", "within_days": 14, "assignee": self.people[who], "begin": begin} | more
        )

    def set_up(self, who: str = "one@watch", **more: Any) -> UUID:
        return self.reviews.set_up(self.by(who), self.new(who, **more))

    def later(self, days: int = 1) -> None:
        """So many days after the end of this month; what is there by then was looked at for flags."""
        clock = self.story.world.clock
        clock.ahead = end_of(self.new().begin, "month") + timedelta(days=days) - (clock() - clock.ahead)
        self.story.look()

    def opened(self, who: str = "one@watch", **more: Any) -> Run:
        """The run of a new review, once its period is over."""
        review = self.set_up(who, **more)
        self.later()
        self.reviews.open_due(self.story.watch.reached)
        return self.run_of(review, who)

    def run_of(self, review: UUID, who: str = "one@watch") -> Run:
        slug = who.partition("@")[2]
        (found,) = [s.id for s in self.reviews.runs(slug) if s.review.id == review]
        return self.reviews.run(found, slug)

    def decided(self, run: Run, who: str = "one@watch") -> Run:
        self.reviews.decide(self.by(who), run.id, [Decision(line["line"], "in-order", "") for line in run.lines])
        return self.reviews.run(run.id, who.partition("@")[2])

    def leaf(self) -> dict[str, Any]:
        return self.story.logged("review")[-1]


@pytest.fixture(scope="module")
def used(story: Story) -> Scene:
    """Health and housing walked, fire was refused; police and watch have auditors."""
    story.walk("health")
    story.walk("housing")
    story.refused()
    engine = story.world.database.writer
    roles = {"one@watch": ["auditor"], "two@watch": ["auditor"], "auditor@police": ["auditor"], "auditor@ambulance": ["auditor"]}
    made = {who: people.add(engine, who.partition("@")[2], who, f"Somebody: {who}", role).id for who, role in roles.items()}
    return Scene(story, Reviews(story.world.database.auditor, story.world.clock), made)


@pytest.fixture
def scene(used: Scene) -> Iterator[Scene]:
    yield used
    used.story.world.clock.ahead = timedelta(0)
    with used.story.world.superuser() as admin:
        admin.exec_driver_sql("update hub.access_reviews set ended_at = now() where ended_at is null")


def test_a_run_is_opened_when_its_period_is_over_and_was_looked_at_for_flags(scene: Scene) -> None:
    review = scene.set_up()
    assert (scene.leaf()["asked"]["step"], "owner" in scene.leaf()) == ("set up", False)
    assert scene.reviews.open_due(lambda until: True) == 0
    scene.later()
    assert scene.reviews.open_due(lambda until: False) == 0
    assert scene.reviews.open_due(scene.story.watch.reached) == 1
    run = scene.run_of(review)
    assert (run.since, run.until) == (begin_of(run.since, "month"), end_of(run.since, "month"))
    assert run.due_at - run.opened_at == timedelta(days=14)
    asked = scene.leaf()["asked"]
    assert (asked["step"], asked["run"], asked["figures"]) == ("opened", str(run.id), run.figures_sha256)
    assert scene.reviews.open_due(scene.story.watch.reached) == 0
    assert scene.leaf()["asked"]["run"] == str(run.id)


def test_a_period_that_ended_just_now_waits_for_leaves_on_their_way(scene: Scene) -> None:
    review = scene.set_up()
    until = end_of(scene.new().begin, "month")
    real = scene.story.world.clock() - scene.story.world.clock.ahead
    scene.story.world.clock.ahead = until + LATE - timedelta(minutes=1) - real
    assert scene.reviews.open_due(lambda until: True) == 0
    scene.story.world.clock.ahead += timedelta(minutes=2)
    assert scene.reviews.open_due(lambda until: True) == 1
    assert scene.run_of(review).until == until


def test_the_figures_are_those_of_every_leaf_of_the_period_and_the_log_gives_them_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scene.opened()
    entries = scene.story.world.services.log.find(Search(limit=10_000, since=run.since, until=run.until - timedelta(milliseconds=1)))
    flags = scene.story.world.services.flags.find(FlagSearch(limit=1_000))
    expected = text_of({}, instant(run.since), instant(run.until), [e.body for e in entries], [f.told() for f in reversed(flags)])
    assert run.figures == expected
    assert {(line["organisation"], line.get("owner")) for line in run.lines} == {
        ("health", "police"), ("housing", "police"), ("housing", "ambulance"), ("fire", None)
    }  # fmt: skip
    assert all(line["flags"] for line in run.lines)
    for size in (1, 7, 5_000):
        monkeypatch.setattr(gathering, "AT_ONCE", size)
        assert scene.reviews.again(run) == run.figures


def test_a_log_that_was_altered_gives_other_figures(scene: Scene) -> None:
    """The control."""
    run = scene.opened()
    take = "delete from hub.audit_leaves where id = (select min(id) from hub.audit_leaves where type = 'query' and owner = 'police')"
    with scene.story.world.superuser() as admin:
        kept = admin.exec_driver_sql(take.replace("delete from", "select * from", 1)).mappings().one()
        admin.exec_driver_sql("alter table hub.audit_leaves disable trigger append_only")
        admin.exec_driver_sql(take)
    try:
        assert scene.reviews.again(run) != run.figures
    finally:
        columns = ", ".join(kept)
        with scene.story.world.superuser() as admin:
            admin.exec_driver_sql(
                f"insert into hub.audit_leaves ({columns}) overriding system value values ({', '.join(['%s'] * len(kept))})",
                tuple(kept.values()),
            )
            admin.exec_driver_sql("alter table hub.audit_leaves enable trigger append_only")
    assert scene.reviews.again(run) == run.figures


SCOPES: list[tuple[dict[str, str], Callable[[dict[str, Any]], bool]]] = [
    ({"owner": "police"}, lambda line: line.get("owner") == "police"),
    ({"organisation": "housing"}, lambda line: line["organisation"] == "housing"),
    ({"mou": "MOU-3"}, lambda line: "MOU-3" in str(line["under"])),
    ({"mou": "MOU-NONE"}, lambda line: False),
    ({"purpose": "research", "dataset": "incidents", "owner": "ambulance"}, lambda line: line.get("owner") == "ambulance"),
]


@pytest.mark.parametrize(("scope", "fits"), SCOPES, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_scope_leaves_the_lines_that_it_says(scene: Scene, scope: dict[str, str], fits: Callable[[dict[str, Any]], bool]) -> None:
    whole, narrowed = scene.opened(), scene.opened(title="Narrowed", scope=scope)
    expected = [line for line in whole.lines if fits(line)]
    assert [line | {"line": 0} for line in narrowed.lines] == [line | {"line": 0} for line in expected]


def test_several_processes_open_a_run_once(scene: Scene) -> None:
    reviews = [scene.set_up(title=f"Number {n}") for n in range(3)]
    scene.later()
    threads = [threading.Thread(target=scene.reviews.open_due, args=(scene.story.watch.reached,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scene.reviews.open_due(scene.story.watch.reached)
    assert sorted(s.review.id for s in scene.reviews.runs("watch") if s.review.id in reviews) == sorted(reviews)


def test_periods_that_went_by_are_opened_one_after_the_other(scene: Scene) -> None:
    review = scene.set_up()
    scene.later(100)
    for number in (1, 2, 3):
        assert scene.reviews.open_due(scene.story.watch.reached) == 1
        runs = sorted((s for s in scene.reviews.runs("watch") if s.review.id == review), key=lambda s: s.since)
        assert len(runs) == number
    assert [b.since for b in runs[1:]] == [a.until for a in runs[:-1]]
    assert [r.lines > 0 for r in runs] == [True, False, False]


def test_what_is_another_organisations_is_absent(scene: Scene) -> None:
    run = scene.opened("auditor@police", scope={"owner": "police"})
    assert {line["owner"] for line in run.lines} == {"police"}
    assert scene.leaf()["owner"] == "police"
    for slug in ("watch", "ambulance"):
        assert run.review.id not in [r.id for r in scene.reviews.of(slug)]
        assert run.id not in [s.id for s in scene.reviews.runs(slug)]
        with pytest.raises(NoSuchResource):
            scene.reviews.run(run.id, slug)
    for who in ("one@watch", "auditor@ambulance"):
        for step in (
            lambda by: scene.reviews.assign(by, run.review.id, scene.people["one@watch"]),
            lambda by: scene.reviews.end(by, run.review.id),
            lambda by: scene.reviews.decide(by, run.id, []),
            lambda by: scene.reviews.sign(by, run.id),
        ):
            with pytest.raises(NoSuchResource):
                step(scene.by(who))
    assert scene.reviews.run(run.id, "police") == run


def test_whom_it_is_assigned_to_decides_and_nobody_else(scene: Scene) -> None:
    run = scene.opened()
    with pytest.raises(Forbidden):
        scene.reviews.decide(scene.by("two@watch"), run.id, [Decision(1, "in-order", "")])
    with pytest.raises(Forbidden):
        scene.reviews.sign(scene.by("two@watch"), run.id)
    with pytest.raises(Forbidden):  # a program of the organisation is nobody
        scene.reviews.sign(By("watch", "watch"), run.id)
    scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(1, "question", "Why at night?"), Decision(2, "in-order", "")])
    scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(1, "revoke", "No answer.")])
    found = scene.reviews.run(run.id, "watch").decisions
    assert {n: (d.decision, d.note, d.person) for n, d in found.items()} == {
        1: ("revoke", "No answer.", str(scene.people["one@watch"])),
        2: ("in-order", "", str(scene.people["one@watch"])),
    }
    assert scene.leaf()["asked"] == {"step": "decided", "run": str(run.id), "lines": [1]}


@pytest.mark.parametrize(
    "decision",
    [
        Decision(0, "in-order", ""),
        Decision(99, "in-order", ""),
        Decision(1, "odd", ""),
        Decision(1, "question", ""),
        Decision(1, "revoke", ""),
        Decision(1, "in-order", "x" * 2_001),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_with_all_that_came_with_it(scene: Scene, decision: Decision) -> None:
    run = scene.opened()
    with pytest.raises(InvalidRequest):
        scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(2, "in-order", ""), decision])
    assert scene.reviews.run(run.id, "watch").decisions == {}


@pytest.mark.parametrize(
    "more", [{"title": ""}, {"title": "x" * 201}, {"title": "a\nb"}, {"every": "day"}, {"within_days": 0}, {"within_days": 91}]
)
def test_a_review_that_makes_no_sense_is_not_set_up(scene: Scene, more: dict[str, Any]) -> None:
    before = scene.reviews.of("watch")
    with pytest.raises(InvalidRequest):
        scene.set_up(**more)
    assert scene.reviews.of("watch") == before


def test_it_is_signed_off_once_every_line_is_decided_and_the_log_has_its_hashes(scene: Scene) -> None:
    run = scene.opened()
    scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(1, "revoke", "Not their task.")])
    with pytest.raises(Conflict, match="lines 2, 3, 4"):
        scene.reviews.sign(scene.by("one@watch"), run.id)
    scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(line["line"], "in-order", "") for line in run.lines[1:]])
    signed = scene.reviews.sign(scene.by("one@watch"), run.id)
    assert signed.signed
    said = json.loads(signed.signed)
    assert said["figures_sha256"] == sha256(run.figures.encode()).hexdigest()
    assert [(d["line"], d["decision"]) for d in said["decisions"]] == [(1, "revoke"), (2, "in-order"), (3, "in-order"), (4, "in-order")]
    assert said["signed"] == {
        "organisation": "watch",
        "person": str(scene.people["one@watch"]),
        "at": instant(signed.signed_at or datetime.min),
    }
    asked = scene.leaf()["asked"]
    assert (asked["step"], asked["figures"]) == ("signed", run.figures_sha256)
    assert asked["sha256"] == signed.signed_sha256 == sha256(signed.signed.encode()).hexdigest()
    assert asked["decisions"] == {"in-order": 3, "question": 0, "revoke": 1}
    assert scene.leaf()["by"]["person"] == str(scene.people["one@watch"])


def test_a_run_in_which_nobody_used_anything_can_be_signed_off(scene: Scene) -> None:
    run = scene.opened(scope={"mou": "MOU-NONE"})
    assert run.lines == []
    assert scene.reviews.sign(scene.by("one@watch"), run.id).signed_at


def test_what_is_signed_off_never_changes(scene: Scene) -> None:
    run = scene.decided(scene.opened())
    signed = scene.reviews.sign(scene.by("one@watch"), run.id)
    with pytest.raises(Conflict):
        scene.reviews.sign(scene.by("one@watch"), run.id)
    with pytest.raises(Conflict):
        scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(1, "revoke", "After all.")])
    scene.reviews.assign(scene.by("two@watch"), run.review.id, scene.people["two@watch"])
    assert replace(scene.reviews.run(run.id, "watch"), review=signed.review) == signed


ATTACKS = [
    "update hub.review_runs set signed_at = now() where id = '{run}'",
    "update hub.review_runs set signed = null, signed_at = null where id = '{run}'",
    "update hub.review_runs set assignee = '{person}' where id = '{run}'",
    "insert into hub.review_marks (run, line, decision, note, person, at) values ('{run}', 1, 'revoke', 'x', '{person}', now())",
]
FIXED = [
    "update hub.review_runs set figures = '{{}}' where id = '{run}'",
    "update hub.review_runs set due_at = now() where id = '{run}'",
    "delete from hub.review_marks where run = '{run}'",
    "update hub.review_marks set decision = 'in-order' where run = '{run}'",
    "delete from hub.review_runs where id = '{run}'",
    "truncate hub.review_runs cascade",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_database_refuses_to_change_what_is_signed_off_whoever_asks(scene: Scene, attack: str) -> None:
    open_run, signed = scene.decided(scene.opened()), scene.decided(scene.opened())
    scene.reviews.sign(scene.by("one@watch"), signed.id)
    text = attack.format(run=signed.id, person=scene.people["two@watch"])
    with pytest.raises(psycopg2.Error, match="never changes"), transaction(scene.story.world.database.auditor) as tx:
        tx.rows(text)
    with pytest.raises(sa.exc.DBAPIError, match="never changes"), scene.story.world.superuser() as admin:
        admin.exec_driver_sql(text)
    if "signed =" not in attack and "signed_at" not in attack:  # the control: of one that is open they may
        with transaction(scene.story.world.database.auditor) as tx:
            tx.rows(attack.format(run=open_run.id, person=scene.people["two@watch"]))


@pytest.mark.parametrize("attack", FIXED)
def test_the_database_refuses_to_change_what_a_run_is_about_also_before_it_is_signed(scene: Scene, attack: str) -> None:
    run = scene.decided(scene.opened())
    text = attack.format(run=run.id)
    with pytest.raises(psycopg2.Error, match="permission denied"), transaction(scene.story.world.database.auditor) as tx:
        tx.rows(text)
    with pytest.raises(sa.exc.DBAPIError, match=r"never changes|only ever added to"), scene.story.world.superuser() as admin:
        admin.exec_driver_sql(text)
    assert scene.reviews.run(run.id, "watch") == run


def test_somebody_else_goes_on_with_what_is_not_signed_and_an_ended_review_opens_nothing(scene: Scene) -> None:
    run = scene.opened()
    scene.reviews.assign(scene.by("one@watch"), run.review.id, scene.people["two@watch"])
    with pytest.raises(Forbidden):
        scene.decided(run, "one@watch")
    scene.reviews.end(scene.by("one@watch"), run.review.id)
    with pytest.raises(NoSuchResource):
        scene.reviews.end(scene.by("one@watch"), run.review.id)
    scene.later(90)
    assert scene.reviews.open_due(scene.story.watch.reached) == 0
    assert scene.reviews.sign(scene.by("two@watch"), scene.decided(run, "two@watch").id).signed_at


def test_what_is_not_signed_in_time_is_overdue(scene: Scene) -> None:
    run = scene.opened(within_days=3)
    assert not run.overdue(run.due_at)
    assert run.overdue(run.due_at + timedelta(seconds=1))
    signed = scene.reviews.sign(scene.by("one@watch"), scene.decided(run).id)
    assert not signed.overdue(run.due_at + timedelta(days=9))


def test_without_a_log_no_step_is_taken(scene: Scene) -> None:
    run = scene.decided(scene.opened())
    waiting = scene.set_up(title="Waiting")
    before = (scene.reviews.of("watch"), scene.reviews.runs("watch"), scene.reviews.run(run.id, "watch"))
    steps: list[Callable[[], object]] = [
        scene.set_up,
        lambda: scene.reviews.assign(scene.by("one@watch"), run.review.id, scene.people["two@watch"]),
        lambda: scene.reviews.end(scene.by("one@watch"), run.review.id),
        lambda: scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(1, "revoke", "x")]),
        lambda: scene.reviews.sign(scene.by("one@watch"), run.id),
        lambda: scene.reviews.open_due(lambda until: True),
    ]
    with scene.story.world.superuser() as admin:
        admin.exec_driver_sql("revoke execute on function hub.audit_append from hub_auditor")
    try:
        for step in steps:
            with pytest.raises(Unavailable):
                step()
    finally:
        with scene.story.world.superuser() as admin:
            admin.exec_driver_sql("grant execute on function hub.audit_append to hub_auditor")
    assert (scene.reviews.of("watch"), scene.reviews.runs("watch"), scene.reviews.run(run.id, "watch")) == before
    assert scene.reviews.open_due(scene.story.watch.reached) >= 1
    assert scene.run_of(waiting)


def test_the_document_says_all_of_it_and_is_the_same_each_time(scene: Scene) -> None:
    run = scene.opened(title="Quarterly look at Ärzte & “others”")
    with pytest.raises(Conflict):
        access_review.render(run, {})
    scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(1, "revoke", "Not their task.")])
    scene.reviews.decide(scene.by("one@watch"), run.id, [Decision(line["line"], "in-order", "") for line in run.lines[1:]])
    signed = scene.reviews.sign(scene.by("one@watch"), run.id)
    names = {str(scene.people["one@watch"]): "Somebody: one@watch"}
    pdf = access_review.render(signed, names)
    assert pdf.startswith(b"%PDF-")
    assert access_review.render(signed, names) == pdf
    assert access_review.render(signed, {}) != pdf
    text = "".join(words_of(pdf)).replace(" ", "")
    for line in signed.lines:
        for said in (line["organisation"], f"{line['records']:,} records given", *(f["reason"] for f in line["flags"])):
            assert line["accesses"] == 0 or said.replace(" ", "") in text, said
    for said in (
        "Not their task.",
        "to be revoked",
        "Somebody: one@watch",
        signed.figures_sha256,
        signed.signed_sha256,
        signed.review.title,
        str(run.id),
    ):
        assert str(said).replace(" ", "") in text, said


def test_a_run_of_nobody_is_absent(scene: Scene) -> None:
    with pytest.raises(NoSuchResource):
        scene.reviews.run(uuid4(), "watch")
