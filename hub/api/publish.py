"""Writing by request: POST of features, PUT and DELETE of one record by its id. Whole files: hub/api/imports.py."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hub.api.bodies import check_encoding, read_body
from hub.api.features import MEDIA_TYPES, read_features
from hub.api.parameters import only, record_id
from hub.api.services import Services, Shared, authorise, refusals_logged, services
from hub.audit.leaf import By
from hub.errors import InvalidRequest, NotShared, PreconditionMissing, WrongMediaType
from hub.identity.tokens import AccessToken
from hub.sharing.publish import Finish, Published, Publisher
from hub.sharing.replies import Once, Reply

T = TypeVar("T")
GOING = ("withdrawal", "erasure")  # why a record goes
_KEY = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
_TAGS = re.compile(r'(?:\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')


@dataclass(frozen=True, slots=True)
class Writing:
    """An authorised request to write."""

    called: Services
    shared: Shared
    token: AccessToken
    by: By
    publisher: Publisher


async def writing(request: Request) -> Writing:
    """Who writes where.

    Raises:
        NoSuchResource, NotAuthenticated, Forbidden, InvalidRequest
    """
    called = services(request)
    shared = called.shared(request.path_params["name"])
    token, by = await run_in_threadpool(authorise, request, "publish")
    return Writing(called, shared, token, by, await run_in_threadpool(called.publisher, token, by))


async def publish(request: Request) -> Response:
    """Takes a Feature or FeatureCollection; all of it lands, or nothing."""
    write = await writing(request)
    body = await body_of(request, write, MEDIA_TYPES)

    def run(finish: Finish | None) -> Published:
        records = read_features(body, write.shared.dataset, write.called.settings.max_features)
        return write.shared.publishing.publish(write.publisher, records, finish)

    return await answered(request, write, body, run, _reply)


async def replace(request: Request) -> Response:
    """Takes the whole of a record of one's own, as a Feature, in place of the revision that If-Match names."""
    write = await writing(request)
    revisions = expected_revisions(request)
    body = await body_of(request, write, MEDIA_TYPES)

    def run(finish: Finish | None) -> Published:
        (record,) = read_features(body, write.shared.dataset, 1)
        with absence_logged(write, "publish"):
            return write.shared.publishing.replace(write.publisher, record_id(request.path_params["id"]), record, revisions, finish)

    return await answered(request, write, body, run, _reply)


async def withdraw(request: Request) -> Response:
    """Takes a record of one's own back, at the revision that If-Match names. `recall`: as what those are told who hold it under a duty."""
    write = await writing(request)
    revisions = expected_revisions(request)
    kind = request.query_params.get("recall", GOING[0])
    if kind not in GOING:
        raise InvalidRequest(f"recall is {' or '.join(GOING)}.", field="recall")
    body = await body_of(request, write, (), ("recall",))

    def run(finish: Finish | None) -> Published:
        with absence_logged(write, "withdraw"):
            return write.shared.publishing.withdraw(write.publisher, record_id(request.path_params["id"]), revisions, finish, kind)

    return await answered(request, write, body, run, _reply)


async def answered(
    request: Request, write: Writing, body: bytes, run: Callable[[Callable[[Any, T], None] | None], T], reply: Callable[[T], Reply]
) -> Response:
    """Carries a write out, once if it brings an Idempotency-Key, and answers with what came of it."""
    once = _once(request, write, body)

    def work() -> Reply:
        with refusals_logged(write.called, write.token, write.by):
            return write.called.replies.answer(once, run, reply)

    found = await run_in_threadpool(work)
    return Response(found.body, found.status, {"Cache-Control": "no-store", **found.headers}, "application/json")


def _once(request: Request, write: Writing, body: bytes) -> Once | None:
    """What the request's Idempotency-Key stands for (draft-ietf-httpapi-idempotency-key-header-07 §2.1); None without one.

    Raises:
        InvalidRequest: the header is no key, or comes twice.
    """
    given = request.headers.getlist("Idempotency-Key")
    if not given:
        return None
    found = _KEY.fullmatch(given[0].strip()) if len(given) == 1 else None
    if found is None:
        reason = "Idempotency-Key must be one text of 1 to 255 printable ASCII characters, in double quotes."
        raise InvalidRequest(reason, field="Idempotency-Key")
    said = "\0".join([request.method, request.url.path, request.url.query, request.headers.get("if-match", "")]).encode()
    return write.called.replies.once(write.publisher.uid, write.token.client_id, found[1] or found[2], said + b"\0" + body)


def expected_revisions(request: Request) -> frozenset[int] | None:
    """The revisions that If-Match names (RFC 9110 §13.1.1); None for `*`. A tag that is no revision matches none.

    Raises:
        PreconditionMissing: there is no If-Match: what was changed meanwhile would be overwritten unseen.
        InvalidRequest: it can't be read.
    """
    given = request.headers.getlist("if-match")
    if not given:
        raise PreconditionMissing('Name the revision that you mean, such as If-Match: "3", or * for any.', field="If-Match")
    text = ",".join(given).strip()
    if text == "*":
        return None
    if not _TAGS.fullmatch(text):
        raise InvalidRequest('If-Match must be * or entity tags such as "3".', field="If-Match")
    return frozenset(int(tag) for tag in re.findall(r'(?<!W/)"([1-9][0-9]{0,9})"', text))


@contextmanager
def absence_logged(write: Writing, kind: str) -> Iterator[None]:
    """A record that isn't there and one of another organisation: one answer, one kind of leaf, in the hub's own log."""
    try:
        yield
    except NotShared:
        write.called.log.record(write.called.event(kind, write.by, "absent", dataset=write.shared.name))
        raise


def _reply(published: Published) -> Reply:
    receipts = published.receipts
    headers = {"ETag": f'"{receipts[0].rev}"'} if len(receipts) == 1 and receipts[0].outcome != "withdrawn" else {}
    return Reply(201 if any(r.outcome == "created" for r in receipts) else 200, headers, orjson.dumps(_receipt(published)))


def _receipt(published: Published) -> dict[str, object]:
    return {
        "event": str(published.event),
        "leaf": published.leaf,
        "records": [
            {"external_id": r.external_id, "id": str(r.id), "revision": r.rev, "revision_no": r.revision_no, "outcome": r.outcome}
            for r in published.receipts
        ],
    }


async def body_of(request: Request, write: Writing, media_types: Sequence[str], parameters: tuple[str, ...] = ()) -> bytes:
    """The body, of one of these types (none: of any), of a request with these parameters alone.

    Raises:
        InvalidRequest, WrongMediaType, TooLarge
    """
    only(request, parameters)
    check_encoding(request)
    given = request.headers.get("content-type", "")
    if media_types and given.split(";")[0].strip().lower() not in media_types:
        raise WrongMediaType(f"Send {' or '.join(media_types)}, not {given[:100] or 'a body without Content-Type'}.", field="Content-Type")
    return await read_body(request, write.called.settings.max_body_bytes)


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/collections/{name}/items", publish, methods=["POST"])
    routes.add_api_route("/collections/{name}/items/{id}", replace, methods=["PUT"])
    routes.add_api_route("/collections/{name}/items/{id}", withdraw, methods=["DELETE"])
    return routes
