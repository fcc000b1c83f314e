"""Delimited files in every shape that partners send: what is read, what refuses a row, and what ends the reading."""

import codecs
from collections.abc import Iterator

import pytest

from hub.datasets.incidents import Incident
from hub.errors import InvalidFile
from hub.mapping.reading import MAX_COLUMNS, MAX_ROW_BYTES, Reading, State
from tests.mapping.making import HEADER, drained, kept, line, mapping, one, read, reasons, rows_of

NAMES = HEADER.split(",")


def text(*lines: str, end: str = "\n", header: str = HEADER) -> str:
    return "".join(part + end for part in (header, *lines))


def notes(data: bytes, **said: object) -> list[str | None]:
    return [kept(row).narrative for row in read(mapping(**said), data)]


# --- encodings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "utf-8")],
)
def test_a_byte_order_mark_says_the_encoding(mark: bytes, encoding: str) -> None:
    assert notes(mark + text(line(note="Jürgen 🚓")).encode(encoding)) == ["Jürgen 🚓"]


@pytest.mark.parametrize(
    ("said", "encoding"),
    [("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"), ("latin-1", "latin-1"), ("windows-1252", "cp1252"), ("utf-8", "utf-8")],
)
def test_a_declared_encoding_needs_no_mark(said: str, encoding: str) -> None:
    assert notes(text(line(note="Jürgen")).encode(encoding), encoding=said) == ["Jürgen"]


def test_windows_quotation_marks_are_read_when_declared() -> None:
    assert notes(text(line(note="“so”")).encode("cp1252"), encoding="windows-1252") == ["“so”"]


def test_undeclared_latin_1_refuses_the_rows_that_it_spoils_and_names_the_remedy() -> None:
    first, second, third = read(mapping(), text(line(), line(note="Jürgen"), line(id="3")).encode("latin-1"))
    assert kept(first)
    assert kept(third).external_id == "3"
    assert reasons(second) == [
        (
            "note",
            "holds bytes that are no utf-8; if the file is in the older Windows encoding, the mapping must say `encoding: windows-1252`",
        )
    ]


def test_bytes_that_windows_1252_leaves_out_refuse_their_row() -> None:
    (row,) = read(mapping(encoding="windows-1252"), text(line(note="\x81")).encode("latin-1"))
    assert reasons(row) == [("note", "holds bytes that are no windows-1252")]


def test_a_lone_surrogate_in_utf_16_refuses_its_row() -> None:
    data = text(line(note="a\ud83db"), line(id="2")).encode("utf-16-le", "surrogatepass")
    first, second = read(mapping(encoding="utf-16-le"), data)
    assert reasons(first) == [("note", "holds bytes that are no utf-16-le")]
    assert kept(second)


@pytest.mark.parametrize(
    ("said", "data", "words"),
    [
        ("utf-16", text(line()).encode("utf-16-le"), "no byte order mark"),
        ("utf-8", codecs.BOM_UTF16_LE + text(line()).encode("utf-16-le"), "mark of utf-16-le; the mapping says utf-8"),
        ("windows-1252", codecs.BOM_UTF8 + text(line()).encode(), "mark of utf-8; the mapping says windows-1252"),
        ("utf-16-be", codecs.BOM_UTF16_LE + text(line()).encode("utf-16-le"), "the mapping says utf-16-be"),
        (None, codecs.BOM_UTF32_LE + text(line()).encode("utf-32-le"), "utf-32; the hub does not read that"),
        (None, text(line()).encode("utf-16-le"), "NUL characters"),
        (None, b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\n", "NUL characters"),
        ("utf-16-le", text(line()).encode("utf-16-le") + b"x", "in the middle of a character"),
    ],
)
def test_an_encoding_that_the_bytes_deny_ends_the_reading(said: str | None, data: bytes, words: str) -> None:
    with pytest.raises(InvalidFile, match=words):
        read(mapping(encoding=said), data)


def test_rows_before_the_place_where_reading_ends_are_given() -> None:
    reading = Reading(mapping(), Incident)
    reading.feed(text(line(), line(id="2"), "\0").encode())
    assert [kept(row).external_id for row in reading.rows(10)] == ["1", "2"]
    for _ in range(2):
        with pytest.raises(InvalidFile, match="Line 4 holds NUL"):
            reading.rows(10)
    assert reading.state.row == 2


# --- lines, quotes, delimiters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_end(end: str) -> None:
    data = text(line(), line(id="2"), end=end).encode()
    rows = read(mapping(), data)
    assert [(row.number, row.line, kept(row).external_id) for row in rows] == [(1, 2, "1"), (2, 3, "2")]


def test_line_ends_may_be_mixed() -> None:
    data = f"{HEADER}\r\n{line()}\n{line(id='2')}\r{line(id='3')}\r\r\n{line(id='4')}".encode()
    assert [(row.line, kept(row).external_id) for row in read(mapping(), data)] == [(2, "1"), (3, "2"), (4, "3"), (6, "4")]


def test_other_separators_of_unicode_end_no_line() -> None:
    (row,) = rows_of(mapping(), line(note="a\x0b\x0c\x1c\x85\u2028b"))
    assert kept(row).narrative == "a\x0b\x0c\x1c\x85\u2028b"


def test_a_file_without_a_last_line_end_is_whole() -> None:
    assert notes(text(line())[:-1].encode()) == ["quiet"]


def test_blank_lines_are_no_rows() -> None:
    rows = read(mapping(), text("", line(), "", "", line(id="2"), "").encode())
    assert [(row.number, row.line) for row in rows] == [(1, 3), (2, 6)]


@pytest.mark.parametrize("row", [",,,,", "  , ,\t,,", "NA,NA,,,NA"])
def test_a_row_without_any_value_is_refused_not_dropped(row: str) -> None:
    assert reasons(one(mapping(empty=["NA"]), row)) == [("row", "holds no value")]


def test_quotes_hold_delimiters_line_ends_and_doubled_quotes() -> None:
    first, second = rows_of(mapping(), line(note='"a, ""b""\r\nc\n\nd"'), line(id="2"))
    assert kept(first).narrative == 'a, "b"\r\nc\n\nd'
    assert (second.number, second.line) == (2, 6)


def test_a_quote_that_ends_too_early_refuses_its_row() -> None:
    first, second = rows_of(mapping(), line(note='"so" he said'), line(id="2"))
    assert reasons(first) == [("row", "has a quote that ends before its value does: a quote inside a value must be doubled")]
    assert kept(second).external_id == "2"


def test_a_quote_inside_an_unquoted_value_is_what_it_is() -> None:
    assert kept(one(mapping(), line(note='5" pipe'))).narrative == '5" pipe'


def test_a_quote_that_is_never_closed_ends_the_reading_and_names_its_line() -> None:
    reading = Reading(mapping(), Incident)
    reading.feed(text(line(), line(id="2", note='"oh'), line(id="3")).encode())
    reading.end()
    assert len(reading.rows(10)) == 1
    with pytest.raises(InvalidFile, match="row that begins on line 3 has a quote that is never closed"):
        reading.rows(10)


@pytest.mark.parametrize(("word", "sign"), [(";", ";"), ("tab", "\t"), ("|", "|"), (",", ",")])
def test_the_delimiter_is_declared(word: str, sign: str) -> None:
    data = text(line()).replace(",", sign).encode()
    assert notes(data, delimiter=word) == ["quiet"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,2024-05-06T07:08:09Z,-79.38,43.65", "has fewer values than there are columns: 4 instead of 5"),
        (line() + ",more", "has more values than there are columns: 6 instead of 5"),
        (line(note="a, b"), "has more values than there are columns: 6 instead of 5"),
        ("   ", "has fewer values than there are columns: 1 instead of 5"),
    ],
)
def test_a_ragged_row_is_refused_and_the_next_is_read(row: str, reason: str) -> None:
    first, second = rows_of(mapping(), row, line(id="2"))
    assert reasons(first) == [("row", reason)]
    assert kept(second)


def test_values_and_names_are_trimmed() -> None:
    row = one(mapping(), " 1 ,\t2024-05-06T07:08:09Z , -79.38 ,43.65\u00a0,  quiet  ", header=" id , at,lon ,lat,\tnote")
    assert (kept(row).external_id, kept(row).place, kept(row).narrative) == ("1", (-79.38, 43.65), "quiet")


# --- headers -----------------------------------------------------------------------------------------------------------


def test_a_file_without_header_is_read_by_declared_names() -> None:
    (row,) = read(mapping(header=NAMES), (line() + "\n").encode())
    assert (row.number, row.line, kept(row).narrative) == (1, 1, "quiet")


def test_a_header_that_is_there_although_names_are_declared_is_noticed() -> None:
    with pytest.raises(InvalidFile, match="`header: true`"):
        read(mapping(header=NAMES), text(line()).encode())


def test_a_column_without_a_name_is_called_by_its_number() -> None:
    spec = mapping(drop=["column 6"])
    (row,) = rows_of(spec, line() + ",", header=HEADER + ",")
    assert kept(row)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,at,lon,latt,note", "lacks columns that the mapping names: lat"),
        ("id,at,lon,lat,note,note", "columns of one name: note"),
        ("id,at,lon,lat,note,age", "does not say what becomes of some columns: age"),
        (",".join([HEADER, *(f"c{n}" for n in range(MAX_COLUMNS))]), "2,005 columns; at most 2,000"),
    ],
)
def test_a_header_that_does_not_fit_ends_the_reading_before_any_row(header: str, words: str) -> None:
    with pytest.raises(InvalidFile, match=words):
        rows_of(mapping(), line(), header=header)


def test_a_missing_column_is_named_with_names_that_are_near() -> None:
    with pytest.raises(InvalidFile) as caught:
        rows_of(mapping(), header="id,at,Lonn,lat,Notes")
    assert [(p.field, p.reason) for p in caught.value.problems] == [
        ("lon", "is not a column of the file; did you mean 'Lonn'?"),
        ("note", "is not a column of the file; did you mean 'Notes'?"),
    ]


def test_a_first_line_of_data_is_not_told_when_a_header_was_expected() -> None:
    with pytest.raises(InvalidFile) as caught:
        rows_of(mapping(), header="ids,Jane Roe,lons,lats,notes")
    assert "Jane" not in str(caught.value) + repr(caught.value.problems)
    assert "ids" not in repr(caught.value.problems)


def test_columns_that_nothing_names_go_to_extra_or_are_dropped_by_name() -> None:
    row = one(mapping(unmapped="extra", drop=["age"]), line() + ",41,grey,", header=HEADER + ",age,car,plate")
    assert kept(row).extra == {"car": "grey"}


def test_a_file_of_a_header_alone_has_no_rows() -> None:
    assert read(mapping(), HEADER.encode()) == []
    assert read(mapping(), (HEADER + "\n").encode()) == []


@pytest.mark.parametrize("said", [True, NAMES])
@pytest.mark.parametrize("data", [b"", b"\n\r\n", codecs.BOM_UTF8])
def test_an_empty_file_is_told(data: bytes, said: object) -> None:
    if said is True:
        with pytest.raises(InvalidFile, match="empty"):
            read(mapping(header=said), data)
    else:
        assert read(mapping(header=said), data) == []


# --- bounds ------------------------------------------------------------------------------------------------------------


def endless(first: bytes, piece: bytes, size: int) -> Iterator[bytes]:
    yield first
    for _ in range(size // len(piece)):
        yield piece


@pytest.mark.parametrize(
    "piece", [b"x" * 65_536, b"x," * 32_768, b'""\n' * 20_000, b"\xff" * 65_536], ids=["line", "columns", "quotes", "binary"]
)
def test_a_line_of_a_gigabyte_is_refused_after_a_megabyte(piece: bytes) -> None:
    reading = Reading(mapping(), Incident)
    most = []

    def watched() -> Iterator[bytes]:
        for data in endless(text().encode() + b'1,"', piece, 10**9):
            most.append(reading.buffered)
            yield data

    with pytest.raises(InvalidFile, match=r"line 2 is over 1,048,576 bytes"):
        drained(reading, watched())
    assert len(most) < 30
    assert max(most) < MAX_ROW_BYTES + 2 * 65_536


def test_a_header_of_a_gigabyte_is_refused_after_a_megabyte() -> None:
    reading = Reading(mapping(), Incident)
    with pytest.raises(InvalidFile, match="line 1 is over"):
        drained(reading, endless(b"id,", b"x" * 65_536, 10**9))


def test_a_row_of_just_the_limit_is_read_and_one_byte_more_is_not() -> None:
    # The narrative is over the dataset's own limit, so the row is refused, but as a row.
    room = MAX_ROW_BYTES - len(line(note="")) - 1
    (row,) = rows_of(mapping(), line(note="x" * room))
    assert [field for field, _ in reasons(row)] == ["note → narrative"]
    with pytest.raises(InvalidFile, match="line 2 is over"):
        rows_of(mapping(), line(note="x" * (room + 1)))


def test_a_value_longer_than_the_reader_of_python_allows_does_not_open_the_text_inside_it() -> None:
    inside = line(id="forged") + "\n"
    rows = rows_of(mapping(), line(note='"' + inside * 4_000 + '"'), line(id="2"))
    assert [(row.number, row.record is None) for row in rows] == [(1, True), (2, False)]


def test_a_million_blank_lines_take_no_memory() -> None:
    reading = Reading(mapping(), Incident)
    assert len(drained(reading, [text().encode(), *[b"\n" * 65_536] * 16, (line() + "\n").encode()])) == 1
    assert reading.buffered == 0


# --- state -------------------------------------------------------------------------------------------------------------


def test_the_state_says_where_the_next_row_begins() -> None:
    data = codecs.BOM_UTF8 + text("", line(note='"a\nb"'), line(id="2", note="é")).encode()
    reading = Reading(mapping(), Incident)
    assert reading.state == State()
    reading.feed(data)
    reading.end()
    reading.rows(1)
    state = reading.state
    assert state == State(data.index(b"2,2024"), 1, 4, tuple(NAMES), "utf-8")
    (row,) = read(mapping(), data[state.offset :], state)
    assert (row.number, row.line, kept(row).narrative) == (2, 5, "é")


def test_a_mapping_that_changed_meanwhile_is_noticed_when_reading_goes_on() -> None:
    state = State(100, 1, 2, ("id", "at", "lon", "lat"), "utf-8")
    with pytest.raises(InvalidFile, match="lacks columns"):
        Reading(mapping(), Incident, state)
