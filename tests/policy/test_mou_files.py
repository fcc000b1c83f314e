"""Bad MOU files: each gives one clear error that names the place, the line where there is one, and the reason; nothing changes."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.errors import InvalidPolicy
from tests.policy.spoiling import GOOD, Edit, edited, refused, write
from tests.world import World

SECOND = """\
  fields: {category: clear, place: {grid_m: 500}}
- id: response
  dataset: incidents
  purposes: [research]
  actions: [query]
  where: everything
"""
SHOWN = "{category: clear, occurred_at: {round_to: PT1H}, place: {grid_m: 500}}"
PLACE, VALUE, CATEGORY = "grants[0].where[1]", "grants[0].where[2]", "grants[0].fields.category"
TIME = "grants[0].fields.occurred_at"
AT_MOST = "field: severity, at_most: 3"
FIELDS, NEEDS = "  fields: {category", "grants[0].case_reference"
CASE = "  case_reference: {}\n  fields: {{category"
# name: (edits, place, line, reason)
BAD: dict[str, tuple[list[Edit], str, int | None, str]] = {
    "unknown word at the top": ([("title:", "titel: x\ntitle:")], "titel", 3, "not a word"),
    "unknown word among parties": ([("consumer: health}", "consumer: health, witness: fire}")], "parties.witness", 4, "not a word"),
    "unknown word in the period": ([("until: 2099-12-31}", "until: 2099-12-31, forever: true}")], "in_force.forever", 5, "not a word"),
    "unknown word in a jurisdiction": ([("sha256: SHA}", "sha256: SHA, crs: x}")], "jurisdictions.harbour.crs", 9, "not a word"),
    "unknown word in a grant": ([("  actions: [query]", "  actions: [query]\n  rows: all")], "grants[0].rows", 15, "not a word"),
    "unknown word in a window": ([("embargo: PT4H", "delay: PT4H")], "grants[0].occurred.delay", 19, "not a word"),
    "unknown condition": ([("at_most: 3", "below: 3")], VALUE, 18, "one_of | at_most | at_least | within"),
    "two conditions in one": ([("at_most: 3", "at_most: 3, at_least: 1")], VALUE, 18, "must be {field"),
    "a condition without field": ([("{field: severity, at_most: 3}", "{at_most: 3}")], VALUE, 18, "no field None"),
    "a condition that is text": ([("- {field: severity, at_most: 3}", "- severity")], VALUE, 18, "must be {field"),
    "unknown treatment": ([("category: clear", "category: visible")], CATEGORY, 20, "it takes clear, withhold"),
    "unknown grid": ([("grid_m: 500", "grid_m: 250")], "grants[0].fields.place", 20, "{grid_m: 100}"),
    "unknown rounding": ([("round_to: PT1H", "round_to: PT30M")], "grants[0].fields.occurred_at", 20, "{round_to: PT1H}"),
    "a treatment of another kind": ([("category: clear", "category: {grid_m: 500}")], CATEGORY, 20, "it takes clear, withhold"),
    "unknown action": ([("actions: [query]", "actions: [query, delete]")], "grants[0].actions[1]", 14, "'query', 'subscribe'"),
    "unknown dataset": ([("dataset: incidents", "dataset: crimes")], "grants[0].dataset", 12, "no dataset 'crimes'"),
    "unknown field in fields": ([("{category: clear,", "{weather: clear,")], "grants[0].fields", 20, "no field 'weather'"),
    "unknown field in a condition": ([("field: severity", "field: gravity")], VALUE, 18, "no field 'gravity'"),
    "sealed field in a condition": ([("{field: severity, at_most: 3}", "{field: phone, one_of: [x]}")], VALUE, 18, "sealed"),
    "a bound on a text": ([(AT_MOST, "field: category, at_most: 3")], VALUE, 18, "does not test a text"),
    "a condition on a time": ([(AT_MOST, "field: occurred_at, at_least: 3")], VALUE, 18, "does not test a time"),
    "within on a text": ([("field: place, within", "field: category, within")], PLACE, 17, "does not test a text"),
    "a category that there is not": ([("[theft, assault]", "[theft, jaywalking]")], "grants[0].where[0]", 16, "never 'jaywalking'"),
    "a number for a category": ([("[theft, assault]", "[theft, 5]")], "grants[0].where[0]", 16, "never 5"),
    "a text for a number": ([("at_most: 3", "at_most: three")], "grants[0].where[2].at_most", 18, "whole number"),
    "a fraction for a number": ([("at_most: 3", "at_most: 2.5")], "grants[0].where[2].at_most", 18, "whole number"),
    "true for a number": ([("at_most: 3", "at_most: true")], "grants[0].where[2].at_most", 18, "whole number"),
    "a number PostgreSQL can't hold": ([("at_most: 3", "at_most: 99999999999")], "grants[0].where[2].at_most", 18, "less than or equal"),
    "such a number in a list": ([(AT_MOST, "field: severity, one_of: [1, -99999999999]")], f"{VALUE}.one_of", 18, "greater than"),
    "a text PostgreSQL can't hold": ([("severity, at_most: 3", 'external_id, one_of: ["a\\0b"]')], VALUE, 18, "never"),
    "half a character": ([("severity, at_most: 3", 'external_id, one_of: ["\\ud800"]')], VALUE, 18, "never"),
    "an empty list of values": ([("[theft, assault]", "[]")], "grants[0].where[0].one_of", 16, "at least one value"),
    "an empty list of jurisdictions": ([("within: harbour", "within: []")], "grants[0].where[1].within", 17, "at least one jurisdiction"),
    "a condition with nothing in it": ([("- {field: severity, at_most: 3}", "- {}")], VALUE, 18, "must be {field"),
    "no condition at all": (
        [
            ("  - {field: category, one_of: [theft, assault]}\n", ""),
            ("  - {field: place, within: harbour}\n", ""),
            ("  - {field: severity, at_most: 3}\n", ""),
            ("where:\n", "where: []\n"),
        ],
        "grants[0].where",
        15,
        "`everything`",
    ),
    "an undeclared jurisdiction": ([("within: harbour", "within: downtown")], "grants", 10, "'downtown'"),
    "everything withheld": (
        [(SHOWN, "{category: withhold}")],
        "grants[0].fields",
        20,
        "releases nothing",
    ),
    "no field at all": ([(SHOWN, "{}")], "grants[0].fields", 20, "releases nothing"),
    "a window on a withheld time": ([("occurred_at: {round_to: PT1H}, ", "")], "grants[0].occurred", 19, "withholds"),
    "within on a withheld place": ([(", place: {grid_m: 500}", "")], "grants[0].where", 15, "withholds place"),
    "months in a duration": ([("P365D", "P12M")], "grants[0].occurred.lookback", 19, "weeks, days, hours or minutes"),
    "years in a duration": ([("P365D", "P1Y")], "grants[0].occurred.lookback", 19, "weeks, days, hours or minutes"),
    "an empty duration": ([("PT4H", "PT")], "grants[0].occurred.embargo", 19, "weeks, days"),
    "a negative duration": ([("PT4H", "-PT4H")], "grants[0].occurred.embargo", 19, "weeks, days"),
    "a number for a duration": ([("PT4H", "4")], "grants[0].occurred.embargo", 19, "weeks, days"),
    "a case that is only asked for": ([(FIELDS, CASE.format("optional"))], NEEDS, 20, "the word `required`"),
    "a case by a yes": ([(FIELDS, CASE.format("true"))], NEEDS, 20, "the word `required`"),
    "a case by a list": ([(FIELDS, CASE.format("[required]"))], NEEDS, 20, "the word `required`"),
    "a case by nothing": ([(FIELDS, CASE.format(""))], NEEDS, 20, "the word `required`"),
    "a case in the window": ([("PT4H", "PT4H, case_reference: required")], "grants[0].occurred.case_reference", 19, "not a word"),
    "until before from": ([("until: 2099-12-31", "until: 2025-12-31")], "in_force", 5, "ends before it begins"),
    "until the end of time": ([("until: 2099-12-31", "until: 9999-12-31")], "in_force.until", 5, "less than 9999-01-01"),
    "a time for a day": ([("from: 2026-01-01", "from: 2026-01-01T00:00:00Z")], "in_force.from", 5, "a day"),
    "the same party twice": ([("consumer: health", "consumer: police")], "parties", 4, "same organisation"),
    "an unknown organisation": ([("consumer: health", "consumer: nobody")], "parties.consumer", None, "no organisation nobody"),
    "an unknown provider": ([("provider: police", "provider: nobody")], "parties.provider", None, "no organisation nobody"),
    "two grants of one name": ([("  occurred: {lookback: P365D, embargo: PT4H}\n", SECOND)], "grants", 10, "same id"),
    "no grants": ([(GOOD[GOOD.index("grants:") :], "grants: []\n")], "grants", 10, "at least 1 item"),
    "grants that are a mapping": ([(GOOD[GOOD.index("grants:") :], "grants: {id: response}\n")], "grants", 10, "a list"),
    "a grant that is text": ([(GOOD[GOOD.index("grants:") :], "grants: [everything]\n")], "grants[0]", 10, "keys and values"),
    "no parties": ([("parties: {provider: police, consumer: health}\n", "")], "parties", None, "is missing"),
    "no fields": ([(f"  fields: {SHOWN}\n", "")], "grants[0].fields", 11, "is missing"),
    "a number for a title": ([("title: An agreement to spoil", "title: 5")], "title", 3, "text"),
    "a text for a version": ([("version: 1", 'version: "1"')], "version", 2, "whole number"),
    "version 0": ([("version: 1", "version: 0")], "version", 2, "greater than or equal to 1"),
    "a name that is a path": ([("mou: MOU-GOOD", "mou: ../../etc")], "mou", 1, "pattern"),
    "a purpose that is a sentence": ([("[research]", "[Research and more]")], "grants[0].purposes[0]", 13, "pattern"),
    "a purpose alone": ([("purposes: [research]", "purposes: research")], "grants[0].purposes", 13, "a list"),
    "a list where a treatment takes one word": ([("round_to: PT1H", "round_to: [PT1H]")], TIME, 20, "not a treatment"),
    "a key that is a number": ([(AT_MOST, "field: severity, 1: x, at_most: 3")], VALUE, 18, "must be {field"),
    # YAML 1.1 read `no` as false, 12:30 as 750, on as true
    "no for a category": ([("[theft, assault]", "[theft, no]")], "grants[0].where[0]", 16, "never 'no'"),
    "on for a status": ([("{field: severity, at_most: 3}", "{field: status, one_of: [on]}")], VALUE, 18, "never 'on'"),
    "12:30 for a number": ([("at_most: 3", "at_most: 12:30")], "grants[0].where[2].at_most", 18, "whole number"),
    "yes for a treatment": ([("category: clear", "category: yes")], CATEGORY, 20, "'yes' is not a treatment"),
}  # fmt: skip


def test_the_file_that_the_others_spoil_is_good(hub: World, folder: Path) -> None:
    loaded = hub.load(write(folder, edited(("MOU-GOOD", "MOU-UNSPOILT"))))
    assert loaded.labelled == 1
    assert len(hub.items("health", "research")) == 1


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gives_one_error_that_names_place_line_and_reason(hub: World, folder: Path, name: str) -> None:
    edits, place, line, reason = BAD[name]
    error = refused(hub, write(folder, edited(*edits)))
    assert isinstance(error, InvalidPolicy)
    assert [p.field for p in error.problems][:1] == [place], error.problems
    first = error.problems[0].reason
    assert reason in first, first
    assert (f"(line {line}, column " in first) if line else "(line" not in first, first
    assert len(error.problems) == 1, error.problems


def test_an_error_in_each_of_two_places_is_told_in_one_answer(hub: World, folder: Path) -> None:
    error = refused(hub, write(folder, edited(("title:", "titel:"), ("category: clear", "category: visible"))))
    assert {p.field for p in error.problems} == {"title", "titel", "grants[0].fields.category"}


def test_no_and_12_30_are_text_where_text_belongs(hub: World, folder: Path) -> None:
    where = "{field: external_id, one_of: [no, 12:30, off, 0o17x]}"
    hub.load(
        write(
            folder,
            edited(("MOU-GOOD", "MOU-YAML"), ("{field: severity, at_most: 3}", where), ("title: An agreement to spoil", "title: no")),
        )
    )
    with hub.superuser() as connection:
        found = connection.scalar(sa.text("select external_id__one_of from hub.incidents_rules where external_id__one_of is not null"))
    assert found == ["no", "12:30", "off", "0o17x"]


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines) + "\n" + GOOD


NOT_YAML: dict[str, tuple[str | bytes, str, str]] = {
    "a duplicate key": (edited(("title:", "version: 2\ntitle:")), "line 3", "duplicate key"),
    "a duplicate key deep inside": (edited(("at_most: 3", "at_most: 3, at_most: 5")), "line 18", "duplicate key"),
    "an anchors bomb": (_bomb(), "line 1", "anchors"),
    "one harmless anchor": (edited(("[query]", "&x [query]")), "line 14", "anchors"),
    "an alias to nothing": (edited(("[query]", "*x")), "line 14", "anchors"),
    "10 MB": (GOOD.encode() + b"#" * 10_000_000, "the file", "over 200,000 bytes"),
    "a tag": (edited(("[research]", "!!set {research, other}")), "line 13", "tags"),
    "a Python tag": (edited(("[research]", "!!python/object/apply:os.system [ls]")), "line 13", "tags"),
    "a tag that changes nothing": (edited(("version: 1", "version: !!int 1")), "line 2", "tags"),
    "a merge key": (edited(("review_by: 2030-01-01", "<<: {review_by: 2031-01-01}")), "line 6", "merge keys"),
    "YAML 1.1": ("%YAML 1.1\n---\n" + edited(("at_most: 3", "at_most: 12:30")), "line 2", "YAML 1.2"),
    "two documents": (GOOD + "---\n" + GOOD, "line 21", "second document"),
    "a list": ("- " + GOOD.replace("\n", "\n  ").rstrip(), "the file", "one MOU"),
    "nothing": ("", "the file", "one MOU"),
    "a sentence": ("Please share everything with everybody.", "the file", "one MOU"),
    "not UTF-8": (edited(("spoil", "spöil")).encode("latin-1"), "byte", "not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "byte 0", "not UTF-8"),
    "a control character": (edited(("spoil", "spo\x07il")), "the file", "is not YAML"),
    "broken brackets": (edited(("[query]", "[query")), "line", ""),
    "a day that there is not": (edited(("from: 2026-01-01", "from: 2026-02-30")), "line 5", "is not a day"),
    "tabs": (edited(("  actions:", "\tactions:")), "line 14", ""),
    "nested a thousand deep": ("a: " + "[" * 1_000 + "]" * 1_000, "line 1", "nested"),
    "nested by indentation": ("".join(f"{' ' * n}a:\n" for n in range(200)), "line", "nested"),
}


@pytest.mark.parametrize("name", NOT_YAML)
def test_a_file_that_is_not_strict_yaml_gives_one_error_that_names_its_place(hub: World, folder: Path, name: str) -> None:
    source, place, reason = NOT_YAML[name]
    error = refused(hub, write(folder, source))
    (problem,) = error.problems
    assert problem.field.startswith(place), problem
    assert reason in problem.reason, problem
    assert len(str(error)) < 300


def test_of_thousands_of_unknown_words_the_first_hundred_are_told_and_soon(hub: World, folder: Path) -> None:
    began = time.monotonic()
    error = refused(hub, write(folder, GOOD + "".join(f"x{n}: 1\n" for n in range(5_000))))
    assert time.monotonic() - began < 30  # were each looked for in the file anew, it would be minutes
    assert len(error.problems) == 100
    assert error.problems[99].field == "x99"
    assert "(line 120, column 1)" in error.problems[99].reason
    assert len(str(error)) < 500


def test_a_file_that_is_not_there_is_named(hub: World, folder: Path) -> None:
    error = refused(hub, folder / "none.yaml")
    assert "none.yaml" in str(error)
    assert "No such file" in str(error)
