"""Tests of the wall send thousands of requests; a line in the log for each would only slow them down."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from hub.crypto.remote import RemoteKeys


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fields each call opened."""
    calls: list[int] = []
    real = RemoteKeys.open_batch

    def noting(self: RemoteKeys, proof: Any, event: Any, dataset: int, items: Any) -> list[bytes]:
        calls.append(len(items))
        return real(self, proof, event, dataset, items)

    monkeypatch.setattr(RemoteKeys, "open_batch", noting)
    return calls
