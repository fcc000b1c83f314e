"""Whatever a partner publishes, and whatever somebody or something is called, is shown as text on every page and in every file, whole,
and nothing of it comes to life.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from hub.api import audit_csv
from hub.audit.leaf import By
from hub.identity import organisations, people
from hub.identity.people import Person
from hub.records import Sealed
from hub.web.templating import TEMPLATES
from tests.web.fixtures import Open
from tests.web.hostile import ALIVE, PAYLOADS, Payload, fitting, printable
from tests.web.scene import WHOLE
from tests.web.served import Served
from tests.web.watching import Watched, map_drawn
from tests.world import feature, grant

pytestmark = pytest.mark.unmeasured

NAMES = printable(200)
SHARPEST = (
    "image",
    "end-of-elements",
    "end-of-script",
    "double-quote",
    "single-quote",
    "end-of-tag",
    "template-literal",
    "jinja",
    "entities",
)
LIST = "Incidents, newest first"


@dataclass(frozen=True)
class Hostile:
    served: Served
    people: dict[str, Person]
    sharpest: dict[str, Person]

    def page(self, opened: Open, who: Person, purpose: str | None = None, **options: Any) -> tuple[Watched, Page]:
        watched = opened(**options)
        watched.context.add_cookies([self.served.cookie(who, purpose)])  # type: ignore[list-item]
        return watched, watched.context.new_page()


@pytest.fixture(scope="module")
def hostile(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    world, folder = served.world, tmp_path_factory.mktemp("hostile")
    for slug in ("police", "health"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    incident = world.services.datasets["incidents"].dataset
    fields = {field.name: "clear" for field in incident.fields}
    world.mou(folder, "MOU-1", "police", "health", [grant(actions=["query", "export"], fields=fields)])
    answer = world.publish("police", *(_record(n, payload) for n, payload in enumerate(PAYLOADS)))
    assert answer.status_code == 201, answer.text
    engine = world.database.writer
    for n, name in enumerate(NAMES):
        organisations.add(engine, f"named-{n}", name.text)
        terms = {"title": name.text, "legal_basis": name.text}
        world.mou(folder, f"MOU-NAMED-{n}", "police", f"named-{n}", [grant()], **terms)
        person = people.add(engine, f"named-{n}", f"person-{n}", name.text, ["analyst"])
        by = By(f"named-{n}", person=str(person.id))
        called = world.services
        called.log.record(called.event("refusal", by, "refuse", purpose="named", case=name.text[:100].strip(), reason=name.text))
    made = {
        "analyst": people.add(engine, "health", "analyst", "Analyst", ["analyst"]),
        "auditor": people.add(engine, "watch", "auditor", "Auditor", ["auditor"]),
        "lead": people.add(engine, "police", "lead", "Lead", ["agreement-lead"]),
    }
    return Hostile(served, made, {name.name: people.get(engine, f"person-{n}") for n, name in enumerate(NAMES) if name.name in SHARPEST})


def _record(n: int, payload: Payload) -> dict[str, Any]:
    """One record with the payload in every field that holds free text; newer ones have smaller numbers."""
    whole, text = payload.text, payload.text[:500]
    name = next((p.text for p in fitting(190, lines=False) if p.name == payload.name), payload.name)
    return feature(
        f"{n} {name}",
        occurred_at=f"2021-03-04T13:{59 - n:02d}:00Z",
        title=text,
        narrative=whole,
        address=text,
        phone=text,
        people=[{"name": text, "role": text}],
        vehicles=[{"plate": text, "description": text}],
        extra={text[:100]: whole, "nested": {text[:100]: [whole, {"deep": whole}]}},
    )


def missing(page: Page, texts: Iterable[str], where: str = "body") -> list[str]:
    """Those that stand nowhere in the text of that part of the page."""
    script = "([where, texts]) => { const all = document.querySelector(where).textContent; return texts.filter(t => !all.includes(t)) }"
    found: list[str] = page.evaluate(script, [where, list(texts)])
    return found


def test_every_text_of_the_corpus_can_be_published_in_every_sealed_field(hostile: Hostile) -> None:
    incident = hostile.served.world.services.datasets["incidents"].dataset
    sealed = {field.name for field in incident.fields if isinstance(field.mark, Sealed)}
    items = hostile.served.world.items("health", "research")
    assert len(items) == len(PAYLOADS)
    for item in items:
        assert sealed <= {name for name, value in item["properties"].items() if value}


def test_published_text_is_text_in_the_details_of_the_map(hostile: Hostile, opened: Open) -> None:
    _, page = hostile.page(opened, hostile.people["analyst"], "research")
    page.goto(f"{hostile.served.base}/map?bbox={WHOLE}")
    _each_is_text(page)


def test_published_text_is_text_in_the_exported_file(hostile: Hostile, opened: Open, tmp_path: Path) -> None:
    _, page = hostile.page(opened, hostile.people["analyst"], "research")
    page.goto(f"{hostile.served.base}/map?bbox={WHOLE}")
    map_drawn(page)
    page.get_by_text("Export as one file", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export what is shown").click()
    download.value.save_as(tmp_path / "map.html")
    offline = opened(offline=True).context.new_page()
    offline.goto((tmp_path / "map.html").as_uri())
    _each_is_text(offline)


def _each_is_text(page: Page) -> None:
    """Opens one record after the other, as listed: in the order of the corpus."""
    rows = page.get_by_role("list", name=LIST).get_by_role("button")
    expect(rows).to_have_count(len(PAYLOADS))
    back = page.get_by_role("button", name="Back to the list")
    for n, payload in enumerate(PAYLOADS):
        rows.nth(n).click()
        expect(back).to_be_visible()
        whole, short = payload.text, payload.text[:500]
        assert missing(page, [whole, short, short[:100]], "#map-detail") == [], payload.name
        stands = page.evaluate("text => [...document.querySelectorAll('#map-detail dd')].filter(e => e.textContent === text).length", whole)
        assert stands >= 1, f"{payload.name} is not a value of its own"
        keys = page.evaluate(
            "key => [...document.querySelectorAll('#map-detail bdi')].filter(e => e.textContent === key).length", short[:100]
        )
        assert keys >= 2, f"{payload.name} is not a key"
        assert page.evaluate(ALIVE) == [], payload.name
        back.click()


def test_names_are_text_on_the_pages_of_the_log(hostile: Hostile, opened: Open) -> None:
    """Organisations and people in the lists of the form, people and cases in the rows, everything about one access."""
    _, page = hostile.page(opened, hostile.people["auditor"])
    page.goto(f"{hostile.served.base}/audit?purpose=named")
    assert page.locator("main tbody tr").count() == len(NAMES)
    assert missing(page, [n.text for n in NAMES], "main tbody") == []
    assert missing(page, [n.text[:100].strip() for n in NAMES], "main tbody") == []
    assert missing(page, [n.text for n in NAMES], "form.filters") == []
    assert page.evaluate(ALIVE) == []
    for address in _accesses(page)[:: max(1, len(NAMES) // 6)]:
        page.goto(address)
        assert page.evaluate(ALIVE) == []
        assert page.get_by_role("heading", level=1).inner_text() == "One access"


def _accesses(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all("main tbody a[href*='/audit/access/']", "links => links.map(a => a.href)")
    return found


def test_names_are_text_in_the_csv_of_the_log_and_no_formula(hostile: Hostile, opened: Open, tmp_path: Path) -> None:
    _, page = hostile.page(opened, hostile.people["auditor"])
    page.goto(f"{hostile.served.base}/audit?purpose=named")
    with page.expect_download() as download:
        page.get_by_role("link", name="Take away as CSV").click()
    download.value.save_as(tmp_path / "audit.csv")
    text = (tmp_path / "audit.csv").read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["person_name"] for row in rows} == {audit_csv.defused(n.text) for n in NAMES}
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_titles_of_agreements_are_text(hostile: Hostile, opened: Open) -> None:
    _, page = hostile.page(opened, hostile.people["lead"])
    page.goto(f"{hostile.served.base}/agreements")
    assert missing(page, [n.text for n in NAMES], "main") == []
    assert page.evaluate(ALIVE) == []
    for n, name in enumerate(NAMES):
        if name.name in SHARPEST:
            page.goto(f"{hostile.served.base}/agreements/MOU-NAMED-{n}")
            assert page.get_by_role("heading", level=1).evaluate("e => e.textContent") == name.text
            assert missing(page, [name.text], "main dl") == []
            assert page.evaluate(ALIVE) == []


def test_names_and_titles_are_text_on_the_page_of_a_trace(hostile: Hostile, opened: Open) -> None:
    """Every organisation gets the record, each by an agreement of its name."""
    record = hostile.served.world.items("health", "research")[0]["id"]
    _, page = hostile.page(opened, hostile.people["lead"], width=390)
    page.goto(f"{hostile.served.base}/audit/records/incidents/{record}")
    assert missing(page, [n.text for n in NAMES], "main table.glance") == []
    assert page.evaluate("document.querySelectorAll('.partner h2 bdi').length") == len(NAMES) + 1
    titles = page.eval_on_selector_all(".partner li bdi", "all => all.map(e => e.textContent)")
    assert {n.text for n in NAMES} <= set(titles)
    assert page.evaluate(ALIVE) == []


def test_names_of_shared_maps_and_passkeys_are_text(hostile: Hostile, opened: Open) -> None:
    served, analyst = hostile.served, hostile.people["analyst"]
    for name in NAMES:
        served.services.maps.add(analyst.organisation.id, analyst.id, "incidents", name.text, {"bbox": WHOLE})
    labels = printable(60)[:20]  # nobody has more passkeys
    _label_passkeys(served, analyst, labels)
    _, page = hostile.page(opened, analyst, "research", width=390)
    page.goto(f"{served.base}/maps")
    assert missing(page, [n.text for n in NAMES], "main") == []
    assert page.evaluate(ALIVE) == []
    page.goto(f"{served.base}/account")
    assert missing(page, [n.text for n in labels], "main") == []
    values = page.eval_on_selector_all("main input[name=label]", "fields => fields.map(f => f.value)")
    assert {n.text for n in labels} <= set(values)
    assert page.evaluate(ALIVE) == []


def _label_passkeys(served: Served, person: Person, labels: Sequence[Payload]) -> None:
    with served.world.superuser() as connection:
        for n, label in enumerate(labels):
            columns = "credential_id, person, public_key, sign_count, label, created_at"
            values = bytes([n]) * 16, person.id, label.text
            connection.exec_driver_sql(f"insert into hub.passkeys ({columns}) values (%s, %s, '', 0, %s, now())", values)


@pytest.mark.parametrize("name", SHARPEST)
def test_a_person_of_any_name_of_an_organisation_of_any_name_finds_it_as_text_in_the_frame(
    hostile: Hostile, opened: Open, name: str
) -> None:
    person = hostile.sharpest[name]
    _, page = hostile.page(opened, person)
    for path in ("/home", "/purpose"):
        page.goto(hostile.served.base + path)
        assert page.locator(".who-name").evaluate("e => e.textContent") == person.name
        assert page.locator(".who-org").evaluate("e => e.textContent") == person.organisation.name
        assert page.evaluate(ALIVE) == []


def test_a_case_reference_is_text_in_the_frame(hostile: Hostile, opened: Open) -> None:
    served = hostile.served
    cookie = served.cookie(hostile.people["analyst"], "research")
    session = served.services.sessions.find(cookie["value"])
    assert session
    watched = opened()
    watched.context.add_cookies([cookie])  # type: ignore[list-item]
    page = watched.context.new_page()
    for case in printable(100):
        served.services.sessions.choose(session, "research", case.text)
        page.goto(f"{served.base}/purpose")
        assert missing(page, [case.text], ".purpose") == []
        assert page.get_by_label("Case reference").count() == 0  # no grant here wants one
        assert page.evaluate(ALIVE) == []


def test_a_template_that_does_not_escape_is_noticed(hostile: Hostile, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TEMPLATES, "autoescape", False)
    TEMPLATES.cache.clear()  # type: ignore[union-attr]
    try:
        watched, page = hostile.page(opened, hostile.sharpest["image"])
        page.goto(f"{hostile.served.base}/home")
        assert "<img> was made" in page.evaluate(ALIVE)
        assert any(line.startswith("policy: script-src-attr") for line in watched.wrong)
        watched.wrong.clear()
    finally:
        TEMPLATES.cache.clear()  # type: ignore[union-attr]


def test_a_script_that_writes_markup_is_noticed(hostile: Hostile, opened: Open) -> None:
    watched, page = hostile.page(opened, hostile.people["analyst"], "research")

    def broken(route: Any) -> None:
        text, safe = route.fetch().text(), 'element("bdi", {}, String(found))'
        assert safe in text
        unsafe = "Object.assign(document.createElement('bdi'), { innerHTML: found })"
        route.fulfill(body=text.replace(safe, unsafe), content_type="text/javascript")

    page.route("**/map-detail.js*", broken)
    page.goto(f"{hostile.served.base}/map?bbox={WHOLE}")
    with pytest.raises(AssertionError):
        _each_is_text(page)
    page.get_by_role("button", name="Back to the list").click()
    page.get_by_role("list", name=LIST).get_by_role("button").nth([p.name for p in PAYLOADS].index("image")).click()
    expect(page.locator("#map-detail img").first).to_be_attached()
    assert "<img> was made" in page.evaluate(ALIVE)
    assert any(line.startswith("policy: script-src-attr") for line in watched.wrong)
    watched.wrong.clear()
