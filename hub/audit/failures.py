"""Unauthenticated requests: counted by the minute and logged as counts, so that nobody can fill the log by knocking."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from threading import Lock

from hub.audit.leaf import By, Event, event_id, instant
from hub.audit.log import Log
from hub.errors import HubError


class Failures:
    """Counts by minute and kind. A minute's counts go to the log with the first failure after it, and at the end; while the log
    can't be written they are kept.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = Lock()
        self._minutes: dict[datetime, Counter[str]] = {}

    def note(self, kind: str, now: datetime) -> None:
        """Counts one failure at `now` (aware)."""
        minute = now.replace(second=0, microsecond=0)
        with self._lock:
            self._minutes.setdefault(minute, Counter())[kind] += 1
            if len(self._minutes) == 1:
                return
        self._write(now, lambda at: at != minute)

    def flush(self, now: datetime) -> None:
        """Writes what has been counted so far."""
        self._write(now, lambda _: True)

    def _write(self, now: datetime, due: Callable[[datetime], bool]) -> None:
        with self._lock:
            taken = {minute: self._minutes.pop(minute) for minute in [m for m in self._minutes if due(m)]}
        while taken:
            minute = min(taken)
            asked = {"minute": instant(minute), "counts": dict(sorted(taken[minute].items()))}
            try:
                self._log.record(Event(event_id(now, os.urandom(10)), "unauthenticated", now, By(), "refuse", asked=asked))
            except HubError:
                self._keep(taken)
                return
            del taken[minute]

    def _keep(self, taken: dict[datetime, Counter[str]]) -> None:
        with self._lock:
            for minute, counts in taken.items():
                self._minutes.setdefault(minute, Counter()).update(counts)
