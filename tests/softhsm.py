"""Real tokens of SoftHSM2, the reference PKCS#11 token in software: each in a folder of the test's own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pkcs11
import pytest

MODULE = next(iter(Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")), Path("/usr/lib/softhsm/libsofthsm2.so"))
PIN, OFFICER_PIN = "made-up-1234", "made-up-5678"
_numbers = count(1)


@dataclass(frozen=True)
class Token:
    """A token that was initialised and holds nothing yet."""

    folder: Path
    label: str
    pin: str = PIN
    module: Path = MODULE

    @property
    def stored(self) -> Path:
        """Where SoftHSM keeps its tokens: to have them taken away."""
        return self.folder / "tokens"

    def place(self, label: str = "concord-root", **changed: Any) -> tuple[Path, str, str, str]:
        """What opens the root key: library, token, PIN, label of the key."""
        given = {"module": self.module, "token": self.label, "pin": self.pin, "label": label, **changed}
        return given["module"], given["token"], given["pin"], given["label"]

    def new_pin(self, pin: str) -> None:
        with self.session() as session:
            session.set_pin(self.pin, pin)

    @contextmanager
    def session(self) -> Iterator[pkcs11.Session]:
        """For whatever else is done to a token."""
        (found,) = pkcs11.lib(str(self.module)).get_tokens(token_label=self.label)
        try:
            session = found.open(rw=True, user_pin=self.pin)
        except pkcs11.UserAlreadyLoggedIn:
            session = found.open(rw=True)
        yield session


def forget_login(token: Token) -> None:
    """Leaves the process as a new one is: logged in nowhere."""
    pkcs11.lib(str(token.module)).reinitialize()


def tool(*words: object) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def tokens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Token]:
    """Makes tokens in `folder`. They have labels of their own: what PKCS#11 knows belongs to the whole process."""
    assert MODULE.exists(), "tests need the package softhsm2: run scripts/setup dev"
    (folder / "tokens").mkdir(parents=True)
    configure(folder)
    monkeypatch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))

    def token(label: str | None = None) -> Token:
        made = Token(folder, label or f"test-{os.getpid()}-{next(_numbers)}")
        tool("softhsm2-util", "--init-token", "--free", "--label", made.label, "--pin", PIN, "--so-pin", OFFICER_PIN)
        pkcs11.lib(str(MODULE)).reinitialize()  # which looks for tokens only when it starts
        return made

    return token


def configure(folder: Path, *more: str) -> None:
    lines = (f"directories.tokendir = {folder / 'tokens'}", "objectstore.backend = file", "log.level = ERROR", *more)
    (folder / "softhsm2.conf").write_text("\n".join(lines) + "\n")


def remove(token: Token) -> Path:
    """Takes all tokens away, as when a cable is pulled; gives where they are."""
    away = token.folder / "away"
    shutil.move(token.stored, away)
    token.stored.mkdir()
    return away


def give_back(token: Token, away: Path) -> None:
    token.stored.rmdir()
    shutil.move(away, token.stored)


def damage_key(token: Token) -> None:
    """Makes the token's one key unreadable to the token itself, while it is in use."""
    (path,) = [path for path in token.stored.rglob("*.object") if path.name != "token.object"]
    content = bytearray(path.read_bytes())
    content[:8] = (int.from_bytes(content[:8], "big") + 1).to_bytes(8, "big")  # SoftHSM's count of changes: it reads the file again
    value = content.index((0x11).to_bytes(8, "big")) + 24  # CKA_VALUE: type, kind, length; then IV, key and padding in AES-CBC
    content[value + 40] ^= 1  # of the block before the padding
    path.write_bytes(content)
