"""The JSON Schema (2020-12) of an MOU file, for editors: from the models, with what they read by hand written out. Pure.

It says the form; what a file means (a jurisdiction that exists, a test that passes) only the hub checks.
"""

from collections.abc import Mapping
from typing import Any

from hub.geo import TIERS
from hub.policy.conditions import CONDITIONS
from hub.policy.descriptions import DESCRIPTIONS
from hub.policy.mou import Mou
from hub.policy.treatments import MAX_BANDS, MAX_LAST, ROUND_TO
from hub.records import Field, Record

Schema = dict[str, Any]
DURATION: Schema = {"type": "string", "pattern": r"^P(?=\d|T\d)(\d{1,6}W)?(\d{1,6}D)?(T(?=\d)(\d{1,6}H)?(\d{1,6}M)?)?$"}
_NUMBERS = {"text": "string", "number": "integer"}


def json_schema(datasets: Mapping[str, type[Record]]) -> Schema:
    """The schema; `datasets` say which fields there are and what they take."""
    schema: Schema = _plain(Mou.model_json_schema(by_alias=True))
    parts = schema["$defs"]
    fields = [f for dataset in datasets.values() for f in dataset.fields]
    conditions: Schema = {"oneOf": [c for f in fields for c in _conditions(f)]}
    where: Schema = {"oneOf": [{"const": "everything"}, {"type": "array", "minItems": 1, "items": conditions}]}
    treatments = _object({f.name: {"oneOf": _treatments(f)} for f in fields})
    for name in ("Grant", "Refusal"):
        parts[name]["properties"] |= {"where": where, "dataset": {"enum": sorted(datasets)}}
    parts["Refusal"]["required"] = [n for n in parts["Refusal"]["required"] if n != "id"]
    parts["Refusal"]["properties"]["fields"]["items"] = {"enum": sorted({f.name for f in fields})}
    parts["Grant"]["properties"] |= {"fields": treatments | {"minProperties": 1}}
    parts["OwnTest"]["properties"] |= {
        "expect": {"oneOf": [{"enum": ["hidden", "shown"]}, treatments | {"minProperties": 1}]},
        "dataset": {"enum": sorted(datasets)},
    }
    parts["OwnTest"]["required"] = [n for n in parts["OwnTest"]["required"] if n != "dataset"]
    parts["TestedRecord"] = _tested(fields)
    for part, name in (("Window", "lookback"), ("Window", "embargo"), ("Duties", "retain"), ("Duties", "acknowledge")):
        parts[part]["properties"][name] = DURATION
    schema["properties"]["jurisdictions"]["additionalProperties"] = False
    schema["properties"]["supersedes"] = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
    for unused in ("Condition", "Treatment"):
        parts.pop(unused, None)
    for part, words in DESCRIPTIONS.items():
        properties = (schema if part == "Mou" else parts[part])["properties"]
        properties |= {word: properties[word] | {"description": said} for word, said in words.items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A Concord MOU"} | schema


def _plain(node: Any) -> Any:
    """Without titles, defaults and nulls: a file leaves out what it doesn't say."""
    if isinstance(node, list):
        return [_plain(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    found = {k: _plain(v) for k, v in node.items() if not (k == "title" and isinstance(v, str)) and k != "default"}
    kept = [branch for branch in found.get("anyOf", ()) if branch != {"type": "null"}]
    if len(kept) == 1:
        del found["anyOf"]
        found = kept[0] | found
    return found


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _values(field: Field) -> Schema:
    return {"enum": sorted(field.choices)} if field.choices else {"type": _NUMBERS[field.kind]}


def _conditions(field: Field) -> list[Schema]:
    """What a condition on this field may look like."""
    many: Schema = {"type": "array", "minItems": 1}
    arguments: dict[str, Schema] = {
        "one_of": many | {"items": _values(field)} if field.kind in _NUMBERS else {},
        "at_most": {"type": "integer"},
        "at_least": {"type": "integer"},
        "within": {"oneOf": [{"type": "string"}, many | {"items": {"type": "string"}}]},
    }
    words = [word for word, kind in CONDITIONS.items() if field.kind in kind.column_types]
    return [_object({"field": {"const": field.name}, word: arguments[word]}) | {"required": ["field", word]} for word in words]


def _treatments(field: Field) -> list[Schema]:
    plain = ["clear", "withhold", *(["match_only"] if field.matched else [])]
    found: list[Schema] = [{"enum": plain}]
    if field.kind == "place":
        found.append(_one("grid_m", {"enum": sorted(TIERS)}))
    if field.kind == "time":
        found.append(_one("round_to", {"enum": list(ROUND_TO)}))
    if field.kind == "number":
        found.append(_one("bands", {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": MAX_BANDS}))
    if field.free_text:
        found.append(_one("last", {"type": "integer", "minimum": 1, "maximum": MAX_LAST}))
    return found


def _one(word: str, argument: Schema) -> Schema:
    return _object({word: argument}) | {"required": [word]}


def _tested(fields: list[Field]) -> Schema:
    values = {f.name: _values(f) for f in fields if f.kind in _NUMBERS}
    point: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    places: Schema = {"in": {"type": "string"}, "at": point, "ago": DURATION}
    return _object(places | values) | {"oneOf": [{"required": ["in"]}, {"required": ["at"]}]}
