"""An MOU's own tests: what its authors expect of made-up records. They stand beside the grants and must pass before it comes into force.

Pure.
"""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hub.geo import valid_place
from hub.policy.treatments import Treatment
from hub.policy.vocabulary import Dataset, Part, Purpose, Slug, Text, check_value, dataset_of, duration, known_field, treatments
from hub.records import Field as CatalogueField

_PLACES = ("in", "at", "ago")


class As(Part):
    """Who asks, and for what."""

    organisation: Slug
    purpose: Purpose
    case: Text | None = None


class TestedRecord(Part):
    """A made-up record: `at` (lon, lat) in degrees, or somewhere `in` a jurisdiction; it happened so long `ago`; and clear fields."""

    __test__ = False  # pytest takes what is called Test… for a test
    area: Annotated[Slug | None, Field(alias="in")] = None
    at: tuple[float, float] | None = None
    ago: timedelta = timedelta(0)
    values: Annotated[dict[str, str | int], Field(default_factory=dict)]

    @model_validator(mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        values = {name: given for name, given in value.items() if name not in _PLACES}
        return {name: given for name, given in value.items() if name in _PLACES} | {"values": values}

    @field_validator("at", mode="before")
    @classmethod
    def _position(cls, value: object) -> object:
        numbers = isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
        if not isinstance(value, list) or not numbers or not valid_place(*value):
            raise ValueError("must be [longitude, latitude] in degrees")
        return (float(value[0]), float(value[1]))

    @field_validator("ago", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return duration(value)

    @model_validator(mode="after")
    def _one_place(self) -> "TestedRecord":
        if (self.area is None) == (self.at is None):
            raise ValueError("needs a place: `in` a jurisdiction, or `at` [longitude, latitude]")
        return self


class OwnTest(Part):
    """`expect`: hidden, shown, or a treatment for some fields of a record that is shown."""

    dataset: Dataset
    as_: Annotated[As, Field(alias="as")]
    record: TestedRecord
    expect: Literal["hidden", "shown"] | dict[str, Treatment]

    @field_validator("record", mode="after")
    @classmethod
    def _can_hold(cls, value: TestedRecord, info: ValidationInfo) -> TestedRecord:
        dataset = dataset_of(info)
        for name, given in value.values.items():
            if dataset:
                _check(known_field(dataset, name), given)
        return value

    @field_validator("expect", mode="before")
    @classmethod
    def _expected(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str) and value in ("hidden", "shown"):
            return value
        dataset = dataset_of(info)
        if not isinstance(value, dict) or not value:
            raise ValueError("must be hidden, shown, or a treatment for each of some fields")
        return treatments(dataset, value) if dataset else {}


def _check(field: CatalogueField, value: object) -> None:
    if field.kind not in ("text", "number"):
        raise ValueError(f"{field.name} can't be tested: no condition reads it")
    check_value(field, value)
