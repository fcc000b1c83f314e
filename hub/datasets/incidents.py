"""Incident: what happened, when, where, as one organisation reports it.

Words follow NIEM 6, NIBRS and NENA EIDO where they have one. Numbers are append-only (hub/records.py). Number 18 is kept for
area codes, which will derive from released cells.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

from hub.geo import Point, valid_place
from hub.records import Clear, Place, Record, Sealed, Time


class Category(StrEnum):
    """The hub's own short taxonomy; `NIBRS` maps it to FBI offence codes (docs/reference/categories.md)."""

    ASSAULT = "assault"
    BURGLARY = "burglary"
    DISORDER = "disorder"
    DOMESTIC_VIOLENCE = "domestic-violence"
    DRUGS = "drugs"
    FIRE = "fire"
    FRAUD = "fraud"
    HOMICIDE = "homicide"
    MEDICAL = "medical"
    MISSING_PERSON = "missing-person"
    OTHER = "other"
    OVERDOSE = "overdose"
    PROPERTY_DAMAGE = "property-damage"
    ROBBERY = "robbery"
    SEXUAL_OFFENCE = "sexual-offence"
    THEFT = "theft"
    TRAFFIC = "traffic"
    VEHICLE_THEFT = "vehicle-theft"
    WEAPONS = "weapons"
    WELFARE_CHECK = "welfare-check"


NIBRS: dict[Category, tuple[str, ...]] = {
    Category.ASSAULT: ("13A", "13B", "13C"),
    Category.BURGLARY: ("220",),
    Category.DISORDER: ("90C",),
    Category.DRUGS: ("35A", "35B"),
    Category.FIRE: ("200",),
    Category.FRAUD: ("26A", "26B", "26C", "26D", "26E", "26F", "26G", "250", "270"),
    Category.HOMICIDE: ("09A", "09B"),
    Category.PROPERTY_DAMAGE: ("290",),
    Category.ROBBERY: ("120",),
    Category.SEXUAL_OFFENCE: ("11A", "11B", "11C", "11D"),
    Category.THEFT: ("23A", "23B", "23C", "23D", "23E", "23F", "23G", "23H"),
    Category.VEHICLE_THEFT: ("240",),
    Category.WEAPONS: ("520",),
}


class Status(StrEnum):
    OPEN = "open"
    ACTIVE = "active"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Handling(StrEnum):
    """Traffic Light Protocol 2.0 labels."""

    CLEAR = "TLP:CLEAR"
    GREEN = "TLP:GREEN"
    AMBER = "TLP:AMBER"
    AMBER_STRICT = "TLP:AMBER+STRICT"
    RED = "TLP:RED"


MAX_DEPTH = 32  # of lists and objects inside `extra`


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


ShortText = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _calendar_date(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError("is no date of the calendar, such as 1990-12-31") from None
    return value


class Person(_Part):
    """Somebody involved. `role` in the reporting organisation's words (victim, witness, caller …)."""

    name: ShortText | None = None
    birth_date: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_calendar_date)] | None = None
    role: ShortText | None = None


class Vehicle(_Part):
    plate: ShortText | None = None
    description: ShortText | None = None


def _refuse_unkeepable(value: Any, depth: int) -> None:
    if isinstance(value, str):  # nearly all there is
        return
    if isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"is nested more than {MAX_DEPTH} deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_unkeepable(inner, depth - 1)
    elif isinstance(value, float) and abs(value) >= 2**63:
        raise ValueError("holds a number too large to be kept exactly; send it as text")


class Incident(Record, number=1):
    """One incident as its provider reports it. `place` is (lon, lat) in degrees, WGS 84."""

    external_id: Annotated[ExternalId, Clear(17)]
    category: Annotated[Category, Clear(1)]
    status: Annotated[Status | None, Clear(9)] = None
    severity: Annotated[int | None, Clear(10), Field(ge=1, le=5, strict=True)] = None
    handling: Annotated[Handling, Clear(11)] = Handling.AMBER
    occurred_at: Annotated[Time, Clear(2)]
    occurred_until: Annotated[Time | None, Clear(6)] = None
    reported_at: Annotated[Time | None, Clear(7)] = None
    resolved_at: Annotated[Time | None, Clear(8)] = None
    place: Annotated[Point, Place(3)]
    title: Annotated[ShortText | None, Sealed(12, "case")] = None
    narrative: Annotated[str | None, Sealed(4, "case"), StringConstraints(max_length=100_000)] = None
    address: Annotated[ShortText | None, Sealed(13, "location")] = None
    people: Annotated[tuple[Person, ...] | None, Sealed(14, "identity", match="person"), Field(max_length=200)] = None
    phone: Annotated[ShortText | None, Sealed(5, "contact", match="phone")] = None
    vehicles: Annotated[tuple[Vehicle, ...] | None, Sealed(15, "identity", match="plate"), Field(max_length=200)] = None
    extra: Annotated[dict[str, JsonValue] | None, Sealed(16, "case")] = None

    @field_validator("place", mode="before")
    @classmethod
    def _on_earth(cls, value: Any) -> Any:
        lon, lat = value
        if valid_place(lon, lat):
            return value
        if valid_place(lat, lon):
            raise ValueError("looks swapped: coordinates are [longitude, latitude]")
        raise ValueError("must be [longitude -180 … 180, latitude -90 … 90] in degrees")

    @field_validator("extra", mode="before")
    @classmethod
    def _kept_exactly(cls, value: Any) -> Any:
        _refuse_unkeepable(value, MAX_DEPTH)
        return value

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.occurred_until is not None and self.occurred_until < self.occurred_at:
            raise ValueError("occurred_until: the end is before the start (occurred_at)")
        return self
