"""The passphrase-protected root key file: private, never overwritten, refused in one clear sentence."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.crypto.envelope import kek_aad
from hub.crypto.providers import FileRootKey
from hub.errors import Refused, Tampered

GOLDEN = json.loads((Path(__file__).parent / "golden" / "version1.json").read_text(encoding="utf-8"))
PASSPHRASE = "Übung macht den Meister"
AAD = kek_aad(b"owner-of-sixteen", 3, "2026-è", 2)
KEK = bytes([1]) * 32


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    FileRootKey.create(tmp_path / "root.key", PASSPHRASE)
    return tmp_path / "root.key"


def refusal(path: Path, passphrase: str = PASSPHRASE) -> str:
    with pytest.raises(Refused) as refused:
        FileRootKey.open(path, passphrase)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert passphrase not in sentence or not passphrase
    return sentence


def test_the_golden_key_file_and_wrapped_kek_of_version_1_still_open(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(bytes.fromhex(GOLDEN["root_file"]))
    path.chmod(0o600)
    assert FileRootKey.open(path, PASSPHRASE).unwrap(bytes.fromhex(GOLDEN["wrapped_kek"]), AAD) == KEK


def test_a_created_file_is_private_and_opens_to_the_same_key(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        created = FileRootKey.create(tmp_path / "root.key", PASSPHRASE)
    finally:
        os.umask(previous)
    assert (tmp_path / "root.key").stat().st_mode & 0o777 == 0o600
    assert FileRootKey.open(tmp_path / "root.key", PASSPHRASE).unwrap(created.wrap(KEK, AAD), AAD) == KEK


def test_the_root_key_is_not_in_the_file(tmp_path: Path) -> None:
    drawn: list[bytes] = []

    def random(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    FileRootKey.create(tmp_path / "root.key", PASSPHRASE, random)
    content = (tmp_path / "root.key").read_bytes()
    root = next(value for value in drawn if len(value) == 32)
    assert root not in content
    assert all(value in content for value in drawn if value != root)  # the control: salt and nonce are found


def test_a_passphrase_typed_with_combining_accents_is_the_same(key_file: Path) -> None:
    FileRootKey.open(key_file, "U\u0308bung macht den Meister")


def test_creating_over_an_existing_file_is_refused_and_leaves_it_alone(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(Refused, match="exists already"):
        FileRootKey.create(key_file, PASSPHRASE)
    assert key_file.read_bytes() == before


def test_creating_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be written"):
        FileRootKey.create(tmp_path / "missing" / "root.key", PASSPHRASE)


def test_a_wrong_or_empty_passphrase_is_refused(key_file: Path) -> None:
    assert "passphrase" in refusal(key_file, "Übung macht den Meister ")
    assert "empty" in refusal(key_file, "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_file_that_others_may_touch_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert "0600" in refusal(key_file)


def test_an_absent_file_a_folder_a_link_and_a_pipe_are_refused(key_file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(key_file)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "cannot be read" in refusal(tmp_path / "absent")
    assert "cannot be read" in refusal(tmp_path / "link")
    assert "cannot be read" in refusal(tmp_path)
    assert "not a regular file" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize("size", [0, 1, 2, 77])
def test_a_truncated_file_is_refused(key_file: Path, size: int) -> None:
    key_file.write_bytes(key_file.read_bytes()[:size])
    assert "truncated" in refusal(key_file)


def test_a_longer_file_and_an_unknown_version_or_suite_are_refused(key_file: Path) -> None:
    content = key_file.read_bytes()
    key_file.write_bytes(content + b"\n")
    assert "not a root key file" in refusal(key_file)
    for header in (b"\0\1", b"\2\1", b"\1\2"):
        key_file.write_bytes(header + content[2:])
        assert "format" in refusal(key_file)


def test_a_file_damaged_in_any_part_is_refused(key_file: Path) -> None:
    content = key_file.read_bytes()
    for place in (2, 17, 18, 29, 30, 61, 62, 77):
        key_file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert "damaged" in refusal(key_file)


def test_a_wrapped_kek_with_any_bit_flipped_is_refused() -> None:
    root = FileRootKey(bytes(32))
    wrapped = root.wrap(KEK, AAD)
    for bit in range(len(wrapped) * 8):
        flipped = (int.from_bytes(wrapped, "big") ^ 1 << bit).to_bytes(len(wrapped), "big")
        with pytest.raises(Tampered):
            root.unwrap(flipped, AAD)


@pytest.mark.parametrize(
    ("owner", "cls", "bucket", "epoch"),
    [
        (b"owner-of-another", 3, "2026-è", 2),
        (b"owner-of-sixteen", 2, "2026-è", 3),
        (b"owner-of-sixteen", 3, "2026-e", 2),
        (b"owner-of-sixteen", 3, "2026-è", 1),
        (b"owner-of-sixteen", 3, "", 2),
    ],
)
def test_a_wrapped_kek_is_bound_to_owner_class_bucket_and_epoch(owner: bytes, cls: int, bucket: str, epoch: int) -> None:
    root = FileRootKey(bytes(32))
    with pytest.raises(Tampered):
        root.unwrap(root.wrap(KEK, AAD), kek_aad(owner, cls, bucket, epoch))


def test_another_root_key_does_not_unwrap() -> None:
    with pytest.raises(Tampered):
        FileRootKey(bytes(31) + b"\1").unwrap(FileRootKey(bytes(32)).wrap(KEK, AAD), AAD)


@given(blob=st.binary(max_size=100) | st.binary(min_size=60, max_size=60).map(lambda rest: b"\1\1" + rest))
def test_arbitrary_bytes_are_no_wrapped_kek(blob: bytes) -> None:
    with pytest.raises(Tampered):
        FileRootKey(bytes(32)).unwrap(blob, AAD)


def test_the_root_key_does_not_show_in_its_representation() -> None:
    assert repr(FileRootKey(b"secretsecretsecretsecretsecretse")) == "FileRootKey(hidden)"
