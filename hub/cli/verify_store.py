"""`hub verify-store`: whether the records are still those that the log names."""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from hub.audit.leaf import By, Event, event_id
from hub.audit.log import Log
from hub.cli.opened import opened
from hub.cli.out import console
from hub.datasets import DATASETS
from hub.identity import organisations
from hub.sharing.verify_store import Counted
from hub.sharing.verify_store import verify_store as verify

SOMETHING_WRONG = 3  # 1: an error, 2: wrong usage


def verify_store(
    owner: Annotated[str | None, typer.Option(help="Only what this organisation published.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only publications from then on (UTC); revisions without a leaf are told anyhow.")
    ] = None,
) -> None:
    """Compares the store with the log: finds records rolled back, altered, swapped, missing or never published. Exits 3 then."""
    now, counted, wrong = datetime.now(UTC), Counted(), 0
    asked = [name for name, value in (("owner", owner), ("since", since)) if value is not None]
    with opened() as database:
        if owner is not None:
            organisations.get(database.writer, owner)
        # Whose records there are, by their ids, is read here: logged like any reading of the log.
        event = Event(
            event_id(now, os.urandom(10)), "audit", now, By(client="cli"), "permit", asked={"as": "verify-store", "fields": asked}
        )
        Log(database.auditor).record(event)
        for sentence in verify(database.auditor, list(DATASETS), counted, owner, None if since is None else since.replace(tzinfo=UTC)):
            wrong += 1
            console.print(sentence, markup=False)
    console.print(f"{counted.leaves:,} leaves, {counted.roots:,} roots, {counted.revisions:,} revisions: {wrong or 'nothing'} wrong.")
    raise typer.Exit(SOMETHING_WRONG if wrong else 0)
