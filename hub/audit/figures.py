"""The figures of an access review: who used the shared data in a period, how much, under which grants and for what, and what was flagged.
Pure: the same leaves and flags give the same text, byte for byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import rfc8785
from pyroaring import BitMap64

from hub.audit.accesses import given, subject_of
from hub.audit.leaf import revisions_in

SCOPES = ("organisation", "owner", "mou", "purpose", "dataset")
"""By what a review may be narrowed, in the words of a search of the log."""
FLAGS_ALONE = {"organisation", "owner"}
"""Narrowed by these alone, a review also lists flags of those who were given nothing: a flag names no agreement and no purpose."""


class Key(NamedTuple):
    """What is one line: one person or client, of one organisation, using one owner's data for one purpose, under the same grants."""

    organisation: str
    subject: str
    owner: str
    dataset: str
    purpose: str
    under: tuple[tuple[str, int, tuple[str, ...]], ...]


@dataclass(slots=True)
class Line:
    """How much: `records` counts each as often as it was given, `revisions` has each revision once. Times as leaves have them."""

    accesses: set[str] = field(default_factory=set)
    exports: int = 0
    records: int = 0
    revisions: BitMap64 = field(default_factory=BitMap64)
    first: str = ""
    last: str = ""
    flags: list[dict[str, Any]] = field(default_factory=list)


class Figures:
    """Adds leaves up. Their order doesn't matter."""

    def __init__(self) -> None:
        self._lines: dict[Key, Line] = {}

    def add(self, body: Mapping[str, Any]) -> None:
        """One parsed leaf, if it gave records to somebody who is known."""
        subject = subject_of(body.get("by", {}))
        number = given(body)
        if subject is None or not number or body["decision"] != "permit" or "owner" not in body:
            return
        line = self._lines.setdefault(_key(body, subject), Line())
        if body["event"] not in line.accesses and body["type"] == "export":
            line.exports += 1
        line.accesses.add(body["event"])
        line.records += number
        line.revisions |= revisions_in(body["shown"]["revisions"])
        line.first = min(line.first or body["at"], body["at"])
        line.last = max(line.last, body["at"])

    def flag(self, flag: Mapping[str, Any], alone: bool) -> None:
        """One flag, as it is told, on each line of whom and whose data it is about; where there is none, `alone`: on a line of its own."""
        kind = "person" if "person" in flag else "client"
        who = (flag["organisation"], f"{kind}:{flag[kind]}")
        owner = flag.get("owner")
        lines = [line for key, line in sorted(self._lines.items()) if key[:2] == who and owner in (None, key.owner)]
        if not lines and alone:
            lines = [self._lines.setdefault(Key(*who, owner or "", "", "", ()), Line())]
        for line in lines:
            line.flags.append({"id": flag["id"], "kind": flag["kind"], "at": flag["at"], "reason": flag["reason"]})

    def told(self) -> list[dict[str, Any]]:
        """The lines, numbered from 1, in an order that follows from what they are."""
        return [_told(number, key, self._lines[key]) for number, key in enumerate(sorted(self._lines), 1)]


def _key(body: Mapping[str, Any], subject: str) -> Key:
    under = sorted((u["mou"], u["version"], tuple(sorted(u["grants"]))) for u in body.get("under", ()) if u["grants"])
    return Key(body["by"]["organisation"], subject, body["owner"], body.get("dataset", ""), body.get("purpose", ""), tuple(under))


def _told(number: int, key: Key, line: Line) -> dict[str, Any]:
    kind, _, named = key.subject.partition(":")
    what = {"owner": key.owner, "dataset": key.dataset, "purpose": key.purpose, "first": line.first, "last": line.last}
    return {
        "line": number,
        "organisation": key.organisation,
        kind: named,
        **{name: value for name, value in what.items() if value},
        "under": [{"mou": mou, "version": version, "grants": list(grants)} for mou, version, grants in key.under],
        "accesses": len(line.accesses),
        "exports": line.exports,
        "records": line.records,
        "revisions": len(line.revisions),
        "flags": sorted(line.flags, key=lambda flag: int(flag["id"])),
    }


def text_of(
    scope: Mapping[str, str], since: str, until: str, leaves: Iterable[Mapping[str, Any]], flags: Sequence[Mapping[str, Any]]
) -> str:
    """The figures of a period (RFC 3339; its end is not included) as canonical JSON (RFC 8785): what is reviewed, kept and hashed."""
    figures = Figures()
    for body in leaves:
        figures.add(body)
    for flag in flags:
        figures.flag(flag, set(scope) <= FLAGS_ALONE)
    said: dict[str, Any] = {"v": 1, "scope": dict(scope), "from": since, "until": until, "lines": figures.told()}
    return rfc8785.dumps(said).decode()
