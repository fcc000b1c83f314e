"""The part of the OpenAPI document about flags (hub/api/flags.py)."""

from typing import Any

from hub.api.openapi_parts import JSON, many, operation, parameter, ref, secured
from hub.audit.flagged import MAX_NOTE, TRIAGED
from hub.audit.flags import DETECTORS, STATES

READ = (200, 400, 401, 403, 503)
TEXT: dict[str, Any] = {"type": "string"}


def flag_paths() -> dict[str, Any]:
    """Flags: their list, one of them, its triage."""
    number = parameter("id", "The flag's id", {"type": "integer"}, where="path")
    every = {"type": "object", "properties": {"links": many({"type": "object"}), "flags": many(ref("flag"))}}
    triage = {
        "type": "object",
        "required": ["state"],
        "properties": {"state": TEXT | {"enum": list(TRIAGED)}, "note": TEXT | {"maxLength": MAX_NOTE}},
    }
    found = operation("flags", "Accesses that somebody should look at: all for an auditor, else those to one's own data", JSON, READ, every)
    one = operation("flag", "One flag, with what was made of it", JSON, (*READ, 404), ref("flag"))
    step = operation("flag_triage", "Say what was made of a flag, and why", JSON, (*READ, 404, 413, 415), ref("flag"))
    return {
        "/audit/flags": {"get": secured(found, "audit", _parameters())},
        "/audit/flags/{id}": {"get": secured(one, "audit", [number])},
        "/audit/flags/{id}/triage": {
            "post": secured(step, "audit", [number]) | {"requestBody": {"required": True, "content": {JSON: {"schema": triage}}}}
        },
    }


def _parameters() -> list[dict[str, Any]]:
    return [
        parameter("state", "What was made of it so far.", TEXT | {"enum": list(STATES)}),
        parameter("kind", "What is unusual.", TEXT | {"enum": list(DETECTORS)}),
        parameter("owner", "Whose data it is about (slug); an owner may name itself alone.", TEXT),
        parameter("organisation", "Who was flagged: the organisation (slug).", TEXT),
        parameter("person", "Who was flagged: the id of a person; not together with `client`.", TEXT | {"format": "uuid"}),
        parameter("client", "Who was flagged: the id of a client.", TEXT),
        parameter("datetime", "When it was: a time, or from/until with `..` for an open end (RFC 3339).", TEXT),
        parameter("before", "Flags older than this one: follow the link `next`.", {"type": "integer"}),
        parameter("limit", "Flags on a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    ]


def flag_schema() -> dict[str, Any]:
    """A flag; with its history where one is asked for."""
    at, number = TEXT | {"format": "date-time"}, {"type": "integer"}
    step = {"state": TEXT | {"enum": list(TRIAGED)}, "note": TEXT, "organisation": TEXT, "person": TEXT, "client": TEXT, "at": at}
    return {
        "type": "object",
        "required": ["id", "kind", "state", "organisation", "at", "raised_at", "reason", "leaves"],
        "properties": {
            "id": number,
            "kind": TEXT | {"enum": list(DETECTORS)},
            "state": TEXT | {"enum": list(STATES)},
            "organisation": TEXT,
            "person": TEXT,
            "client": TEXT,
            "owner": TEXT | {"description": "Whose data its leaves are about; absent: they are in the hub's own log."},
            "at": at | {"description": "Of the last of its leaves."},
            "raised_at": at,
            "reason": TEXT,
            "leaves": many({"type": "object", "properties": {"id": number, "event": TEXT | {"format": "uuid"}}}),
            "history": many({"type": "object", "properties": step}),
        },
    }
