"""What can be wrong between the log and the store, in words. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from pyroaring import BitMap64

from hub.audit.entries import Entry


class Row(NamedTuple):
    """A revision as the store holds it. `part`: where it lies (current, history, withdrawn, …); `digest`: over its ciphertexts now."""

    number: int
    id: UUID
    rev: int
    owner: str | None
    part: str
    digest: bytes


class Unfit(NamedTuple):
    """A revision whose ciphertext isn't what was published: what was, and what lies there now."""

    entry: Entry
    row: Row


def named(dataset: str, revision: Entry | Row) -> str:
    return f"{dataset} {revision.id} revision {revision.rev} (number {revision.number})"


def explained(dataset: str, unfit: Sequence[Unfit], others: Iterable[Entry]) -> Iterator[str]:
    """A sentence for each of `unfit`: where its ciphertext comes from, if that is known; `others` are revisions it may come from."""
    by_digest = {entry.digest: entry for entry in [*others, *(u.entry for u in unfit)]}
    now = {u.entry.number: u.row.digest for u in unfit}
    told: set[int] = set()
    for entry, row in unfit:
        if entry.number in told:
            continue
        source = by_digest.get(row.digest)
        what = named(dataset, entry)
        if source is None:
            yield f"{what}: its ciphertext is not the one that was published"
        elif now.get(source.number) == entry.digest:
            told.add(source.number)
            yield f"{what} and {named(dataset, source)}: their ciphertexts are swapped"
        elif source.id == entry.id and source.rev < entry.rev:
            yield f"{what} was rolled back: it holds the ciphertext of revision {source.rev} (number {source.number})"
        else:
            yield f"{what} holds the ciphertext of {named(dataset, source)}"


def missing(dataset: str, entry: Entry, left: Sequence[Row]) -> str:
    """Of a revision that the log names and the store hasn't got; `left`: what there is of the same record."""
    what = named(dataset, entry)
    shown = next((row for row in left if row.part == "current"), None)
    if shown is not None and shown.number < entry.number:
        return (
            f"{dataset} {entry.id} was rolled back: its current revision is {shown.rev} (number {shown.number}), "
            f"and revision {entry.rev} (number {entry.number}), which the log names, is missing"
        )
    return f"{what} is missing"


def misplaced(dataset: str, entry: Entry, row: Row, owner: str) -> Iterator[str]:
    """Of a revision whose ciphertext fits: what else isn't as it was."""
    if (row.id, row.rev) != (entry.id, entry.rev):
        yield f"{named(dataset, entry)} lies at record {row.id}, revision {row.rev}"
    if row.owner != owner:
        yield f"{named(dataset, entry)} was published by {owner}, and is stored as {row.owner}'s"


def still_found(dataset: str, record: UUID) -> str:
    return f"{dataset} {record} was shredded, and the index for lookups still has tags of it"


def listed(
    dataset: str, rows: Sequence[Row], newest: Mapping[int, tuple[int, int | None]], known: BitMap64, destroyed: BitMap64
) -> Iterator[str]:
    """Of revisions in the order of their numbers: those that no leaf names, that lie in two places, that are current and not the newest,
    that are shredded without a leaf, or not shredded with one. `newest`: of each number the record's greatest, and its current one;
    `known`, `destroyed`: numbers that the log names.
    """
    for before, row in zip([None, *rows], rows, strict=False):
        what = named(dataset, row)
        latest, current = newest[row.number]
        if row.number not in known:
            yield f"{what} is in no leaf of the log"
        if before is not None and before.number == row.number:
            yield f"{what} lies in two places: {before.part} and {row.part}"
        if row.part == "shredded" and row.number not in destroyed:
            yield f"{what} is marked as shredded, and no leaf of the log says so"
        if row.part != "shredded" and row.number in destroyed:
            yield f"{what} was shredded, as the log says, and lies in {row.part} again"
        if row.part == "current" and latest > row.number:
            yield f"{what} is current, and number {latest} of the same record is newer: it was rolled back"
        if row.part == "history" and latest == row.number and current is None:
            yield f"{what} is the newest of its record and lies in the history: nothing of the record is current"
