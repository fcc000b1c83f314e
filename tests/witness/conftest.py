"""A hub with a witness that is registered there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.world import World, build


@pytest.fixture
def watched(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path) -> Iterator[World]:
    """A hub that wants one witness, raises an alarm after a second without, and opens nothing after three."""
    with build(*databases(), state, witness_quorum=1, witness_alarm_s=1, witness_block_s=3) as world:
        yield world
