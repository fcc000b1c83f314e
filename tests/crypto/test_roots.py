"""Where the root key is: what is read from the state folder, and what is asked for by name when it isn't there."""

import sys
from pathlib import Path

import pytest

from hub.crypto import roots
from hub.crypto.providers import FileRootKey
from hub.errors import Refused
from tests.softhsm import PIN, Token

KEK = bytes(32)


def pin_file(folder: Path, content: bytes, mode: int = 0o600) -> None:
    (folder / "root.pin").write_bytes(content)
    (folder / "root.pin").chmod(mode)


def test_without_an_hsm_a_key_file_is_made_once(tmp_path: Path) -> None:
    roots.create_in_file(tmp_path)
    wrapped = roots.root_key_of(tmp_path).wrap(KEK, b"aad")
    roots.create_in_file(tmp_path)
    assert roots.root_key_of(tmp_path).unwrap(wrapped, b"aad") == KEK
    assert FileRootKey(roots.root_in_file(tmp_path)).unwrap(wrapped, b"aad") == KEK


def test_a_folder_that_takes_no_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be written"):
        roots.create_in_file(tmp_path / "absent", "passphrase")


def test_reading_the_key_file_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="There is no root key at"):
        roots.root_key_of(tmp_path)
    FileRootKey.create(tmp_path / "root.key", "passphrase")
    with pytest.raises(Refused, match="There is no passphrase for the root key: set HUB_ROOT_KEY_PASSPHRASE"):
        roots.root_in_file(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["root.key"]
    assert len(roots.root_in_file(tmp_path, "passphrase")) == 32


@pytest.mark.parametrize("ending", ["", "\n"])
def test_the_pin_is_read_from_its_file(tmp_path: Path, token: Token, ending: str) -> None:
    pin_file(tmp_path, f"{PIN}{ending}".encode())
    roots.create_in_hsm(tmp_path, token.module, token.label, "root")
    root = roots.root_key_of(tmp_path, module=token.module, token=token.label, label="root")
    assert root.unwrap(root.wrap(KEK, b"aad"), b"aad") == KEK


def test_an_hsm_without_a_pin_is_refused(tmp_path: Path, token: Token) -> None:
    with pytest.raises(Refused, match="The HSM needs a PIN: set HUB_ROOT_KEY_PIN, or write it to"):
        roots.root_key_of(tmp_path, module=token.module, token=token.label, label="root")


@pytest.mark.parametrize("content", [b"", b"\n", b"12\n34\n", b"\xff\xfe", b"1" * 1025])
def test_a_pin_file_that_is_not_one_line_is_refused(tmp_path: Path, content: bytes) -> None:
    pin_file(tmp_path, content)
    with pytest.raises(Refused, match="is not one line with a PIN") as refused:
        roots.pin_of(tmp_path, None)
    assert "12" not in str(refused.value).replace(str(tmp_path), "")


def test_a_pin_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    pin_file(tmp_path, b"1234", 0o640)
    with pytest.raises(Refused, match=r"The PIN file .* is open to others than its owner: set its mode to 0600"):
        roots.pin_of(tmp_path, None)


def test_an_hsm_without_the_package_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    monkeypatch.delitem(sys.modules, "hub.crypto.hsm", raising=False)
    with pytest.raises(Refused, match="needs the package python-pkcs11"):
        roots.root_key_of(tmp_path, module=Path(__file__), token="token", label="root", pin="1234")
