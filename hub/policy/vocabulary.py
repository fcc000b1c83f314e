"""What the words of an MOU file are made of: parts that refuse unknown words, names, durations, and the fields they speak of.

Pure. The catalogue of datasets comes in as the context of a validation (`datasets`).
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationInfo

from hub.policy.treatments import Treatment, read_treatment
from hub.records import Field, Record

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")]
Purpose = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=100)]
Action = Literal["query", "subscribe", "export", "match"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
NEVER_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # no record holds these characters, and PostgreSQL takes none
_DURATION = re.compile(r"P(?=\d|T\d)(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,6})M)?)?")


class Part(BaseModel):
    """Keys and values of a file; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


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


def _known_dataset(value: str, info: ValidationInfo) -> str:
    """Raises ValueError when the hub has no such dataset."""
    datasets = _datasets(info)
    if value not in datasets:
        raise ValueError(f"the hub has no dataset {value!r}{suggestion(value, datasets)}; it has {', '.join(sorted(datasets))}")
    return value


Dataset = Annotated[str, AfterValidator(_known_dataset)]


def dataset_of(info: ValidationInfo) -> type[Record] | None:
    """The dataset that the part names; None when it was refused already."""
    return _datasets(info).get(info.data.get("dataset", ""))


def known_field(dataset: type[Record], name: object, at: str = "") -> Field:
    """The field of that name.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    field = dataset.field(name) if isinstance(name, str) else None
    if field is None:
        names = sorted(f.name for f in dataset.fields)
        raise ValueError(f"{at}{dataset.__name__} has no field {name!r}{suggestion(name, names)}; it has {', '.join(names)}")
    return field


def check_value(field: Field, value: object, at: str = "") -> None:
    """Raises ValueError when a clear field can never hold this value."""
    if field.kind == "number" and type(value) is not int:
        raise ValueError(f"{at}{field.name} is a number, not {value!r}")
    if field.kind == "text" and (
        not isinstance(value, str) or NEVER_TEXT.search(value) or (field.choices is not None and value not in field.choices)
    ):
        known = f"; it is one of {', '.join(sorted(field.choices))}" if field.choices else ""
        raise ValueError(f"{at}{field.name} is never {value!r}{suggestion(value, field.choices or ())}{known}")


def treatments(dataset: type[Record], value: object) -> dict[str, Treatment]:
    """Each named field with its treatment.

    Raises:
        ValueError: what is given is not that.
    """
    if not isinstance(value, dict):
        raise ValueError("must give each field a treatment")
    return {str(name): _treatment(known_field(dataset, name), treatment) for name, treatment in value.items()}


def suggestion(word: object, known: Iterable[str]) -> str:
    """` (did you mean …?)` where some known word looks like it; else nothing."""
    close = get_close_matches(str(word), list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _treatment(field: Field, value: object) -> Treatment:
    try:
        return read_treatment(field, value)
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None


def _datasets(info: ValidationInfo) -> Mapping[str, type[Record]]:
    datasets: Mapping[str, type[Record]] = (info.context or {}).get("datasets", {})
    return datasets
