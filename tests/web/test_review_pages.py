"""The pages of access reviews: set up, assigned, decided, signed off, taken away as a PDF, by whom they are for; each step is logged."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from hub.audit.periods import begin_of, end_of
from hub.identity.people import Person
from tests.oversight.conftest import Story, partnership
from tests.pdf import text_of
from tests.web.served import Served
from tests.web.visiting import Visitor, links, words

HOSTILE = "<script>window.hostile=1</script> & more"
MONTHLY = {"title": "Monthly look", "every": "month", "first": "this", "within_days": "14"}


@dataclass(frozen=True)
class Scene:
    served: Served
    story: Story
    people: dict[str, Person]

    def visit(self, who: str) -> Visitor:
        return Visitor(self.served).begin(self.people[who])

    def fields(self, who: str, **more: str) -> dict[str, str]:
        return MONTHLY | {"assignee": str(self.people[who].id)} | more

    def open(self, who: str, **more: str) -> str:
        """The address of the run of a new review, once its period is over."""
        here = self.visit(who)
        answer = here.post("/reviews", self.fields(who, **more))
        assert answer.headers["location"] == "/reviews?done=set-up", answer.text
        clock = self.story.world.clock
        clock.ahead += end_of(begin_of(clock() - clock.ahead, "month"), "month") + timedelta(days=1) - clock()
        self.story.look()
        self.served.services.reviews.open_due(self.story.watch.reached)
        (newest, *_) = sorted(self.served.services.reviews.runs(who.partition("@")[2]), key=lambda r: r.review.set_up_at, reverse=True)
        return f"/reviews/runs/{newest.id}"

    def logged(self) -> list[dict[str, Any]]:
        return self.story.logged("review")


@pytest.fixture(scope="module")
def used(served: Served, person: Callable[..., Person], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    story = partnership(served.world, tmp_path_factory.mktemp("mous"))
    story.walk("health")
    story.walk("housing")
    seats = {
        "one@watch": "auditor",
        "two@watch": "auditor",
        "auditor@police": "auditor",
        "lead@police": "agreement-lead",
        "auditor@health": "auditor",
    }
    return Scene(served, story, {who: person(role, organisation=who.partition("@")[2]) for who, role in seats.items()})


@pytest.fixture
def scene(used: Scene) -> Iterator[Scene]:
    yield used
    used.story.world.clock.ahead = timedelta(0)
    with used.story.world.superuser() as admin:
        admin.exec_driver_sql("update hub.access_reviews set ended_at = now() where ended_at is null")


def decisions(page: Any, decision: str = "in-order", **notes: str) -> dict[str, str]:
    """Every line of a page, decided alike."""
    numbers = re.findall(r'name="note-(\d+)"', page.text)
    return {f"decision-{n}": decision for n in numbers} | {"page": "1"} | notes


def test_a_review_is_set_up_opened_decided_signed_off_and_taken_away(scene: Scene) -> None:
    run = scene.open("one@watch")
    here = scene.visit("one@watch")
    home = here.get("/home")
    assert "1 access review waits for you" in words(home)
    assert run in links(home)
    assert "0 of 3 lines" in words(here.get("/reviews"))
    page = here.get(run)
    assert {"housing", "health"} <= set(words(page).split())
    assert "MOU-1, version 1: all" in words(page)
    assert "not decided yet" in words(page)
    assert any(link.startswith("/flags/") for link in links(page))
    sent = here.post(run, decisions(page, **{"decision-1": "revoke", "note-1": HOSTILE}))
    assert sent.headers["location"] == f"{run}?page=1&done=decided"
    assert scene.logged()[-1]["asked"]["lines"] == [1, 2, 3]
    page = here.get(run)
    assert HOSTILE in page.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert "<script>window" not in page.text
    assert here.post(f"{run}/sign").status_code == 400  # the box wasn't ticked
    assert here.get(f"{run}/review.pdf").status_code == 409
    assert here.post(f"{run}/sign", {"seen": "yes"}).headers["location"] == f"{run}?done=signed"
    assert scene.logged()[-1]["asked"]["step"] == "signed"
    page = here.get(run)
    assert "signed off" in words(page)
    assert "Keep these decisions" not in page.text
    pdf = here.get(f"{run}/review.pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert scene.logged()[-1]["asked"]["sha256"] in "".join(text_of(pdf.content))
    assert here.post(run, decisions(page) | {"decision-1": "in-order"}).status_code == 409
    assert "waits for you" not in words(here.get("/home"))


def test_only_whom_it_is_assigned_to_decides_and_others_tries_are_logged(scene: Scene) -> None:
    run = scene.open("one@watch")
    other = scene.visit("two@watch")
    page = other.get(run)
    assert page.status_code == 200
    assert "Keep these decisions" not in page.text
    for address, fields in ((run, {"decision-1": "in-order"}), (f"{run}/sign", {"seen": "yes"})):
        assert other.post(address, fields).status_code == 403
        leaf = scene.logged()[-1]
        assert (leaf["decision"], leaf["by"]["person"]) == ("refuse", str(scene.people["two@watch"].id))
    review = scene.served.services.reviews.runs("watch")
    (number,) = {str(r.review.id) for r in review if run.endswith(str(r.id))}
    assert (
        other.post(f"/reviews/{number}/assign", {"assignee": str(scene.people["two@watch"].id)}).headers["location"]
        == "/reviews?done=assigned"
    )
    assert other.post(run, decisions(other.get(run))).headers["location"] == f"{run}?page=1&done=decided"
    assert scene.visit("one@watch").post(f"{run}/sign", {"seen": "yes"}).status_code == 403
    assert other.post(f"/reviews/{number}/end").headers["location"] == "/reviews?done=ended"
    assert other.post(f"{run}/sign", {"seen": "yes"}).headers["location"] == f"{run}?done=signed"


def test_an_owner_reviews_the_accesses_to_its_own_data_whatever_it_asks_for(scene: Scene) -> None:
    run = scene.open("auditor@police", owner="ambulance", title="Ours")
    page = scene.visit("auditor@police").get(run)
    assert "ambulance" not in words(page)
    assert "Whose data: police" in words(page)
    assert scene.logged()[-1]["owner"] == "police"
    assert scene.visit("lead@police").get(run).status_code == 200
    for who in ("one@watch", "auditor@health"):
        here = scene.visit(who)
        absent = here.get("/reviews/runs/7b0e0f0e-6d2c-4a53-9a55-0d1d0c6a4b11")
        assert here.get(run).status_code == absent.status_code == 404
        assert here.get(run).text == absent.text
        assert here.post(f"{run}/sign", {"seen": "yes"}).status_code == 404
        assert here.get(f"{run}/review.pdf").status_code == 404
        assert "Ours" not in here.get("/reviews").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""},
        {"every": "day"},
        {"first": "next"},
        {"within_days": "0"},
        {"within_days": "soon"},
        {"assignee": ""},
        {"assignee": "7b0e0f0e-6d2c-4a53-9a55-0d1d0c6a4b11"},
        {"mou": "x" * 201},
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_is_lost(scene: Scene, wrong: dict[str, str]) -> None:
    answer = scene.visit("one@watch").post("/reviews", scene.fields("one@watch", title="Kept in the form") | wrong)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert "title" in wrong or "Kept in the form" in answer.text
    assert scene.served.services.reviews.of("watch") == []


@pytest.mark.parametrize("who", ["lead@police", "auditor@police", "auditor@health"])
def test_a_review_is_assigned_to_an_auditor_of_ones_own_organisation_alone(scene: Scene, who: str) -> None:
    fields = scene.fields("one@watch") | {"assignee": str(scene.people[who].id)}
    assert scene.visit("one@watch").post("/reviews", fields).status_code == 400


def test_many_lines_are_decided_page_by_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.web.reviews.LINES", 2)
    run = scene.open("one@watch")
    here = scene.visit("one@watch")
    first, second = here.get(run), here.get(f"{run}?page=2")
    assert re.findall(r'name="note-(\d+)"', first.text) == ["1", "2"]
    assert re.findall(r'name="note-(\d+)"', second.text) == ["3"]
    here.post(run, decisions(first) | {"decision-3": "in-order"})  # of another page: it is not shown here
    assert "1 line is not decided yet" in words(here.get(run))
    here.post(run, decisions(second) | {"page": "2"})
    assert here.post(f"{run}/sign", {"seen": "yes"}).headers["location"] == f"{run}?done=signed"


def test_a_note_without_a_decision_is_told_and_kept_in_the_form(scene: Scene) -> None:
    run = scene.open("one@watch")
    here = scene.visit("one@watch")
    answer = here.post(run, {"page": "1", "note-1": "Not sure yet"})
    assert answer.status_code == 400
    assert "Line 1 has a note and no decision" in words(answer)
    assert "Not sure yet" in answer.text
    assert here.post(run, {"page": "1", "decision-1": "question"}).status_code == 400


def test_what_is_late_is_shown_as_overdue(scene: Scene) -> None:
    run = scene.open("one@watch", within_days="1")
    here = scene.visit("one@watch")
    assert "overdue" not in words(here.get("/reviews"))
    scene.story.world.clock.ahead += timedelta(days=2)
    here = scene.visit("one@watch")
    for path in ("/reviews", run, "/home"):
        assert "overdue" in words(here.get(path)), path


def test_every_look_is_logged_before_it_is_shown_and_without_a_log_nothing_is(scene: Scene) -> None:
    run = scene.open("one@watch")
    here = scene.visit("one@watch")
    here.post(run, decisions(here.get(run)))
    here.post(f"{run}/sign", {"seen": "yes"})
    for path in ("/reviews", run, f"{run}/review.pdf"):
        before = len(scene.story.logged())
        assert here.get(path).status_code == 200
        (leaf,) = scene.story.logged()[before:]
        assert (leaf["asked"]["as"], leaf["decision"]) == ("review", "permit")
    with scene.story.world.superuser() as admin:
        admin.exec_driver_sql("revoke execute on function hub.audit_append from hub_auditor")
    try:
        for path in ("/reviews", run, f"{run}/review.pdf"):
            answer = here.get(path)
            assert answer.status_code == 503
            assert "MOU-1" not in answer.text
    finally:
        with scene.story.world.superuser() as admin:
            admin.exec_driver_sql("grant execute on function hub.audit_append to hub_auditor")


def test_the_last_period_is_opened_at_once(scene: Scene) -> None:
    here = scene.visit("one@watch")
    here.post("/reviews", scene.fields("one@watch", first="last"))
    scene.story.look()
    assert scene.served.services.reviews.open_due(scene.story.watch.reached) == 1
    assert begin_of(scene.story.world.clock(), "month") in [r.until for r in scene.served.services.reviews.runs("watch")]
