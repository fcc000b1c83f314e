"""Audit bundles: what a hub exports verifies offline; whatever somebody does to a bundle is told."""

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from hub.audit import bundle
from hub.audit.bundle import BadTrust, Trust
from hub.audit.export import Wanted
from hub.audit.log import Search
from hub.audit.notes import Cosigner, Note, Signer
from hub.audit.tree import leaf_hash
from hub.audit.verify import Unreadable, verify
from hub.workers.sequencing import log_key
from tests.audit.bundles import (
    LEAF,
    POLICE,
    made,
    read,
    rows,
    settle,
    shared,
    take,
    trusted,
    verdict,
    world,
    wrong,
)
from tests.world import World

__all__ = ["shared", "world"]  # fixtures


def test_the_whole_log_verifies(shared: World) -> None:
    trust = trusted(shared)
    read(shared)
    settle(shared)
    found = verdict(made(shared), trust)
    assert found.wrong == []
    assert found.notes == []
    assert found.whole
    assert set(found.complete) == {"", "police", "fire", "health"} | ({"housing"} & set(found.complete))
    assert found.mous == 2
    assert found.signatures == len(shared.keyd.signer.after(0, 100_000))
    ((size,),) = rows(shared, "select size from hub.log_state")
    assert found.entries == size
    assert found.kinds["query"] >= 6


def test_the_list_of_an_owner_verifies_and_is_complete(shared: World) -> None:
    trust = trusted(shared)
    found = verdict(made(shared, Wanted(Search(owner="police"), ("police",), {"owner": "police"})), trust)
    assert found.wrong == []
    ((count,),) = rows(shared, "select count(*) from hub.audit_leaves where owner = 'police'")
    assert (found.complete["police"].count, found.complete["police"].missing) == (count, 0)
    assert count == sum(n for kind, n in found.kinds.items() if kind != "heads")
    assert not found.whole


@pytest.mark.parametrize("by", ["organisation", "mou", "type", "case"])
def test_what_a_search_finds_verifies(shared: World, by: str) -> None:
    value = {"organisation": "health", "mou": "MOU-FIRE", "type": "query", "case": "none"}[by]
    search = Search(**{by: value})
    found = verdict(made(shared, Wanted(search, (), {by: value})), trusted(shared, pinned=False))
    assert found.wrong == []
    assert sum(n for kind, n in found.kinds.items() if kind != "heads") == len(shared.services.log.find(replace(search, limit=10_000)))
    assert any("No checkpoint was pinned" in note for note in found.notes)


def test_what_concerns_a_record_verifies_with_its_owners_list(shared: World) -> None:
    ((record,),) = rows(shared, "select id::text from hub.incidents where external_id = 'police-1'")
    revisions = shared.services.log.revisions("incidents", UUID(record), None)
    found = verdict(made(shared, Wanted(Search(revisions=revisions), ("police",), {"record": record})), trusted(shared, pinned=False))
    assert found.wrong == []
    assert found.kinds["query"] >= 2
    assert found.kinds["publish"] == 1
    assert "police" in found.complete


def repacked(raw: bytes, change: Callable[[dict[str, bytes]], None], signer: Signer | None = None) -> bytes:
    """The bundle with its files changed; with `signer` the manifest is made anew and signed."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if signer is not None:
        manifest = json.loads(files[bundle.MANIFEST])
        own = (bundle.MANIFEST, bundle.MANIFEST_NOTE)
        manifest["files"] = {name: sha256(content).hexdigest() for name, content in files.items() if name not in own}
        files[bundle.MANIFEST] = json.dumps(manifest).encode()
        text = bundle.manifest_text(signer.key.name, sha256(files[bundle.MANIFEST]).hexdigest())
        files[bundle.MANIFEST_NOTE] = str(Note(text, [signer.sign(text)])).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def dropped(files: dict[str, bytes], name: str, at: int) -> None:
    lines = files[name].splitlines(keepends=True)
    del lines[at]
    files[name] = b"".join(lines)


def test_a_bundle_in_which_anything_was_changed_is_told(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = archive.namelist()
    for name in names:
        if name in (bundle.MANIFEST, bundle.MANIFEST_NOTE):
            continue
        for change in (lambda files, n=name: files.update({n: files[n] + b" "}), lambda files, n=name: files.pop(n)):
            try:
                assert not verdict(repacked(raw, change), trust).good, name
            except Unreadable:
                continue
    wrong(repacked(raw, lambda files: files.update(more=b"")), trust, "more is not in the manifest")
    stranger = Signer(trust.log.name, b"x" * 32)
    wrong(repacked(raw, lambda files: None, stranger), trust, "not signed with the log's key")


def test_a_hub_that_leaves_something_out_of_a_bundle_and_signs_it_is_told(shared: World) -> None:
    trust, raw, signer = trusted(shared), made(shared), log_key(shared.settings)

    def left_out(name: str, at: int) -> bytes:
        return repacked(raw, lambda files: dropped(files, name, at), signer)

    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        lines = archive.read(bundle.ENTRIES).splitlines()
    heads = next(at for at, line in enumerate(lines) if b'"type":"heads"' in line)
    other = next(at for at, line in enumerate(lines) if b'"type":"query"' in line)
    wrong(left_out(bundle.ENTRIES, other), trust, "its body was deleted")
    wrong(left_out(bundle.ENTRIES, heads), trust, "is in nobody's list, and its leaf is missing")
    wrong(left_out(bundle.SIGNATURES, 3), trust, "doesn't follow from number 3")
    shorter = repacked(raw, lambda files: files.update({"owners/police.chain": files["owners/police.chain"][:-40]}), signer)
    wrong(shorter, trust, "list of police", "a leaf was left out, added or moved")
    middle = repacked(
        raw, lambda f: f.update({"owners/police.chain": f["owners/police.chain"][:40] + f["owners/police.chain"][80:]}), signer
    )
    wrong(middle, trust, "list of police does not come to the head")
    gone = repacked(raw, lambda files: files.pop("owners/police.chain"), signer)
    wrong(gone, trust, "says that the list of police is complete")
    more = repacked(raw, lambda files: files.update({"tiles/0/900": bytes(8192)}), signer)
    wrong(more, trust, "The file tiles/0/900 is no tile of a tree of")
    mou = next(name for name in zipfile.ZipFile(io.BytesIO(raw)).namelist() if name.endswith("-1.yaml"))
    wrong(
        repacked(raw, lambda files: files.update({mou: files[mou] + b"\n"}), signer), trust, "cites another file", "is about another file"
    )


def test_an_owners_bundle_that_hides_the_newest_access_cant_pass_for_complete_up_to_now(shared: World) -> None:
    """An older list is told with the place up to which it is complete."""
    trust = trusted(shared, pinned=False)
    part = Wanted(Search(owner="police"), ("police",), {"owner": "police"})
    before = verdict(made(shared, part), trust).complete["police"]
    read(shared)
    settle(shared)
    after = verdict(made(shared, part), trust).complete["police"]
    assert after.count > before.count
    assert after.index > before.index


def test_a_leaf_that_shows_more_than_its_agreement_gives_is_told(world: World) -> None:
    """A hub that showed more finely than the grant allows, and says so in its log."""
    trust = trusted(world)
    world.sequencing.close()
    said = json.loads(rows(world, f"select leaf from hub.audit_leaves where id = {LEAF}")[0][0])
    changes: tuple[dict[str, Any], ...] = (
        {"shown": said["shown"] | {"fields": {"place": "clear"}}},
        {"purpose": "another.purpose"},
        {"by": {"organisation": "housing", "client": "housing"}},
        {"under": [said["under"][0] | {"grants": ["none-such"]}]},
        {"at": "2199-01-01T00:00:00.000Z"},
    )
    for n, change in enumerate(changes):
        event = f"019ab000-0000-7000-8000-0000000000b{n}"
        forged = json.dumps(said | {"event": event} | change, sort_keys=True, separators=(",", ":"))
        at, organisation = change.get("at", said["at"]), change.get("by", said["by"])["organisation"]
        with world.superuser() as admin:
            admin.exec_driver_sql(
                "select hub.audit_append(null, %s, 'query', %s, %s, null, array['police'], array[1], array[%s])",
                (event, at, organisation, forged),
            )
    take(world)
    wrong(
        made(world), trust,
        "place was shown as clear, and the grants that it cites give grid_m:500",
        "is not for the purpose another.purpose", "is between police and health", "has no grant none-such", "was not in force then",
    )  # fmt: skip


def test_agreements_that_other_keys_signed_are_told(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared)
    assert trust.parties
    swapped = dict(zip(trust.parties, reversed(list(trust.parties.values())), strict=True))
    wrong(raw, replace(trust, parties=swapped), "is not signed by")
    assert any("were not checked" in note for note in verdict(raw, replace(trust, parties=None)).notes)


def test_another_log_or_key_is_not_believed(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared)
    wrong(raw, replace(trust, log=Signer("other.example/audit", bytes(32)).key), "and other.example/audit is trusted")
    wrong(raw, replace(trust, log=Signer(trust.log.name, bytes(32)).key), "not signed with the log's key that is trusted")
    wrong(raw, replace(trust, keyd=frozenset({bytes(32)})), "by a key that is not trusted as the key process's")
    wrong(raw, replace(trust, witnesses=(Cosigner("a", bytes(32)).key,), quorum=1), "0 of the 1 witnesses")


def test_a_bundle_that_was_damaged_anywhere_is_told_and_never_a_crash(shared: World) -> None:
    settle(shared)
    trust, raw = trusted(shared), made(shared, POLICE)
    for at in random.Random(7).sample(range(len(raw)), 400):
        damaged = raw[:at] + bytes([raw[at] ^ 0x21]) + raw[at + 1 :]
        try:
            found = verdict(damaged, trust)
        except Unreadable:
            continue
        # What is left are times and flags of the ZIP file's own, which nobody reads.
        assert not found.good or contents(damaged) == contents(raw), at


def contents(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("raw", [b"", b"PK", b"not a zip" * 100])
def test_what_is_no_bundle_is_refused(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        verify(io.BytesIO(raw), Trust(Signer("a", bytes(32)).key, frozenset({bytes(32)})))


GOOD = {"v": 1, "log": str(Signer("a", bytes(32)).key), "keyd": ["00" * 32]}


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"more": 1},
        {"log": "x"},
        {"keyd": ["00"]},
        {"keyd": 5},
        {"quorum": 1},
        {"pinned": "x"},
        {"witnesses": ["x"]},
        {"witnesses": [str(Cosigner("a", bytes(32)).key)] * 2, "quorum": 2},
        {"witnesses": [str(Cosigner(name, bytes(32)).key) for name in "ab"], "quorum": 2},
        {"lists": {"police": [1]}},
        {"lists": {"police": [1, "?"]}},
    ],
)
def test_a_trust_file_that_is_none_is_refused(change: dict[str, Any]) -> None:
    assert Trust.read(json.dumps(GOOD))
    with pytest.raises(BadTrust):
        Trust.read(json.dumps(GOOD | change))


def test_an_entry_is_found_by_its_own_bytes(shared: World) -> None:
    """By the words of the specification alone: RFC 6962 over the entry's text, at its place of the tile."""
    with zipfile.ZipFile(io.BytesIO(made(shared))) as archive:
        tile = archive.read(next(name for name in archive.namelist() if name.startswith("tiles/0/000")))
        for line in archive.read(bundle.ENTRIES).splitlines()[:256]:
            place, _, text = line.partition(b" ")
            assert tile[32 * int(place) : 32 * int(place) + 32] == leaf_hash(text)
