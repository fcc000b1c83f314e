"""The demo publishes through the API once, tells what was refused, and goes on where it was interrupted."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from hub.demo.publishing import publish, sentence, told, write_export
from hub.demo.sources import TORONTO, Source
from hub.errors import Refused
from tests.commands import serving
from tests.imports.sending import faults_of, opened, part, rows
from tests.world import World

HEADER = (
    "occurrencedate,occurrencehour,premises_type,occurrencemonth,occurrencedayofweek,MCI,Neighbourhood,occurrenceday,"
    "occurrencedayofyear,Pub_Id,Park_Id,PS_Id,Lat,Long"
)
ROWS = [
    "2019/01/04 05:00:00+00,8,House,January,Friday    ,Assault,Moss Park,4,4,0,0,0,43.655,-79.37",
    "2019/01/04 05:00:00+00,8,House,January,Friday    ,Assault,Moss Park,4,4,0,0,0,43.655,-79.37",
    "2014/11/02 04:00:00+00,1,House,November,Sunday    ,Robbery,Moss Park,2,306,0,0,0,43.655,-79.37",
    "2019/07/04 04:00:00+00,23,Outside,July,Thursday  ,Auto Theft,Moss Park,4,185,0,0,0,43.656,-79.371",
]
TWICE = "occurrencedate, occurrencehour → occurred_at: is a local time that there was twice: the clocks went back (`ambiguous` chooses)"


@pytest.fixture(scope="module")
def served(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a demo whose hub is served."""
    folder = tmp_path_factory.mktemp("demo")
    world.organisation(TORONTO.organisation)
    (folder / "profiles").mkdir()
    with serving(world, folder / "profiles", TORONTO.organisation) as profile:
        profile.rename(profile.with_name("police.json"))
        yield folder


def package(state: Path, lines: list[str], name: str) -> Source:
    """A package of a few rows, in the state folder already."""
    (state / "demo").mkdir(exist_ok=True)
    wheel = state / "demo" / f"{name}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("rows.csv", "\r\n".join([HEADER, *lines, ""]))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return replace(TORONTO, wheel=wheel.name, sha256=digest, members=("rows.csv",), rows=len(lines))


def published(state: Path, hub_id: str, source: Source, terminal: bool = False) -> str:
    """What it told."""
    out = StringIO()
    publish(state, hub_id, Console(file=out, width=500, force_terminal=terminal), [source])
    return out.getvalue()


def jobs(world: World) -> list[tuple[str, str]]:
    return [(str(i), state) for i, state in rows(world, "select id, state from hub.imports order by created_at")]


def test_good_rows_land_and_the_refused_are_told_and_again_nothing_is_sent(served: Path, world: World) -> None:
    source = package(served, ROWS, "first")
    told_once = published(served, "hub 1", source)
    assert f"3 of 4 rows are in the hub; 1 refused: {TWICE}." in told_once
    assert told(served / "demo", source) == {"hub": "hub 1", "rows": 4, "kept": 3, "refused": {TWICE: 1}}
    before = len(world.leaves()), jobs(world)
    assert published(served, "hub 1", source) == ""
    assert (len(world.leaves()), jobs(world)) == before
    # Control: for another hub the marker counts for nothing; this one knows the rows already.
    assert "3 of 4 rows" in published(served, "hub 2", source)
    assert len(jobs(world)) == len(before[1]) + 1
    assert rows(world, "select count(*), max(rev) from hub.incidents") == [(3, 1)]


def test_a_terminal_shows_a_bar_for_each_organisation(served: Path, world: World) -> None:
    shown = published(served, "hub 6", package(served, ROWS, "seventh"), terminal=True)
    assert TORONTO.title in shown
    assert "rows" in shown
    assert "3 of 4 rows" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


def test_what_it_sends_does_not_stay(served: Path, world: World) -> None:
    published(served, "hub 3", package(served, ROWS, "third"))
    assert not list((served / "demo").glob("*.csv"))


def test_an_interrupted_import_goes_on_where_it_was(served: Path, world: World) -> None:
    lines = [re.sub("43.655", f"43.{6000 + n}", ROWS[0]) for n in range(50)]
    source = package(served, lines, "second")
    file = served / "demo" / f"{source.organisation}.csv"
    write_export(source, file)
    mapping = json.loads(json.dumps(YAML(typ="safe", pure=True).load(source.mapping.read_text())))
    path = opened(world, file.read_bytes(), mapping, client=source.organisation)
    half = file.read_bytes()[: file.stat().st_size // 2]
    assert part(world, path, half, client=source.organisation, Upload_Complete="?0").status_code == 200
    begun = jobs(world)
    assert begun[-1][1] == "open"
    assert "50 of 50 rows are in the hub." in published(served, "hub 4", source)
    assert [job for job, _ in jobs(world)] == [job for job, _ in begun], "another import was opened"
    assert jobs(world)[-1][1] == "done"
    assert faults_of(world) == []


def test_a_file_whose_writing_was_interrupted_is_written_anew(served: Path) -> None:
    source = package(served, ROWS, "fifth")
    file = served / "demo" / "half.csv"
    file.with_suffix(".part").write_bytes(b"occurrenceda")
    write_export(source, file)
    assert len(file.read_bytes().splitlines()) == 5


def test_a_hub_that_refuses_is_told_in_a_sentence(served: Path, world: World) -> None:
    source = package(served, [*ROWS, '"never closed'], "sixth")
    with pytest.raises(Refused, match=r"toronto-police-demo could not publish its rows: .*Start the demo again"):
        published(served, "hub 5", source)
    assert told(served / "demo", source).get("hub") != "hub 5"


def test_the_sentence_names_every_reason() -> None:
    summary = {"rows": 87348, "kept": 83577, "refused": {"place: has no value": 3771}}
    assert sentence(summary) == "83,577 of 87,348 rows are in the hub; 3,771 refused: place: has no value."
    assert sentence(summary | {"refused": {}}) == "83,577 of 87,348 rows are in the hub."
