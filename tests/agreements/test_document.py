"""The document of an agreement: a PDF that says what the page says, the same bytes for the same file."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.agreements.document import render
from hub.datasets import DATASETS
from hub.policy import words
from hub.policy.mou import Mou, read_mou

NAMES = {"police": "Harbour Police", "health": "Riverside Health"}


@pytest.fixture(scope="module")
def everything() -> Mou:
    return read_mou((Path(__file__).parent / "golden" / "everything.yaml").read_bytes(), DATASETS)


@pytest.fixture(scope="module")
def pdf(everything: Mou) -> bytes:
    return render(everything, NAMES, DATASETS)


def test_the_same_file_gives_the_same_bytes(everything: Mou, pdf: bytes) -> None:
    assert pdf.startswith(b"%PDF-")
    assert render(everything, NAMES, DATASETS) == pdf
    assert render(everything, NAMES | {"police": "Other Police"}, DATASETS) != pdf


def test_it_holds_every_word_of_the_file_and_of_its_sentences(everything: Mou, pdf: bytes) -> None:
    """Lines break where they must: compared without spaces."""
    text = "".join(_text(pdf)).replace(" ", "")
    sentences = [
        words.headline(everything, NAMES),
        words.in_force_words(everything),
        everything.sha256,
        *everything.source.decode().split(),
    ]
    for grant in everything.grants:
        said = words.explain(everything, grant, NAMES, DATASETS[grant.dataset])
        sentences += [said.summary, *said.records, said.period, said.purposes, *said.actions, said.case, *(s.how for s in said.shown)]
    for refusal in everything.refuse:
        never = words.explain_refusal(everything, refusal, NAMES)
        sentences += [never.summary, *never.records]
    missing = [s for s in sentences if s.replace(" ", "") not in text]
    assert missing == []


def _text(pdf: bytes) -> Iterator[str]:
    """What the pages show: each string of glyph numbers by the map of its font (ISO 32000-1, 9.10.3)."""
    maps = _glyphs(pdf)
    for stream in _streams(pdf):
        if b" Tf" not in stream:
            continue
        font: dict[int, str] = {}
        for name, string in re.findall(rb"/F(\d+) [\d.]+ Tf|\(((?:[^()\\]|\\.)*)\) ?T[jJ]|\[?\(", stream):
            if name:
                font = maps[int(name)]
            elif string:
                raw = re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(m[1], m[1]), string, flags=re.S)
                yield "".join(font.get(int.from_bytes(raw[n : n + 2], "big"), "") for n in range(0, len(raw), 2))


def _glyphs(pdf: bytes) -> dict[int, dict[int, str]]:
    found = []
    for stream in _streams(pdf):
        if b"beginbfchar" in stream:
            pairs = re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]+)>", stream)
            found.append({int(code, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for code, text in pairs})
    return dict(enumerate(found, 1))


def _streams(pdf: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb"stream\n(.*?)\nendstream", pdf, re.S):
        try:
            yield zlib.decompress(found[1])
        except zlib.error:
            yield found[1]
