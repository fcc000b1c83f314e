"""What is due of an agreement reaches whoever answers for it, on every page, and marks the agreement for everybody else."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from hub.agreements.store import Actor
from hub.audit.leaf import By
from hub.identity.people import Person
from tests.web.hostile import RUN
from tests.web.served import Served
from tests.web.visiting import Visitor, links, words
from tests.world import World, grant, mou_data
from tests.written import yaml_of

TITLE = f"<script>{RUN}</script> & more"
PATHS = ("/home", "/agreements", "/agreements/MOU-BOTH", "/account", "/owner", "/agreements/draft")
Open = Callable[..., Visitor]


@dataclass(frozen=True)
class Scene:
    served: Served
    seats: dict[tuple[str, str], Person]

    def visit(self, role: str, organisation: str) -> Visitor:
        return Visitor(self.served).begin(self.seats[role, organisation])


def _data(world: World, name: str, days: int, consumer: str, version: int = 1, **more: Any) -> dict[str, Any]:
    """An agreement whose last day is so many days ahead."""
    period = {"from": date(2020, 1, 1), "until": (world.clock() + timedelta(days=days)).date()}
    return mou_data(name, "police", consumer, [grant(purposes=["care"])], in_force=period, version=version, **more)


@pytest.fixture(scope="module")
def scene(served: Served, person: Callable[..., Person], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Police shares with health, to the end of this month and with a review overdue, and with housing; newcomers have nothing due."""
    world, folder = served.world, tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "housing", "newcomers"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    for data in (
        _data(world, "MOU-BOTH", 11, "health", title=TITLE, review_by=date(2026, 3, 1)),
        _data(world, "MOU-ENDING", 4, "housing"),
        _data(world, "MOU-QUIET", 400, "newcomers"),
    ):
        (folder / "mou.yaml").write_bytes(yaml_of(data))
        world.load(folder / "mou.yaml")
    wanted = [(role, slug) for slug in ("police", "health", "newcomers") for role in ("agreement-lead", "analyst")]
    seats = {(role, slug): person(role, organisation=slug) for role, slug in [*wanted, ("auditor", "watch"), ("auditor", "police")]}
    return Scene(served, seats)


def bar(answer: Any) -> str:
    """What stands above the page."""
    return words_of(answer.text.partition("<header")[2].partition("</header>")[0])


def words_of(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", f"<{text}").split())


def test_a_lead_is_told_on_the_start_page_what_is_due_that_which_ends_first_before_the_rest(scene: Scene) -> None:
    page = scene.visit("agreement-lead", "police").get("/home")
    told = words(page)
    assert "2 agreements need your attention" in told
    assert "MOU-ENDING ( A test ): ends in 5 days, and no next version is on its way." in told
    both = f"MOU-BOTH ( {TITLE} ): ends in 12 days, and no next version is on its way; its review is overdue since 1 March 2026."
    assert both in told
    assert told.index("MOU-ENDING") < told.index("MOU-BOTH")
    assert {"/agreements/MOU-BOTH", "/agreements/MOU-ENDING"} <= links(page)
    assert "MOU-QUIET" not in told
    assert RUN not in page.text.replace(f"&lt;script&gt;{RUN}", "")


def test_each_party_is_told_of_its_own(scene: Scene) -> None:
    told = words(scene.visit("agreement-lead", "health").get("/home"))
    assert "1 agreement needs your attention" in told
    assert "MOU-ENDING" not in told
    assert "attention" not in words(scene.visit("agreement-lead", "newcomers").get("/home"))


@pytest.mark.parametrize("path", PATHS)
def test_a_lead_sees_the_count_on_every_page(scene: Scene, path: str) -> None:
    answer = scene.visit("agreement-lead", "police").get(path)
    assert answer.status_code == 200
    assert "2 agreements need your attention" in bar(answer)
    assert 'href="/home#attention"' in answer.text
    assert 'id="attention"' in scene.visit("agreement-lead", "police").get("/home").text
    assert "attention" not in bar(scene.visit("agreement-lead", "newcomers").get(path if "BOTH" not in path else "/home"))


@pytest.mark.parametrize(
    ("role", "organisation"), [("analyst", "police"), ("analyst", "health"), ("auditor", "police"), ("auditor", "watch")]
)
def test_who_does_not_answer_for_agreements_is_not_called_upon_but_sees_the_mark(scene: Scene, role: str, organisation: str) -> None:
    here = scene.visit(role, organisation)
    assert "attention" not in here.get("/home").text
    told = words(here.get("/agreements"))
    assert "ends in 12 days" in told
    assert told.count("review is overdue") == 1
    one = words(here.get("/agreements/MOU-BOTH"))
    assert (
        "This agreement ends in 12 days. What it shares stops then, unless a new version comes into force before; none is on its way."
        in one
    )
    assert "meant to review this agreement before now: by 1 March 2026" in one


def test_a_session_that_is_locked_or_recovering_is_told_nothing(scene: Scene) -> None:
    who = scene.seats["agreement-lead", "police"]
    assert "attention" not in Visitor(scene.served).begin(who, "recovery-code").get("/account").text
    here = Visitor(scene.served).begin(who)
    assert here.session
    with scene.served.world.superuser() as connection:
        connection.exec_driver_sql("update hub.sessions set seen_at = seen_at - interval '31 minutes' where id = %s", (here.session.id,))
    locked = here.get("/unlock")
    assert locked.status_code == 200
    assert "attention" not in locked.text


def test_with_a_next_version_under_way_nobody_is_called_upon(scene: Scene) -> None:
    """Before the version is proposed, and after it is withdrawn, they are."""
    life, actor = scene.served.services.lifecycle, Actor("housing", By("housing"))
    following = _data(scene.served.world, "MOU-ENDING", 300, "housing", 2)
    life.draft(actor, yaml_of(following))
    lead = scene.visit("agreement-lead", "police")
    assert "2 agreements need your attention" in words(lead.get("/home"))
    life.propose(actor, "MOU-ENDING", 2)
    try:
        told = words(lead.get("/home"))
        assert "1 agreement needs your attention" in told
        assert "MOU-ENDING" not in told
        assert "ends in 5 days renewal under way" in words(lead.get("/agreements"))
        assert "1 agreement ends within the notice" in words(lead.get("/agreements"))
        one = words(lead.get("/agreements/MOU-ENDING"))
        assert "This agreement ends in 5 days. Renewal is under way: version 2 is proposed." in one
    finally:
        life.withdraw(actor, "MOU-ENDING", 2)
    assert "2 agreements need your attention" in words(lead.get("/home"))
    assert "under way" not in words(lead.get("/agreements"))


def test_a_stored_file_that_is_not_the_one_that_was_loaded_is_told_and_takes_no_other_page_away(scene: Scene) -> None:
    world = scene.served.world

    def stored(change: str) -> None:
        with world.superuser() as connection:
            connection.exec_driver_sql("alter table hub.mous disable trigger user")
            connection.exec_driver_sql(f"update hub.mous set {change} where mou = 'MOU-ENDING' and version = 1")
            connection.exec_driver_sql("alter table hub.mous enable trigger user")

    lead = scene.visit("agreement-lead", "police")
    stored("sha256 = reverse(sha256)")
    try:
        page = lead.get("/home")
        assert page.status_code == 200
        assert "The stored file of MOU-ENDING version 1 is not the one that was loaded" in words(page)
        assert lead.get("/account").status_code == 200
    finally:
        stored("sha256 = reverse(sha256)")
    assert "is not the one" not in words(lead.get("/home"))
