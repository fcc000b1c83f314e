"""The demo's police services publish their rows, each as itself, through the import API; what was refused is told."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hub.client import Client, Problem
from hub.demo.partners import PARTNERS, profile_client
from hub.demo.sources import SOURCES, Source, fetch
from hub.demo.synthetic import export
from hub.errors import InvalidMapping, Refused
from hub.yamlfile import read_yaml

DATASET = "incidents"
LOOK_S = 0.5  # between looks at how an import stands
LINE_S = 10  # between lines where there is no terminal


@dataclass
class Sending:
    """One organisation's import, under way in a thread of its own."""

    source: Source
    client: Client
    file: Path
    import_id: str = ""
    job: dict[str, Any] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    error: Exception | None = None

    def run(self) -> None:
        try:
            write_export(self.source, self.file)
            mapping = read_yaml(self.source.mapping.read_bytes(), "mapping", InvalidMapping)
            with self.file.open("rb") as file:
                self.job = self.client.import_file(DATASET, file, mapping, sent=self._sent)
            for verdict in self.client.verdicts(DATASET, self.job["id"], "refused"):
                # An hour that there was twice spoils the beginning and the end of a period: one row, one reason.
                first = verdict["errors"][0]
                self.refused[f"{first['field']}: {first['reason']}"] += 1
        except Exception as error:
            self.error = error

    def _sent(self, job: str, _done: int, _of: int) -> None:
        self.import_id = job

    def stored(self) -> int | None:
        """How many rows have their verdict, as the hub says; None when it can't be asked just now."""
        if not self.import_id:
            return None
        try:
            rows: int = self.client.get(f"/collections/{DATASET}/imports/{self.import_id}").json()["rows"]
        except (httpx2.HTTPError, Problem):
            return None
        return rows

    def summary(self) -> dict[str, Any]:
        kept = self.job["landed"] + self.job["updated"] + self.job["unchanged"]
        return {"rows": self.job["rows"], "kept": kept, "refused": dict(self.refused.most_common())}


def write_export(source: Source, file: Path) -> None:
    """Writes what the organisation sends beside its package; the same bytes each time, so that an interrupted import goes on."""
    if not file.exists():
        part = file.with_suffix(".part")
        with part.open("wb") as out:
            out.writelines(export(source, source.read(file.parent)))
        part.rename(file)


def publish(state_dir: Path, hub_id: str, console: Console, sources: Sequence[Source] = SOURCES) -> None:
    """Publishes what is not there yet. A marker names the hub that has the rows of an organisation, so that a later start neither
    sends them again nor leaves another entry in its log. `hub_id` tells hubs apart.

    Raises:
        Refused: the data can't be had, or the hub refuses the import.
    """
    folder = state_dir / "demo"
    waiting = [source for source in sources if told(folder, source).get("hub") != hub_id]
    if not waiting:
        return
    fetch(folder, waiting)
    console.print(f"Publishing {sum(source.rows for source in waiting):,} rows through the API, once (a minute or two) …")
    profiles = {partner.slug: partner.profile for partner in PARTNERS}
    with ExitStack() as clients:
        sendings = []
        for source in waiting:
            client = clients.enter_context(profile_client(profiles[source.organisation], state_dir, "publish"))
            sendings.append(Sending(source, client, folder / f"{source.organisation}.csv"))
        _send(sendings, console)
    for sending in sendings:
        if sending.error is not None or sending.job.get("state") != "done":
            reason = sending.error or sending.job.get("problem") or f"the import is {sending.job.get('state')}"
            raise Refused(f"{sending.source.organisation} could not publish its rows: {reason}. Start the demo again to go on.")
        summary = sending.summary()
        _marker(folder, sending.source).write_text(json.dumps({"hub": hub_id} | summary))
        sending.file.unlink(missing_ok=True)
        console.print(f"{sending.source.title}: {sentence(summary)}")


def _send(sendings: Sequence[Sending], console: Console) -> None:
    """Runs them side by side, with a bar for each on a terminal, else a line every ten seconds."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeElapsedColumn())
    said = time.monotonic()
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        tasks: list[tuple[Sending, TaskID]] = [(s, bars.add_task(s.source.title, total=s.source.rows)) for s in sendings]
        # Daemons: Ctrl-C ends the demo at once; what the hub has confirmed stays, and the next start goes on there.
        threads = [Thread(target=sending.run, daemon=True) for sending in sendings]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(LOOK_S)
            line = console.is_terminal is False and time.monotonic() - said > LINE_S
            for sending, task in tasks:
                stored = sending.stored()
                if stored is not None:
                    bars.update(task, completed=stored)
                if line and stored is not None:
                    console.print(f"{sending.source.title}: {stored:,} of {sending.source.rows:,} rows")
            said = time.monotonic() if line else said


def _marker(folder: Path, source: Source) -> Path:
    return folder / f"{source.organisation}.published"


def told(folder: Path, source: Source) -> dict[str, Any]:
    """What the marker says of an organisation's rows; empty when they were never published."""
    try:
        found: dict[str, Any] = json.loads(_marker(folder, source).read_text())
    except (OSError, ValueError):
        return {}
    return found


def sentence(summary: Mapping[str, Any]) -> str:
    """`83,577 of 87,348 rows are in the hub; 3,771 refused: Longitude, Latitude → place: has no value.`"""
    refused = "".join(f"; {count:,} refused: {reason}" for reason, count in summary["refused"].items())
    return f"{summary['kept']:,} of {summary['rows']:,} rows are in the hub{refused}."
