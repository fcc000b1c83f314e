"""Files that hold a secret: mode 0600, whole or not there, durable, never overwritten."""

import os
import secrets
from pathlib import Path


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
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name must survive a crash too, or all that the key protects is lost with it
    finally:
        os.close(folder)
