"""The OpenAPI document, from the catalogue. It is OpenAPI 3.0: desktop GIS read no newer one, and look for literal paths."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub import __version__
from hub.api.openapi_agreements import agreement_paths, agreement_schema, deliveries_path, duty_paths
from hub.api.openapi_audit import audit_paths
from hub.api.openapi_flags import flag_paths, flag_schema
from hub.api.openapi_log import log_paths
from hub.api.openapi_parts import GEOJSON, JSON, UUID_TEXT, header, operation, parameter, request_body, secured
from hub.api.openapi_reviews import review_paths, run_schema
from hub.api.publish import GOING
from hub.api.services import READ, Services, services
from hub.normalised import MEMBERS
from hub.records import Record
from hub.sharing.imports import OUTCOMES
from hub.sharing.statements import filterable

WRITE_BARE = (200, 400, 401, 403, 409, 413, 415, 422, 503)
WRITE = (201, *WRITE_BARE)
MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"


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
        "/": {"get": operation("landing", "Where everything is")},
        "/conformance": {"get": operation("conformance", "Conformance classes")},
        "/api": {"get": operation("api", "This document", MEDIA_TYPE)},
        "/collections": {"get": operation("collections", "The collections")},
        "/oauth/token": {"post": _token()},
        "/oauth/jwks": {"get": operation("jwks", "The hub's public signing key")},
        "/.well-known/oauth-authorization-server": {"get": operation("metadata", "Authorization server metadata (RFC 8414)")},
        "/healthz": {"get": operation("healthz", "The process runs")},
        "/readyz": {"get": operation("readyz", "The databases answer", statuses=(200, 503))},
    }
    paths |= audit_paths() | log_paths() | agreement_paths() | duty_paths() | flag_paths() | review_paths()
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
    record_id = parameter("id", "The record's id", UUID_TEXT, where="path")
    read, once = (200, 400, 401, 403, 503), [header("Idempotency-Key", "Carried out once: the same key and request get the same answer.")]
    recall = parameter(
        "recall", "As what those are told who hold it under a duty; a withdrawal unless said.", {"type": "string", "enum": list(GOING)}
    )
    match = header("If-Match", "The revision to change, as an entity tag, or `*` (RFC 9110).")
    post = secured(
        operation(f"publish_{name}", "Publish a Feature or FeatureCollection: all of it lands, or nothing", statuses=WRITE),
        "publish",
        once,
    )
    put = operation(f"replace_{name}", "Publish the next revision of a record of one's own", statuses=(*WRITE, 404, 412, 428))
    delete = operation(f"withdraw_{name}", "Take a record of one's own back", statuses=(*WRITE_BARE, 404, 412, 428))
    return {
        f"/collections/{name}": {"get": operation(f"describe_{name}", f"The collection {name}")},
        f"/collections/{name}/items": {
            "get": secured(
                operation(f"items_{name}", "A page of the records that are shared with you", GEOJSON, read),
                "query",
                _items_parameters(dataset, max_limit),
            ),
            "post": post | request_body(GEOJSON),
        },
        f"/collections/{name}/items/{{id}}": {
            "get": secured(operation(f"item_{name}", "One record", GEOJSON, (*read, 404)), "query", [record_id]),
            "put": secured(put, "publish", [record_id, match, *once]) | request_body(GEOJSON),
            "delete": secured(delete, "publish", [record_id, recall, match, *once]),
        },
        f"/collections/{name}/counts": {
            "get": secured(operation(f"counts_{name}", "Counts by 2 km cell, month and category", statuses=read), "query", [])
        },
        **_map_paths(name, dataset),
        **deliveries_path(name, record_id),
        **_import_paths(name),
        **_shred_paths(name),
        f"/collections/{name}/match": {"post": _match(name, dataset)},
    }


def _map_paths(name: str, dataset: type[Record]) -> dict[str, Any]:
    """What maps ask for (hub/api/maps.py)."""
    statuses = (200, 400, 401, 403, 503)
    filters = [p | {"required": p["name"] == "bbox"} for p in _items_parameters(dataset, 1) if p["name"] not in ("limit", "cursor")]
    area = operation(f"map_{name}", "An area: up to 10,000 records at their released places, else counts per cell", JSON, statuses)
    why = operation(f"explain_{name}", "One record, how each field is released and under which agreements", JSON, (*statuses, 404))
    trace = operation(
        f"trace_{name}", "One record of your own: who gets it, under which clauses, and why others don't", JSON, (*statuses, 404)
    )
    return {
        f"/collections/{name}/items/{{id}}/trace": {
            "get": secured(trace, "audit", [parameter("id", "The record's id", UUID_TEXT, where="path")])
        },
        f"/collections/{name}/map": {"get": secured(area, "query", filters)},
        f"/collections/{name}/items/{{id}}/explain": {
            "get": secured(why, "query", [parameter("id", "The record's id", UUID_TEXT, where="path")])
        },
    }


def _import_paths(name: str) -> dict[str, Any]:
    """Imports of whole files (hub/api/imports.py)."""
    import_id, here = parameter("id", "The import's id", UUID_TEXT, where="path"), f"/collections/{name}/imports"
    once = [header("Idempotency-Key", "Carried out once: the same key and request get the same answer.")]
    outcome = {"type": "string", "enum": list(OUTCOMES.values())}
    part = [
        header("Upload-Offset", "Where in the file this part begins, in bytes."),
        header("Upload-Complete", "?1: the file ends with this part; ?0: more follows. Needed where no length was announced."),
        header("Repr-Digest", "The whole file's SHA-256, `sha-256=:…:` (RFC 9530). Needed to go on."),
    ]

    def of(statuses: tuple[int, ...], does: str, summary: str, parameters: list[dict[str, Any]], media: str = JSON) -> dict[str, Any]:
        return secured(operation(f"{does}_{name}", summary, media, (200, 400, 401, 403, 503, *statuses)), "publish", parameters)

    return {
        here: {
            "get": of((), "imports", "Your imports, newest first", []),
            "post": of((201, 409, 413, 415, 422), "import", "Open an import of a file, or go on with the one that is open for it", once)
            | request_body(JSON),
        },
        f"{here}/{{id}}": {
            "get": of((404,), "import_state", "How an import stands", [import_id]),
            "patch": of((404, 409, 415, 422), "import_part", "Send the next part of the file", [import_id, *part])
            | request_body("application/octet-stream"),
            "delete": of((404, 409), "import_cancel", "Cancel an import; what landed stays", [import_id, *once]),
        },
        f"{here}/{{id}}/verdicts": {
            "get": of(
                (404,),
                "import_verdicts",
                "The verdict of each row, one JSON object a line",
                [import_id, parameter("outcome", "Only rows with this outcome.", outcome)],
                "application/x-ndjson",
            ),
        },
    }


def _shred_paths(name: str) -> dict[str, Any]:
    """Destroying records, and legal holds (hub/api/shreds.py)."""
    here, holds = f"/collections/{name}/shreds", f"/collections/{name}/holds"
    once = [header("Idempotency-Key", "Carried out once: the same key and request get the same answer.")]
    hold_id = parameter("id", "The hold's id", UUID_TEXT, where="path")
    order_id = parameter("id", "The order's id", {"type": "integer"}, where="path")

    def of(statuses: tuple[int, ...], does: str, summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        return secured(operation(f"{does}_{name}", summary, JSON, (400, 401, 403, 503, *statuses)), "publish", parameters)

    write = (404, 409, 413, 415, 422)
    return {
        here: {
            "get": of((200,), "shreds", "Your orders to destroy records, newest first", []),
            "post": of((200, 202, *write), "shred", "Destroy records of one's own for good", once) | request_body(JSON),
        },
        f"{here}/{{id}}": {"get": of((200, 404), "shred_state", "How far the destruction is", [order_id])},
        holds: {
            "get": of((200,), "holds", "Your legal holds", []),
            "post": of((201, *write), "hold", "Place a legal hold", once) | request_body(JSON),
        },
        f"{holds}/{{id}}": {"delete": of((200, *write), "hold_release", "Release a legal hold", [hold_id, *once])},
    }


def _match(name: str, dataset: type[Record]) -> dict[str, Any]:
    """Exact lookups (hub/api/match.py)."""
    text = {"type": "string"}
    members = {member: text for kind in MEMBERS.values() for member in kind}
    asked = {
        "type": "object",
        "required": ["field"],
        "properties": {"field": {**text, "enum": [f.name for f in dataset.matchable()]}, **members},
    }
    told = {
        "type": "object",
        "required": ["match", "providers", "records"],
        "properties": {
            "match": {"type": "boolean"},
            "providers": {"type": "array", "items": text},
            "records": {"type": "array", "items": {"type": "object"}},
        },
    }
    does = operation(
        f"match_{name}",
        "Whether a value occurs: exactly, in what your agreements let you ask about",
        JSON,
        (200, 400, 401, 403, 413, 415, 429, 503),
        told,
    )
    return secured(does, "query", []) | {"requestBody": {"required": True, "content": {JSON: {"schema": asked}}}}


def _token() -> dict[str, Any]:
    members = {name: {"type": "string"} for name in ("grant_type", "client_assertion_type", "client_assertion", "scope", "purpose", "case")}
    form = {"schema": {"type": "object", "properties": members, "required": list(members)[:3]}}
    return operation("token", "An access token (client credentials, private_key_jwt)", statuses=(200, 400, 401, 503)) | {
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": form}}
    }


def _items_parameters(dataset: type[Record], max_limit: int) -> list[dict[str, Any]]:
    """bbox, datetime, limit, cursor, and one parameter for each clear text or number field."""
    found = [
        parameter(
            "bbox",
            "West, south, east, north in degrees (WGS 84). West greater than east crosses the antimeridian.",
            {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
        ),
        parameter("datetime", "A time, or from/until with `..` for an open end (RFC 3339). Tests the released time.", {"type": "string"}),
        parameter("limit", "Features on a page.", {"type": "integer", "minimum": 1, "maximum": max_limit, "default": 10}),
        parameter("cursor", "Where to go on: follow the link `next` instead of building it.", {"type": "string"}),
    ]
    for field in filterable(dataset):
        items: dict[str, Any] = {"type": "integer" if field.kind == "number" else "string"}
        if field.choices:
            items["enum"] = sorted(field.choices)
        found.append(
            parameter(
                field.name, f"Exact values of {field.name}, comma-separated; tests what is released.", {"type": "array", "items": items}
            )
        )
    return found


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
        "agreement": agreement_schema(),
        "flag": flag_schema(),
        "review_run": run_schema(),
    }
