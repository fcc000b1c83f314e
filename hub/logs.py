"""Structured logs: one JSON object a line on standard error. They hold no query, no record, no token and no statement."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:  # a witness has no server
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PLACES = 8  # in the code, of each defect that is told


def configure(level: str) -> None:
    """Sends both the hub's own and the libraries' messages through one formatter."""
    number = getattr(logging, level.upper())
    stream = cast(TextIO, Unfailing())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine())
    logging.raiseExceptions = False  # of a message that can't be formatted, logging would print the arguments
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            defect,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )


def defect(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Of an exception its kind and the places in the code that it came through, the last first: its text may hold data."""
    error = sys.exc_info()[1] if line.pop("exc_info", None) else None
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
        line["defect"] = type(error).__name__
        line["at"] = [f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}" for frame in reversed(frames)]
    return line


class Unfailing:
    """Standard error as long as it can be written: on a full disk, or with nobody reading, the line is lost, never the answer."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


class JsonLine(logging.Formatter):
    """A library's message in the shape of the hub's own. Of an exception the kind alone: its text and trace may hold data."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info and record.exc_info[0]:
            line["kind"] = record.exc_info[0].__name__
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return json.dumps(line | {"timestamp": f"{at}.{int(record.msecs):03d}Z"})


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
