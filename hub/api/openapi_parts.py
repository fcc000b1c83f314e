"""What the parts of the OpenAPI document are made of."""

from typing import Any

GEOJSON = "application/geo+json"
JSON = "application/json"
UUID_TEXT = {"type": "string", "format": "uuid"}
PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}},
}


def request_body(media: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media: {"schema": {"type": "object"}}}}}


def operation(
    name: str, summary: str, media: str = "application/json", statuses: tuple[int, ...] = (200, 400), body: Any = None
) -> dict[str, Any]:
    """`body`: the schema of a good answer, where more is to be said than that it is an object."""
    good = {"description": summary, "content": {media: {"schema": body or {"type": "object"}}}}
    return {"operationId": name, "summary": summary, "responses": {str(s): good if s < 300 else PROBLEM for s in statuses}}


def secured(operation: dict[str, Any], scope: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return operation | {"security": [{"oauth": [scope]}], "parameters": parameters}


def parameter(name: str, description: str, schema: dict[str, Any], *, where: str = "query") -> dict[str, Any]:
    style = {"style": "form", "explode": False} if where == "query" else {}
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema, **style}


def header(name: str, description: str) -> dict[str, Any]:
    return parameter(name, description, {"type": "string"}, where="header")


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def many(items: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list."""
    return {"type": "array", "items": items}
