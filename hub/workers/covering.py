"""Whether a committed event covers what is to be opened (docs/decisions/0023-key-process.md). Pure: leaves and claims come in."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from pyroaring import BitMap64

from hub.audit.leaf import TESTED, revisions_in
from hub.crypto.keys import NotCovered
from hub.records import Record

FRESH_S: Final = 60.0
"""An event opens what it shows while it is answered, not for good."""
OPENING: Final = frozenset({"query", "export", "match"})
OPENED: Final = frozenset({"clear", "last"})  # the treatments that need a sealed field, or the exact place, opened


@dataclass(frozen=True, slots=True)
class Holder:
    """Who brought the proof, as a leaf names it. Of a person the session alone: purpose and case are chosen in it."""

    session: str
    client: str | None = None
    organisation: str | None = None
    purpose: str | None = None
    case: str | None = None


class _By(msgspec.Struct, frozen=True):
    organisation: str | None = None
    client: str | None = None
    session: str | None = None


class _Shown(msgspec.Struct, frozen=True):
    revisions: str | None = None
    fields: dict[str, str] = {}


class _Body(msgspec.Struct, frozen=True):
    """What is read of a leaf; the members that it has besides are not looked at."""

    type: str
    decision: str
    by: _By = _By()
    dataset: str | None = None
    purpose: str | None = None
    case: str | None = None
    owner: str | None = None
    asked: dict[str, Any] = {}
    shown: _Shown = _Shown()

    def revisions(self) -> BitMap64:
        """Raises NotCovered."""
        try:
            return BitMap64() if self.shown.revisions is None else revisions_in(self.shown.revisions)
        except (ValueError, IndexError):
            raise NotCovered("The event has a leaf whose revisions can't be read.") from None


_read = msgspec.json.Decoder(_Body).decode


class Asked(NamedTuple):
    """A key that is wanted: of whose record, which revision, which class."""

    owner: str
    revision_no: int
    cls: int


def check(leaves: Sequence[str], age_s: float, name: str, dataset: type[Record], holder: Holder, asked: Iterable[Asked]) -> None:
    """Raises NotCovered unless the leaves of one event, `age_s` seconds old, show all that is asked to this holder: each key by one leaf
    that names both its revision and its class.
    """
    shown: dict[tuple[str, int], BitMap64] = {}  # what is opened, by owner and class
    for body in _bodies(leaves, age_s):
        _check_event(body, name, holder)
        if body.owner is not None:
            revisions = body.revisions()
            for cls in classes_shown(dataset, body.shown.fields):
                before = shown.get((body.owner, cls))
                shown[body.owner, cls] = revisions if before is None else before | revisions
    for one in asked:
        if one.revision_no not in shown.get((one.owner, one.cls), ()):
            raise NotCovered("The event doesn't show all that is to be opened.")


def check_tested(
    leaves: Sequence[str], age_s: float, name: str, holder: Holder, field: str, question: str, asked: Iterable[tuple[str, int]]
) -> None:
    """Raises NotCovered unless the leaves of one event say that values of a field were tested with this question (its keyed hash, as the
    leaf has it) in all these revisions, each of an owner.
    """
    tested: dict[str, BitMap64] = {}
    for body in _bodies(leaves, age_s):
        _check_event(body, name, holder)
        if body.type != "match" or body.asked.get("hash") != question:
            raise NotCovered("The event is not one that tests this question.")
        if body.owner is not None and body.shown.fields.get(field) == TESTED:
            tested.setdefault(body.owner, BitMap64()).update(body.revisions())
    for owner, number in asked:
        if number not in tested.get(owner, ()):
            raise NotCovered("The event doesn't say that all of these were tested.")


def _bodies(leaves: Sequence[str], age_s: float) -> list[_Body]:
    if not leaves:
        raise NotCovered("No such event is in the log.")
    if not -1 <= age_s <= FRESH_S:
        raise NotCovered(f"The event is {age_s:.0f} s old; keys are lent while it is answered.")
    return [_body(leaf) for leaf in leaves]


def _body(leaf: str) -> _Body:
    """Raises NotCovered for what no leaf of the hub says: whoever owns a serving process may add any text to the log."""
    try:
        found: _Body = _read(leaf)
    except (ValueError, RecursionError):
        raise NotCovered("The event has a leaf that can't be read.") from None
    return found


def _check_event(body: _Body, name: str, holder: Holder) -> None:
    if body.type not in OPENING or body.decision != "permit" or body.dataset != name:
        raise NotCovered("The event is not one that shows records of this dataset.")
    if body.by.session != holder.session or body.by.client != holder.client:
        raise NotCovered("The event is somebody else's.")
    said = (body.by.organisation, body.purpose, body.case)
    if holder.client is not None and said != (holder.organisation, holder.purpose, holder.case):
        raise NotCovered("The event is of another organisation, purpose or case than the token.")


def names_all(leaves: Sequence[str], name: str, owner: str, numbers: Iterable[int]) -> bool:
    """Whether the leaves of one event say that these revisions of a dataset, all of one owner, are destroyed. Leaves that say something
    else, or that can't be read, say nothing: anybody may have added them to the event.
    """
    named = BitMap64()
    for leaf in leaves:
        with suppress(NotCovered):
            body = _body(leaf)
            if (body.type, body.decision, body.dataset, body.owner) == ("shred", "permit", name, owner):
                named |= body.revisions()
    return all(number in named for number in numbers)


def classes_shown(dataset: type[Record], fields: Mapping[str, str]) -> set[int]:
    """The sealed classes that a leaf's treatments need opened; `fields` is name → treatments, comma-separated."""
    found = set()
    for field in (*dataset.named("sealed"), *dataset.named("place")):
        words = {treatment.partition(":")[0] for treatment in fields.get(field.name, "").split(",")}
        if words & OPENED:
            found.add(field.cls)
    return found
