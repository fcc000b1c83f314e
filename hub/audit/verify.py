"""Verifies an audit bundle offline: no network, no database, no key from the bundle. Pure but for reading the file.

Everything is held against one checkpoint, which the log's key must have signed and enough witnesses cosigned. The tree is rebuilt from its
tiles; each body is hashed anew and must be what the tree has at its place; an owner's list must be dense and come to the head that the
tree tells; each disclosure must have been signed by the key process; each version of an agreement that is cited must be there, be the
one that its hash names, and be signed by its parties.
"""

import json
import zipfile
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from typing import IO, Any, Final
from uuid import UUID

import orjson

from hub.audit import bundle
from hub.audit.bundle import Trust
from hub.audit.cited import Agreements, CheckSignature, Replay
from hub.audit.heads import TYPE as HEADS
from hub.audit.heads import Head, start
from hub.audit.notes import BadNote, Checkpoint, Note
from hub.audit.tiles import SIZE, WIDTH, Tree, tile_at, tiles_of
from hub.audit.tree import leaf_hash, root_of
from hub.leaf_chain import NOTHING, Signed, genuine, verified

MAX_LINE: Final = 500_000
PIECE: Final = 1 << 20
LONG: Final = (bundle.ENTRIES, bundle.SIGNATURES)
"""Files that are read line by line."""
TOLD: Final = 50


class Unreadable(Exception):
    """It is no bundle, or can't be read as one; the reason in a sentence."""


@dataclass
class Verdict:
    """What was found. `wrong`: a sentence for each thing that doesn't hold, in the order found, and how many there were."""

    checkpoint: Checkpoint | None = None
    scope: Mapping[str, Any] = field(default_factory=dict)
    made_at: str = ""
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    more_wrong: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    cosigned: list[str] = field(default_factory=list)
    complete: dict[str, tuple[int, str]] = field(default_factory=dict)
    signatures: int = 0
    mous: int = 0
    whole: bool = False

    def fail(self, sentence: str) -> None:
        if len(self.wrong) < TOLD:
            self.wrong.append(sentence)
        else:
            self.more_wrong += 1

    @property
    def entries(self) -> int:
        return self.kinds.total()

    @property
    def good(self) -> bool:
        return not self.wrong


def verify(file: IO[bytes], trust: Trust, check_signature: CheckSignature | None = None, replay: Replay | None = None) -> Verdict:
    """Verifies the bundle in `file` against what is trusted.

    Raises:
        Unreadable: it is no bundle.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _Verifier(archive, trust, check_signature, replay).run()
    # What zipfile raises for a file that is none, is cut off, is packed in a way that Python can't unpack, or is encrypted.
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise Unreadable(f"it is not a ZIP file that can be read: {error}") from None
    except (BadNote, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise Unreadable(f"it is malformed: {error}") from None


class _Verifier:
    def __init__(self, archive: zipfile.ZipFile, trust: Trust, check_signature: CheckSignature | None, replay: Replay | None) -> None:
        self._archive, self._trust = archive, trust
        self._agreements = Agreements(self._bytes, trust, check_signature, replay)
        self._verdict = Verdict()
        self._manifest: dict[str, Any] = json.loads(self._bytes(bundle.MANIFEST))
        self._names = {info.filename for info in archive.infolist()}
        self._zero: dict[int, bytes] = {}
        self._chains: dict[str, list[tuple[int, bytes]]] = {}
        self._signed: dict[bytes, list[Signed]] = {}
        self._links: dict[str, dict[int, Head]] = {}
        self._unsigned = self._signed_until = 0

    def run(self) -> Verdict:
        found = self._verdict
        if self._manifest["v"] != bundle.VERSION:
            raise Unreadable(f"it is of version {self._manifest['v']!r}, which this program does not know")
        found.scope, found.made_at = self._manifest["scope"], self._manifest["made_at"]
        self._verify_manifest()
        found.checkpoint = self._verify_checkpoint()
        tree = self._tree(found.checkpoint)
        self._verify_pinned(tree)
        self._read_chains(tree)
        self._read_signatures()
        for sentence in self._agreements.load(self._names):
            found.fail(sentence)
        found.notes += self._agreements.notes
        found.mous = len(self._agreements.files)
        self._verify_entries(tree)
        self._verify_heads_reached(tree)
        if self._unsigned:
            never = "were not signed by the key process: they were never answered (it could not be reached), or were added by somebody"
            found.notes.append(f"{self._unsigned} accesses {never}.")
        if self._manifest["all"]:
            self._verify_all(tree)
            found.whole = True
        return found

    def _bytes(self, name: str) -> bytes:
        return self._archive.read(name)

    def _lines(self, name: str) -> Iterator[bytes]:
        """The lines of a long file, unpacked once: at its end it must be the one that the manifest names."""
        digest, rest = sha256(), b""
        with self._archive.open(name) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > MAX_LINE:
                    break
                yield from lines
        if rest:
            raise Unreadable(f"{name} has a line that is too long, or is cut off")
        self._verify_named(name, digest.hexdigest())

    def _verify_manifest(self) -> None:
        found, digest = self._verdict, sha256(self._bytes(bundle.MANIFEST)).hexdigest()
        note = Note.read(self._bytes(bundle.MANIFEST_NOTE).decode())
        if note.text != bundle.manifest_text(self._trust.log.name, digest) or not note.signed_by(self._trust.log):
            found.fail("The manifest is not signed with the log's key that is trusted: the bundle was altered, or is another log's.")
        files: dict[str, str] = self._manifest["files"]
        for name in sorted(self._names - set(files) - {bundle.MANIFEST, bundle.MANIFEST_NOTE}):
            found.fail(f"The file {name} is not in the manifest.")
        for name in files:
            if name not in self._names:
                found.fail(f"The file {name} of the manifest is missing.")
            elif name not in LONG:
                self._verify_named(name, sha256(self._bytes(name)).hexdigest())

    def _verify_named(self, name: str, digest: str) -> None:
        if self._manifest["files"].get(name, digest) != digest:
            self._verdict.fail(f"The file {name} is not the one that the manifest was signed with.")

    def _verify_checkpoint(self) -> Checkpoint:
        found, trust = self._verdict, self._trust
        note = Note.read(self._bytes(bundle.CHECKPOINT).decode())
        checkpoint = Checkpoint.read(note.text)
        if checkpoint.origin != trust.log.name:
            found.fail(f"The checkpoint is of the log {checkpoint.origin}, and {trust.log.name} is trusted.")
        if not note.signed_by(trust.log):
            found.fail("The checkpoint is not signed with the log's key that is trusted.")
        for witness in trust.witnesses:
            at = note.cosigned_at(witness)
            if at is not None:
                found.cosigned.append(f"{witness.name} ({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC)")
        if len(found.cosigned) < trust.quorum:
            have = f"{len(found.cosigned)} of the {trust.quorum} witnesses"
            found.fail(f"The checkpoint is cosigned by {have} that are wanted: it may be one that others were not shown.")
        if checkpoint.size != self._manifest["size"]:
            found.fail("The manifest is about a tree of another size than the checkpoint.")
        return checkpoint

    def _tree(self, checkpoint: Checkpoint) -> Tree:
        """The tree of the bundle's tiles, each level folded anew from the one below where that is there."""
        tiles: dict[tuple[int, int], bytes] = {}
        for name in self._names:
            tile = tile_at(name.removeprefix(bundle.TILES)) if name.startswith(bundle.TILES) else None
            if tile is not None:
                tiles[tile.level, tile.n] = self._bytes(name)
        for tile in tiles_of(checkpoint.size):
            held = tiles.get((tile.level, tile.n))
            if held is None:
                if tile.level:
                    self._verdict.fail(f"The tile {tile.path()} is missing.")
                continue
            if len(held) != SIZE * tile.width:
                self._verdict.fail(f"The tile {tile.path()} has another width than a tree of {checkpoint.size} leaves gives it.")
            above = tiles.get((tile.level + 1, tile.n // WIDTH))
            if tile.width == WIDTH and above is not None:
                at = SIZE * (tile.n % WIDTH)
                if above[at : at + SIZE] != root_of([held[i : i + SIZE] for i in range(0, len(held), SIZE)]):
                    self._verdict.fail(f"The tile {tile.path()} doesn't give the hash that the level above has for it.")
        self._zero = {n: held for (level, n), held in tiles.items() if level == 0}
        tree = Tree(checkpoint.size, lambda tile: tiles[tile.level, tile.n])
        try:
            if tree.root() != checkpoint.root:
                self._verdict.fail(
                    "The tiles don't give the root that the checkpoint has: leaves of the log were altered, added or left out."
                )
        except KeyError:
            self._verdict.fail("The tiles that the root is made of are missing.")
        return tree

    def _verify_pinned(self, tree: Tree) -> None:
        found, pinned = self._verdict, self._trust.pinned
        if pinned is None:
            found.notes.append("No checkpoint was pinned before: that the log had another past then could not be noticed.")
            return
        if pinned.origin != self._trust.log.name:
            found.fail("The pinned checkpoint is of another log.")
        if pinned.size > tree.size:
            before = f"The log has {tree.size} leaves, and {pinned.size} were verified before"
            found.fail(f"{before}: it was cut short, or put back to an earlier state.")
            return
        try:
            if pinned.size and tree.root(pinned.size) != pinned.root:
                from_there = f"from the checkpoint of {pinned.size} leaves that was pinned"
                found.fail(f"The log does not go on {from_there}: its past was rewritten, or forked.")
        except KeyError:
            found.fail(f"Whether the log goes on from the pinned checkpoint can't be seen: export with --pinned {pinned.size}.")

    def _at(self, index: int) -> bytes | None:
        """The hash that the tree has at a place; None: its tile isn't in the bundle."""
        held = self._zero.get(index // WIDTH)
        at = SIZE * (index % WIDTH)
        return held[at : at + SIZE] if held is not None and len(held) >= at + SIZE else None

    def _read_chains(self, tree: Tree) -> None:
        for name in sorted(self._names):
            if not name.startswith(bundle.OWNERS):
                continue
            owner, raw = name.removeprefix(bundle.OWNERS).removesuffix(bundle.CHAIN), self._bytes(name)
            rest = len(raw) % bundle.LINK.size
            links = list(bundle.LINK.iter_unpack(raw[: len(raw) - rest]))
            if rest or any(a >= b for (a, _), (b, _) in pairwise(links)):
                self._verdict.fail(f"The list of {_whose(owner)} is not in the order of the tree.")
            for index, digest in links:
                there = self._at(index)
                if index >= tree.size or (there is not None and there != digest):
                    self._verdict.fail(f"The list of {_whose(owner)} has a leaf at {index} which the tree doesn't have there.")
            self._chains[owner] = links

    def _verify_entries(self, tree: Tree) -> None:
        found, last = self._verdict, -1
        places = {owner: {index for index, _ in links} for owner, links in self._chains.items()}
        self._heads_seen: dict[str, tuple[int, int]] = {}
        self._bodies: set[int] = set()
        for line in self._lines(bundle.ENTRIES):
            place, _, text = line.partition(b" ")
            index = int(place)
            digest = leaf_hash(text)
            if index <= last or index >= tree.size:
                found.fail(f"Entry {index} is out of order, or beyond the tree.")
            last = index
            self._bodies.add(index)
            if self._at(index) != digest:
                found.fail(f"Entry {index} was altered or exchanged: its body does not have the hash that the tree has there.")
                continue
            leaf = orjson.loads(text)
            found.kinds[leaf["type"]] += 1
            if leaf["type"] == HEADS:
                self._verify_heads(index, leaf)
                continue
            owner = leaf.get("owner") or ""
            if owner in places and index not in places[owner]:
                found.fail(f"Entry {index} is about {_whose(owner)} and is not in that list.")
            self._verify_signed(index, leaf, digest)
            for sentence in self._agreements.cited(leaf):
                found.fail(f"Entry {index} {sentence}")

    def _verify_heads(self, index: int, leaf: Mapping[str, Any]) -> None:
        for owner, (n, chain) in leaf["heads"].items():
            if owner not in self._chains:
                continue
            links = self._chains[owner]
            right = (
                n <= len(links)
                and (n == len(links) or links[n][0] > index)
                and (n == 0 or links[n - 1][0] < index)
                and self._head(owner, n).chain == b64decode(chain)
            )
            if not right:
                head = f"does not come to the head that the tree tells at {index}"
                self._verdict.fail(f"The list of {_whose(owner)} {head}: a leaf was left out, added or moved.")
            self._heads_seen[owner] = max(self._heads_seen.get(owner, (-1, 0)), (index, n))
        if "signed" in leaf and self._manifest["all"]:
            n, chain = leaf["signed"]
            self._signed_until = n
            if self._chain_at.get(n) != b64decode(chain):
                self._verdict.fail(
                    f"The signatures of the key process don't come to the chain that the tree tells at {index} (number {n})."
                )

    def _head(self, owner: str, n: int) -> Head:
        known = self._links.setdefault(owner, {0: start(owner)})
        if n not in known:
            at = max(k for k in known if k <= n)
            head = known[at]
            for index, digest in self._chains[owner][at:n]:
                head = head.follow(index, digest)
            known[n] = head
        return known[n]

    def _verify_heads_reached(self, tree: Tree) -> None:
        for owner, links in self._chains.items():
            index, n = self._heads_seen.get(owner, (-1, 0))
            if n != len(links) or index < 0:
                self._verdict.fail(f"No heads leaf of the bundle tells of the whole list of {_whose(owner)}.")
            else:
                self._verdict.complete[owner] = n, f"up to place {index} of {tree.size}"
        for owner in self._manifest["complete"]:
            if owner not in self._chains:
                self._verdict.fail(f"The bundle says that the list of {_whose(owner)} is complete, and doesn't have it.")

    def _read_signatures(self) -> None:
        found, before = self._verdict, NOTHING
        self._chain_at: dict[int, bytes] = {}
        for line in self._lines(bundle.SIGNATURES):
            said = orjson.loads(line)
            raw = {name: b64decode(said[name]) for name in ("leaf", "chain", "key", "signature")}
            entry = Signed(int(said["n"]), UUID(said["event"]), raw["leaf"], raw["chain"], raw["key"], raw["signature"])
            good = genuine(entry, *before) if self._manifest["all"] else verified(entry)
            if entry.key not in self._trust.keyd:
                found.fail(f"Signature {entry.n} is by a key that is not trusted as the key process's.")
            elif not good:
                found.fail(f"Signature {entry.n} of the key process doesn't verify, or doesn't follow from number {before[0]}.")
            else:
                self._signed.setdefault(entry.leaf_hash, []).append(entry)
            before = entry.n, entry.chain
            self._chain_at[entry.n] = entry.chain
            found.signatures += 1

    def _verify_signed(self, index: int, leaf: Mapping[str, Any], digest: bytes) -> None:
        by_operator = leaf["type"] == "audit" and leaf["by"].get("client") == "cli"  # which answers without the key process
        if leaf["type"] in bundle.DISCLOSING and index >= self._trust.signed_from and not by_operator:
            self._unsigned += digest not in self._signed

    def _verify_all(self, tree: Tree) -> None:
        """Every place belongs to one list or is a heads leaf; every body is there; every signed leaf is in the tree."""
        found, expired = self._verdict, int(self._manifest.get("expired", 0))
        counts = Counter(index for links in self._chains.values() for index, _ in links)
        heads = self._bodies - counts.keys()
        missing = [index for index in range(tree.size) if index not in counts and index not in self._bodies]
        for index in [i for i, n in counts.items() if n > 1]:
            found.fail(f"Place {index} is in more than one list.")
        for index in missing:
            found.fail(f"Place {index} is in nobody's list, and its leaf is missing.")
        for index in sorted(counts.keys() - self._bodies):
            if index >= expired:
                found.fail(f"The leaf at {index} is missing: its body was deleted.")
        if expired:
            found.notes.append(f"The bodies of the first {expired} places have expired; their hashes are verified.")
        if len(heads) != found.kinds[HEADS]:
            found.fail("A leaf that is no heads leaf is in nobody's list.")
        there = {held[at : at + SIZE] for held in self._zero.values() for at in range(0, len(held), SIZE)}
        for digest, entries in self._signed.items():
            # What was signed after the last heads leaf may come into the tree after this checkpoint.
            if digest not in there and entries[0].n <= self._signed_until:
                signed = f"The leaf that the key process signed as number {entries[0].n}"
                found.fail(f"{signed} is not in the tree: it was deleted before it got there.")
        for stray in self._manifest.get("strays", ()):
            found.fail(f"The log's table has a leaf that is neither in the tree nor waiting for it: event {stray}.")


def _whose(owner: str) -> str:
    return owner or "the hub itself"
