"""YAML 1.2, strictly: no anchors or aliases, no duplicate or merge keys, no tags, no other version, bounded size and depth.

In YAML 1.2 `no` is text and `12:30` is text; only true and false are booleans.
"""

import re
from datetime import date
from functools import partial
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent, Event, ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.parser import Parser

from hub.errors import HubError, Problem

MAX_BYTES = 200_000
MAX_DEPTH = 20
_DAY = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)")


class _Wrong(Exception):
    """A place in the file, and what is wrong there."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place, self.reason = place, reason


class File(NamedTuple):
    """A file that was read: its keys and values, and its nodes, which know their lines."""

    data: dict[str, Any]
    nodes: Node


def read_yaml(source: bytes, what: str, refused: type[HubError]) -> dict[str, Any]:
    """The keys and values in `source`; `what` it should hold is said in messages ("MOU").

    Raises:
        refused: naming the line.
    """
    return read_file(source, what, refused).data


def read_file(source: bytes, what: str, refused: type[HubError]) -> File:
    """As read_yaml(), for whoever tells the lines of what the file says: it is parsed once for both."""
    try:
        return _read(source, what)
    except _Wrong as wrong:
        raise refused(f"{wrong.place}: {wrong.reason}", problems=[Problem(wrong.place, wrong.reason)]) from None


def _read(source: bytes, what: str) -> File:
    if len(source) > MAX_BYTES:
        raise _Wrong("the file", f"is over {MAX_BYTES:,} bytes")
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Wrong(f"byte {error.start}", "is not UTF-8") from None
    yaml = _strict(what)
    try:
        nodes = yaml.compose(text)
        data = None if nodes is None else yaml.constructor.construct_document(nodes)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or "is not YAML").splitlines()[0]
        raise _Wrong(f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file", problem) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise _Wrong("the file", f"is not YAML: {str(error).splitlines()[0] if str(error) else 'nested too deeply'}") from None
    if not isinstance(data, dict):
        raise _Wrong("the file", f"must hold one {what}: keys and values")
    return File(data, nodes)


def nodes_of(source: bytes) -> Node | None:
    """The nodes of a file that read_yaml() has read: they know their lines."""
    node: Node | None = _yaml().compose(source.decode("utf-8"))
    return node


class Mark(NamedTuple):
    """Where something begins in the file, both from 1."""

    line: int
    column: int


def mark_of(node: Node | None, place: tuple[int | str, ...]) -> Mark | None:
    """Where the innermost part of `place` that the file has begins."""
    mark = None
    for step in place:
        found = _step(node, step)
        if found is None:
            break
        node, mark = found
    return mark


def _step(node: Node | None, step: int | str) -> tuple[Node, Mark] | None:
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], _mark(node.value[step])
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, _mark(key)
    return None


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _strict(what: str) -> YAML:
    """Refuses, while it reads, what a reader of the file would not see."""
    yaml = _yaml()
    yaml.Parser = partial(_Strict, what)
    return yaml


class _Strict(Parser):
    """Looks at each event before nodes are made of it."""

    def __init__(self, what: str, loader: Any) -> None:
        super().__init__(loader)
        self._what, self._depth, self._documents = what, 0, 0

    def get_event(self) -> Event:
        event: Event = super().get_event()
        self._check(event)
        return event

    def _check(self, event: Event) -> None:
        line = event.start_mark.line + 1
        if (surprise := _surprise(event)) is not None:
            raise _Wrong(f"line {line}", surprise)
        if isinstance(event, CollectionStartEvent):
            self._depth += 1
        elif isinstance(event, CollectionEndEvent):
            self._depth -= 1
        self._documents += isinstance(event, DocumentStartEvent)
        if self._depth > MAX_DEPTH:
            raise _Wrong(f"line {line}", f"is nested more than {MAX_DEPTH} deep")
        if self._documents > 1:
            raise _Wrong(f"line {line}", f"begins a second document; one file holds one {self._what}")


def _surprise(event: Event) -> str | None:
    """Why an event is not wanted: what it makes of the text, a reader of the file would not see."""
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases are not allowed: write it out"
    if getattr(event, "tag", None) is not None:
        return "tags are not allowed: a value is what it reads like"
    if isinstance(event, ScalarEvent) and event.value == "<<" and not event.style:
        return "merge keys are not allowed: write it out"
    if isinstance(event, ScalarEvent) and not event.style and (day := _DAY.fullmatch(event.value)):
        return _not_a_day(*map(int, day.groups()))
    if isinstance(event, DocumentStartEvent) and event.version not in (None, (1, 2)):
        return "must be YAML 1.2: in older versions `no` and `12:30` are not text"
    return None


def _not_a_day(year: int, month: int, day: int) -> str | None:
    try:
        date(year, month, day)
    except ValueError as error:
        return f"is not a day: {error}"
    return None
