"""Fixtures of the tests of pages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest

from hub.errors import Conflict
from hub.identity import organisations, people
from hub.identity.people import Person
from tests.web.fixtures import chromium, opened, scene, served
from tests.web.served import Served
from tests.web.visiting import Visitor

__all__ = ["chromium", "opened", "scene", "served"]
_NUMBERS = count(1)


@pytest.fixture
def visitor(served: Served) -> Callable[[], Visitor]:
    """Makes browsers without a screen."""
    return lambda: Visitor(served)


@pytest.fixture(scope="module")
def person(served: Served) -> Callable[..., Person]:
    """Adds somebody new; an organisation that is not there yet is added too."""
    engine = served.world.database.writer

    def added(*roles: str, organisation: str = "health", kind: str = "partner") -> Person:
        with suppress(Conflict):
            organisations.add(engine, organisation, organisation.capitalize(), kind)
        wanted: Sequence[str] = roles or ("agreement-lead",)
        return people.add(engine, organisation, f"person-{next(_NUMBERS)}@{organisation}", f"Somebody of {organisation}", wanted)

    return added


@pytest.fixture
def later(served: Served) -> Iterator[Callable[[timedelta], None]]:
    """Moves the hub's clock on, until the test ends."""
    clock = served.world.clock

    def moved(by: timedelta) -> None:
        clock.ahead += by

    yield moved
    clock.ahead = timedelta(0)
