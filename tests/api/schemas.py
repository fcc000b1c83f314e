"""As much of JSON Schema as the schemas of OGC API – Features use, so that no library is needed for it."""

from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import SHARED

FOLDER = SHARED / "data" / "ogc" / "core_openapi"
_TYPES: dict[Any, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    None: (type(None),),
}
_KNOWN = {
    "type",
    "required",
    "properties",
    "items",
    "allOf",
    "oneOf",
    "$ref",
    "const",
    "enum",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
}
_SAYS_NOTHING = {"description", "title", "example", "examples", "default", "format"}


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


def faults(value: Any, schema: dict[str, Any], folder: Path = FOLDER / "schemas", where: str = "$") -> list[str]:
    """What of `value` does not fit; none when it is valid. An unknown word of the schema is a fault of the test."""
    assert schema.keys() <= _KNOWN | _SAYS_NOTHING, schema.keys()
    if "$ref" in schema:
        return faults(value, read(folder / schema["$ref"]), folder, where)
    found = [fault for part in schema.get("allOf", ()) for fault in faults(value, part, folder, where)]
    if "oneOf" in schema and sum(not faults(value, part, folder, where) for part in schema["oneOf"]) != 1:
        found.append(f"{where} is not one of {len(schema['oneOf'])}")
    return found + _own(value, schema, where) + _inner(value, schema, folder, where)


def _own(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    found = []
    if "type" in schema:
        words = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(isinstance(value, _TYPES[w]) and not isinstance(value, bool) for w in words):
            return [f"{where} is no {words}: {value!r}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{where} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is none of {schema['enum']}")
    if isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        found.append(f"{where} has {len(value)} items")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value:
        found.append(f"{where} is out of range")
    if schema.get("format") == "date-time" and isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None:
        found.append(f"{where} has no zone")
    return found


def _inner(value: Any, schema: dict[str, Any], folder: Path, where: str) -> list[str]:
    found = []
    if isinstance(value, dict):
        found += [f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value]
        known = schema.get("properties", {})
        found += [f for name, part in known.items() if name in value for f in faults(value[name], part, folder, f"{where}.{name}")]
    if isinstance(value, list) and "items" in schema:
        found += [f for n, item in enumerate(value) for f in faults(item, schema["items"], folder, f"{where}[{n}]")]
    return found
