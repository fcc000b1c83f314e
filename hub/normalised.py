"""Values in one form each, so that exact matching finds what people write in many ways: phone numbers, plates, a name with a birth date.

Pure. A form is a fixed point: what is in it already stays as it is. What has no form (an unknown country, no letter at all) is named
when it is asked for, and takes no part when it is stored: a provider writes what it knows.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, Final

import orjson
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from hub.records import Field, Matched

MAX_TEXT: Final = 500  # characters of a value, as a record may hold them
MEMBERS: Final[Mapping[Matched, tuple[str, ...]]] = {
    "phone": ("value",),
    "plate": ("plate",),
    "person": ("name", "birth_date"),
}
"""What a question about each kind of field gives, all of it; of a phone also `region`, where it is not international."""
REGIONS: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)


class Unfit(ValueError):
    """A value has no form to be compared in; `member` names it, the text says why."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(reason)
        self.member = member


def phone(text: str, region: str | None = None) -> str:
    """A phone number as E.164. `region` (ISO 3166-1, such as GB) is the country of a number without its code.

    Raises:
        Unfit
    """
    form = _fixed(lambda said: _e164(said, region), _short(text, "value"))
    if not phonenumbers.is_possible_number(phonenumbers.parse(form)):
        raise Unfit("value", "is no phone number: it has too few or too many digits")
    return form


def _e164(text: str, region: str | None) -> str:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE and region is None:
            reason = "must begin with + and the code of its country, or come with a region such as GB"
        else:
            reason = "is no phone number"
        raise Unfit("value", reason) from None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def plate(text: str) -> str:
    """A plate in capitals, letters and digits alone.

    Raises:
        Unfit
    """
    form = _fixed(_capitals, _short(text, "plate"))
    if not form:
        raise Unfit("plate", "has no letter and no digit")
    return form


def _capitals(text: str) -> str:
    said = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).upper())
    return "".join(c for c in said if unicodedata.category(c)[0] in "LN")


def person(name: str, birth_date: str) -> str:
    """A name with a birth date: small letters without marks, words parted by one space, then `|` and the day. A dash parts words; other
    punctuation is dropped.

    Raises:
        Unfit
    """
    form = _fixed(_plain, _short(name, "name"))
    if not form:
        raise Unfit("name", "has no letter and no digit")
    try:
        if date.fromisoformat(birth_date).isoformat() != birth_date:
            raise ValueError
    except ValueError:
        raise Unfit("birth_date", "must be a day of the calendar such as 1990-12-31") from None
    return f"{form}|{birth_date}"


def _plain(text: str) -> str:
    """Normalised before and after: folding a letter can bring a mark apart from it (Unicode 3.13, compatibility caseless matching)."""
    bare = "".join(c for c in text if unicodedata.category(c) != "Sk")  # typed as an apostrophe, it would become a space
    said = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", bare).casefold())
    parted = (" " if unicodedata.category(c) == "Pd" or c.isspace() else c for c in said)
    return " ".join("".join(c for c in parted if c == " " or unicodedata.category(c)[0] in "LN").split())


def _fixed(form: Callable[[str], str], text: str) -> str:
    """Applied until nothing changes: rare letters, and numbers that repeat their prefix, take a second time."""
    said = form(text)
    return said if said == text else _fixed(form, said)


def _short(text: str, member: str) -> str:
    if len(text) > MAX_TEXT:
        raise Unfit(member, f"is longer than {MAX_TEXT} characters")
    return text


def of_question(kind: Matched, given: Mapping[str, str], region: str | None = None) -> str:
    """The form of what is asked; `given` has the members of MEMBERS.

    Raises:
        Unfit
    """
    if kind == "phone":
        return phone(given["value"], region)
    return plate(given["plate"]) if kind == "plate" else person(given["name"], given["birth_date"])


def told(kind: Matched, given: Mapping[str, str]) -> list[str]:
    """What was asked, in the order of MEMBERS: as the log has it."""
    return [given[member] for member in MEMBERS[kind]]


def of_stored(field: Field, written: bytes, region: str | None) -> frozenset[str]:
    """The forms of what a sealed field holds (JSON, as it is sealed); `region` is its provider's. What has none is left out."""
    kind = field.matched
    value = orjson.loads(written)
    return frozenset(_forms(kind, [value] if kind == "phone" else value, region)) if kind else frozenset()


def _forms(kind: Matched, values: list[Any], region: str | None) -> Iterator[str]:
    for value in values:
        given = {"value": value} if kind == "phone" else value
        if all(given.get(member) for member in MEMBERS[kind]):
            try:
                yield of_question(kind, given, region)
            except Unfit:
                continue
