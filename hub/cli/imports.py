"""`hub imports …`: a partner's imports as they stand, and an end to those that nobody goes on with."""

from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from hub.cli.out import console
from hub.demo.partners import profile_client
from hub.settings import read_settings

commands = typer.Typer(no_args_is_help=True, help="Imports: files that were published, or are on their way.")
As = Annotated[str, typer.Option("--as", help="A profile: a JSON file, or the name of one in the state folder's profiles.")]
Dataset = Annotated[str, typer.Option(help="Of which dataset.")]


@commands.command("list")
def list_imports(as_: As, dataset: Dataset = "incidents") -> None:
    """Your organisation's imports of the last 30 days, newest first."""
    with profile_client(as_, read_settings().state_dir, "publish") as client:
        found = client.get(f"/collections/{dataset}/imports").json()["imports"]
    table = Table("opened", "import", "state", "rows", "landed", "updated", "unchanged", "refused", box=None, pad_edge=False)
    for job in found:
        opened, state = job["opened_at"][:19].replace("T", " "), job["state"] + (" (dry run)" if job["dry_run"] else "")
        counts = (f"{job[name]:,}" for name in ("rows", "landed", "updated", "unchanged", "refused"))
        table.add_row(opened, job["id"], state, *counts)
    console.print(table if found else "There are no imports.")


@commands.command()
def cancel(job: UUID, as_: As, dataset: Dataset = "incidents") -> None:
    """Cancels an open import. What landed stays."""
    with profile_client(as_, read_settings().state_dir, "publish") as client:
        ended = client.cancel_import(dataset, str(job))
    console.print(f"Cancelled. {ended['landed'] + ended['updated']:,} rows of it had landed and stay.")
