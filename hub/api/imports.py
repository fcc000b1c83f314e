"""Imports over HTTP: a job is opened, the file is sent to it in as many requests as it takes, and each row gets its verdict.

The part of a file goes by PATCH with `Upload-Offset` and `Upload-Complete` (draft-ietf-httpbis-resumable-upload). It is read while it
arrives; a sender that is faster than the hub is slowed down by the connection.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from hub.api.answers import json_answer
from hub.api.bodies import check_encoding, json_of, read_body
from hub.api.parameters import only, record_id
from hub.api.publish import Writing, answered, writing
from hub.api.services import READ, refusals_logged
from hub.audit.leaf import instant
from hub.errors import InvalidRequest, Problem, WrongMediaType
from hub.sharing.imports import OUTCOMES, Job, Order
from hub.sharing.replies import Reply
from hub.sharing.upload import Upload

PART = 1 << 18  # bytes handed on at a time
MAX_ORDER_BYTES = 1 << 20
LINES = "application/x-ndjson"
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class Asked(BaseModel):
    """The body of a request for an import."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    mapping: dict[str, Any] | None = None
    dry_run: bool = False
    length: Annotated[int, Field(ge=0, lt=2**60)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


async def open_import(request: Request) -> Response:
    """Opens an import, or gives the one that is open for the same file and mapping."""
    write = await writing(request)
    only(request, ())
    check_encoding(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise WrongMediaType("Say in application/json what the file is; its bytes follow by PATCH.", field="Content-Type")
    body = await read_body(request, MAX_ORDER_BYTES)
    asked = _asked(body)
    new = True

    def run(finish: Callable[[Any, Job], None] | None) -> Job:
        nonlocal new
        job, new = write.shared.imports.open(write.publisher, Order(asked.mapping, asked.dry_run, asked.length, asked.sha256), finish)
        return job

    def reply(job: Job) -> Reply:
        return Reply(201 if new else 200, {"Location": _address(write, job), **_standing(job)}, orjson.dumps(_told(write, job)))

    return await answered(request, write, body, run, reply)


def _asked(body: bytes) -> Asked:
    try:
        return Asked.model_validate(json_of(body))
    except ValidationError as error:
        problems = [Problem(".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors(include_url=False, include_input=False)]
        raise InvalidRequest(f"{problems[0].field}: {problems[0].reason}.", problems=problems) from None


async def imports(request: Request) -> Response:
    """The organisation's imports, newest first."""
    write = await writing(request)
    only(request, ())
    found = await _run(write, lambda: write.shared.imports.recent(write.publisher))
    return json_answer({"imports": [_told(write, job) for job in found]})


async def one_import(request: Request) -> Response:
    """How an import stands."""
    write = await writing(request)
    only(request, ())
    job = await _run(write, lambda: write.shared.imports.get(write.publisher, _id(request)))
    return json_answer(_told(write, job), headers=_standing(job))


async def append(request: Request) -> Response:
    """Takes the next part of the file."""
    write = await writing(request)
    only(request, ())
    check_encoding(request)
    offset, digest = _offset(request), _digest(request)
    job = await _run(write, lambda: write.shared.imports.get(write.publisher, _id(request)))
    complete = _complete(request, job, offset)
    upload = await _run(write, lambda: Upload(write.shared.imports, write.publisher, job, offset, digest))
    try:
        whole = await _receive(request, write, upload)
        await _run(write, upload.finish if complete(whole) else upload.flush)
    finally:
        await run_in_threadpool(upload.close)
    job = await _run(write, lambda: write.shared.imports.get(write.publisher, job.id))
    return json_answer(_told(write, job), headers=_standing(job))


async def _receive(request: Request, write: Writing, upload: Upload) -> int:
    """Hands the body on; gives its length. Of a body that is cut off the whole rows are kept.

    Raises:
        InvalidRequest: it ended before its Content-Length.
    """
    size, held = 0, bytearray()
    try:
        async for part in request.stream():
            size += len(part)
            held += part
            if len(held) >= PART:
                data, held = bytes(held), bytearray()
                await _run(write, lambda data=data: upload.write(data))  # type: ignore[misc]
    except ClientDisconnect:
        await _run(write, lambda: upload.write(bytes(held)))
        await _run(write, upload.flush)
        raise InvalidRequest("The body ended before its Content-Length; go on from Upload-Offset.", field="body") from None
    await _run(write, lambda: upload.write(bytes(held)))
    return size


async def cancel(request: Request) -> Response:
    """Ends an open import; what landed stays."""
    write = await writing(request)
    only(request, ())

    def run(finish: Callable[[Any, Job], None] | None) -> Job:
        return write.shared.imports.cancel(write.publisher, _id(request), finish)

    return await answered(request, write, b"", run, lambda job: Reply(200, _standing(job), orjson.dumps(_told(write, job))))


async def verdicts(request: Request) -> Response:
    """The verdict of each row, one JSON object a line, in the order of the file."""
    write = await writing(request)
    wanted = only(request, ("outcome",)).get("outcome")
    if wanted is not None and wanted not in OUTCOMES.values():
        raise InvalidRequest(f"outcome is one of {', '.join(OUTCOMES.values())}.", field="outcome")
    rows = await _run(write, lambda: write.shared.imports.report(write.publisher, _id(request), wanted))

    def lines() -> Iterator[bytes]:
        while some := list(islice(rows, 500)):
            yield b"".join(orjson.dumps(row) + b"\n" for row in some)

    return StreamingResponse(lines(), 200, {"Cache-Control": "no-store"}, LINES)


async def _run(write: Writing, work: Callable[[], Any]) -> Any:
    def logged() -> Any:
        with refusals_logged(write.called, write.token, write.by):
            return work()

    return await run_in_threadpool(logged)


def _id(request: Request) -> UUID:
    return record_id(request.path_params["id"])


def _offset(request: Request) -> int:
    text = request.headers.get("upload-offset", "")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidRequest("Say where this part begins: Upload-Offset, in bytes from the beginning of the file.", field="Upload-Offset")
    return int(text)


def _digest(request: Request) -> str | None:
    """The whole file's SHA-256 in hexadecimal (Repr-Digest, RFC 9530 §3)."""
    text = request.headers.get("repr-digest")
    if text is None:
        return None
    found = _DIGEST.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest("Repr-Digest must read sha-256=:…: with the digest in base64.", field="Repr-Digest")
    return b64decode(found[1]).hex()


def _complete(request: Request, job: Job, offset: int) -> Callable[[int], bool]:
    """Whether the file ends with a part of so many bytes: as Upload-Complete says, else by the length it was announced with."""
    text = request.headers.get("upload-complete")
    length = request.headers.get("content-length", "")
    if job.length is not None and length.isdigit() and len(length) < 19 and offset + int(length) > job.length:
        raise InvalidRequest(f"The file was announced with {job.length:,} bytes; with this part it has more.", field="Content-Length")
    if text not in (None, "?0", "?1"):
        raise InvalidRequest("Upload-Complete is ?1 (the file ends with this part) or ?0.", field="Upload-Complete")
    if text is None and job.length is None:
        raise InvalidRequest("Say whether the file ends with this part: Upload-Complete: ?1 or ?0.", field="Upload-Complete")
    return lambda size: text == "?1" if text is not None else offset + size == job.length


def _standing(job: Job) -> dict[str, str]:
    length = {"Upload-Length": str(job.length)} if job.length is not None else {}
    return {"Upload-Offset": str(job.position.offset), "Upload-Complete": "?1" if job.state == "done" else "?0", **length}


def _address(write: Writing, job: Job) -> str:
    return f"{write.called.settings.base_url}/collections/{write.shared.name}/imports/{job.id}"


def _told(write: Writing, job: Job) -> dict[str, Any]:
    counts, here = job.counts, _address(write, job)
    return {
        "id": str(job.id),
        "state": job.state,
        "dry_run": job.dry_run,
        "opened_at": instant(job.created_at),
        "changed_at": instant(job.updated_at),
        "length": job.length,
        "offset": job.position.offset,
        "rows": counts.rows,
        **{name: getattr(counts, name) for name in (*OUTCOMES.values(), "flagged")},
        "problem": job.problem,
        "links": [
            {"rel": "self", "href": here, "type": "application/json", "title": "This import"},
            {"rel": "verdicts", "href": f"{here}/verdicts", "type": LINES, "title": "The verdict of each row"},
        ],
    }


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/collections/{name}/imports", open_import, methods=["POST"])
    routes.add_api_route("/collections/{name}/imports", imports, methods=READ)
    routes.add_api_route("/collections/{name}/imports/{id}", one_import, methods=READ)
    routes.add_api_route("/collections/{name}/imports/{id}", append, methods=["PATCH"])
    routes.add_api_route("/collections/{name}/imports/{id}", cancel, methods=["DELETE"])
    routes.add_api_route("/collections/{name}/imports/{id}/verdicts", verdicts, methods=READ)
    return routes
