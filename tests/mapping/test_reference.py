"""The page on mappings names every word and every part of a format; strict YAML says what file it was reading."""

import re
from pathlib import Path

import pytest

from hub.errors import InvalidFile, InvalidMapping
from hub.mapping.model import DELIMITERS, ExternalId, Mapping, PlaceColumns, Value
from hub.mapping.times import DIRECTIVES
from hub.yamlfile import MAX_DEPTH, Mark, mark_of, nodes_of, read_yaml

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mapping.md"


def coded() -> set[str]:
    return set(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", PAGE.read_text(), flags=re.M | re.S)))


def rows() -> set[str]:
    return {code for cell in re.findall(r"^\| *([^|]*?) *\|", PAGE.read_text(), re.M) for code in re.findall(r"`([^`]+)`", cell)}


def test_every_word_of_a_mapping_has_a_row() -> None:
    assert {word for part in (Mapping, Value, ExternalId, PlaceColumns) for word in part.model_fields} <= rows()


def test_every_part_of_a_format_and_every_encoding_and_delimiter_is_named() -> None:
    encodings = re.findall(r"'([^']+)'", str(Mapping.model_fields["encoding"].annotation))
    assert len(encodings) == 6
    assert {*(f"%{d}" for d in DIRECTIVES), *encodings, *(d.replace("|", r"\|") for d in DELIMITERS)} <= coded()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"- a", "the file: must hold one survey: keys and values"),
        (b"a: 1\n---\nb: 2\n", "line 2: begins a second document; one file holds one survey"),
        (b"a: " + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), f"line 1: is nested more than {MAX_DEPTH} deep"),
        (b"a: !!python/name:os.system x", "line 1: tags are not allowed: a value is what it reads like"),
    ],
)
def test_strict_yaml_says_what_it_was_reading_and_raises_what_it_was_told(text: bytes, words: str) -> None:
    for kind in (InvalidMapping, InvalidFile):
        with pytest.raises(kind) as caught:
            read_yaml(text, "survey", kind)
        assert str(caught.value) == words


def test_a_place_in_yaml_has_a_line_and_a_column() -> None:
    nodes = nodes_of(b"a:\n  - b\n  - {c: 1, 2: x}\n")
    assert mark_of(nodes, ("a", 1, "c")) == Mark(3, 6)
    assert mark_of(nodes, ("a", 1, 2)) == Mark(3, 12)
    assert mark_of(nodes, ("a", 1, "missing")) == Mark(3, 5)
    assert mark_of(nodes, ("missing",)) is None
