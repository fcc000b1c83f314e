"""The tests' own writer of agreements writes what it is given: another reader reads just that."""

from datetime import date
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.policy.cases import batch
from tests.written import yaml_of

TEXTS = [
    "no",
    "12:30",
    "true",
    "NULL",
    "~",
    "",
    " a",
    "a ",
    "a: b",
    "a #b",
    "-",
    "- x",
    "?",
    "é",
    "\x7f\x00\u2028",
    "a\nb",
    "0x1",
    "1e3",
    ".5",
]
TEXTS += [
    "2026-01-01",
    "<<",
    "!t",
    "&a",
    "*b",
    "{",
    "[",
    ",",
    "|",
    ">",
    "%YAML",
    "---",
    "'",
    '"',
    "\\",
    "`",
    "@",
    "long " * 60,
    "😀",
    "a.b-c_d",
]
ODD: dict[str, Any] = {
    "texts": TEXTS,
    "keys": {text: n for n, text in enumerate(TEXTS)},
    "empty": {"list": [], "keys": {}, "both": [[], {}]},
    "nested": [[1, [2, [3, {"a": [{"b": {"c": (4, 5)}}]}]]], {"a": 1, "b": [{"c": 2}, []]}],
    "others": [None, True, False, -3, 1.5, date(2026, 1, 2)],
}


@pytest.mark.parametrize("data", [ODD, *batch(5, 4, 1, 1).mous], ids=lambda data: data.get("mou", "odd"))
def test_what_was_written_is_read_again(data: dict[str, Any]) -> None:
    assert YAML(typ="safe", pure=True).load(yaml_of(data).decode()) == _lists(data)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, list | tuple) else value
