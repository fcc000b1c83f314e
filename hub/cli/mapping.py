"""`hub mapping …`: a mapping file is written and tried on the partner's own machine. No hub is needed."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from hub.cli.out import console
from hub.datasets import DATASETS
from hub.errors import InvalidRequest
from hub.mapping.checking import Doubt, Report, check, doubts_of
from hub.mapping.looking import LOOKED_AT_BYTES, look
from hub.mapping.maker import labels
from hub.mapping.proposal import propose
from hub.mapping.spec import Mapping, load_mapping

commands = typer.Typer(no_args_is_help=True, help="Mapping files: how a partner's columns become the hub's fields.")
PIECE_BYTES = 1 << 20
WIDEST = 24  # of a value in the table


@commands.command()
def init(
    file: Path,
    out: Annotated[Path | None, typer.Option(help="Where to write the mapping; printed unless said.")] = None,
    dataset: Annotated[str, typer.Option(help="The hub's dataset that the rows become.")] = "incidents",
) -> None:
    """Proposes a mapping by looking at a CSV or GeoJSON-seq file; comments say each doubt."""
    if dataset not in DATASETS:
        raise InvalidRequest(f"There is no dataset {dataset!r}; there are {', '.join(DATASETS)}.")
    data = next(_pieces(file, LOOKED_AT_BYTES), b"")
    text = propose(look(data, len(data) == file.stat().st_size), dataset, DATASETS[dataset])
    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise InvalidRequest(f"{out} is there already; it is not overwritten.") from None
    except OSError as error:
        raise InvalidRequest(f"{out} can't be written: {error.strerror}.") from None
    console.print(f"Wrote {out} with {text.count('# ?')} doubts. Decide them, then run: hub mapping check {out} {file}", markup=False)


@commands.command("check")
def check_file(spec: Path, file: Path) -> None:
    """Shows ten mapped rows, and every doubt over the whole file; exit code 1 when a row would be refused."""
    found = load_mapping(b"".join(_pieces(spec, PIECE_BYTES)), DATASETS)
    dataset = DATASETS[found.dataset]
    report = check(found, dataset, _pieces(file, PIECE_BYTES))
    _show_rows(found, report, dataset.named("place")[0].name)
    console.print(f"\n{report.rows:,} rows: {report.kept:,} would be stored, {report.refused:,} refused.", style="bold")
    _show_doubts("Refused", report.refusals.values())
    _show_doubts("Kept, but doubtful", [*report.flags.values(), *(d for d in (report.repeated, report.equal) if d.rows)])
    for problem in doubts_of(found):
        console.print(f"Note: {problem.field}: {problem.reason}.", markup=False)
    _show_unmatched(report)
    _show_extent(report)
    if report.stopped is not None:
        raise report.stopped
    if report.refused:
        raise typer.Exit(1)


def _pieces(file: Path, size: int) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            while piece := opened.read(size):
                yield piece
    except OSError as error:
        raise InvalidRequest(f"{file} can't be read: {error.strerror}.") from None


def _show_rows(found: Mapping, report: Report, place: str) -> None:
    said = labels(found, place)
    names = list(dict.fromkeys(n for row in report.shown for n, v in row.record or () if v is not None and (n in said or n == "extra")))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("line\n ", no_wrap=True, min_width=6)
    for name in names:
        table.add_column(f"{name}\n{escape(_source(said.get(name, name), name))}", no_wrap=True)
    for row in report.shown:
        values = dict(row.record or ())
        id_of = {"external_id": "(hash)"} if row.key is not None else {}
        table.add_row(str(row.line), *(escape(_cut(_told(id_of.get(n, values[n])))) for n in names))
    console.print(table)


def _source(label: str, name: str) -> str:
    """`← column` of a label such as `column → field`."""
    return _cut(f"← {label.removesuffix(f' → {name}')}") if "→" in label else " "


def _told(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, BaseModel):
        return " ".join(str(v) for _, v in value if v is not None)
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, tuple) and all(isinstance(v, float) for v in value):
        return ", ".join(f"{v:.6f}" for v in value)
    if isinstance(value, tuple):
        return ", ".join(map(_told, value))
    return f"{value:%Y-%m-%d %H:%M:%SZ}" if isinstance(value, datetime) else str(value)


def _cut(text: str) -> str:
    text = " ".join(text.split())  # a value may go over several lines; a cell of the table must not
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _show_doubts(title: str, doubts: Iterable[Doubt]) -> None:
    found = sorted(doubts, key=lambda d: -d.rows)
    if not found:
        return
    table = Table(title.lower(), "rows", "first lines", "why", box=None, header_style="bold", pad_edge=False)
    for doubt in found[:100]:
        table.add_row(escape(doubt.field), f"{doubt.rows:,}", ", ".join(map(str, doubt.first)), escape(doubt.reason))
    console.print()
    console.print(table)
    if len(found) > 100:
        console.print(f"… and {len(found) - 100:,} more kinds.")


def _show_unmatched(report: Report) -> None:
    if not report.unmatched:
        return
    console.print()
    table = Table("values that no map holds", "field", "rows", box=None, header_style="bold", pad_edge=False)
    for (name, word), count in report.unmatched.most_common(50):
        table.add_row(escape(_cut(word)), name, f"{count:,}")
    console.print(table)
    if len(report.unmatched) > 50:
        console.print(f"… and {len(report.unmatched) - 50:,} more.")


def _show_extent(report: Report) -> None:
    console.print()
    for name, (first, last) in report.spread.items():
        console.print(f"{name}: {first:%Y-%m-%d %H:%M}Z to {last:%Y-%m-%d %H:%M}Z", markup=False)
    if report.box is not None:
        west, south, east, north = report.box
        console.print(f"places: {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} (lon, lat)", markup=False)
