"""How many keys a client may be lent, and how often it may ask for a value, within an hour: a bound on what a stolen token, or a serving
process gone wrong, takes away.
"""

from collections import OrderedDict, deque
from threading import Lock
from typing import Final

from hub.crypto.keys import OverLimit

HOUR_S: Final = 3600.0
STEP_S: Final = 60.0
KEPT: Final = 10_000  # clients; the one that has asked least recently is forgotten first


class Limits:
    """Counts by client. Thread-safe; forgets with the process, which a client can't restart."""

    def __init__(self, most: int, what: str = "open {most} classes of records within an hour") -> None:
        """`what`: the end of "This client may …", with `{most}` in it."""
        self._most, self._what, self._lock = most, what.format(most=f"{most:,}"), Lock()
        self._lent: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def lend(self, client: str, keys: int, now: float) -> None:
        """Notes that `client` is lent so many keys at `now` (seconds, of any clock that doesn't go back).

        Raises:
            OverLimit: that would be more than it may have within the hour; nothing is noted.
        """
        with self._lock:
            steps = self._lent.setdefault(client, deque())
            self._lent.move_to_end(client)
            while steps and steps[0][0] <= now - HOUR_S:
                steps.popleft()
            if sum(count for _, count in steps) + keys > self._most:
                raise OverLimit(f"This client may {self._what}, and has. Try again later.")
            if steps and now - steps[-1][0] < STEP_S:
                steps[-1] = (steps[-1][0], steps[-1][1] + keys)
            else:
                steps.append((now, keys))
            while len(self._lent) > KEPT:
                self._lent.popitem(last=False)

    def within_the_hour(self, now: float) -> dict[str, int]:
        """Keys lent since an hour ago, by client."""
        with self._lock:
            return {client: sum(n for at, n in steps if at > now - HOUR_S) for client, steps in self._lent.items()}
