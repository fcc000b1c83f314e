"""Request bodies: read with a limit, given up as soon as they are over it."""

import json
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from hub.errors import InvalidRequest, TooLarge, WrongMediaType


def check_encoding(request: Request) -> None:
    """Raises WrongMediaType for a compressed body: it may be far larger than it looks."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise WrongMediaType("A compressed body is not read here.", field="Content-Encoding")


async def read_body(request: Request, most: int) -> bytes:
    """The body, given up as soon as it is over `most` bytes.

    Raises:
        TooLarge, InvalidRequest
    """
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise InvalidRequest("Content-Length is not a number.", field="Content-Length")
    if len(length) > 20 or int(length) > most:
        raise TooLarge(f"The body is over {most:,} bytes.", field="body")
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise TooLarge(f"The body is over {most:,} bytes.", field="body")
            parts.append(part)
    except ClientDisconnect:
        raise InvalidRequest("The body ended before its Content-Length.", field="body") from None
    return b"".join(parts)


def json_of(body: bytes) -> Any:
    """What a short body holds.

    Raises:
        InvalidRequest: it is not JSON, has an object with one member twice (a parser would drop one), or is nested too deeply.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.", field="body") from None
    try:
        json.loads(body, object_pairs_hook=_once, parse_int=str)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", field="body") from None
    return found


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise InvalidRequest(f"One JSON object has the member {name[:100]!r} twice.", field=name[:100])
        found[name] = value
    return found
