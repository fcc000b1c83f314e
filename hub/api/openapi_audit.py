"""The log in the OpenAPI document (hub/api/audit.py, hub/api/audit_files.py)."""

from typing import Any

from hub.api.audit_files import FORMS, NAMES
from hub.api.openapi_parts import JSON, operation, parameter, secured
from hub.audit.search import DECISIONS
from hub.audit.summary import COUNTED_BY

STATUSES = (200, 400, 401, 403, 404, 503)


def audit_paths() -> dict[str, Any]:
    """Leaves by pages, counted, and as files."""
    filters = _filters()
    pages = [
        parameter("before", "Leaves older than this one: follow the link `next`.", {"type": "integer"}),
        parameter("limit", "Leaves on a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    ]
    events = operation("auditEvents", "Leaves of the log: all for an auditor, else those about one's own data", JSON, STATUSES)
    summary = operation("auditSummary", "Leaves of the log, counted by who did it and for what", JSON, STATUSES, _summary())
    names = parameter("names", "How members are called: as the hub does, or as OCSF 1.3.0 does.", {"type": "string", "enum": list(NAMES)})
    return {
        "/audit/events": {"get": secured(events, "audit", [*filters, *pages])},
        "/audit/events/summary": {"get": secured(summary, "audit", filters)},
        **{f"/audit/events.{form}": {"get": secured(_file(form), "audit", [*filters, names])} for form in FORMS},
    }


def _file(form: str) -> dict[str, Any]:
    media_type = FORMS[form].media_type.partition(";")[0]
    does = f"Leaves of the log as {form.upper()}, all that the filters let through, newest first"
    return operation(f"auditEvents_{form}", does, media_type, STATUSES, {"type": "string"})


def _summary() -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "integer"}
    group = {"type": "object", "properties": {"value": text, "entries": number, "first": text, "last": text}}
    return {
        "type": "object",
        "required": ["entries", "complete", "back_to", "by"],
        "properties": {
            "entries": number,
            "complete": {"type": "boolean"},
            "back_to": {**text, "nullable": True},
            "by": {"type": "object", "properties": {name: {"type": "array", "items": group} for name in COUNTED_BY}},
        },
    }


def _filters() -> list[dict[str, Any]]:
    """What every reading of the log is narrowed by."""
    text = {"type": "string"}
    kinds = (
        "One kind, or several with commas between them: query, export, match, publish, withdraw, shred, hold, retention, import, token,"
        " sign-in, sign-out, person, refusal, mou, mou-loaded, duty, party-key, log, log-expiry, audit, flag, review, unauthenticated."
    )
    return [
        parameter("datetime", "A time, or from/until with `..` for an open end (RFC 3339).", text),
        parameter("organisation", "Who did it (slug).", text),
        parameter("person", "Who did it: the id of a person.", text | {"format": "uuid"}),
        parameter("client", "Who did it: the id of a client.", text),
        parameter("session", "In which session: the id of a person's, or of a client's token.", text),
        parameter("owner", "Whose data it was about (slug); an owner may name itself alone.", text),
        parameter("mou", "Under which MOU.", text),
        parameter("grant", "Under which grant: the MOU, `/` and the grant's id.", text),
        parameter("purpose", "For which purpose.", text),
        parameter("case", "With which case reference.", text),
        parameter("type", kinds, text),
        parameter("decision", "What was decided.", text | {"enum": list(DECISIONS)}),
        parameter("dataset", "Of which collection the records were.", text),
        parameter(
            "bbox",
            "Leaves that asked about an area touching this one: west, south, east, north in degrees (WGS 84).",
            {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
        ),
        parameter(
            "polygon",
            "Leaves that asked about an area touching this one: its corners, longitude and latitude in turn, in degrees (WGS 84).",
            {"type": "array", "minItems": 6, "maxItems": 200, "items": {"type": "number"}},
        ),
        parameter("placeless", "With `bbox` or `polygon`: also leaves that named no area.", {"type": "boolean", "default": False}),
        parameter("others", "Only what others did with an owner's data, not the owner itself.", {"type": "boolean", "default": False}),
        parameter("record", "The id of a record: leaves that stored or disclosed it.", text | {"format": "uuid"}),
    ]
