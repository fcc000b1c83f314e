"""What an import may not be asked: refused at its opening or before its part is read, with place and reason."""

import gzip
import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.api.asking import bearer, nothing_stored, problem
from tests.imports.files import BY_ID, csv, digest_of, mapping, numbered, repr_digest, row
from tests.imports.sending import IMPORTS, open_import, opened, order, part, path_of, rows, run, told, verdicts
from tests.world import World

pytestmark = pytest.mark.db


def fields(**more: Any) -> dict[str, Any]:
    return mapping(fields=BY_ID["fields"] | more)


BAD_MAPPINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown field": (fields(naratif={"column": "story"}), "fields.naratif", "narrative"),
    "an unknown word": (mapping(colour="red"), "colour", ""),
    "a required field is missing": (mapping(fields={"category": BY_ID["fields"]["category"]}), "fields", "occurred_at"),
    "a value that the field can't have": (fields(category={"column": "kind", "map": {"T": "thefd"}}), "fields.category", "theft"),
    "a column and a constant": (fields(title={"column": "story", "constant": "x"}), "fields.title", ""),
    "a field from nowhere": (fields(title={}), "fields.title", ""),
    "an unknown CRS": (mapping(place={"x": "lon", "y": "lat", "crs": "EPSG:999999"}), "place.crs", ""),
    "a CRS that is none": (mapping(place={"x": "lon", "y": "lat", "crs": "WGS84"}), "place.crs", ""),
    "a place with one coordinate": (mapping(place={"lon": "lon"}), "place", ""),
    "a wrong zone": (
        fields(occurred_at={"column": "when", "time": "%Y-%m-%d %H:%M", "zone": "Toronto"}),
        "fields.occurred_at",
        "Europe/London",
    ),
    "no zone": (fields(occurred_at={"column": "when", "time": "%Y-%m-%d %H:%M"}), "fields.occurred_at", "zone"),
    "a format without month": (fields(occurred_at={"column": "when", "time": "%Y", "zone": "UTC"}), "fields.occurred_at", "month"),
    "an id by column and by hash": (mapping(external_id={"column": "id", "hash": ["id"]}), "external_id", ""),
    "an id by neither": (mapping(external_id={}), "external_id", ""),
    "another dataset": (mapping(dataset="alerts"), "dataset", "incidents"),
    "an unknown format": (mapping(format="xlsx"), "format", ""),
    "an ambiguous value map": (fields(category={"column": "kind", "map": {"T": "theft", " T ": "fire"}}), "fields.category", ""),
    "a mapping in itself": (fields(title={"column": {"column": {"column": "story"}}}), "fields.title", ""),
}


@pytest.mark.parametrize("what", BAD_MAPPINGS)
def test_a_mapping_that_is_wrong_is_refused_at_the_opening_with_place_and_reason(partners: World, what: str) -> None:
    spec, place, word = BAD_MAPPINGS[what]
    with nothing_stored(partners):
        answer = open_import(partners, order(None, spec))
    assert answer.status_code == 422, answer.text
    assert word in answer.text
    body = answer.json()
    assert any(e["field"].startswith(place) for e in body["errors"]), body
    assert body["type"].endswith("invalid-mapping")


BAD_BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "body"),
    "no JSON": (b"{", 400, "body"),
    "YAML": (b"mapping:\n  dataset: incidents\n", 400, "body"),
    "a list": (b"[]", 400, "body"),
    "an unknown word": (b'{"maping": {}}', 400, "maping"),
    "a mapping that is text": (b'{"mapping": "x"}', 400, "mapping"),
    "dry_run as text": (b'{"dry_run": "yes"}', 400, "dry_run"),
    "dry_run as a number": (b'{"dry_run": 1}', 400, "dry_run"),
    "a negative length": (b'{"length": -1}', 400, "length"),
    "a length with a point": (b'{"length": 10.0}', 400, "length"),
    "a huge length": (b'{"length": 1152921504606846976}', 400, "length"),
    "a length beyond numbers": (b'{"length": 1e999}', 400, "body"),
    "a short digest": (b'{"sha256": "abc"}', 400, "sha256"),
    "a digest in capitals": (json.dumps({"sha256": "AB" * 32}).encode(), 400, "sha256"),
    "a digest with a line end": (json.dumps({"sha256": "ab" * 32 + "\n"}).encode(), 400, "sha256"),
    "a member twice": (b'{"length": 1, "length": 2}', 400, "length"),
    "a word twice in a value map": (json.dumps({"mapping": BY_ID}).replace('"T": "theft"', '"T": "theft", "T": "fire"').encode(), 400, "T"),
    "a word twice, once escaped": (
        json.dumps({"mapping": BY_ID}).replace('"T": "theft"', '"T": "theft", "\\u0054": "fire"').encode(), 400, "T"
    ),
    "very deep": (b'{"mapping": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "body"),
    "deep": (b'{"mapping": {"x": ' + b'{"x": ' * 1_000 + b"1" + b"}" * 1_000 + b"}}", 400, "body"),
    "bad UTF-8": (b'{"mapping": {"dataset": "\xff"}}', 400, "body"),
    "a lone surrogate": (b'{"mapping": {"dataset": "\\ud800"}}', 400, "body"),
    "NaN": (b'{"length": NaN}', 400, "body"),
    "a huge mapping": (b'{"mapping": {"drop": [' + b'"x",' * 300_000 + b'"y"]}}', 413, "body"),
    "many columns": (b'{"mapping": {"drop": [' + b'"x",' * 200_000 + b'"y"]}}', 422, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_BODIES)
def test_an_order_that_is_none_is_refused(partners: World, what: str) -> None:
    body, status, place = BAD_BODIES[what]
    with nothing_stored(partners):
        answer = partners.http.post(IMPORTS, content=body, headers=partners.bearer("police") | {"Content-Type": "application/json"})
    if status == 422:
        assert (answer.status_code, len(answer.content) < 20_000) == (422, True)
    else:
        problem(answer, status, place)


@pytest.mark.parametrize("given", ["", "text/csv", "application/geo+json", "multipart/form-data; boundary=x", "application/jsonx"])
def test_an_order_comes_as_json(partners: World, given: str) -> None:
    answer = partners.http.post(IMPORTS, content=b"{}", headers=partners.bearer("police") | {"Content-Type": given})
    problem(answer, 415, "Content-Type")


def test_a_parameter_is_refused_everywhere(partners: World) -> None:
    path = opened(partners, numbered(1, "PARAMETER"))
    asked = [("POST", IMPORTS), ("GET", IMPORTS), ("GET", path), ("PATCH", path), ("DELETE", path), ("GET", f"{path}/verdicts")]
    for method, where in asked:
        answer = partners.http.request(method, f"{where}?x=1", headers=partners.bearer("police") | {"Upload-Offset": "0"})
        problem(answer, 400, "x")


# --- parts -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half_way(partners: World) -> tuple[str, bytes, int]:
    """An import that has read half of its file."""
    file = numbered(10, "HALF")
    path, cut = opened(partners, file), file.index(b"\n", len(file) // 2) + 1
    assert part(partners, path, file[:cut]).status_code == 200
    return path, file, cut


@pytest.mark.parametrize(
    ("headers", "status", "field"),
    [
        ({"Upload-Offset": ""}, 400, "Upload-Offset"),
        ({"Upload-Offset": "-1"}, 400, "Upload-Offset"),
        ({"Upload-Offset": "1.0"}, 400, "Upload-Offset"),
        ({"Upload-Offset": "٣".encode()}, 400, "Upload-Offset"),
        ({"Upload-Offset": "9" * 19}, 400, "Upload-Offset"),
        ({"Upload-Complete": "yes"}, 400, "Upload-Complete"),
        ({"Upload-Complete": "?2"}, 400, "Upload-Complete"),
        ({"Repr-Digest": ""}, 400, "Repr-Digest"),
        ({"Repr-Digest": "sha-256=abc"}, 400, "Repr-Digest"),
        ({"Repr-Digest": "md5=:Q2hlY2sgSW50ZWdyaXR5IQ==:"}, 400, "Repr-Digest"),
        ({"Repr-Digest": "sha-256=:" + "A" * 44 + ":"}, 400, "Repr-Digest"),
        ({"Repr-Digest": repr_digest(b"another file")}, 409, "Repr-Digest"),
        ({"Content-Encoding": "gzip"}, 415, "Content-Encoding"),
        ({"Content-Encoding": "br"}, 415, "Content-Encoding"),
    ],
    ids=str,
)  # fmt: skip
def test_a_part_with_a_wrong_header_is_refused(partners: World, half_way: Any, headers: dict[str, Any], status: int, field: str) -> None:
    path, file, cut = half_way
    good = {"Upload-Offset": str(cut), "Upload-Complete": "?1", "Repr-Digest": repr_digest(file)}
    with nothing_stored(partners):
        answer = partners.http.patch(path, content=file[cut:], headers=partners.bearer("police") | good | headers)
        problem(answer, status, field)
    assert told(partners, path)["offset"] == cut


def test_a_part_from_elsewhere_is_told_where_the_import_stands(partners: World, half_way: Any) -> None:
    path, file, cut = half_way
    for offset in (0, cut - 1, cut + 1, 10**17):
        answer = part(partners, path, b"x", offset, Repr_Digest=repr_digest(file), Upload_Complete="?0")
        if offset + 1 > len(file):
            problem(answer, 400, "Content-Length")
        else:
            problem(answer, 409)
            assert answer.headers["upload-offset"] == str(cut)


def test_going_on_needs_the_files_digest(partners: World, half_way: Any) -> None:
    path, file, cut = half_way
    problem(part(partners, path, file[cut:], cut), 400, "Repr-Digest")


def test_a_file_that_has_changed_between_two_parts_is_another_file(partners: World, half_way: Any) -> None:
    path, file, cut = half_way
    changed = file.replace(b"HALF 9", b"half 9")
    problem(part(partners, path, changed[cut:], cut, Repr_Digest=repr_digest(changed)), 409, "Repr-Digest", "differs")
    assert told(partners, path)["state"] == "open"


def test_an_import_that_was_opened_without_a_digest_can_not_go_on(partners: World) -> None:
    file = numbered(4, "NO-DIGEST")
    path, cut = opened(partners, None, length=len(file)), file.index(b"\n", len(file) // 2) + 1
    part(partners, path, file[:cut])
    problem(part(partners, path, file[cut:], cut, Repr_Digest=repr_digest(file)), 409, word="SHA-256")


def test_a_compressed_bomb_is_not_unpacked(partners: World) -> None:
    path = opened(partners, None)
    bomb = gzip.compress(bytes(50_000_000))
    answer = part(partners, path, bomb, Content_Encoding="gzip", Upload_Complete="?1")
    problem(answer, 415, "Content-Encoding")
    assert told(partners, path)["offset"] == 0
    squeezed = part(partners, path, bomb, Upload_Complete="?1")  # not declared: then it is a file that is no text
    assert squeezed.status_code == 422
    assert told(partners, path)["state"] == "failed"


# --- who may -----------------------------------------------------------------------------------------------------------------------

Asked = Callable[[World, str, dict[str, str]], Any]
WAYS: dict[str, Asked] = {
    "state": lambda w, path, who: w.http.get(path, headers=who),
    "verdicts": lambda w, path, who: w.http.get(f"{path}/verdicts", headers=who),
    "part": lambda w, path, who: w.http.patch(path, content=b"x", headers=who | {"Upload-Offset": "0", "Upload-Complete": "?1"}),
    "cancel": lambda w, path, who: w.http.delete(path, headers=who),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stage", ["open", "done"])
def test_anothers_import_and_one_that_is_not_there_have_one_answer(partners: World, way: str, stage: str) -> None:
    file = numbered(1, f"THEIRS-{way}-{stage}")
    path = opened(partners, file, client="ambulance")
    if stage == "done":
        part(partners, path, file, client="ambulance")
    mine, absent = (WAYS[way](partners, asked, partners.bearer("police")) for asked in (path, f"{IMPORTS}/{uuid4()}"))
    problem(mine, 404)
    assert (mine.content, dict(mine.headers)) == (absent.content, dict(absent.headers))
    odd = WAYS[way](partners, f"{IMPORTS}/{path[-36:].upper()}", partners.bearer("ambulance"))
    assert odd.content == absent.content
    assert told(partners, path, "ambulance")["state"] == stage


@pytest.mark.parametrize("way", [*WAYS, "open", "list"])
@pytest.mark.parametrize("who", ["nobody", "a reader", "an auditor", "a token that has expired"])
def test_only_who_may_publish_may_import(partners: World, way: str, who: str) -> None:
    path = opened(partners, numbered(1, f"MAY-{way}-{who}"))
    ways = WAYS | {
        "open": lambda w, _path, token: w.http.post(IMPORTS, json={}, headers=token),
        "list": lambda w, _path, token: w.http.get(IMPORTS, headers=token),
    }
    token = {
        "nobody": dict[str, str],
        "a reader": lambda: bearer(partners, "police", "query", "research"),
        "an auditor": lambda: bearer(partners, "police", "audit"),
        "a token that has expired": lambda: partners.bearer("police"),
    }[who]()
    if who == "a token that has expired":
        partners.clock.ahead = timedelta(hours=2)
    try:
        with _refusal(partners) if who in ("a reader", "an auditor") else nullcontext():
            problem(ways[way](partners, path, token), 401 if who in ("nobody", "a token that has expired") else 403)
    finally:
        partners.clock.ahead = timedelta(0)
    assert told(partners, path)["state"] == "open"
    partners.http.delete(path, headers=partners.bearer("police"))


class _refusal:
    """The refusal is in the log."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __enter__(self) -> None:
        self.before = len(self.world.leaves(type="refusal"))

    def __exit__(self, *_: object) -> None:
        after = self.world.leaves(type="refusal")
        assert len(after) == self.before + 1
        assert after[-1]["decision"] == "refuse"


def test_a_flood_of_imports_is_refused_and_makes_room_as_they_end(partners: World) -> None:
    partners.organisation("flood")
    paths = [opened(partners, None, client="flood") for _ in range(20)]
    problem(open_import(partners, order(None), "flood"), 409, word="20")
    file = numbered(1, "FLOOD")
    assert part(partners, paths[0], file, client="flood", Upload_Complete="?1").status_code == 200
    assert open_import(partners, order(file), "flood").status_code == 201
    problem(open_import(partners, order(numbered(2, "FLOOD")), "flood"), 409)
    assert open_import(partners, order(file), "flood").status_code == 200  # the one that is open already needs no room


# --- names that are meant to hurt ----------------------------------------------------------------------------------------------------

SHORT = ["<script>alert(1)</script>", "'; drop table incidents; --", "%s%(x)s{0}", "$${1}", "\u202egnitset"]
HOSTILE = [*SHORT, "x" * 190, "🚓", "\\u0000", "\\"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_of_a_column_is_a_name(partners: World, name: str) -> None:
    """Where the mapping names the columns, and where a feature has such a member."""
    columns = {"column": name, "map": {"T": "theft"}}
    spec = mapping(header=["id", name, "when", "lon", "lat", "story"], fields=BY_ID["fields"] | {"category": columns})
    file = csv([row(0, "HOSTILE", kind="?"), row(1, "HOSTILE", kind="T")]).split(b"\n", 1)[1]
    path = opened(partners, file, spec)
    answer = part(partners, path, file)
    assert answer.status_code == 200, answer.text
    first, second = verdicts(partners, path)
    assert (first["outcome"], first["errors"][0]["field"]) == ("refused", f"{name} → category")
    assert second["outcome"] in ("landed", "unchanged")
    member = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [-79, 43]}, "properties": {name: 1}, name: 2}
    sequence = json.dumps(member).encode() + b"\n"
    path = opened(partners, sequence, None)
    assert part(partners, path, sequence).status_code == 200
    (verdict,) = verdicts(partners, path)
    assert verdict["outcome"] == "refused"


def test_a_name_with_nul_is_no_column(partners: World) -> None:
    """PostgreSQL can't keep it, and no text file has it."""
    columns = {"column": "a\0b", "map": {"T": "theft"}}
    spec = mapping(header=["id", "a\0b", "when", "lon", "lat", "story"], fields=BY_ID["fields"] | {"category": columns})
    answer = open_import(partners, order(None, spec))
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("name", ["od\0d", "a\nb"], ids=ascii)
def test_a_member_with_control_characters_is_told_of(partners: World, name: str) -> None:
    file = json.dumps({"type": "Feature", "geometry": None, "properties": {name: 1}, name: 2}).encode() + b"\n"
    job = run(partners, file, None)
    assert (job["state"], job["refused"]) == ("done", 1)
    (verdict,) = verdicts(partners, path_of(job))
    assert verdict["errors"][0]["field"] == name.replace("\0", "␀")


@pytest.mark.parametrize("name", [*SHORT, "x" * 10_000, 'say ""x""'], ids=lambda n: ascii(n)[:30])
def test_a_header_with_a_hostile_name_is_read_or_refused(partners: World, name: str) -> None:
    header = f'id,kind,when,lon,lat,story,"{name}"\n'
    file = header.encode() + b"".join(f"{row(n, 'HEAD')},x\n".encode() for n in range(2))
    path = opened(partners, file, mapping(unmapped="extra"))
    answer = part(partners, path, file)
    assert answer.status_code in (200, 422), answer.text
    assert len(answer.content) < 20_000
    refused = part(partners, opened(partners, file), file)  # nobody said what becomes of that column
    body = problem(refused, 422)
    assert name.replace('""', '"')[:50] in json.dumps(body, ensure_ascii=False).replace('\\"', '"') or len(name) > 200
    kept = rows(partners, "select max(length(problem::text)) from hub.imports")
    assert kept[0][0] < 20_000


def test_a_file_of_noise_fails_and_says_so(partners: World) -> None:
    archives = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", b"PK\x03\x04" + bytes(500)
    for noise in (bytes(range(256)) * 40, b"\xff\xfe" + b"\x00\xd8" * 10, *archives, bytes(5_000)):
        path = opened(partners, noise)
        answer = part(partners, path, noise)
        problem(answer, 422)
        assert told(partners, path)["state"] == "failed"
        assert told(partners, path)["problem"]["reason"] in answer.text


def test_a_digest_is_kept_as_a_keyed_hash_alone(partners: World) -> None:
    file = numbered(1, "KEYED")
    path = opened(partners, file)
    ((text,),) = rows(partners, "select i::text from hub.imports i where id::text = :i", i=path[-36:])
    assert digest_of(file) not in text
