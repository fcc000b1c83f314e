"""`hub shred …`, `hub hold …`: an organisation has records of its own destroyed for good, or keeps them from it."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from hub.cli.out import console, table
from hub.client import Client
from hub.demo.partners import profile_client
from hub.settings import read_settings

commands = typer.Typer(no_args_is_help=True, help="Shredding: records of your organisation are destroyed for good.")
holds = typer.Typer(no_args_is_help=True, help="Legal holds: what they keep can't be destroyed.")
As = Annotated[str, typer.Option("--as", help="A profile: a JSON file, or the name of one in the state folder's profiles.")]
Dataset = Annotated[str, typer.Option(help="Of which dataset.")]
Reference = Annotated[str | None, typer.Option(help="Of the request or order behind it; the log keeps it. No names of people.")]


@commands.command()
def records(ids: list[UUID], as_: As, reference: Reference = None, dataset: Dataset = "incidents") -> None:
    """Destroys records by their ids, all of them or none. Nobody can undo it."""
    with _client(as_) as client:
        told = _post(client, f"/collections/{dataset}/shreds", records=[str(i) for i in ids], reference=reference)
    count = told["records"]
    what, their = ("1 record is", "its") if count == 1 else (f"{count:,} records are", "their")
    console.print(f"Order {told['id']}: {what} absent to everybody from now on; {their} keys go within seconds.")


@commands.command()
def before(
    when: datetime,
    as_: As,
    reference: Reference = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    dataset: Dataset = "incidents",
) -> None:
    """Destroys what occurred before a time (UTC), 1,000 records at a time until none is left. Nobody can undo it."""
    at, count = when.replace(tzinfo=UTC).isoformat(), 0
    with _client(as_) as client:
        while True:
            told = _post(client, f"/collections/{dataset}/shreds", occurred_before=at, reference=reference, dry_run=dry_run)
            count += told["records"]
            if dry_run or not told["more"]:
                break
    many = f"{count:,} or more" if told["more"] else f"{count:,}"
    console.print(f"{many} records {'would be' if dry_run else 'are'} destroyed; a hold keeps {told['held']:,}.")


@commands.command()
def status(as_: As, dataset: Dataset = "incidents") -> None:
    """Your organisation's orders, and how far each is: complete when no backup holds its keys any more."""
    with _client(as_) as client:
        found = client.get(f"/collections/{dataset}/shreds").json()["shreds"]
    rows = [[str(s["id"]), _at(s["at"]), s["because"], f"{s['records']:,}", s["state"], _at(s.get("complete_at"))] for s in found]
    table(["order", "given", "because", "records", "state", "complete"], rows)


@holds.command()
def place(
    reference: str,
    as_: As,
    record: UUID | None = None,
    since: Annotated[datetime | None, typer.Option(help="What occurred from then on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="What occurred before then (UTC).")] = None,
    dataset: Dataset = "incidents",
) -> None:
    """Places a hold on a record, on what occurred within a period, or on everything."""
    period = {"from": since and since.replace(tzinfo=UTC).isoformat(), "until": until and until.replace(tzinfo=UTC).isoformat()}
    with _client(as_) as client:
        told = _post(client, f"/collections/{dataset}/holds", reference=reference, record=record and str(record), **period)
    console.print(f"Hold {told['id']} is placed.")


@holds.command()
def release(hold: UUID, as_: As, dataset: Dataset = "incidents") -> None:
    """Releases a hold."""
    with _client(as_) as client:
        client.request("DELETE", f"/collections/{dataset}/holds/{hold}", b"")
    console.print("Released.")


@holds.command("list")
def list_holds(as_: As, dataset: Dataset = "incidents") -> None:
    """Your organisation's holds, those in force first."""
    with _client(as_) as client:
        found = client.get(f"/collections/{dataset}/holds").json()["holds"]
    rows = [[h["id"], h["reference"], _kept(h), _at(h["placed_at"]), _at(h.get("released_at"))] for h in found]
    table(["hold", "reference", "keeps", "placed", "released"], rows)


def _kept(hold: dict[str, Any]) -> str:
    if "record" in hold:
        return str(hold["record"])
    since, until = _at(hold.get("from")), _at(hold.get("until"))
    return f"{since or '…'} to {until or '…'}" if since or until else "everything"


def _client(profile: str) -> Client:
    return profile_client(profile, read_settings().state_dir, "publish")


def _post(client: Client, path: str, **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.request("POST", path, {name: value for name, value in members.items() if value is not None}).json()
    return found


def _at(text: str | None) -> str:
    return text[:16].replace("T", " ") if text else ""
