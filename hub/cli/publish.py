"""`hub publish FILE`: a partner's file goes to the hub, with progress, and every row that is refused is named."""

import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any, BinaryIO

import httpx2
import orjson
import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hub.cli.out import console
from hub.client import Client, Problem
from hub.datasets import DATASETS
from hub.demo.partners import profile_client
from hub.errors import InvalidFile, InvalidMapping, InvalidRequest
from hub.mapping.reading import Reading
from hub.mapping.spec import load_mapping
from hub.settings import read_settings
from hub.yamlfile import read_yaml

REFUSED = 3  # exit code: the file was read to its end, and some of its rows were refused
LARGEST_JSON = 200_000_000
SHOWN = 20
PIECE_BYTES = 1 << 20


def publish(
    file: Path,
    as_: Annotated[str, typer.Option("--as", help="A profile: a JSON file, or the name of one in the state folder's profiles.")],
    mapping: Annotated[Path | None, typer.Option(help="The mapping file. Without one: GeoJSON features in the hub's own words.")] = None,
    dataset: Annotated[str, typer.Option(help="Where to, without a mapping file (which names it).")] = "incidents",
    dry_run: Annotated[bool, typer.Option(help="Nothing is stored; tells what would become of each row.")] = False,
    refused: Annotated[Path | None, typer.Option(help="Copies the rows that are refused into this file, to be mended and sent.")] = None,
) -> None:
    """Publishes a file of any length. The same command goes on where it was interrupted. Exit codes: 0 every row is in the hub, 3 some
    rows were refused, 1 the file or the hub refused, 130 interrupted."""
    words = None if mapping is None else _mapping(mapping)
    collection = dataset if words is None else str(words["dataset"])
    with profile_client(as_, read_settings().state_dir, "publish") as client, _opened(file, words is None) as source:
        try:
            with _progress(client, collection) as sent:
                job = client.import_file(collection, source, words, dry_run=dry_run, sent=sent)
        except KeyboardInterrupt:
            console.print("\nInterrupted. What was confirmed stays; run the same command again to go on.")
            raise typer.Exit(130) from None
        _tell(client, collection, job)
        if refused is not None and job["refused"]:
            _copy_refused(client, collection, job, mapping, source, refused)
    if job["state"] != "done":
        problem = job["problem"] or {"field": "import", "reason": f"it is {job['state']}"}
        raise InvalidFile(f"The import ended early: {problem['field']}: {problem['reason']}. What landed before stays.")
    if job["refused"]:
        raise typer.Exit(REFUSED)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read: {error.strerror}.") from None
    load_mapping(source, DATASETS)  # here an error names its line
    words: dict[str, Any] = json.loads(json.dumps(read_yaml(source, "mapping", InvalidMapping), default=str))
    return words


@contextmanager
def _opened(path: Path, geojson: bool) -> Iterator[BinaryIO]:
    """The file; of a GeoJSON FeatureCollection its features, one a line."""
    try:
        with path.open("rb") as file:
            yield _features(file, path) if geojson else file
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read: {error.strerror}.") from None


def _features(file: BinaryIO, path: Path) -> BinaryIO:
    head = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    file.seek(0)
    if not head.startswith(b"{") or path.stat().st_size > LARGEST_JSON:
        return file
    try:
        data = orjson.loads(file.read())
    except orjson.JSONDecodeError:
        return file  # features one a line, or something that the hub will name
    finally:
        file.seek(0)
    if data.get("type") != "FeatureCollection" or not isinstance(data.get("features"), list):
        return file
    return io.BytesIO(b"".join(orjson.dumps(feature) + b"\n" for feature in data["features"]))


@contextmanager
def _progress(client: Client, collection: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, else a line every ten seconds. It shows what the hub has stored; what is sent may be megabytes ahead."""
    columns = (BarColumn(), DownloadColumn(), TextColumn("{task.fields[rows]}"), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, disable=not sys.stdout.isatty())
    task = bar.add_task("", total=None, rows="")
    began, said, over = time.monotonic(), time.monotonic(), Event()
    number, before = "", -1  # rows that an earlier call had stored

    def sent(job: str, _done: int, _of: int) -> None:
        nonlocal number
        number = job

    def watch() -> None:
        nonlocal said, before
        while not over.wait(0.5):
            if not number:
                continue
            try:
                job = client.get(f"/collections/{collection}/imports/{number}").json()
            except (httpx2.HTTPError, Problem):
                continue
            before = job["rows"] if before < 0 else before
            rows = f"{job['rows']:,} rows, {(job['rows'] - before) / (time.monotonic() - began):,.0f}/s"
            rows += f", {job['refused']:,} refused" if job["refused"] else ""
            bar.update(task, completed=job["offset"], total=job["length"], rows=rows)
            if bar.disable and time.monotonic() - said > 10:
                said = time.monotonic()
                console.print(f"{job['offset'] / max(job['length'] or 1, 1):.0%}: {rows}")

    watching = Thread(target=watch, daemon=True)
    watching.start()
    try:
        with bar:
            yield sent
    finally:
        over.set()
        watching.join(5)


def _tell(client: Client, collection: str, job: Mapping[str, Any]) -> None:
    """The counts, and the refusals by reason."""
    landed = "would land" if job["dry_run"] else "landed"
    counts = [
        f"{job['landed']:,} {landed}",
        f"{job['updated']:,} updated",
        f"{job['unchanged']:,} unchanged",
        f"{job['refused']:,} refused",
    ]
    doubtful = f"; {job['flagged']:,} of them are doubtful" if job["flagged"] else ""
    console.print(f"{job['rows']:,} rows: {', '.join(counts)}{doubtful}.")
    console.print(f"Import {job['id']}. The verdict of each row: {job['links'][1]['href']}", markup=False)
    if not job["refused"]:
        return
    found: dict[tuple[str, str], list[int]] = {}
    for verdict in client.verdicts(collection, job["id"], "refused"):
        for error in verdict["errors"]:
            found.setdefault((error["field"], error["reason"]), []).append(verdict["line"])
    table = Table("refused for", "rows", "first lines", "why", box=None, header_style="bold", pad_edge=False)
    for (place, reason), lines in sorted(found.items(), key=lambda item: -len(item[1]))[:SHOWN]:
        table.add_row(escape(place), f"{len(lines):,}", ", ".join(map(str, lines[:3])), escape(reason))
    console.print(table)
    if len(found) > SHOWN:
        console.print(f"… and for {len(found) - SHOWN:,} more reasons.")


def _copy_refused(client: Client, collection: str, job: Mapping[str, Any], mapping: Path | None, source: BinaryIO, target: Path) -> None:
    """Writes the refused rows as they stand in the file, after its header, so that they can be mended and sent by themselves."""
    wanted = {verdict["row"] for verdict in client.verdicts(collection, job["id"], "refused")}
    spec = None if mapping is None else load_mapping(mapping.read_bytes(), DATASETS)
    reading = Reading(spec, DATASETS[collection])
    source.seek(0)
    try:
        with target.open("xb") as out:
            for first, text in _row_texts(reading, source):
                if first is None or first in wanted:
                    out.write(text)
    except FileExistsError:
        raise InvalidRequest(f"{target} is there already; it is not overwritten.") from None
    console.print(f"The refused rows are in {target}.", markup=False)


def _row_texts(reading: Reading, source: BinaryIO) -> Iterator[tuple[int | None, bytes]]:
    """The bytes of each row with its number; first, with None, what stands before them all: byte order mark and header."""
    held, at, ended = bytearray(), 0, False
    while not ended:
        data = source.read(PIECE_BYTES)
        ended = not data
        held += data
        reading.feed(data)
        if ended:
            reading.end()
        while rows := reading.rows(1):
            size, at = reading.state.offset - at, reading.state.offset
            text = bytes(held[:size])
            del held[:size]
            if rows[0].number == 1:
                head = _lines(text, rows[0].line - 1, reading.state.encoding or "utf-8")
                yield None, head
                text = text[len(head) :]
            yield rows[0].number, text


def _lines(text: bytes, count: int, encoding: str) -> bytes:
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)", text.decode(encoding, "surrogateescape"))
    return "".join(lines[:count]).encode(encoding, "surrogateescape")
