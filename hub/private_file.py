"""Files that hold a secret: mode 0600, whole or not there, durable; overwritten only by `replace`."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hub.errors import Refused


def write_new(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, which must not exist; whoever reads it, however early, reads all of it.

    Raises:
        FileExistsError: somebody was first; theirs stays.
        OSError: the folder can't be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # a rename would replace the first one's key
    finally:
        draft.unlink()
    _make_durable(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Puts `content` in place of `path`, which need not exist; a crash leaves the former or the new content, whole.

    Raises:
        OSError: the folder can't be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _make_durable(path.parent)


@contextmanager
def growing(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, which is at `path`, durable and mode 0600, once all went well; else nothing is there.

    Raises:
        FileExistsError: something is at `path`, before or at the end.
        OSError: the folder can't be written, or is full.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _make_durable(path.parent)


def _make_durable(path: Path) -> None:
    """The names in a folder must survive a crash too, or all that a key protects is lost with it."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_private(path: Path, what: str, most: int) -> bytes:
    """Up to `most` + 1 bytes of `path`. Checks the opened file, not its name, so that nothing can be swapped in between.

    Raises:
        Refused: absent, a link, no regular file, or open to others than its owner; `what` names it in the sentence.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"The {what} {path} is not a regular file.")
            if status.st_mode & 0o077:
                raise Refused(f"The {what} {path} is open to others than its owner: set its mode to 0600.")
            return file.read(most + 1)
    except OSError as error:
        raise Refused(f"The {what} {path} cannot be read: {error.strerror}.") from None
