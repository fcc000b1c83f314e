"""`make soak`: the long runs. Writes soak.json: for each run its seed, count, commit and duration, and what it found.

SEED=… and COUNT=… change a run; ONLY=faults runs one.
"""

import importlib
import json
import os
import secrets
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub.logs import configure

ROOT = Path(__file__).resolve().parents[2]
# name: (module with soak(seed, count), count)
RUNS = {
    "decisions": ("tests.policy.test_decisions", 100_000),
    "faults": ("tests.faults.test_kills", 1_000),
    "shreds": ("tests.faults.test_shreds", 100),
    "api": ("tests.api.fuzz", 5_000),
    "imports": ("tests.imports.test_kills", 50),
    "residue": ("tests.faults.residue", 200),
    "nonces": ("tests.crypto.census", 10_000_000),
    "demo": ("tests.demo.whole", 1),
}


def main() -> None:
    configure("error")  # a line for each of a hundred thousand requests would bury what was found
    only = os.environ.get("ONLY")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    results: list[dict[str, Any]] = []
    for name, (module, count) in RUNS.items():
        if only and only != name:
            continue
        seed = int(os.environ.get("SEED", secrets.randbelow(2**31)))
        count = int(os.environ.get("COUNT", count))
        print(f"{name}: seed {seed}, count {count:,} …", flush=True)
        began = time.monotonic()
        found = importlib.import_module(module).soak(seed, count)
        results.append(
            {
                "run": name,
                "seed": seed,
                "count": count,
                "commit": commit,
                "duration_s": round(time.monotonic() - began, 1),
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "found": found,
            }
        )
        (ROOT / "soak.json").write_text(json.dumps(results, indent=1, default=str) + "\n")
        print(json.dumps(results[-1], indent=1, default=str), flush=True)
    if any(_wrong(result["found"]) for result in results):
        raise SystemExit("soak: something was found; see soak.json")


def _wrong(found: dict[str, Any]) -> bool:
    """A difference, a fault, or a control that no longer notices."""
    return bool(found.get("differences") or found.get("faults") or found.get("control_lost") == 0)


main()
