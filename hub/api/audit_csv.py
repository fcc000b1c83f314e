"""Leaves of the log as rows of cells, and as CSV (RFC 4180): UTF-8 with a byte order mark, without which spreadsheets misread it.

A cell that a spreadsheet would take for a formula gets an apostrophe before it, and every cell is quoted (the way that OWASP describes
under "CSV Injection"). Numbers of the hub's own, such as a western longitude, are left as they are.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from hub.audit.leaf import revision_count
from hub.audit.log import Entry
from hub.identity.people import Named

COLUMNS = (
    "id", "at", "event", "part", "parts", "type", "decision", "organisation", "person", "person_name", "client", "session", "from",
    "purpose", "case", "owner", "dataset", "under", "records", "west", "south", "east", "north", "asked_from", "asked_until",
    "asked_fields", "fields", "reason", "leaf_hash",
)  # fmt: skip
BYTE_ORDER_MARK = "\ufeff"
# The last four are the full-width forms, which some spreadsheets read like the plain ones.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def people_in(entries: Iterable[Entry]) -> set[UUID]:
    """The ids of the people whom entries name as the ones who did it."""
    return {UUID(person) for e in entries if (person := e.body.get("by", {}).get("person"))}


def header(columns: Iterable[str] = COLUMNS) -> str:
    return BYTE_ORDER_MARK + lines([columns])


def defused(value: str) -> str:
    """`value` as a spreadsheet shows it and doesn't run it, whatever blanks come before."""
    return f"'{value}" if value.startswith(FORMULA) or value.lstrip().startswith(FORMULA) else value


def lines(rows: Iterable[Iterable[str | float]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([defused(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return out.getvalue()


def cells(entry: Entry, names: Mapping[UUID, Named]) -> list[str | float]:
    """One for each of COLUMNS. `names`: of the people whom entries name."""
    leaf: Mapping[str, Any] = entry.body
    by, asked, shown = leaf.get("by", {}), leaf.get("asked", {}), leaf.get("shown", {})
    person = by.get("person")
    name = names.get(UUID(person)) if person else None
    return [
        entry.id, leaf["at"], leaf["event"], leaf["part"], leaf["parts"], leaf["type"], leaf["decision"],
        by.get("organisation", ""), by.get("person", ""), name.name if name else "", by.get("client", ""), by.get("session", ""),
        by.get("from", ""), leaf.get("purpose", ""), leaf.get("case", ""), leaf.get("owner", ""), leaf.get("dataset", ""),
        "; ".join(f"{u['mou']} version {u.get('version', '?')}" for u in leaf.get("under", ())), revision_count(leaf),
        *asked.get("extent", ("",) * 4), asked.get("from", ""), asked.get("until", ""), ", ".join(asked.get("fields", ())),
        "; ".join(f"{field}: {words}" for field, words in shown.get("fields", {}).items()), leaf.get("reason", ""), entry.hash,
    ]  # fmt: skip
