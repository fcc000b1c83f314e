"""Leaves of the log in words: what happened, who did it, and what each member of a leaf says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.audit.leaf import revision_count
from hub.audit.log import Entry
from hub.identity.people import Named

Leaf = Mapping[str, Any]

# In the order in which a filter offers them.
KINDS = {
    "query": "Records looked at",
    "export": "Records exported",
    "match": "Values looked up",
    "publish": "Records published",
    "withdraw": "Records withdrawn",
    "shred": "Records destroyed",
    "hold": "Legal holds",
    "retention": "Retention rules",
    "import": "Imports",
    "refusal": "Refused requests",
    "audit": "Log read",
    "sign-in": "Signed in",
    "sign-out": "Signed out",
    "person": "People changed",
    "token": "Access tokens",
    "mou": "Steps of agreements",
    "mou-loaded": "Agreements put in force",
    "party-key": "Keys for signatures",
    "duty": "Duties",
    "log": "Log and witnesses",
    "log-expiry": "Old entries removed",
    "flag": "Flags",
    "review": "Access reviews",
    "unauthenticated": "Failed sign-ins and tokens",
}
DECISIONS = {"permit": "allowed", "refuse": "refused", "absent": "absent or not shared"}
METHODS = {"passkey": "a passkey", "recovery-code": "a recovery code", "link": "a one-time link", "invitation": "an invitation"}
READINGS = {
    "trace": "asked who gets a record",
    "summary": "counted entries of the log",
    "csv": "took part of the log away as CSV",
    "ndjson": "took part of the log away as NDJSON",
}
IMPORTS = {"cancelled": "cancelled an import", "report": "read the report of an import", "dry_run": "tried out an import"}
STEPS: dict[str, tuple[str, dict[str, str]]] = {
    "mou": (
        "took a step of an agreement",
        {
            "drafted": "drafted an agreement",
            "proposed": "proposed an agreement",
            "signed": "signed an agreement",
            "compared": "looked at what an agreement would change",
            "use read": "looked at what was read under an agreement",
            "activating": "had an agreement come into force",
            "activated": "brought an agreement into force",
            "suspended": "suspended an agreement",
            "resumed": "resumed an agreement",
            "terminated": "ended an agreement",
            "withdrawn": "withdrew an agreement",
        },
    ),
    "duty": (
        "answered for what was given",
        {
            "recalls read": "looked at recalls",
            "held read": "looked at what is held under duties",
            "deliveries read": "looked at who was given a record",
            "recall acknowledged": "answered a recall",
            "destruction attested": "attested that what was given is destroyed",
        },
    ),
    "log": (
        "changed how the log is watched",
        {
            "witness added": "registered a witness of the log",
            "witness removed": "removed a witness of the log",
            "resumed": "had the log go on after its database was put back",
        },
    ),
    "flag": (
        "looked after a flag",
        {"raised": "raised a flag", "triaged": "said what was made of a flag"},
    ),
    "review": (
        "took a step of an access review",
        {
            "set up": "set up an access review",
            "assigned": "assigned an access review",
            "ended": "ended an access review",
            "opened": "opened an access review for a period",
            "decided": "decided about accesses in a review",
            "signed": "signed off an access review",
        },
    ),
    "party-key": (
        "changed a key for signatures",
        {
            "offered": "offered a key for signatures",
            "confirmed": "confirmed a key for signatures",
            "revoked": "revoked a key for signatures",
        },
    ),
}
READINGS = {
    "trace": "asked who gets a record",
    "csv": "took part of the log away as CSV",
    "flags": "looked at flags",
    "review": "looked at access reviews",
}
PERSON = {
    "invite": "invited a person",
    "disable": "ended a person’s access",
    "roles": "changed a person’s roles",
    "add-passkey": "added a passkey",
    "remove-passkey": "removed a passkey",
    "new-codes": "made new recovery codes",
}


@dataclass(frozen=True)
class Row:
    """A leaf as the table shows it. `name`: of the person, None when it is not known; `under`: MOU and version."""

    id: int
    event: str
    at: datetime
    kind: str
    what: str
    decision: str
    organisation: str | None
    person: str | None
    name: str | None
    client: str | None
    session: str | None
    purpose: str | None
    case: str | None
    owner: str | None
    under: list[tuple[str, int | None]]

    @property
    def who(self) -> str:
        """A name, or the id that stands for it."""
        return self.name or self.person or self.client or ("nobody known" if self.kind == "unauthenticated" else "the hub")


def row(entry: Entry, names: Mapping[UUID, Named]) -> Row:
    """`names`: of the people whom entries name, as far as they have one."""
    body, by = entry.body, entry.body.get("by", {})
    person = by.get("person")
    known = names.get(UUID(person)) if person else None
    return Row(
        entry.id,
        body["event"],
        datetime.fromisoformat(body["at"]),
        body["type"],
        what(body),
        body["decision"],
        by.get("organisation"),
        person,
        known.name if known else None,
        by.get("client"),
        by.get("session"),
        body.get("purpose"),
        body.get("case"),
        body.get("owner"),
        [(u["mou"], u.get("version")) for u in body.get("under", ())],
    )


def what(leaf: Leaf) -> str:
    """What was done, or tried, as the rest of a sentence whose subject is who did it."""
    kind, asked = leaf["type"], leaf.get("asked", {})
    if leaf["decision"] == "refuse" and kind != "unauthenticated":
        return f"was refused: {leaf.get('reason', 'no reason is given')}"
    if leaf["decision"] == "absent":
        return "asked for a record that is absent or not shared"
    part = f" (part {leaf['part']} of {leaf['parts']})" if leaf.get("parts", 1) > 1 else ""
    if kind in ("query", "export"):
        return _shown(leaf, kind, asked) + part
    if kind == "match":
        field = ", ".join(asked.get("fields", ()))
        count = revision_count(leaf)
        if asked.get("as") == "disclosed":
            return f"found {_records(leaf, count)} by a value of {field}{part}"
        return f"asked whether a value of {field} occurs ({_records(leaf, count)} compared){part}"
    if kind in ("publish", "withdraw"):
        verb = "published" if kind == "publish" else "withdrew"
        return f"{verb} {_records(leaf, revision_count(leaf))}{part}"
    if kind == "shred":
        ended = " whose retention had ended" if asked.get("because") == "retention" else ""
        return f"destroyed {_records(leaf, asked.get('records', 0))}{ended} for good{part}"
    return _other(kind, asked)


def _shown(leaf: Leaf, kind: str, asked: Leaf) -> str:
    count = revision_count(leaf)
    if count == 0:
        return f"looked for {_records(leaf, 2)[2:]}, found none"
    if kind == "export":
        return f"exported {_records(leaf, count)}"
    if "cells" in leaf.get("shown", {}):
        return f"saw counts of {_records(leaf, count)} on the map"
    if asked.get("as") == "map":
        return f"looked at {_records(leaf, count)} on the map"
    if "limit" not in asked and "id" in asked.get("fields", ()):
        return "opened one record"
    return f"listed {_records(leaf, count)}"


def _records(leaf: Leaf, count: int) -> str:
    many = leaf.get("dataset", "records")
    return f"{count:,} {many.removesuffix('s') if count == 1 else many}"


def _other(kind: str, asked: Leaf) -> str:
    if kind == "import":
        return next((words for member, words in IMPORTS.items() if asked.get(member)), "opened an import")
    if kind == "sign-in":
        how = {"unlock": "unlocked a session", "confirm": "confirmed who they are"}.get(asked.get("change", ""), "signed in")
        return f"{how} with {METHODS.get(asked.get('method', ''), 'an unknown method')}"
    if kind == "unauthenticated":
        counts = asked.get("counts", {})
        return f"{sum(counts.values()):,} failed in one minute: {', '.join(f'{n} {name}' for name, n in sorted(counts.items()))}"
    if kind == "hold":
        return "released a legal hold" if asked.get("released") else "placed a legal hold"
    if kind == "retention":
        months = asked.get("months")
        return f"set the retention of records to {months} months" if months else "took the retention rule of records away"
    if kind == "audit":
        return READINGS.get(asked.get("as", ""), "read the log")
    words = {"sign-out": "signed out", "token": "got an access token", "mou-loaded": "put an agreement in force"}
    if kind in STEPS:
        many, steps = STEPS[kind]
        return steps.get(asked.get("step", ""), many)
    if kind == "person":
        return PERSON.get(asked.get("change", ""), "changed a person")
    return words.get(kind, kind)


def treatment(word: str) -> str:
    """How a field was shown: `grid_m:500` as "500 m cells"."""
    name, _, value = word.partition(":")
    if name == "grid_m":
        return f"{value} m cells"
    if name == "round_to":
        return {"PT1H": "cut down to the hour", "P1D": "cut down to the day", "P1M": "cut down to the month"}.get(
            value, f"rounded to {value}"
        )
    if name == "bands":
        return f"in bands beginning at {value.replace('/', ', ')}"
    if name == "last":
        return f"its last {value} characters"
    return {"clear": "as it is", "exact": "exact"}.get(word, word)


def members(leaf: Leaf) -> list[tuple[str, str]]:
    """What a leaf says beside who and when, as pairs of a heading and a text."""
    asked, shown = leaf.get("asked", {}), leaf.get("shown", {})
    found = [
        ("What was asked about", _asked(asked)),
        ("Records it is about", f"{revision_count(leaf):,} (revisions of records)" if shown else ""),
        ("Fields and how they were shown", _fields(shown.get("fields", {}))),
        ("Agreements", "; ".join(_cited(u) for u in leaf.get("under", ()))),
        ("Tree hash of what was stored", shown.get("root", "")),
        ("Why it was refused", leaf.get("reason", "")),
    ]
    return [(name, text) for name, text in found if text]


def _asked(asked: Leaf) -> str:
    parts = []
    if "extent" in asked:
        west, south, east, north = asked["extent"]
        parts.append(f"the area from {west}, {south} to {east}, {north} (longitude, latitude)")
    if "from" in asked or "until" in asked:
        parts.append(f"the time from {asked.get('from', 'the beginning')} until {asked.get('until', 'now')}")
    if asked.get("fields"):
        parts.append(f"named: {', '.join(asked['fields'])}" + (" (values sealed)" if "literals" in asked else ""))
    rest = {k: v for k, v in asked.items() if k not in ("extent", "from", "until", "fields", "literals", "hash", "counts")}
    return "; ".join([*parts, *(f"{name}: {value}" for name, value in rest.items())])


def _fields(fields: Leaf) -> str:
    return "; ".join(f"{name}: {' or '.join(treatment(w) for w in str(words).split(','))}" for name, words in fields.items())


def _cited(under: Leaf) -> str:
    clauses = [f"{word} {', '.join(under[word])}" for word in ("grants", "refusals") if under.get(word)]
    return ", ".join([f"{under['mou']}, version {under.get('version', '?')}", *clauses])
