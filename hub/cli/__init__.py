"""`hub …`: the operator's and the integrator's commands. Each calls one function."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import httpx2
import typer
import uvicorn

from hub import __version__, geo
from hub.api.parameters import bbox
from hub.audit.leaf import By, Event, event_id, revision_count
from hub.audit.log import Log, Search
from hub.cli import duty, imports, keys, log, mapping, mou, party_key, person, retention, root_key, shred
from hub.cli.bundles import audit_expire, audit_export, audit_trust, audit_verify
from hub.cli.opened import opened
from hub.cli.out import console, table
from hub.cli.publish import publish
from hub.cli.reindex import reindex
from hub.cli.verify_store import verify_store
from hub.client import Problem
from hub.datasets import DATASETS
from hub.demo.partners import profile_client
from hub.errors import HubError, InvalidRequest, Refused
from hub.identity import clients, new_key, organisations
from hub.logs import configure
from hub.settings import is_loopback, read_settings
from hub.setup import addresses_of, prepare
from hub.sharing.stored import dataset_sql
from hub.witness.commands import commands as witness_commands
from hub.workers.kept import kept
from hub.workers.keyd import run as run_keyd
from hub.workers.sequencing import run as run_sequencer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Concord: share incident reports under agreements."
)
org = typer.Typer(no_args_is_help=True, help="Partner organisations.")
client = typer.Typer(no_args_is_help=True, help="Clients: programs of an organisation, each with a registered public key.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")
for name, group in (
    ("org", org),
    ("client", client),
    ("mou", mou.commands),
    ("party-key", party_key.commands),
    ("duty", duty.commands),
    ("audit", audit),
    ("log", log.commands),
    ("witness", witness_commands),
    ("keys", keys.commands),
    ("imports", imports.commands),
    ("mapping", mapping.commands),
    ("person", person.commands),
    ("retention", retention.commands),
    ("root-key", root_key.commands),
    ("shred", shred.commands),
    ("hold", shred.holds),
):
    app.add_typer(group, name=name)
Port = Annotated[int, typer.Option(min=1, max=65_535)]


@app.command()
def migrate() -> None:
    """Sets up or upgrades the databases and keys; harmless to repeat."""
    settings = read_settings()
    prepare(settings, addresses_of(settings))
    console.print("The databases are up to date.")


@app.command()
def serve(host: str = "127.0.0.1", port: Port = 8000, workers: Annotated[int, typer.Option(min=1, max=64)] = 1) -> None:
    """Serves the API (run `hub migrate` first), with a key process of its own unless one answers already, and a sequencer."""
    settings = read_settings()
    if settings.sign_in_links and not is_loopback(host):
        raise Refused(f"HUB_SIGN_IN_LINKS signs in whoever has a link: not while serving {host}, which others can reach.")
    with kept(settings):
        uvicorn.run(
            "hub.app:serving",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_config=None,
            server_header=False,
        )


@app.command()
def keyd(until_eof: Annotated[bool, typer.Option(help="Ends when standard input does.", hidden=True)] = False) -> None:
    """Runs the key process, which alone holds the keys (run `hub migrate` first)."""
    settings = read_settings()
    configure(settings.log_level)
    run_keyd(settings, addresses_of(settings), sys.stdin.read if until_eof else None)


@app.command()
def sequencer(until_eof: Annotated[bool, typer.Option(help="Ends when standard input does.", hidden=True)] = False) -> None:
    """Runs the sequencer, which takes the audit log's leaves into its tree and signs checkpoints (run `hub migrate` first)."""
    settings = read_settings()
    configure(settings.log_level)
    run_sequencer(settings, addresses_of(settings), sys.stdin.read if until_eof else None)


@app.command(name="demo")
def run_demo(port: Port = 8000) -> None:
    """A hub with real open data and partners to ask as, until Ctrl-C."""
    from hub.demo.running import run  # takes long to load

    run(port, console)


@org.command("add")
def org_add(
    slug: str,
    name: str,
    kind: Annotated[str, typer.Option(help="partner or auditor")] = "partner",
    area: Annotated[str | None, typer.Option(help="west,south,east,north in degrees: where its records usually lie.")] = None,
) -> None:
    """Adds an organisation. An auditor may read the whole log; an area lets the hub notice swapped coordinates."""
    with opened() as database:
        organisations.add(database.writer, slug, name, kind, bbox(area) if area else None)
    console.print(f"Added {slug}.")


@org.command("list")
def org_list() -> None:
    """The organisations."""
    with opened() as database:
        table(["slug", "kind", "name"], [[o.slug, o.kind, o.name] for o in organisations.all_of(database.writer)])


@client.command("key")
def client_key(path: Path) -> None:
    """Makes a key pair: the private key at PATH (mode 0600), the public one beside it as PATH.pub, for the operator of the hub."""
    new_key.write(path)
    console.print(f"Keep {path} to yourself; register {path}.pub.", markup=False)


@client.command("add")
def client_add(
    organisation: str,
    client_id: str,
    key: Annotated[Path, typer.Option(help="The client's public key (PEM or JWK).")],
    scope: Annotated[list[str], typer.Option(help="publish, query, audit or agreements; may be repeated.")],
) -> None:
    """Registers a client of an organisation with its public key."""
    try:
        public = key.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{key} can't be read: {error.strerror}.") from None
    with opened() as database:
        clients.add(database.writer, organisation, client_id, public, scope)
    console.print(f"Added {client_id}.")


@client.command("disable")
def client_disable(client_id: str) -> None:
    """Ends a client's access; takes effect with its next request."""
    with opened() as database:
        clients.disable(database.writer, client_id, datetime.now(UTC))
    console.print(f"Disabled {client_id}.")


@audit.command("list")
def audit_list(
    owner: Annotated[str | None, typer.Option(help="Whose data it was about.")] = None,
    organisation: Annotated[str | None, typer.Option(help="Who did it.")] = None,
    type: Annotated[str | None, typer.Option(help="query, publish, token, refusal, mou, audit …")] = None,
    record: Annotated[UUID | None, typer.Option(help="The id of a record: who stored or saw it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 20,
    json: Annotated[bool, typer.Option(help="The leaves themselves, one a line.")] = False,
) -> None:
    """Who saw what, newest first: reads the log as the operator of the hub, which is logged too."""
    now = datetime.now(UTC)
    named = {"organisation": organisation, "owner": owner, "record": record, "type": type}
    asked = {"fields": [name for name, value in named.items() if value is not None]}
    with opened() as database:
        whole = Log(database.auditor)
        whole.record(Event(event_id(now, os.urandom(10)), "audit", now, By(client="cli"), "permit", asked=asked))
        revisions = None if record is None else frozenset(n for name in DATASETS for n in whole.revisions(name, record, None))
        found = whole.find(Search(owner=owner, organisation=organisation, type=type, revisions=revisions, limit=limit))
    if json:
        for entry in found:
            print(entry.text)
        return
    table(["when", "type", "who", "purpose", "whose data", "under", "records", "decision"], [_line(e.body) for e in found])


def _line(leaf: dict[str, Any]) -> list[str]:
    under = ", ".join(u["mou"] for u in leaf.get("under", ()))
    return [
        leaf["at"][:19].replace("T", " "),
        leaf["type"],
        leaf["by"].get("organisation") or leaf["by"].get("client") or "-",
        leaf.get("purpose", "-"),
        leaf.get("owner", "-"),
        under or "-",
        str(revision_count(leaf)),
        leaf["decision"],
    ]


@app.command()
def get(
    address: str,
    as_: Annotated[str, typer.Option("--as", help="A profile: a JSON file, or the name of one in the state folder's profiles.")],
) -> None:
    """Asks the hub over HTTP as a registered client: gets a token, then ADDRESS, and prints the answer."""
    with profile_client(as_, read_settings().state_dir) as asking:
        try:
            answer = asking.get(address).text
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
    if sys.stdout.isatty():
        console.print_json(answer)
    else:
        print(answer)


audit.command("expire")(audit_expire)
audit.command("export")(audit_export)
audit.command("trust")(audit_trust)
audit.command("verify")(audit_verify)
app.command()(publish)
app.command()(reindex)
app.command(name="verify-store")(verify_store)


@app.command()
def schema(dataset: str) -> None:
    """The SQL of a dataset's functions and views, from the catalogue: what a new migration freezes."""
    if dataset not in DATASETS:
        raise InvalidRequest(f"There is no dataset {dataset!r}; there are {', '.join(DATASETS)}.")
    print(geo.cells_sql("hub") + dataset_sql(dataset, DATASETS[dataset]))


@app.command()
def version() -> None:
    """The version of the hub."""
    print(__version__)


def main() -> None:
    """The command line; an error is one sentence on standard error and exit code 1."""
    try:
        app()
    except HubError as error:
        _fail(error.detail, *(f"  {p.field}: {p.reason}" for p in error.problems if p.reason not in error.detail))
    except Problem as error:
        more = (f"  {p['field']}: {p['reason']}" for p in error.body.get("errors", ()) if p["reason"] not in str(error))
        _fail(f"the hub answered {error.status}: {error}", *more)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        _fail(f"the hub can't be reached: {error}")


def _fail(sentence: str, *more: str) -> NoReturn:
    print(f"hub: {sentence}", *more, sep="\n", file=sys.stderr)
    raise SystemExit(1)
