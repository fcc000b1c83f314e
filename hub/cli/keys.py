"""`hub keys …`: the operator looks at the keys of fields, rotates and verifies them. Run as the user of the key process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from hub.cli.key_backups import backup, backups, restore
from hub.cli.out import console, table
from hub.crypto import known_answers
from hub.crypto.keys import HUB
from hub.crypto.rotation import MAX_WRAPS
from hub.errors import InvalidRequest
from hub.identity import organisations
from hub.records import SEALED_CLASSES
from hub.settings import read_settings
from hub.setup import Addresses, addresses_of, open_database
from hub.workers.upkeep import Held, held, verify

SOMETHING_WRONG = 3  # 1: an error, 2: wrong usage
commands = typer.Typer(no_args_is_help=True, help="The keys of sealed fields: what there is, new epochs, rewrapping, verifying.")
CLASSES = {number: name for name, number in SEALED_CLASSES.items()}


@commands.command()
def status() -> None:
    """Every key-encryption key: whose, for what, how many data keys it wraps. Former ones go when they wrap none (hub keys rewrap)."""
    with _opened() as (keys, addresses):
        owners = _owners(addresses)
        found = keys.rotation.status()
    table(
        ["key", "owner", "class", "bucket", "epoch", "since", "", "data keys"],
        [
            [
                str(k.kek_id),
                owners.get(k.owner.hex, str(k.owner)),
                CLASSES.get(k.cls, "the hub's"),
                k.bucket,
                str(k.epoch),
                f"{k.created_at:%Y-%m-%d}",
                "destroyed" if k.destroyed_at else "in use" if k.newest else "former",
                f"{k.deks:,}",
            ]
            for k in found
        ],
    )
    for k in found:
        if k.newest and k.deks > MAX_WRAPS // 2:
            console.print(f"Key {k.kek_id} has wrapped half of what it may: rotate it.")
    left = sum(k.deks for k in found if not k.newest and not k.destroyed_at)
    if left:
        console.print(f"{left:,} data keys are still wrapped with a former key: hub keys rewrap.")
    _tell_libraries()


@commands.command()
def check() -> None:
    """Has each algorithm give a known answer, and tries whether the root key fits the keys: what a key process does when it starts."""
    known_answers.check()
    console.print(f"{', '.join(known_answers.ANSWERS)}: as their standards say.")
    with _opened():
        console.print("The root key fits the keys.")
    _tell_libraries()


@commands.command()
def rotate(
    owner: Annotated[str | None, typer.Option(help="Only the keys of this organisation.")] = None,
    cls: Annotated[str | None, typer.Option("--class", help="Only the keys of this class: identity, contact, case or location.")] = None,
) -> None:
    """Begins a new epoch, at once: what is published from now on is sealed under new keys. Then: hub keys rewrap."""
    if cls is not None and cls not in SEALED_CLASSES:
        raise InvalidRequest(f"There is no class {cls!r}; there are {', '.join(SEALED_CLASSES)}.")
    with _opened() as (keys, addresses):
        uid = None
        if owner is not None:
            database = open_database(read_settings(), addresses)
            try:
                uid = organisations.get(database.writer, owner).uid
            finally:
                database.dispose()
        count = keys.rotation.rotate(uid, None if cls is None else SEALED_CLASSES[cls])
    console.print(f"{count:,} new keys. What was sealed before keeps its ciphertext: hub keys rewrap takes its data keys over.")


@commands.command()
def rewrap() -> None:
    """Wraps data keys of former keys with the keys in use, batch by batch, and destroys former keys that wrap none. Interrupted, it goes on
    where it was; the hub serves meanwhile.
    """
    deks = destroyed = 0
    with _opened() as (keys, _):
        while not (done := keys.rotation.rewrap()).over:
            deks, destroyed = deks + done.deks, destroyed + done.destroyed
    console.print(f"{deks:,} data keys rewrapped, {destroyed:,} former keys destroyed.")


@commands.command(name="verify")
def verify_all() -> None:
    """Verifies every data key, that each stored revision has some, the chain of signatures and the leaves signed. Exits 3 if not."""
    with _opened() as (keys, addresses):
        database = open_database(read_settings(), addresses)
        try:
            found = verify(keys, database.auditor)
        finally:
            database.dispose()
    for sentence in found.wrong:
        console.print(sentence, markup=False)
    looked = f"{found.deks:,} data keys, {found.revisions:,} revisions, {found.signatures:,} signatures"
    console.print(f"{looked}: {len(found.wrong) or 'nothing'} wrong.")
    raise typer.Exit(SOMETHING_WRONG if found.wrong else 0)


commands.command()(backup)
commands.command()(restore)
commands.command()(backups)


def _tell_libraries() -> None:
    for library in known_answers.libraries():
        console.print(str(library), markup=False)


@contextmanager
def _opened() -> Iterator[tuple[Held, Addresses]]:
    settings = read_settings()
    addresses = addresses_of(settings)
    with held(settings, addresses) as keys:
        yield keys, addresses


def _owners(addresses: Addresses) -> dict[str, str]:
    database = open_database(read_settings(), addresses)
    try:
        return {HUB.hex: "the hub"} | {o.uid.hex: o.slug for o in organisations.all_of(database.writer)}
    finally:
        database.dispose()
