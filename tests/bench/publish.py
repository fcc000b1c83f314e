"""publish.copy and publish.memory_mb: a million rows as one partner's CSV files, through the API, sealed, labelled, logged.

Five rounds of 200,000 rows, each once by COPY (psycopg2) into a table of the same clear columns with the frozen indexes, and once
by an import into a hub with 57 grants. Both grow from round to round. The figure is the median of the rounds. Afterwards every row is
counted in the store, and some are opened.
"""

import csv
import io
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from shapely import wkb

from hub.client import Client
from tests.bench import setting as bench
from tests.bench.server import running
from tests.bench.setting import HOME, Setting, frozen

ROUNDS = 5
ROWS = int(os.environ.get("ROWS", "1000000"))
PORT = 8913
NAME = "bench_publish"
MAPPING = {
    "dataset": "incidents",
    "format": "csv",
    "external_id": {"column": "id"},
    "place": {"lon": "lon", "lat": "lat"},
    "fields": {
        "occurred_at": {"column": "at", "time": "iso", "zone": "UTC"},
        "severity": {"column": "severity"},
        "status": {"column": "status"},
        "narrative": {"column": "summary"},
    },
    "drop": ["agency"],
}


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    files, categories = _files()
    mapping = MAPPING | {"fields": {**MAPPING["fields"], "category": {"column": "category", "map": categories}}}  # type: ignore[dict-item]
    addresses, settings = bench.fresh_hub(setting, NAME)
    shares, speeds, copies = [], [], []
    with running(settings, addresses, PORT) as server, closing(psycopg2.connect(setting.dsn("reference"))) as reference:
        reference.autocommit = True
        cursor = reference.cursor()
        cursor.execute("drop table if exists copied")
        cursor.execute("create table copied (like incidents including indexes)")
        cursor.execute("alter table copied drop column agency, drop column summary")
        key = settings.state_dir / "bench-police.pem"
        with Client(f"http://127.0.0.1:{PORT}", "bench-police", key.read_bytes(), timeout_s=600) as client:
            _warm_up(client, mapping, files[0])
            resting = server.rss_mb()
            with server.watched() as memory:
                for path in files:
                    copies.append(_copied(cursor, path))
                    speeds.append(_imported(client, mapping, path))
                    shares.append(speeds[-1] / copies[-1])
        _check(setting, cursor)
        cursor.execute("drop table copied")
    share = statistics.median(shares)
    note = f"{ROWS:,} rows in {ROWS / ROUNDS / statistics.mean(speeds) * ROUNDS:,.0f} s; rounds {', '.join(f'{s:.3f}' for s in shares)}"
    grown = max(memory) - resting
    return [
        _line("publish.copy", statistics.median(speeds), statistics.median(copies), share, 0.25, share >= 0.25, note, "≥"),
        _line("publish.memory_mb", grown, 200, grown / 200, 1, grown <= 200, f"MB over {resting:.0f} MB after the first rows", "≤"),
    ]


def _line(name: str, value: float, reference: float, ratio: float, goal: float, met: bool, note: str, sign: str) -> dict[str, Any]:
    unit = {"value": round(value, 1), "reference": round(reference, 1), "unit": "rows/s" if name.endswith("copy") else "MB"}
    return {"name": name, **unit, "ratio": round(ratio, 3), "goal": goal, "sign": sign, "met": met, "note": note}


def _files() -> tuple[list[Path], dict[str, str]]:
    """The frozen rows as a partner would send them, and how its 20 categories map onto the hub's 20."""
    folder = HOME / f"publish-{ROWS}"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{n}.csv" for n in range(ROUNDS)]
    categories: dict[str, str] = {}
    rows = _rows()
    for path in paths:
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["id", "at", "category", "severity", "status", "agency", "summary", "lon", "lat"])
            for _ in range(ROWS // ROUNDS):
                row = next(rows)
                categories.setdefault(row[2], bench.NAMES[len(categories) % 20])
                out.writerow(row)
    return paths, categories


def _rows() -> Iterator[tuple[Any, ...]]:
    with frozen("rows", str(ROWS)) as source:
        for n, line in enumerate(io.TextIOWrapper(source.stdout)):  # type: ignore[arg-type]
            identifier, at, category, severity, agency, summary, ewkb = line.rstrip("\n").split("\t")
            point = wkb.loads(ewkb, hex=True)
            yield identifier, at, category, severity, bench.STATUSES[n % 4], agency, summary, point.x, point.y


def _warm_up(client: Client, mapping: dict[str, Any], path: Path) -> None:
    """A few rows first: keys, connections, compiled mapping. They come again as unchanged rows of the first file."""
    data = b"".join(path.read_bytes().splitlines(keepends=True)[:200])
    client.import_file("incidents", io.BytesIO(data), mapping)


def _copied(cursor: Any, path: Path) -> float:
    """Rows/s of COPY."""
    out = io.StringIO()
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            point = wkb.dumps(wkb.loads(wkb.dumps(_point(row))), hex=True, srid=4326)
            out.write("\t".join([row["id"], row["at"], row["category"], row["severity"], point]) + "\n")
    out.seek(0)
    began = time.perf_counter()
    cursor.copy_expert("copy copied (id, occurred_at, category, severity, geom) from stdin", out)
    return ROWS / ROUNDS / (time.perf_counter() - began)


def _point(row: dict[str, str]) -> Any:
    from shapely import Point

    return Point(float(row["lon"]), float(row["lat"]))


def _imported(client: Client, mapping: dict[str, Any], path: Path) -> float:
    """Rows/s of an import, from opening it to its end."""
    began = time.perf_counter()
    with path.open("rb") as file:
        job = client.import_file("incidents", file, mapping)
    seconds = time.perf_counter() - began
    if job["state"] != "done" or job["rows"] != ROWS // ROUNDS or job["refused"]:
        raise RuntimeError(f"void: {job}")
    return ROWS / ROUNDS / seconds


def _check(setting: Setting, copied: Any) -> None:
    copied.execute("select count(*) from copied")
    with closing(psycopg2.connect(setting.dsn(NAME))) as connection:
        cursor = connection.cursor()
        cursor.execute("select count(*), count(narrative_sealed), count(*) filter (where cardinality(released) > 0) from hub.incidents")
        found = cursor.fetchone()
    if copied.fetchone() != (ROWS,) or found != (ROWS, ROWS, ROWS):
        raise RuntimeError(f"void: {found} rows, sealed, labelled")
