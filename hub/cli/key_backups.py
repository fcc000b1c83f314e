"""`hub keys backup | restore | backups`: the keys database in a file, and back; which backups there are. Run as the key process's user."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.out import console, table
from hub.crypto.backup import Backup, Backups
from hub.crypto.next_root import former_root
from hub.datasets import DATASETS
from hub.errors import InvalidRequest
from hub.settings import read_settings
from hub.setup import addresses_of
from hub.workers import key_backups
from hub.workers.upkeep import held


class Step(StrEnum):
    DESTROYED = "destroyed"


def backup(
    file: Annotated[Path, typer.Argument(help="The new file, mode 0600; it must not exist.")],
    note: Annotated[str | None, typer.Option(help="Where it goes, for the list.")] = None,
) -> None:
    """Writes the keys database to FILE, encrypted: the root key opens it, and nothing else does. The hub serves meanwhile."""
    settings = read_settings()
    with held(settings, addresses_of(settings)) as keys:
        made, end = key_backups.back_up(keys, file, note)
    held_there = f"{end.keks:,} key-encryption keys, {end.deks:,} data keys, {end.signed:,} signatures, {end.shredded:,} shredded records"
    console.print(f"Backup {made.number}: {held_there}.", markup=False)
    console.print(f"SHA-256 {_hex(made)}")
    console.print(f"When every copy of {file} is gone: hub keys backups destroyed {made.number}", markup=False)


def restore(
    file: Path,
    replace: Annotated[bool, typer.Option("--replace", help="Gives up the keys that are there.")] = False,
    former_key: Annotated[Path | None, typer.Option(help="The former root key's file, if the backup was made under that.")] = None,
) -> None:
    """Fills the keys database from a backup, all or nothing; what was shredded since stays shredded. With the hub stopped."""
    settings = read_settings()
    former = None if former_key is None else former_root(former_key, _ask)
    found = key_backups.restore(settings, addresses_of(settings), file, replace=replace, former=former, datasets=DATASETS)
    made = "" if found.of is None else f" as of {found.of.at:%Y-%m-%d %H:%M} UTC"
    console.print(f"Restored{made}: {found.keks:,} key-encryption keys, {found.deks:,} data keys, {found.signed:,} signatures.")
    console.print(f"{found.continued:,} signatures made since were taken over from the log.")
    if found.shredded:
        console.print(f"{found.shredded:,} data keys of shredded records were left out.")
    console.print("What was sealed after the backup can't be opened. Next: hub keys verify.")


def backups(
    step: Annotated[Step | None, typer.Argument(help="destroyed: notes that every copy of a backup is gone.")] = None,
    number: Annotated[int | None, typer.Argument(help="Which one.")] = None,
) -> None:
    """The backups of the keys that were made. A shredded record is gone for good when each that may hold its keys is destroyed."""
    if (step is None) != (number is None):
        raise InvalidRequest("Say which one: hub keys backups destroyed NUMBER.")
    settings = read_settings()
    with held(settings, addresses_of(settings)) as keys:
        known = Backups(keys.keys)
        if number is not None:
            known.destroyed(number)
            console.print(f"Backup {number} is destroyed.")
            return
        found = known.all_of()
    table(
        ["backup", "made", "", "note", "SHA-256"],
        [[str(b.number), f"{b.made_at:%Y-%m-%d %H:%M}", _fate(b), b.note or "", _hex(b)] for b in found],
    )


def _fate(backup: Backup) -> str:
    if backup.destroyed_at is not None:
        return f"destroyed {backup.destroyed_at:%Y-%m-%d}"
    return "kept" if backup.sha256 is not None else "broken off"


def _hex(backup: Backup) -> str:
    return "" if backup.sha256 is None else backup.sha256.hex()


def _ask() -> str:
    return str(typer.prompt("Passphrase of the former key file", hide_input=True, err=True))
