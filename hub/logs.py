"""Structured logs: one JSON object a line on standard error. They hold no query, no record, no token and no statement."""

import logging
import sys
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def configure(level: str) -> None:
    """Sends both the hub's own and the libraries' messages through one formatter."""
    number = getattr(logging, level.upper())
    logging.basicConfig(
        level=max(number, logging.WARNING),
        stream=sys.stderr,
        force=True,
        format='{"level":"%(levelname)s","logger":"%(name)s","event":"%(message)s"}',
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


class RequestLog:
    """ASGI middleware that logs method, route, status and time of each request: the route's template, never its parameters."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("hub.request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            self._log.debug("request", method=scope["method"], route=route, status=status, ms=round((time.perf_counter() - began) * 1e3, 1))
