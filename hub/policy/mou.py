"""An MOU file: YAML 1.2 read strictly into a model. Nothing is shared unless one says so; an unknown word is an error.

Pure: the catalogue of datasets comes in as an argument, boundary files are read by the caller.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from ruamel.yaml.nodes import Node

from hub.errors import InvalidPolicy, Problem
from hub.policy.conditions import CONDITIONS, Condition, Within
from hub.policy.treatments import WITHHOLD, Treatment, read_treatment
from hub.records import Field as CatalogueField
from hub.records import Record
from hub.yamlfile import mark_of, nodes_of, read_yaml

WINDOW_FIELD = "occurred_at"  # what `occurred: {lookback, embargo}` tests
MAX_PROBLEMS = 100  # told of one file; the rest shows when these are mended
_NEVER_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # no record holds these characters, and PostgreSQL takes none
_REASONS = {  # pydantic's own words name Python's types
    "extra_forbidden": "is not a word of the MOU vocabulary",
    "missing": "is missing",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "date_type": "must be a day such as 2026-01-31",
    "tuple_type": "must be a list",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "model_attributes_type": "must hold keys and values",
}
_DURATION = re.compile(r"P(?=\d|T\d)(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,6})M)?)?")
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")]
Purpose = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=100)]
Action = Literal["query", "subscribe", "export", "match"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Parties(_Part):
    provider: Slug
    consumer: Slug


class InForce(_Part):
    """Both days are included; a day begins at 00:00 UTC."""

    since: Annotated[date, Field(alias="from")]
    until: Annotated[date, Field(lt=date(9999, 1, 1))]
    renewal: Literal["explicit"] = "explicit"
    notice_days: Annotated[int, Field(ge=0, le=366)] = 30

    @property
    def period(self) -> tuple[datetime, datetime]:
        """From (inclusive) and until (exclusive)."""
        return _midnight(self.since), _midnight(self.until + timedelta(days=1))


class Jurisdiction(_Part):
    """A boundary file (GeoJSON, beside the MOU), pinned by the SHA-256 of its bytes."""

    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=200)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Window(_Part):
    """How old (`lookback`), and how new (`embargo`), a released time may be."""

    lookback: timedelta | None = None
    embargo: timedelta | None = None

    @field_validator("lookback", "embargo", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return duration(value)


class Grant(_Part):
    """What one recipient may see of one dataset for some purposes. `where: everything` must be said. `case_reference`: it holds only
    for requests that name the case they are made for.
    """

    id: Slug
    dataset: str
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1, strict=False)]
    actions: Annotated[tuple[Action, ...], Field(min_length=1, strict=False)]
    where: tuple[Condition, ...]
    occurred: Window = Window()
    case_reference: Literal["required"] | None = None
    fields: dict[str, Treatment]

    @field_validator("dataset")
    @classmethod
    def _has_dataset(cls, value: str, info: ValidationInfo) -> str:
        datasets = _datasets(info)
        if value not in datasets:
            raise ValueError(f"the hub has no dataset {value!r}; it has {', '.join(sorted(datasets))}")
        return value

    @field_validator("where", mode="before")
    @classmethod
    def _conditions(cls, value: object, info: ValidationInfo) -> tuple[Condition, ...]:
        if value == "everything":
            return ()
        if not isinstance(value, list) or not value:
            raise ValueError("must be a list of conditions, or the word `everything`")
        dataset = _dataset(info)
        return tuple(_condition(dataset, item, n) for n, item in enumerate(value)) if dataset else ()

    @field_validator("case_reference", mode="before")
    @classmethod
    def _required(cls, value: object) -> object:
        if value != "required":
            raise ValueError("must be the word `required`; a grant that needs no case leaves it out")
        return value

    @field_validator("fields", mode="before")
    @classmethod
    def _treatments(cls, value: object, info: ValidationInfo) -> dict[str, Treatment]:
        if not isinstance(value, dict):
            raise ValueError("must give each field a treatment")
        dataset = _dataset(info)
        return {str(name): _treatment(_known(dataset, name), treatment) for name, treatment in value.items()} if dataset else {}

    @model_validator(mode="after")
    def _makes_sense(self) -> "Grant":
        if all(t == WITHHOLD for t in self.fields.values()):
            raise ValueError("fields: this grant releases nothing")
        windowed = self.occurred.lookback is not None or self.occurred.embargo is not None
        if windowed and self.treatment(WINDOW_FIELD) == WITHHOLD:
            raise ValueError(f"occurred: tests {WINDOW_FIELD}, which this grant withholds")
        for condition in self.where:
            if isinstance(condition, Within) and self.treatment(condition.field) == WITHHOLD:
                raise ValueError(f"where: `within` tests the centre of the released cell, but this grant withholds {condition.field}")
        return self

    def treatment(self, field: str) -> Treatment:
        """How this grant releases `field`; a field not listed is withheld."""
        return self.fields.get(field, WITHHOLD)

    @property
    def needs_case(self) -> bool:
        return self.case_reference is not None


class Mou(_Part):
    """One version of an MOU. `sha256` is of the file's bytes: what parties will sign and the log cites."""

    mou: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9-]{2,62}$")]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    title: Text
    parties: Parties
    in_force: InForce
    review_by: date
    legal_basis: Text
    jurisdictions: dict[Slug, Jurisdiction] = {}
    grants: Annotated[tuple[Grant, ...], Field(min_length=1, strict=False)]
    _source: bytes = PrivateAttr(default=b"")

    @model_validator(mode="after")
    def _makes_sense(self) -> "Mou":
        if self.parties.provider == self.parties.consumer:
            raise ValueError("parties: provider and consumer are the same organisation")
        if self.in_force.until < self.in_force.since:
            raise ValueError("in_force: ends before it begins")
        names = [g.id for g in self.grants]
        if len(set(names)) < len(names):
            raise ValueError("grants: two grants have the same id")
        for grant in self.grants:
            for condition in grant.where:
                unknown = set(condition.argument) - set(self.jurisdictions) if isinstance(condition, Within) else None
                if unknown:
                    raise ValueError(f"grants: {grant.id} is within {sorted(unknown)[0]!r}, which is not among the jurisdictions")
        return self

    @property
    def source(self) -> bytes:
        return self._source

    @property
    def sha256(self) -> str:
        return sha256(self._source).hexdigest()


def read_mou(source: bytes, datasets: Mapping[str, type[Record]]) -> Mou:
    """The MOU in `source`.

    Raises:
        InvalidPolicy: with one Problem for each thing wrong, naming its place in the file, its line and the reason.
    """
    data = read_yaml(source, "MOU", InvalidPolicy)
    try:
        mou = Mou.model_validate(data, context={"datasets": datasets})
    except ValidationError as error:
        problems = _problems(source, error)
        raise InvalidPolicy("; ".join(f"{p.field}: {p.reason}" for p in problems[:5]), problems=problems) from None
    mou._source = source
    return mou


def duration(value: object) -> timedelta | None:
    """An ISO 8601 duration of weeks, days, hours and minutes. Months and years are refused: their length depends on the calendar.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError("must be a duration of weeks, days, hours or minutes such as P365D or PT4H")
    weeks, days, hours, minutes = (int(part or 0) for part in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)


def _datasets(info: ValidationInfo) -> Mapping[str, type[Record]]:
    datasets: Mapping[str, type[Record]] = (info.context or {}).get("datasets", {})
    return datasets


def _dataset(info: ValidationInfo) -> type[Record] | None:
    """The grant's dataset; None when it was refused already."""
    return _datasets(info).get(info.data.get("dataset", ""))


def _known(dataset: type[Record], name: object, at: str = "") -> CatalogueField:
    field = dataset.field(name) if isinstance(name, str) else None
    if field is None:
        raise ValueError(f"{at}{dataset.__name__} has no field {name!r}; it has {', '.join(sorted(f.name for f in dataset.fields))}")
    return field


def _treatment(field: CatalogueField, value: object) -> Treatment:
    try:
        return read_treatment(field, value)
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None


def _condition(dataset: type[Record], item: object, n: int) -> Condition:
    words = sorted(set(item) - {"field"}, key=str) if isinstance(item, dict) else []
    if not isinstance(item, dict) or len(words) != 1 or words[0] not in CONDITIONS:
        raise ValueError(f"[{n}] must be {{field: …, {' | '.join(CONDITIONS)}: …}}, not {item!r}")
    kind = CONDITIONS[words[0]]
    field = _known(dataset, item.get("field"), f"[{n}] ")
    if field.kind == "sealed":
        raise ValueError(f"[{n}] {field.name} is sealed: no condition can test it")
    if field.kind not in kind.column_types:
        raise ValueError(f"[{n}] {kind.word} does not test a {field.kind} field such as {field.name}")
    try:
        # YAML's lists come in as lists; inside, every value keeps its type.
        value = item[kind.word]
        condition = kind.model_validate({"field": field.name, kind.word: tuple(value) if isinstance(value, list) else value})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        reason = _REASONS.get(first["type"], first["msg"]).removeprefix("Value error, ")
        raise ValueError(f"[{n}] {kind.word}: {reason}") from None
    _check_values(field, condition, n)
    return condition


def _check_values(field: CatalogueField, condition: Condition, n: int) -> None:
    if condition.word != "one_of":
        return
    for value in condition.argument:
        if field.kind == "number" and not isinstance(value, int):
            raise ValueError(f"[{n}] {field.name} is a number, not {value!r}")
        if field.kind == "text" and (
            not isinstance(value, str) or _NEVER_TEXT.search(value) or (field.choices is not None and value not in field.choices)
        ):
            known = f"; it is one of {', '.join(sorted(field.choices))}" if field.choices else ""
            raise ValueError(f"[{n}] {field.name} is never {value!r}{known}")


def _problems(source: bytes, error: ValidationError) -> list[Problem]:
    """One for each thing wrong, up to MAX_PROBLEMS: what is wrong only because a part of it is, is not said again."""
    nodes = nodes_of(source)
    found = [
        _placed(e["loc"], _REASONS.get(e["type"], e["msg"])) for e in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
    ]
    return [
        _problem(nodes, place, reason)
        for place, reason in found
        if not any(len(other) > len(place) and other[: len(place)] == place for other, _ in found)
    ]


def _placed(place: tuple[int | str, ...], message: str) -> tuple[tuple[int | str, ...], str]:
    """The place and the reason of a message such as `[2] at_most: must be …`, which begins with the inner part of its place."""
    match = re.match(r"(?:Value error, )?(?:\[(\d+)\] )?(?:([a-z_]+): )?", message)
    number, name = match.groups() if match else (None, None)
    inner: tuple[int | str, ...] = (*((int(number),) if number else ()), *((name,) if name else ()))
    return place + inner, message[match.end() :] if match else message


def _problem(nodes: Node | None, place: tuple[int | str, ...], reason: str) -> Problem:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".") or "the file"
    mark = mark_of(nodes, place)
    return Problem(path, f"{reason} (line {mark.line})" if mark else reason)
