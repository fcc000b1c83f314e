"""Idempotency-Key: who asks again is told again, and nothing happens twice (draft-ietf-httpapi-idempotency-key-header)."""

import json
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from hub.identity import clients
from hub.sharing.replies import Replies
from tests.api.asking import ITEMS, nothing_stored, problem, send, stored
from tests.imports.files import BY_ID, numbered
from tests.imports.sending import IMPORTS, faults_of, open_import, opened, order, rows
from tests.imports.test_put_delete import delete, make, put
from tests.world import World, feature

pytestmark = pytest.mark.db
REPLAYED = "idempotency-replayed"


def key() -> str:
    return f'"{uuid4()}"'


def keyed(world: World, kind: str, name: str) -> Callable[..., Any]:
    """One request of this kind, to be sent as often as one likes."""
    if kind == "POST items":
        return lambda **headers: send(world, feature(name, narrative="x"), **headers)
    if kind == "POST imports":
        return lambda **headers: open_import(world, order(None), **headers)
    if kind == "DELETE import":
        path = opened(world, None)
        return lambda **headers: world.http.delete(path, headers=world.bearer("police") | headers)
    record = make(world, name)
    if kind == "PUT":
        return lambda **headers: put(world, record, feature(name, narrative="new"), '"1"', **headers)
    return lambda **headers: delete(world, record, '"1"', **headers)


KINDS = ["POST items", "PUT", "DELETE", "POST imports", "DELETE import"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_request_with_the_same_key_is_answered_the_same_and_done_once(partners: World, kind: str) -> None:
    ask, once = keyed(partners, kind, f"ONCE-{kind}"), key()
    first = ask(**{"Idempotency-Key": once})
    assert first.status_code in (200, 201), first.text
    assert REPLAYED not in first.headers
    with nothing_stored(partners):
        again = [ask(**{"Idempotency-Key": once}) for _ in range(3)]
    for answer in again:
        assert (answer.status_code, answer.content) == (first.status_code, first.content)
        assert answer.headers[REPLAYED] == "true"
        assert {k: v for k, v in answer.headers.items() if k != REPLAYED} == dict(first.headers)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_key_or_with_another_it_is_another_request(partners: World, kind: str) -> None:
    ask = keyed(partners, kind, f"OTHER-{kind}")
    ask(**{"Idempotency-Key": key()})
    for headers in ({}, {"Idempotency-Key": key()}):
        answer = ask(**headers)
        assert REPLAYED not in answer.headers
        expected = {"POST items": 200, "POST imports": 201, "PUT": 412, "DELETE": 404, "DELETE import": 409}
        assert answer.status_code == expected[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_twins_that_arrive_together_are_carried_out_once(partners: World, kind: str) -> None:
    ask, once, together = keyed(partners, kind, f"TWINS-{kind}"), key(), 6
    start, answers = threading.Barrier(together), []

    def run() -> None:
        start.wait()
        answers.append(ask(**{"Idempotency-Key": once}))

    running = [threading.Thread(target=run) for _ in range(together)]
    before = rows(partners, "select count(*) from hub.imports")
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert {(a.status_code, a.content) for a in answers} == {(answers[0].status_code, answers[0].content)}
    assert answers[0].status_code in (200, 201)
    assert sum(REPLAYED not in a.headers for a in answers) == 1
    if kind == "POST imports":
        assert rows(partners, "select count(*) from hub.imports") == [(before[0][0] + 1,)]
    elif kind == "DELETE import":
        assert answers[0].json()["state"] == "cancelled"
    else:
        number = answers[0].json()["records"][0]["revision"]
        assert number == (1 if kind == "POST items" else 2)
    assert faults_of(partners) == []


def test_a_key_that_came_with_another_request_is_refused(partners: World) -> None:
    once, record = {"Idempotency-Key": key()}, make(partners, "REUSED")
    other = make(partners, "REUSED-2")
    assert put(partners, record, feature("REUSED", narrative="a"), "*", **once).status_code == 200
    with nothing_stored(partners):
        problem(put(partners, record, feature("REUSED", narrative="b"), "*", **once), 422, "Idempotency-Key")  # another body
        problem(put(partners, record, feature("REUSED", narrative="a"), '"1"', **once), 422, "Idempotency-Key")  # another If-Match
        problem(put(partners, other, feature("REUSED", narrative="a"), "*", **once), 422, "Idempotency-Key")  # another path
        problem(delete(partners, record, "*", **once), 422, "Idempotency-Key")  # another method
        problem(send(partners, feature("REUSED", narrative="a"), **once), 422, "Idempotency-Key")
        problem(open_import(partners, order(None), **once), 422, "Idempotency-Key")


def test_another_clients_key_of_the_same_text_is_another_key(partners: World) -> None:
    once = {"Idempotency-Key": key()}
    first = send(partners, feature("CLIENTS"), **once)
    other = send(partners, feature("CLIENTS"), "ambulance", **once)
    assert (first.status_code, other.status_code) == (201, 201)
    assert REPLAYED not in other.headers
    assert first.json()["records"][0]["id"] != other.json()["records"][0]["id"]


def test_a_second_client_of_the_same_organisation_has_keys_of_its_own(partners: World) -> None:
    public = load_pem_private_key(partners.keys["police"], None).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    partners.keys["police-2"] = partners.keys["police"]
    clients.add(partners.database.writer, "police", "police-2", pem, ["publish", "audit"])
    once = {"Idempotency-Key": key()}
    send(partners, feature("SECOND"), **once)
    other = send(partners, feature("SECOND"), "police-2", **once)
    assert REPLAYED not in other.headers
    assert other.json()["records"][0]["outcome"] == "unchanged"


@pytest.mark.parametrize("status", [422, 400, 412, 404, 415, 503])
def test_a_refusal_is_not_kept(partners: World, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    once, name = {"Idempotency-Key": key()}, f"REFUSED-{status}"
    record = make(partners, name)
    refused = {
        422: lambda: send(partners, feature(name, category="?"), **once),
        400: lambda: send(partners, b"{", **once),
        412: lambda: put(partners, record, feature(name, narrative="x"), '"9"', **once),
        404: lambda: delete(partners, uuid4(), **once),
        415: lambda: send(partners, feature(name), **once, **{"Content-Type": "text/plain"}),
        503: lambda: broken(partners, name, once),
    }[status]()
    assert refused.status_code == status, refused.text
    answer = send(partners, feature(name, narrative="y"), **once)
    assert answer.status_code == 200, answer.text
    assert REPLAYED not in answer.headers
    assert send(partners, feature(name, narrative="y"), **once).headers[REPLAYED] == "true"


def broken(world: World, name: str, once: dict[str, str]) -> Any:
    """The reply itself can't be kept: then nothing else is either."""
    with world.superuser() as connection:
        connection.execute(sa.text("alter table hub.replies rename to answers"))
    try:
        before = rows(world, "select rev from hub.incidents where external_id = :n", n=name)
        answer = send(world, feature(name, narrative="y"), **once)
        assert rows(world, "select rev from hub.incidents where external_id = :n", n=name) == before
        return answer
    finally:
        with world.superuser() as connection:
            connection.execute(sa.text("alter table hub.answers rename to replies"))


@pytest.mark.parametrize("text", ["", '""', '"', '"a', 'a"', "a b", '"ä"', '"a"b', '"\\"', "x" * 256, f'"{"x" * 256}"', '"a", "b"'])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "import"])
def test_a_key_that_is_none_is_refused_before_anything_is_done(partners: World, text: str, method: str) -> None:
    headers = {"Idempotency-Key": text.encode()}
    with nothing_stored(partners):
        if method == "POST":
            answer = send(partners, feature("BAD-KEY"), **headers)  # type: ignore[arg-type]
        elif method == "import":
            answer = open_import(partners, order(None), **headers)  # type: ignore[arg-type]
        elif method == "PUT":
            answer = put(partners, uuid4(), feature("BAD-KEY"), **headers)  # type: ignore[arg-type]
        else:
            answer = delete(partners, uuid4(), **headers)  # type: ignore[arg-type]
        problem(answer, 400, "Idempotency-Key")


def test_two_keys_are_refused(partners: World) -> None:
    twice = [("Idempotency-Key", "a")] * 2
    headers = [*partners.bearer("police").items(), ("Content-Type", "application/geo+json"), *twice]
    problem(partners.http.post(ITEMS, content=json.dumps(feature("TWO-KEYS")), headers=headers), 400, "Idempotency-Key")


@pytest.mark.parametrize("text", ["a", '"a b"', '"!#~[]"', "x" * 255])
def test_a_bare_word_is_taken_as_well_as_a_quoted_text(partners: World, text: str) -> None:
    name = f"WORD-{len(text)}-{text[:3]}"
    assert send(partners, feature(name), **{"Idempotency-Key": text}).status_code == 201
    assert send(partners, feature(name), **{"Idempotency-Key": text}).headers[REPLAYED] == "true"


def age(world: World, client: str, days: float) -> None:
    with world.superuser() as connection:
        older = sa.text("update hub.replies set at = at - make_interval(secs => :s) where client = :c")
        connection.execute(older, {"s": days * 86_400, "c": client})


def test_a_reply_is_kept_seven_days_and_no_longer(partners: World) -> None:
    once = {"Idempotency-Key": key()}
    first = send(partners, feature("AGED"), **once)
    age(partners, "police", 6.9)
    assert send(partners, feature("AGED"), **once).content == first.content
    age(partners, "police", 0.2)
    anew = send(partners, feature("AGED"), **once)  # though nobody has written in between
    assert REPLAYED not in anew.headers
    assert anew.json()["records"][0]["outcome"] == "unchanged"
    assert rows(partners, "select count(*) from hub.replies where at < now() - interval '7 days'") == [(0,)]


def test_a_disabled_client_is_told_nothing_again(partners: World) -> None:
    partners.organisation("closed")
    once = {"Idempotency-Key": key()}
    assert send(partners, feature("CLOSED"), "closed", **once).status_code == 201
    clients.disable(partners.database.writer, "closed", partners.clock())
    answer = send(partners, feature("CLOSED"), "closed", **once)
    problem(answer, 401)
    assert partners.leaves(type="refusal")[-1]["by"]["client"] == "closed"


def test_a_kept_reply_of_an_import_names_the_import(partners: World) -> None:
    once = {"Idempotency-Key": key()}
    first = open_import(partners, order(numbered(1, "KEPT"), BY_ID), **once)
    again = open_import(partners, order(numbered(1, "KEPT"), BY_ID), **once)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["upload-offset"] == "0"
    assert first.json()["id"] in first.headers["location"]
    assert first.headers["location"].startswith("http")
    assert IMPORTS in first.headers["location"]


def test_a_hub_that_forgets_to_keep_replies_is_noticed(partners: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the checks above see a second execution."""
    monkeypatch.setattr(Replies, "keep", lambda *_: None)
    once = {"Idempotency-Key": key()}
    send(partners, feature("FORGETFUL", narrative="x"), **once)
    before = stored(partners)
    again = send(partners, feature("FORGETFUL", narrative="x"), **once)
    assert REPLAYED not in again.headers
    assert stored(partners) != before
