"""Agreements and duties in the OpenAPI document (hub/api/agreements.py, hub/api/duties.py)."""

from typing import Any

from hub.agreements.due import DUTIES
from hub.agreements.recalls import SIDES, STATES
from hub.api.agreements import PARTS, SCOPE
from hub.api.openapi_parts import GEOJSON, JSON, UUID_TEXT, many, operation, parameter, ref, request_body, secured

READ, LIST = (200, 400, 401, 403, 404, 503), (200, 400, 401, 403, 503)


def agreement_paths() -> dict[str, Any]:
    """Agreements and the steps of their life (hub/api/agreements.py)."""
    text: dict[str, Any] = {"type": "string"}
    named = [
        parameter("mou", "The agreement's name", text, where="path"),
        parameter("version", "Its version", {"type": "integer"}, where="path"),
    ]
    digest = parameter("sha256", "SHA-256 of the file, in hexadecimal", text, where="path")
    kid = parameter("kid", "RFC 7638 thumbprint of the key", text, where="path")
    part = parameter("part", "Its file, what people read, or what is signed", text | {"enum": list(PARTS)}, where="path")
    here = "/mous/{mou}/{version}"
    version, every = ref("agreement"), {"type": "object", "properties": {"mous": many(ref("agreement"))}}
    return {
        "/mous": {
            "get": _of("agreements", "Your agreements, every version, and what is due of it", LIST, [], body=every),
            "post": _write("agreement_draft", "Keep an MOU file as a draft", [], 201, body="application/yaml"),
        },
        "/mous/boundaries/{sha256}": {
            "put": _write("agreement_boundary", "Keep a boundary file that MOUs pin", [digest], 201, body=GEOJSON)
        },
        here: {"get": _of("agreement", "How a version stands, and what is due of it", READ, named, body=version)},
        f"{here}/diff": {"post": _write("agreement_diff", "What a version would change, worked out on the records there are", named)},
        **{f"{here}/{name}": {"post": _write(f"agreement_{name}", summary, named, *more)} for name, summary, *more in _STEPS},
        f"{here}/use": {
            "get": _of(
                "agreement_use",
                "What was read under a version, by grant, and a narrower version",
                READ,
                [
                    *named,
                    parameter("datetime", "The period, from/until with `..` for an open end (RFC 3339); the last year unless said.", text),
                ],
            )
        },
        f"{here}/{{part}}": {"get": _of("agreement_part", "A part of a version", READ, [*named, part])},
        "/party-keys": {
            "get": _of("party_keys", "Your keys for signatures", LIST, []),
            "post": _write("party_key_offer", "Offer a key for signatures; an operator confirms it", [], 201),
        },
        "/party-keys/{kid}/revocation": {"post": _write("party_key_revocation", "Revoke a key of your own", [kid])},
    }


def duty_paths() -> dict[str, Any]:
    """Recalls, what is held, attestations."""
    side = parameter(
        "as", "For which side: what one was given, or what others hold of one's own records.", {"type": "string", "enum": list(SIDES)}
    )
    state = parameter("state", "Which recalls; those that wait for an answer unless said.", {"type": "string", "enum": list(STATES)})
    after = parameter("after", "The last recall of the page before: up to 1,000 come at a time, those due first first.", UUID_TEXT)
    recall = parameter("id", "The recall's id", UUID_TEXT, where="path")
    return {
        "/recalls": {"get": _of("recalls", "Recalls of what was given under duties", LIST, [side, state, after])},
        "/recalls/{id}/acknowledgement": {"post": _write("recall_acknowledgement", "Answer a recall", [recall])},
        "/deliveries": {"get": _of("deliveries", "What was given under duties and is still held, by MOU", LIST, [side])},
        "/attestations": {"post": _write("attestation", "Attest that what was given under an MOU is destroyed", [])},
    }


def deliveries_path(name: str, record_id: dict[str, Any]) -> dict[str, Any]:
    """Who was given a record of this dataset."""
    found = _of(f"deliveries_{name}", "Each delivery of a record under duties, to you or of your own", READ, [record_id])
    return {f"/collections/{name}/items/{{id}}/deliveries": {"get": found}}


def _of(
    name: str, summary: str, statuses: tuple[int, ...], parameters: list[dict[str, Any]], media: str = JSON, body: Any = None
) -> dict[str, Any]:
    return secured(operation(name, summary, media, statuses, body), SCOPE, parameters)


def _write(name: str, summary: str, parameters: list[dict[str, Any]], *more: int, body: str = JSON) -> dict[str, Any]:
    found = _of(name, summary, (200, *more, 400, 401, 403, 404, 409, 413, 415, 422, 503), parameters)
    return found | request_body(body)


_STEPS: tuple[tuple[Any, ...], ...] = (
    ("proposal", "Fix a draft: its text and the document that people read"),
    ("signatures", "Sign: a detached JWS over the statement"),
    ("activation", "Bring a signed version into force; it names the effect that was looked at", 202),
    ("suspension", "From the next query on it gives nothing"),
    ("resumption", "Have a suspended version give again"),
    ("termination", "End it for good"),
    ("withdrawal", "Take a version back that is not in force yet"),
)


def agreement_schema() -> dict[str, Any]:
    """What is due of a version; the rest of it explains itself."""

    def day(description: str) -> dict[str, Any]:
        return {"type": "string", "format": "date", "nullable": True, "description": description}

    duty = {"type": "string", "enum": list(DUTIES)}
    renewal = {"version": {"type": "integer"}, "state": {"type": "string"}}
    return {
        "type": "object",
        "description": "One version. Its days are UTC's, and null while it is neither in force nor suspended.",
        "properties": {
            "due": many(duty) | {"description": "What its parties should see to now: its renewal, its review."},
            "notice_from": day("The day from which its renewal is due; null where no notice was agreed."),
            "renew_by": day("Its last day in force: what it shares stops then, unless a new version is in force."),
            "review_by": day("The last day for its review; it stays in force all the same."),
            "renewal": {
                "type": "object",
                "nullable": True,
                "properties": renewal,
                "description": "The next version, proposed or further, that goes on for longer: with one, no renewal is due.",
            },
        },
    }
