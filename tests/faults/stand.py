"""A hub that may be broken: clusters of its own that keep what they acknowledge, partners, MOUs, and a server process."""

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from hub import localdb
from hub.datasets.incidents import Incident
from hub.settings import Settings
from hub.setup import Addresses
from tests.faults.server import KeyProcess, SequencerProcess, Server, free_port
from tests.world import build, grant

FAULTS = Path(__file__).resolve().parent.parent.parent / ".local" / "faults"
PROVIDERS = ("police", "fire")
READERS = ("health", "housing")  # health sees every field of both; housing the clear ones of the police alone
EVERYTHING = {f.name: "clear" for f in Incident.fields}
Disk = Callable[[Path], None]
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
SOME = {"category": "clear", "severity": "clear", "occurred_at": "clear", "place": {"grid_m": 500}}


@dataclass
class Stand:
    home: Path
    main: localdb.Cluster
    keys: localdb.Cluster
    settings: Settings
    addresses: Addresses
    clients: dict[str, bytes]
    server: Server
    keyd: KeyProcess
    sequencer: SequencerProcess

    def start(self) -> None:
        """Starts those of its processes that are down; `hub serve` brings a key process and a sequencer of its own."""
        if type(self.server) is Server:
            for process in (self.keyd, self.sequencer):
                if not process.alive:
                    process.start()
        if not self.server.alive:
            self.server.start()

    def kill(self) -> None:
        self.server.kill()
        self.keyd.kill()
        self.sequencer.kill()

    def clusters(self) -> Sequence[localdb.Cluster]:
        return [self.main] if self.keys is self.main else [self.main, self.keys]

    def raise_databases(self) -> None:
        """Starts what is down; on the port it had, which the server knows it by."""
        for cluster in self.clusters():
            again = localdb.ensure(cluster.home)
            assert again.port == cluster.port, "PostgreSQL came back on another port"

    def sql(self, statement: str, arguments: Any = None, url: sa.URL | None = None) -> list[tuple[Any, ...]]:
        """As the superuser, each statement a transaction of its own."""
        return _run(url or self.addresses.main, statement, arguments)

    @contextmanager
    def session(self) -> Iterator[Callable[[str], None]]:
        """As the superuser, one transaction that is rolled back at the end."""
        with closing(_connect(self.addresses.main)) as connection, connection.cursor() as cursor:
            yield cursor.execute


class CantMount(OSError):
    """This machine doesn't let us mount a disk of our own."""


def small_disk(folder: Path) -> None:
    """A disk in memory that is soon full, mounted at `folder`."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400m,mode=0755", "concord-faults", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise CantMount(f"a small disk to fill can't be mounted here: {mounted.stderr.strip()}")


def _connect(url: sa.URL) -> Any:
    """A connection; a server that is still recovering from what was done to it is waited for."""
    until = time.monotonic() + 60
    while True:
        try:
            return psycopg2.connect(host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database)
        except psycopg2.OperationalError as error:
            if not any(said in str(error) for said in ("recovery mode", "starting up", "not yet accepting")) or time.monotonic() > until:
                raise
            time.sleep(0.1)


def _run(url: sa.URL, statement: str, arguments: Any = None) -> list[tuple[Any, ...]]:
    with closing(_connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []


def wait_until(holds: Callable[[], object], what: str, patience_s: float = 60) -> None:
    until = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until, f"in vain: {what}"
        time.sleep(0.02)


@contextmanager
def stand(
    name: str, *, keys_apart: bool = False, disk: Disk | None = None, server: type[Server] = Server, **settings: Any
) -> Iterator[Stand]:
    """A new stand, server running; its files are removed at the end, but for the logs of its processes, which stay in `logs` until the
    next of this name. `keys_apart`: the keys database in a cluster of its own;
    `disk` is mounted where the cluster lies.
    """
    # A killed postmaster comes to us to be buried: where process 1 is slow at it, PostgreSQL takes the dead one for alive.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for folder in FAULTS.glob("*-[0-9]*"):  # of a test run that was itself killed; its number is in the folder's name
        if not Path(f"/proc/{folder.name.rpartition('-')[2]}").exists():
            with suppress(OSError):  # another worker may be at it
                _remove(folder)
    home = FAULTS / f"{name}-{os.getpid()}"
    home.mkdir(parents=True)
    made: Stand | None = None
    try:
        if disk:
            disk(home / "pg")
        main = _cluster(home / "pg")
        made = _furnish(home, main, _cluster(home / "pgk") if keys_apart else main, server, settings)
        made.start()
        yield made
    finally:
        if made:
            made.kill()
        _remove(home)


def _remove(folder: Path) -> None:
    for home in (folder / "pg", folder / "pgk"):
        if (home / "data").exists():
            localdb.stop(localdb.Cluster(home, 0, ""), "immediate")
        if home.is_mount():
            wait_until(lambda: not subprocess.run(["umount", home], stderr=subprocess.DEVNULL).returncode, "unmount", 10)  # noqa: B023
    kept = FAULTS / "logs"
    kept.mkdir(exist_ok=True)
    for log in folder.glob("*.log"):
        log.replace(kept / f"{folder.name.rpartition('-')[0]}-{log.name}")
    shutil.rmtree(folder)


def _cluster(home: Path) -> localdb.Cluster:
    home.mkdir(exist_ok=True)
    (home / "port").write_text(str(free_port()))
    made = localdb.ensure(home, durable=True)
    # Durable all the same: one call instead of one for each of some thousand files, at each start after a crash.
    _run(sa.make_url(made.url()), "alter system set recovery_init_sync_method = syncfs")
    _run(sa.make_url(made.url()), "select pg_reload_conf()")
    return made


def _furnish(home: Path, main: localdb.Cluster, keys: localdb.Cluster, server: type[Server], more: dict[str, Any]) -> Stand:
    addresses = Addresses(sa.make_url(main.url("hub")), sa.make_url(keys.url("hub_keys")))
    settings = Settings(**{"state_dir": home / "state", "token_ttl_s": 900, "log_level": "debug"} | more)
    with build(addresses.main, addresses.keys, settings.state_dir, settings.state_dir / "log") as world:
        for slug in (*PROVIDERS, *READERS):
            world.organisation(slug)
        for provider in PROVIDERS:
            world.mou(home, f"MOU-{provider.upper()}-HEALTH", provider, "health", [grant(fields=EVERYTHING)])
        world.mou(home, "MOU-POLICE-HOUSING", "police", "housing", [grant(fields=SOME, where=[{"field": "severity", "at_most": 3}])])
        clients = dict(world.keys)
    processes = (
        server(settings, addresses, home / "server.log"),
        KeyProcess(settings, addresses, home / "keyd.log"),
        SequencerProcess(settings, addresses, home / "sequencer.log"),
    )
    return Stand(home, main, keys, settings, addresses, clients, *processes)
