"""Each file of a generated corpus of bad agreements gets one clear error; nothing changes."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.agreements.parties import YAML_TYPE, party
from tests.agreements.test_bad_input import state
from tests.world import World
from tests.written import yaml_of

pytestmark = pytest.mark.unmeasured

WHOLE = Path(__file__).parent / "golden" / "everything.yaml"


def corpus() -> Iterator[tuple[str, bytes]]:
    """The full file with each key taken away, misspelt, or given something of another type; and what is no such file at all."""
    whole = YAML(typ="safe", pure=True).load(WHOLE)
    for path in _paths(whole):
        for what in ("missing", "misspelt", "of another type"):
            changed = copy.deepcopy(whole)
            inner: Any = changed
            for step in path[:-1]:
                inner = inner[step]
            if what == "of another type":
                inner[path[-1]] = {"x": {"y": 1}}
            else:
                given = inner.pop(path[-1])
                inner |= {f"{path[-1]}x": given} if what == "misspelt" else {}
            yield f"{'.'.join(map(str, path))} {what}", yaml_of(changed)
    text = WHOLE.read_bytes()
    yield "duplicate keys", text + b"title: Twice\n"
    yield "a bomb of aliases", b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n, n, n - 1, n - 1) for n in range(98, 120))
    yield "an anchor", text.replace(b"title: ", b"title: &t ")
    yield "a tag", text.replace(b"title: ", b"title: !!python/object:os.system ")
    yield "a second document", text + b"---\n" + text
    yield "too deep", b"a: " + b"[" * 5_000 + b"]" * 5_000
    yield "no text", b"\xff\xfe\x00\x01"
    yield "nothing", b""
    yield "a list", b"- mou: MOU-1\n"
    yield "JSON of something else", b'{"type": "Feature"}'
    yield "a null byte", text.replace(b"title: ", b"title: \x00")


def _paths(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if isinstance(node, dict):
            yield (*here, key)
        yield from _paths(inner, (*here, key))


def test_every_file_of_the_corpus_gets_one_clear_error(world: World) -> None:
    for slug in ("police", "health"):
        world.organisation(slug)
    police, tried = party(world, "police"), 0
    before = state(world)
    for name, content in corpus():
        answer = police.call("POST", "/mous", content, YAML_TYPE)
        if answer.status_code == 422 and "the hub has no boundary file" in answer.text:
            assert name.endswith(" missing"), name  # it may be left out; then only its boundaries are asked for
            continue
        assert answer.status_code == 422, (name, answer.status_code, answer.text[:300])
        problem = answer.json()
        assert problem["type"] == "urn:concord:problem:invalid-policy", name
        assert problem["detail"], name
        for error in problem.get("errors", ()):
            assert error["field"], name
            assert error["reason"], name
        tried += 1
    assert tried > 150
    assert state(world) == before
