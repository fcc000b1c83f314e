"""The log as a tree, over HTTP: checkpoints, tiles and proofs for everybody (C2SP tlog-tiles), cosignatures from witnesses; for auditors
the leaves themselves.

What needs no token is salted hashes and signatures: it tells of nobody's data, and is not logged. Leaves are: reading them is.
"""

import re
from typing import Any, Final

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hub.api.answers import NO_STORE, json_answer
from hub.api.bodies import check_encoding, read_body
from hub.api.parameters import only, whole
from hub.api.services import READ, Services, authorise, refusals_logged, services
from hub.audit.leaf import By, instant
from hub.audit.notes import BadNote, Note
from hub.audit.published import State, base64_of
from hub.audit.tiles import WIDTH, Tile, tile_at
from hub.errors import Forbidden, InvalidRequest, NoSuchResource, WrongMediaType

TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
NOTE: Final = "text/plain"
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}  # tlog-tiles: a full tile never changes
MAX_SIZE: Final = 10**11
MAX_NOTE: Final = 16 * 1024
_HASH = re.compile(r"[0-9a-fA-F]{64}")


def checkpoint(request: Request) -> Response:
    """A signed note with cosignatures: the newest, or the newest that any witness or the quorum cosigned, or one by size."""
    given = only(request, ("size", "cosigned", "witnessed"))
    if len(given) > 1:
        raise InvalidRequest("One of size, cosigned and witnessed can be asked for.", field=list(given)[1])
    shown = services(request).published
    if "size" in given:
        return Response(shown.checkpoint(whole("size", given["size"], 1, MAX_SIZE)), 200, NO_STORE, TEXT)
    asked = {name for name, value in given.items() if _true(name, value)}
    note = shown.witnessed() if "witnessed" in asked else shown.checkpoint(witnesses=1 if "cosigned" in asked else 0)
    return Response(note, 200, NO_STORE, TEXT)


def tile(request: Request) -> Response:
    """The hashes of a tile, 32 bytes each."""
    only(request, ())
    found = _tile_at(f"{request.path_params['level']}/{request.path_params['path']}")
    hashes = services(request).published.tile(found)
    return Response(hashes, 200, FOREVER if found.width == WIDTH else NO_STORE, BYTES)


def entries(request: Request) -> Response:
    """The leaves of a tile, each after its length in two bytes: for auditors, and in the log before they are told."""
    called = services(request)
    token, by = authorise(request, "audit")
    only(request, ())
    found = _tile_at(f"0/{request.path_params['path']}")
    with refusals_logged(called, token, by):
        only_owner = called.log.scope_of(token.organisation, token.client_id)
    if only_owner is not None:
        why = "The leaves of everybody's data are for auditors; those about your own are at /audit/events."
        _log(called, by, "refuse", token.purpose, why)
        raise Forbidden(why)
    try:
        leaves = called.published.entries(found.n, found.width)
    except NoSuchResource:
        _log(called, by, "absent", token.purpose)
        raise
    _log(called, by, "permit", token.purpose)
    return Response(leaves, 200, NO_STORE, BYTES)


def _log(called: Services, by: By, decision: str, purpose: str | None, reason: str | None = None) -> None:
    called.log.record(called.event("audit", by, decision, asked={"as": "entries", "fields": ["path"]}, purpose=purpose, reason=reason))


def inclusion(request: Request) -> Response:
    """The proof that a leaf, by its hash or its place, is in the tree of `size` leaves; unless said, of those of the newest checkpoint."""
    given, shown = only(request, ("leaf", "index", "size")), services(request).published
    if ("leaf" in given) == ("index" in given):
        raise InvalidRequest("Either leaf, the hash in hexadecimal, or index says which leaf.", field="leaf")
    size = whole("size", given["size"], 1, MAX_SIZE) if "size" in given else shown.size()
    if "index" in given:
        index = whole("index", given["index"], 0, MAX_SIZE)
    elif _HASH.fullmatch(given["leaf"]):
        index = shown.index_of(bytes.fromhex(given["leaf"]), size)
    else:
        raise InvalidRequest("leaf is the leaf hash, 64 hexadecimal digits.", field="leaf")
    return json_answer({"index": index, "size": size, "proof": base64_of(shown.inclusion(index, size))})


def consistency(request: Request) -> Response:
    """The proof that the tree of `first` leaves is the beginning of that of `second`."""
    given = only(request, ("first", "second"))
    for name in ("first", "second"):
        if name not in given:
            raise InvalidRequest(f"{name} is missing: the number of leaves of a tree.", field=name)
    first, second = (whole(name, given[name], 1, MAX_SIZE) for name in ("first", "second"))
    return json_answer({"first": first, "second": second, "proof": base64_of(services(request).published.consistency(first, second))})


async def cosignatures(request: Request) -> Response:
    """A checkpoint that a witness cosigned; the same again changes nothing."""
    only(request, ())
    check_encoding(request)
    if request.headers.get("content-type", NOTE).split(";")[0].strip().lower() != NOTE:
        raise WrongMediaType(f"This takes a signed note, {NOTE}.", field="Content-Type")
    body = await read_body(request, MAX_NOTE)
    try:
        note = Note.read(body.decode())
        size, whose = await run_in_threadpool(services(request).published.keep, note)
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not UTF-8.", field="body") from None
    except BadNote as error:
        raise InvalidRequest(f"The body is no signed checkpoint: {error}.", field="body") from None
    return json_answer({"size": size, "witnesses": whose})


def state(request: Request) -> Response:
    """How the log stands: its keys, its size, what waits, how far each witness is, open alarms."""
    only(request, ())
    return json_answer(told(services(request).published.state()))


def told(found: State) -> dict[str, Any]:
    """The state of the log as JSON tells it."""
    return {
        "origin": found.key.name,
        "key": str(found.key),
        "leaf_key": None if found.leaf_key is None else base64_of([found.leaf_key])[0],
        "size": found.size,
        "at": None if found.at is None else instant(found.at),
        "waiting": found.waiting,
        "behind_s": found.behind_s,
        "quorum": found.quorum,
        "unwitnessed_s": found.unwitnessed_s,
        "witnesses": [
            {"name": w.name, "key": w.key, "size": w.size, "at": None if w.at is None else instant(w.at), "lag_s": w.lag_s}
            for w in found.witnesses
        ],
        "alarms": [{"kind": a.kind, "detail": a.detail, "since": instant(a.since)} for a in found.alarms],
    }


def _true(name: str, given: str) -> bool:
    if given not in ("true", "false"):
        raise InvalidRequest(f"{name} is true or false.", field=name)
    return given == "true"


def _tile_at(path: str) -> Tile:
    found = tile_at(path)
    if found is None:
        raise NoSuchResource(
            "This is no tile's path: level/n, n in groups of three digits as in x001/234, and .p/width of one that is not full."
        )
    return found


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/audit/checkpoint", checkpoint, methods=READ)
    routes.add_api_route("/audit/tile/entries/{path:path}", entries, methods=READ)
    routes.add_api_route("/audit/tile/{level}/{path:path}", tile, methods=READ)
    routes.add_api_route("/audit/proof/inclusion", inclusion, methods=READ)
    routes.add_api_route("/audit/proof/consistency", consistency, methods=READ)
    routes.add_api_route("/audit/cosignatures", cosignatures, methods=["POST"])
    routes.add_api_route("/audit/log", state, methods=READ)
    return routes
