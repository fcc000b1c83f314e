"""What is under way when something changes: a request on every pooled connection at once, or one that has read and not yet logged."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import pytest

from hub.sharing.disclosure import Writer

POOL = 4  # what tests/world.py gives each role
T = TypeVar("T")


def on_every_connection(patch: pytest.MonkeyPatch, ask: Callable[[], T]) -> list[T]:
    """Asks as often as there are pooled connections, each holding one while the others do."""
    barrier, log = Barrier(POOL, timeout=20), Writer.log

    def together(self: Writer, *rest: Any) -> list[bytes]:
        barrier.wait()
        return log(self, *rest)

    with patch.context() as inner, ThreadPoolExecutor(POOL) as threads:
        inner.setattr(Writer, "log", together)
        return [found.result() for found in [threads.submit(ask) for _ in range(POOL)]]


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object]) -> list[int]:
    """Calls `act` with the number of the attempt after the rows were read and before they are logged."""
    attempts: list[int] = []
    log = Writer.log

    def late(self: Writer, tx: Any, *rest: Any) -> list[bytes]:
        attempts.append(len(attempts) + 1)
        act(attempts[-1])
        return log(self, tx, *rest)

    monkeypatch.setattr(Writer, "log", late)
    return attempts
