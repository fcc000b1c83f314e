"""Request bodies: read with a limit, given up as soon as they are over it."""

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
