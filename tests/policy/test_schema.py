"""The published JSON Schema of an MOU file agrees with the hub: what one reads the other allows, word for word."""

import copy
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from hub.datasets import DATASETS
from hub.errors import InvalidPolicy
from hub.policy.mou import read_mou
from hub.policy.schema import json_schema
from tests.conftest import ROOT
from tests.policy.cases import batch
from tests.written import yaml_of

pytestmark = pytest.mark.unmeasured

SCHEMA = ROOT / "policies" / "mou.schema.json"
FILES = [*sorted((ROOT / "policies" / "demo").glob("*.yaml")), ROOT / "tests" / "agreements" / "golden" / "everything.yaml"]
CHECK = Draft202012Validator(json_schema(DATASETS))


def read(path: Path) -> Any:
    """As JSON has it: days are text."""
    return json.loads(json.dumps(YAML(typ="safe", pure=True).load(path), default=str))


def test_the_published_schema_is_that_of_the_models() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(DATASETS)
    Draft202012Validator.check_schema(json_schema(DATASETS))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_that_the_hub_reads_fit_the_schema(path: Path) -> None:
    assert [e.message for e in CHECK.iter_errors(read(path))] == []


def test_generated_agreements_fit_the_schema() -> None:
    for mou in batch(3, 16, 10, 1).mous:
        pinned = mou | {"jurisdictions": {n: j | {"sha256": "a" * 64} for n, j in mou["jurisdictions"].items()}}
        assert [e.message for e in CHECK.iter_errors(json.loads(json.dumps(pinned, default=str)))] == []


def _changes() -> Iterator[tuple[str, Any]]:
    """Each word of a full file taken away, misspelt, or given something of another type."""
    whole = YAML(typ="safe", pure=True).load(FILES[-1])
    for path in _paths(whole):
        for what in ("misspelt", "of another type"):
            changed = copy.deepcopy(whole)
            inner: Any = changed
            for step in path[:-1]:
                inner = inner[step]
            if what == "misspelt":
                inner[f"{path[-1]}x"] = inner.pop(path[-1])
            else:
                inner[path[-1]] = {"x": {"y": None}}
            yield f"{'.'.join(map(str, path))} {what}", changed


def _paths(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if isinstance(node, dict) and here[-1:] != ("jurisdictions",):
            yield (*here, key)
        yield from _paths(inner, (*here, key))


def test_whatever_the_schema_refuses_the_hub_refuses_and_the_other_way_round() -> None:
    """But for what only the hub knows: which names belong together."""
    both = 0
    for name, changed in _changes():
        try:
            read_mou(yaml_of(changed), DATASETS)
            good = True
        except InvalidPolicy:
            good = False
        fits = CHECK.is_valid(json.loads(json.dumps(changed, default=lambda v: v.isoformat() if isinstance(v, date) else str(v))))
        assert fits == good, (name, good)
        both += not good
    assert both > 80


def test_every_word_of_a_file_has_a_description() -> None:
    """Editors show it, and docs/reference/mou.md is made of it."""
    schema = json_schema(DATASETS)
    parts = {"Mou": schema} | {name: part for name, part in schema["$defs"].items() if name not in ("Contacts", "Roles")}
    bare = {f"{name}.{word}" for name, part in parts.items() for word, said in part["properties"].items() if "description" not in said}
    made_up = {f"TestedRecord.{f.name}" for f in DATASETS["incidents"].fields}  # described in the record's own reference
    assert bare - made_up == set()
