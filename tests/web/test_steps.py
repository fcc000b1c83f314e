"""The agreement lead's pages: from a draft to its end without a command line, but for the signature."""

import re
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from typing import Any

import pytest

from hub.identity.party_keys import STATEMENT, sign
from hub.identity.people import Person
from tests.agreements.parties import Party, party
from tests.web.served import Served
from tests.web.visiting import Visitor
from tests.world import World, feature, grant, mou_data
from tests.written import yaml_of

Persons = Callable[..., Person]


@pytest.fixture(scope="module")
def hub(served: Served) -> World:
    for slug in ("police", "health", "stranger"):
        served.world.organisation(slug)
    assert served.world.publish("police", *(feature(f"S-{n}", severity=n % 5 + 1) for n in range(10))).status_code == 201
    return served.world


@pytest.fixture(scope="module")
def parties(hub: World) -> tuple[Party, Party]:
    return party(hub, "police"), party(hub, "health")


@pytest.fixture
def leads(served: Served, hub: World, person: Persons) -> dict[str, Visitor]:
    return {slug: Visitor(served).begin(person("agreement-lead", organisation=slug)) for slug in ("police", "health", "stranger")}


def data(name: str, **more: Any) -> dict[str, Any]:
    return mou_data(name, "police", "health", [grant(purposes=[name.lower()])], **more)


def here(name: str, step: str = "") -> str:
    return f"/agreements/{name}/versions/1{f'/{step}' if step else ''}"


def said(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html.partition("<main")[2])).split())


def test_from_a_draft_to_its_end(hub: World, parties: tuple[Party, Party], leads: dict[str, Visitor]) -> None:
    police, health = leads["police"], leads["health"]
    answer = health.post("/agreements/draft", {"text": yaml_of(data("MOU-PAGES")).decode()})
    assert (answer.status_code, answer.headers["location"]) == (303, here("MOU-PAGES"))
    assert "MOU-PAGES, version 1" in said(police.get("/agreements").text)
    answer = police.post(here("MOU-PAGES", "propose"))
    assert answer.headers["location"] == f"{here('MOU-PAGES')}?done=propose"
    assert "it is proposed now" in said(police.get(answer.headers["location"]).text)
    for who, signer in zip(parties, (police, health), strict=True):
        statement = signer.get(here("MOU-PAGES", "statement.json")).content
        document = signer.get(here("MOU-PAGES", "document.pdf"))
        assert sha256(document.content).hexdigest() in statement.decode()
        assert document.headers["content-disposition"] == 'attachment; filename="MOU-PAGES-1-document.pdf"'
        signature = sign(who.key, None, statement, STATEMENT)
        assert signer.post(here("MOU-PAGES", "sign"), {"value": f"\n{signature}\n"}).status_code == 303
    compared = police.post(here("MOU-PAGES", "compare"))
    text = said(compared.text)
    assert "0 records before, 10 after: 10 gained, 0 lost, 0 seen otherwise" in text
    assert "place withheld 500 m cells 10" in text
    (digest,) = re.findall(r'name="diff" value="([0-9a-f]{64})"', compared.text)
    assert police.post(here("MOU-PAGES", "activate"), {"diff": digest, "seen": "on"}).status_code == 303
    assert len(hub.items("health", "mou-pages")) == 10
    assert health.post(here("MOU-PAGES", "suspend"), {"value": "A doubt"}).status_code == 303
    assert "Suspended by health" in said(police.get(here("MOU-PAGES")).text)
    assert "Nothing is shared under" in said(police.get("/agreements/MOU-PAGES").text)
    assert hub.get("health", "mou-pages", "/collections/incidents/items").status_code == 403
    assert police.post(here("MOU-PAGES", "resume")).status_code == 403
    assert health.post(here("MOU-PAGES", "resume")).status_code == 303
    assert police.post(here("MOU-PAGES", "terminate"), {"value": "Over"}).status_code == 303
    assert "What you can do" not in said(police.get(here("MOU-PAGES")).text)
    steps = [leaf["asked"]["step"] for leaf in hub.leaves(type="mou", mou="MOU-PAGES", owner="health")]
    assert steps[-4:] == ["activated", "suspended", "resumed", "terminated"]
    by = {tuple(sorted(leaf["by"])) for leaf in hub.leaves(type="mou", mou="MOU-PAGES", owner="health")}
    assert by == {("from", "organisation", "person", "session")}


def test_what_is_wrong_with_a_draft_is_told_beside_it_and_nothing_is_lost(leads: dict[str, Visitor], parties: tuple[Party, Party]) -> None:
    wrong = yaml_of(data("MOU-WRONG", colour="<b>blue</b>")).decode()
    answer = leads["police"].post("/agreements/draft", {"text": wrong})
    assert answer.status_code == 422
    assert "colour : is not a word of the MOU vocabulary" in said(answer.text)
    assert "&lt;b&gt;blue&lt;/b&gt;" in answer.text
    assert "<b>blue</b>" not in answer.text
    assert leads["police"].get(here("MOU-WRONG")).status_code == 404


def test_a_step_that_is_refused_says_why_on_the_page(leads: dict[str, Visitor], parties: tuple[Party, Party]) -> None:
    police = leads["police"]
    police.post("/agreements/draft", {"text": yaml_of(data("MOU-REFUSED")).decode()})
    for step, fields, status, words in (
        ("sign", {"value": "x"}, 400, "not a detached JWS"),
        ("activate", {"diff": "0" * 64}, 409, "it must be signed"),
        ("suspend", {"value": " "}, 400, "Say why"),
        ("suspend", {"value": "x"}, 409, "it must be active"),
    ):
        answer = police.post(here("MOU-REFUSED", step), fields)
        assert (answer.status_code, words in said(answer.text)) == (status, True), (step, answer.text)
    assert police.post(here("MOU-REFUSED", "nonsense")).status_code == 404
    assert police.get(here("MOU-REFUSED", "nonsense")).status_code == 404
    assert police.get(here("MOU-REFUSED", "document.pdf")).status_code == 404
    assert leads["health"].post(here("MOU-REFUSED", "compare")).status_code == 403


def test_to_others_an_agreement_is_absent(leads: dict[str, Visitor], parties: tuple[Party, Party]) -> None:
    leads["police"].post("/agreements/draft", {"text": yaml_of(data("MOU-OTHERS")).decode()})
    stranger = leads["stranger"]
    absent = said(stranger.get("/agreements/MOU-NONE/versions/1").text)
    assert said(stranger.get(here("MOU-OTHERS")).text) == absent
    assert said(stranger.post(here("MOU-OTHERS", "withdraw")).text) == absent
    assert "MOU-OTHERS" not in stranger.get("/agreements").text
    assert stranger.get("/agreements/MOU-OTHERS/versions/x").status_code == 404
