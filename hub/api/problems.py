"""Errors as RFC 9457 problems. The one place where an exception becomes an answer."""

from typing import Any

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import HubError, NotAuthenticated, Unavailable

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger("hub.api")


def answer(status: int, slug: str, title: str, detail: str, **more: Any) -> Response:
    """A problem. `type` is a URN: it names the kind of problem (docs/reference/problems.md), not an address to fetch."""
    headers = more.pop("headers", {})
    body = {"type": f"urn:concord:problem:{slug}", "title": title, "status": status, "detail": detail, **more}
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store", **headers}, MEDIA_TYPE)


def of_hub_error(_request: Request, error: Exception) -> Response:
    """The answer to an error that the hub raised on purpose."""
    assert isinstance(error, HubError)
    headers = {}
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    if isinstance(error, Unavailable):
        headers["Retry-After"] = "2"
    if error.status >= 500:
        _log.error(error.slug, detail=error.detail, cause=type(error.__cause__).__name__)
    problems = [{"field": p.field, "reason": p.reason} for p in error.problems]
    more = {"errors": problems} if problems else {}
    return answer(error.status, error.slug, error.title, error.detail, headers=headers, **more)


def of_http_exception(_request: Request, error: Exception) -> Response:
    """The answer to what the router raises: no such path, no such method."""
    assert isinstance(error, HTTPException)
    slug = {404: "no-such-resource", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    return answer(error.status_code, slug, str(error.detail), f"{error.detail}.", headers=dict(error.headers or {}))


def of_defect(_request: Request, error: Exception) -> Response:
    """The answer to a defect of the hub: says nothing of it. The log names the kind of error, never its text, which may hold data."""
    _log.error("defect", kind=type(error).__name__, where=_where(error))
    return answer(500, "internal", HubError.title, "Something went wrong in the hub; nothing was stored or disclosed by this answer.")


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else "?"
