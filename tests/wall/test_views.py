"""The read query without its WHERE, every column of every view: exactly what the grants release, worked out on the other side."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from psycopg2.extras import RealDictCursor

from hub.released import PATHS, view_sql
from hub.sharing.context import Reach
from tests.wall.raw import INCIDENT, live, rows, sealed, session
from tests.world import World, feature, grant

SEALED = ("place", "narrative", "phone", "title", "address", "people", "vehicles", "extra")
TIMES = ("occurred_at", "occurred_until", "reported_at", "resolved_at")
TEXTS = ("category", "status", "severity", "handling", "external_id")
CELLS = {100: "c100", 500: "c500", 2000: "c2k"}
NEVER = datetime.max.replace(tzinfo=UTC)

# Two grants of the reader, one finer where the other is coarser; what each means is written down here by hand.
FINE = {"category": "clear", "place": {"grid_m": 100}, "occurred_at": {"round_to": "P1D"}, "narrative": "clear", "status": "clear"}
COARSE = {"place": {"grid_m": 2000}, "occurred_at": {"round_to": "PT1H"}, "severity": "clear", "reported_at": {"round_to": "PT1H"}}
PLACELESS = {"category": "clear", "external_id": "clear", "occurred_at": "clear", "phone": "clear"}
EXACT = {"place": "clear", "extra": "clear"}
MEANING: dict[str, tuple[Mapping[str, Any], Any]] = {
    "fine": (FINE, lambda r: r["category"] == "theft"),
    "coarse": (COARSE, lambda r: r["severity"] is not None and r["severity"] <= 3),
    "placeless": (PLACELESS, lambda r: r["category"] in ("fire", "theft")),
    "exact": (EXACT, lambda r: r["status"] == "closed"),
}
CONDITIONS = {
    "fine": [{"field": "category", "one_of": ["theft"]}],
    "coarse": [{"field": "severity", "at_most": 3}],
    "placeless": [{"field": "category", "one_of": ["fire", "theft"]}],
    "exact": [{"field": "status", "one_of": ["closed"]}],
}
READERS = {"two": ("fine", "coarse"), "little": ("placeless",), "many": ("fine", "coarse", "placeless", "exact"), "nothing": ()}


def _record(n: int, random: Random) -> dict[str, Any]:
    """A record with most fields there and some not."""
    at = datetime.now(UTC) - timedelta(minutes=random.randrange(60 * 24 * 300))
    optional = {
        "status": random.choice(["open", "closed"]),
        "severity": random.randint(1, 5),
        "reported_at": (at + timedelta(minutes=7)).isoformat(),
        "narrative": f"narrative {n}",
        "phone": f"555-{n:04}",
        "extra": {"n": n},
        "title": f"title {n}",
    }
    kept = {name: value for name, value in optional.items() if random.random() < 0.8}
    lon, lat = round(-79.38 + random.uniform(-0.05, 0.05), 7), round(43.65 + random.uniform(-0.05, 0.05), 7)
    category = random.choice(["theft", "fire", "fraud", "medical"])
    return feature(f"R-{n}", lon, lat, category=category, occurred_at=at.isoformat(), **kept)


@pytest.fixture(scope="module")
def filled(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    random = Random(2)
    for slug in ("police", "hospital", *READERS):
        world.organisation(slug)
    for provider in ("police", "hospital"):
        assert world.publish(provider, *(_record(n, random) for n in range(150))).status_code == 201
    for reader, names in READERS.items():
        # Nobody has an agreement with the hospital, save for another purpose.
        other = grant("other", purposes=["another"], fields=EXACT)
        world.mou(folder, f"MOU-{reader.upper()}-2", "hospital", reader, [other])
        if names:
            grants = [_grant(name) for name in names]
            world.mou(folder, f"MOU-{reader.upper()}", "police", reader, grants)
    return world


def _grant(name: str) -> dict[str, Any]:
    more = {"occurred": {"lookback": "P150D"}} if name == "coarse" else {}
    copied: dict[str, Any] = json.loads(json.dumps(grant(name, fields=MEANING[name][0], where=CONDITIONS[name]) | more))
    return copied


# --- the other side: Python over the tables, from what the grants above say ------------------------------------------------------


@pytest.fixture(scope="module")
def stored(filled: World) -> list[dict[str, Any]]:
    """Every current record as the administrator sees it; geometries as text."""
    with filled.superuser() as connection, connection.connection.cursor(cursor_factory=RealDictCursor) as cursor:  # type: ignore[call-arg]
        cells = ", ".join(f"st_astext(i.{c}) as {c}" for c in CELLS.values())
        names = ("revision_no", "rev", "provider", "k2", *TEXTS, *TIMES, *(f"{s}_sealed" for s in SEALED))
        columns = ", ".join(f"i.{name}" for name in names)
        cursor.execute(f"select i.id::text, {columns}, {cells}, o.slug from hub.incidents i join hub.organisations o on o.id = i.provider")
        return [dict(row) for row in cursor.fetchall()]


def _holds(name: str, record: Mapping[str, Any], now: datetime) -> bool:
    if record["slug"] != "police" or not MEANING[name][1](record):
        return False
    if name == "coarse":  # the whole released hour lies inside the window
        hour = record["occurred_at"].replace(minute=0, second=0, microsecond=0)
        return bool(hour >= now - timedelta(days=150))
    return True


def _released(record: Mapping[str, Any], names: tuple[str, ...], numbers: Mapping[str, int], now: datetime) -> dict[str, Any] | None:
    """The row that a reader with the grants `names` may see of a record, or None."""
    holding = [n for n in names if _holds(n, record, now)]
    if not holding:
        return None
    given = {field: [MEANING[n][0][field] for n in holding if field in MEANING[n][0]] for field in (*TEXTS, *TIMES, *SEALED)}
    grids = [0 if t == "clear" else t["grid_m"] for t in given["place"]]
    tier = min(grids, default=None)
    row: dict[str, Any] = {name: record[name] for name in ("id", "revision_no", "rev", "provider")}
    row |= {"grants": sorted(numbers[n] for n in holding), "place_grid_m": tier, "k2": None if tier is None else record["k2"]}
    row["place"] = None if tier is None else record[CELLS[max(tier, 100)]]
    for field in TEXTS:
        row[field] = record[field] if given[field] else None
    for field in SEALED:
        row[f"{field}_sealed"] = record[f"{field}_sealed"] if "clear" in given[field] else None
    for field in TIMES:
        row |= _time(field, record[field], given[field])
    return row


def _time(field: str, at: datetime | None, given: list[Any]) -> dict[str, Any]:
    words = {"clear" if g == "clear" else g["round_to"] for g in given}
    if at is None or not words or "clear" in words:
        said = "PT1H" if words == {"PT1H"} else "P1D" if words == {"P1D"} else "PT1H" if words == {"PT1H", "P1D"} else None
        return {field: at if "clear" in words else None, f"{field}_round_to": said}
    whole = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return {field: whole if "PT1H" in words else whole.replace(hour=0), f"{field}_round_to": "PT1H" if "PT1H" in words else "P1D"}


# --- this side: the reader's role ------------------------------------------------------------------------------------------------


def _columns(view: str) -> str:
    placed = "" if view == "placeless" else "k2, "
    times = ", ".join(f"{t}, {t}_round_to" for t in TIMES)
    sealed_columns = ", ".join(f"{s}_sealed" for s in SEALED)
    return (
        f"id::text, revision_no, rev, provider, grants, place_grid_m, {placed}st_astext(place) as place, "
        f"{', '.join(TEXTS)}, {times}, {sealed_columns}"
    )


def _seen(world: World, connection: Any, reader: str, view: str, reach: Reach | None = None) -> list[dict[str, Any]]:
    text = sealed(world, connection, reader, reach=reach)
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute("select hub.enter(1, %s)", (text,))
        cursor.execute(f"select {_columns(view)} from hub.incidents_{view}")
        found = [dict(row) for row in cursor.fetchall()]
        cursor.execute("rollback")
    return found


def _bytes(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


def _everything(world: World, connection: Any, reader: str, stored: list[dict[str, Any]]) -> Reach:
    """Every (grant, cell) key and all times, so that `seek` and `time` hide nothing of their own accord."""
    begin = sealed(world, connection, reader)
    assert begin
    grants = live(world, connection, reader)
    rows(connection, "rollback")
    return Reach([g.id << 32 | cell for g in grants for cell in {r["k2"] for r in stored}])


@pytest.fixture
def connection(filled: World) -> Iterator[Any]:
    with session(filled, "hub_reader") as opened:
        yield opened


@dataclass(frozen=True)
class Kept:
    """Which of the released rows a view shows."""

    placed: bool | None = None

    def __call__(self, row: Mapping[str, Any]) -> bool:
        return self.placed is None or (row["place_grid_m"] is not None) == self.placed


SHOWS = {"page": Kept(True), "seek": Kept(True), "placeless": Kept(False), "scan": Kept(), "time": Kept()}


@pytest.mark.parametrize("view", PATHS)
@pytest.mark.parametrize("reader", READERS)
def test_every_column_of_every_row_is_what_the_grants_release(
    filled: World, stored: list[dict[str, Any]], connection: Any, reader: str, view: str
) -> None:
    reach = _everything(filled, connection, reader, stored)
    numbers = {g.name: g.id for g in _live(filled, connection, reader)}
    now = datetime.now(UTC)
    expected = [r for record in stored if (r := _released(record, READERS[reader], numbers, now)) and SHOWS[view](r)]
    if view == "placeless":
        expected = [{n: v for n, v in r.items() if n != "k2"} for r in expected]
    seen = _seen(filled, connection, reader, view, reach)
    assert sorted(map(_bytes, seen), key=lambda r: r["id"]) == sorted(map(_bytes, expected), key=lambda r: r["id"])


def _live(world: World, connection: Any, reader: str) -> Any:
    rows(connection, "begin")
    try:
        return live(world, connection, reader)
    finally:
        rows(connection, "rollback")


def test_the_records_meet_every_case(filled: World, stored: list[dict[str, Any]], connection: Any) -> None:
    shown = []
    for reader in ("two", "many"):
        numbers = {g.name: g.id for g in _live(filled, connection, reader)}
        shown.append([r for record in stored if (r := _released(record, READERS[reader], numbers, datetime.now(UTC)))])
    assert {r["place_grid_m"] for r in shown[1]} == {None, 0, 100, 2000}
    assert {r["occurred_at_round_to"] for r in shown[0] + shown[1]} == {None, "PT1H", "P1D"}
    assert len({tuple(r["grants"]) for r in shown[1]}) >= 8
    assert all(50 <= len(found) < 150 for found in shown)  # of the 150 that the police published; the hospital's are all hidden


@pytest.mark.parametrize("view", PATHS)
def test_a_view_unmasked_in_one_column_is_found_out(filled: World, stored: list[dict[str, Any]], connection: Any, view: str) -> None:
    """The control: one column of one view shows what is stored."""
    text = view_sql("incidents", INCIDENT, view).replace("create view", "create or replace view")
    _run(filled, text.replace(" end as severity,", " else i.severity end as severity,"))
    try:
        with pytest.raises(AssertionError, match="'severity': "):
            test_every_column_of_every_row_is_what_the_grants_release(filled, stored, connection, "many", view)
    finally:
        _run(filled, text)


def _run(world: World, text: str) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql(text.replace("%", "%%"))


# --- a function that tells what it is called on ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def leaky(filled: World) -> World:
    """As cheap as a function can say it is: a planner that may move it inward will run it before anything else."""
    with filled.superuser() as admin:
        admin.exec_driver_sql(
            "create function public.leak(told text) returns boolean language plpgsql cost 0.0000001 as "
            "$$ begin raise notice 'leak %', told; return true; end $$".replace("%", "%%")
        )
    return filled


class _Notices:
    """psycopg2 keeps the last fifty notices in a list; anything else with `append` keeps all."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def append(self, notice: str) -> None:
        self.kept.append(notice)


def _told(world: World, connection: Any, view: str, argument: str, reach: Reach) -> set[str]:
    text = sealed(world, connection, "two", reach=reach)
    connection.notices = heard = _Notices()
    rows(connection, "select hub.enter(1, %s)", (text,))
    rows(connection, f"select count(*) from hub.incidents_{view} v where public.leak({argument})")
    rows(connection, "rollback")
    return {notice.split("leak ", 1)[1].strip() for notice in heard.kept if "leak " in notice}


@pytest.mark.parametrize("view", PATHS)
def test_a_leaky_function_is_called_on_visible_rows_only(leaky: World, stored: list[dict[str, Any]], connection: Any, view: str) -> None:
    reach = _everything(leaky, connection, "two", stored)
    seen = _seen(leaky, connection, "two", view, reach)
    assert _told(leaky, connection, view, "v.id::text", reach) == {r["id"] for r in seen}
    assert _told(leaky, connection, view, "v.severity::text", reach) <= {str(r["severity"]) for r in seen} | {"<NULL>"}
    assert _told(leaky, connection, view, "st_astext(v.place)", reach) <= {str(r["place"]) for r in seen} | {"<NULL>"}


@pytest.mark.parametrize("view", PATHS)
def test_without_the_barrier_it_is_called_on_hidden_rows(leaky: World, stored: list[dict[str, Any]], connection: Any, view: str) -> None:
    reach = _everything(leaky, connection, "two", stored)
    seen = _seen(leaky, connection, "two", view, reach)
    with leaky.superuser() as admin:
        admin.exec_driver_sql(f"alter view hub.incidents_{view} set (security_barrier = false)")
    try:
        assert _told(leaky, connection, view, "v.id::text", reach) > {r["id"] for r in seen}
    finally:
        with leaky.superuser() as admin:
            admin.exec_driver_sql(f"alter view hub.incidents_{view} set (security_barrier = true)")
