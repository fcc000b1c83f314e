"""The OpenAPI document, from the catalogue. It is OpenAPI 3.0: desktop GIS read no newer one, and look for literal paths."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub import __version__
from hub.agreements.due import DUTIES
from hub.api.agreements import PARTS, SCOPE
from hub.api.services import READ, Services, services
from hub.audit.search import DECISIONS
from hub.records import Record
from hub.sharing.imports import OUTCOMES
from hub.sharing.statements import filterable

GEOJSON = "application/geo+json"
JSON = "application/json"
UUID_TEXT = {"type": "string", "format": "uuid"}
WRITE_BARE = (200, 400, 401, 403, 409, 413, 415, 422, 503)
WRITE = (201, *WRITE_BARE)
MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"
_PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}},
}


def api(request: Request) -> Response:
    """The OpenAPI document."""
    return Response(orjson.dumps(document(services(request))), 200, {"Cache-Control": "no-store"}, MEDIA_TYPE)


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/api", api, methods=READ)
    return routes


def document(called: Services) -> dict[str, Any]:
    """The whole document: every path that the hub answers."""
    paths: dict[str, Any] = {
        "/": {"get": _operation("landing", "Where everything is")},
        "/conformance": {"get": _operation("conformance", "Conformance classes")},
        "/api": {"get": _operation("api", "This document", MEDIA_TYPE)},
        "/collections": {"get": _operation("collections", "The collections")},
        "/oauth/token": {"post": _token()},
        "/oauth/jwks": {"get": _operation("jwks", "The hub's public signing key")},
        "/.well-known/oauth-authorization-server": {"get": _operation("metadata", "Authorization server metadata (RFC 8414)")},
        "/audit/events": {
            "get": _secured(
                _operation(
                    "auditEvents",
                    "Leaves of the log: all for an auditor, else those about one's own data",
                    statuses=(200, 400, 401, 403, 404, 503),
                ),
                "audit",
                _audit_parameters(),
            )
        },
        "/healthz": {"get": _operation("healthz", "The process runs")},
        "/readyz": {"get": _operation("readyz", "The databases answer", statuses=(200, 503))},
    }
    paths |= _agreement_paths()
    for name, shared in called.datasets.items():
        paths |= _dataset_paths(name, shared.dataset, called.settings.page_limit)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Concord",
            "version": __version__,
            "description": "Incident reports that partners share under their agreements.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "servers": [{"url": called.settings.base_url}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "oauth": {
                    "type": "oauth2",
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": f"{called.settings.base_url}/oauth/token",
                            "scopes": {
                                "publish": "Publish records",
                                "query": "Read what is shared",
                                "audit": "Read the log",
                                "agreements": "Act for a party of agreements",
                            },
                        }
                    },
                }
            },
        },
    }


def _dataset_paths(name: str, dataset: type[Record], max_limit: int) -> dict[str, Any]:
    record_id = _parameter("id", "The record's id", UUID_TEXT, where="path")
    read, once = (200, 400, 401, 403, 503), [_header("Idempotency-Key", "Carried out once: the same key and request get the same answer.")]
    match = _header("If-Match", "The revision to change, as an entity tag, or `*` (RFC 9110).")
    post = _secured(
        _operation(f"publish_{name}", "Publish a Feature or FeatureCollection: all of it lands, or nothing", statuses=WRITE),
        "publish",
        once,
    )
    put = _operation(f"replace_{name}", "Publish the next revision of a record of one's own", statuses=(*WRITE, 404, 412, 428))
    delete = _operation(f"withdraw_{name}", "Take a record of one's own back", statuses=(*WRITE_BARE, 404, 412, 428))
    return {
        f"/collections/{name}": {"get": _operation(f"describe_{name}", f"The collection {name}")},
        f"/collections/{name}/items": {
            "get": _secured(
                _operation(f"items_{name}", "A page of the records that are shared with you", GEOJSON, read),
                "query",
                _items_parameters(dataset, max_limit),
            ),
            "post": post | _body(GEOJSON),
        },
        f"/collections/{name}/items/{{id}}": {
            "get": _secured(_operation(f"item_{name}", "One record", GEOJSON, (*read, 404)), "query", [record_id]),
            "put": _secured(put, "publish", [record_id, match, *once]) | _body(GEOJSON),
            "delete": _secured(delete, "publish", [record_id, match, *once]),
        },
        **_map_paths(name, dataset),
        **_import_paths(name),
    }


def _agreement_paths() -> dict[str, Any]:
    """Agreements and the steps of their life (hub/api/agreements.py)."""
    text: dict[str, Any] = {"type": "string"}
    named = [
        _parameter("mou", "The agreement's name", text, where="path"),
        _parameter("version", "Its version", {"type": "integer"}, where="path"),
    ]
    digest = _parameter("sha256", "SHA-256 of the file, in hexadecimal", text, where="path")
    kid = _parameter("kid", "RFC 7638 thumbprint of the key", text, where="path")
    part = _parameter("part", "Its file, what people read, or what is signed", text | {"enum": list(PARTS)}, where="path")
    read = (200, 400, 401, 403, 404, 503)

    def of(
        name: str, summary: str, statuses: tuple[int, ...], parameters: list[dict[str, Any]], media: str = JSON, body: Any = None
    ) -> dict[str, Any]:
        return _secured(_operation(name, summary, media, statuses, body), SCOPE, parameters)

    def write(name: str, summary: str, parameters: list[dict[str, Any]], *more: int, body: str = JSON) -> dict[str, Any]:
        found = of(name, summary, (200, *more, 400, 401, 403, 404, 409, 413, 415, 422, 503), parameters)
        return found | _body(body)

    here = "/mous/{mou}/{version}"
    version, every = _ref("agreement"), {"type": "object", "properties": {"mous": {"type": "array", "items": _ref("agreement")}}}
    return {
        "/mous": {
            "get": of("agreements", "Your agreements, every version, and what is due of it", (200, 400, 401, 403, 503), [], body=every),
            "post": write("agreement_draft", "Keep an MOU file as a draft", [], 201, body="application/yaml"),
        },
        "/mous/boundaries/{sha256}": {
            "put": write("agreement_boundary", "Keep a boundary file that MOUs pin", [digest], 201, body=GEOJSON)
        },
        here: {"get": of("agreement", "How a version stands, and what is due of it", read, named, body=version)},
        f"{here}/diff": {"post": write("agreement_diff", "What a version would change, worked out on the records there are", named)},
        **{f"{here}/{name}": {"post": write(f"agreement_{name}", summary, named, *more)} for name, summary, *more in _STEPS},
        f"{here}/use": {
            "get": of(
                "agreement_use",
                "What was read under a version, by grant, and a narrower version",
                read,
                [
                    *named,
                    _parameter("datetime", "The period, from/until with `..` for an open end (RFC 3339); the last year unless said.", text),
                ],
            )
        },
        f"{here}/{{part}}": {"get": of("agreement_part", "A part of a version", read, [*named, part])},
        "/party-keys": {
            "get": of("party_keys", "Your keys for signatures", (200, 400, 401, 403, 503), []),
            "post": write("party_key_offer", "Offer a key for signatures; an operator confirms it", [], 201),
        },
        "/party-keys/{kid}/revocation": {"post": write("party_key_revocation", "Revoke a key of your own", [kid])},
    }


_STEPS: tuple[tuple[Any, ...], ...] = (
    ("proposal", "Fix a draft: its text and the document that people read"),
    ("signatures", "Sign: a detached JWS over the statement"),
    ("activation", "Bring a signed version into force; it names the effect that was looked at", 202),
    ("suspension", "From the next query on it gives nothing"),
    ("resumption", "Have a suspended version give again"),
    ("termination", "End it for good"),
    ("withdrawal", "Take a version back that is not in force yet"),
)


def _map_paths(name: str, dataset: type[Record]) -> dict[str, Any]:
    """What maps ask for (hub/api/maps.py)."""
    statuses = (200, 400, 401, 403, 503)
    filters = [p | {"required": p["name"] == "bbox"} for p in _items_parameters(dataset, 1) if p["name"] not in ("limit", "cursor")]
    area = _operation(f"map_{name}", "An area: up to 10,000 records at their released places, else counts per cell", JSON, statuses)
    why = _operation(f"explain_{name}", "One record, how each field is released and under which agreements", JSON, (*statuses, 404))
    trace = _operation(
        f"trace_{name}", "One record of your own: who gets it, under which clauses, and why others don't", JSON, (*statuses, 404)
    )
    return {
        f"/collections/{name}/items/{{id}}/trace": {
            "get": _secured(trace, "audit", [_parameter("id", "The record's id", UUID_TEXT, where="path")])
        },
        f"/collections/{name}/map": {"get": _secured(area, "query", filters)},
        f"/collections/{name}/items/{{id}}/explain": {
            "get": _secured(why, "query", [_parameter("id", "The record's id", UUID_TEXT, where="path")])
        },
    }


def _import_paths(name: str) -> dict[str, Any]:
    """Imports of whole files (hub/api/imports.py)."""
    import_id, here = _parameter("id", "The import's id", UUID_TEXT, where="path"), f"/collections/{name}/imports"
    once = [_header("Idempotency-Key", "Carried out once: the same key and request get the same answer.")]
    outcome = {"type": "string", "enum": list(OUTCOMES.values())}
    part = [
        _header("Upload-Offset", "Where in the file this part begins, in bytes."),
        _header("Upload-Complete", "?1: the file ends with this part; ?0: more follows. Needed where no length was announced."),
        _header("Repr-Digest", "The whole file's SHA-256, `sha-256=:…:` (RFC 9530). Needed to go on."),
    ]

    def of(statuses: tuple[int, ...], operation: str, summary: str, parameters: list[dict[str, Any]], media: str = JSON) -> dict[str, Any]:
        return _secured(_operation(f"{operation}_{name}", summary, media, (200, 400, 401, 403, 503, *statuses)), "publish", parameters)

    return {
        here: {
            "get": of((), "imports", "Your imports, newest first", []),
            "post": of((201, 409, 413, 415, 422), "import", "Open an import of a file, or go on with the one that is open for it", once)
            | _body(JSON),
        },
        f"{here}/{{id}}": {
            "get": of((404,), "import_state", "How an import stands", [import_id]),
            "patch": of((404, 409, 415, 422), "import_part", "Send the next part of the file", [import_id, *part])
            | _body("application/octet-stream"),
            "delete": of((404, 409), "import_cancel", "Cancel an import; what landed stays", [import_id, *once]),
        },
        f"{here}/{{id}}/verdicts": {
            "get": of(
                (404,),
                "import_verdicts",
                "The verdict of each row, one JSON object a line",
                [import_id, _parameter("outcome", "Only rows with this outcome.", outcome)],
                "application/x-ndjson",
            ),
        },
    }


def _body(media: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media: {"schema": {"type": "object"}}}}}


def _operation(
    name: str, summary: str, media: str = "application/json", statuses: tuple[int, ...] = (200, 400), body: Any = None
) -> dict[str, Any]:
    """`body`: the schema of a good answer, where more is to be said than that it is an object."""
    good = {"description": summary, "content": {media: {"schema": body or {"type": "object"}}}}
    return {"operationId": name, "summary": summary, "responses": {str(s): good if s < 300 else _PROBLEM for s in statuses}}


def _secured(operation: dict[str, Any], scope: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return operation | {"security": [{"oauth": [scope]}], "parameters": parameters}


def _token() -> dict[str, Any]:
    members = {name: {"type": "string"} for name in ("grant_type", "client_assertion_type", "client_assertion", "scope", "purpose", "case")}
    form = {"schema": {"type": "object", "properties": members, "required": list(members)[:3]}}
    return _operation("token", "An access token (client credentials, private_key_jwt)", statuses=(200, 400, 401, 503)) | {
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": form}}
    }


def _parameter(name: str, description: str, schema: dict[str, Any], *, where: str = "query") -> dict[str, Any]:
    style = {"style": "form", "explode": False} if where == "query" else {}
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema, **style}


def _header(name: str, description: str) -> dict[str, Any]:
    return _parameter(name, description, {"type": "string"}, where="header")


def _items_parameters(dataset: type[Record], max_limit: int) -> list[dict[str, Any]]:
    """bbox, datetime, limit, cursor, and one parameter for each clear text or number field."""
    found = [
        _parameter(
            "bbox",
            "West, south, east, north in degrees (WGS 84). West greater than east crosses the antimeridian.",
            {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
        ),
        _parameter("datetime", "A time, or from/until with `..` for an open end (RFC 3339). Tests the released time.", {"type": "string"}),
        _parameter("limit", "Features on a page.", {"type": "integer", "minimum": 1, "maximum": max_limit, "default": 10}),
        _parameter("cursor", "Where to go on: follow the link `next` instead of building it.", {"type": "string"}),
    ]
    for field in filterable(dataset):
        items: dict[str, Any] = {"type": "integer" if field.kind == "number" else "string"}
        if field.choices:
            items["enum"] = sorted(field.choices)
        found.append(
            _parameter(
                field.name, f"Exact values of {field.name}, comma-separated; tests what is released.", {"type": "array", "items": items}
            )
        )
    return found


def _audit_parameters() -> list[dict[str, Any]]:
    text = {"type": "string"}
    kinds = (
        "query, export, publish, withdraw, import, token, sign-in, sign-out, person, refusal, mou, mou-loaded, party-key, audit,"
        " unauthenticated."
    )
    return [
        _parameter("datetime", "A time, or from/until with `..` for an open end (RFC 3339).", text),
        _parameter("organisation", "Who did it (slug).", text),
        _parameter("person", "Who did it: the id of a person.", text | {"format": "uuid"}),
        _parameter("client", "Who did it: the id of a client.", text),
        _parameter("session", "In which session: the id of a person's, or of a client's token.", text),
        _parameter("owner", "Whose data it was about (slug); an owner may name itself alone.", text),
        _parameter("mou", "Under which MOU.", text),
        _parameter("purpose", "For which purpose.", text),
        _parameter("case", "With which case reference.", text),
        _parameter("type", kinds, text),
        _parameter("decision", "What was decided.", text | {"enum": list(DECISIONS)}),
        _parameter("dataset", "Of which collection the records were.", text),
        _parameter(
            "bbox",
            "Leaves that asked about an area touching this one: west, south, east, north in degrees (WGS 84).",
            {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
        ),
        _parameter("placeless", "With `bbox`: also leaves that named no area.", {"type": "boolean", "default": False}),
        _parameter("record", "The id of a record: leaves that stored or disclosed it.", text | {"format": "uuid"}),
        _parameter("before", "Leaves older than this one: follow the link `next`.", {"type": "integer"}),
        _parameter("limit", "Leaves on a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    ]


def _schemas() -> dict[str, Any]:
    text, error = {"type": "string"}, {"type": "object", "properties": {"field": {"type": "string"}, "reason": {"type": "string"}}}
    return {
        "problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": text,
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "errors": {"type": "array", "items": error},
            },
        },
        "agreement": _agreement(),
    }


def _agreement() -> dict[str, Any]:
    """What is due of a version; the rest of it explains itself."""

    def day(description: str) -> dict[str, Any]:
        return {"type": "string", "format": "date", "nullable": True, "description": description}

    duty = {"type": "string", "enum": list(DUTIES)}
    renewal = {"version": {"type": "integer"}, "state": {"type": "string"}}
    return {
        "type": "object",
        "description": "One version. Its days are UTC's, and null while it is neither in force nor suspended.",
        "properties": {
            "due": {"type": "array", "items": duty, "description": "What its parties should see to now: its renewal, its review."},
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


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
