"""What answers of the API have in common: their media types, and JSON that no cache keeps."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.responses import Response

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PDF: Final = "application/pdf"
NO_STORE: Final = {"Cache-Control": "no-store"}


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as JSON."""
    return Response(orjson.dumps(content), status, NO_STORE | dict(headers or {}), JSON)
