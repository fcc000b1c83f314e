"""The demo's packages, fetched once and kept for the next run."""

import fcntl
import os
from pathlib import Path

import pytest

from hub.demo.sources import fetch
from hub.errors import Refused
from tests.conftest import HOME

pytest.register_assert_rewrite("tests.demo.oracle")


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of the pinned packages; a machine that can't fetch them skips what needs them, except in CI."""
    folder = HOME / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with (HOME / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            fetch(folder)
        except Refused as refused:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(refused))
    return folder
