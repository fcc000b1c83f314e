"""Unauthenticated requests: counted by the minute and logged as counts, so that nobody can fill the log by knocking."""

import os
from collections import Counter
from datetime import datetime
from threading import Lock

from hub.audit.leaf import By, Event, event_id, instant
from hub.audit.log import Log


class Failures:
    """Counts by kind of failure. A minute's counts go to the log with the first failure after it, and at the end."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = Lock()
        self._minute: datetime | None = None
        self._counts: Counter[str] = Counter()

    def note(self, kind: str, now: datetime) -> None:
        """Counts one failure at `now` (aware)."""
        minute = now.replace(second=0, microsecond=0)
        with self._lock:
            done = self._take() if self._minute not in (None, minute) else None
            self._minute = minute
            self._counts[kind] += 1
        if done:
            self._write(*done, now)

    def flush(self, now: datetime) -> None:
        """Writes what has been counted so far."""
        with self._lock:
            done = self._take()
        if done:
            self._write(*done, now)

    def _take(self) -> tuple[datetime, Counter[str]] | None:
        if self._minute is None:
            return None
        done, self._minute, self._counts = (self._minute, self._counts), None, Counter()
        return done

    def _write(self, minute: datetime, counts: Counter[str], now: datetime) -> None:
        asked = {"minute": instant(minute), "counts": dict(sorted(counts.items()))}
        self._log.record(Event(event_id(now, os.urandom(10)), "unauthenticated", now, By(), "refuse", asked=asked))
