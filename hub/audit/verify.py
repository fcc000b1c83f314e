"""Verifies an audit bundle offline: no network, no database, no key from the bundle. Pure but for reading the file.

Everything is held against one checkpoint, which the log's key must have signed and enough witnesses cosigned. The tree is rebuilt from its
tiles; each body is hashed anew and must be what the tree has at its place; an owner's list must be dense and come to the head that the
tree tells; each disclosure must have been signed by the key process; each version of an agreement that is cited must be there, be the
one that its hash names, and be signed by its parties.
"""

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import IO, Any, Final

import orjson

from hub.audit import bundle
from hub.audit.bundle import Trust
from hub.audit.cited import Agreements, CheckSignature, Replay
from hub.audit.heads import TYPE as HEADS
from hub.audit.heads import Head
from hub.audit.lists import Lists, Reach
from hub.audit.notes import BadNote, Checkpoint, Note
from hub.audit.signatures import Signatures
from hub.audit.tiles import SIZE, WIDTH, Tree, tile_at, tiles_of
from hub.audit.tree import leaf_hash, root_of

MAX_LINE: Final = 500_000
PIECE: Final = 1 << 20
LONG: Final = (bundle.ENTRIES, bundle.SIGNATURES)
"""Files that are read line by line."""
TOLD: Final = 50
MALFORMED: Final = (BadNote, KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError)


class Unreadable(Exception):
    """It is no bundle, or can't be read as one; the reason in a sentence."""


@dataclass
class Verdict:
    """What was found. `wrong`: a sentence for each thing that doesn't hold, in the order found, and how many there were. `complete`: by
    owner how far its list goes, and `heads` what it comes to; `unsigned`: places of accesses that the key process has not signed.
    """

    checkpoint: Checkpoint | None = None
    scope: Mapping[str, Any] = field(default_factory=dict)
    made_at: str = ""
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    more_wrong: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    cosigned: list[str] = field(default_factory=list)
    complete: dict[str, Reach] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)
    unsigned: list[int] = field(default_factory=list)
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
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise Unreadable(f"it is not a ZIP file that can be read: {error}") from None
    except MALFORMED as error:
        raise Unreadable(f"it is malformed: {error}") from None


class _Verifier:
    def __init__(self, archive: zipfile.ZipFile, trust: Trust, check_signature: CheckSignature | None, replay: Replay | None) -> None:
        self._archive, self._trust = archive, trust
        self._agreements = Agreements(self._bytes, trust, check_signature, replay)
        self._verdict = Verdict()
        self._manifest: dict[str, Any] = json.loads(self._bytes(bundle.MANIFEST))
        self._names = {info.filename for info in archive.infolist()}
        self._every = bool(self._manifest["all"])
        self._zero: dict[int, bytes] = {}
        self._signatures = Signatures(trust.keyd, trust.signed_from, self._every)
        self._bodies: set[int] = set()

    def run(self) -> Verdict:
        found = self._verdict
        if self._manifest["v"] != bundle.VERSION:
            raise Unreadable(f"it is of version {self._manifest['v']!r}, which this program does not know")
        found.scope, found.made_at = self._manifest["scope"], self._manifest["made_at"]
        self._verify_manifest()
        found.checkpoint = self._verify_checkpoint()
        tree = self._tree(found.checkpoint)
        self._verify_pinned(tree)
        self._lists = Lists(tree.size, self._at, self._trust.lists)
        for name in sorted(self._names):
            if name.startswith(bundle.OWNERS):
                self._told(self._lists.read(name.removeprefix(bundle.OWNERS).removesuffix(bundle.CHAIN), self._bytes(name)))
        for line in self._lines(bundle.SIGNATURES):
            self._told(self._signatures.read(line))
        self._told(self._agreements.load(self._names))
        self._verify_entries(tree)
        self._verify_ends(tree)
        found.notes += [*self._agreements.notes, *self._lists.notes(), *self._signatures.notes()]
        found.mous, found.signatures, found.unsigned = len(self._agreements.files), self._signatures.count, self._signatures.unsigned
        found.whole = self._every
        return found

    def _told(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._verdict.fail(sentence)

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
        whole = set(tiles_of(checkpoint.size))
        for name in sorted(self._names):
            if name.startswith(bundle.TILES):
                tile = tile_at(name.removeprefix(bundle.TILES))
                if tile in whole:
                    tiles[tile.level, tile.n] = self._bytes(name)
                else:
                    self._verdict.fail(f"The file {name} is no tile of a tree of {checkpoint.size} leaves.")
        for tile in sorted(whole):
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

    def _verify_entries(self, tree: Tree) -> None:
        found, last = self._verdict, -1
        for line in self._lines(bundle.ENTRIES):
            place, _, text = line.partition(b" ")
            index, digest = int(place), leaf_hash(text)
            if index <= last or index >= tree.size:
                found.fail(f"Entry {index} is out of order, or beyond the tree.")
            last = index
            self._bodies.add(index)
            if self._at(index) != digest:
                found.fail(f"Entry {index} was altered or exchanged: its body does not have the hash that the tree has there.")
                continue
            try:
                self._told(self._wrong_with(index, orjson.loads(text), digest))
            except MALFORMED as error:  # whoever can add leaves can add such a one: the others are verified all the same
                found.fail(f"Entry {index} is no leaf that can be read: {error!r}.")

    def _wrong_with(self, index: int, leaf: Mapping[str, Any], digest: bytes) -> Iterator[str]:
        kind, at = leaf["type"], time_of(leaf)
        self._verdict.kinds[kind] += 1
        if kind == HEADS:
            yield from self._lists.heads(index, at, leaf)
            yield from self._signatures.heads(index, leaf)
            return
        yield from self._lists.entry(index, at, leaf)
        self._signatures.entry(index, at, leaf, digest)
        for sentence in self._agreements.cited(leaf):
            yield f"Entry {index} {sentence}"

    def _verify_ends(self, tree: Tree) -> None:
        """What shows once everything was read: lists that don't reach the end, leaves that are missing."""
        found, scope = self._verdict, self._manifest["scope"]
        self._told(self._lists.end(self._bodies, self._manifest["complete"]))
        found.complete = {owner: self._lists.reach(owner, self._bodies) for owner in self._lists.complete}
        found.heads = {owner: self._lists.head_of(owner) for owner in found.complete}
        if self._every:
            self._told(self._lists.whole(self._bodies))
            for stray in self._manifest.get("strays", ()):
                found.fail(f"The log's table has a leaf that is neither in the tree nor waiting for it: event {stray}.")
        owner = scope["owner"] if list(scope) == ["owner"] else None
        if owner is not None and not self._every:
            self._told(missing_of(owner, found))
        there = {held[at : at + SIZE] for held in self._zero.values() for at in range(0, len(held), SIZE)}
        self._told(self._signatures.end(there, self._every or owner is not None))


def missing_of(owner: str, found: Verdict) -> Iterator[str]:
    """What a bundle lacks that should have every leaf of an owner."""
    reach = found.complete.get(owner)
    if reach is not None and reach.missing:
        yield f"{reach.missing} leaves of the list of {owner} are not in the bundle: they were left out, or their bodies were deleted."


def time_of(leaf: Mapping[str, Any]) -> datetime:
    """Raises ValueError, KeyError or TypeError: it has none."""
    at = datetime.fromisoformat(leaf["at"])
    if at.tzinfo is None:
        raise ValueError("its time has no zone")
    return at
