"""Texts of leaves for tests that put them into the log themselves."""

import json
from datetime import datetime
from typing import Any

from hub.audit.leaf import instant


def leaf_text(event: object, type_: str, at: datetime, *, owner: str | None = None, organisation: str | None = None, **more: Any) -> str:
    """One that `hub.audit_append` takes, if it is filed under the same."""
    by = {} if organisation is None else {"organisation": organisation}
    owned = {} if owner is None else {"owner": owner}
    body = {"v": 1, "event": str(event), "part": 1, "parts": 1, "type": type_, "at": instant(at), "by": by, "decision": "permit"}
    return json.dumps(body | owned | more, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
