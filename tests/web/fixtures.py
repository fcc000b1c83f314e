"""Fixtures of the tests that need a browser; tests/web/conftest.py hands them to pytest."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.web.browser import chromium as launched
from tests.web.scene import Scene
from tests.web.scene import scene as made
from tests.web.served import Served, serve
from tests.web.watching import Watched
from tests.world import World

SIZES = {1280: {"width": 1280, "height": 800}, 390: {"width": 390, "height": 844}}
Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Served]:
    with serve(world) as hub:
        yield hub


@pytest.fixture
def opened(chromium: Browser, served: Served) -> Iterator[Open]:
    """Makes browser contexts, each somebody's own browser; at the end none of them may have seen anything wrong."""
    made: list[Watched] = []

    def open_one(width: int = 1280, **options: Any) -> Watched:
        given = {"viewport": SIZES[width], "reduced_motion": "reduce", "locale": "en-GB", "timezone_id": "UTC"} | options
        made.append(Watched(chromium.new_context(**given), served.base))
        return made[-1]

    yield open_one
    wrong = [line for watched in made for line in watched.wrong]
    for watched in made:
        watched.context.close()
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def scene(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return made(served, tmp_path_factory.mktemp("agreements"))
