"""The figures of a period, from the log and the flags as they are in the database."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from hub.audit.bundle import GIVING
from hub.audit.figures import text_of
from hub.audit.flagged import SELECT, Flagged
from hub.audit.leaf import instant
from hub.db import Transaction

AT_ONCE = 5_000
_LEAVES = """
select at, id, leaf from hub.audit_leaves
where at >= %(since)s and at < %(until)s and (at, id) > (%(at)s, %(id)s) and type = any(%(kinds)s) and terms @> %(terms)s::text[]
order by at, id limit %(most)s"""


def gathered(tx: Transaction, scope: Mapping[str, str], since: datetime, until: datetime) -> str:
    """The figures of a period, its end not included, as canonical JSON."""
    return text_of(scope, instant(since), instant(until), _leaves(tx, scope, since, until), _flags(tx, scope, since, until))


def _leaves(tx: Transaction, scope: Mapping[str, str], since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """Every leaf of the period that may have given something, page by page."""
    terms = [f"{name}:{value}" for name, value in scope.items()] + ["decision:permit"]
    asked = {"since": since, "until": until, "kinds": list(GIVING), "terms": terms, "most": AT_ONCE}
    at, number = since, 0
    while True:
        rows = tx.rows(_LEAVES, asked | {"at": at, "id": number})
        yield from (json.loads(text) for _, _, text in rows)
        if len(rows) < AT_ONCE:
            return
        at, number, _ = rows[-1]


def _flags(tx: Transaction, scope: Mapping[str, str], since: datetime, until: datetime) -> list[dict[str, Any]]:
    """The flags of the period; where the review is narrowed to an owner or an organisation, of that."""
    tests = ["f.at >= %(since)s", "f.at < %(until)s", *(f"f.{name} = %({name})s" for name in ("owner", "organisation") if name in scope)]
    rows = tx.rows(f"{SELECT} where {' and '.join(tests)} order by f.id", {"since": since, "until": until, **scope})
    return [Flagged(*row).told() for row in rows]
