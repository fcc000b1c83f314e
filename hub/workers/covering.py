"""Whether a committed event covers what is to be opened (docs/decisions/0023-key-process.md). Pure: leaves and claims come in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
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


class Asked(NamedTuple):
    """A key that is wanted: of whose record, which revision, which class."""

    owner: str
    revision_no: int
    cls: int


def check(leaves: Sequence[str], age_s: float, name: str, dataset: type[Record], holder: Holder, asked: Iterable[Asked]) -> None:
    """Raises NotCovered unless the leaves of one event, `age_s` seconds old, show all that is asked to this holder."""
    bodies = _bodies(leaves, age_s)
    for body in bodies:
        _check_event(body, name, holder)
    shown: dict[str, tuple[BitMap64, set[int]]] = {}
    for body in bodies:
        if "owner" in body:
            revisions, classes = shown.setdefault(body["owner"], (BitMap64(), set()))
            told = body.get("shown", {})
            if "revisions" in told:
                revisions |= revisions_in(told["revisions"])
            classes |= classes_shown(dataset, told.get("fields", {}))
    for one in asked:
        revisions, classes = shown.get(one.owner, (BitMap64(), set()))
        if one.revision_no not in revisions or one.cls not in classes:
            raise NotCovered("The event doesn't show all that is to be opened.")


def check_tested(
    leaves: Sequence[str], age_s: float, name: str, holder: Holder, field: str, question: str, asked: Iterable[tuple[str, int]]
) -> None:
    """Raises NotCovered unless the leaves of one event say that values of a field were tested with this question (its keyed hash, as the
    leaf has it) in all these revisions, each of an owner.
    """
    bodies = _bodies(leaves, age_s)
    tested: dict[str, BitMap64] = {}
    for body in bodies:
        _check_event(body, name, holder)
        if body["type"] != "match" or body["asked"].get("hash") != question:
            raise NotCovered("The event is not one that tests this question.")
        told = body.get("shown", {})
        if "owner" in body and "revisions" in told and told.get("fields", {}).get(field) == TESTED:
            tested.setdefault(body["owner"], BitMap64()).update(revisions_in(told["revisions"]))
    for owner, number in asked:
        if number not in tested.get(owner, ()):
            raise NotCovered("The event doesn't say that all of these were tested.")


def _bodies(leaves: Sequence[str], age_s: float) -> list[dict[str, Any]]:
    if not leaves:
        raise NotCovered("No such event is in the log.")
    if not -1 <= age_s <= FRESH_S:
        raise NotCovered(f"The event is {age_s:.0f} s old; keys are lent while it is answered.")
    return [orjson.loads(leaf) for leaf in leaves]


def _check_event(body: Mapping[str, Any], name: str, holder: Holder) -> None:
    by = body["by"]
    if body["type"] not in OPENING or body["decision"] != "permit" or body.get("dataset") != name:
        raise NotCovered("The event is not one that shows records of this dataset.")
    if by.get("session") != holder.session or by.get("client") != holder.client:
        raise NotCovered("The event is somebody else's.")
    said = (by.get("organisation"), body.get("purpose"), body.get("case"))
    if holder.client is not None and said != (holder.organisation, holder.purpose, holder.case):
        raise NotCovered("The event is of another organisation, purpose or case than the token.")


def names_all(leaves: Sequence[str], name: str, numbers: Iterable[int]) -> bool:
    """Whether the leaves of one event say that these revisions of a dataset are destroyed."""
    named = BitMap64()
    for body in map(orjson.loads, leaves):
        if (body["type"], body["decision"], body.get("dataset")) != ("shred", "permit", name):
            return False
        if "revisions" in body.get("shown", {}):
            named |= revisions_in(body["shown"]["revisions"])
    return all(number in named for number in numbers)


def classes_shown(dataset: type[Record], fields: Mapping[str, str]) -> set[int]:
    """The sealed classes that a leaf's treatments need opened; `fields` is name → treatments, comma-separated."""
    found = set()
    for field in (*dataset.named("sealed"), *dataset.named("place")):
        words = {treatment.partition(":")[0] for treatment in fields.get(field.name, "").split(",")}
        if words & OPENED:
            found.add(field.cls)
    return found
