"""`hub-verify`, and `hub audit verify`: verifies an audit bundle in plain words. Needs no server, and none of what a server needs.

Exit codes: 0 everything holds; 1 the bundle or the trust file can't be read; 2 wrong usage; 3 something does not hold.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hub.audit.bundle import BadTrust, Trust, pins
from hub.audit.cited import Replay
from hub.audit.lists import whose
from hub.audit.verify import Unreadable, Verdict, missing_of, verify
from hub.identity.party_keys import STATEMENT, check

UNREADABLE: Final = 1
NOT_VERIFIED: Final = 3


class Wrong(Exception):
    """A file that can't be used; the reason in a sentence."""


def read_trust(path: Path) -> Trust:
    """Raises Wrong."""
    try:
        return Trust.read(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"The trust file {path} can't be read: {error}.") from None
    except BadTrust as error:
        raise Wrong(f"The trust file {path} can't be used: {error}.") from None


def verified(path: Path, trust: Trust, whole: bool, owners: list[str], replay: Replay | None = None) -> Verdict:
    """What is found in a bundle. `whole`, `owners`: it must be of the whole log, or have the complete lists of these owners.

    Raises:
        Wrong: it can't be read.
    """
    try:
        with path.open("rb") as file:
            found = verify(file, trust, lambda jws, content, jwk: check(jws, STATEMENT, content, jwk), replay)
    except OSError as error:
        raise Wrong(f"The bundle {path} can't be read: {error.strerror}.") from None
    except Unreadable as error:
        raise Wrong(f"The bundle {path} can't be read: {error}.") from None
    if whole and not found.whole:
        found.fail("The bundle is not of the whole log, which was asked for.")
    for owner in owners:
        if owner not in found.complete:
            found.fail(f"The bundle does not have the complete list of {owner}, which was asked for.")
        elif not whole and list(found.scope) != ["owner"]:  # of these it was looked at
            for sentence in missing_of(owner, found):
                found.fail(sentence)
    return found


def told(found: Verdict) -> Iterator[str]:
    """The verdict in plain words, a line each."""
    scope = ", ".join(f"{name} {value}" for name, value in found.scope.items()) or "the whole log"
    yield f"Bundle of {found.made_at}, about {scope}."
    if found.checkpoint is not None:
        yield f"Log {found.checkpoint.origin}: {found.checkpoint.size:,} leaves, root {found.checkpoint.root.hex()}."
    yield f"Cosigned by {', '.join(found.cosigned) or 'no witness that is trusted'}."
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
    yield f"{found.entries:,} entries, each hashed anew and found at its place in the tree: {kinds or 'none'}."
    size = found.checkpoint.size if found.checkpoint else 0
    for owner, reach in sorted(found.complete.items()):
        there = "" if reach.bodies == reach.count else f"; {reach.bodies:,} of them are in this bundle, {reach.expired:,} have expired"
        up_to = f"up to place {reach.index} of {size}, {reach.at:%Y-%m-%d %H:%M:%S} UTC"
        yield f"Complete: the list of {whose(owner)}, {reach.count:,} leaves, {up_to}{there}."
    yield f"{found.signatures:,} signatures of the key process, {found.mous} versions of agreements."
    yield from (f"Note: {note}" for note in found.notes)
    yield from (f"WRONG: {sentence}" for sentence in found.wrong)
    if found.more_wrong:
        yield f"WRONG: and {found.more_wrong:,} more of the kind."
    yield "VERIFIED: everything holds." if found.good else "NOT VERIFIED."


def pin(path: Path, found: Verdict) -> None:
    """Notes the checkpoint of a bundle that holds, and its lists, in the trust file, for the next time."""
    said = json.loads(path.read_text())
    draft = path.with_name(path.name + ".new")
    kept = {"pinned": str(found.checkpoint), "lists": said.get("lists", {}) | pins(found.heads)}
    draft.write_text(json.dumps(said | kept, indent=1) + "\n")
    draft.replace(path)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hub-verify", description="Verifies an audit bundle, offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--keys", type=Path, required=True, metavar="TRUST", help="the trust file: keys and checkpoint from elsewhere")
    parser.add_argument("--all", action="store_true", help="it must be of the whole log")
    parser.add_argument("--owner", action="append", default=[], help="it must have the complete list of this owner; may be repeated")
    parser.add_argument("--pin", action="store_true", help="if all holds, note its checkpoint in the trust file")
    return parser


def run(bundle: Path, keys: Path, whole: bool, owners: list[str], keep: bool, replay: Replay | None = None) -> int:
    """Prints the verdict; the exit code."""
    try:
        found = verified(bundle, read_trust(keys), whole, owners, replay)
    except Wrong as error:
        print(f"hub-verify: {error}", file=sys.stderr)
        return UNREADABLE
    for line in told(found):
        print(line)
    if not found.good:
        return NOT_VERIFIED
    if keep:
        pin(keys, found)
        print(f"Noted in {keys}: the checkpoint of {found.checkpoint.size:,} leaves." if found.checkpoint else "")
    return 0


def main() -> None:
    """The command `hub-verify`."""
    given = arguments().parse_args()
    raise SystemExit(run(given.bundle, given.keys, given.all, given.owner, given.pin))
