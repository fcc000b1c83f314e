"""Every page that the router has, in the states it can be in, at 1280 and 390 px: no violation of WCAG 2.2 AA that axe-core knows."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect

from hub.agreements.store import Actor
from hub.audit import witnesses
from hub.audit.figures import text_of
from hub.audit.leaf import By
from hub.audit.log import Search
from hub.audit.notes import Cosigner, Note
from hub.audit.review import Decision
from hub.audit.reviews import SetUp
from hub.db import owner_transaction
from hub.errors import Conflict
from hub.identity.people import Person
from tests.oversight.ordinary import MONDAY, leaf
from tests.web.axe import violations
from tests.web.browser import authenticator
from tests.web.fixtures import SIZES, Open
from tests.web.routes import NOTHING, address, routes
from tests.web.scene import WHOLE, Scene
from tests.web.served import Served
from tests.web.visiting import passkey_of
from tests.web.watching import Watched, map_drawn
from tests.world import grant, mou_data
from tests.written import yaml_of

pytestmark = pytest.mark.unmeasured

# Not pages: what pages are made of, and files.
VERSION = "/agreements/{mou}/versions/{version}"
TRACE = "/audit/records/{dataset}/{id}"
RUN = "/reviews/runs/{run}"
PARTS = {
    "/assets/{path:path}",
    "/map/page.js",
    "/map/page.css",
    "/boundaries.json",
    "/agreements/areas.json",
    "/audit.csv",
    "/audit.ndjson",
    "/owner.csv",
    "/reviews/runs/{run}/review.pdf",
    "/owner.ndjson",
    f"{VERSION}/{{part}}",
}
MAP = f"/map?bbox={WHOLE}"


def _nothing(page: Page, scene: Scene) -> None:
    """The page as it comes."""


def _drawn(page: Page, scene: Scene) -> None:
    map_drawn(page)


def _everything_open(page: Page, scene: Scene) -> None:
    page.evaluate("for (const e of document.querySelectorAll('details')) e.open = true")


def _map_with_all_open(page: Page, scene: Scene) -> None:
    _drawn(page, scene)
    _everything_open(page, scene)


def _called_upon(page: Page, scene: Scene) -> None:
    page.get_by_role("link", name="1 agreement needs your attention").click()
    expect(page.get_by_role("heading", name="1 agreement needs your attention")).to_be_in_viewport()


def _record(page: Page, scene: Scene) -> None:
    _drawn(page, scene)
    page.locator("#map-list button").first.click()
    expect(page.locator("#map-detail h2")).to_be_focused()


def _map_failing(page: Page, scene: Scene) -> None:
    page.route("**/collections/incidents/map?*", lambda route: route.fulfill(status=503, json={"detail": "Not now. Try again shortly."}))
    page.reload()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def _passkey_refused(page: Page, scene: Scene) -> None:
    authenticator(page).verifies(False)
    page.get_by_role("button", name=re.compile("passkey")).click()
    expect(page.get_by_role("alert")).to_be_visible()


def _codes(page: Page, scene: Scene) -> None:
    page.get_by_role("button", name="Make ten new codes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")


def _wrong_code(page: Page, scene: Scene) -> None:
    page.get_by_label("Your handle").fill("nobody")
    page.get_by_label("One of your codes").fill("7Q3D-0KXM-92VH-T5AB")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _wrong_purpose(page: Page, scene: Scene) -> None:
    page.locator("[name=purpose]").first.evaluate("e => { e.value = 'nothing' }")
    page.get_by_role("button", name=re.compile("Choose this purpose")).first.click()
    expect(page.get_by_role("alert")).to_be_visible()


def _access(page: Page, scene: Scene) -> None:
    page.locator("main tbody a[href^='/audit/access/']").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("One access")
    _everything_open(page, scene)


def _saved(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.served.base}/audit?type=query&mou=MOU-HEALTH")
    page.get_by_text("Save this search").click()
    page.get_by_label("Name", exact=True).fill("What health looked at")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Saved searches")
    _everything_open(page, scene)


def _bad_draft(page: Page, scene: Scene) -> None:
    page.get_by_label("The file").fill("mou: MOU-1")
    page.get_by_role("button", name="Keep as a draft").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was kept")


def _proposed(scene: Scene) -> str:
    """A version of police's that waits for signatures."""
    actor, life = Actor("police", By("police")), scene.served.services.lifecycle
    if not any(v.mou == "MOU-PROPOSED" for v in life.list(actor)):
        life.draft(actor, yaml_of(mou_data("MOU-PROPOSED", "police", "housing", [grant(purposes=["tenancy"])])))
        life.propose(actor, "MOU-PROPOSED", 1)
    return f"{scene.served.base}/agreements/MOU-PROPOSED/versions/1"


def _compared(page: Page, scene: Scene) -> None:
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="What it would change")).to_be_visible()


def _bad_signature(page: Page, scene: Scene) -> None:
    page.get_by_label("Signature").fill("nonsense")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not a detached JWS")


@dataclass(frozen=True)
class State:
    """A page of the router, as somebody (None: nobody signed in) sees it under `heading`. `at`: its address, or how the scene makes it."""

    route: str
    name: str
    heading: str
    who: str | None = None
    at: str | Callable[[Scene], str] | None = None
    then: Callable[[Page, Scene], None] = _nothing
    purpose: str | None = None
    expected: tuple[str, ...] = ()  # in the console

    def address(self, scene: Scene) -> str:
        if callable(self.at):
            return self.at(scene)
        return scene.served.base + (self.at or address(self.route))


ABSENT = ("status of 404",)
STATES = (
    State("/sign-in", "plain", "Sign in"),
    State("/sign-in", "signed-out", "Sign in", at="/sign-in?signed-out=1"),
    State("/sign-in", "refused", "Sign in", then=_passkey_refused),
    State("/unlock", "with-passkey", "Locked", "locked@health"),
    State("/unlock", "without-passkey", "Locked", "locked-link@health"),
    State("/unlock", "confirming", "Confirm that it is you", "stale@health"),
    State("/unlock", "confirming-without-passkey", "Confirm that it is you", "stale@housing"),
    State("/join/{ticket}", "invited", "You are invited", at=lambda scene: scene.invitation("analyst@newcomers")),
    State("/join/{ticket}", "spent", "not good any more", expected=ABSENT),
    State("/enter/{ticket}", "link", "Sign in by link", at=lambda scene: scene.link("analyst@newcomers")),
    State("/enter/{ticket}", "spent", "not good any more", expected=ABSENT),
    State("/recover", "plain", ""),
    State("/recover", "wrong-code", "", then=_wrong_code, expected=("status of 401",)),
    State("/purpose", "offered", "What do you look for", "analyst@health", purpose="prevention"),
    State("/purpose", "wrong", "What do you look for", "analyst@health", then=_wrong_purpose, expected=("status of 400",)),
    State("/purpose", "none", "What do you look for", "analyst@newcomers"),
    State("/account", "plain", "Your account", "analyst@health", then=_everything_open),
    State("/account", "without-passkey", "Your account", "analyst@housing"),
    State("/account", "recovering", "Your account", "recovering@health"),
    State("/account", "to-confirm", "Your account", "stale@health", "/account?confirm=1", _everything_open),
    State("/account", "too-late-without-passkey", "Your account", "stale@housing", "/account?confirm=1"),
    State("/account", "new-codes", "Your recovery codes", "analyst@housing", then=_codes),
    State("/home", "analyst", "What you can do here", "analyst@health"),
    State("/home", "auditor", "What you can do here", "auditor@watch"),
    State("/home", "agreement-lead", "What you can do here", "lead@police"),
    State("/home", "called-upon", "What you can do here", "lead@police", then=_called_upon),
    State("/home", "integrator-and-operator", "What you can do here", "integrator@police"),
    State("/map", "records", "Incidents shared with you", "analyst@health", MAP, _map_with_all_open, "prevention"),
    State("/map", "one-record", "Incidents shared with you", "analyst@health", MAP, _record, "prevention"),
    State("/map", "empty", "Incidents shared with you", "analyst@health", "/map?bbox=10,10,11,11&category=theft", _drawn, "prevention"),
    State("/map", "failing", "Incidents shared with you", "analyst@health", MAP, _map_failing, "prevention", ("status of 503",)),
    State("/map", "counts", "Incidents shared with you", "many@health", MAP, _map_with_all_open, "prevention"),
    State("/map", "no-export", "Incidents shared with you", "analyst@housing", MAP, _map_with_all_open, "tenancy"),
    State("/maps", "filled", "Shared maps", "analyst@health", purpose="prevention"),
    State(
        "/maps",
        "fresh",
        "Shared maps",
        "analyst@health",
        lambda scene: f"{scene.served.base}/maps?new={_shared(scene)}",
        purpose="prevention",
    ),
    State("/maps", "empty", "Shared maps", "analyst@newcomers"),
    State(
        "/maps/{id}",
        "there",
        "Around the market",
        "analyst@health",
        lambda scene: f"{scene.served.base}/maps/{_shared(scene)}",
        _drawn,
        "prevention",
    ),
    State("/maps/{id}", "absent", "There is no such", "analyst@health", purpose="prevention", expected=ABSENT),
    State("/agreements", "filled", "Agreements", "analyst@health"),
    State("/agreements", "everybodys", "Agreements", "auditor@watch"),
    State("/agreements", "none", "Agreements", "analyst@newcomers"),
    State("/agreements/{mou}", "with-area", "", "analyst@health", "/agreements/MOU-HEALTH", _everything_open),
    State("/agreements/{mou}", "without-area", "", "analyst@housing", "/agreements/MOU-HOUSING"),
    State("/agreements/{mou}", "absent", "There is no such", "analyst@health", expected=ABSENT),
    State("/agreements", "lead", "Agreements", "lead@police"),
    State("/agreements/draft", "plain", "Draft an agreement", "lead@police"),
    State("/agreements/draft", "wrong", "Draft an agreement", "lead@police", then=_bad_draft, expected=("status of 422",)),
    State(VERSION, "active", "MOU-HEALTH, version 1", "lead@police", "/agreements/MOU-HEALTH/versions/1"),
    State(VERSION, "compared", "MOU-PROPOSED, version 1", "lead@police", _proposed, _compared),
    State(VERSION, "wrong-signature", "MOU-PROPOSED, version 1", "lead@police", _proposed, _bad_signature, expected=("status of 400",)),
    State(VERSION, "absent", "There is no such", "lead@police", expected=ABSENT),
    State("/audit", "filled", "Audit", "auditor@watch", then=_everything_open),
    State("/audit", "filtered", "Audit", "auditor@watch", f"/audit?mou=MOU-HEALTH&bbox={WHOLE}&type=query"),
    State("/audit", "nothing-found", "Audit", "auditor@watch", "/audit?case=never"),
    State("/audit", "wrong", "Audit", "auditor@watch", "/audit?bbox=1,2", expected=("status of 400",)),
    State("/audit", "refused", "This is not open to you", "analyst@health", expected=("status of 403",)),
    State("/audit/access/{event}", "there", "One access", "auditor@watch", "/audit?type=query", _access),
    State("/audit/access/{event}", "absent", "No such record is shared with you", "auditor@watch", expected=ABSENT),
    State("/audit/summary", "filled", "The log in numbers", "auditor@watch"),
    State("/audit/summary", "wrong", "The log in numbers", "auditor@watch", "/audit/summary?bbox=1,2", expected=("status of 400",)),
    State("/owner/summary", "others", "The log in numbers", "lead@police", "/owner/summary?others=true&type=query,export,match"),
    State("/owner/summary", "nothing-found", "The log in numbers", "lead@police", "/owner/summary?case=never"),
    State("/audit/searches", "filled", "Saved searches", "auditor@watch", then=_saved),
    State("/audit/searches", "none", "Saved searches", "lead@police"),
    State("/audit/searches/{id}", "absent", "There is no such", "auditor@watch", expected=ABSENT),
    State(TRACE, "seen-by-some", "Who gets this record", "lead@police", lambda scene: _trace(scene)),
    State(TRACE, "auditor", "Who gets this record", "auditor@watch", lambda scene: _trace(scene)),
    State(TRACE, "absent", "No such record is shared with you", "lead@police", expected=ABSENT),
    State("/audit/state", "bare", "State of the log", "auditor@watch"),
    State("/audit/state", "witnessed", "State of the log", "lead@police", lambda scene: _witnessed(scene)),
    State("/flags", "filled", "Flags", "auditor@watch", lambda scene: _flag(scene).rpartition("/")[0]),
    State("/flags", "nothing-found", "Flags", "lead@police", "/flags?kind=hour"),
    State("/flags", "wrong", "Flags", "auditor@watch", "/flags?kind=odd", expected=("status of 400",)),
    State("/flags/{id}", "there", "Mass export", "auditor@watch", lambda scene: _flag(scene)),
    State("/flags/{id}", "owner", "Mass export", "lead@police", lambda scene: _flag(scene)),
    State("/flags/{id}", "absent", "There is no such", "auditor@watch", expected=ABSENT),
    State("/reviews", "filled", "Access reviews", "auditor@watch", lambda scene: _run(scene).partition("/runs")[0], _everything_open),
    State("/reviews", "nobody-to-assign", "Access reviews", "lead@police"),
    State("/home", "to-sign-off", "What you can do here", "auditor@watch", lambda scene: _run(scene).partition("/reviews")[0] + "/home"),
    State(RUN, "open", "Monthly look", "auditor@watch", lambda scene: _run(scene)),
    State(RUN, "signed", "Monthly look", "auditor@watch", lambda scene: _run(scene, signed=True)),
    State(RUN, "absent", "There is no such", "auditor@watch", expected=ABSENT),
    State("/owner", "one-record", "Who saw our data", "lead@police", lambda scene: f"{scene.served.base}/owner?record={_record_id(scene)}"),
    State("/owner", "filled", "Who saw our data", "lead@police", then=_everything_open),
    State("/owner", "nothing-found", "Who saw our data", "lead@police", "/owner?case=never"),
)


def test_no_page_of_the_router_is_left_out() -> None:
    assert {state.route for state in STATES} | PARTS == set(routes("GET"))
    assert not {state.route for state in STATES} & PARTS
    names = [(state.route, state.name) for state in STATES]
    assert len(names) == len(set(names))


def _record_id(scene: Scene) -> str:
    """A record of police's that health sees, and housing does not."""
    scene.served.world.tokens.pop(("health", "prevention"), None)  # on a slow machine it has run out by now
    found = scene.served.world.items("health", "prevention", bbox=WHOLE, category="assault")
    return str(found[0]["id"])


def _trace(scene: Scene) -> str:
    return f"{scene.served.base}/audit/records/incidents/{_record_id(scene)}"


def _witnessed(scene: Scene) -> str:
    """With a witness that is up to date, one that never came, and an alarm."""
    world, cosigner = scene.served.world, Cosigner("clinic.example/witness", bytes(32))
    with suppress(Conflict), owner_transaction(world.addresses.main) as tx:
        for key in (cosigner.key, Cosigner("library.example/witness", bytes([1]) * 32).key):
            witnesses.add(tx, key.name, str(key))
        tx.rows(
            "insert into hub.log_alarms (kind, about, detail) values ('signed leaf missing', '7', 'A leaf is not in the tree.'); commit"
        )
    text = Note.read(scene.served.services.published.checkpoint()).text
    scene.served.services.published.keep(Note(text, [cosigner.sign(text, 1)]))
    return f"{scene.served.base}/audit/state"


def _flag(scene: Scene) -> str:
    """A flag about an access to police's records."""
    (leaf, *_) = scene.served.services.log.find(Search(owner="police", type="query", limit=1))
    reason = f"12,345 records were exported on 3 March 2026 (UTC) so far. Entry {leaf.id} of the log."
    with scene.served.world.superuser() as connection:
        number = connection.exec_driver_sql(
            "insert into hub.flags (kind, organisation, subject, owner, at, reason, leaves, events, raised_at)"
            " values ('export', 'health', 'client:health', 'police', now(), %s, %s, %s::uuid[], now()) returning id",
            (reason, [leaf.id], [leaf.body["event"]]),
        ).scalar_one()
    return f"{scene.served.base}/flags/{number}"


def _run(scene: Scene, signed: bool = False) -> str:
    """A run of an access review with two lines, one of them flagged; overdue, or signed off."""
    called, person = scene.served.services, scene.people["auditor@watch"]
    begin, by = datetime(2026, 3, 1, tzinfo=UTC), By("watch", person=str(person.id))
    review = called.reviews.set_up(by, SetUp("Monthly look", {"owner": "police"}, "month", 14, person.id, begin))
    flag = {"id": int(_flag(scene).rpartition("/")[2]), "organisation": "health", "client": "health", "kind": "export"}
    flag |= {"at": "2026-03-02T00:00:00.000Z", "reason": "12,345 records were exported."}
    made = [leaf(MONDAY, By("health", "health"), 3), leaf(MONDAY, By("housing", "housing"), 1)]
    figures = text_of({"owner": "police"}, "2026-03-01T00:00:00.000Z", "2026-04-01T00:00:00.000Z", made, [flag])
    with scene.served.world.superuser() as connection:
        number = connection.exec_driver_sql(
            "insert into hub.review_runs (id, review, since, until, due_at, assignee, opened_at, figures)"
            " values (gen_random_uuid(), %s, '2026-03-01Z', '2026-04-01Z', '2026-04-15Z', %s, '2026-04-01Z', %s) returning id::text",
            (str(review), str(person.id), figures),
        ).scalar_one()
    called.reviews.decide(by, UUID(number), [Decision(1, "revoke", "Not their task.")])
    if signed:
        called.reviews.decide(by, UUID(number), [Decision(2, "in-order", "")])
        called.reviews.sign(by, UUID(number))
    return f"{scene.served.base}/reviews/runs/{number}"


def _shared(scene: Scene) -> str:
    """A shared map of health's analyst."""
    maps, person = scene.served.services.maps, scene.people["analyst@health"]
    kept = maps.of(person.organisation.id) or [None]
    if kept[0]:
        return str(kept[0].id)
    return str(
        maps.add(person.organisation.id, person.id, "incidents", "Around the market", {"bbox": WHOLE, "filters": {"category": "theft"}})
    )


@pytest.fixture(scope="module")
def busy(scene: Scene) -> Scene:
    """The scene, used a little: a passkey, sessions, a shared map, looks and refusals in the log."""
    analyst = scene.people["analyst@health"]
    passkey_of(scene.served, analyst)
    passkey_of(scene.served, analyst, "Phone")
    scene.served.services.directory.new_codes(analyst.id)
    _shared(scene)
    scene.counted("health", "prevention")
    scene.counted("housing", "tenancy")
    scene.served.world.get("health", "never-agreed", "/collections/incidents/items")
    return scene


@pytest.fixture(scope="module")
def watched(chromium: Browser, served: Served) -> Watched:
    """One browser for all states: making one costs more than looking."""
    return Watched(chromium.new_context(viewport=SIZES[1280], reduced_motion="reduce"), served.base)


def _cookie(scene: Scene, state: State) -> Any:
    served, (kind, _, organisation) = scene.served, str(state.who).partition("@")
    if kind in ("analyst", "auditor", "lead", "integrator"):
        return served.cookie(scene.people[str(state.who)], state.purpose)
    person: Person = scene.people["analyst@housing" if kind == "locked-link" else f"analyst@{organisation}"]
    cookie = served.cookie(person, state.purpose, method={"recovering": "recovery-code", "locked-link": "link"}.get(kind, "passkey"))
    if kind.startswith("locked"):
        session = served.services.sessions.find(cookie["value"])
        assert session
        with served.world.superuser() as connection:
            connection.exec_driver_sql("update hub.sessions set seen_at = seen_at - interval '31 minutes' where id = %s", (session.id,))
    if kind == "stale":
        with served.world.superuser() as connection:
            connection.exec_driver_sql("update hub.sessions set proven_at = null where person = %s", (person.id,))
    return cookie


@pytest.mark.parametrize("seen", STATES, ids=lambda seen: f"{seen.route}:{seen.name}")
def test_a_page_has_no_violation(seen: State, watched: Watched, busy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    if seen.name == "counts":
        monkeypatch.setattr("hub.sharing.overview.MAX_RECORDS", 10)
    watched.context.clear_cookies()
    page = watched.context.new_page()
    if seen.who:
        watched.context.add_cookies([_cookie(busy, seen)])
    with watched.allowing(*seen.expected):
        _reach(page, seen, busy)
        assert violations(page) == []
        page.set_viewport_size(SIZES[390])
        if "map-page" in page.content():  # folds its filters when it comes up
            _reach(page, seen, busy)
        assert violations(page) == []
        page.close()  # what it says late is still allowed
    assert watched.wrong == []


def test_an_exported_file_has_no_violation(watched: Watched, busy: Scene, tmp_path: Path) -> None:
    watched.context.clear_cookies()
    watched.context.add_cookies([busy.served.cookie(busy.people["analyst@health"], "prevention")])  # type: ignore[list-item]
    page = watched.context.new_page()
    page.goto(busy.served.base + MAP)
    map_drawn(page)
    page.get_by_text("Export as one file", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export what is shown").click()
    download.value.save_as(tmp_path / "map.html")
    page.goto((tmp_path / "map.html").as_uri())
    for width in SIZES:
        page.set_viewport_size(SIZES[width])
        page.locator("#map-list button").first.click()
        assert violations(page) == []
        page.get_by_role("button", name="Back to the list").click()
        assert violations(page) == []
    page.close()
    assert watched.wrong == []


def _reach(page: Page, seen: State, scene: Scene) -> None:
    page.goto(seen.address(scene))
    seen.then(page, scene)
    expect(page.get_by_role("heading", level=1)).to_contain_text(seen.heading)


@pytest.mark.parametrize(
    ("html", "rule"),
    [
        ("<h1>a</h1><img src='data:,'>", "image-alt"),
        ("<h1>a</h1><input>", "label"),
        ("<h1>a</h1><p style='color:#999;background:#fff'>text</p>", "color-contrast"),
        (
            "<h1>a</h1><p>" + 2 * "<button style='width:9px;height:9px;padding:0'>.</button>" + "</p>",
            "target-size",
        ),
        ("<h1>a</h1><h1>b</h1>", "2 headings of level 1"),
        ("<h1>a</h1><p style='width:3000px'>wide</p>", "scrolls sideways"),
    ],
)
def test_a_violation_is_noticed(opened: Open, html: str, rule: str) -> None:
    page = opened().context.new_page()
    page.set_content(f"<!doctype html><html lang=en><title>t</title><main>{html}</main>")
    found = violations(page)
    assert any(line.startswith(rule) for line in found), found


def test_the_stand_ins_of_absent_things_are_used(busy: Scene) -> None:
    assert {name for state in STATES for name in re.findall(r"\{[^}]*\}", state.route)} <= set(NOTHING)
