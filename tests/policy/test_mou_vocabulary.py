"""The words of an MOU beside its grants: its own tests, what people act on, and words that nothing follows yet."""

from pathlib import Path
from typing import Any

import pytest
import shapely

from hub.agreements.files import check
from hub.datasets import DATASETS
from hub.errors import InvalidPolicy
from hub.geo import Cell, Point, cell, snap
from hub.policy.clauses import Grant
from hub.policy.mou import read_mou
from hub.policy.playing import failures
from hub.policy.refused import COARSEST_M, refused_area
from hub.policy.treatments import Treatment
from tests.policy.spoiling import GOOD, edited, refused, write
from tests.world import World

TEST = "tests: [{{as: {{organisation: health, purpose: {purpose}}}, record: {{{record}}}, expect: {expect}}}]"
RECORD = "in: harbour, ago: P1D, category: theft, severity: 2"
REFUSE = "refuse: [{{{}dataset: incidents, where: everything{}}}]"
AT_MOST, CASE = "cuts through a band in which this grant releases severity", "  case_reference: required"
HARBOUR = shapely.box(-79.5, 43.6, -79.2, 43.8)
# what is added before `grants:` → the place of the error, its line (None: it is about what the file says as a whole), the reason
BAD_LINES: dict[str, tuple[str, int | None, str]] = {
    "grant: []": ("grant", 10, "did you mean 'grants'"),
    "supersedes: 1": ("supersedes", 10, "must be `sha256:`"),
    f"supersedes: sha256:{'0' * 64}": ("supersedes", None, "no version of it was ever in force here"),
    "contacts: {provider: {role: x}, consumer: {name: y}}": ("contacts.provider.name", 10, "missing"),
    "contacts: {provider: {name: x, email: x}, consumer: {name: y}}": ("contacts.provider.email", 10, "match"),
    "roles: {provider: [], consumer: [reads]}": ("roles.provider", 10, "at least 1"),
    "objectives: safety": ("objectives", 10, "must be a list"),
    REFUSE.format("", ", fields: [occurred_at]"): ("refuse[0].fields", 10, "refuse the whole record"),
    "refuse: everything": ("refuse", 10, "must be a list"),
    REFUSE.format("", ", fields: [weather]"): ("refuse[0].fields", 10, "no field 'weather'"),
    REFUSE.format("id: response, ", ""): ("grants", 11, "the same id"),
    TEST.format(purpose="research", record=RECORD, expect="hidden"): ("tests[0].expect", None, "to be hidden; it is shown"),
    TEST.format(purpose="other", record=RECORD, expect="shown"): ("tests[0].expect", None, "to be shown; it is hidden"),
    TEST.format(purpose="other", record=RECORD, expect="{place: clear}"): ("tests[0].expect", None, "to be shown; it is hidden"),
    TEST.format(purpose="research", record=RECORD, expect="{place: clear}"): ("tests[0].expect", None, "expected clear, it is grid_m:500"),
    TEST.format(purpose="research", record=RECORD, expect="{place: sharp}"): ("tests[0].expect.place", 10, "is not a treatment"),
    TEST.format(purpose="research", record=RECORD, expect="visible"): ("tests[0].expect", 10, "must be hidden, shown"),
    TEST.format(purpose="research", record="category: theft", expect="shown"): ("tests[0].record", 10, "needs a place"),
    TEST.format(purpose="research", record="at: [200, 0]", expect="shown"): ("tests[0].record.at", 10, "must be [longitude, latitude]"),
    TEST.format(purpose="research", record="in: moon", expect="shown"): ("tests", 10, "'moon' is not among"),
    TEST.format(purpose="research", record="in: harbour, phone: x", expect="shown"): ("tests[0].record", 10, "phone can't be tested"),
    TEST.format(purpose="research", record="in: harbour, category: asault", expect="shown"): ("tests[0].record", 10, "'assault'"),
}
# what is put in the place of something → the same
BAD_EDITS: dict[tuple[str, str], tuple[str, int | None, str]] = {
    ("[theft, assault]", "[theft, asault]"): ("grants[0].where[0]", 16, "did you mean 'assault'"),
    ("category: clear", "category: clear, severity: {bands: [1, 3]}"): ("grants[0].where", 15, AT_MOST),
    ("category: clear", "category: clear, severity: {bands: [4, 1]}"): ("grants[0].fields.severity", 20, "ascending"),
    ("category: clear", "category: clear, phone: {last: 21}"): ("grants[0].fields.phone", 20, "is not a treatment"),
    ("category: clear", "category: clear, people: {last: 4}"): ("grants[0].fields.people", 20, "is not a treatment"),
    ("category: clear", "category: clear, title: match_only"): ("grants[0].fields.title", 20, "is not a treatment"),
    ("category: clear", "category: clear, phone: {last: 0}"): ("grants[0].fields.phone", 20, "is not a treatment"),
    ("  occurred:", "  duties: {refrain: [NOSALE]}\n  occurred:"): ("grants[0].duties.refrain[0]", 19, "'NOREUSE' or 'NORELINK'"),
    ("  occurred:", "  duties: {acknowledge: P36526D}\n  occurred:"): ("grants[0].duties.acknowledge", 19, "100 years"),
    ("  occurred:", "  duties: {retain: PT4H}\n  occurred:"): ("grants[0].duties.retain", 19, "a day (P1D) or longer"),
    ("  occurred:", "  aggregates: {min_count: 1}\n  occurred:"): ("grants[0].aggregates.min_count", 19, "greater than or equal to 2"),
}


def told(hub: World, path: Path, place: str, line: int | None, reason: str) -> None:
    error = refused(hub, path)
    assert isinstance(error, InvalidPolicy)
    assert [p.field for p in error.problems] == [place], error.problems
    assert reason in error.problems[0].reason
    assert (f"(line {line}, column " in error.problems[0].reason) == (line is not None), error.problems


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_wrong_word_is_told_with_its_place_and_changes_nothing(hub: World, folder: Path, line: str) -> None:
    told(hub, write(folder, edited(("grants:", f"{line}\ngrants:"))), *BAD_LINES[line])


@pytest.mark.parametrize("edit", BAD_EDITS)
def test_a_wrong_clause_is_told_with_its_place_and_changes_nothing(hub: World, folder: Path, edit: tuple[str, str]) -> None:
    told(hub, write(folder, edited(edit)), *BAD_EDITS[edit])


def test_a_file_is_checked_without_a_database(folder: Path) -> None:
    line = TEST.format(purpose="research", record=RECORD, expect="{place: {grid_m: 500}, narrative: withhold}")
    mou, areas = check(write(folder, edited(("grants:", f"{line}\ngrants:"))), DATASETS)
    assert len(mou.tests) == 1
    assert set(areas) == {"harbour"}


def test_a_version_names_the_one_that_it_replaces(hub: World, folder: Path) -> None:
    first = hub.load(write(folder, edited(("MOU-GOOD", "MOU-CHAIN")))).mou
    named = GOOD.replace("MOU-GOOD", "MOU-CHAIN").replace("version: 1", "version: 2\nsupersedes: sha256:DIGEST")
    told(hub, write(folder, named.replace("DIGEST", "0" * 64)), "supersedes", None, f"newest one here is 1, SHA-256 {first.sha256}")
    second = hub.load(write(folder, named.replace("DIGEST", first.sha256)))
    assert second.superseded == 1
    assert second.mou.supersedes == first.sha256


# An MOU's own tests decide as the grants do


def failing(record: str, expect: str, who: str = "organisation: health, purpose: research", more: str = "") -> bool:
    text = GOOD.replace("SHA", "a" * 64) + f"{more}tests:\n- {{as: {{{who}}}, record: {{{record}}}, expect: {expect}}}\n"
    return bool(failures(read_mou(text.encode(), DATASETS), {"harbour": HARBOUR}, DATASETS))


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (RECORD, True),
        (RECORD.replace("theft", "fraud"), False),
        (RECORD.replace("severity: 2", "severity: 3"), True),
        (RECORD.replace("severity: 2", "severity: 4"), False),
        ("in: harbour, ago: P1D, category: theft", False),  # a value that is missing meets no condition
        (RECORD.replace("in: harbour", "at: [-79.38, 43.65]"), True),
        (RECORD.replace("in: harbour", "at: [-79.6, 43.65]"), False),
        (RECORD.replace("P1D", "PT5H"), True),  # it is noon: the hour from seven ended four hours ago, that from eight did not
        (RECORD.replace("P1D", "PT4H"), False),
        (RECORD.replace("P1D", "P364D"), True),
        (RECORD.replace("P1D", "P366D"), False),
        (RECORD.replace("P1D", "P999999W"), False),  # before the calendar begins
    ],
)
def test_a_test_is_hidden_or_shown_as_the_conditions_and_the_window_say(record: str, shown: bool) -> None:
    assert failing(record, "shown") == (not shown)
    assert failing(record, "hidden") == shown


@pytest.mark.parametrize("who", ["organisation: police, purpose: research", "organisation: health, purpose: other"])
def test_a_test_by_somebody_else_or_for_something_else_is_hidden(who: str) -> None:
    assert not failing(RECORD, "hidden", who)
    assert failing(RECORD, "shown", who)


@pytest.mark.parametrize(("more", "withheld"), [(", fields: [place]", True), ("", None)])
def test_a_refusal_wins_over_the_grants(more: str, withheld: bool | None) -> None:
    refuse = REFUSE.format("", more) + "\n"
    assert failing(RECORD, "{place: withhold, category: clear}", more=refuse) == (withheld is None)
    assert failing(RECORD, "hidden", more=refuse) == (withheld is not None)


def test_a_grant_that_asks_for_a_case_holds_in_a_test_with_a_case_alone() -> None:
    text = GOOD.replace("SHA", "a" * 64).replace("  occurred:", f"{CASE}\n  occurred:")
    for who, expect in (("", "hidden"), (", case: A-1", "shown")):
        test = f"tests: [{{as: {{organisation: health, purpose: research{who}}}, record: {{{RECORD}}}, expect: {expect}}}]\n"
        assert failures(read_mou((text + test).encode(), DATASETS), {"harbour": HARBOUR}, DATASETS) == []


# Refused areas


@pytest.mark.parametrize("lon", [-179.99, -79.38, 0.0, 179.99])
@pytest.mark.parametrize("lat", [-89.9, -43.65, 0.0, 43.65, 80.0])
def test_a_refused_area_holds_the_centre_of_exactly_the_cells_that_it_touches(lon: float, lat: float) -> None:
    """However small the area is, and on both sides of each border."""
    area = shapely.Point(lon, lat).buffer(0.03, quad_segs=3)
    wider = refused_area(area)
    middle = Cell(COARSEST_M, *_row_and_column(lon, lat))
    held = 0
    for row in range(middle.row - 4, middle.row + 5):
        for column in range(middle.column - 4, middle.column + 5):
            around = Cell(COARSEST_M, row, column)
            if row < 0 or column < 0 or around.box.east > 180 or around.box.north > 90:
                continue
            box = shapely.box(around.box.west, around.box.south, around.box.east, around.box.north)
            assert shapely.covers(wider, shapely.Point(around.centre)) == shapely.intersects(area, box)
            held += shapely.intersects(area, box)
    assert held


def test_an_area_smaller_than_a_cell_refuses_the_whole_cell() -> None:
    shelter = shapely.box(-79.3801, 43.6501, -79.38, 43.6502)
    assert shapely.covers(refused_area(shelter), shapely.Point(snap(Point(-79.38, 43.6501), COARSEST_M)))
    assert not shapely.covers(shelter, shapely.Point(snap(Point(-79.38, 43.6501), COARSEST_M)))


def _row_and_column(lon: float, lat: float) -> tuple[int, int]:
    found = cell(Point(lon, lat), COARSEST_M)
    return found.row, found.column


# Treatments


@pytest.mark.parametrize(
    ("condition", "whole"),
    [
        ("at_most: 2", True),
        ("at_most: 3", False),
        ("at_most: 0", True),
        ("at_least: 3", True),
        ("at_least: 2", False),
        ("one_of: [1, 2]", True),
        ("one_of: [3, 4, 1, 2]", True),
        ("one_of: [2]", False),
        ("one_of: [5]", False),  # the last band has no end
        ("one_of: [0]", False),  # below the first
    ],
)
def test_a_condition_may_not_cut_a_band(condition: str, whole: bool) -> None:
    text = GOOD.replace("SHA", "a" * 64).replace("at_most: 3", condition).replace("category: clear", "severity: {bands: [1, 3, 5]}")
    if whole:
        assert read_mou(text.encode(), DATASETS).grants[0].treatment("severity") == Treatment("bands", "1/3/5")
        return
    with pytest.raises(InvalidPolicy, match="cuts through a band"):
        read_mou(text.encode(), DATASETS)


def test_a_refusal_may_not_cut_a_band_either() -> None:
    """What is not there would tell which numbers of the band are."""
    text = GOOD.replace("SHA", "a" * 64).replace("at_most: 3", "at_most: 2").replace("category: clear", "severity: {bands: [1, 3]}")
    for least, good in ((3, True), (4, False)):
        refuse = f"\nrefuse:\n- {{dataset: incidents, where: [{{field: severity, at_least: {least}}}]}}\n"
        if good:
            assert read_mou((text + refuse).encode(), DATASETS).refuse
            continue
        with pytest.raises(InvalidPolicy, match="refusal-1 cuts through a band"):
            read_mou((text + refuse).encode(), DATASETS)


def test_a_grant_for_matching_alone_may_release_nothing() -> None:
    clause: dict[str, Any] = {"id": "match", "dataset": "incidents", "where": "everything", "purposes": ["response"]}
    clause |= {"actions": ["match"], "fields": {"phone": "match_only"}}
    assert Grant.model_validate(clause, context={"datasets": DATASETS}).treatment("phone").shows is False


def test_the_finest_treatment_of_a_field_is_the_one_that_tells_most() -> None:
    order = ["withhold", "match_only", "last:2", "last:4", "bands:1/5", "bands:2/5", "bands:1/3/5", "grid_m:2000", "grid_m:100", "clear"]
    assert sorted(order, key=lambda text: Treatment.parse(text).fineness) == order
    assert Treatment.parse("round_to:P1D").fineness < Treatment.parse("round_to:PT1H").fineness < Treatment("clear").fineness
