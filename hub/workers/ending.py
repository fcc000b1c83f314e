"""How a long-running process learns that it is to end."""

import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def wait_for_the_end(until: Callable[[], object] | None = None) -> None:
    """Returns after SIGTERM or SIGINT, or when `until` has returned. To be called in the main thread."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())

    def then(wait: Callable[[], object]) -> None:
        wait()
        ended.set()

    if until is not None:
        threading.Thread(target=then, args=(until,), daemon=True).start()
    ended.wait()
