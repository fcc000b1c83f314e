"""What a dataset says of a record's values, told without them."""

from collections.abc import Callable, Iterable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hub.errors import Problem
from hub.mapping.rows import MAX_PROBLEMS, Made
from hub.mapping.shapes import part_of, shape_of
from hub.records import Record

MAX_NAME = 200
WHOLE = "both coordinates are whole degrees: a place within 50 km or so, or none"
ZERO = "is (0, 0), which many programs write for no place"


def record_of(values: dict[str, object], dataset: type[Record], label: Callable[[str], str]) -> Record | Made:
    """The record, or why there is none; `label` says where a field's value comes from."""
    try:
        return dataset.model_validate(values)
    except ValidationError as error:
        return refusal(_problem(item, dataset, label) for item in error.errors(include_url=False, include_input=False))


def place_flags(lon: float, lat: float, field: str) -> tuple[Problem, ...]:
    """Doubts about a place in degrees."""
    if not (lon.is_integer() and lat.is_integer()):
        return ()
    return (Problem(field, ZERO if lon == 0 == lat else WHOLE),)


def refusal(problems: Iterable[Problem]) -> Made:
    """A refused row with its first MAX_PROBLEMS problems; how many more there are is said in their place."""
    found = list(dict.fromkeys(problems))
    if len(found) > MAX_PROBLEMS:
        found = [*found[: MAX_PROBLEMS - 1], Problem("row", f"has {len(found) - MAX_PROBLEMS + 1:,} problems more")]
    return Made(None, problems=tuple(found))


def _problem(item: ErrorDetails, dataset: type[Record], label: Callable[[str], str]) -> Problem:
    first, *inner = item["loc"] or ("",)
    reason = item["msg"].removeprefix("Value error, ")
    if not first and ": " in reason:
        first, reason = reason.split(": ", 1)  # a test of the whole record names the field itself
    if item["type"] == "missing" and not inner:
        reason = "has no value"
    elif item["type"] == "extra_forbidden":
        reason = "has a member that is not of this dataset" if inner else (
            f"is not a member of {dataset.__name__}; what has no field of its own goes into extra"
        )  # fmt: skip
    elif item["type"] == "enum":
        reason = "must be " + reason.removeprefix("Input should be ")
    # Inside lists and objects the names may be the partner's own data: only numbers and the hub's names are told.
    path = "".join(f".{step}" for step in inner if isinstance(step, int) or _is_ours(dataset, str(first), str(step)))
    return Problem(((label(str(first)) if first else "row") + path)[:MAX_NAME], reason)


def _is_ours(dataset: type[Record], field: str, step: str) -> bool:
    return field in dataset.model_fields and shape_of(dataset, field) == "list" and step in part_of(dataset, field).model_fields
