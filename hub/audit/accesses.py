"""What a leaf says of an access: who asked, about what, and how much was given. Pure: flags and reviews are made of this alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.audit.bundle import GIVING
from hub.audit.leaf import TESTED
from hub.geo import Box

KINDS = (*GIVING, "refusal")
"""A refusal is that of a token or a role."""


@dataclass(frozen=True, slots=True)
class Access:
    """One part of a leaf about an access. `leaf`: its number in the log; `subject`: `person:` or `client:` and the id; `owner` None: the
    hub's own log, where all is that gave nothing; `records`: how many were given, each by its revision; `first`: not a further part.
    """

    leaf: int
    event: str
    at: datetime
    organisation: str
    subject: str
    owner: str | None
    kind: str
    decision: str
    purpose: str | None
    extent: Box | None
    records: int
    first: bool


def access_of(number: int, body: Mapping[str, Any]) -> Access | None:
    """The access that a parsed leaf is about; None: it is about something else, or nobody known did it."""
    by, asked = body.get("by", {}), body.get("asked", {})
    subject = subject_of(by)
    if body["type"] not in KINDS or subject is None or "organisation" not in by:
        return None
    return Access(
        number,
        body["event"],
        datetime.fromisoformat(body["at"]),
        by["organisation"],
        subject,
        body.get("owner"),
        body["type"],
        body["decision"],
        body.get("purpose"),
        Box(*asked["extent"]) if "extent" in asked else None,
        given(body),
        body["part"] == 1,
    )


def subject_of(by: Mapping[str, Any]) -> str | None:
    """Who did it, as the terms of a leaf name them: a person before the program."""
    return next((f"{kind}:{by[kind]}" for kind in ("person", "client") if kind in by), None)


def given(body: Mapping[str, Any]) -> int:
    """How many records a leaf says were given. What was merely counted or compared was not."""
    shown = body.get("shown", {})
    compared = TESTED in shown.get("fields", {}).values()
    return shown["count"] if body["type"] in GIVING and "revisions" in shown and not compared else 0
