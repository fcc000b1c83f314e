"""The form of an audit bundle, for who writes one (hub/audit/export.py) and who verifies one (hub/audit/verify.py). Pure.

A bundle is a ZIP file:

    manifest.json        what it is about, and the SHA-256 of every other file but the manifest's note
    manifest.note        signed note of the log over that SHA-256
    checkpoint           the checkpoint that everything is held against, with its cosignatures
    entries              a line for each leaf, in the order of the tree: its place, a space, its text
    tiles/<level>/<n>    hashes of the tree (C2SP tlog-tiles), level 0 where an entry lies, all of the levels above
    owners/<name>.chain  the list of an owner: 40 bytes a leaf, its place (u64) and hash, in order; `owners/.chain` is the hub's own
    signatures.ndjson    leaves as the key process signed them, in its order
    mous/<mou>-<version>.yaml and .json   each version that is cited; its statement and signatures
    boundaries/<sha256>  the boundary files that these pin
"""

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from hub.audit.heads import Head
from hub.audit.notes import Checkpoint, Note, VerifierKey

VERSION: Final = 1
MANIFEST, MANIFEST_NOTE, CHECKPOINT = "manifest.json", "manifest.note", "checkpoint"
ENTRIES, SIGNATURES = "entries", "signatures.ndjson"
TILES, OWNERS, MOUS, BOUNDARIES = "tiles/", "owners/", "mous/", "boundaries/"
CHAIN: Final = ".chain"
LINK: Final = struct.Struct(">Q32s")
"""Of an owner's list: a leaf's place in the tree, its hash."""
BODIES_KEPT: Final = timedelta(days=365)
"""How old bodies must be before they may go: CJIS AU-11 wants a year at least."""
GIVING: Final = ("query", "export", "match")
"""Events that may give something of records."""
DISCLOSING: Final = (*GIVING, "audit")
"""Events of which each leaf is signed by the key process before the answer leaves."""


def manifest_text(origin: str, digest: str) -> str:
    """What the note over a manifest says; `digest` is the SHA-256 of its bytes in hexadecimal."""
    return f"concord-audit-bundle/v{VERSION}\n{origin}\n{digest}\n"


class BadTrust(ValueError):
    """What is wrong with a trust file, in a sentence."""


@dataclass(frozen=True)
class Trust:
    """What an auditor holds in hand, from elsewhere than the bundle. `keyd`: public keys of the key process, 32 bytes each; `signed_from`:
    the place in the tree from which on every disclosure is signed; `pinned`: a checkpoint that was verified before; `parties`: by
    organisation the JWKs with which it signs agreements, None: signatures of agreements are not checked; `lists`: by owner how long its
    list was then, and what it came to.
    """

    log: VerifierKey
    keyd: frozenset[bytes]
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0
    signed_from: int = 0
    pinned: Checkpoint | None = None
    parties: dict[str, list[dict[str, str]]] | None = None
    lists: Mapping[str, Head] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> "Trust":
        """From a trust file (docs/verify.md).

        Raises:
            BadTrust
        """
        try:
            said: Any = json.loads(text)
            unknown = set(said) - {"v", "log", "keyd", "witnesses", "quorum", "signed_from", "pinned", "parties", "lists"}
            if said["v"] != VERSION or unknown:
                raise BadTrust(
                    f"it is of version {said['v']!r}, or has members that are not known here: {', '.join(sorted(unknown)) or '-'}"
                )
            found = cls(
                VerifierKey.read(said["log"]),
                frozenset(bytes.fromhex(key) for key in said["keyd"]),
                tuple(VerifierKey.read(key) for key in said.get("witnesses", ())),
                int(said.get("quorum", 0)),
                int(said.get("signed_from", 0)),
                Checkpoint.read(_body(said["pinned"])) if said.get("pinned") else None,
                said.get("parties"),
                {owner: Head(int(n), b64decode(chain, validate=True)) for owner, (n, chain) in said.get("lists", {}).items()},
            )
        except BadTrust:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadTrust(f"it can't be read: {error}") from None
        for what in ({key.name for key in found.witnesses}, {key.public for key in found.witnesses}):
            if len(what) < len(found.witnesses):
                raise BadTrust("it names a witness twice, by its name or by its key")
        if found.quorum > len(found.witnesses):
            raise BadTrust(f"it wants {found.quorum} witnesses, and names {len(found.witnesses)}")
        if any(len(key) != 32 for key in found.keyd):  # none, where nothing was signed yet: no signature is believed then
            raise BadTrust("the public keys of the key process are 32 bytes each, in hexadecimal")
        return found


def pins(found: Mapping[str, Head]) -> dict[str, list[object]]:
    """Heads of lists as a trust file has them."""
    return {owner: [head.n, b64encode(head.chain).decode()] for owner, head in sorted(found.items())}


def _body(pinned: str) -> str:
    """A checkpoint may be pinned as its text or as the whole note."""
    return Note.read(pinned).text if "\n\n" in pinned else pinned
