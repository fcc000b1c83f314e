"""A signed access review as a PDF: figures, what was decided about each line, who signed when, and the SHA-256 of what it was made from.

It is made from the two texts that the run keeps, and says names beside ids as the hub knows them today: the same texts and names give the
same bytes.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hub.audit.periods import named
from hub.audit.review import Run
from hub.errors import Conflict
from hub.paper import Facts, Paper

DECISIONS = {"in-order": "in order", "question": "a question", "revoke": "to be revoked"}
SCOPES = {
    "organisation": "Organisation that looked",
    "owner": "Whose data",
    "mou": "Agreement",
    "purpose": "Purpose",
    "dataset": "Collection",
}


def render(run: Run, people: Mapping[str, str]) -> bytes:
    """The document. `people`: names by id, as far as they are known.

    Raises:
        Conflict: it is not signed off yet.
    """
    if run.signed is None or run.signed_at is None:
        raise Conflict("There is a document once the review is signed off.")
    signed = json.loads(run.signed)
    review = signed["review"]
    period = named(run.since, review["every"])
    paper = Paper(f"{review['title']}, {period}   ·   SHA-256 {(run.signed_sha256 or '')[:16]}…")
    paper.set_creation_date(run.signed_at)
    paper.set_title(f"{review['title']}: {period}")
    paper.set_creator("Concord")
    paper.say(review["title"], 18, "B", 2)
    paper.say(f"Access review: {period}", 11, space=3)
    paper.facts(_whole(run, signed, people))
    decided = {d["line"]: d for d in signed["decisions"]}
    for line in run.lines:
        paper.heading(f"Line {line['line']}: {DECISIONS[decided[line['line']]['decision']]}")
        paper.facts(_line(line, decided[line["line"]], people))
    _fixed(paper, run)
    return bytes(paper.output())


def _whole(run: Run, signed: Mapping[str, Any], people: Mapping[str, str]) -> Facts:
    lines, review, by = run.lines, signed["review"], signed["signed"]
    counts = Counter(d["decision"] for d in signed["decisions"])
    late = " (after that)" if run.signed_at and run.signed_at > run.due_at else ""
    return [
        ("Reviewed by", review["organisation"]),
        ("Period", f"{_at(signed['from'])} until before {_at(signed['until'])}"),
        ("Of what", [f"{SCOPES[name]}: {value}" for name, value in sorted(review["scope"].items())] or "all shared data"),
        ("Who used it", f"{len(lines)} lines: one for each person or client, owner, purpose and set of grants"),
        ("Accesses", f"{sum(line['accesses'] for line in lines):,}"),
        ("Records given", f"{sum(line['records'] for line in lines):,}"),
        ("Flags", str(len({flag["id"] for line in lines for flag in line["flags"]}))),
        ("Decided", [f"{word}: {counts[key]}" for key, word in DECISIONS.items()]),
        ("Signed off by", f"{_who(by['person'], people)}, {by['organisation']}"),
        ("Signed off at", f"{_at(by['at'])}; due {_at(signed['due'])}{late}"),
    ]


def _line(line: Mapping[str, Any], decision: Mapping[str, Any], people: Mapping[str, str]) -> Facts:
    who = _who(line["person"], people) if "person" in line else f"client {line['client']}"
    used = f"{line['accesses']:,} accesses, {line['exports']:,} of them exports"
    given = f"{line['records']:,} records given, {line['revisions']:,} different revisions"
    facts = [
        ("Who", f"{who}, {line['organisation']}"),
        ("Whose data", ", ".join(line[name] for name in ("owner", "dataset") if name in line) or "none"),
        ("Purpose", line.get("purpose", "none")),
        ("Under", [f"{u['mou']}, version {u['version']}: {', '.join(u['grants'])}" for u in line["under"]] or "nothing was given"),
        ("How much", f"{used}; {given}" if line["accesses"] else "nothing was given"),
        *([("When", f"{_at(line['first'])} to {_at(line['last'])}")] if "first" in line else []),
        ("Flags", [f"{flag['id']} ({flag['kind']}): {flag['reason']}" for flag in line["flags"]] or "none"),
        ("Decision", DECISIONS[decision["decision"]]),
        *([("Note", decision["note"])] if decision["note"] else []),
        ("Decided by", f"{_who(decision['person'], people)}, {_at(decision['at'])}"),
    ]
    return facts


def _fixed(paper: Paper, run: Run) -> None:
    """What it was made from, by which it can be verified."""
    paper.heading("What this was made from")
    paper.say(
        "The figures follow from the log: made from it again they have the same SHA-256. The log has both in the entry of the signature."
    )
    paper.facts(
        [("SHA-256 of the figures", run.figures_sha256), ("SHA-256 of what was signed", run.signed_sha256 or ""), ("Run", str(run.id))]
    )


def _who(id: str, people: Mapping[str, str]) -> str:
    return f"{people[id]} ({id})" if id in people else id


def _at(text: str) -> str:
    """A time of a leaf, in words."""
    return f"{datetime.fromisoformat(text):%-d %B %Y, %H:%M} UTC"
