"""The setting of the benchmarks: a private durable cluster with the frozen reference data, and hubs that hold the same points.

Kept in .local/bench between runs; made anew when the migrations or the frozen generator change. The reference (schema, rows,
indexes, lean SQL) lies beside the repository in ../shared/bench and is used as it is.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg2
import sqlalchemy as sa
from ruamel.yaml import YAML
from shapely import wkb

from hub import localdb
from hub.agreements.lifecycle import Lifecycle
from hub.agreements.party_keys import PartyKeys
from hub.app import assemble
from hub.audit.leaf import By
from hub.datasets import DATASETS
from hub.datasets.incidents import Category, Incident, Status
from hub.db import secret_file
from hub.geo import Point, cell
from hub.identity import clients, new_key, organisations
from hub.settings import Settings
from hub.setup import Addresses, open_database, prepare
from hub.sharing.publish import Publisher
from tests.signing import Clock, Signing
from tests.world import keyd

ROOT = Path(__file__).resolve().parents[2]
FROZEN = ROOT.parent / "shared" / "bench"
HOME = ROOT / ".local" / "bench"
MILLION, TENTH = 1_000_000, 100_000
BATCH = 5_000
VERSION = 1  # raise it when what this file publishes changes, or how the hub stores it
CONF = {
    "shared_buffers": "2GB",
    "effective_cache_size": "8GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_parallel_workers_per_gather": "0",
}
NAMES, STATUSES = [str(c) for c in Category], [str(c) for c in Status]
READERS = ("everything", "six", "fifteen", "one")


@dataclass(frozen=True)
class Setting:
    cluster: localdb.Cluster
    state: Path

    def dsn(self, database: str) -> str:
        return self.cluster.url(database).replace("+psycopg2", "")

    def addresses(self, rows: int) -> Addresses:
        return Addresses(*(sa.make_url(self.cluster.url(f"bench_{rows}{part}")) for part in ("", "_keys")))

    def settings(self, rows: int) -> Settings:
        return Settings(state_dir=self.state / f"bench_{rows}", pool_size=4, log_level="warning")


def ready(say: object = print) -> Setting:
    """The setting, made where it is missing (some minutes, once)."""
    HOME.mkdir(parents=True, exist_ok=True)
    cluster = localdb.ensure(HOME / "pg")
    if _configure(cluster):
        localdb.stop(cluster)
        cluster = localdb.ensure(HOME / "pg")
    setting = Setting(cluster, HOME / "state")
    _reference(setting)
    return setting


def hubs(setting: Setting, sizes: Sequence[int] = (TENTH, MILLION)) -> None:
    """The hubs that are read from, made where they are missing (minutes)."""
    for rows in sizes:
        _hub(setting, rows)


def fresh_hub(setting: Setting, name: str) -> tuple[Addresses, Settings]:
    """A hub with the partners and their 57 grants, and no records yet."""
    _fresh(setting, name, f"{name}_keys")
    addresses = Addresses(*(sa.make_url(setting.cluster.url(f"{name}{part}")) for part in ("", "_keys")))
    settings = Settings(state_dir=setting.state / name, pool_size=4, log_level="warning")
    # Roles belong to the whole server: all hubs must know the same passwords.
    for name in ("roles.key", "keyd/roles.key", "log/roles.key"):
        secret_file(setting.state / name)
        (settings.state_dir / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(setting.state / name, settings.state_dir / name)
    (settings.state_dir / "log" / "signed.json").unlink(missing_ok=True)  # what was signed of a database that is gone
    prepare(settings, addresses)
    database = open_database(settings, addresses)
    try:
        _partners(database.writer, settings.state_dir)
        _agreements(database.agreements, settings.state_dir)
    finally:
        database.dispose()
    return addresses, settings


def _configure(cluster: localdb.Cluster) -> bool:
    with closing(psycopg2.connect(cluster.url().replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("show shared_buffers")
        if cursor.fetchone() == (CONF["shared_buffers"],):
            return False
        for name, value in CONF.items():
            cursor.execute(f"alter system set {name} = '{value}'")
        return True


def frozen(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(FROZEN / "data.py"), *arguments], stdout=subprocess.PIPE)


def _exists(setting: Setting, name: str, mark: str) -> bool:
    marker = HOME / f"{name}.ready"
    return marker.exists() and marker.read_text() == mark


def _fresh(setting: Setting, *names: str) -> None:
    with closing(psycopg2.connect(setting.dsn("postgres"))) as connection:
        connection.autocommit = True
        for name in names:
            connection.cursor().execute(f"drop database if exists {name} with (force)")


def _reference(setting: Setting) -> None:
    """The frozen table with 1 M points."""
    mark = _digest(FROZEN)
    if _exists(setting, "reference", mark):
        return
    print("loading the frozen reference …", flush=True)
    _fresh(setting, "reference")
    with closing(psycopg2.connect(setting.dsn("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute("create database reference")
    with closing(psycopg2.connect(setting.dsn("reference"))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute((FROZEN / "schema.sql").read_text())
        with frozen("rows", str(MILLION)) as source:
            cursor.copy_expert("copy incidents from stdin", source.stdout)
        for statement in (FROZEN / "indexes.sql").read_text().split(";"):
            if statement.strip():
                cursor.execute(statement)
    (HOME / "reference.ready").write_text(mark)


def _digest(*folders: Path) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".sql")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def queries(name: str, rows: int = MILLION) -> list[str]:
    """A frozen request list."""
    folder = HOME / "queries"
    if not (folder / f"{name}.txt").exists():
        folder.mkdir(exist_ok=True)
        frozen("queries", str(rows), str(folder)).wait()
    return (folder / f"{name}.txt").read_text().splitlines()


def _hub(setting: Setting, rows: int) -> None:
    """A hub with the frozen generator's first `rows` points, published through the flow: sealed, labelled, logged."""
    mark = f"{VERSION} {_digest(FROZEN, ROOT / 'migrations')}"  # else the figures would be of another schema
    name = f"bench_{rows}"
    if _exists(setting, name, mark):
        return
    print(f"publishing {rows:,} points …", flush=True)
    addresses, settings = fresh_hub(setting, name)
    with keyd(settings, addresses):
        called, database = assemble(settings, addresses)
        try:
            owner = organisations.get(database.writer, "bench-police")
            publisher = Publisher(owner.id, owner.uid, owner.slug, By(owner.slug, owner.slug))
            began = time.perf_counter()
            for n, batch in enumerate(batches(rows)):
                called.datasets["incidents"].publishing.publish(publisher, batch)
                if n % 10 == 9:
                    print(f"  {(n + 1) * BATCH:,} rows, {(n + 1) * BATCH / (time.perf_counter() - began):,.0f} rows/s", flush=True)
        finally:
            called.keys.close()
            database.dispose()
    with closing(psycopg2.connect(setting.dsn(name))) as connection:
        connection.autocommit = True
        # Rows in page order, as docs/operate.md advises after a first bulk load.
        connection.cursor().execute("cluster hub.incidents using incidents_k2_id")
        connection.cursor().execute("vacuum analyze")
    (HOME / f"{name}.ready").write_text(mark)


def batches(rows: int) -> Iterator[list[Incident]]:
    """The frozen rows as incidents. Its 20 categories map one to one onto the hub's 20; the summary becomes the narrative."""
    categories: dict[str, Category] = {}
    names = list(Category)
    with frozen("rows", str(rows)) as source:
        lines = io.TextIOWrapper(source.stdout)  # type: ignore[arg-type]
        batch: list[Incident] = []
        for n, line in enumerate(lines):
            identifier, at, category, severity, _agency, summary, ewkb = line.rstrip("\n").split("\t")
            point = wkb.loads(ewkb, hex=True)
            known = categories.setdefault(category, names[len(categories) % 20])
            batch.append(
                Incident(
                    external_id=identifier,
                    category=known,
                    occurred_at=at,
                    severity=int(severity),
                    status=list(Status)[n % 4],
                    place=Point(point.x, point.y),
                    narrative=summary,
                )
            )
            if len(batch) == BATCH:
                # A bulk load arrives in page order within its batches (docs/decisions/0004).
                yield sorted(batch, key=lambda r: cell(r.place, 2000).code)
                batch = []
        if batch:
            yield batch


def _partners(engine: sa.Engine, state: Path) -> None:
    for slug in ("bench-police", *READERS, *(f"other-{n:02d}" for n in range(20))):
        organisations.add(engine, slug, slug.capitalize())
        if not slug.startswith("other"):
            key = state / f"{slug}.pem"
            if not key.exists():
                new_key.write(key)
            scopes = ["publish"] if slug == "bench-police" else ["query"]
            clients.add(engine, slug, slug, key.with_name(key.name + ".pub").read_bytes(), scopes)


def signing(engine: sa.Engine) -> Signing:
    """Both parties of every agreement, without the document, which takes long to make."""
    clock = Clock()
    return Signing(Lifecycle(engine, DATASETS, lambda mou, _names: mou.source, clock), PartyKeys(engine, clock), clock)


def _agreements(engine: sa.Engine, folder: Path) -> None:
    """One grant over everything; six grants over everything; six that see 15 %; four that see 1 %; 40 of others (about 4 labels a row)."""
    agreements = signing(engine)
    names = [str(c) for c in Category]
    everything = [grant_of("all", "everything")]
    six = [grant_of(f"g{n}", "everything" if n == 0 else [_one("category", names[n])], 1_500 + n) for n in range(6)]
    fifteen = [
        grant_of(f"g{n}", [_one("category", names[n]), _one("severity", *([1, 2] if n % 2 else [3, 4, 5]))], 1_500 + n) for n in range(6)
    ]
    one = [
        grant_of(f"g{n}", [_one("category", names[7]), _one("severity", 3), _one("status", str(list(Status)[n]))], 1_600 + n)
        for n in range(4)
    ]
    agreements.load(loaded(folder, "everything", everything))
    agreements.load(loaded(folder, "six", six))
    agreements.load(loaded(folder, "fifteen", fifteen))
    agreements.load(loaded(folder, "one", one))
    for n in range(20):
        grants = [grant_of(f"g{m}", [_one("category", names[(n + 7 * m) % 20])]) for m in range(2)]
        agreements.load(loaded(folder, f"other-{n:02d}", grants))


def _one(field: str, *values: str | int) -> dict[str, object]:
    return {"field": field, "one_of": list(values)}


def grant_of(name: str, where: object, lookback_days: int | None = None) -> dict[str, object]:
    """A grant of what maps show, at 100 m, for the purpose `bench`."""
    clear = dict.fromkeys(("category", "occurred_at", "severity", "status", "handling"), "clear")
    window = {"occurred": {"lookback": f"P{lookback_days}D"}} if lookback_days else {}
    return {
        "id": name,
        "dataset": "incidents",
        "purposes": ["bench"],
        "actions": ["query"],
        "where": where,
        "fields": {**clear, "place": {"grid_m": 100}},
        **window,
    }


def loaded(folder: Path, consumer: str, grants: list[dict[str, object]], name: str | None = None) -> Path:
    """The file of an agreement of the one provider with this consumer."""
    day = datetime(2024, 1, 1).date()
    path = folder / f"{consumer}.yaml"
    yaml = YAML(typ="safe", pure=True)
    yaml.representer.ignore_aliases = lambda _data: True
    with path.open("w") as file:
        yaml.dump(
            {
                "mou": name or f"BENCH-{consumer.upper()}",
                "version": 1,
                "title": "Benchmark",
                "parties": {"provider": "bench-police", "consumer": consumer},
                "in_force": {"from": day, "until": datetime(2099, 1, 1).date()},
                "review_by": day,
                "legal_basis": "None",
                "grants": grants,
            },
            file,
        )
    return path
