"""`hub root-key change`: broken off at any file operation and any message to the database, a root key is there that opens everything."""

import getpass
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub.crypto import next_root, roots
from hub.crypto.keys import Opening, Sealing
from hub.crypto.providers import FileRootKey
from hub.crypto.roots import create_in_hsm
from hub.errors import Refused
from hub.settings import read_settings
from hub.setup import addresses_of
from hub.workers.upkeep import held
from tests.commands import Run, refused
from tests.softhsm import PIN, Token, tokens

FORMER, NEW = "made up at first", "made up afterwards"
TEXT = b"a narrative"
Settle = Callable[[str], None]


class Killed(BaseException):
    """Nothing catches it."""


class _Strikes:
    """Ends the process, as far as anybody can tell, before the `at`-th change to a file in `folder` or message to a database."""

    def __init__(self) -> None:
        self.folder, self.at, self.seen = "", 0, 0

    def strike(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # of the tests' own
        self.seen += 1
        if self.seen == self.at:
            raise Killed

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.at and event in ("os.rename", "os.link", "os.remove", "open") and str(arguments[0]).startswith(self.folder):
            writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & 3)
            if writes:
                self.strike()


strikes = _Strikes()
sys.addaudithook(strikes.audit)


@contextmanager
def killed(folder: Path, at: int) -> Iterator[_Strikes]:
    def message(*_: object) -> None:
        strikes.strike()

    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, message)
    strikes.folder, strikes.at, strikes.seen = str(folder), at, 0
    try:
        yield strikes
    finally:
        strikes.at = 0
        for event in ("before_cursor_execute", "commit"):
            sa.event.remove(sa.Engine, event, message)


@pytest.fixture
def folder(tmp_path: Path, databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key process's folder of a hub whose root key is a file, its passphrase beside it."""
    main, keys = databases()
    made = tmp_path / "keyd"
    made.mkdir()
    shutil.copy(state / "keyd" / "roles.key", made)
    roots.create_in_file(made)
    given = {"KEYD_DIR": made, "STATE_DIR": state, "KEYD_SOCKET": tmp_path / "keyd.sock"}
    given |= {name: url.render_as_string(hide_password=False) for name, url in (("DATABASE_URL", main), ("KEYS_DATABASE_URL", keys))}
    for name, value in given.items():
        monkeypatch.setenv(f"HUB_{name}", str(value))
    return made


@pytest.fixture
def new_token(tmp_path: Path, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Token]:
    return tokens(tmp_path / "hsm", monkeypatch)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda *_, **__: NEW)


class Sealed:
    """Something sealed, opened by whatever root key the settings lead to."""

    def __init__(self) -> None:
        self.item = Sealing(UUID(int=7), uuid4(), 1, 1, "default", {4: (3, TEXT)})
        with self._held() as keys:
            (blobs,) = keys.keyring.seal_batch([self.item])
            self.blob, self.mac = blobs[4], keys.keyring.macs("content", UUID(int=1), [b"x"])

    def opens(self) -> bool:
        """Both keys: of the record, and of keyed hashes."""
        try:
            with self._held() as keys:
                opening = Opening(self.item.owner, self.item.record, 1, 1, 3, 4, self.blob)
                return keys.keyring.open_batch([opening]) == [TEXT] and keys.keyring.macs("content", UUID(int=1), [b"x"]) == self.mac
        except Refused:
            return False

    def _held(self):  # type: ignore[no-untyped-def]
        settings = read_settings()
        return held(settings, addresses_of(settings))


def former_files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.glob("root.former-*"))


def test_a_new_root_key_takes_every_key_over_and_the_former_stays_for_backups(folder: Path, bare: Run) -> None:
    sealed = Sealed()
    before = roots.root_in_file(folder)
    ran = bare("root-key", "change", "--to", "file")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("3 keys are wrapped with the new root key.\n")
    assert sealed.opens()
    assert roots.root_in_file(folder) != before
    assert former_files(folder) == [".key", ".passphrase"]
    shutil.copy(next(folder.glob("root.former-*.key")), folder / "root.key")
    shutil.copy(next(folder.glob("root.former-*.passphrase")), folder / "root.passphrase")
    assert roots.root_in_file(folder) == before
    assert not sealed.opens()


def test_a_passphrase_that_is_kept_elsewhere_is_asked_for_and_not_written(
    folder: Path, bare: Run, typed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "root.key").unlink()
    (folder / "root.passphrase").unlink()
    FileRootKey.create(folder / "root.key", FORMER)
    monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", FORMER)
    sealed = Sealed()
    ran = bare("root-key", "change", "--to", "file")
    assert ran.code == 0, ran.err
    assert NEW not in ran.out + ran.err
    assert not sealed.opens()
    monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", NEW)
    assert sealed.opens()
    assert not list(folder.glob("*.passphrase"))


def broken_off_everywhere(
    folder: Path, bare: Run, words: tuple[str, ...], after: Callable[[Sealed], None], again: Callable[[], None]
) -> int:
    """Kills the command at each of its steps in turn; `after` looks at what is left, `again` makes it as it was before the command."""
    for at in range(1, 100):
        sealed = Sealed()
        with killed(folder, at) as seen:
            try:
                bare("root-key", "change", *words)
                whole = seen.seen < at
            except Killed:
                whole = False
        after(sealed)
        if whole:
            return at
        again()
    raise AssertionError("it never came to its end")


def test_broken_off_anywhere_the_key_file_that_fits_is_taken(folder: Path, bare: Run) -> None:
    def after(sealed: Sealed) -> None:
        assert sealed.opens()
        assert bare("root-key", "change", "--to", "file").code == 0
        assert sealed.opens()
        assert not next_root.pending(folder)

    assert broken_off_everywhere(folder, bare, ("--to", "file"), after, lambda: None) > 14


def test_broken_off_anywhere_one_of_the_two_passphrases_is_the_one_that_is_needed(
    folder: Path, bare: Run, typed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def former() -> None:
        for path in folder.glob("root.*"):
            path.unlink()
        FileRootKey.create(folder / "root.key", FORMER)
        monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", FORMER)
        with sa.create_engine(read_settings().keys_url() or "").begin() as admin:
            admin.exec_driver_sql("delete from keys.dek; delete from keys.kek")

    seen = set()

    def after(sealed: Sealed) -> None:
        opened = []
        for passphrase in (FORMER, NEW):
            monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", passphrase)
            opened += [passphrase] if sealed.opens() else []
        assert len(opened) == 1
        seen.add(opened[0])
        monkeypatch.setenv("HUB_ROOT_KEY_PASSPHRASE", FORMER if opened == [NEW] else NEW)
        ran = bare("root-key", "change", "--to", "file")
        if next_root.pending(folder):
            refused(ran, "A change of the root key was interrupted", "Set HUB_ROOT_KEY_PASSPHRASE to that of the key that fits")
        else:
            refused(ran, "The passphrase does not open the root key file")

    former()
    assert broken_off_everywhere(folder, bare, ("--to", "file"), after, former) > 10
    assert seen == {FORMER, NEW}


def in_hsm(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODULE": token.module, "TOKEN": token.label, "PIN": PIN}.items():
        monkeypatch.setenv(f"HUB_ROOT_KEY_{name}", str(value))


def in_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODULE", "TOKEN", "LABEL", "PIN"):
        monkeypatch.delenv(f"HUB_ROOT_KEY_{name}", raising=False)


def test_from_a_file_to_an_hsm_and_back_broken_off_anywhere_one_of_them_opens(
    folder: Path, bare: Run, new_token: Callable[[], Token], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = new_token()
    create_in_hsm(folder, token.module, token.label, "concord-root", PIN)
    (folder / "pin").write_text(PIN)
    (folder / "pin").chmod(0o600)
    to_hsm = ("--to", "hsm", "--module", str(token.module), "--token", token.label, "--pin-file", str(folder / "pin"))
    places: dict[str, Callable[[], None]] = {"file": lambda: in_file(monkeypatch), "hsm": lambda: in_hsm(token, monkeypatch)}
    seen: list[str] = []

    def after(sealed: Sealed) -> None:
        opened = []
        for name, settings in places.items():
            settings()
            opened += [name] if sealed.opens() else []
        assert len(opened) == 1
        seen.append(opened[0])

    def back_to(place: str, words: tuple[str, ...]) -> Callable[[], None]:
        def again() -> None:
            places[seen[-1]]()
            if seen[-1] != place:
                assert bare("root-key", "change", *words).code == 0
                places[place]()

        return again

    places["file"]()
    broken_off_everywhere(folder, bare, to_hsm, after, back_to("file", ("--to", "file")))
    assert set(seen) == {"file", "hsm"}
    assert seen[-1] == "hsm"
    seen.clear()
    places["hsm"]()
    broken_off_everywhere(folder, bare, ("--to", "file"), after, back_to("hsm", to_hsm))
    assert set(seen) == {"file", "hsm"}
    assert seen[-1] == "file"


def test_from_one_key_of_an_hsm_to_another(
    folder: Path, bare: Run, new_token: Callable[[], Token], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = new_token()
    for label in ("concord-root", "root-2027"):
        create_in_hsm(folder, token.module, token.label, label, PIN)
    in_hsm(token, monkeypatch)
    sealed = Sealed()
    refused(bare("root-key", "change", "--to", "hsm"), "is the root key in use: make another one first")
    assert bare("root-key", "change", "--to", "hsm", "--label", "root-2027").code == 0
    assert not sealed.opens()
    monkeypatch.setenv("HUB_ROOT_KEY_LABEL", "root-2027")
    assert sealed.opens()


def test_settings_that_still_name_the_former_place_are_told_so(
    folder: Path, bare: Run, new_token: Callable[[], Token], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = new_token()
    create_in_hsm(folder, token.module, token.label, "concord-root", PIN)
    Sealed()
    monkeypatch.setenv("HUB_KEYD_DIR", str(folder))
    (folder / "root.pin").write_text(PIN)
    (folder / "root.pin").chmod(0o600)
    assert bare("root-key", "change", "--to", "hsm", "--module", token.module, "--token", token.label).code == 0
    told = "have been changed (hub root-key change) while the settings name the former one."
    refused(bare("keys", "status"), told, "was wrapped by a root key in an HSM")


def test_a_key_process_that_runs_refuses_the_change(folder: Path, bare: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "keyd.sock"))
        listener.listen()
        refused(bare("root-key", "change", "--to", "file"), "A key process listens at", "stop it")


def test_one_that_starts_meanwhile_has_it_broken_off(folder: Path, bare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, answers = Sealed(), iter([False, True])
    monkeypatch.setattr("hub.cli.root_change.listens", lambda _: next(answers))
    refused(bare("root-key", "change", "--to", "file"), "A key process listens at")
    assert sealed.opens()


def test_a_key_that_does_not_fit_leaves_all_as_it_was(folder: Path, bare: Run) -> None:
    sealed = Sealed()
    with sa.create_engine(read_settings().keys_url() or "").begin() as admin:
        admin.exec_driver_sql("update keys.kek set wrapped = set_byte(wrapped, 40, get_byte(wrapped, 40) # 1) where class = 0")
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    refused(bare("root-key", "change", "--to", "file"), "does not verify under this root key")
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before
    assert not sealed.opens()


def test_two_changes_at_once_are_refused(folder: Path, bare: Run) -> None:
    with next_root.alone(folder):
        refused(bare("root-key", "change", "--to", "file"), "being changed by another command")


def test_shares_are_not_made_of_a_key_that_is_being_changed(folder: Path, bare: Run, tmp_path: Path) -> None:
    next_root.make_next(folder, NEW)
    refused(
        bare("root-key", "split", "--shares", 3, "--needed", 2, "--to", tmp_path / "shares"), "A change of the root key was interrupted"
    )
