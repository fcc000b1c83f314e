"""The sealed context: what a reader may see, told to PostgreSQL in a way that nobody else can tell it (hub/released.py).

`mac || header \\n body`. The header binds it to one session and one transaction and lets it end within seconds; the body is the
dataset's context type as text.
"""

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hub.policy.treatments import window as bounds
from hub.records import WINDOW_FIELD, Record
from hub.released import COUNTING, Slot, refusable, slots
from hub.sharing.live import LiveGrant, LiveRefusal


@dataclass(frozen=True, slots=True)
class Admission:
    """What hub.admit() says: this session and transaction, the server's clock, the policy epoch, whether the client may still act."""

    pid: int
    tx_us: int
    wall: datetime
    epoch: int
    active: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """What the access paths `seek` and `time` need to know besides the grants."""

    keys: Sequence[int] = ()
    since: datetime | None = None
    until: datetime | None = None


def seal(
    key: bytes,
    dataset: type[Record],
    admitted: Admission,
    organisation: int,
    purpose: str,
    grants: Sequence[LiveGrant],
    refusals: Sequence[LiveRefusal],
    ttl_s: int,
    reach: Reach,
    released: str | None = None,
    counts: bool = False,
) -> str:
    """The sealed context of one transaction, as `hub.enter` takes it. It ends after `ttl_s`, or with the first MOU that does, or when
    one begins that refuses something. With `counts` it opens no released view, but the function that counts. `released` is what
    `releases` makes of the same grants, where that is known already.
    """
    now = admitted.wall
    ends = min([now + timedelta(seconds=ttl_s), *(g.until for g in grants), *(r.since for r in refusals if r.since > now)])
    holding = [r for r in refusals if r.since <= now]
    head = "|".join(
        map(
            str,
            (
                admitted.pid,
                admitted.tx_us,
                microseconds(ends),
                sealed_for(dataset, counts),
                organisation,
                purpose,
                admitted.epoch,
            ),
        )
    )
    text = f"{head}\n{body(grants, released or releases(dataset, grants), holds(dataset, holding), now, reach)}"
    return hmac.digest(key, text.encode(), "sha256").hex() + text


def sealed_for(dataset: type[Record], counts: bool) -> int:
    """What a context is entered for."""
    return dataset.number + (COUNTING if counts else 0)


def body(grants: Sequence[LiveGrant], released: str, held: tuple[str, str], now: datetime, reach: Reach) -> str:
    """The context type as a composite literal. Bounds of a window lie on the grant's own time grid, which makes the test of
    the stored time the same as a test of the released one: a record is shown only when its whole released hour (or day) is
    inside the window (docs/decisions/0005).
    """
    windows = [window(g, now) for g in grants]
    members = [
        _array(str(g.id) for g in grants),
        _array(w[0] for w in windows),
        _array(w[1] for w in windows),
        _array(str(g.id) for g, w in zip(grants, windows, strict=True) if w != ALWAYS),
        _array(map(str, reach.keys)),
        _instant(reach.since, "-infinity"),
        _instant(reach.until, "infinity"),
    ]
    whole, fields = held
    return f"({','.join(members)},{whole},{released},{fields})"


def releases(dataset: type[Record], grants: Sequence[LiveGrant]) -> str:
    """The members of the context type that say which grant releases what: the same as long as the grants are."""
    return ",".join(member for slot in slots(dataset) for member in _slot(slot, grants))


def _slot(slot: Slot, grants: Sequence[LiveGrant]) -> Iterator[str]:
    """The member of a slot, and the one that says by which measure each grant releases, if it has one."""
    given = [(g.treatment(slot.field), g.id) for g in grants]
    giving = sorted((g for g in given if slot.treatment in (str(g[0]), g[0].word)), key=lambda g: g[0].fineness, reverse=True)
    yield _array(str(i) for _, i in giving)
    if slot.measured:
        yield _array(t.value for t, _ in giving)


def holds(dataset: type[Record], refusals: Sequence[LiveRefusal]) -> tuple[str, str]:
    """The members that say which refusals hold: those of whole records and of fields; and by which of them each field is held back."""
    whole = _array(str(r.id) for r in refusals if r.fields is None)
    parts = [r for r in refusals if r.fields is not None]
    held = [_array(str(r.id) for r in parts if r.holds_back(f.name)) for f in refusable(dataset)]
    return f"{whole},{_array(str(r.id) for r in parts)}", ",".join(held)


ALWAYS = ("-infinity", "infinity")


def window(grant: LiveGrant, now: datetime) -> tuple[str, str]:
    """From (inclusive) and until (exclusive) of the stored times that `grant` reaches now, as PostgreSQL reads them."""
    since, until = bounds(now, grant.lookback, grant.embargo, grant.treatment(WINDOW_FIELD).step)
    return _instant(since, "-infinity"), _instant(until, "infinity")


def microseconds(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _instant(at: datetime | None, otherwise: str) -> str:
    return otherwise if at is None else at.astimezone(UTC).isoformat()


def _array(members: Iterable[str]) -> str:
    return '"{' + ",".join(members) + '}"'
