"""Choosing a purpose: what is offered, when a case reference is needed, and that nothing else can be chosen."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from hub.identity.people import Person
from tests.web.served import Served
from tests.web.visiting import Visitor, words
from tests.world import grant

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]


@pytest.fixture(scope="module")
def agreed(served: Served, tmp_path_factory: pytest.TempPathFactory) -> None:
    """health: `free` never needs a case, `some` for one of two grants, `always` for all. housing: nothing that is in force."""
    world, folder = served.world, tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "housing"):
        world.organisation(slug)
    needing = {"case_reference": "required"}
    grants = [grant("one", ["free", "some"]), grant("two", ["some", "always"], **needing)]
    world.mou(folder, "MOU-ONE", "police", "health", grants, title="First <agreement>")
    world.mou(folder, "MOU-TWO", "police", "health", [grant("three", ["free"])], title="Second agreement")
    today = world.clock().date()
    ended = {"from": today - timedelta(days=9), "until": today - timedelta(days=2)}
    world.mou(folder, "MOU-OVER", "police", "housing", [grant("four", ["tenancy"])], in_force=ended)


@pytest.fixture
def analyst(agreed: None, visitor: Visitors, person: Persons) -> Visitor:
    return visitor().begin(person("analyst"))


def chosen(here: Visitor) -> tuple[str | None, str | None]:
    assert here.session
    return here.session.purpose, here.session.case


def test_the_page_offers_what_agreements_in_force_allow_with_their_titles(analyst: Visitor) -> None:
    page = analyst.get("/purpose")
    text = words(page)
    for word in ("free", "some", "always"):
        assert f'name="purpose" value="{word}"' in page.text
    assert page.text.count('name="purpose"') == 3
    assert text.count("First <agreement>") == 3
    assert text.count("Second agreement") == 1
    assert page.text.count('name="case"') == 2
    assert "Case reference The number of the case" in text
    assert "(not needed for all of it)" in text


@pytest.mark.parametrize(
    ("purpose", "case", "kept"),
    [
        ("free", "", None),
        ("free", "C-1", None),  # it would say nothing, and stay in the log
        ("some", "", None),
        ("some", " C-1 ", "C-1"),
        ("always", "C/2026–0417", "C/2026–0417"),
    ],
)
def test_a_purpose_and_a_case_are_kept_and_shown_on_every_page(analyst: Visitor, purpose: str, case: str, kept: str | None) -> None:
    answer = analyst.post("/purpose", {"purpose": purpose, "case": case, "next": "/agreements"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/agreements")
    assert chosen(analyst) == (purpose, kept)
    for path in ("/agreements", "/home", "/account", "/maps", "/nowhere-at-all"):
        header = analyst.get(path).text.partition("<main")[0]
        assert f"Purpose: <strong>{purpose}</strong>" in header, path
        assert (f"Case: <strong>{kept}</strong>" in header) == (kept is not None), path


@pytest.mark.parametrize(
    ("purpose", "case", "said"),
    [
        ("always", "", "want a case reference"),
        ("always", "   ", "want a case reference"),
        ("always", "x" * 101, "1 to 100 printable characters"),
        ("some", "a\u202eb", "1 to 100 printable characters"),
        ("some", "a\nb", "1 to 100 printable characters"),
        ("tenancy", "", "No agreement in force covers that purpose"),
        ("", "", "No agreement in force covers that purpose"),
        ("free'; drop table", "", "No agreement in force covers that purpose"),
    ],
)
def test_what_can_not_be_chosen_is_refused_in_words_and_nothing_changes(analyst: Visitor, purpose: str, case: str, said: str) -> None:
    analyst.post("/purpose", {"purpose": "free"})
    answer = analyst.post("/purpose", {"purpose": purpose, "case": case})
    assert answer.status_code == 400
    assert said in words(answer)
    assert chosen(analyst) == ("free", None)


def test_what_was_typed_is_not_lost_by_an_error(analyst: Visitor) -> None:
    answer = analyst.post("/purpose", {"purpose": "some", "case": "x" * 101})
    assert f'value="{"x" * 101}"' in answer.text
    assert answer.text.count("aria-invalid") == 1


def test_without_an_agreement_the_page_says_whom_to_ask(agreed: None, visitor: Visitors, person: Persons) -> None:
    here = visitor().begin(person("analyst", organisation="housing"))
    page = words(here.get("/purpose"))
    assert "No agreement in force lets Housing look at anything" in page
    assert "agreement lead of your organisation" in page
    assert here.post("/purpose", {"purpose": "tenancy"}).status_code == 400


def test_a_purpose_whose_agreement_has_ended_is_said_to_be_over(agreed: None, visitor: Visitors, person: Persons) -> None:
    here = visitor().begin(person("analyst"), purpose="formerly")
    assert "No agreement in force covers formerly any more" in words(here.get("/purpose"))
    here.post("/purpose", {"purpose": "free"})
    assert "any more" not in words(here.get("/purpose"))


def test_pages_with_data_wait_for_a_purpose_and_come_back(analyst: Visitor) -> None:
    answer = analyst.get("/map?bbox=1,2,3,4")
    assert answer.headers["location"] == "/purpose?next=%2Fmap%3Fbbox%3D1%2C2%2C3%2C4"
    assert 'name="next" value="/map?bbox=1,2,3,4"' in analyst.get(answer.headers["location"]).text
    assert analyst.get("/map/").status_code == 404
    analyst.post("/purpose", {"purpose": "free", "next": "/map?bbox=1,2,3,4"})
    assert analyst.get("/map?bbox=1,2,3,4").status_code == 200
