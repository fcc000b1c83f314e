"""Every module of pages, and the answer to a path that nobody has."""

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.api import problems
from hub.web import (
    account,
    agreements,
    assets,
    audit,
    audit_saved,
    audit_summary,
    boundaries,
    flags,
    home,
    join,
    log,
    map,
    purpose,
    recover,
    reviews,
    signin,
    steps,
    trace,
)
from hub.web.shell import error_page

MODULES = (
    *(assets, signin, join, recover, account, purpose, home, map, boundaries, steps, agreements),
    *(audit, audit_summary, audit_saved, log, trace, flags, reviews),
)


def routers() -> list[APIRouter]:
    return [module.pages().router for module in MODULES]


def of_http_exception(request: Request, error: Exception) -> Response:
    """What the router raises: in words for a person, as a problem for a program."""
    if isinstance(error, HTTPException) and error.status_code == 404 and "text/html" in request.headers.get("accept", ""):
        return error_page(request, 404, "There is no such page", "The address may be mistyped, or the link may be old.")
    return problems.of_http_exception(request, error)
