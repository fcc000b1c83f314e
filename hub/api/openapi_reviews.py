"""The part of the OpenAPI document about access reviews (hub/api/reviews.py)."""

from typing import Any

from hub.api.openapi_parts import JSON, UUID_TEXT, many, operation, parameter, ref, secured
from hub.audit.figures import SCOPES
from hub.audit.periods import MONTHS
from hub.audit.reviews import DECISIONS

READ = (200, 400, 401, 403, 503)
TEXT: dict[str, Any] = {"type": "string"}
NUMBER, AT = {"type": "integer"}, TEXT | {"format": "date-time"}
SHA256 = TEXT | {"pattern": "^[0-9a-f]{64}$"}


def review_paths() -> dict[str, Any]:
    """Access reviews: the runs, one of them, its PDF."""
    number = parameter("run", "The run's id", UUID_TEXT, where="path")
    every = {"type": "object", "required": ["runs"], "properties": {"runs": many(ref("review_run"))}}
    listed = operation("reviews", "The runs of your organisation's access reviews, those that are due last first", JSON, READ, every)
    one = operation("review", "One run, with its figures and what was decided", JSON, (*READ, 404), ref("review_run"))
    paper = operation("review_pdf", "A run that is signed off, on paper", "application/pdf", (*READ, 404, 409), TEXT | {"format": "binary"})
    return {
        "/audit/reviews": {"get": secured(listed, "audit", [])},
        "/audit/reviews/{run}": {"get": secured(one, "audit", [number])},
        "/audit/reviews/{run}/review.pdf": {"get": secured(paper, "audit", [number])},
    }


def run_schema() -> dict[str, Any]:
    """A run; its figures, decisions and what was signed where one is asked for."""
    scope = {"type": "object", "properties": dict.fromkeys(SCOPES, TEXT)}
    review = {"id": UUID_TEXT, "title": TEXT, "scope": scope, "every": TEXT | {"enum": list(MONTHS)}}
    decision = {"line": NUMBER, "decision": TEXT | {"enum": list(DECISIONS)}, "note": TEXT, "person": UUID_TEXT, "at": AT}
    canonical = "Written as canonical JSON (RFC 8785) it has the SHA-256 beside it, which the log has too."
    return {
        "type": "object",
        "required": ["id", "review", "from", "until", "due_at", "assignee", "lines", "decided", "overdue"],
        "properties": {
            "id": UUID_TEXT,
            "review": {"type": "object", "properties": review},
            "from": AT,
            "until": AT | {"description": "Not included."},
            "opened_at": AT,
            "due_at": AT,
            "assignee": UUID_TEXT | {"description": "The person who decides about it and signs it off."},
            "lines": NUMBER,
            "decided": NUMBER | {"description": "Lines about which something was decided."},
            "overdue": {"type": "boolean"},
            "signed_at": AT | {"description": "Absent: it is not signed off."},
            "figures": {"type": "object", "description": f"Who used the data, and how much. {canonical}"},
            "figures_sha256": SHA256,
            "decisions": many({"type": "object", "properties": decision}),
            "signed": {"type": "object", "description": f"What was signed off. {canonical}"},
            "signed_sha256": SHA256,
        },
    }
