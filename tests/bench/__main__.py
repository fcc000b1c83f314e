"""`make bench`: runs what there is in one go (ONLY=query for a part), prints a table, writes bench.json."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import audit, chain, crypto, maps, policy, publish, query, setting, signin

PARTS = {
    "publish": publish.run,
    "query": query.run,
    "policy": policy.run,
    "crypto": crypto.run,
    "audit": audit.run,
    "chain": chain.run,
    "signin": signin.run,
    "maps": maps.run,
}
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    only = os.environ.get("ONLY")
    if only and only not in PARTS:
        raise SystemExit(f"ONLY={only}: there is no such part; there are {', '.join(PARTS)}")
    ready = setting.ready()
    figures = [line for name, part in PARTS.items() if only in (None, "", name) for line in part(ready)]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    (ROOT / "bench.json").write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    _print(figures)


def _print(figures: list[dict[str, object]]) -> None:
    table = Table("name", "value", "reference", "unit", "ratio", "goal", "met", "note", box=None, pad_edge=False)
    for line in figures:
        met = {True: "yes", False: "MISSED", None: "-"}[line["met"]]  # type: ignore[index]
        goal = "-" if line["goal"] is None else f"{line['sign']} {line['goal']}"
        cells = [line[name] for name in ("name", "value", "reference", "unit", "ratio")]
        table.add_row(*map(str, cells), goal, met, str(line["note"]))
    Console(width=160).print(table)


main()
