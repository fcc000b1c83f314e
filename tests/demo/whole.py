"""`make soak ONLY=demo`: the whole demo is started, asked as each organisation, interrupted, and started again."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson

from hub.demo.partners import PARTNERS
from hub.demo.publishing import told
from hub.demo.sources import SOURCES
from hub.identity.client_auth import ASSERTION_TYPE
from tests import assertion
from tests.commands import HUB, free_port
from tests.conftest import ROOT
from tests.demo import oracle
from tests.demo.oracle import SHARES, Happened, Share, Shown

STATE = ROOT / ".local" / "soak-demo"
GOLDEN = Path(__file__).with_name("golden") / "counts.json"
AT = datetime(2026, 12, 1, tzinfo=UTC)  # windows move with the clock; the golden counts are of this instant
FIRST_S, AGAIN_S = 360, 10


def soak(seed: int, count: int) -> dict[str, Any]:
    """Starts the demo `count` times from nothing; there is nothing in it for a seed to change."""
    found: dict[str, Any] = {"differences": [], "runs": []}
    for _ in range(count):
        shutil.rmtree(STATE, ignore_errors=True)
        kept_packages()
        try:
            found["runs"].append(_run(found["differences"]))
        finally:
            shutil.rmtree(STATE, ignore_errors=True)
    return found


def kept_packages() -> None:
    """The packages of earlier runs: what is measured begins with a warm cache."""
    STATE.mkdir(parents=True)
    cache = ROOT / ".local" / "test" / "demo"
    if cache.exists():
        shutil.copytree(cache, STATE / "demo", ignore=shutil.ignore_patterns("*.csv", "*.published"))


def _run(differences: list[str]) -> dict[str, Any]:
    port = free_port()
    with demo(port, interrupted_at="rows") as (interrupted_s, _):
        pass
    with demo(port) as (first_s, printed):
        incidents = happened_in(STATE / "demo")
        differences += compared(incidents)
        differences += failed_commands(printed)
    with demo(port) as (again_s, printed):
        differences += failed_commands(printed)
    differences += [f"first start: {first_s + interrupted_s:.0f} s"] if first_s + interrupted_s > FIRST_S else []
    differences += [f"second start: {again_s:.1f} s"] if again_s > AGAIN_S else []
    return {"interrupted_s": round(interrupted_s, 1), "went_on_s": round(first_s, 1), "again_s": round(again_s, 1)}


@contextmanager
def demo(port: int, interrupted_at: str | None = None) -> Iterator[tuple[float, str]]:
    """`hub demo` until it has printed its last command, or a line with `interrupted_at`; gives the seconds and what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    log, began = STATE / "demo.log", time.monotonic()
    with log.open("w") as out:
        running = subprocess.Popen(
            [HUB, "demo", "--port", str(port)], cwd=ROOT, env=inherited | {"HUB_STATE_DIR": str(STATE)}, stdout=out, stderr=out
        )
    try:
        while (interrupted_at or "audit list") not in log.read_text():
            if running.poll() is not None or time.monotonic() - began > 2 * FIRST_S:
                raise AssertionError(log.read_text())
            time.sleep(0.1)
        yield time.monotonic() - began, log.read_text()
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(30)


def failed_commands(printed: str) -> list[str]:
    """The three commands that the demo prints, as printed; the first two give two incidents each, as the README says."""
    commands = re.findall(r"^\$ (.+)$", printed, re.M)
    environment = os.environ | {"HUB_STATE_DIR": str(STATE), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = [subprocess.run(["bash", "-c", c], cwd=ROOT, env=environment, capture_output=True, check=False) for c in commands]
    wrong = [f"{c}: {r.stderr.decode()[-300:]}" for c, r in zip(commands, ran, strict=True) if r.returncode or not r.stdout]
    if not wrong and [orjson.loads(answer.stdout)["numberReturned"] for answer in ran[:2]] != [2, 2]:
        wrong.append("the first two commands give other incidents than the README says")
    return wrong if len(commands) == 3 else [*wrong, f"{len(commands)} commands are printed"]


def happened_in(folder: Path) -> list[Happened]:
    found = (oracle.happened(source, row) for source in SOURCES for row in source.read(folder))
    return [incident for incident in found if incident is not None]


def compared(incidents: list[Happened]) -> list[str]:
    """Where what each organisation gets, and what was published, differ from what was worked out."""
    differences = []
    for share in SHARES:
        now = datetime.now(UTC)
        expected, got = oracle.shown(share, incidents, now), fetched(share)
        if expected != got:
            more, less = (got - expected).total(), (expected - got).total()
            differences.append(f"{share.name}: {more} too many, {less} missing of {expected.total()}")
    for source, said in golden()["published"].items():
        marker = next(told(STATE / "demo", s) for s in SOURCES if s.organisation == source)
        if (marker["rows"], marker["kept"], sum(marker["refused"].values())) != (said["rows"], said["kept"], said["refused"]):
            differences.append(f"{source}: {marker}")
    return differences


def fetched(share: Share) -> Counter[Shown]:
    """Everything the organisation gets for that purpose, page by page."""
    found: Counter[Shown] = Counter()
    with httpx2.Client(timeout=60) as http:
        base, token = signed_in(http, share)
        address = f"{base}/collections/incidents/items?limit=1000"
        while address:
            page = http.get(address, headers={"Authorization": f"Bearer {token}"}).raise_for_status().json()
            for feature in page["features"]:
                at = datetime.fromisoformat(feature["properties"]["occurred_at"])
                found[(feature["properties"]["category"], *feature["geometry"]["coordinates"], at)] += 1
            address = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    return found


def signed_in(http: httpx2.Client, share: Share) -> tuple[str, str]:
    """The hub's address, and a token of the organisation's client for that purpose, with a case where the agreement wants one."""
    profile = next(STATE / "profiles" / f"{partner.profile}.json" for partner in PARTNERS if partner.slug == share.reader)
    about = orjson.loads(profile.read_bytes())
    base, client = about["base_url"], about["client_id"]
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion.make((profile.parent / about["key"]).read_bytes(), client, base, datetime.now(UTC)),
        "scope": "query",
        "purpose": share.purpose,
    }
    answer = http.post(f"{base}/oauth/token", data=form | ({"case": "DEMO-2026-1"} if share.case else {}))
    return base, answer.raise_for_status().json()["access_token"]


def golden() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(GOLDEN.read_bytes())
    return found


def counts(packages: Path) -> dict[str, Any]:
    """What the golden file holds, worked out anew."""
    found = [(source.organisation, oracle.happened(source, row)) for source in SOURCES for row in source.read(packages)]
    rows = Counter(name for name, _ in found)
    incidents = [incident for _, incident in found if incident is not None]
    kept = Counter(incident.source.organisation for incident in incidents)
    return {
        "at": AT.isoformat(),
        "published": {name: {"rows": rows[name], "kept": kept[name], "refused": rows[name] - kept[name]} for name in sorted(rows)},
        "shared": {share.name: oracle.by_category(oracle.shown(share, incidents, AT)) for share in SHARES},
    }


if __name__ == "__main__":
    # Writes the golden file from the packages in a folder.
    GOLDEN.write_bytes(orjson.dumps(counts(Path(sys.argv[1])), option=orjson.OPT_INDENT_2) + b"\n")
