"""What must hold after any crash, checked from the stored bytes alone: nothing acknowledged lost, nothing disclosed unlogged,
nothing half-stored. The tree is RFC 6962 written down once more, so that the hub's own is not its own judge.
"""

import json
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from pyroaring import BitMap64

from hub.crypto.keyring import Keyring
from hub.crypto.keys import Opening, Shredded
from hub.datasets.incidents import Incident
from hub.db import connect_keyd, read_roles_secret
from hub.errors import Tampered
from hub.geo import Point, snap
from hub.setup import keyd_folder, open_root_key
from hub.sharing.labels import label_parameters
from hub.tables import sealed_column, sealed_fields
from tests.faults.load import Ledger, stamp_of
from tests.faults.stand import Stand

FIELDS = sealed_fields(Incident)
NARRATIVE, PLACE = Incident.field("narrative"), Incident.named("place")[0]


@dataclass(frozen=True)
class Stored:
    """One revision as it lies in the tables. `blobs`: field number → ciphertext."""

    id: UUID
    rev: int
    revision_no: int
    provider: str
    uid: UUID
    external_id: str
    stamp: int
    c100: tuple[float, float]
    blobs: dict[int, bytes]

    @property
    def entry(self) -> bytes:
        """What the publish leaf's tree holds of it (DESIGN §7)."""
        parts = [n.to_bytes(2, "big") + len(b).to_bytes(4, "big") + b for n, b in sorted(self.blobs.items())]
        return self.revision_no.to_bytes(8, "big") + sha256(b"".join(parts)).digest()


@dataclass(frozen=True)
class Logged:
    event: str
    type: str
    organisation: str | None
    owner: str | None
    hash: bytes
    text: str
    body: dict[str, Any]

    @property
    def revisions(self) -> list[int]:
        text = self.body.get("shown", {}).get("revisions", "")
        return list(BitMap64.deserialize(b64decode(text.removeprefix("roaring64:")))) if text else []


def faults(stand: Stand, ledger: Ledger) -> list[str]:
    """One sentence for each thing that does not hold; the server should be at rest."""
    rows, leaves = stored(stand), logged(stand)
    found = [*ledger.wrong, *_history(rows), *_contents(stand, rows), *_labels(stand), *_leaves(rows, leaves)]
    hashes = signed(stand)
    found += [*_acknowledged(ledger, rows, leaves), *_disclosed(ledger, rows, [leaf for leaf in leaves if leaf.hash in hashes])]
    return found


def stored(stand: Stand) -> dict[int, Stored]:
    """Every revision, by its number."""
    columns = ", ".join(sealed_column(f) for f in FIELDS)
    tables = " union all ".join(
        f"select id, rev, revision_no, provider, external_id, occurred_at, c100, {columns} from hub.{t}"
        for t in ("incidents", "incidents_history")
    )
    rows = stand.sql(
        "select t.id, t.rev, t.revision_no, o.slug, o.uid, t.external_id, t.occurred_at, ST_X(t.c100), ST_Y(t.c100), "
        f"{', '.join(f't.{sealed_column(f)}' for f in FIELDS)} from ({tables}) t join hub.organisations o on o.id = t.provider"
    )
    found = {}
    for identifier, rev, number, slug, uid, external_id, at, lon, lat, *blobs in rows:
        kept = {f.number: bytes(b) for f, b in zip(FIELDS, blobs, strict=True) if b is not None}
        found[number] = Stored(UUID(identifier), rev, number, slug, UUID(uid), external_id, stamp_of(at), (lon, lat), kept)
    assert len(found) == len(rows), "two revisions have one number"
    return found


def logged(stand: Stand) -> list[Logged]:
    rows = stand.sql("select event, type, organisation, owner, leaf_hash, leaf from hub.audit_leaves order by id")
    return [Logged(e, t, o, w, bytes(h), text, json.loads(text)) for e, t, o, w, h, text in rows]


def signed(stand: Stand) -> set[bytes]:
    """The hashes of the leaves that the key process signed."""
    return {bytes(digest) for (digest,) in stand.sql("select leaf_hash from keys.signed", url=stand.addresses.keys)}


def root(entries: Sequence[bytes]) -> bytes:
    """Merkle tree hash, RFC 6962 §2.1, as its definition has it."""
    if len(entries) == 1:
        return sha256(b"\0" + entries[0]).digest()
    if not entries:
        return sha256(b"").digest()
    split = 1 << ((len(entries) - 1).bit_length() - 1)
    return sha256(b"\1" + root(entries[:split]) + root(entries[split:])).digest()


def _history(rows: dict[int, Stored]) -> Iterator[str]:
    of: defaultdict[UUID, list[Stored]] = defaultdict(list)
    for row in rows.values():
        of[row.id].append(row)
    for identifier, revisions in of.items():
        ordered = sorted(revisions, key=lambda r: r.rev)
        if [r.rev for r in ordered] != list(range(1, len(ordered) + 1)):
            yield f"record {identifier} has the revisions {[r.rev for r in ordered]}"
        if [r.revision_no for r in ordered] != sorted(r.revision_no for r in ordered):
            yield f"record {identifier}: a later revision has a smaller number"
        if len({(r.provider, r.external_id) for r in ordered}) != 1:
            yield f"record {identifier} changed its provider or external id"


def _contents(stand: Stand, rows: dict[int, Stored]) -> Iterator[str]:
    """Every ciphertext opens, and says what the clear columns beside it say."""
    database = connect_keyd(stand.addresses.main, stand.addresses.keys, read_roles_secret(keyd_folder(stand.settings)))
    try:
        keyring = Keyring(open_root_key(stand.settings), database.keys)
        every = list(rows.values())
        for start in range(0, len(every), 1_000):
            yield from _opened(keyring, every[start : start + 1_000])
    finally:
        database.dispose()


def _opened(keyring: Keyring, rows: Sequence[Stored]) -> Iterator[str]:
    try:
        opened = _open(keyring, rows)
    except (Shredded, Tampered):
        if len(rows) > 1:
            for row in rows:
                yield from _opened(keyring, [row])
        else:
            yield f"revision {rows[0].revision_no} does not open"
        return
    for row, plain in zip(rows, opened, strict=True):
        assert NARRATIVE is not None
        if json.loads(plain[NARRATIVE.number]) != f"{row.external_id} {row.stamp}":
            yield f"revision {row.revision_no} holds the narrative of another"
        if tuple(snap(Point(*json.loads(plain[PLACE.number])), 100)) != row.c100:
            yield f"revision {row.revision_no} lies in another cell than its exact place"


def _open(keyring: Keyring, rows: Sequence[Stored]) -> list[dict[int, bytes]]:
    cls = {f.number: f.cls for f in FIELDS}
    asked = [(row, n, blob) for row in rows for n, blob in row.blobs.items()]
    plain = keyring.open_batch([Opening(r.uid, r.id, r.rev, Incident.schema_no, cls[n], n, blob) for r, n, blob in asked])
    found: dict[int, dict[int, bytes]] = {r.revision_no: {} for r in rows}
    for (row, n, _), text in zip(asked, plain, strict=True):
        found[row.revision_no][n] = text
    return [found[r.revision_no] for r in rows]


def _labels(stand: Stand) -> Iterator[str]:
    columns = "".join(f", i.{name}" for name, _ in label_parameters(Incident))
    wrong = stand.sql(
        f"select revision_no, k2 from hub.incidents i where released <> hub.incidents_label(null, i.provider{columns})"
        " or k2 <> hub.cell_code(hub.cell_row(ST_Y(c100)), hub.cell_column(ST_X(c100), hub.cell_row(ST_Y(c100))))"
    )
    for number, _ in wrong:
        yield f"revision {number} has other labels, or another cell, than its values give"


def _leaves(rows: dict[int, Stored], leaves: Sequence[Logged]) -> Iterator[str]:
    """Leaf hashes fit; each stored revision is in exactly one publish leaf, whose root is that of the stored ciphertexts."""
    published: Counter[int] = Counter()
    for leaf in leaves:
        if leaf.hash != sha256(b"\0" + leaf.text.encode()).digest():
            yield f"event {leaf.event}: the leaf hash is not that of its text"
        if leaf.type == "publish":
            numbers = sorted(leaf.revisions)
            published.update(numbers)
            if missing := [n for n in numbers if n not in rows]:
                yield f"event {leaf.event} published the revisions {missing}, which are not stored"
            elif root([rows[n].entry for n in numbers]).hex() != leaf.body["shown"]["root"]:
                yield f"event {leaf.event}: the root is not that of the stored ciphertexts"
    for number in rows:
        if published[number] != 1:
            yield f"revision {number} is in {published[number]} publish leaves"


def _acknowledged(ledger: Ledger, rows: dict[int, Stored], leaves: Sequence[Logged]) -> Iterator[str]:
    hashes = {(leaf.event, leaf.hash.hex()) for leaf in leaves if leaf.type == "publish"}
    for r in ledger.receipts:
        row = rows.get(r.revision_no)
        if row is None:
            yield f"lost: {r.external_id} was acknowledged as revision {r.revision_no}, which is not stored"
        elif (str(row.id), row.rev, row.provider, row.external_id, row.stamp) != (r.id, r.rev, r.provider, r.external_id, r.stamp):
            yield f"lost: revision {r.revision_no} is not what was acknowledged"
        if (r.event, r.leaf) not in hashes:
            yield f"lost: the leaf of event {r.event}, which a receipt names, is not in the log"


def _disclosed(ledger: Ledger, rows: dict[int, Stored], leaves: Sequence[Logged]) -> Iterator[str]:
    """Each time a reader was given a revision, a signed leaf of its owner says so. More leaves than answers are well."""
    covered: Counter[tuple[str, int]] = Counter()
    for leaf in leaves:
        if leaf.type == "query" and leaf.body["decision"] == "permit":
            for row in (rows[n] for n in leaf.revisions if n in rows):
                if row.provider == leaf.owner:
                    covered[(leaf.body["by"]["client"], row.stamp)] += 1
    for (client, stamp), times in ledger.seen.items():
        if covered[(client, stamp)] < times:
            yield f"unlogged: {client} was given stamp {stamp} {times} times, signed leaves say {covered[(client, stamp)]}"
