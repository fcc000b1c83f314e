"""`hub demo`: a hub with real open data, real MOUs, and partners to ask as. Starting it again duplicates nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
from rich.console import Console

from hub import localdb
from hub.demo import agreements, partners, witnesses
from hub.demo.boundaries import POLICIES, reference_file
from hub.demo.publishing import publish
from hub.demo.sources import SOURCES, TORONTO, fetch
from hub.demo.tour import tell
from hub.errors import Refused
from hub.identity import organisations
from hub.settings import read_settings
from hub.setup import addresses_of, open_database, prepare


def run(port: int, console: Console) -> None:
    """Serves the demo on 127.0.0.1:`port` until Ctrl-C; then stops what it started, and nothing else.

    Raises:
        Refused: something the demo needs is missing or taken; one sentence.
    """
    # Started in the background of a script, a process inherits SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # A name, not an address: browsers keep passkeys for names only.
    os.environ.setdefault("HUB_BASE_URL", f"http://localhost:{port}")
    os.environ.setdefault("HUB_LOG_NAME", "concord-demo/audit")  # whatever the port
    settings = read_settings()
    _refuse_taken(port)
    cluster = None if settings.database_url else localdb.ensure(settings.state_dir / "pg")
    server: subprocess.Popen[bytes] | None = None
    witnessing = ExitStack()
    try:
        addresses = addresses_of(settings)
        console.print("Setting up the databases …")
        prepare(settings, addresses)
        boundaries = _boundaries(settings.state_dir)
        database = open_database(settings, addresses)
        try:
            partners.set_up(database, settings)
            agreements.set_up(database, settings.state_dir / "profiles")
            witnesses.set_up(addresses, settings.state_dir)
            server = _serve(port, boundaries)
            _wait(settings.base_url, server)
            witnessing.enter_context(witnesses.at_work(settings))
            publish(settings.state_dir, str(organisations.get(database.writer, TORONTO.organisation).uid), console)
            tell(settings, partners.links(database, settings))
        finally:
            database.dispose()
        server.wait()
    except KeyboardInterrupt:
        console.print("\nStopping.")
    finally:
        witnessing.close()
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


def _boundaries(state_dir: Path) -> Path:
    """The file of neighbourhoods and districts, made on the first start."""
    path = state_dir / "boundaries.geojson"
    if not path.exists():
        fetch(state_dir / "demo")
        part = path.with_suffix(".part")
        part.write_bytes(reference_file((source, state_dir / "demo") for source in SOURCES))
        part.rename(path)
    return path


def _serve(port: int, boundaries: Path) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.prefix) / "bin" / "hub"), "serve", "--port", str(port)]
    settings = {
        "HUB_SIGN_IN_LINKS": "true",
        "HUB_WITNESS_QUORUM": str(len(witnesses.NAMES)),
        "HUB_BOUNDARIES_FILE": str(boundaries),
        "HUB_PURPOSES_FILE": str(POLICIES.parent / "purposes.yaml"),
    }
    return subprocess.Popen(command, env=os.environ | settings, start_new_session=True)


def _wait(base_url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(150):
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{base_url}/readyz", timeout=5).status_code == 200:
                return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise Refused("The server did not start; its messages are above.")


def _stop(server: subprocess.Popen[bytes] | None) -> None:
    if server is None or server.poll() is not None:
        return
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
