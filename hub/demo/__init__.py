"""`hub demo`: a hub with real open data, real MOUs, and partners to ask as. Starting it again duplicates nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from rich.console import Console

from hub import localdb
from hub.agreements.load import load
from hub.app import Addresses, addresses_of, open_database, prepare
from hub.audit.leaf import By
from hub.client import Client
from hub.datasets import DATASETS
from hub.db import owner_transaction
from hub.demo.data import features, fetch
from hub.errors import Conflict, Refused
from hub.geo import Box
from hub.identity import clients, new_key, organisations
from hub.settings import Settings, read_settings

ROWS = 2_000
BATCH = 500
POLICIES = Path(__file__).resolve().parents[2] / "policies" / "demo"
# profile: organisation, kind, scopes, purpose
PARTNERS = {
    "police": ("demo-police", "Demo police service", "partner", ["publish", "audit"], None),
    "health": ("demo-health", "Demo health partner", "partner", ["query"], "public-health.prevention"),
    "housing": ("demo-housing", "Demo housing nonprofit", "partner", ["query"], "housing.safety"),
    "auditor": ("demo-auditor", "Demo independent auditor", "auditor", ["audit"], None),
}
QUERY = "bbox=-79.43,43.63,-79.34,43.68&datetime=2019-01-04T00:00:00Z/2019-02-03T00:00:00Z"
AREA = Box(-79.7, 43.5, -79.0, 43.9)  # where the police service reports from


def run(port: int, console: Console) -> None:
    """Serves the demo on 127.0.0.1:`port` until Ctrl-C; then stops what it started, and nothing else.

    Raises:
        Refused: something the demo needs is missing or taken; one sentence.
    """
    # Started in the background of a script, a process inherits SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    os.environ.setdefault("HUB_BASE_URL", f"http://127.0.0.1:{port}")
    settings = read_settings()
    _refuse_taken(port)
    cluster = None if settings.database_url else localdb.ensure(settings.state_dir / "pg")
    server: subprocess.Popen[bytes] | None = None
    try:
        addresses = addresses_of(settings)
        console.print("Setting up the databases …")
        prepare(settings, addresses)
        _partners(settings, addresses)
        server = _serve(port)
        _wait(settings.base_url, server)
        _publish(settings, addresses, console)
        _tell(settings)
        server.wait()
    except KeyboardInterrupt:
        console.print("\nStopping.")
    finally:
        _stop(server)
        if cluster is not None and cluster.started_here:
            localdb.stop(cluster)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Refused(f"Port {port} of 127.0.0.1 is taken; end what listens there, or run `hub demo --port {port + 1}`.") from None


def _partners(settings: Settings, addresses: Addresses) -> None:
    """Organisations, clients with key files and profiles, and the MOUs; what is there already stays."""
    database = open_database(settings, addresses)
    folder = settings.state_dir / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for profile, (slug, name, kind, scopes, purpose) in PARTNERS.items():
            key = folder / f"{profile}.pem"
            with suppress(Conflict):
                organisations.add(database.writer, slug, name, kind, AREA if profile == "police" else None)
            with suppress(Conflict):
                new_key.write(key)
            with suppress(Conflict):
                clients.add(database.writer, slug, slug, key.with_name(key.name + ".pub").read_bytes(), scopes)
            about = {"base_url": settings.base_url, "client_id": slug, "key": key.name, "purpose": purpose}
            (folder / f"{profile}.json").write_text(json.dumps(about, indent=1))
    finally:
        database.dispose()
    for path in sorted(POLICIES.glob("*.yaml")):
        with owner_transaction(addresses.main) as tx:
            load(tx, path, DATASETS, datetime.now(UTC), By(client="demo"))


def profile_client(name: str, state_dir: Path, scope: str | None = None) -> Client:
    """The client of a profile: a JSON file with base_url, client_id, key (beside it) and purpose, or the name of one. `scope` asks for
    less than all that the client may do.

    Raises:
        Refused: there is no such profile.
    """
    path = Path(name) if name.endswith(".json") else state_dir / "profiles" / f"{name}.json"
    try:
        about = json.loads(path.read_text())
        return Client(about["base_url"], about["client_id"], (path.parent / about["key"]).read_bytes(), about["purpose"], scope)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"The profile {path} can't be used: {type(error).__name__}.") from None


def _serve(port: int) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.prefix) / "bin" / "hub"), "serve", "--port", str(port)]
    return subprocess.Popen(command, start_new_session=True)


def _wait(base_url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(150):
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{base_url}/readyz", timeout=5).status_code == 200:
                return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise Refused("The server did not start; its messages are above.")


def _publish(settings: Settings, addresses: Addresses, console: Console) -> None:
    """Publishes the rows through the API, as the police would. A marker names the database that has them, so that a later start
    neither sends them again nor leaves another entry in its log.
    """
    marker = settings.state_dir / "demo" / "published"
    known = f"{addresses.main.host}:{addresses.main.database}"
    if marker.exists() and marker.read_text() == known:
        return
    wheel = fetch(settings.state_dir / "demo")
    rows = list(features(wheel, ROWS))
    with profile_client("police", settings.state_dir) as police:
        for start in range(0, len(rows), BATCH):
            police.publish("incidents", rows[start : start + BATCH])
            console.print(f"Published {min(start + BATCH, len(rows)):,} of {len(rows):,} rows through the API.")
    marker.write_text(known)


def _tell(settings: Settings) -> None:
    hub = _hub()
    lines = [
        "",
        f"Concord serves on {settings.base_url} (Ctrl-C stops it). {ROWS:,} incidents: Toronto Police open data; narratives, names and",
        "phones are synthetic. In another terminal, from this folder:",
        "",
        "As a health partner (three categories downtown, to the hour and 500 m, with narratives): two incidents.",
        f"$ {hub} get --as health '/collections/incidents/items?{QUERY}'",
        "",
        "The same query as a housing nonprofit (burglaries, to the day and 2 km, no narratives): one of the two.",
        f"$ {hub} get --as housing '/collections/incidents/items?{QUERY}'",
        "",
        "Who saw what:",
        f"$ {hub} audit list --type query",
        "",
    ]
    for line in lines:
        print(line, flush=True)


def _hub() -> str:
    path = Path(sys.prefix) / "bin" / "hub"
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _stop(server: subprocess.Popen[bytes] | None) -> None:
    if server is None or server.poll() is not None:
        return
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
