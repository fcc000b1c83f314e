"""The clauses of an MOU: grants, which let a recipient see something, and refusals, which always win. Pure."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from hub.policy.conditions import CONDITIONS, Condition, Within
from hub.policy.treatments import WITHHOLD, Treatment, shows
from hub.policy.vocabulary import (
    Action,
    Dataset,
    Part,
    Purpose,
    Slug,
    check_value,
    dataset_of,
    duration,
    known_field,
    suggestion,
    treatments,
)
from hub.records import WINDOW_FIELD, Record
from hub.records import Field as CatalogueField

REASONS = {  # pydantic's own words name Python's types
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
LONGEST = timedelta(days=36_525)
COUNTED_M = 2000  # the cells that counts are given for
Reuse = Literal["NOREUSE", "NORELINK"]


class Window(Part):
    """How old (`lookback`), and how new (`embargo`), a released time may be."""

    lookback: timedelta | None = None
    embargo: timedelta | None = None

    @field_validator("lookback", "embargo", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return duration(value)


class Aggregates(Part):
    """Counts of records by 2 km cell, calendar month and category, without a right to the records: none below `min_count`."""

    min_count: Annotated[int, Field(ge=2, le=1_000_000)]


class Duties(Part):
    """What the recipient owes for what it was given: to delete it after `retain`, not to pass it on, what else to refrain from, and how
    soon to acknowledge that a record was recalled.
    """

    retain: timedelta | None = None
    onward: Literal["forbid"] = "forbid"
    refrain: Annotated[tuple[Reuse, ...], Field(strict=False)] = ()
    acknowledge: timedelta = timedelta(days=7)

    @field_validator("retain", "acknowledge", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        found = duration(value)
        if found is not None and not timedelta(days=1) <= found <= LONGEST:
            raise ValueError("must be a day (P1D) or longer, and no longer than 100 years (P36525D)")
        return found


class Clause(Part):
    """What grants and refusals have in common: records of one dataset. `where: everything` must be said."""

    id: Slug
    dataset: Dataset
    where: tuple[Condition, ...]

    @field_validator("where", mode="before")
    @classmethod
    def _conditions(cls, value: object, info: ValidationInfo) -> tuple[Condition, ...]:
        if value == "everything":
            return ()
        if not isinstance(value, list) or not value:
            raise ValueError("must be a list of conditions, or the word `everything`")
        dataset = dataset_of(info)
        return tuple(_condition(dataset, item, n) for n, item in enumerate(value)) if dataset else ()

    @property
    def areas(self) -> tuple[str, ...]:
        """The jurisdictions that its conditions name."""
        return tuple(dict.fromkeys(name for c in self.where if isinstance(c, Within) for name in c.argument))


class Grant(Clause):
    """What one recipient may see of one dataset for some purposes. `case_reference`: it holds only for requests that name the case they
    are made for.
    """

    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1, strict=False)]
    actions: Annotated[tuple[Action, ...], Field(min_length=1, strict=False)]
    occurred: Window = Window()
    case_reference: Literal["required"] | None = None
    fields: dict[str, Treatment]
    aggregates: Aggregates | None = None
    duties: Duties | None = None

    @field_validator("case_reference", mode="before")
    @classmethod
    def _required(cls, value: object) -> object:
        if value != "required":
            raise ValueError("must be the word `required`; a grant that needs no case leaves it out")
        return value

    @field_validator("fields", mode="before")
    @classmethod
    def _treatments(cls, value: object, info: ValidationInfo) -> dict[str, Treatment]:
        dataset = dataset_of(info)
        return treatments(dataset, value) if dataset else {}

    @model_validator(mode="after")
    def _makes_sense(self) -> "Grant":
        counts_alone = self.aggregates is not None and not shows(self.fields)
        if not shows(self.fields) and "match" not in self.actions and not counts_alone:
            raise ValueError("fields: this grant releases nothing")
        windowed = self.occurred.lookback is not None or self.occurred.embargo is not None
        if windowed and self.treatment(WINDOW_FIELD) == WITHHOLD and not counts_alone:
            raise ValueError(f"occurred: tests {WINDOW_FIELD}, which this grant withholds")
        for n, condition in enumerate(self.where):
            if isinstance(condition, Within) and self.tested_m(condition.field) is None:
                raise ValueError(f"where: `within` tests the centre of the released cell, but this grant withholds {condition.field}")
            edges = self.treatment(condition.field).edges
            if edges and condition.cuts(edges):
                raise ValueError(f"where: [{n}] {condition.word}: cuts through a band in which this grant releases {condition.field}")
        return self

    def treatment(self, field: str) -> Treatment:
        """How this grant releases `field`; a field not listed is withheld."""
        return self.fields.get(field, WITHHOLD)

    def tested_m(self, place: str) -> int | None:
        """The grid on which `within` tests a place: that of its released cell; where it is withheld and the grant gives counts alone,
        that of the counts; None: nowhere.
        """
        if self.treatment(place) != WITHHOLD:
            return self.treatment(place).grid_m
        return COUNTED_M if self.aggregates is not None and not shows(self.fields) else None

    @property
    def needs_case(self) -> bool:
        return self.case_reference is not None


class Refusal(Clause):
    """Records that the consumer of the MOU never gets from its provider, for no purpose and under no MOU; with `fields`, only those
    fields of them.
    """

    fields: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None

    @field_validator("fields", mode="after")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        dataset = dataset_of(info)
        for name in value or ():
            if dataset:
                known_field(dataset, name)
            if name == WINDOW_FIELD:
                raise ValueError(
                    f"{name} can't be refused alone: windows would still tell it; refuse the whole record (leave `fields` out)"
                )
        return value


def _condition(dataset: type[Record], item: object, n: int) -> Condition:
    words = sorted(set(item) - {"field"}, key=str) if isinstance(item, dict) else []
    if not isinstance(item, dict) or len(words) != 1 or words[0] not in CONDITIONS:
        close = suggestion(words[0], CONDITIONS) if len(words) == 1 else ""
        raise ValueError(f"[{n}] must be {{field: …, {' | '.join(CONDITIONS)}: …}}, not {item!r}{close}")
    kind = CONDITIONS[words[0]]
    field = known_field(dataset, item.get("field"), f"[{n}] ")
    if field.kind == "sealed":
        raise ValueError(f"[{n}] {field.name} is sealed: no condition can test it")
    if field.kind not in kind.column_types:
        raise ValueError(f"[{n}] {kind.word} does not test a {field.kind} field such as {field.name}")
    return _read_condition(kind, field, item[kind.word], n)


def _read_condition(kind: type[Condition], field: CatalogueField, value: Any, n: int) -> Condition:
    try:
        # YAML's lists come in as lists; inside, every value keeps its type.
        condition = kind.model_validate({"field": field.name, kind.word: tuple(value) if isinstance(value, list) else value})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        reason = REASONS.get(first["type"], first["msg"]).removeprefix("Value error, ")
        raise ValueError(f"[{n}] {kind.word}: {reason}") from None
    for tested in condition.argument if condition.word == "one_of" else ():
        check_value(field, tested, f"[{n}] ")
    return condition
