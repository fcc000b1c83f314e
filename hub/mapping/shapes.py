"""What kind of value a mapping must make for each field of a dataset."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, TypeAdapter

from hub.records import Record, plain_type

Shape = Literal["text", "words", "number", "time", "place", "list", "object"]


def shape_of(model: type[BaseModel], name: str) -> Shape:
    """`words`: one of the field's own words. `list`: people, vehicles; `object`: names with any values, such as `extra`.

    Raises:
        TypeError: no mapping can make such a value; the catalogue has outgrown this module.
    """
    if issubclass(model, Record) and model.named("place")[0].name == name:
        return "place"
    plain = plain_type(model.model_fields[name].annotation)
    if plain is AwareDatetime or plain is datetime:
        return "time"
    if plain is int:
        return "number"
    if isinstance(plain, type) and issubclass(plain, str):
        return "words" if issubclass(plain, Enum) else "text"
    if get_origin(plain) is tuple:
        return "list"
    if get_origin(plain) is dict:
        return "object"
    raise TypeError(f"{model.__name__}.{name}: a mapping makes no {plain!r}")


def choices_of(model: type[BaseModel], name: str) -> tuple[str, ...]:
    """The words that the field may hold; none: it isn't a field of words."""
    plain = plain_type(model.model_fields[name].annotation)
    return tuple(m.value for m in plain) if isinstance(plain, type) and issubclass(plain, Enum) else ()


def part_of(model: type[BaseModel], name: str) -> type[BaseModel]:
    """What a list such as `people` is a list of."""
    part: type[BaseModel] = get_args(plain_type(model.model_fields[name].annotation))[0]
    return part


def adapter_of(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """Checks one value of the field, as the dataset does."""
    info = model.model_fields[name]
    annotation: Any = info.annotation
    return TypeAdapter(Annotated[annotation, *info.metadata] if info.metadata else annotation)
