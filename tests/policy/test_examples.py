"""policies/examples/: decisions that people wrote down by hand. The hub and the oracle must both decide so: two copies of a rule can be
wrong together, and these are the third."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.policy.answers import as_feature, parsed
from tests.policy.oracle import TIMES, Oracle, Reader, Record, Request, area, moment
from tests.policy.playing import bearer, movable_clock, set_clock
from tests.world import World

EXAMPLES = sorted((ROOT / "policies" / "examples").glob("*.yaml"))
HEAD = {"version": 1, "title": "An example", "review_by": date(2031, 1, 1), "legal_basis": "None; this is an example"}
ITEMS = "/collections/incidents/items"


@dataclass
class Example:
    """One file, in a hub: its organisations and MOUs bear its name, so that files don't meet."""

    name: str
    data: Mapping[str, Any]
    world: World
    ids: Mapping[str, str]  # record → id
    oracle: Oracle
    records: Mapping[str, Record]

    def slug(self, organisation: str) -> str:
        return f"{organisation}-{self.name}"


@pytest.fixture(scope="module")
def clock(world: World) -> Iterator[Any]:
    engine = movable_clock(world)
    yield lambda at: set_clock(engine, at)
    engine.dispose()


def played(world: World, folder: Path, path: Path) -> Example:
    name, data = path.stem, YAML(typ="safe", pure=True).load(path)
    every = {r["provider"] for r in data["records"].values()} | {s for m in data["mous"] for s in m["parties"].values()}
    for organisation in every | {d["reader"]["organisation"] for d in data["decisions"]}:
        world.organisation(f"{organisation}-{name}")
    mous = [_loaded(world, folder, name, data, mou) for mou in data["mous"]]
    ids, records = {}, {}
    for key, record in data["records"].items():
        feature = {
            "type": "Feature",
            "geometry": record["geometry"],
            "properties": {"external_id": f"{name}-{key}", **record["properties"]},
        }
        answer = world.publish(f"{record['provider']}-{name}", feature)
        assert answer.status_code == 201, answer.text
        ids[key] = answer.json()["records"][0]["id"]
        records[key] = Record.of(f"{record['provider']}-{name}", feature)
    areas = {f"{n}.geojson": area(geometry) for n, geometry in data.get("boundaries", {}).items()}
    return Example(name, data, world, ids, Oracle(mous, areas), records)


def _loaded(world: World, folder: Path, name: str, data: Mapping[str, Any], mou: Mapping[str, Any]) -> dict[str, Any]:
    """Loads the MOU of a fragment; gives it as the oracle takes it."""
    pinned = {}
    for boundary in mou.get("jurisdictions", []):
        content = json.dumps(data["boundaries"][boundary]).encode()
        (folder / f"{boundary}.geojson").write_bytes(content)
        pinned[boundary] = {"file": f"{boundary}.geojson", "sha256": sha256(content).hexdigest()}
    parties = {role: f"{slug}-{name}" for role, slug in mou["parties"].items()}
    whole = {**HEAD, **mou, "mou": f"{mou['mou']}-{name.upper()}", "parties": parties, "jurisdictions": pinned}
    path = folder / f"{mou['mou']}.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(whole, file)
    world.load(path)
    return whole


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_hub_and_the_oracle_decide_as_the_example_says(world: World, clock: Any, tmp_path: Path, path: Path) -> None:
    example = played(world, tmp_path, path)
    shown = hidden = 0
    for n, decision in enumerate(example.data["decisions"]):
        reader, now = (
            Reader(**decision["reader"] | {"organisation": example.slug(decision["reader"]["organisation"])}),
            moment(decision["now"]),
        )
        clock(now)
        answer = world.http.get(ITEMS, params={"limit": 1000} | decision.get("query", {}), headers=bearer(world, reader))
        where = f"{path.name}, decision {n + 1}"
        if decision["expect"] == "refused":
            assert answer.status_code == 403, f"{where}: {answer.text}"
            assert example.oracle.refused(reader, now), where
            continue
        assert answer.status_code == 200, f"{where}: {answer.text}"
        found = {f["id"]: parsed(f) for f in answer.json()["features"]}
        for key, expected in decision["expect"].items():
            wanted = _expected(example, key, expected)
            assert found.get(example.ids[key]) == wanted, f"{where}: {key}"
            assert _by_oracle(example, key, reader, now, decision.get("query", {})) == wanted, f"{where}: {key}, by the oracle"
            shown, hidden = shown + (expected != "hidden"), hidden + (expected == "hidden")
        assert set(found) <= {example.ids[key] for key in decision["expect"]}, f"{where}: more than was expected"
    assert shown
    assert hidden


def _expected(example: Example, key: str, expected: Any) -> Any:
    if expected == "hidden":
        return None
    properties = {n: moment(v) if n in TIMES else v for n, v in expected["properties"].items()}
    return expected["place"], {"provider": example.records[key].provider, **properties}


def _by_oracle(example: Example, key: str, reader: Reader, now: Any, query: Mapping[str, str]) -> Any:
    record = example.records[key]
    shown = example.oracle.shown(record, reader, now, _request(query))
    return None if shown is None else as_feature(record, shown)


def _request(query: Mapping[str, str]) -> Request:
    box = tuple(map(float, query["bbox"].split(","))) if "bbox" in query else None
    ends = [moment(end) for end in query["datetime"].split("/")] if "datetime" in query else [None]
    values = {
        n: tuple(int(v) if n == "severity" else v for v in text.split(",")) for n, text in query.items() if n not in ("bbox", "datetime")
    }
    return Request(bbox=box, since=ends[0], until=ends[-1], values=values)  # type: ignore[arg-type]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4
