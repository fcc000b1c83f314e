"""What a recipient owes for what grants give it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hub.policy.clauses import Duties


@dataclass(frozen=True, slots=True)
class Owed:
    """Not to pass it on; to delete it after `retain` (None: whenever), to acknowledge a recall within `acknowledge`, and to refrain from
    more: NOREUSE, NORELINK.
    """

    retain: timedelta | None
    acknowledge: timedelta
    refrain: tuple[str, ...] = ()

    @classmethod
    def of(cls, duties: Duties) -> "Owed":
        return cls(duties.retain, duties.acknowledge, tuple(sorted(duties.refrain)))

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Owed":
        """What `kept` wrote."""
        retain = kept["retain_s"]
        span = None if retain is None else timedelta(seconds=retain)
        return cls(span, timedelta(seconds=kept["acknowledge_s"]), tuple(kept["refrain"]))

    def kept(self) -> dict[str, Any]:
        """As the database keeps it."""
        retain_s = None if self.retain is None else int(self.retain.total_seconds())
        return {"retain_s": retain_s, "acknowledge_s": int(self.acknowledge.total_seconds()), "refrain": list(self.refrain)}

    def until(self, given: datetime) -> datetime | None:
        """Until when what was given then may be kept; None: as long as the recipient likes."""
        try:
            return None if self.retain is None else given + self.retain
        except OverflowError:
            return None


def strictest(owed: Iterable[Owed | None]) -> Owed | None:
    """What is owed for a record that several grants give: all that one of them asks, and the shorter time of two."""
    known = [o for o in owed if o is not None]
    if not known:
        return None
    retain = min((o.retain for o in known if o.retain is not None), default=None)
    return Owed(retain, min(o.acknowledge for o in known), tuple(sorted({word for o in known for word in o.refrain})))
