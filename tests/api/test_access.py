"""Tokens over HTTP: who is let in, what a refusal looks like, and what the hub's own log keeps of it."""

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from joserfc import jws, jwt
from joserfc.jwk import ECKey

from hub.identity import clients
from tests import assertion
from tests.api.asking import ITEMS, MAP, bearer, nothing_stored, problem, send
from tests.world import ASSERTION_TYPE, BASE, World, feature

PROTECTED = [("GET", ITEMS), ("HEAD", ITEMS), ("POST", ITEMS), ("GET", f"{ITEMS}/7"), ("GET", "/audit/events")]
PROTECTED += [("GET", "/audit/events/summary"), ("GET", "/audit/events.csv"), ("HEAD", "/audit/events.ndjson")]
PROTECTED += [("GET", MAP), ("HEAD", MAP), ("GET", f"{ITEMS}/7/explain"), ("HEAD", f"{ITEMS}/7/explain")]


@pytest.fixture
def later(partners: World) -> Iterator[Any]:
    """Moves the hub's clock; puts it back afterwards."""
    yield lambda **ahead: setattr(partners.clock, "ahead", timedelta(**ahead))
    partners.clock.ahead = timedelta(0)


def token_of(world: World) -> str:
    return bearer(world, "health", "query", "research")["Authorization"].removeprefix("Bearer ")


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, body, signature = token.split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(p + "==")) for p in (head, body))
    return header, claims, signature


def written(*members: dict[str, Any]) -> str:
    return ".".join(unpadded(json.dumps(m).encode()) for m in members)


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(world: World) -> dict[str, str]:
    """Tokens that look like the hub's, by what is wrong with them."""
    good = token_of(world)
    header, claims, signature = parts(good)
    own, hubs = ECKey.generate_key("P-256"), world.services.token_key
    confused = written(header | {"alg": "HS256"}, claims)
    mac = unpadded(hmac.digest(hubs.public.as_pem(private=False), confused.encode(), "sha256"))

    def signed(key: Any, head: dict[str, Any] | None = None, **changed: Any) -> str:
        head = header | (head or {})
        return jwt.encode(head, claims | changed, key, algorithms=[head["alg"]])

    return {
        "tampered claims": f"{written(header, claims | {'org': 'police'})}.{signature}",
        "tampered signature": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "no signature": f"{written(header, claims)}.",
        "alg none": f"{written(header | {'alg': 'none'}, claims)}.",
        "another's key": signed(own),
        "another's key and kid": signed(own, {"kid": own.thumbprint()}),
        "HS256 with the public key": f"{confused}.{mac}",
        "no typ": jws.serialize_compact({k: v for k, v in header.items() if k != "typ"}, json.dumps(claims), hubs.private),
        "typ JWT": signed(hubs.private, {"typ": "JWT"}),
        "another issuer": signed(hubs.private, iss="https://elsewhere.example"),
        "another audience": signed(hubs.private, aud="https://elsewhere.example/"),
        "a list of audiences": signed(hubs.private, aud=[claims["aud"], "https://elsewhere.example/"]),
        "ten years": signed(hubs.private, exp=claims["iat"] + 10 * 365 * 86_400),
        "expired": signed(hubs.private, iat=claims["iat"] - 600, exp=claims["iat"] - 300),
        "not yet": signed(hubs.private, iat=claims["iat"] + 60, nbf=claims["iat"] + 60, exp=claims["exp"] + 60),
        "query without purpose": signed(hubs.private, purpose=""),
    }


def test_the_forger_can_make_a_good_token_too(partners: World) -> None:
    """Control: signed with the hub's own key and nothing changed, a token is believed."""
    header, claims, _ = parts(token_of(partners))
    good = jwt.encode(header, claims, partners.services.token_key.private, algorithms=["ES256"])
    assert partners.http.get(ITEMS, headers={"Authorization": f"Bearer {good}"}).status_code == 200


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_a_token_nothing_is_answered_and_nothing_is_stored(partners: World, method: str, path: str) -> None:
    with nothing_stored(partners):
        answer = partners.http.request(method, path, content=b"{}" if method == "POST" else None)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"  # RFC 6750 §3.1: no error code for who did not try
        if method != "HEAD":
            problem(answer, 401, word="missing")


def test_a_token_that_is_not_the_hubs_own_is_refused_whatever_is_wrong_with_it(partners: World) -> None:
    tokens = forged(partners)
    assert len(tokens) == 16
    with nothing_stored(partners):
        for what, token in tokens.items():
            answer = partners.http.get(ITEMS, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, what
            problem(answer, 401)
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"', what
            assert token not in answer.text


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic aGVhbHRoOng=",
        "bearer x.y.z",
        "Bearer a b",
        "Bearer " + "x" * 9_000,
        "Token {}",
        "{}",
        "Bearer {} ",
        b"Bearer \xff\xfe",
    ],
)
def test_a_header_that_is_no_bearer_token_is_refused(partners: World, header: str | bytes) -> None:
    text = header.replace("{}", token_of(partners)) if isinstance(header, str) else header
    answer = partners.http.get(ITEMS, headers={"Authorization": text})
    assert answer.status_code in (200, 401)
    if answer.status_code == 200:
        assert header == "Bearer {} "  # HTTP strips white space around a field's value
    else:
        problem(answer, 401)


def test_a_token_in_the_address_is_a_parameter_like_any_other_and_refused(partners: World) -> None:
    problem(partners.http.get(f"{ITEMS}?access_token={token_of(partners)}"), 401)
    answer = partners.http.get(f"{ITEMS}?access_token=x", headers=bearer(partners, "health", "query", "research"))
    problem(answer, 400, "access_token")


def test_a_token_ends_to_the_second(partners: World, later: Any) -> None:
    headers = {"Authorization": f"Bearer {partners.token_response('health', 'research').json()['access_token']}"}
    later(seconds=295)
    assert partners.http.get(ITEMS, headers=headers).status_code == 200
    later(seconds=301)
    problem(partners.http.get(ITEMS, headers=headers), 401, word="expired")


@pytest.mark.parametrize(
    ("client", "scope", "purpose", "method", "path", "needed"),
    [
        ("police", "publish", None, "GET", ITEMS, "query"),
        ("police", "audit", None, "POST", ITEMS, "publish"),
        ("police", "publish", None, "GET", "/audit/events", "audit"),
        ("police", "publish", None, "GET", f"{ITEMS}/7", "query"),
        ("police", "publish", None, "GET", MAP, "query"),
        ("police", "audit", None, "GET", f"{ITEMS}/7/explain", "query"),
        ("health", "query", "research", "POST", ITEMS, "publish"),
    ],
)
def test_the_wrong_scope_is_refused_and_the_refusal_is_in_the_hubs_own_log(
    partners: World, client: str, scope: str, purpose: str | None, method: str, path: str, needed: str
) -> None:
    headers = bearer(partners, client, scope, purpose)
    before = partners.leaves()
    answer = partners.http.request(method, path, headers=headers, content=b"{}" if method == "POST" else None)
    problem(answer, 403, word=f"needs the scope {needed}; the token has {scope}")
    (leaf,) = partners.leaves()[len(before) :]
    assert (leaf["type"], leaf["decision"], leaf["reason"]) == ("refusal", "refuse", f"the token has no scope {needed}")
    assert (leaf["by"]["organisation"], leaf["by"]["client"], leaf.get("purpose")) == (client, client, purpose)
    assert "owner" not in leaf
    assert "shown" not in leaf


def test_no_mou_is_a_refusal_without_an_owner_in_the_log(partners: World) -> None:
    headers = bearer(partners, "health", "query", "tourism")
    before = partners.leaves()
    problem(partners.http.get(ITEMS, headers=headers), 403, word="No MOU in force")
    (leaf,) = partners.leaves()[len(before) :]
    assert (leaf["type"], leaf["decision"], leaf["reason"], leaf["purpose"]) == ("query", "refuse", "no MOU in force", "tourism")
    assert leaf.keys().isdisjoint({"owner", "under", "shown"})


def test_a_token_is_in_the_log_before_it_is_given(partners: World) -> None:
    before = partners.leaves()
    session = parts(partners.token_response("health", "research", "query").json()["access_token"])[1]["jti"]
    (leaf,) = partners.leaves()[len(before) :]
    assert (leaf["type"], leaf["decision"], leaf["purpose"], leaf["asked"]) == ("token", "permit", "research", {"scope": ["query"]})
    assert leaf["by"] == {"client": "health", "from": "testclient", "organisation": "health", "session": session}


def test_a_proven_client_that_asks_for_too_much_is_in_the_log(partners: World) -> None:
    before = partners.leaves()
    answer = partners.token_response("auditor", None, "publish")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    (leaf,) = partners.leaves()[len(before) :]
    assert (leaf["type"], leaf["decision"], leaf["by"]["client"]) == ("token", "refuse", "auditor")
    assert "scope" in leaf["reason"]


def test_where_the_log_cannot_be_written_there_is_no_token_and_no_data(partners: World) -> None:
    headers = bearer(partners, "health", "query", "research")
    with partners.superuser() as connection:
        connection.execute(sa.text("alter table hub.audit_leaves add constraint no_more check (id < 0) not valid"))
    try:
        refused = [
            partners.token_response("health", "research"),
            partners.http.get(ITEMS, headers=headers),
            partners.http.get(f"{ITEMS}/7", headers=headers),
            partners.http.get(f"{ITEMS}/7/explain", headers=headers),
            partners.http.get(MAP, headers=headers),
            partners.http.get("/audit/events", headers=bearer_made_before(partners)),
            partners.http.get("/audit/events/summary", headers=bearer_made_before(partners)),
            partners.http.get("/audit/events.csv", headers=bearer_made_before(partners)),
            partners.http.get(ITEMS, headers=partners.bearer("police")),  # a refusal that can't be recorded is not told either
        ]
        for answer in refused:
            problem(answer, 503, word="log")
            assert answer.headers["retry-after"] == "2"
        assert [partners.http.get(path).status_code for path in ("/healthz", "/readyz", "/", "/api")] == [200] * 4
    finally:
        with partners.superuser() as connection:
            connection.execute(sa.text("alter table hub.audit_leaves drop constraint no_more"))
    assert partners.http.get(ITEMS, headers=headers).status_code == 200


def bearer_made_before(world: World) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.tokens['police', None]}"}


def unauthenticated(world: World) -> list[dict[str, Any]]:
    return world.leaves(type="unauthenticated")


def test_failures_without_a_client_are_counted_by_the_minute_not_logged_one_by_one(partners: World, later: Any) -> None:
    partners.services.failures.flush(partners.clock())
    before = len(unauthenticated(partners))
    now = datetime.now(UTC)
    later(seconds=120 - now.second)  # the start of a minute that no other test counts in
    for _ in range(25):
        partners.http.get(ITEMS)
    for _ in range(5):
        partners.http.post("/oauth/token", data={"grant_type": "client_credentials"})
    assert len(unauthenticated(partners)) == before
    later(seconds=180 - now.second)
    partners.http.get(ITEMS)
    (leaf,) = unauthenticated(partners)[before:]
    assert leaf["asked"]["counts"] == {"access-token": 25, "client-assertion": 5}
    assert leaf["asked"]["minute"] < leaf["at"]
    assert (leaf["decision"], leaf["by"]) == ("refuse", {})
    partners.services.failures.flush(partners.clock())
    assert unauthenticated(partners)[-1]["asked"]["counts"] == {"access-token": 1}
    partners.services.failures.flush(partners.clock())
    assert len(unauthenticated(partners)) == before + 2


def test_a_disabled_clients_live_token_ends_with_its_next_request_everywhere(partners: World) -> None:
    partners.organisation("leaver")
    tokens = {
        "query": bearer(partners, "leaver", "query", "research"),
        "publish": bearer(partners, "leaver", "publish"),
        "audit": bearer(partners, "leaver", "audit"),
    }
    asked = [("GET", ITEMS, "query"), ("GET", f"{ITEMS}/7", "query"), ("POST", ITEMS, "publish"), ("GET", "/audit/events", "audit")]
    asked += [("GET", MAP, "query"), ("GET", f"{ITEMS}/7/explain", "query")]

    def ask(method: str, path: str, scope: str) -> Any:
        body = json.dumps(feature("LEAVER")) if method == "POST" else None
        return partners.http.request(method, path, headers=tokens[scope] | {"Content-Type": "application/json"}, content=body)

    assert [ask(*a).status_code for a in asked] == [403, 404, 201, 200, 403, 404]  # no MOU, but heard
    clients.disable(partners.database.writer, "leaver", datetime.now(UTC))
    for method, path, scope in asked:
        before = partners.leaves()
        problem(ask(method, path, scope), 401, word="disabled")
        (leaf,) = partners.leaves()[len(before) :]
        assert (leaf["type"], leaf["decision"], leaf["reason"]) == ("refusal", "refuse", "This client has been disabled.")
        assert leaf["by"]["client"] == "leaver"
    assert partners.token_response("leaver", None, "publish").json()["error"] == "invalid_client"


def test_the_token_endpoint_refuses_as_oauth_says_and_without_a_body_to_read_as_a_problem(partners: World) -> None:
    def post(content: bytes, **headers: Any) -> Any:
        return partners.http.post("/oauth/token", content=content, headers={"Content-Type": "application/x-www-form-urlencoded"} | headers)

    for body in (b"", b"grant_type=password", b"%ff%fe", b"grant_type=client_credentials&" * 30, b"\xff", b"a=1&a=2"):
        answer = post(body)
        assert answer.status_code in (400, 401), body
        assert answer.json().keys() == {"error", "error_description"}
        assert answer.headers["cache-control"] == "no-store"
    assert post(b"grant_type=client_credentials", Authorization="Basic aDp4").status_code == 401
    assert post(b"{}", **{"Content-Type": "application/json"}).json()["error"] == "invalid_request"
    problem(post(b"x" * 70_000), 413, "body")
    problem(post(b"x", **{"Content-Length": "many"}), 400, "Content-Length")


def test_an_assertion_works_once(partners: World) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion.make(partners.keys["health"], "health", BASE, partners.clock()),
        "purpose": "research",
    }
    first, second = (partners.http.post("/oauth/token", data=form) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 400)
    assert second.json()["error"] == "invalid_client"


def test_anothers_key_makes_no_token_and_the_answer_does_not_tell_who_exists(partners: World) -> None:
    answers = []
    for client in ("police", "nobody"):
        made = assertion.make(partners.keys["health"], client, BASE, partners.clock())
        form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": made}
        answers.append(partners.http.post("/oauth/token", data=form))
    assert [(a.status_code, a.json()["error"]) for a in answers] == [(400, "invalid_client")] * 2
    assert answers[0].content == answers[1].content


def test_a_publisher_publishes_for_its_own_organisation_alone(partners: World) -> None:
    answer = send(partners, feature("MINE") | {"properties": feature("MINE")["properties"] | {"provider": "ambulance"}})
    problem(answer, 422, "properties.provider", "not a member")
