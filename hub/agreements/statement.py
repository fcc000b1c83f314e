"""What the parties of an agreement sign: RFC 8785 JSON that pins the file, its document, its boundaries, its parties and its period."""

from datetime import date
from hashlib import sha256
from typing import Any

import rfc8785

from hub.policy.mou import Mou


def statement(mou: Mou, document: bytes) -> bytes:
    """The statement of a version. `document` is what people read before they sign."""
    said: dict[str, Any] = {
        "v": 1,
        "mou": mou.mou,
        "version": mou.version,
        "sha256": mou.sha256,
        "document": sha256(document).hexdigest(),
        "boundaries": {name: pinned.sha256 for name, pinned in mou.jurisdictions.items()},
        "provider": mou.parties.provider,
        "consumer": mou.parties.consumer,
        "in_force": {"from": _day(mou.in_force.since), "until": _day(mou.in_force.until)},
    }
    return rfc8785.dumps(said | ({"supersedes": mou.supersedes} if mou.supersedes else {}))


def _day(day: date) -> str:
    return day.isoformat()
