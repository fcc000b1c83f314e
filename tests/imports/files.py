"""Files that a partner might send, and the mappings that go with them."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

HEADER = "id,kind,when,lon,lat,story"
FIRST = datetime(2021, 3, 4, 13, 37, 11, tzinfo=UTC)

BY_ID: dict[str, Any] = {
    "dataset": "incidents",
    "format": "csv",
    "external_id": {"column": "id"},
    "place": {"lon": "lon", "lat": "lat"},
    "fields": {
        "category": {"column": "kind", "map": {"T": "theft", "F": "fire", "D": "drugs"}},
        "occurred_at": {"column": "when", "time": "iso"},
        "narrative": {"column": "story"},
    },
}
# Rows of the same kind, time and place are told apart by their order.
BY_HASH: dict[str, Any] = BY_ID | {
    "external_id": {"hash": ["kind", "when", "lon", "lat", "story"]},
    "drop": ["id"],
}


def mapping(**more: Any) -> dict[str, Any]:
    """BY_ID with other words."""
    return BY_ID | more


def row(n: int, name: str = "R", **cells: Any) -> str:
    """The n-th row; `cells` takes the place of a column's value."""
    values = {
        "id": f"{name}-{n}",
        "kind": "TFD"[n % 3],
        "when": (FIRST + timedelta(seconds=n)).isoformat(),
        "lon": f"{-79.6 + (n % 4999) / 10_000:.4f}",
        "lat": f"{43.6 + (n % 1999) / 10_000:.4f}",
        "story": f"{name} {n}",
    } | cells
    return ",".join(str(values[column]) for column in HEADER.split(","))


def csv(rows: Iterable[str], header: str = HEADER) -> bytes:
    return "".join(f"{line}\n" for line in (header, *rows)).encode()


def numbered(count: int, name: str = "R", **cells: Any) -> bytes:
    """A file of `count` good rows."""
    return csv(row(n, name, **cells) for n in range(count))


def features(found: Sequence[Mapping[str, Any]]) -> bytes:
    """GeoJSON features, one a line."""
    return b"".join(json.dumps(f).encode() + b"\n" for f in found)


def digest_of(file: bytes) -> str:
    return sha256(file).hexdigest()


def repr_digest(file: bytes) -> str:
    """The header field (RFC 9530 §3)."""
    return f"sha-256=:{b64encode(sha256(file).digest()).decode()}:"
