"""The page of a record's trace: in words what the API tells, for its owner and for auditors, and one answer for everybody else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import pytest

from hub.api.services import SESSION_COOKIE
from hub.audit.log import Log
from hub.datasets import DATASETS
from hub.errors import Unavailable
from hub.identity import people
from hub.sharing.trace import COMING, WHY_NOT
from hub.web.trace_words import SHORT, WHY, Telling
from tests.signing import OPERATOR
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"
FIELDS: Mapping[str, Any] = {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "place": {"grid_m": 500}}


@dataclass(frozen=True)
class Scene:
    """Police shares with health (several ways), housing (never this), nurses (suspended) and later (not yet)."""

    world: World
    ids: dict[str, str]
    cookies: dict[str, str]

    def open(self, handle: str, path: str, **params: str) -> Any:
        headers = {"Cookie": f"{SESSION_COOKIE}={self.cookies[handle]}", "Accept": "text/html"}
        return self.world.http.get(path, params=params or None, headers=headers, follow_redirects=False)

    def page(self, handle: str, record: str) -> Any:
        return self.open(handle, f"/audit/records/incidents/{record}")

    def sections(self, record: str, handle: str = "lead") -> dict[str, str]:
        """What the page of one of the records says, by organisation; what stands before the first is its `""`."""
        answer = self.page(handle, self.ids[record])
        assert answer.status_code == 200, answer.text
        first, *others = answer.text.partition("<main")[2].partition("</main>")[0].split('<section class="card partner"')
        told = {re.findall(r'"to-([a-z]+)"', part)[0]: words(part) for part in others}
        return {"": words(first), **told}


def words(part: str) -> str:
    return re.sub(r" ([,.;:)])", r"\1", " ".join(unescape(re.sub(r"<[^>]*>", " ", f"<{part}")).split()))


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "housing", "nurses", "later", "alone"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    many = [
        grant("harm", ["care", "research"], [_of("assault"), {"field": "severity", "at_least": 3}], fields=dict(FIELDS)),
        grant("recent", ["care"], fields=dict(FIELDS), occurred={"lookback": "P30D"}, actions=["query", "export"]),
        grant("by-case", ["court"], case_reference="required", fields={"title": "clear"}),
    ]
    refuse = [
        {"id": "worst", "dataset": "incidents", "where": [{"field": "severity", "at_least": 5}]},
        {"id": "no-title", "dataset": "incidents", "where": [{"field": "severity", "at_least": 4}], "fields": ["title"]},
    ]
    world.mou(folder, "MOU-HEALTH", "police", "health", many, refuse=refuse, title="Care <b>& cure</b>")
    world.mou(folder, "MOU-HOUSING", "police", "housing", [grant("fires", ["tenancy"], [_of("fire")])])
    world.mou(folder, "MOU-NURSES", "police", "nurses", [grant("all", ["care"], [_of("fire")])])
    world.services.lifecycle.suspend(OPERATOR, "MOU-NURSES", 1, "a doubt")
    future = {"from": (world.clock() + timedelta(days=9)).date(), "until": (world.clock() + timedelta(days=99)).date()}
    world.mou(folder, "MOU-LATER", "police", "later", [grant(purposes=["care"])], in_force=future)
    now = world.clock()
    some = [
        feature("old", category="assault", severity=3),
        feature("new", category="assault", severity=4, occurred_at=(now - timedelta(hours=3)).isoformat()),
        feature("worst", category="assault", severity=5),
        feature("mild", category="assault", severity=1),
    ]
    ids = {r["external_id"]: r["id"] for r in world.publish("police", *some).json()["records"]}
    ids["theirs"] = world.publish("alone", feature("theirs")).json()["records"][0]["id"]
    seats = {"lead": ("police", "agreement-lead"), "own": ("police", "auditor"), "auditor": ("watch", "auditor")}
    seats |= {"reader": ("health", "agreement-lead"), "analyst": ("police", "analyst"), "alone": ("alone", "auditor")}
    return Scene(world, ids, {handle: _cookie(world, handle, *seat) for handle, seat in seats.items()})


def _cookie(world: World, handle: str, organisation: str, role: str) -> str:
    made = people.add(world.database.writer, organisation, handle, handle.capitalize(), [role])
    return world.services.sessions.begin(made, "passkey")[0]


def _of(*categories: str) -> dict[str, Any]:
    return {"field": "category", "one_of": list(categories)}


def test_who_sees_a_record_for_what_how_and_under_which_clause(scene: Scene) -> None:
    told = scene.sections("old")
    assert "1 organisation may see it now; 3 others with an agreement may not." in told[""]
    assert "Health yes care, research, court" in told[""]
    assert "Housing no not one of the records that are shared with it" in told[""]
    assert "Nurses no its agreement is suspended" in told[""]
    assert "Later no outside the period of its agreement" in told[""]
    health = told["health"]
    assert (
        "For care, research May look at it Under Grant harm of MOU-HEALTH, version 1: Care <b>& cure</b> Case reference Not needed."
        in health
    )
    assert "the place as the centre of the 500 m cell it lies in" in health
    assert "when it happened cut down to the hour (UTC)" in health
    assert re.search(r"For court May look at it Under Grant by-case of .* Case reference Needed: only a reader who names the case", health)
    assert "Not shown: the provider's own number, the status" in health


def test_the_same_for_several_purposes_is_told_once_and_what_differs_apart(scene: Scene) -> None:
    """The newer record is under two grants for care, one of which also lets export; research has one of them."""
    told = scene.sections("new")["health"]
    assert re.findall(r"For ([a-z, ]+?) May ([a-z, ]+?) Under (.*?) Case", told) == [
        (
            "care",
            "look at it",
            "Grant harm of MOU-HEALTH, version 1: Care <b>& cure</b> Grant recent of MOU-HEALTH, version 1: Care <b>& cure</b>",
        ),
        ("care", "export it", "Grant recent of MOU-HEALTH, version 1: Care <b>& cure</b>"),
        ("court", "look at it", "Grant by-case of MOU-HEALTH, version 1: Care <b>& cure</b>"),
        ("research", "look at it", "Grant harm of MOU-HEALTH, version 1: Care <b>& cure</b>"),
    ]


@pytest.mark.parametrize(
    ("record", "organisation", "said"),
    [
        ("old", "housing", "It asks for this, and the record doesn’t meet it: The category is fire."),
        ("mild", "health", "the record doesn’t meet it: The severity (1 to 5) is 3 or more."),
        ("old", "health", "too old or too new for this grant now. Of its records it says: They happened within the last 30 days."),
        ("old", "nurses", "suspended: it gives nothing until it is resumed. Even then the record is not one of those"),
        ("old", "later", "Today is outside the period of its agreement. That is from"),
        ("old", "health", "Refusals that do not touch this record: no-title of MOU-HEALTH, worst of MOU-HEALTH."),
        ("new", "health", "Whatever else is agreed, of this record it is never shown the title. Refusal no-title of MOU-HEALTH"),
        ("worst", "health", "does not see it Whatever else is agreed, this record is never shown to it, for no purpose. Refusal worst"),
    ],
)  # fmt: skip
def test_why_somebody_does_not_see_a_record_or_a_part_of_it(scene: Scene, record: str, organisation: str, said: str) -> None:
    assert said in scene.sections(record)[organisation]


def test_a_refusal_stands_in_the_overview(scene: Scene) -> None:
    told = scene.sections("worst")
    assert "Nobody but Police may see it now; 4 others with an agreement may not." in told[""]
    assert "Health no refused by an agreement" in told[""]
    assert "May" not in told["health"]


def test_an_auditor_reads_the_same_and_no_value(scene: Scene) -> None:
    mine, theirs = scene.sections("new"), scene.sections("new", "auditor")
    assert {slug: text for slug, text in mine.items() if slug} == {slug: text for slug, text in theirs.items() if slug}
    for word in ("assault", "2021"):  # the harm grant asks for assaults, and that holds
        assert word not in " ".join(theirs.values())


def test_the_page_and_the_api_name_the_same_readers(scene: Scene) -> None:
    for name in ("old", "new", "worst", "mild"):
        headers = {"Cookie": f"{SESSION_COOKIE}={scene.cookies['lead']}"}
        answer = scene.world.http.get(f"{ITEMS}/{scene.ids[name]}/trace", headers=headers).json()
        seeing = {slug for slug, text in scene.sections(name).items() if slug and "does not see it" not in text}
        assert seeing == {r["organisation"] for r in answer["readers"]}


def test_a_record_that_is_shared_with_nobody_says_so(scene: Scene) -> None:
    assert "Alone shares none of its incidents with anybody." in scene.sections("theirs", "alone")[""]


def test_absent_and_another_owners_are_one_answer(scene: Scene) -> None:
    answers = [scene.page("reader", record) for record in (scene.ids["old"], str(uuid4()), "nonsense")]
    answers += [scene.page("reader", scene.ids["theirs"])]
    assert {a.status_code for a in answers} == {404}
    assert len({a.text for a in answers}) == 1
    assert len({tuple(sorted(a.headers.items())) for a in answers}) == 1
    assert scene.page("auditor", scene.ids["theirs"]).status_code == 200  # control


def test_it_is_for_those_who_may_ask_the_api_and_an_analyst_is_refused(scene: Scene) -> None:
    assert [scene.page(handle, scene.ids["old"]).status_code for handle in ("lead", "own", "auditor")] == [200] * 3
    assert scene.page("analyst", scene.ids["old"]).status_code == 403
    refused = scene.world.leaves(type="refusal")[-1]
    assert refused["by"]["person"]
    assert "/audit/records/{dataset}/{id}" in refused["reason"]  # which page; which record is nobody's to read there
    assert scene.ids["old"] not in str(scene.world.leaves())


def test_reading_it_is_logged_as_the_api_logs_it(scene: Scene) -> None:
    headers = {"Cookie": f"{SESSION_COOKIE}={scene.cookies['lead']}"}
    before = len(scene.world.leaves(type="audit"))
    for record in (scene.ids["old"], str(uuid4())):
        scene.world.http.get(f"{ITEMS}/{record}/trace", headers=headers)
        scene.page("lead", record)
    leaves = [{k: v for k, v in leaf.items() if k in ("decision", "asked", "by")} for leaf in scene.world.leaves(type="audit")[before:]]
    assert len(leaves) == 4
    assert leaves[0] == leaves[1]
    assert leaves[2] == leaves[3]
    assert [leaf["decision"] for leaf in leaves] == ["permit", "permit", "absent", "absent"]
    assert "asked who gets a record" in words(scene.open("auditor", "/audit", type="audit").text)


def test_a_log_that_can_not_be_written_is_not_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise Unavailable("The audit log can't be written.")

    monkeypatch.setattr(Log, "record", broken)
    for record in (scene.ids["old"], str(uuid4())):
        answer = scene.page("lead", record)
        assert answer.status_code == 503
        assert "MOU-HEALTH" not in answer.text


@pytest.mark.parametrize(("handle", "path"), [("lead", "/owner"), ("auditor", "/audit")])
def test_the_search_by_record_leads_to_it(scene: Scene, handle: str, path: str) -> None:
    address = f"/audit/records/incidents/{scene.ids['old']}"
    assert f'href="{address}"' in scene.open(handle, path, record=scene.ids["old"]).text
    assert f'href="{path}?record={scene.ids["old"]}"' in scene.open(handle, address).text
    for params in ({}, {"record": str(uuid4())}):
        assert "Who gets it now" not in scene.open(handle, path, **params).text


def test_text_of_an_agreement_is_text(scene: Scene) -> None:
    page = scene.page("lead", scene.ids["old"]).text
    assert "Care &lt;b&gt;&amp; cure&lt;/b&gt;" in page
    assert "<b>& cure" not in page


def test_every_reason_of_a_trace_has_words() -> None:
    assert set(WHY) == set(SHORT) == set(WHY_NOT)


def test_an_agreement_that_is_only_coming_is_told_without_its_text() -> None:
    """Its labels are being put on: it isn't among the agreements yet, and has no page to go to."""
    clause = {"mou": "MOU-X", "version": 2, "grant": "g", "recipient": "health", "holds": False, "why_not": COMING}
    clause |= {"missed": ["severity__at_least"], "purposes": ["care"], "actions": ["query"], "case_required": False}
    (partner,) = Telling({"readers": [], "clauses": [clause]}, [], {}, DATASETS["incidents"]).partners()
    (missing,) = partner.missing
    assert (partner.name, missing.clause.title) == ("health", None)
    assert missing.why[0].startswith("Its agreement is just coming into force")
    assert missing.asks == ("A condition on the severity (1 to 5).",)


def test_a_case_that_only_some_of_it_needs_is_said() -> None:
    common = {"mou": "MOU-X", "version": 1, "recipient": "health", "holds": True, "purposes": ["care"], "actions": ["query"]}
    clauses = [common | {"grant": "a", "case_required": True}, common | {"grant": "b", "case_required": False}]
    reader = {"organisation": "health", "purpose": "care", "action": "query", "case_required": False, "fields": {"category": "clear"}}
    (partner,) = Telling({"readers": [reader], "clauses": clauses}, [], {}, DATASETS["incidents"]).partners()
    (share,) = partner.shares
    assert share.case.startswith("Not needed for all of it.")
    assert [cited.name for cited in share.under] == ["a", "b"]
