"""OGC API – Features, Part 1: landing page, conformance, collections, items."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.api.answers import NO_STORE, json_answer
from hub.api.openapi_parts import GEOJSON
from hub.api.parameters import only, page_query, record_id
from hub.api.receipts import receipt
from hub.api.services import READ, Shared, authorise, reader_of, refusals_logged, services
from hub.audit.leaf import instant

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
CONFORMS_TO = [f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{name}" for name in ("core", "oas30", "geojson")]


def _link(rel: str, href: str, media: str, title: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": media, "title": title}


def landing(request: Request) -> Response:
    """Where everything is; for a browser the pages are."""
    only(request, ())
    if "text/html" in request.headers.get("accept", ""):
        return Response(None, 302, {"Location": "/home", "Vary": "Accept", **NO_STORE})
    base = services(request).settings.base_url
    return json_answer(
        {
            "title": "Concord",
            "description": "Incident reports that partner organisations share under their agreements.",
            "links": [
                _link("self", f"{base}/", "application/json", "This document"),
                _link("service-desc", f"{base}/api", "application/vnd.oai.openapi+json;version=3.0", "The API's definition"),
                _link("conformance", f"{base}/conformance", "application/json", "Conformance classes"),
                _link("data", f"{base}/collections", "application/json", "The collections"),
            ],
        }
    )


def conformance(request: Request) -> Response:
    """The conformance classes of OGC API – Features that the hub meets."""
    only(request, ())
    return json_answer({"conformsTo": CONFORMS_TO})


def collections(request: Request) -> Response:
    """The datasets. Says nothing of their records: not how many, not where."""
    only(request, ())
    called = services(request)
    base = called.settings.base_url
    return json_answer(
        {
            "links": [_link("self", f"{base}/collections", "application/json", "This document")],
            "collections": [_collection(base, shared) for shared in called.datasets.values()],
        }
    )


def collection(request: Request) -> Response:
    """One dataset."""
    only(request, ())
    called = services(request)
    return json_answer(_collection(called.settings.base_url, called.shared(request.path_params["name"])))


def _collection(base: str, shared: Shared) -> dict[str, Any]:
    here = f"{base}/collections/{shared.name}"
    return {
        "id": shared.name,
        "title": shared.name.capitalize(),
        "description": (shared.dataset.__doc__ or "").strip().splitlines()[0],
        "itemType": "feature",
        "crs": [CRS84],
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]], "crs": CRS84}},
        "links": [
            _link("self", here, "application/json", "This document"),
            _link("items", f"{here}/items", GEOJSON, "The records that are shared with you"),
        ],
    }


def items(request: Request) -> Response:
    """A page of the records that are shared with the reader."""
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = authorise(request, "query")
    query = page_query(request, shared.dataset, called.settings.page_limit)
    with refusals_logged(called, token, by):
        page = shared.querying.page(reader_of(token, by), query)
    here = f"{called.settings.base_url}/collections/{shared.name}/items"
    asked = [(n, v) for n, v in request.query_params.multi_items() if n != "cursor"]
    links = [_link("self", _with(here, request.query_params.multi_items()), GEOJSON, "This page")]
    if page.next:
        links.append(_link("next", _with(here, [*asked, ("cursor", page.next)]), GEOJSON, "The next page"))
    head = orjson.dumps({"type": "FeatureCollection", "timeStamp": instant(page.at), "numberReturned": len(page.features), "links": links})
    return Response(head[:-1] + b',"features":[' + ",".join(page.features).encode() + b"]}", 200, NO_STORE | receipt(page.signed), GEOJSON)


def _with(address: str, parameters: Sequence[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(parameters, safe=',:/')}" if parameters else address


def item(request: Request) -> Response:
    """One record. One that is absent and one that is not shared are one answer."""
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = authorise(request, "query")
    only(request, ())
    with refusals_logged(called, token, by):
        one = shared.querying.item(reader_of(token, by), record_id(request.path_params["id"]))
    here = f"{called.settings.base_url}/collections/{shared.name}"
    links = [
        _link("self", f"{here}/items/{request.path_params['id']}", GEOJSON, "This record"),
        _link("collection", here, "application/json", "Its collection"),
    ]
    return Response(one.json[:-1].encode() + b',"links":' + orjson.dumps(links) + b"}", 200, NO_STORE | receipt(one.signed), GEOJSON)


def counts(request: Request) -> Response:
    """How many records there are by 2 km cell, calendar month and category, under grants that give counts."""
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = authorise(request, "query")
    only(request, ())
    with refusals_logged(called, token, by):
        found = shared.querying.counts(reader_of(token, by))
    return Response(found.json, 200, NO_STORE | receipt(found.signed), "application/json")


def router() -> APIRouter:
    """The routes. The OpenAPI document (hub/api/openapi.py) lists each dataset's literally, where clients look for them."""
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/", landing, methods=READ)
    routes.add_api_route("/conformance", conformance, methods=READ)
    routes.add_api_route("/collections", collections, methods=READ)
    routes.add_api_route("/collections/{name}", collection, methods=READ)
    routes.add_api_route("/collections/{name}/items", items, methods=READ)
    routes.add_api_route("/collections/{name}/counts", counts, methods=READ)
    routes.add_api_route("/collections/{name}/items/{id}", item, methods=READ)
    return routes
