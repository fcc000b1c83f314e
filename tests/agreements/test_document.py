"""The document of an agreement: a PDF that says what the page says, the same bytes for the same file."""

from pathlib import Path

import pytest

from hub.agreements.document import render
from hub.datasets import DATASETS
from hub.policy import words
from hub.policy.mou import Mou, read_mou
from tests.pdf import text_of

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
    text = "".join(text_of(pdf)).replace(" ", "")
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
