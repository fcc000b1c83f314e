"""What a grant may require of a record.

Every condition says the same thing twice: `holds` in Python for one released value, `sql` for PostgreSQL, where the rule's
argument is a column of the dataset's rules table. Tests compare the two on the edges. Adding a condition: one class, one line in
CONDITIONS (and the migration that adds its column).
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

import shapely
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr, field_validator
from pydantic import Field as Bounds

from hub.geo import Point
from hub.records import Field

Whole = Annotated[StrictInt, Bounds(ge=-(2**31), le=2**31 - 1)]  # a number column is a PostgreSQL int


class Condition(BaseModel):
    """`field` names a clear field or the place; the subclass's `word` is its other member."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    word: ClassVar[str]
    column_types: ClassVar[dict[str, str]]  # kind of field → type of the rule's column
    field: StrictStr

    @property
    def argument(self) -> Any:
        return getattr(self, self.word)

    @classmethod
    def column(cls, field: Field) -> str:
        """The rules column that holds this condition's argument for `field`."""
        return f"{field.name}__{cls.word}"

    @abstractmethod
    def holds(self, value: Any) -> bool:
        """Whether the released `value` meets the condition; a value that is not there never does."""

    @classmethod
    @abstractmethod
    def sql(cls, column: str, value: str) -> str:
        """The same for PostgreSQL: `column` holds the argument (null: no such condition), `value` the released value."""

    @abstractmethod
    def both(self, other: Self) -> Self:
        """The one condition that says what both say."""

    def cuts(self, edges: Sequence[int]) -> bool:
        """Whether it holds for some values of a band and not for others; `edges` are the beginnings of the bands, ascending."""
        return False


class OneOf(Condition):
    word = "one_of"
    column_types = {"text": "text[]", "number": "int[]"}
    one_of: tuple[Whole | StrictStr, ...]

    @field_validator("one_of")
    @classmethod
    def _not_empty(cls, value: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if not value:
            raise ValueError("one_of needs at least one value: an empty list would never hold")
        return value

    def holds(self, value: Any) -> bool:
        return value in self.one_of

    @classmethod
    def sql(cls, column: str, value: str) -> str:
        return f"({column} is null or {value} = any({column}))"

    def both(self, other: Self) -> Self:
        return self.model_copy(update={"one_of": tuple(v for v in self.one_of if v in other.one_of)})

    def cuts(self, edges: Sequence[int]) -> bool:
        wanted = set(self.one_of)
        whole = [set(range(low, high)) for low, high in pairwise(edges) if high - low <= len(wanted)]
        return wanted != set().union(*(band for band in whole if band <= wanted))


class AtMost(Condition):
    word = "at_most"
    column_types = {"number": "int"}
    at_most: Whole

    def holds(self, value: Any) -> bool:
        return value is not None and value <= self.at_most

    @classmethod
    def sql(cls, column: str, value: str) -> str:
        return f"({column} is null or {value} <= {column})"

    def both(self, other: Self) -> Self:
        return min(self, other, key=lambda c: c.at_most)

    def cuts(self, edges: Sequence[int]) -> bool:
        return self.at_most + 1 not in edges


class AtLeast(Condition):
    word = "at_least"
    column_types = {"number": "int"}
    at_least: Whole

    def holds(self, value: Any) -> bool:
        return value is not None and value >= self.at_least

    @classmethod
    def sql(cls, column: str, value: str) -> str:
        return f"({column} is null or {value} >= {column})"

    def both(self, other: Self) -> Self:
        return max(self, other, key=lambda c: c.at_least)

    def cuts(self, edges: Sequence[int]) -> bool:
        return self.at_least not in edges


class Within(Condition):
    """The centre of the grant's cell lies in, or on the border of, each named jurisdiction."""

    word = "within"
    column_types = {"place": "public.geometry[]"}
    within: StrictStr | tuple[StrictStr, ...]

    @field_validator("within")
    @classmethod
    def _not_empty(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("within needs at least one jurisdiction: an empty list would always hold")
        return value

    @property
    def argument(self) -> tuple[str, ...]:
        return (self.within,) if isinstance(self.within, str) else self.within

    def holds(self, value: Any) -> bool:
        raise TypeError("a place is tested against the jurisdictions' shapes: see covers()")

    @staticmethod
    def covers(areas: list[shapely.Geometry], centre: Point) -> bool:
        """Whether every area covers `centre` (lon, lat)."""
        return all(shapely.covers(area, shapely.Point(centre)) for area in areas)

    @classmethod
    def sql(cls, column: str, value: str) -> str:
        return f"({column} is null or not exists (select from unnest({column}) a where public.ST_Covers(a, {value}) is not true))"

    def both(self, other: Self) -> Self:
        return self.model_copy(update={"within": tuple(dict.fromkeys(self.argument + other.argument))})


CONDITIONS: dict[str, type[Condition]] = {c.word: c for c in (OneOf, AtMost, AtLeast, Within)}
