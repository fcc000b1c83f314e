"""The words of a mapping: what a partner's file looks like, and which field each column becomes."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

from hub.mapping.rows import MAX_COLUMNS

MAX_WORDS = 5_000  # of one value map
DELIMITERS = {",": ",", ";": ";", "tab": "\t", "|": "|"}
# What a GeoJSON feature has besides properties, as columns: its own id; where its point is, for `hash`.
FEATURE_ID, LONGITUDE, LATITUDE = "feature.id", "geometry.lon", "geometry.lat"


def _without_nul(name: str) -> str:
    if "\0" in name:
        raise ValueError("holds a NUL character")
    return name


Column = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(_without_nul)]
Columns = Annotated[tuple[Column, ...], Field(min_length=1, max_length=MAX_COLUMNS, strict=False)]
Word = Annotated[str, StringConstraints(max_length=500)]
Said = Word | int  # what a value becomes: a number field takes whole numbers
Format = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Value(_Part):
    """Where one field's value comes from: exactly one of `column`, `columns`, `constant`."""

    column: Column | None = None
    columns: Columns | None = None
    join: Word | None = None  # between the values of `columns`; a blank unless said
    constant: Said | None = None
    map: Annotated[dict[Word, Said], Field(min_length=1, max_length=MAX_WORDS)] | None = None
    otherwise: Said | None = None
    time: Format | Annotated[tuple[Format, ...], Field(min_length=1, max_length=10, strict=False)] | None = None
    zone: str | None = None
    ambiguous: Literal["earlier", "later"] | None = None
    take: Literal["start", "end"] | None = None
    date: Format | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns it is made of."""
        return self.columns or ((self.column,) if self.column is not None else ())

    @property
    def formats(self) -> tuple[str, ...]:
        return () if self.time is None else (self.time,) if isinstance(self.time, str) else self.time


Parts = Annotated[tuple[dict[str, Value], ...], Field(min_length=1, max_length=50, strict=False)]
ONE, SEVERAL = "one", "several"  # not words of the vocabulary: they only tell pydantic which of the two to try


def _one_or_several(value: Any) -> str:
    return SEVERAL if isinstance(value, list | tuple) else ONE


class ExternalId(_Part):
    """The partner's own id in `column`; where there is none, the columns by which the hub tells rows apart."""

    column: Column | None = None
    hash: Columns | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return (*((self.column,) if self.column is not None else ()), *(self.hash or ()))


class PlaceColumns(_Part):
    """`lon` and `lat` in degrees (WGS 84), or `x` and `y` in the units of `crs`, x to the east."""

    lon: Column | None = None
    lat: Column | None = None
    x: Column | None = None
    y: Column | None = None
    crs: Annotated[str, StringConstraints(pattern=r"^EPSG:[0-9]{4,6}$")] | None = None
    zero: Literal["keep"] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns, first the one to the east."""
        return tuple(c for c in (self.lon or self.x, self.lat or self.y) if c is not None)


class Mapping(_Part):
    """One file format of one partner. Read it by hub.mapping.spec, which also tests it against its dataset."""

    dataset: str
    format: Literal["csv", "geojson-seq"]
    encoding: Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "windows-1252"] | None = None
    delimiter: Literal[",", ";", "tab", "|"] = ","
    header: Literal[True] | Columns = True
    empty: Annotated[tuple[Word, ...], Field(max_length=50, strict=False)] = ()
    decimal: Literal[".", ","] = "."
    zone: str | None = None
    external_id: ExternalId
    place: PlaceColumns | None = None
    fields: dict[str, Annotated[Annotated[Value, Tag(ONE)] | Annotated[Parts, Tag(SEVERAL)], Discriminator(_one_or_several)]]
    unmapped: Literal["extra"] | None = None
    drop: Annotated[tuple[Column, ...], Field(max_length=MAX_COLUMNS, strict=False)] = ()

    @property
    def values(self) -> Iterator[tuple[tuple[int | str, ...], Value]]:
        """Each value with its place under `fields`."""
        for name, found in self.fields.items():
            if isinstance(found, Value):
                yield (name,), found
            else:
                for n, part in enumerate(found):
                    yield from (((name, n, inner), value) for inner, value in part.items())

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that the mapping needs, each once, in its order."""
        return tuple(dict.fromkeys((*self.kept, *(self.external_id.hash or ()))))

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns whose values are in the record: to be hashed alone does not keep one."""
        return self.kept_besides(None)

    def kept_besides(self, field: str | None) -> tuple[str, ...]:
        """The columns whose values are in the record otherwise than by `field`."""
        named = [self.external_id.column] if self.external_id.column is not None else []
        named += self.place.sources if self.place else ()
        return tuple(dict.fromkeys([*named, *(c for at, value in self.values if at[0] != field for c in value.sources)]))
