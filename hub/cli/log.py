"""`hub log …`: how the log's tree stands, who witnesses it, and having it go on after its database was put back."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import typer

from hub.audit import witnesses
from hub.audit.operator import changed
from hub.audit.published import State
from hub.cli.opened import opened
from hub.cli.out import console, table
from hub.db import Transaction
from hub.settings import read_settings
from hub.setup import addresses_of, published
from hub.witness.commands import verifier_key
from hub.workers.sequencing import resume as go_on

commands = typer.Typer(no_args_is_help=True, help="The audit log's tree, and its witnesses.")
witness = typer.Typer(no_args_is_help=True, help="Witnesses: partners who cosign what the log has signed.")
commands.add_typer(witness, name="witness")


@commands.command()
def status() -> None:
    """How the log stands: its key, how many leaves are in its tree, what waits, how far each witness is, open alarms."""
    settings = read_settings()
    with opened() as database:
        found = published(settings, database).state()
    console.print(f"Verifier key: {found.key}", markup=False)
    console.print(_size(found))
    if found.quorum:
        lacks = "" if found.unwitnessed_s is None else f" One lacks them for {found.unwitnessed_s:.0f} s."
        console.print(f"Witnesses wanted for each checkpoint: {found.quorum}.{lacks}")
    for alarm in found.alarms:
        console.print(f"ALARM since {alarm.since:%Y-%m-%d %H:%M} UTC: {alarm.kind}. {alarm.detail}", markup=False)
    _list(found)


@commands.command()
def resume() -> None:
    """Has the log go on from where its database is, although another state of it was signed: after a backup was restored, say. Run as the
    sequencer's user, once you know why. Witnesses that saw more won't follow: their partners have to be told.
    """
    settings = read_settings()
    _changed("resumed", lambda tx: None)
    place = go_on(settings, addresses_of(settings))
    console.print(f"The log goes on from {place.size} leaves.")


@witness.command("add")
def witness_add(name: str, key: str) -> None:
    """Registers a witness by its name and the verifier key that its partner sent, or a file with it. Check it by another way."""
    found = verifier_key(key)
    _changed("witness added", lambda tx: witnesses.add(tx, name, str(found)), witness=name, key=str(found))
    console.print(f"Added {name}.", markup=False)


@witness.command("remove")
def witness_remove(name: str) -> None:
    """Ends a witness for good: what it cosigned counts no more."""
    _changed("witness removed", lambda tx: witnesses.remove(tx, name), witness=name)
    console.print(f"Removed {name}.", markup=False)


@witness.command("list")
def witness_list() -> None:
    """The witnesses, and how far each is."""
    settings = read_settings()
    with opened() as database:
        _list(published(settings, database).state())


def _changed(step: str, does: Callable[[Transaction], object], **told: Any) -> None:
    changed(addresses_of(read_settings()).main, datetime.now(UTC), step, does, **told)


def _size(found: State) -> str:
    waits = "" if found.behind_s is None else f", the oldest for {found.behind_s:.0f} s"
    return f"{found.size:,} leaves in the tree of {found.key.name}; {found.waiting:,} waiting{waits}."


def _list(found: State) -> None:
    rows = [
        [w.name, "none yet" if w.size is None else f"{w.size:,} leaves", f"{w.at:%Y-%m-%d %H:%M:%S}" if w.at else "-", _lag(w.lag_s)]
        for w in found.witnesses
    ]
    if rows:
        table(["witness", "cosigned", "last (UTC)", "behind"], rows)
    else:
        console.print("There are no witnesses: hub log witness add.")


def _lag(lag_s: float | None) -> str:
    return "no" if lag_s is None else f"{lag_s:.0f} s"
