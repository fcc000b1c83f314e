"""Secrets on disk: whole or not there, never overwritten, and one of them however many start together."""

import multiprocessing
from pathlib import Path

import pytest

from hub.db import secret_file
from hub.private_file import write_new
from hub.settings import Settings
from hub.setup import make_root_key, open_root_key


def test_a_file_is_private_and_whole(tmp_path: Path) -> None:
    write_new(tmp_path / "key", b"secret")
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def _start(folder: str) -> tuple[bytes, bytes]:
    secret = secret_file(Path(folder) / "roles.key")
    make_root_key(Settings(state_dir=Path(folder)))
    key = open_root_key(Settings(state_dir=Path(folder)))
    return secret, key.wrap(b"k" * 32, b"")


def test_processes_that_start_together_end_up_with_one_set_of_keys(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        for n in range(2):
            folder = tmp_path / str(n)
            folder.mkdir()
            started = pool.map(_start, [str(folder)] * 3)
            key = open_root_key(Settings(state_dir=folder))
            assert len({secret for secret, _ in started}) == 1
            assert [key.unwrap(wrapped, b"") for _, wrapped in started] == [b"k" * 32] * 3
