"""A mapping read strictly: YAML 1.2, or the JSON that a client sends. Pure: the catalogue comes in as an argument."""

from collections.abc import Mapping as Dict
from typing import Any

from pydantic import ValidationError

from hub.errors import InvalidMapping, Problem
from hub.mapping.checks import Place, faults
from hub.mapping.model import ONE, SEVERAL, Mapping
from hub.records import Record
from hub.yamlfile import mark_of, read_file

MAX_PROBLEMS = 100
_REASONS = {  # pydantic's own words name Python's types
    "extra_forbidden": "is not a word of the mapping vocabulary",
    "missing": "is missing",
    "string_type": "must be text: numbers, true and false are text in quotes",
    "string_unicode": "must be text",
    "tuple_type": "must be a list",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "model_attributes_type": "must hold keys and values",
    "string_too_short": "is empty",
}

__all__ = ["Mapping", "load_mapping", "read_mapping"]


def read_mapping(data: dict[str, Any], dataset: type[Record]) -> Mapping:
    """The mapping in `data`, which fits `dataset`.

    Raises:
        InvalidMapping: with one Problem for each thing wrong, naming its place and the reason.
    """
    mapping, wrong = _read(data, dataset)
    if mapping is None:
        raise _refused([Problem(_path(place), reason) for place, reason in wrong])
    return mapping


def load_mapping(source: bytes, datasets: Dict[str, type[Record]]) -> Mapping:
    """The mapping in a YAML file.

    Raises:
        InvalidMapping: with one Problem for each thing wrong, naming its place, line and column and the reason.
    """
    data, nodes = read_file(source, "mapping", InvalidMapping)
    name = data.get("dataset")
    if not isinstance(name, str) or name not in datasets:
        raise InvalidMapping(f"dataset: must be one of the hub's: {', '.join(sorted(datasets))}.", field="dataset")
    mapping, wrong = _read(data, datasets[name])
    if mapping is None:
        marks = [mark_of(nodes, place) for place, _ in wrong]
        raise _refused(
            [
                Problem(_path(place), f"{reason} (line {mark.line}, column {mark.column})" if mark else reason)
                for (place, reason), mark in zip(wrong, marks, strict=True)
            ]
        )
    return mapping


def _read(data: dict[str, Any], dataset: type[Record]) -> tuple[Mapping | None, list[tuple[Place, str]]]:
    try:
        mapping = Mapping.model_validate(data)
    except ValidationError as error:
        found = [_placed(item["loc"], item["type"], item["msg"]) for item in error.errors(include_url=False, include_input=False)]
        return None, found[:MAX_PROBLEMS]
    wrong = list(faults(mapping, dataset))
    return (None, wrong[:MAX_PROBLEMS]) if wrong else (mapping, [])


def _placed(loc: tuple[int | str, ...], kind: str, message: str) -> tuple[Place, str]:
    place = tuple(step for n, step in enumerate(loc) if not (n == 2 and loc[0] == "fields" and step in (ONE, SEVERAL)) and step != "[key]")
    reason = _REASONS.get(kind, message.removeprefix("Value error, "))
    return place, reason


def _path(place: Place) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".") or "the mapping"


def _refused(problems: list[Problem]) -> InvalidMapping:
    return InvalidMapping("; ".join(f"{p.field}: {p.reason}" for p in problems[:5]) + ".", problems=problems)
