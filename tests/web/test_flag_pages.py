"""The pages of flags: auditors see all and say what was made of them, owners see those about their own data; every look is logged."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.identity.people import Person
from tests.oversight.conftest import Story, partnership
from tests.web.served import Served
from tests.web.visiting import Visitor, links, words

HOSTILE = "<script>window.hostile=1</script> & more"


@dataclass(frozen=True)
class Scene:
    served: Served
    story: Story
    people: dict[tuple[str, str], Person]

    def visit(self, role: str, organisation: str) -> Visitor:
        return Visitor(self.served).begin(self.people[role, organisation])

    def flag(self, kind: str, owner: str | None = None) -> Any:
        found = self.story.flags("watch", kind=kind)
        return next(f for f in found if f.get("owner") == owner)


@pytest.fixture(scope="module")
def flagged(served: Served, person: Callable[..., Person], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder: Path = tmp_path_factory.mktemp("mous")
    story = partnership(served.world, folder)
    story.walk("housing")
    story.refused()
    story.look()
    seats = [("auditor", "watch"), ("auditor", "police"), ("agreement-lead", "ambulance"), ("auditor", "health"), ("analyst", "health")]
    return Scene(served, story, {seat: person(seat[0], organisation=seat[1]) for seat in seats})


def logged(scene: Scene) -> list[dict[str, Any]]:
    return [leaf for leaf in scene.story.logged() if leaf["asked"].get("as") == "flags"]


def test_an_auditor_sees_every_flag_with_its_reason(flagged: Scene) -> None:
    before = len(logged(flagged))
    page = flagged.visit("auditor", "watch").get("/flags")
    assert page.status_code == 200
    said = words(page)
    for flag in flagged.story.flags("watch"):
        assert flag["reason"] in said
        assert f"/flags/{flag['id']}" in links(page)
    assert "Walk through neighbouring cells" in said
    assert "Refused again and again" in said
    leaf = logged(flagged)[before]
    assert (leaf["decision"], leaf["by"]["person"]) == ("permit", str(flagged.people["auditor", "watch"].id))


@pytest.mark.parametrize(("role", "owner"), [("auditor", "police"), ("agreement-lead", "ambulance"), ("auditor", "health")])
def test_an_owner_sees_flags_about_its_own_data_and_says_nothing_of_them(flagged: Scene, role: str, owner: str) -> None:
    here = flagged.visit(role, owner)
    own = {f"/flags/{f['id']}" for f in flagged.story.flags("watch") if f.get("owner") == owner}
    page = here.get("/flags")
    assert {link for link in links(page) if link.startswith("/flags/")} == own
    assert len(own) == (0 if owner == "health" else 1)
    for flag in flagged.story.flags("watch"):
        one = here.get(f"/flags/{flag['id']}")
        assert one.status_code == (200 if f"/flags/{flag['id']}" in own else 404)
        assert "Say what you make of it" not in one.text
        assert here.post(f"/flags/{flag['id']}", {"state": "explained", "note": "Fine."}).status_code == 403
    assert (
        "Say what you make of it" in flagged.visit("auditor", "watch").get(f"/flags/{flagged.flag('refusals')['id']}").text
    )  # the control


def test_a_filter_narrows_the_page(flagged: Scene) -> None:
    here = flagged.visit("auditor", "watch")
    assert len([link for link in links(here.get("/flags?kind=walk")) if link.startswith("/flags/")]) == 2
    assert "No flag fits all of these filters" in words(here.get("/flags?kind=volume&state=&organisation="))
    wrong = here.get("/flags?kind=odd")
    assert wrong.status_code == 400
    assert "kind is one of" in words(wrong)
    assert flagged.visit("auditor", "police").get("/flags?owner=ambulance").status_code == 403


def test_a_flag_leads_to_the_accesses_that_it_cites(flagged: Scene) -> None:
    here, flag = flagged.visit("auditor", "police"), flagged.flag("walk", "police")
    page = here.get(f"/flags/{flag['id']}")
    cited = {f"/audit/access/{leaf['event']}" for leaf in flag["leaves"]}
    assert cited <= links(page)
    assert all(here.get(link).status_code == 200 for link in cited)
    assert "/owner?client=housing" in links(page)


def test_what_an_auditor_makes_of_it_is_shown_with_who_and_when_and_never_comes_to_life(flagged: Scene) -> None:
    here, flag = flagged.visit("auditor", "watch"), flagged.flag("walk", "ambulance")
    address = f"/flags/{flag['id']}"
    refused = here.post(address, {"state": "explained", "note": ""})
    assert refused.status_code == 400
    assert "note says why" in words(refused)
    assert here.post(address, {"state": "explained", "note": HOSTILE}).headers["location"] == f"{address}?done=1"
    for page in (here.get(f"{address}?done=1"), flagged.visit("agreement-lead", "ambulance").get(address)):
        assert f"explained by {flagged.people['auditor', 'watch'].name} of watch" in words(page)
        assert HOSTILE in words(page)
        assert "<script>window" not in page.text
    assert "explained" in words(here.get("/flags?state=explained"))


def test_without_its_token_nothing_is_kept(flagged: Scene) -> None:
    here, flag = flagged.visit("auditor", "watch"), flagged.flag("refusals")
    before = flagged.story.ask("watch", f"/audit/flags/{flag['id']}").json()
    for sent in ({"csrf": "wrong"}, {}):
        answer = here.send("POST", f"/flags/{flag['id']}", data={"state": "explained", "note": "x"} | sent)
        assert answer.status_code == 403
    assert flagged.story.ask("watch", f"/audit/flags/{flag['id']}").json() == before


def test_the_log_tells_in_words_what_was_done(flagged: Scene) -> None:
    page = words(flagged.visit("auditor", "watch").get("/audit?type=flag"))
    assert "raised a flag" in page
    assert "looked at flags" in words(flagged.visit("auditor", "watch").get("/audit?type=audit"))
