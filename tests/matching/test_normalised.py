"""The forms in which values are compared: what people write in many ways is one form, and a form is a fixed point."""

import unicodedata
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub import normalised
from hub.datasets.incidents import Incident
from hub.normalised import MEMBERS, REGIONS, Unfit, of_stored, person, phone, plate

DAYS = st.dates().map(lambda day: day.isoformat())
FIELDS = {f.name: f for f in Incident.matchable()}


def test_the_catalogue_says_which_fields_take_part_and_how() -> None:
    assert {name: f.matched for name, f in FIELDS.items()} == {"phone": "phone", "people": "person", "vehicles": "plate"}


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("+44 113 496 0000", None),
        ("tel:+44-113-496-0000", None),
        ("+44 (0)113 496 0000", None),
        ("+44 113 496 0000 ext. 12", None),  # a line within a company: the number is what both know
        ("0113 496 0000", "GB"),
        ("(0113) 4960000", "GB"),
        ("0044 113 496 0000", "GB"),
        ("011 44 113 496 0000", "US"),
        ("[synthetic] +44 113 496 0000", None),
        ("+44 113 496 0000", "US"),
    ],
)
def test_one_phone_number_is_one_form_however_it_is_written(written: str, region: str | None) -> None:
    assert phone(written, region) == "+441134960000"


@pytest.mark.parametrize("written", ["ab12cde", "AB12 CDE", "ab-12.cde", "\uff21\uff2212 CDE", " AB12\tCDE\n"])
def test_one_plate_is_one_form_however_it_is_written(written: str) -> None:
    assert plate(written) == "AB12CDE"


@pytest.mark.parametrize(
    "written",
    [
        "Zoë O'Brien-Straße",
        "ZOE\u0308 OBRIEN STRASSE",
        "  zoe  o’brien\u2010strasse ",
        "Zoë O\u00b4Brien – Strasse",
        "Zoe\u00a0OBrien, Strasse.",
    ],
)
def test_one_name_is_one_form_however_it_is_written(written: str) -> None:
    assert person(written, "1990-12-31") == "zoe obrien strasse|1990-12-31"


@pytest.mark.parametrize("written", ["Zoe Brien", "Zoe OBrien", "Strasse Zoe OBrien", "Zoe O Brien Strasse"])
def test_another_name_is_another_form(written: str) -> None:
    assert person(written, "1990-12-31") != person("Zoë O'Brien-Straße", "1990-12-31")


@pytest.mark.parametrize(
    ("member", "reason", "made"),
    [
        ("value", "must begin with", lambda: phone("0113 496 0000")),
        ("value", "is no phone number", lambda: phone("unknown", "GB")),
        ("value", "is no phone number", lambda: phone("")),
        ("value", "too few or too many digits", lambda: phone("+44 123")),
        ("value", "is longer than", lambda: phone("+44" + "1" * 500)),
        ("plate", "no letter and no digit", lambda: plate(" - ")),
        ("plate", "no letter and no digit", lambda: plate("")),
        ("plate", "is longer than", lambda: plate("A" * 501)),
        ("name", "no letter and no digit", lambda: person("…", "1990-12-31")),
        ("name", "is longer than", lambda: person("A" * 501, "1990-12-31")),
        ("birth_date", "a day of the calendar", lambda: person("A", "1990-02-30")),
        ("birth_date", "a day of the calendar", lambda: person("A", "19901231")),
        ("birth_date", "a day of the calendar", lambda: person("A", "")),
    ],
)
def test_what_has_no_form_is_named_with_the_reason(member: str, reason: str, made: Any) -> None:
    with pytest.raises(Unfit, match=reason) as refused:
        made()
    assert refused.value.member == member


@given(st.text(max_size=60))
@example("ﬃ ﬄ")
@example("İ")
@example("\u0345\u03b9")  # casefolding brings a mark that decomposes anew
@example("ǅ１²")
def test_a_plate_or_name_in_its_form_stays_as_it_is(text: str) -> None:
    with suppress(Unfit):
        form = plate(text)
        assert plate(form) == form
        assert all(unicodedata.category(c)[0] in "LN" for c in form)
    with suppress(Unfit):
        form = person(text, "2000-01-01").removesuffix("|2000-01-01")
        assert person(form, "2000-01-01") == f"{form}|2000-01-01"
        assert "  " not in form
        assert form == form.strip()


@given(st.text(max_size=40), DAYS)
def test_marks_case_and_order_of_marks_make_no_other_name(name: str, day: str) -> None:
    try:
        form = person(name, day)
    except Unfit:
        return
    for other in (name.casefold(), unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name), f" {name}."):
        assert person(other, day) == form


PHONES = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"\+?[0-9 ()./-]{1,20}", fullmatch=True),
    st.tuples(st.sampled_from(sorted(REGIONS)), st.from_regex(r"[0-9]{4,15}", fullmatch=True)).map(
        lambda given: f"+{normalised.phonenumbers.country_code_for_region(given[0])} {given[1]}"
    ),
)


@given(PHONES, st.sampled_from([None, "GB", "US", "IT", "AR", "MX", "RU", "BR"]))
@example("+7 8 812 123 45 67", None)
@example("+54 11 15 1234 5678", None)
@example("+39 06 1234 5678", None)  # an Italian number keeps its zero
def test_a_phone_number_in_its_form_stays_as_it_is(text: str, region: str | None) -> None:
    try:
        form = phone(text, region)
    except Unfit:
        return
    assert form.startswith("+")
    assert form[1:].isascii()
    assert form[1:].isdigit()
    assert {phone(form, other) for other in (None, "GB", "US", "BR")} == {form}


def _forms(name: str, value: Any, region: str | None = None) -> frozenset[str]:
    return of_stored(FIELDS[name], orjson.dumps(value), region)


def test_a_stored_field_has_the_forms_of_all_its_parts_and_what_has_none_takes_no_part() -> None:
    assert _forms("phone", "0113 496 0000", "GB") == {"+441134960000"}
    assert _forms("phone", "0113 496 0000") == frozenset()
    assert _forms("phone", "the one on the door", "GB") == frozenset()
    assert _forms("vehicles", [{"plate": "ab 1"}, {"description": "van"}, {"plate": "AB-1"}, {"plate": "C2"}]) == {"AB1", "C2"}
    people = [{"name": "Ana", "birth_date": "1990-12-31"}, {"name": "Ana"}, {"birth_date": "1990-12-31"}, {"role": "caller"}]
    assert _forms("people", people) == {"ana|1990-12-31"}
    assert of_stored(next(f for f in Incident.fields if f.name == "narrative"), b'"AB1"', None) == frozenset()


@given(st.sampled_from(sorted(MEMBERS)), st.text(max_size=20), DAYS)
def test_what_is_asked_finds_what_is_stored_as_the_same_text(kind: Any, text: str, day: str) -> None:
    asked = {"value": text, "plate": text, "name": text, "birth_date": day}
    name = next(n for n, f in FIELDS.items() if f.matched == kind)
    stored: Any = text if kind == "phone" else [{m: asked[m] for m in MEMBERS[kind]}]
    try:
        form = normalised.of_question(kind, asked, "GB")
    except Unfit:
        assert _forms(name, stored, "GB") == frozenset()
        return
    assert _forms(name, stored, "GB") == ({form} if text else frozenset())
