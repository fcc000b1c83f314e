"""The Python client against the application: tokens, pages, publishing, and what it makes of a refusal."""

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hub import client as hub_client
from hub.client import Client, Problem
from hub.identity import clients
from tests.world import BASE, World, feature, grant

Make = Callable[..., Client]


@pytest.fixture(scope="module")
def hub(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "health"):
        world.organisation(slug)
    world.organisation("auditor", "auditor", ["audit"])
    fields = {"external_id": "clear", "place": {"grid_m": 500}, "category": "clear"}
    asked = grant("ask", ["checking"], actions=["match"], fields={"vehicles": "match_only", "category": "clear"})
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-1", "police", "health", [grant(fields=fields), asked])
    return world


@pytest.fixture
def client(hub: World) -> Make:
    def make(name: str, purpose: str | None = None, scope: str | None = None, **more: Any) -> Client:
        return Client(more.pop("base_url", BASE), name, hub.keys[name], purpose, scope, http=more.pop("http", hub.http), **more)

    return make


def tokens_given(hub: World, name: str) -> int:
    return sum(leaf["by"]["client"] == name and leaf["decision"] == "permit" for leaf in hub.leaves(type="token"))


def test_it_publishes_and_reads_every_page(client: Make) -> None:
    receipt = client("police", scope="publish").publish("incidents", [feature(f"C-{n}") for n in range(25)])
    assert [r["external_id"] for r in receipt["records"]] == [f"C-{n}" for n in range(25)]
    reader = client("health", "research", "query")
    found = [f["properties"]["external_id"] for f in reader.items("incidents", limit=4)]
    assert sorted(found) == sorted(f"C-{n}" for n in range(25))
    assert [f["properties"]["external_id"] for f in reader.items("incidents", external_id="C-7", bbox="-80,43,-79,44")] == ["C-7"]
    assert list(reader.items("incidents", category="fire")) == []


def test_it_asks_whether_a_value_occurs(client: Make) -> None:
    client("police", scope="publish").publish("incidents", [feature("M-1", vehicles=[{"plate": "ABC 123"}])])
    asking = client("health", "checking", "query")
    found = asking.match("incidents", "vehicles", plate="abc-123")
    assert (found["match"], found["providers"]) == (True, ["police"])
    assert [record["properties"]["category"] for record in found["records"]] == ["theft"]
    assert asking.match("incidents", "vehicles", plate="ABC 124") == {"match": False, "providers": [], "records": []}
    with pytest.raises(Problem, match="looked up by plate"):
        asking.match("incidents", "vehicles", value="ABC 123")


def test_one_token_serves_until_half_a_minute_before_its_end(hub: World, client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = client("health", "research", "query")
    before = tokens_given(hub, "health")
    for _ in range(3):
        list(reader.items("incidents", limit=20))
    assert tokens_given(hub, "health") == before + 1
    now = time.time()
    monkeypatch.setattr("hub.client.time.time", lambda: now + 265)
    assert reader.token()
    assert tokens_given(hub, "health") == before + 1
    monkeypatch.setattr("hub.client.time.time", lambda: now + 271)
    # The assertion is dated ahead too; the hub takes a clock that is a minute off, so here its own is moved along.
    hub.clock.ahead = timedelta(seconds=271)
    try:
        assert reader.get("/collections/incidents/items?limit=1").status_code == 200
    finally:
        hub.clock.ahead = timedelta(0)
    assert tokens_given(hub, "health") == before + 2


def test_a_refusal_is_a_problem_with_the_hubs_own_words(client: Make) -> None:
    with pytest.raises(Problem, match="limit must be from 1 to 1000") as refused:
        list(client("health", "research", "query").items("incidents", limit=0))
    assert refused.value.status == 400
    assert refused.value.body["errors"][0]["field"] == "limit"
    with pytest.raises(Problem, match=r"features\[1\]\.properties\.category") as refused:
        client("police", scope="publish").publish("incidents", [feature("P-1"), feature("P-2", category="?")])
    assert refused.value.status == 422
    with pytest.raises(Problem, match="not registered for every scope") as refused:
        client("auditor", scope="publish").token()
    assert refused.value.body["error"] == "invalid_scope"
    with pytest.raises(Problem) as refused:
        client("health", "research", "query").get("/collections/incidents/items/7")
    assert refused.value.status == 404


@pytest.mark.parametrize("body", [b"<html>502</html>", b"", b"[]", b'"text"', b"\xff", b'{"detail": null}'])
def test_an_answer_that_is_no_problem_is_told_by_its_status(client: Make, body: bytes) -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(502, content=body)))
    with http, pytest.raises(Problem, match="HTTP 502"):
        client("health", http=http).token()


def test_the_token_goes_to_no_other_server(client: Make) -> None:
    reader = client("health", "research", "query")
    for address in (
        "https://elsewhere.example/collections",
        "//elsewhere.example/",
        "http://127.0.0.1:80000/",
        f"{BASE}.elsewhere.example/",
        f"{BASE}@elsewhere.example/",
        f"{BASE}//elsewhere.example",
        "collections",
        "",
    ):
        with pytest.raises(ValueError, match="neither a path"):
            reader.get(address)
    assert reader.get(f"{BASE}/collections").status_code == 200


def test_a_redirection_is_not_followed(client: Make) -> None:
    """It would carry the assertion or the token along."""
    seen: list[str] = []

    def elsewhere(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.host)
        return httpx2.Response(307, headers={"Location": "https://elsewhere.example/"}, content=json.dumps({}))

    with httpx2.Client(transport=httpx2.MockTransport(elsewhere)) as http, pytest.raises((Problem, KeyError)):
        client("health", http=http).token()
    assert seen == ["127.0.0.1"]


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)], ids=type
)
def test_each_kind_of_key_that_the_hub_takes_can_be_used(hub: World, key: Any) -> None:
    name = f"kind-{type(key).__name__.strip('_').lower()}"[:40]
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    clients.add(hub.database.writer, "police", name, public, ["audit"])
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert Client(BASE, name, pem, http=hub.http).get("/audit/events?limit=1").status_code == 200


@pytest.mark.parametrize("pem", [b"", b"\xff", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused_without_being_quoted(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"private key|not an EC") as refused:
        Client(BASE, "health", pem)
    assert str(pem) not in str(refused.value)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed448.Ed448PrivateKey.generate()], ids=["P-384", "Ed448"])
def test_a_kind_of_key_that_the_hub_does_not_take_is_refused_before_it_is_used(key: Any) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="not an EC P-256"):
        Client(BASE, "health", pem)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="not an EC P-256"):
        Client(BASE, "health", public)


def test_it_imports_nothing_of_the_hub() -> None:
    source = Path(hub_client.__file__).read_text()
    assert "hub" not in re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE)
