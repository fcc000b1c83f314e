"""A catalogue that contradicts itself stops the hub: at the class, before anything is stored or shown."""

from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, create_model

from hub.datasets import DATASETS
from hub.geo import Point
from hub.records import CatalogueError, Clear, Place, Record, Sealed, Time, distinct_numbers
from hub.tables import clear_fields, sealed_fields

GOOD: dict[str, Any] = {
    "external_id": (Annotated[str, Clear(1)], ...),
    "occurred_at": (Annotated[Time, Clear(2)], ...),
    "place": (Annotated[Point, Place(3)], ...),
    "narrative": (Annotated[str | None, Sealed(4, "case")], None),
}


def _dataset(number: int | None = 7, **fields: Any) -> type[Record]:
    """A dataset of the fields above with some changed; None takes one away."""
    wanted = {name: field for name, field in (GOOD | fields).items() if field is not None}
    keywords = {} if number is None else {"number": number}
    made: type[Record] = create_model("Made", __base__=Record, __cls_kwargs__=keywords, **wanted)
    return made


def test_a_whole_catalogue_is_taken() -> None:
    made = _dataset()
    assert made.number == 7
    assert [f.name for f in clear_fields(made)] == ["external_id", "occurred_at"]
    assert [f.name for f in sealed_fields(made)] == ["place", "narrative"]


class _Part(BaseModel):
    x: int


class Word(StrEnum):
    ONE = "one"


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a field without a mark": (lambda: _dataset(more=(str | None, None)), "Made.more needs exactly one of Clear, Sealed, Place; it has 0"),
    "an unmarked field of the field's own type": (lambda: _dataset(place=(Point, ...)), "Made.place needs exactly one"),
    "a field with two marks": (lambda: _dataset(more=(Annotated[str, Clear(5), Sealed(6, "case")], ...)), "it has 2"),
    "a number used twice": (lambda: _dataset(more=(Annotated[str, Clear(4)], ...)), "number 4 names narrative and more"),
    "a number used by a field of another kind": (lambda: _dataset(more=(Annotated[str, Sealed(2, "case")], ...)), "number 2 names"),
    "the number 0": (lambda: _dataset(more=(Annotated[str, Clear(0)], ...)), "0 is not a number from 1 to 65535"),
    "a number too large": (lambda: _dataset(more=(Annotated[str, Clear(65_536)], ...)), "65536 is not a number"),
    "an unknown class": (lambda: _dataset(more=(Annotated[str, Sealed(5, "secret")], ...)), "no sealed class 'secret'"),
    "two places": (lambda: _dataset(more=(Annotated[Point, Place(5)], ...)), "needs exactly one Place"),
    "no place": (lambda: _dataset(place=None), "needs exactly one Place"),
    "no number of its own": (lambda: _dataset(None), "needs a number from 1 to 65535"),
    "a dataset number too large": (lambda: _dataset(65_536), "needs a number from 1 to 65535"),
    "a clear column of a composite type": (lambda: _dataset(more=(Annotated[_Part, Clear(5)], ...)), "keeps no clear column"),
    "a clear column of a day": (lambda: _dataset(more=(Annotated[date, Clear(5)], ...)), "keeps no clear column"),
    "a clear list": (lambda: _dataset(more=(Annotated[tuple[str, ...], Clear(5)], ...)), "keeps no clear column"),
    "two types in one column": (lambda: _dataset(more=(Annotated[int | str, Clear(5)], ...)), "keeps no clear column"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_class_is_refused_when_it_is_made(what: str) -> None:
    make, message = WRONG[what]
    with pytest.raises(CatalogueError) as caught:
        make()
    assert message in str(caught.value)


def test_it_is_refused_where_it_is_written() -> None:
    """Not only when made by a function: the class statement itself raises."""
    with pytest.raises(CatalogueError, match="more"):

        class Wrong(Record, number=9):
            place: Annotated[Point, Place(1)]
            more: str


def test_a_field_that_a_subclass_adds_needs_a_mark_too() -> None:
    with pytest.raises(CatalogueError, match="more"):
        create_model("Sub", __base__=_dataset(), __cls_kwargs__={"number": 8}, more=(str, ...))


def test_datasets_with_one_number_are_refused() -> None:
    with pytest.raises(CatalogueError, match="dataset number 7 names Made and Made"):
        distinct_numbers([_dataset(7), _dataset(7)])
    distinct_numbers([_dataset(7), _dataset(8), *DATASETS.values()])


def test_the_order_of_the_fields_never_matters() -> None:
    one = _dataset()
    other = create_model("Other", __base__=Record, __cls_kwargs__={"number": 7}, **dict(reversed(GOOD.items())))
    assert [f.name for f in clear_fields(one)] == [f.name for f in clear_fields(other)]
    assert [f.name for f in sealed_fields(one)] == [f.name for f in sealed_fields(other)]


def test_a_clear_field_of_words_knows_them() -> None:
    made = _dataset(word=(Annotated[Word, Clear(5)], ...), at=(Annotated[datetime | None, Clear(6)], None))
    field = made.field("word")
    assert field is not None
    assert field.choices == {"one"}


def test_the_numbers_of_the_hubs_datasets_stay_what_they_are() -> None:
    """They are in the additional data of every ciphertext: a number changed here makes stored records unreadable."""
    assert {name: d.number for name, d in DATASETS.items()} == {"incidents": 1}
    assert {f.name: f.number for f in DATASETS["incidents"].fields} == {
        "category": 1,
        "occurred_at": 2,
        "place": 3,
        "narrative": 4,
        "phone": 5,
        "occurred_until": 6,
        "reported_at": 7,
        "resolved_at": 8,
        "status": 9,
        "severity": 10,
        "handling": 11,
        "title": 12,
        "address": 13,
        "people": 14,
        "vehicles": 15,
        "extra": 16,
        "external_id": 17,
    }
