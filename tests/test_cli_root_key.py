"""`hub root-key …`: shares are written once and restore the key; an HSM's key is made once and never leaves; nothing secret is printed."""

import getpass
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.cli.root_key import _words
from hub.crypto.custody import split
from hub.crypto.providers import FileRootKey, read_root
from hub.crypto.roots import root_in_file, root_key_of
from hub.errors import Refused
from hub.settings import read_settings
from hub.setup import make_root_key, open_root_key
from tests.commands import Run, refused
from tests.softhsm import PIN, Token, tokens

PASSPHRASE = "made up for a test"


@pytest.fixture
def keys(tmp_path: Path, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key process's folder of a hub whose root key is a file."""
    folder = tmp_path / "keyd"
    folder.mkdir()
    FileRootKey.create(folder / "root.key", PASSPHRASE)
    monkeypatch.setenv("HUB_KEYD_DIR", str(folder))
    monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", PASSPHRASE)
    return folder


@pytest.fixture
def token(tmp_path: Path, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Token:
    """A token, and the settings of a hub whose root key is to be there."""
    new_token: Callable[[], Token] = tokens(tmp_path / "hsm", monkeypatch)
    made = new_token()
    given = {"KEYD_DIR": tmp_path, "ROOT_KEY_MODULE": made.module, "ROOT_KEY_TOKEN": made.label, "ROOT_KEY_PIN": PIN}
    for name, value in given.items():
        monkeypatch.setenv(f"HUB_{name}", str(value))
    return made


@pytest.fixture
def shares(keys: Path, bare: Run, tmp_path: Path) -> list[Path]:
    """Files of five shares, of which three restore the key."""
    ran = bare("root-key", "split", "--shares", 5, "--needed", 3, "--to", tmp_path / "shares")
    assert ran.code == 0, ran.err
    return [Path(line) for line in ran.out.splitlines()[:5]]


def test_split_writes_a_private_file_for_each_share_and_prints_where_they_are(keys: Path, bare: Run, tmp_path: Path) -> None:
    ran = bare("root-key", "split", "--shares", 4, "--needed", 2, "--to", tmp_path / "new" / "shares")
    paths = sorted((tmp_path / "new" / "shares").iterdir())
    assert [path.name for path in paths] == [f"share-{n}-of-4.txt" for n in range(1, 5)]
    assert ran.out.splitlines()[:4] == [str(path) for path in paths]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert (tmp_path / "new" / "shares").stat().st_mode & 0o777 == 0o700
    for number, path in enumerate(paths, 1):
        first, second, *lines = path.read_text().splitlines()
        assert f"Share {number} of 4 " in first
        assert "Any 2 of them" in first
        assert " ".join(line.split()[1] for line in lines[:2]) in second
        assert [line.split()[0] for line in lines] == [str(n) for n in range(1, 34)]
        assert not any(line.split()[1] in ran.out.split() for line in lines[4:30] if len(line.split()[1]) > 6)


def test_the_shares_restore_the_key_to_a_new_file_under_the_passphrase_of_the_settings(
    keys: Path, shares: list[Path], bare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", "another one")
    ran = bare("root-key", "restore", "--to", tmp_path / "root.key", shares[4], shares[0], shares[2])
    assert ran.code == 0, ran.err
    assert read_root(tmp_path / "root.key", "another one") == root_in_file(keys, PASSPHRASE)
    assert (tmp_path / "root.key").stat().st_mode & 0o777 == 0o600


def test_restoring_asks_for_the_passphrase_twice_where_the_settings_have_none(
    keys: Path, shares: list[Path], bare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HUB_ROOT_KEY_PASSPHRASE")
    typed = iter(["typed in", "typed in with a slip", "typed in", "typed in"])
    monkeypatch.setattr(getpass, "getpass", lambda *_, **__: next(typed))
    ran = bare("root-key", "restore", "--to", tmp_path / "root.key", *shares[:3])
    assert ran.code == 0, ran.err
    assert read_root(tmp_path / "root.key", "typed in") == root_in_file(keys, PASSPHRASE)
    assert not list(typed)


def test_restore_refuses_to_overwrite(keys: Path, shares: list[Path], bare: Run) -> None:
    before = (keys / "root.key").read_bytes()
    refused(bare("root-key", "restore", "--to", keys / "root.key", *shares[:3]), "is there already")
    assert (keys / "root.key").read_bytes() == before


def test_restore_refuses_shares_that_do_not_fit_and_writes_nothing(keys: Path, shares: list[Path], bare: Run, tmp_path: Path) -> None:
    to = tmp_path / "root.key"
    refused(bare("root-key", "restore", "--to", to, *shares[:2]), "3 shares are needed to restore the key, 2 were given.")
    refused(bare("root-key", "restore", "--to", to, shares[0], shares[1], shares[0]), f"{shares[0]} and {shares[0]} are the same share.")
    refused(bare("root-key", "restore", "--to", to, shares[0], tmp_path / "absent.txt"), "absent.txt can't be read")
    text = shares[1].read_text()
    shares[1].write_text(re.sub(r"^ 8 \w+$", " 8 akademic", text, flags=re.M))
    told = f"{shares[1]}: word 8, 'akademic', is not in the list (did you mean academic?)."
    refused(bare("root-key", "restore", "--to", to, *shares[:3]), told)
    shares[1].write_bytes(b"\xff\xfe")
    refused(bare("root-key", "restore", "--to", to, *shares[:3]), f"{shares[1]} is not a text.")
    assert not to.exists()


def test_check_says_yes_to_the_key_in_use_and_no_to_another(keys: Path, shares: list[Path], bare: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    ran = bare("root-key", "check", *shares)
    assert (ran.code, ran.out) == (0, "yes\n")
    assert sorted(tmp_path.rglob("*")) == before
    (keys / "root.key").unlink()
    FileRootKey.create(keys / "root.key", PASSPHRASE)
    ran = bare("root-key", "check", *shares[1:4])
    assert (ran.code, ran.out) == (1, "no\n")


def test_check_and_split_without_a_key_file_are_refused_and_make_none(keys: Path, shares: list[Path], bare: Run, tmp_path: Path) -> None:
    (keys / "root.key").unlink()
    refused(bare("root-key", "check", *shares), "There is no root key at")
    refused(bare("root-key", "split", "--shares", 3, "--needed", 2, "--to", tmp_path / "more"), "There is no root key at")
    assert not list(keys.iterdir())
    assert not (tmp_path / "more").exists()


def test_a_share_is_never_overwritten_and_no_part_of_a_set_is_left(keys: Path, bare: Run, tmp_path: Path) -> None:
    (tmp_path / "share-3-of-3.txt").write_text("mine")
    refused(bare("root-key", "split", "--shares", 3, "--needed", 2, "--to", tmp_path), "share-3-of-3.txt is there already")
    assert [path.name for path in tmp_path.glob("share*")] == ["share-3-of-3.txt"]
    assert (tmp_path / "share-3-of-3.txt").read_text() == "mine"
    refused(bare("root-key", "split", "--shares", 3, "--needed", 2, "--to", tmp_path / "share-3-of-3.txt"), "can't be a folder")


def test_a_folder_that_takes_no_files_is_refused(keys: Path, bare: Run, tmp_path: Path) -> None:
    refused(bare("root-key", "split", "--shares", 3, "--needed", 2, "--to", "/proc"), "share-1-of-3.txt can't be written")


def test_more_needed_than_made_is_refused(keys: Path, bare: Run, tmp_path: Path) -> None:
    refused(bare("root-key", "split", "--shares", 2, "--needed", 3, "--to", tmp_path / "shares"), "not 3 of 2")
    assert not (tmp_path / "shares").exists()


def test_a_share_copied_by_hand_is_read_with_or_without_numbers(tmp_path: Path) -> None:
    path = tmp_path / "share.txt"
    for text in (
        "# a comment\nduckling enlarge\nacademic\n",
        "1. duckling 2. enlarge 3) academic",
        "  # x\n01 duckling\n02: enlarge academic",
    ):
        path.write_text(text)
        assert _words(path) == "duckling enlarge academic"


def test_a_wrong_passphrase_is_refused(keys: Path, bare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", "wrong")
    refused(bare("root-key", "split", "--shares", 3, "--needed", 2, "--to", tmp_path / "shares"), "The passphrase does not open")


# --- in an HSM ---------------------------------------------------------------------------------------------------------


def test_create_makes_the_key_in_the_hsm_once(token: Token, bare: Run, tmp_path: Path) -> None:
    ran = bare("root-key", "create")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"Made the key concord-root on the token {token.label}.")
    assert PIN not in ran.out
    root = root_key_of(tmp_path, module=token.module, token=token.label, label="concord-root", pin=PIN)
    assert root.unwrap(root.wrap(bytes(32), b"aad"), b"aad") == bytes(32)
    refused(bare("root-key", "create"), "already: it is never replaced")


def test_create_takes_the_label_of_the_settings(token: Token, bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_ROOT_KEY_LABEL", "root-2027")
    assert bare("root-key", "create").code == 0
    monkeypatch.delenv("HUB_ROOT_KEY_LABEL")
    assert bare("root-key", "create").code == 0  # another key


def test_create_with_a_wrong_pin_is_one_sentence(token: Token, bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_ROOT_KEY_PIN", "wrong-pin")
    ran = bare("root-key", "create")
    refused(ran, f"The PIN is not that of the HSM token '{token.label}'.")
    assert "wrong-pin" not in ran.err


def test_create_without_an_hsm_is_refused(keys: Path, bare: Run) -> None:
    refused(bare("root-key", "create"), "HUB_ROOT_KEY_MODULE is not set")


def test_the_key_of_an_hsm_is_not_split_nor_checked(token: Token, bare: Run, tmp_path: Path, shares_of_another: list[Path]) -> None:
    reason = f"The root key is on the HSM token '{token.label}' and can't leave it: back up the token with its own means."
    refused(bare("root-key", "split", "--shares", 3, "--needed", 2, "--to", tmp_path / "shares"), reason)
    refused(bare("root-key", "check", *shares_of_another), reason)
    assert not (tmp_path / "shares").exists()


@pytest.fixture
def shares_of_another(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.txt" for n in range(2)]
    for path, share in zip(paths, split(bytes(32), 2, 2), strict=True):
        path.write_text(share)
    return paths


def test_migrate_makes_no_key_in_an_hsm_nor_in_a_file_beside_it(token: Token, tmp_path: Path) -> None:
    settings = read_settings()
    make_root_key(settings)
    with pytest.raises(Refused, match="no secret key 'concord-root': `hub root-key create` makes one"):
        open_root_key(settings)
    assert not (tmp_path / "root.key").exists()
