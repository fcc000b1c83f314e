"""How many keys a client or a person may be lent, and how often they may ask for a value, within an hour: a bound on what a stolen token,
or a serving process gone wrong, takes away.
"""

from collections import OrderedDict, deque
from threading import Lock
from typing import Final

from hub.crypto.keys import OverLimit

HOUR_S: Final = 3600.0
STEP_S: Final = 60.0
KEPT: Final = 10_000  # clients and people; who has asked least recently is forgotten first
TOGETHER: Final = 10
"""How many times as much all of an organisation may: whoever can make people and clients would have a count for each."""
_Steps = deque[tuple[float, int]]


class Limits:
    """Counts by client or person, and by organisation. Thread-safe; forgets with the process. A partner can't end that; a process of the
    same user can, and `hub serve` starts another with empty counts (docs/operate.md tells how to part the two).
    """

    def __init__(self, most: int, what: str = "open {most} classes of records within an hour") -> None:
        """`what`: the end of "This client may …", with `{most}` in it."""
        self._most, self._what, self._lock = most, what.format(most=f"{most:,}"), Lock()
        self._lent: OrderedDict[str, _Steps] = OrderedDict()
        self._together: OrderedDict[str, _Steps] = OrderedDict()

    def lend(self, whom: str, organisation: str, keys: int, now: float) -> None:
        """Notes that `whom`, of an organisation, is lent so many keys at `now` (seconds, of any clock that doesn't go back).

        Raises:
            OverLimit: that would be more than they may have within the hour; nothing is noted.
        """
        with self._lock:
            own, all_of_it = _steps_of(self._lent, whom, now), _steps_of(self._together, organisation, now)
            if _sum(own) + keys > self._most:
                raise OverLimit(f"This client may {self._what}, and has. Try again later.")
            if _sum(all_of_it) + keys > TOGETHER * self._most:
                raise OverLimit(
                    f"A client may {self._what}, all of your organisation {TOGETHER} times as much, and they have. Try again later."
                )
            for steps in (own, all_of_it):
                _note(steps, keys, now)


def _steps_of(lent: OrderedDict[str, _Steps], whom: str, now: float) -> _Steps:
    """What was lent within the hour before `now`, step by step."""
    steps = lent.setdefault(whom, deque())
    lent.move_to_end(whom)
    while steps and steps[0][0] <= now - HOUR_S:
        steps.popleft()
    while len(lent) > KEPT:
        lent.popitem(last=False)
    return steps


def _sum(steps: _Steps) -> int:
    return sum(count for _, count in steps)


def _note(steps: _Steps, keys: int, now: float) -> None:
    if steps and now - steps[-1][0] < STEP_S:
        steps[-1] = (steps[-1][0], steps[-1][1] + keys)
    else:
        steps.append((now, keys))
