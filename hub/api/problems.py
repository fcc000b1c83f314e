"""Errors as RFC 9457 problems. The one place where an exception becomes an answer."""

from typing import Any

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.errors import HubError, NoSuchResource, NotAuthenticated

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger("hub.api")


def answer(status: int, slug: str, title: str, detail: str, **more: Any) -> Response:
    """A problem. `type` is a URN: it names the kind of problem (docs/reference/problems.md), not an address to fetch."""
    headers = more.pop("headers", {})
    body = {"type": f"urn:concord:problem:{slug}", "title": title, "status": status, "detail": detail, **more}
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store", **headers}, MEDIA_TYPE)


def of_hub_error(request: Request, error: Exception) -> Response:
    """The answer to an error that the hub raised on purpose."""
    assert isinstance(error, HubError)
    headers = dict(error.headers)
    if isinstance(error, NotAuthenticated):
        # RFC 6750 §3.1: who brought no token at all is told no error code.
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if "authorization" in request.headers else "Bearer"
    if error.status == 503:
        headers["Retry-After"] = "2"
    if error.status >= 500:
        _log.error(error.slug, detail=error.detail, cause=type(error.__cause__).__name__)
    problems = [{"field": p.field, "reason": p.reason} for p in error.problems]
    more = {"errors": problems} if problems else {}
    return answer(error.status, error.slug, error.title, error.detail, headers=headers, **more)


def of_http_exception(request: Request, error: Exception) -> Response:
    """The answer to what the router raises: no such path, no such method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(404, NoSuchResource.slug, NoSuchResource.title, "The hub has no such path; see its landing page, /.")
    if error.status_code == 405:
        methods = ", ".join(_methods(request))
        detail = f"This resource does not take {request.method[:20]}; it takes {methods}."
        return answer(405, "method-not-allowed", "The method is not allowed here", detail, headers={"Allow": methods})
    return answer(error.status_code, "http-error", str(error.detail), f"{error.detail}.", headers=dict(error.headers or {}))


def _methods(request: Request) -> list[str]:
    # All of the path's routes (RFC 9110 §15.5.6): the router's own answer names those of the first alone.
    tried = ({**request.scope, "method": method} for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
    return [scope["method"] for scope in tried if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)]


class Defects:
    """ASGI middleware: answers a defect of the hub, and says nothing of it.

    The log names the kind of error, never its text, which may hold data; were it to reach the server, that would log the text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            _log.error("defect", kind=type(error).__name__, where=_where(error))
            if scope["type"] == "http" and not begun:
                await answer(500, "internal", HubError.title, _DEFECT)(scope, receive, send)


_DEFECT = (
    "Something went wrong in the hub. Nothing was disclosed; whether a publication was stored is unknown, and it may safely be sent again."
)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else "?"
