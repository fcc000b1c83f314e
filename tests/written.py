"""Agreements of tests as text: YAML as people write it. ruamel's emitter, in plain Python, takes sixteen times as long."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

_PLAIN = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][A-Za-z0-9_.-]*(?: [A-Za-z0-9][A-Za-z0-9_.-]*)*", re.I)
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")  # JSON may have them as they are, YAML may not


def yaml_of(data: Mapping[str, Any]) -> bytes:
    """Whatever holds nothing deeper is on one line, the rest one under the other; equal parts are written out: the hub reads no aliases."""
    return "".join(f"{line}\n" for line in _lines(data)).encode()


def _lines(value: Any) -> Iterator[str]:
    if not _deep(value):
        yield _flow(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if _deep(inner):
                yield f"{_flow(key)}:"
                yield from (line if isinstance(inner, list | tuple) else f"  {line}" for line in _lines(inner))
            else:
                yield f"{_flow(key)}: {_flow(inner)}"
    else:
        for inner in value:
            first, *more = _lines(inner)
            yield from (f"- {first}", *(f"  {line}" for line in more))


def _deep(value: Any) -> bool:
    return any(isinstance(inner, Mapping | list | tuple) for inner in _inner(value))


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()


def _flow(value: Any) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str():
            return (
                value if _PLAIN.fullmatch(value) else _ESCAPED.sub(lambda c: f"\\u{ord(c[0]):04x}", json.dumps(value, ensure_ascii=False))
            )
        case date():
            return value.isoformat()
        case None | bool() | int() | float():
            return json.dumps(value)
    raise TypeError(f"{value!r} has no place in an agreement")


def _quoted(value: str) -> str:
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
