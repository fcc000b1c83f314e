"""Use it or lose it: which grants, fields and categories of an agreement were read in a period, from the log; and a narrower next version.

A field counts as read under a grant when an access that cites the grant showed it: so what is said to be unused was shown by no access at
all. Categories are those of the records that such accesses showed, as they are now: of the provider's own records, and told to it alone,
because the consumer may have been shown the record and not its category.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from difflib import unified_diff
from typing import Any

from pyroaring import BitMap64
from sqlalchemy import Engine

from hub.agreements.next_version import next_version
from hub.audit.leaf import TESTED, instant, revisions_in
from hub.audit.log import Log, Search
from hub.db import transaction
from hub.policy.clauses import Grant, Window
from hub.policy.conditions import OneOf, Within
from hub.policy.mou import Mou
from hub.records import WINDOW_FIELD

MOST = 20_000  # accesses looked at; the newest
RECORDS = 200_000  # of which categories are counted
KINDS = ("query", "export", "match")


@dataclass
class _Read:
    accesses: int = 0
    records: int = 0
    last: str | None = None
    fields: set[str] = field(default_factory=set)
    revisions: BitMap64 = field(default_factory=BitMap64)
    categories: Counter[str] = field(default_factory=Counter)


def used(log: Log, engine: Engine, mou: Mou, since: datetime, until: datetime, owner: bool) -> dict[str, Any]:
    """What was read under each grant of a version, as JSON. `engine` is that of hub_agreements; `owner`: the provider asks, not the
    consumer.
    """
    reads = {grant.id: _Read() for grant in mou.grants}
    leaves = [leaf for kind in KINDS for leaf in _leaves(log, mou, kind, since, until)]
    for leaf in leaves:
        for cited in leaf.get("under", ()):
            if (cited["mou"], cited["version"]) == (mou.mou, mou.version):
                for name in cited["grants"]:
                    _add(reads[name], leaf)
    for grant in mou.grants if owner else ():
        reads[grant.id].categories = _categories(engine, grant.dataset, reads[grant.id].revisions)
    return {
        "mou": mou.mou,
        "version": mou.version,
        "from": instant(since),
        "until": instant(until),
        "complete": len(leaves) < MOST,
        "grants": [_told(grant, reads[grant.id], owner) for grant in mou.grants],
        "narrower": narrower(mou, reads),
    }


def _leaves(log: Log, mou: Mou, kind: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    search = Search(owner=mou.parties.provider, mou=mou.mou, type=kind, decision="permit", since=since, until=until, limit=MOST)
    # What was merely tested doesn't count: how many records share a tag with a value is not the consumer's to know.
    return [entry.body for entry in log.find(search) if TESTED not in entry.body.get("shown", {}).get("fields", {}).values()]


def _add(read: _Read, leaf: dict[str, Any]) -> None:
    shown = leaf.get("shown", {})
    read.accesses += 1
    read.records += shown.get("count", 0)
    read.last = max(read.last or "", leaf["at"])
    read.fields |= set(shown.get("fields", ()))
    if "revisions" in shown and len(read.revisions) < RECORDS:
        read.revisions |= revisions_in(shown["revisions"])


def _categories(engine: Engine, dataset: str, revisions: BitMap64) -> Counter[str]:
    with transaction(engine) as tx:
        rows = tx.rows(f"select category, count(*) from hub.{dataset} where revision_no = any(%s) group by 1", (list(revisions),))
    return Counter(dict(rows))


def _told(grant: Grant, read: _Read, owner: bool) -> dict[str, Any]:
    granted = {name for name, treatment in grant.fields.items() if treatment.shows}
    said = {
        "grant": grant.id,
        "accesses": read.accesses,
        "records": read.records,
        "last": read.last,
        "fields_read": sorted(read.fields & granted),
        "fields_unread": sorted(granted - read.fields),
    }
    return said | ({"categories": dict(sorted(read.categories.items()))} if owner else {})


def narrower(mou: Mou, reads: dict[str, _Read]) -> dict[str, str] | None:
    """The next version without what nobody read: its file, and a unified diff of it; None: everything was read, or nothing at all."""
    if all(not read.accesses for read in reads.values()):
        return None
    dropped = False

    def change(data: Any) -> None:
        nonlocal dropped
        used = [(grant, node) for grant, node in zip(mou.grants, data["grants"], strict=True) if reads[grant.id].accesses]
        narrowed = [_narrow(grant, node, reads[grant.id]) for grant, node in used]
        data["grants"] = [node for _, node in used]
        dropped = any(narrowed) or len(used) < len(mou.grants)

    before, after = next_version(mou, change)
    if not dropped:
        return None
    names = (f"{mou.mou} version {mou.version}", f"{mou.mou} version {mou.version + 1}")
    return {"file": after, "diff": "".join(unified_diff(before.splitlines(True), after.splitlines(True), *names))}


def _narrow(grant: Grant, node: Any, read: _Read) -> bool:
    """Takes out of a grant what nobody read, but for what its conditions and its window test; whether there was anything."""
    needed = {c.field for c in grant.where if isinstance(c, Within)} | ({WINDOW_FIELD} if grant.occurred != Window() else set())
    unread = [name for name in node["fields"] if name not in read.fields | needed]
    for name in unread:
        del node["fields"][name]
    narrowed = bool(unread)
    for condition, said in zip(grant.where, node["where"] if grant.where else (), strict=True):
        if isinstance(condition, OneOf) and condition.field == "category" and len(read.revisions) < RECORDS:
            kept = [value for value in said["one_of"] if value in read.categories]
            if kept and len(kept) < len(said["one_of"]):
                said["one_of"], narrowed = kept, True
    return narrowed
