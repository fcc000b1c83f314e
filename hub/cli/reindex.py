"""`hub reindex`: new blind indexes for exact lookups."""

from typing import Annotated

import typer

from hub.cli.out import console
from hub.datasets import DATASETS
from hub.errors import InvalidRequest
from hub.settings import read_settings
from hub.setup import addresses_of
from hub.workers.matching import Matching
from hub.workers.reindexing import Reindexing
from hub.workers.upkeep import held


def reindex(dataset: Annotated[str, typer.Option(help="Of which dataset.")] = "incidents") -> None:
    """Makes a new index for exact lookups, under new keys: after an upgrade from a hub without, after HUB_PHONE_REGION changed, when there
    are many more records, or for cause. Lookups go on meanwhile; interrupted, it goes on where it was. Run as the key process's user.
    """
    if dataset not in DATASETS:
        raise InvalidRequest(f"There is no dataset {dataset!r}; there are {', '.join(DATASETS)}.", field="dataset")
    settings = read_settings()
    with held(settings, addresses_of(settings)) as keys:
        kind = DATASETS[dataset]
        matching = Matching(dataset, kind, keys.keyring, keys.main, settings.phone_region)
        work, count = Reindexing(dataset, kind, keys.keyring, matching, keys.main), 0
        work.begin()
        while done := work.fill():
            count += done
        state = work.finish()
    console.print(
        f"{count:,} records of {dataset} are in version {state.version} of the index, whose tags have {state.bits} bits.", markup=False
    )
