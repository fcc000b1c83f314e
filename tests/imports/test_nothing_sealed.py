"""Of what an import brings nothing sealed comes to rest: not of rows that land, not of rows that are refused, not of mappings, ids
made of columns, digests of files, keys of requests; and no hash of it that could be guessed by trying.
"""

import hashlib
import json
import random
import re
from base64 import b64encode
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from hub import localdb
from hub.datasets import DATASETS
from hub.mapping.reading import Reading
from hub.mapping.spec import read_mapping
from tests.faults.command import Command
from tests.faults.load import ITEMS, Client
from tests.faults.needles import find, find_in, of_bytes, of_text
from tests.faults.scene import CLEAR, Scene, asked, left
from tests.faults.stand import stand
from tests.imports.files import BY_ID, digest_of, features, repr_digest
from tests.imports.kills import Sender
from tests.imports.sending import IMPORTS

pytestmark = [pytest.mark.db, pytest.mark.unmeasured]
COLUMNS = ["id", "kind", "when", "lon", "lat", "story", "phone", "street", "person", "plate", "unsaid", "spare"]
HASHED = ["story", "person", "plate"]


def columns_of(scene: Scene, **more: str) -> dict[str, str]:
    """The cells of one row, full of canaries but for the id."""
    word = scene.word
    external_id = "".join(scene.chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=24))
    scene.clear |= of_text(CLEAR, external_id)
    return {
        "id": external_id,
        "kind": "T",
        "when": "2021-03-04T13:37:11Z",
        "lon": str(scene.degrees("longitude", -79.6, -79.1)),
        "lat": str(scene.degrees("latitude", 43.6, 43.8)),
        "story": word("narrative"),
        "phone": word("phone"),
        "street": word("address"),
        "person": word("name"),
        "plate": word("plate"),
        "unsaid": word("column without a field"),
        "spare": word("column that is dropped"),
    } | more


def spec(scene: Scene, by_hash: bool = False) -> dict[str, Any]:
    fields = BY_ID["fields"] | {
        "phone": {"column": "phone"},
        "address": {"column": "street"},
        "people": [{"name": {"column": "person"}}],
        "vehicles": [{"plate": {"column": "plate"}, "description": {"constant": scene.word("constant of a vehicle")}}],
        "title": {"constant": scene.word("constant")},
        "category": BY_ID["fields"]["category"] | {"map": {"T": "theft", scene.word("word of a value map"): "fire"}},
    }
    chosen = {"external_id": {"hash": HASHED}, "drop": ["spare", "id"]} if by_hash else {"drop": ["spare"]}
    return BY_ID | chosen | {"fields": fields, "unmapped": "extra"}


def written(rows: list[dict[str, str]]) -> bytes:
    return "".join(f"{','.join(cells)}\n" for cells in (COLUMNS, *(list(row.values()) for row in rows))).encode()


def bad_rows(scene: Scene) -> Iterator[bytes]:
    """Each with something wrong, and canaries in all of it."""
    for column, value in {
        "kind": scene.word("an unknown category"),
        "when": scene.word("a time that is none"),
        "lon": str(scene.degrees("far longitude", 181, 999)),
        "lat": scene.word("a latitude that is none"),
        "street": scene.word("long address") * 30,
        "id": "x" * 200 + scene.word("long id"),
    }.items():
        yield ",".join(columns_of(scene, **{column: value}).values()).encode()
    yield ",".join([*columns_of(scene).values(), scene.word("one value too many")]).encode()
    yield ",".join(list(columns_of(scene).values())[:-2]).encode()
    yield ",".join(columns_of(scene).values()).encode() + b"\xff"
    yield b'"' + scene.word("quoted").encode() + b'"' + scene.word("after a quote").encode()


def bad_features(scene: Scene) -> Iterator[Any]:
    for name, value in {
        "title": [scene.word("title in a list")],
        "people": [{"name": scene.word("name"), "birth_date": scene.word("birth date that is none")}],
        "extra": scene.word("extra as a text"),
        "category": scene.word("unknown category of a feature"),
        "severity": scene.word("severity as a text"),
    }.items():
        yield scene.feature(**{name: value})
    yield scene.feature() | {"geometry": scene.word("no geometry")}
    yield scene.feature() | {"type": scene.word("no type")}


def hashes_of(scene: Scene, rows: list[dict[str, str]], mapping: dict[str, Any]) -> Iterator[bytes]:
    """Every plain hash of a row's hashed columns that one might have thought of."""
    reading = Reading(read_mapping(mapping, DATASETS["incidents"]), DATASETS["incidents"])
    reading.feed(written(rows))
    reading.end()
    keys = [row.key for row in reading.rows(len(rows) + 1) if row.key is not None]
    assert len(keys) == len(rows)
    for key, row in zip(keys, rows, strict=True):
        values = [row[name] for name in HASHED]
        texts = {
            key,
            json.dumps(values).encode(),
            json.dumps(dict(zip(HASHED, values, strict=True))).encode(),
            *(v.encode() for v in values),
        }
        for joint in ("", ",", "|", "\0", " ", "\n", "\x1f"):
            texts |= {joint.join(order).encode() for order in permutations(values)}
        for text in texts:
            for algorithm in ("sha256", "sha1", "md5", "blake2b", "sha512"):
                yield hashlib.new(algorithm, text).digest()


def send(scene: Scene, sender: Sender, body: bytes, mapping: dict[str, Any] | None, *expected: str, **more: Any) -> None:
    """A whole import, in two requests of which the first is cut off where no row ends; then its verdicts."""
    order = {"mapping": mapping, "length": len(body), "sha256": digest_of(body)} | more
    scene.needles |= of_bytes("digest of a file", hashlib.sha256(body).digest())
    status, job = sender.asked("POST", IMPORTS, order)
    assert status == 201, job
    path = f"{IMPORTS}/{job['id']}"
    headers = {"Upload_Offset": "0", "Repr_Digest": repr_digest(body)}
    cut = len(body) * 2 // 3
    status, told = sender.asked("PATCH", path, body[:cut], Upload_Complete="?0", **headers)
    scene.said.append((f"first part {len(scene.said)}", json.dumps(told).encode()))
    at = sender.insist("GET", path)["offset"]
    status, told = sender.asked("PATCH", path, body[at:], Upload_Complete="?1", **(headers | {"Upload_Offset": str(at)}))
    scene.said.append((f"second part {len(scene.said)}", json.dumps(told).encode()))
    found = sender.insist("GET", path)
    scene.said.append((f"import {len(scene.said)}", json.dumps(found).encode()))
    assert found["state"] in expected, found
    answer = sender.ask("GET", f"{path}/verdicts")
    assert answer is not None
    assert answer[0] == 200
    scene.said.append((f"verdicts {len(scene.said)}", answer[2]))


def work(scene: Scene, sender: Sender) -> None:
    good = [columns_of(scene) for _ in range(5)]
    send(scene, sender, written(good), spec(scene), "done")
    send(scene, sender, written([row | {"story": scene.word("a later narrative")} for row in good]), spec(scene), "done")
    send(scene, sender, written([columns_of(scene)]), spec(scene), "done", dry_run=True)
    mapping, hashed = spec(scene, by_hash=True), [columns_of(scene) for _ in range(4)]
    for digest in hashes_of(scene, hashed, mapping):
        scene.needles |= of_bytes("a hash without a key", digest[:16]) | {digest[:8].hex().encode(): "a hash without a key"}
    send(scene, sender, written([*hashed, hashed[0]]), mapping, "done")
    file = written([columns_of(scene)]) + b"".join(row + b"\n" for row in bad_rows(scene)) + written([columns_of(scene)]).split(b"\n", 1)[1]
    send(scene, sender, file, spec(scene), "done")
    for more in ({"dry_run": True}, {}):
        direct = features([scene.feature(), *bad_features(scene), scene.feature()]) + b'{"' + scene.word("no JSON").encode() + b"\n"
        send(scene, sender, direct, None, "done", **more)
    failing(scene, sender)
    once(scene, sender)


def failing(scene: Scene, sender: Sender) -> None:
    """Files that can't be read on, orders that are refused, and a database that fails while rows are on their way."""
    send(scene, sender, written([columns_of(scene)]) + b'"' + scene.word("never closed").encode(), spec(scene), "failed")
    send(scene, sender, written([columns_of(scene)]).split(b"\n", 1)[1], spec(scene), "failed")  # it has no header
    send(scene, sender, written([columns_of(scene)]) + b"\0" + scene.word("after NUL").encode(), spec(scene), "failed")
    for wrong in ({"zone": scene.word("a zone that is none")}, {"format": scene.word("a format that is none")}):
        assert sender.asked("POST", IMPORTS, {"mapping": spec(scene) | wrong})[0] == 422
    changed = spec(scene)
    changed["fields"]["severity"] = {"constant": scene.word("constant that does not fit")}
    assert sender.asked("POST", IMPORTS, {"mapping": changed})[0] == 422
    owner = "set role hub_owner; "
    scene.where.sql(owner + "alter table hub.incidents add constraint none check (published_at is null) not valid")
    send(scene, sender, written([columns_of(scene)]), spec(scene), "open")
    scene.where.sql(owner + "alter table hub.incidents drop constraint none")
    scene.where.sql(owner + "alter table hub.import_batches add constraint none check (outcomes = '') not valid")
    send(scene, sender, written([columns_of(scene)]), spec(scene), "open")
    scene.where.sql(owner + "alter table hub.import_batches drop constraint none")


def once(scene: Scene, sender: Sender) -> None:
    """Requests with keys: carried out, told again, refused for another body; and PUT, and DELETE."""
    feature, key = scene.feature(), {"Idempotency_Key": f'"{scene.word("Idempotency-Key")}"'}
    for body in (feature, feature, scene.feature()):
        status, said = sender.asked("POST", ITEMS, body, **key)
        scene.said.append((f"answer {len(scene.said)}", json.dumps(said).encode()))
        assert status == (422 if body is not feature else 201), said
    (record,) = sender.insist("POST", ITEMS, feature)["records"]
    path, name = f"{ITEMS}/{record['id']}", feature["properties"]["external_id"]
    for match, more in (('"1"', {}), ('"1"', {}), ('"2"', {"category": scene.word("category put")}), ('"2"', {"external_id": "another"})):
        body = scene.feature(**({"external_id": name} | more))
        headers = {"If_Match": match, "Idempotency_Key": f'"{scene.word("key of a PUT")}"'}
        status, said = sender.asked("PUT", path, body, **headers)
        assert status in (200, 412, 422), said
        scene.said.append((f"answer {len(scene.said)}", json.dumps(said).encode()))
        scene.needles |= of_bytes("hash of a request", hashlib.sha256(json.dumps(body).encode()).digest())
    assert sender.asked("DELETE", path, None, If_Match=f'"{scene.word("tag that is none")}"')[0] == 412
    assert sender.asked("DELETE", path, None, If_Match="*")[0] == 200


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with stand("import-canaries", server=Command) as where:
        played, sender = Scene(where, random.Random(20261122)), Sender(where)
        reader = Client(where, "health", "research")
        work(played, sender)
        answer = reader.ask("GET", f"{ITEMS}?limit=100")
        assert answer is not None
        assert answer[0] == 200
        played.shown.append(answer[2])
        for client in (sender, reader):
            client.close()
        played.rest += asked(where)
        server = where.server
        assert isinstance(server, Command)
        server.stop()
        localdb.stop(where.main)
        played.rest += left(where, server)
        yield played


def test_nothing_sealed_is_anywhere(scene: Scene) -> None:
    assert len(set(scene.needles.values())) > 45
    assert find_in(scene.needles, scene.rest) == {}


def test_no_answer_repeats_it(scene: Scene) -> None:
    """Neither the state of an import, nor its verdicts, nor a refusal; those are kept, or may be logged by whoever asks."""
    assert len(scene.said) > 40
    assert find_in(scene.needles, scene.said) == {}


def test_the_search_finds_what_is_clear_in_dump_log_and_statistics(scene: Scene) -> None:
    places = find_in(scene.clear, scene.rest)[CLEAR]
    assert "main dump" in places
    assert "pg_stats of hub" in places
    assert any("data/pg_wal/" in p for p in places)
    assert "server.log" not in places


def test_the_search_finds_sealed_values_where_they_are_shown(scene: Scene) -> None:
    shown = set().union(*(find(scene.needles, answer) for answer in scene.shown))
    assert shown >= {"narrative", "a later narrative", "phone", "address", "name", "plate", "constant", "constant of a vehicle"}
    assert shown >= {"column without a field", "longitude", "latitude"}


def test_a_hash_without_a_key_would_be_found(scene: Scene) -> None:
    """Control: an external id made of a plain hash, as the hub writes its own; and a digest as HTTP has it."""
    text = scene.word("control")
    digest = hashlib.sha256(text.encode()).digest()
    needles = of_bytes("hash", digest[:16]) | {digest[:8].hex().encode(): "hash"}
    assert find(needles, f"x {digest[:16].hex()}-1 y".encode()) == {"hash"}
    assert find(needles, b"\\x" + digest.hex().encode()) == {"hash"}
    whole = of_bytes("digest", digest)
    assert find(whole, b"sha-256=:" + b64encode(digest) + b":") == {"digest"}


def test_the_ids_that_the_hub_made_are_there(scene: Scene) -> None:
    """The hashed rows have landed, so their ids were there to be found."""
    dump = dict(scene.rest)["main dump"].decode(errors="replace")
    assert len(set(re.findall(r"\b[0-9a-f]{32}-[12]\b", dump))) == 5
