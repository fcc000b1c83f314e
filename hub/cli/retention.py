"""`hub retention …`: for how long the records of an organisation are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from hub.audit.leaf import By
from hub.cli.out import console, table
from hub.crypto.remote import RemoteKeys
from hub.datasets import DATASETS
from hub.errors import InvalidRequest
from hub.identity import organisations
from hub.settings import read_settings
from hub.setup import addresses_of, keyd_socket, open_database
from hub.sharing.keeping import Keeping
from hub.sharing.publish import Publisher, Publishing

commands = typer.Typer(no_args_is_help=True, help="Retention: for how long the records of an organisation are kept.")
Dataset = Annotated[str, typer.Option(help="Of which dataset.")]


@commands.command("set")
def set_rule(
    owner: str,
    months: Annotated[int, typer.Argument(min=1, max=1_200, help="Full months after the one in which a record occurred.")],
    dataset: Dataset = "incidents",
) -> None:
    """Has an organisation's records destroyed when they are older; what is stored already is counted in at once. Needs the owner's word."""
    with _keeping(owner, dataset) as (keeping, publisher):
        keeping.set(publisher, months)
        keeping.apply(publisher)
    console.print(f"{dataset} of {owner} are destroyed {months} full months after the month in which they occurred.", markup=False)


@commands.command()
def clear(owner: str, dataset: Dataset = "incidents") -> None:
    """Takes the rule away: records are kept until their owner has them destroyed."""
    with _keeping(owner, dataset) as (keeping, publisher):
        keeping.set(publisher, None)
        keeping.apply(publisher)
    console.print(f"{dataset} of {owner} are kept without end.", markup=False)


@commands.command("list")
def list_rules(dataset: Dataset = "incidents") -> None:
    """The rules that there are."""
    with _publishing(dataset) as publishing:
        found = Keeping(publishing).rules()
    table(["organisation", "months", "since"], [[r.organisation, str(r.months), f"{r.since:%Y-%m-%d}"] for r in found])


@contextmanager
def _keeping(owner: str, dataset: str) -> Iterator[tuple[Keeping, Publisher]]:
    with _publishing(dataset) as publishing:
        found = organisations.get(publishing.engine, owner)
        yield Keeping(publishing), Publisher(found.id, found.uid, found.slug, By())


@contextmanager
def _publishing(dataset: str) -> Iterator[Publishing]:
    if dataset not in DATASETS:
        raise InvalidRequest(f"There is no dataset {dataset!r}; there are {', '.join(DATASETS)}.", field="dataset")
    settings = read_settings()
    database = open_database(settings, addresses_of(settings))
    keys = RemoteKeys(keyd_socket(settings))
    try:
        yield Publishing(dataset, DATASETS[dataset], database.writer, keys, lambda: datetime.now(UTC), uuid4)
    finally:
        keys.close()
        database.dispose()
