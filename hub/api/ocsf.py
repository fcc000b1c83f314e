"""Leaves of the log under the names of the Open Cybersecurity Schema Framework (OCSF) 1.3.0, which many collectors of logs read.

Two classes of its category Application Activity: what was done with records is Datastore Activity, everything else API Activity. What
OCSF has no name for is in `unmapped`. Guide: docs/auditors.md.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hub import __version__

VERSION = "1.3.0"
CATEGORY, DATASTORE, API = 6, 6005, 6003
ACTIVITIES = {"query": 4, "export": 1, "match": 4, "publish": 5, "withdraw": 7, "shred": 7}  # Query, Read, Query, Write, Delete, Delete
READ, OTHER = 2, 99  # of API Activity
INFORMATIONAL = 1
SUCCESS, FAILURE = 1, 2
# Our column (hub/api/audit_csv.py) → the attribute.
NAMES = {
    "id": "metadata.sequence",
    "leaf_hash": "metadata.uid",
    "event": "metadata.correlation_uid",
    "type": "metadata.event_code",
    "at": "metadata.original_time",
    "decision": "status_code",
    "reason": "status_detail",
    "organisation": "actor.user.org.uid",
    "person": "actor.user.uid",
    "person_name": "actor.user.name",
    "client": "actor.app_uid",
    "session": "actor.session.uid",
    "from": "src_endpoint.ip",
    "dataset": "table.name",
}
FIXED = (
    "class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "status_id", "time", "api.operation", "metadata.version",
    "metadata.product.vendor_name", "metadata.product.name", "metadata.product.version", "actor.app_name", "src_endpoint.name",
)  # fmt: skip


def attribute(column: str) -> str:
    return NAMES.get(column, f"unmapped.{column}")


def attributes(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A leaf's cells by column, as the attributes of one event, dotted; empty ones are there with an empty text."""
    kind = cells["type"]
    of_records = kind in ACTIVITIES and bool(cells["dataset"])
    class_uid = DATASTORE if of_records else API
    activity = ACTIVITIES[kind] if of_records else READ if kind == "audit" else OTHER
    status = SUCCESS if cells["decision"] == "permit" else FAILURE
    event = (class_uid, CATEGORY, activity, class_uid * 100 + activity, INFORMATIONAL, status, _milliseconds(cells["at"]), kind)
    product = (VERSION, "Concord", "Concord", __version__)
    # OCSF wants somebody and somewhere in every event; what the hub did by itself has neither.
    stand_ins = ("" if cells["person"] or cells["client"] or cells["session"] else "hub", "" if cells["from"] else "hub")
    return dict(zip(FIXED, (*event, *product, *stand_ins), strict=True)) | {attribute(column): value for column, value in cells.items()}


def nested(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names taken apart, without what is empty."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if value != "":
            *outer, last = name.split(".")
            inner = found
            for part in outer:
                inner = inner.setdefault(part, {})
            inner[last] = value
    return found


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1_000)
