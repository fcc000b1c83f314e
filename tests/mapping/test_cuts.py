"""However a file is cut into pieces, and wherever reading stops and goes on, the rows are the same; no text tells a value."""

import tracemalloc
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.datasets.incidents import Incident
from hub.errors import InvalidFile
from hub.mapping.reading import Reading, Row, State
from hub.mapping.spec import Mapping
from tests.mapping.making import HEADER, line, mapping, read

pytestmark = pytest.mark.unmeasured

SPEC = mapping(external_id={"column": "id", "hash": ["note"]}, empty=["NA"])
SEQUENCE = mapping(format="geojson-seq", place=None, unmapped="extra")
CELLS = st.sampled_from(
    ["", "1", "NA", "-79.4", "43.6", '"a\nb"', '"a""\r\n"', "é", "🚓", '"x"y', "a,b", '"', "2024-01-02T03:04Z", "0", " "]
)
END = st.sampled_from(["\n", "\r\n", "\r", "\r\r\n", "\n\n"])
GOOD = st.builds(line, note=st.sampled_from(["quiet", '"a,\r\nb"', "Jürgen 🚓", "", '""""']))
LINES = st.lists(st.tuples(st.one_of(GOOD, st.lists(CELLS, min_size=1, max_size=6).map(",".join)), END), max_size=6)


MARKS = [(b"", "utf-8"), (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")]


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """A file of good and bad lines, in some encoding with its mark, perhaps with bytes that don't belong."""
    text = HEADER + draw(END) + "".join(one + end for one, end in draw(LINES))
    mark, encoding = draw(
        st.sampled_from([(b"", "utf-8"), (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")])
    )
    data = mark + text.encode(encoding)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from([b"\xe9", b"\xff", b"\0", b'"', b"\r", b""])) + data[at:]
    return data


def feature(lon: float = -79.38, **properties: Any) -> str:
    said = {"id": "1", "at": "2024-05-06T07:08:09Z", "note": "quiet", **properties}
    return orjson.dumps({"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, 43.65]}, "properties": said}).decode()


TEXTS = st.sampled_from([feature(), feature(note="Jürgen 🚓\n"), feature(lon=200), "{}", "", "[", "é", '{"type": "Feature"', "\x1e", "0"])
SEQUENCES = st.one_of(
    st.lists(TEXTS, max_size=5).map(lambda texts: "".join(f"{one}\n" for one in texts)),
    st.lists(TEXTS, max_size=5).map(lambda texts: "".join(f"\x1e{one}\n" for one in texts)),
    st.lists(TEXTS, max_size=5).map("\r\n".join),
).map(str.encode)


def verdicts(spec: Mapping, pieces: list[bytes], state: State | None = None, most: int = 3) -> tuple[list[Row], str | None]:
    """All rows, and why reading ended early."""
    found: list[Row] = []
    try:
        reading = Reading(spec, Incident, state or State())
        for n in range(len(pieces) + 1):
            if n < len(pieces):
                reading.feed(pieces[n])
            else:
                reading.end()
            while rows := reading.rows(most):
                found += rows
    except InvalidFile as error:
        return found, str(error)
    assert reading.done
    assert reading.buffered == 0
    return found, None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({0, *(place % (len(data) + 1) for place in places), len(data)})
    return [data[a:b] for a, b in pairwise(at)]


CUTS = st.lists(st.integers(0, 2_000), max_size=8)


@given(csv_files(), CUTS)
def test_a_csv_file_gives_the_same_rows_however_it_is_cut(data: bytes, places: list[int]) -> None:
    assert verdicts(SPEC, cut(data, places)) == verdicts(SPEC, [data])


@given(SEQUENCES, CUTS)
def test_a_sequence_gives_the_same_rows_however_it_is_cut(data: bytes, places: list[int]) -> None:
    assert verdicts(SEQUENCE, cut(data, places)) == verdicts(SEQUENCE, [data])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-8"])
def test_a_file_fed_byte_by_byte_gives_the_same_rows(encoding: str) -> None:
    text = "\r\n".join([HEADER, line(note='"Jürgen ""🚓""\r\n,"'), "", line(id="2"), "3,4", line(id="5")])
    data = text.encode(encoding)
    spec = mapping(encoding="utf-16-le") if encoding == "utf-16-le" else SPEC
    rows, error = verdicts(spec, [data[n : n + 1] for n in range(len(data))])
    assert ([row.number for row in rows], [row.line for row in rows], error) == ([1, 2, 3, 4], [2, 5, 6, 7], None)
    assert (rows, error) == verdicts(spec, [data])


@given(st.one_of(csv_files().map(lambda d: (SPEC, d)), SEQUENCES.map(lambda d: (SEQUENCE, d))), st.integers(1, 4))
def test_reading_goes_on_from_every_state_as_if_it_had_not_stopped(file: tuple[Mapping, bytes], most: int) -> None:
    spec, data = file
    rows, error = verdicts(spec, [data])
    states = [State()]
    reading = Reading(spec, Incident)
    reading.feed(data)
    reading.end()
    try:
        while reading.rows(most):
            states.append(State(**orjson.loads(orjson.dumps(asdict(reading.state)))))
    except InvalidFile:
        pass
    assert len(states) == 1 + -(-len(rows) // most)
    for state in states:
        if state.columns is not None:
            state = State(**{**asdict(state), "columns": tuple(state.columns)})
        assert verdicts(spec, [data[state.offset :]], state) == (rows[state.row :], error)


@given(csv_files())
def test_states_only_go_forward_and_end_at_the_end(data: bytes) -> None:
    reading = Reading(SPEC, Incident)
    reading.feed(data)
    reading.end()
    last = reading.state
    try:
        while reading.rows(1):
            assert reading.state.offset > last.offset
            assert reading.state.row == last.row + 1
            assert reading.state.line > last.line
            last = reading.state
    except InvalidFile:
        return
    assert reading.state.offset == len(data)


# --- no value is ever told ---------------------------------------------------------------------------------------------

CANARY = "Zyxw7531"
FULL = mapping(
    unmapped="extra",
    fields={
        "category": {"column": "kind", "map": {"Theft": "theft"}},
        "occurred_until": {"column": "until", "time": ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"], "zone": "Europe/London"},
        "severity": {"column": "level"},
        "status": {"column": "status"},
        "people": [{"name": {"column": "who"}, "birth_date": {"column": "born", "date": "%d/%m/%Y"}}],
        "vehicles": [{"plate": {"column": "car"}}],
    },
)
FULL_HEADER = HEADER + ",kind,until,level,status,who,born,car"
VALUES = st.one_of(
    st.sampled_from(
        [CANARY, f'"{CANARY}', f"{CANARY}\udce9", f"{CANARY}," * 3, f"20{CANARY}", CANARY * 100, f'"{CANARY}" {CANARY}', f"1{CANARY}\x00"]
    ),
    st.sampled_from(["", "1", "-79.4", "43.6", "2024-01-02T03:04Z", "01/02/2024 10:00", "Theft"]),
)


@given(st.lists(st.lists(VALUES, min_size=1, max_size=13).map(",".join), max_size=4), st.booleans())
def test_no_reason_of_a_csv_file_tells_a_value(lines: list[str], headed: bool) -> None:
    text = "\n".join(([FULL_HEADER] if headed else []) + lines)
    rows, error = verdicts(FULL, [text.encode("utf-8", "surrogateescape")])
    told = repr([(row.problems, row.flags) for row in rows]) + (error or "")
    assert CANARY not in told


def test_the_canary_would_be_seen() -> None:
    rows = read(FULL, f"{FULL_HEADER}\n{line(note=CANARY)},Theft,,,,,,\n".encode())
    assert CANARY in repr(rows[0].record)


JSONS = st.recursive(
    st.sampled_from([CANARY, 1, None, True, 1.5, f"20{CANARY}"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.just(CANARY), inner),
    max_leaves=4,
)
OWN = st.sampled_from(["external_id", "category", "occurred_at", "status", "severity", "people", "vehicles", "extra", "narrative", "phone"])


@given(st.dictionaries(OWN, JSONS), st.one_of(JSONS, st.lists(st.sampled_from([CANARY, 0.5, 200, None]), max_size=3)), st.booleans())
def test_no_reason_of_a_sequence_tells_a_value(properties: dict[str, Any], coordinates: Any, direct: bool) -> None:
    data = {"type": "Feature", "geometry": {"type": "Point", "coordinates": coordinates}, "properties": properties}
    rows, error = [], None
    try:
        rows = read(None if direct else SEQUENCE, orjson.dumps(data))
    except InvalidFile as ended:
        error = str(ended)
    assert CANARY not in repr([(row.problems, row.flags) for row in rows]) + (error or "")


# --- memory ------------------------------------------------------------------------------------------------------------


def test_memory_stays_bounded_while_a_large_file_is_read() -> None:
    piece = (line(note="x" * 100) + "\n").encode() * 500
    reading = Reading(mapping(), Incident)
    reading.feed((HEADER + "\n").encode())
    reading.feed(piece)
    reading.rows(10_000)
    tracemalloc.start()
    try:
        for _ in range(40):
            reading.feed(piece)
            reading.rows(10_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    assert reading.state.row == 500 * 41
