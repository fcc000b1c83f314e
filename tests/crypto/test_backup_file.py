"""The file of a backup: nothing in it can be read, and nothing of it altered, cut off, exchanged or added, without being told."""

import io
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.crypto import backup_parts
from hub.crypto.backup_file import MAX_FRAME_BYTES, Reader, Writer
from hub.crypto.providers import FileRootKey
from hub.errors import HubError, Refused
from hub.private_file import growing

ROOT = FileRootKey(bytes(range(32)))
FRAMES = [b"the first", b"", b"a canary sings" * 20, b"the last"]


def made(frames: list[bytes] = FRAMES, backup: bytes = b"n" * 16, root: FileRootKey = ROOT) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, root, backup)
    for frame in frames[:-1]:
        writer.frame(frame)
    writer.frame(frames[-1], last=True)
    writer.end()
    return file.getvalue()


def opened(content: bytes, root: FileRootKey = ROOT) -> list[bytes]:
    return list(Reader(io.BytesIO(content), root).frames())


def pieces(content: bytes) -> list[bytes]:
    """Header, frames, trailer."""
    found, at = [content[:86]], 86
    while at < len(content) - 32:
        end = at + 5 + int.from_bytes(content[at + 1 : at + 5], "big")
        found.append(content[at:end])
        at = end
    return [*found, content[at:]]


def test_what_was_written_is_read_and_not_a_byte_of_it_shows() -> None:
    content = made()
    assert opened(content) == FRAMES
    assert b"canary" not in content
    assert len(pieces(content)) == 6


def test_the_digest_is_that_of_the_whole_file(tmp_path: Path) -> None:
    import hashlib

    file = io.BytesIO()
    writer = Writer(file, ROOT, b"n" * 16)
    writer.frame(b"x", last=True)
    digest = writer.end()
    reader = Reader(io.BytesIO(file.getvalue()), ROOT)
    list(reader.frames())
    assert digest == reader.digest == hashlib.sha256(file.getvalue()).digest()


def test_every_bit_of_every_byte_counts() -> None:
    content = made([b"ab", b"c"])
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(Refused):
            opened(bytes(changed))


def test_a_file_that_is_cut_off_anywhere_is_refused() -> None:
    content = made([b"ab", b"c"])
    for length in range(len(content)):
        with pytest.raises(Refused):
            opened(content[:length])


ALTERED: dict[str, Callable[[list[bytes], list[bytes]], list[bytes]]] = {
    "a frame is left out": lambda a, _: [*a[:2], *a[3:]],
    "two frames are exchanged": lambda a, _: [a[0], a[2], a[1], *a[3:]],
    "a frame comes twice": lambda a, _: [*a[:2], a[1], *a[2:]],
    "a frame is another backup's": lambda a, b: [*a[:2], b[2], *a[3:]],
    "the frames are another backup's": lambda a, b: [a[0], *b[1:]],
    "the last frame is left out": lambda a, _: [*a[:-2], a[-1]],
    "something is added": lambda a, _: [*a, b"x"],
    "the trailer is another's": lambda a, b: [*a[:-1], b[-1]],
}


@pytest.mark.parametrize("how", ALTERED)
def test_frames_open_in_their_places_only(how: str) -> None:
    with pytest.raises(Refused):
        opened(b"".join(ALTERED[how](pieces(made()), pieces(made(backup=b"m" * 16)))))


def test_another_root_key_opens_nothing() -> None:
    with pytest.raises(Refused, match="This root key does not open the backup: it was made under another one"):
        opened(made(), FileRootKey(bytes(32)))
    with pytest.raises(Refused, match="not a backup of keys"):
        opened(b"x" * 100)


def test_two_backups_of_the_same_have_no_byte_of_ciphertext_in_common() -> None:
    first, second = pieces(made()), pieces(made())
    assert not set(first[1:]) & set(second[1:])


def test_a_frame_that_claims_too_much_is_refused_before_it_is_read() -> None:
    header = pieces(made())[0]
    with pytest.raises(Refused, match="no length that it can have"):
        opened(header + b"\0\xff\xff\xff\xff")
    with pytest.raises(ValueError, match="16 MiB"):
        Writer(io.BytesIO(), ROOT, b"n" * 16).frame(bytes(MAX_FRAME_BYTES + 1))


def test_a_file_that_grows_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with growing(tmp_path / "a") as file:
        file.write(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ZeroDivisionError), growing(tmp_path / "b"):
        raise ZeroDivisionError
    with pytest.raises(FileExistsError), growing(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert issubclass(Refused, HubError)


blob, number, when = st.binary(max_size=40), st.integers(0, 2**31), st.datetimes(timezones=st.just(UTC))
PARTS = {
    backup_parts.About: st.builds(backup_parts.About, number, when),
    backup_parts.Kek: st.builds(backup_parts.Kek, number, blob, number, st.text(max_size=9), number, blob, when, st.none() | when),
    backup_parts.Deks: st.builds(backup_parts.Deks, number, blob, st.lists(number, max_size=3), st.lists(number, max_size=3), blob),
    backup_parts.Signatures: st.builds(backup_parts.Signatures, st.lists(st.tuples(number, *[blob] * 5, when), max_size=3)),
    backup_parts.Tombstones: st.builds(backup_parts.Tombstones, blob, st.lists(when, max_size=3)),
    backup_parts.Listed: st.builds(
        backup_parts.Listed,
        st.lists(st.tuples(number, when, st.none() | blob, st.none() | st.text(max_size=9), st.none() | when), max_size=3),
    ),
    backup_parts.End: st.builds(backup_parts.End, number, number, number, number),
}


def test_there_is_a_made_up_part_of_every_kind() -> None:
    assert set(PARTS) == set(get_args(backup_parts.Any))


@given(st.one_of(*PARTS.values()), st.data())
def test_a_part_comes_out_as_it_went_in_and_one_of_which_a_piece_is_exchanged_is_another_or_none(
    part: backup_parts.Any, data: st.DataObject
) -> None:
    whole = backup_parts.written(part)
    assert backup_parts.read(whole) == part
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    with suppress(ValueError):
        found = backup_parts.read(whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:])
        assert backup_parts.read(backup_parts.written(found)) == found


@given(st.binary(max_size=300) | st.sampled_from([b"\x91" * 100_000, b"\x81\x01" * 100_000, msgspec.msgpack.encode(["end", 1 << 63])]))
def test_bytes_are_a_part_or_none(content: bytes) -> None:
    """A backup is authenticated before: whoever had its key could still write what no hub does."""
    with suppress(ValueError):
        backup_parts.read(content)
