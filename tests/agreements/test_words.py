"""An MOU in sentences: golden for outsiders, and complete, so that a new condition, treatment, action or field can't be forgotten.

After a change that is meant: GOLDEN=write .venv/bin/python -m pytest tests/agreements/test_words.py
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from hub.datasets import DATASETS
from hub.datasets.incidents import Incident
from hub.geo import TIERS
from hub.policy import words
from hub.policy.clauses import Grant, Window
from hub.policy.conditions import CONDITIONS, Within
from hub.policy.mou import Mou, read_mou
from hub.policy.treatments import CLEAR, ROUND_TO, WITHHOLD, Treatment, Word, read_treatment
from hub.policy.vocabulary import Action, duration
from hub.records import Field
from tests.conftest import ROOT

FOLDER = Path(__file__).parent / "golden"
NAMES = {"police": "Harbour Police", "health": "Riverside Health"}
DEMO = sorted((ROOT / "policies" / "demo").glob("*.yaml"))


@pytest.fixture(scope="module")
def everything() -> Mou:
    return read_mou((FOLDER / "everything.yaml").read_bytes(), DATASETS)


def test_what_lawyers_read(everything: Mou) -> None:
    text = "\n".join(words.lines(everything, NAMES, DATASETS)) + "\n"
    path = FOLDER / "everything.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.stem)
def test_the_demos_agreements_have_words_without_gaps(path: Path) -> None:
    for line in words.lines(read_mou(path.read_bytes(), DATASETS), NAMES, DATASETS):
        assert line == line.strip(), line
        assert not any(odd in line for odd in ("None", "  ", "..", "{", "}", "()", "timedelta")), line


# Completeness


def test_the_golden_agreement_uses_every_condition_treatment_and_action(everything: Mou) -> None:
    """Else the golden text would say nothing of one of them."""
    assert {c.word for g in everything.grants for c in g.where} == set(CONDITIONS)
    assert {a for g in everything.grants for a in g.actions} == set(get_args(Action))
    used = {(field.kind, str(g.treatment(field.name))) for g in everything.grants for field in Incident.fields}
    assert used >= {(field.kind, str(t)) for field in Incident.fields for t in treatments(field)}


def test_every_condition_has_words(everything: Mou) -> None:
    assert {*words.CONDITION_WORDS, Within} == set(CONDITIONS.values())
    assert {c.word for r in everything.refuse for c in r.where} >= {"one_of", "at_least", "within"}


def test_every_action_has_words() -> None:
    assert set(words.ACTION_WORDS) == set(get_args(Action))


def test_every_grid_and_every_step_has_words() -> None:
    assert set(words.GRID_WORDS) == set(TIERS)
    assert set(words.STEP_WORDS) == set(ROUND_TO.values())


@pytest.mark.parametrize("name", DATASETS)
def test_every_field_of_a_dataset_has_words_of_its_own(name: str) -> None:
    said = [words.FIELD_WORDS.get(field.name) for field in DATASETS[name].fields]
    assert None not in said
    assert len(set(said)) == len(said)


def treatments(field: Field) -> list[Treatment]:
    """All that an MOU file may say of a field, tried as it may be written."""
    cut: list[Any] = [{"bands": [1, 3, 5]}, {"bands": [2, 5]}, {"last": 1}, {"last": 4}, "match_only"]
    tried = ["clear", "withhold", *({"grid_m": m} for m in TIERS), *({"round_to": iso} for iso in ROUND_TO), *cut]
    found = []
    for value in tried:
        try:
            found.append(read_treatment(field, value))
        except ValueError:
            continue
    return found


def test_all_treatments_that_there_are_were_tried() -> None:
    assert {t.word for f in Incident.fields for t in treatments(f)} == set(get_args(Word))


@pytest.mark.parametrize("field", Incident.fields, ids=lambda field: field.name)
def test_two_treatments_of_a_field_never_read_alike(field: Field) -> None:
    said = [words.treatment_words(field, t) for t in treatments(field)]
    assert len(set(said)) == len(said)
    assert all(said)
    assert [words.treatment_words(field, WITHHOLD)] == [s for s in said if "withheld" in s]


def test_each_field_is_said_to_be_shown_or_withheld_and_never_both(everything: Mou) -> None:
    for grant in everything.grants:
        said = words.explain(everything, grant, NAMES, Incident)
        assert {s.field for s in said.shown} == {f.name for f in Incident.fields if grant.treatment(f.name) != WITHHOLD}
        assert sorted([s.words for s in said.shown] + list(said.withheld)) == sorted(words.field_words(f.name) for f in Incident.fields)


# Parts


@pytest.mark.parametrize(
    ("iso", "said"),
    [
        ("P0D", "0 minutes"),
        ("PT1M", "1 minute"),
        ("PT90M", "1 hour and 30 minutes"),
        ("PT4H", "4 hours"),
        ("P1DT2H3M", "1 day, 2 hours and 3 minutes"),
        ("P2W", "14 days"),
        ("P365D", "365 days"),
        ("P730D", "730 days (about 2 years)"),
        ("P1000D", "1,000 days (about 2.7 years)"),
        ("P7300D", "7,300 days (about 20 years)"),
    ],
)
def test_a_length_of_time_is_told_exactly(iso: str, said: str) -> None:
    length = duration(iso)
    assert length is not None
    assert words.span(length) == said


def test_a_window_of_a_time_that_is_cut_down_says_so() -> None:
    window = Window(lookback="P1D")  # type: ignore[arg-type]
    assert "whole day" in words.window_words(window, Treatment("round_to", "P1D"))
    assert "whole" not in words.window_words(window, CLEAR)
    assert words.window_words(Window(), CLEAR) == "However old or new they are."
    assert Window(lookback="PT0M").lookback == timedelta(0)  # type: ignore[arg-type]


def test_an_organisation_without_a_name_is_told_by_its_slug(everything: Mou) -> None:
    assert words.headline(everything, {}).startswith("police shares incidents with health for the purposes ")


def test_what_partners_number_records_by_keeps_its_hyphens(everything: Mou) -> None:
    grant: Grant = everything.grants[0]
    (said,) = [words.condition_words(c, grant) for c in grant.where if c.field == "external_id"]
    assert "A-1 or no-such-number" in said


def test_a_category_is_told_without_hyphens() -> None:
    assert (words.category("missing-person"), words.category("theft")) == ("missing person", "theft")


def test_a_field_without_words_is_told_by_its_name() -> None:
    assert words.field_words("some_new_field") == "the some new field"


def test_what_could_be_asked_for_is_all_that_a_grant_does_not_give(everything: Mou) -> None:
    """From the text alone: each field that is withheld or coarse, other times, other records, other actions."""
    said = {grant.id: words.could_ask(grant, Incident) for grant in everything.grants}
    assert said["no-window"] == (
        "To be shown the provider's own number, the category, the status, the severity (1 to 5), the handling label (TLP), when it"
        " happened, when it ended, when it was reported, when it was resolved, the title, the narrative, the address, the people"
        " involved, the phone number, the vehicles involved or whatever else the provider's own records hold, which it withholds.",
        "To be shown the place more finely than as the centre of the 100 m cell it lies in.",
        "Other records than those that meet its conditions.",
        "To look at, subscribe to or match values against them.",
    )
    for grant in everything.grants:
        text = " ".join(said[grant.id])
        for field in Incident.fields:
            assert (words.field_words(field.name) in text) == (grant.treatment(field.name) != CLEAR), (grant.id, field.name)
        assert ("Other times" in text) == (grant.occurred != Window())
