"""A new root key in a file, beside the one in use, while the keys are wrapped with it: killed anywhere, one of the two opens them.

    root.key, root.passphrase                  the root key in use; the passphrase only where nobody gives one
    root.next.key, root.next.passphrase        durable before the first key is wrapped with it; afterwards it is the one in use
    root.former-XXXXXXXX.key, ….passphrase     what was in use: opens backups of the keys made under it

The files are exchanged one by one, so for a moment the next key opens with what is the passphrase in use already. Whoever opens the root
key then tries what is there (`settled`), takes the one that fits the keys, and ends the exchange.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hub.crypto.providers import FileRootKey, RootKey, read_root
from hub.db import secret_file
from hub.errors import Refused

Fits = Callable[[RootKey], None]
"""Raises Refused for a root key that isn't that of the keys database."""
IN_USE: Final = ("root.key", "root.passphrase")
NEXT: Final = ("root.next.key", "root.next.passphrase")


def pending(folder: Path) -> bool:
    """Whether a change of the root key began and didn't end."""
    return (folder / NEXT[0]).exists()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One change at a time. Raises Refused while another one goes on."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused("The root key is being changed by another command.") from None
    finally:
        os.close(place)


def drop_next(folder: Path) -> None:
    """Throws away what an earlier try left: call it only when the key in use is known to fit, and nobody is about to change that."""
    for name in NEXT:
        (folder / name).unlink(missing_ok=True)


def make_next(folder: Path, passphrase: str | None) -> FileRootKey:
    """A new root key in `root.next.key`, under `passphrase` or one that is made and kept. Durable on return."""
    secret = secret_file(folder / NEXT[1]).hex() if passphrase is None else passphrase
    return FileRootKey.create(folder / NEXT[0], secret)


def take_next(folder: Path) -> None:
    """Puts the next root key in the place of the one in use, which is kept under another name. Broken off anywhere, it is called again."""
    key, passphrase = (folder / name for name in IN_USE)
    next_key, next_passphrase = (folder / name for name in NEXT)
    if key.exists():
        former = f"root.former-{hashlib.sha256(key.read_bytes()).hexdigest()[:8]}"
        _link(key, folder / f"{former}.key")
        if passphrase.exists():
            _link(passphrase, folder / f"{former}.passphrase")
    if next_passphrase.exists():
        next_passphrase.replace(passphrase)
    next_key.replace(key)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def former_root(path: Path, ask: Callable[[], str]) -> FileRootKey:
    """A root key that was in use once: its passphrase from the file of the same name beside it, or asked for. Raises Refused."""
    kept = path.with_suffix(".passphrase")
    return FileRootKey(read_root(path, secret_file(kept).hex() if kept.exists() else ask()))


def settled(folder: Path, passphrase: str | None, fits: Fits | None) -> bytes:
    """The root key while a change is pending: of those that open, the one that fits. If that is the next one, the change is ended.

    Raises:
        Refused: none opens and fits; says what was tried.
    """
    reasons = []
    for name in (IN_USE[0], NEXT[0]):
        if not (folder / name).exists():
            continue
        try:
            root = _opened(folder / name, _passphrases(folder) if passphrase is None else [passphrase])
            if fits is not None:
                fits(FileRootKey(root))
        except Refused as refused:
            reasons.append(f"{name}: {refused.detail}")
            continue
        if name == NEXT[0] and fits is not None:
            take_next(folder)
        return root
    which = "" if passphrase is None else " Set HUB_ROOT_KEY_PASSPHRASE to that of the key that fits: try the former and the new one."
    raise Refused(f"A change of the root key was interrupted, and neither key in {folder} opens and fits.{which} {' '.join(reasons)}")


def _opened(path: Path, passphrases: Sequence[str]) -> bytes:
    refused = Refused(f"There is no passphrase for {path}.")
    for passphrase in passphrases:
        try:
            return read_root(path, passphrase)
        except Refused as error:
            refused = error
    raise refused


def _passphrases(folder: Path) -> list[str]:
    return [secret_file(folder / name).hex() for name in (IN_USE[1], NEXT[1]) if (folder / name).exists()]


def _link(path: Path, name: Path) -> None:
    with suppress(FileExistsError):  # the exchange was broken off after this
        os.link(path, name)
