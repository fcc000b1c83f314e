"""A dataset is a class that says once what a field is and how it may leave: the catalogue.

Each field carries one mark with an explicit number. Numbers are in the additional data of every ciphertext, so they are
append-only: a number is never given to another field, and the order of the fields never matters.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict

from hub.geo import Point

WINDOW_FIELD = "occurred_at"  # of every dataset: what look-back and embargo test
SEALED_CLASSES = {"identity": 1, "contact": 2, "case": 3, "location": 4}
Kind = Literal["text", "number", "time", "place", "sealed"]
Matched = Literal["phone", "plate", "person"]  # how a sealed field is compared (hub/normalised.py)


@dataclass(frozen=True, slots=True)
class Clear:
    """Stored as a column; policies may test it and grants may release it."""

    number: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """Encrypted field by field before it is stored, under the key of its class; `match`: takes part in exact matching, compared as that
    kind: a phone number, the plates of vehicles, the names and birth dates of people.
    """

    number: int
    cls: str
    match: Matched | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The position: its nested cells are stored in the clear, the exact point is sealed (class `location`)."""

    number: int
    cls: str = "location"


Mark = Clear | Sealed | Place


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the catalogue."""

    name: str
    mark: Mark
    kind: Kind
    required: bool
    choices: frozenset[str] | None = None  # the words a clear text field may hold; None: any
    free_text: bool = False  # its values are text that partners write as they like

    @property
    def number(self) -> int:
        return self.mark.number

    @property
    def cls(self) -> int:
        """Number of the sealed class; clear fields have none."""
        if isinstance(self.mark, Clear):
            raise TypeError(f"{self.name} is not sealed")
        return SEALED_CLASSES[self.mark.cls]

    @property
    def matched(self) -> Matched | None:
        """How it is compared; None: it takes no part in matching."""
        return self.mark.match if isinstance(self.mark, Sealed) else None


class CatalogueError(TypeError):
    """The catalogue contradicts itself; the hub does not start."""


class Record(BaseModel):
    """Base of every dataset. `number` names the dataset, `schema` the version of its sealed formats."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)
    number: ClassVar[int]
    schema_no: ClassVar[int] = 1
    fields: ClassVar[tuple[Field, ...]]

    def __init_subclass__(cls, number: int = 0, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, number: int = 0, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if not 0 < number < 65_536:
            raise CatalogueError(f"{cls.__name__} needs a number from 1 to 65535")
        cls.number = number
        cls.fields = tuple(_field(cls, name) for name in cls.model_fields)
        _check(cls)

    @classmethod
    def named(cls, kind: Kind) -> tuple[Field, ...]:
        """The fields of one kind, in the order of their numbers."""
        return tuple(sorted((f for f in cls.fields if f.kind == kind), key=lambda f: f.number))

    @classmethod
    def matchable(cls) -> tuple[Field, ...]:
        """The fields that take part in matching, in the order of their numbers."""
        return tuple(f for f in cls.named("sealed") if f.matched)

    @classmethod
    def field(cls, name: str) -> Field | None:
        """The field called `name`, if there is one."""
        return next((f for f in cls.fields if f.name == name), None)


def _field(dataset: type[Record], name: str) -> Field:
    info = dataset.model_fields[name]
    marks = [m for m in info.metadata if isinstance(m, Clear | Sealed | Place)]
    if len(marks) != 1:
        raise CatalogueError(f"{dataset.__name__}.{name} needs exactly one of Clear, Sealed, Place; it has {len(marks)}")
    mark = marks[0]
    if isinstance(mark, Sealed) and mark.cls not in SEALED_CLASSES:
        raise CatalogueError(f"{dataset.__name__}.{name}: no sealed class {mark.cls!r}")
    plain = plain_type(info.annotation)
    is_text, words = isinstance(plain, type) and issubclass(plain, str), isinstance(plain, type) and issubclass(plain, Enum)
    choices = frozenset(m.value for m in plain) if words and isinstance(mark, Clear) else None
    return Field(name, mark, _kind(dataset, name, mark), info.is_required(), choices, is_text and not words)


def _kind(dataset: type[Record], name: str, mark: Mark) -> Kind:
    if isinstance(mark, Place):
        return "place"
    if isinstance(mark, Sealed):
        return "sealed"
    plain = plain_type(dataset.model_fields[name].annotation)
    if plain is datetime or plain is AwareDatetime:
        return "time"
    if plain is int:
        return "number"
    if isinstance(plain, type) and issubclass(plain, str | Enum):
        return "text"
    raise CatalogueError(f"{dataset.__name__}.{name}: the hub keeps no clear column of type {plain!r}")


def plain_type(annotation: Any) -> Any:
    """The type inside `X | None` and `Annotated[X, …]`."""
    if annotation is AwareDatetime:
        return annotation
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        inner = [a for a in get_args(annotation) if a is not NoneType]
        return plain_type(inner[0]) if len(inner) == 1 else annotation
    return plain_type(get_args(annotation)[0]) if origin is Annotated else annotation


def _check(dataset: type[Record]) -> None:
    seen: dict[int, str] = {}
    for field in dataset.fields:
        if not 0 < field.number < 65_536:
            raise CatalogueError(f"{dataset.__name__}.{field.name}: {field.number} is not a number from 1 to 65535")
        if field.number in seen:
            raise CatalogueError(f"{dataset.__name__}: number {field.number} names {seen[field.number]} and {field.name}")
        seen[field.number] = field.name
    if len(dataset.named("place")) != 1:
        raise CatalogueError(f"{dataset.__name__} needs exactly one Place")


_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")


def _text_time(value: object) -> object:
    # pydantic would read 1700000000, and "1700000000", as a time; a number says neither its unit nor its zone.
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE_TIME.match(value)):
        return value
    raise ValueError("must be text such as 2026-01-31T13:05:00Z (RFC 3339)")


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is not a time that can be told in UTC") from None


Time = Annotated[AwareDatetime, BeforeValidator(_text_time), AfterValidator(_in_utc)]


def distinct_numbers(datasets: list[type[Record]]) -> None:
    """Raises CatalogueError when two datasets claim one number."""
    seen: dict[int, str] = {}
    for dataset in datasets:
        if dataset.number in seen:
            raise CatalogueError(f"dataset number {dataset.number} names {seen[dataset.number]} and {dataset.__name__}")
        seen[dataset.number] = dataset.__name__


__all__ = [
    "SEALED_CLASSES",
    "WINDOW_FIELD",
    "CatalogueError",
    "Clear",
    "Field",
    "Mark",
    "Matched",
    "Place",
    "Point",
    "Record",
    "Sealed",
    "Time",
    "distinct_numbers",
    "plain_type",
]
