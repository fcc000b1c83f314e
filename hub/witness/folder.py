"""A witness's own folder: its key, the checkpoint that it cosigned last, evidence when a log has forked.

witness.key      seed of its Ed25519 key, 32 bytes, mode 0600
witness.pub      its verifier key, for the operator of the hub
cosigned.note    the last checkpoint that it cosigned, with the log's signature and its own
evidence/        what a log showed that can't be honest; while something is in it, nothing is cosigned

The folder must never go back: a witness whose folder was put back to an earlier state could cosign two pasts. Make a new one instead.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hub.audit.notes import MAX_BYTES, BadNote, Cosigner, Note, VerifierKey
from hub.errors import Refused
from hub.private_file import read_private, replace, write_new

SEED_BYTES: Final = 32


class Folder:
    """The folder of one witness for one log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make_key(self, name: str) -> VerifierKey:
        """Makes the witness's key.

        Raises:
            Refused: there is one already, the name can't be one, or the folder can't be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            seed = secrets.token_bytes(SEED_BYTES)
            key = Cosigner(name, seed).key
            write_new(self.path / "witness.key", seed)
            replace(self._public, f"{key}\n".encode())
        except BadNote as error:
            raise Refused(f"{error}.") from None
        except FileExistsError:
            raise Refused(f"{self.path} has a witness's key already; a key is never overwritten.") from None
        except OSError as error:
            raise Refused(f"{self.path} can't be written: {error.strerror}.") from None
        return key

    def cosigner(self) -> Cosigner:
        """What signs with the witness's key.

        Raises:
            Refused: a file is missing, damaged or open to others.
        """
        seed = read_private(self.path / "witness.key", "key of the witness", SEED_BYTES)
        try:
            public = VerifierKey.read(self._public.read_text())
            found = Cosigner(public.name, seed)
        except (OSError, ValueError):
            raise Refused(f"The key of the witness in {self.path} is damaged.") from None
        if found.key != public:
            raise Refused(f"witness.key and witness.pub in {self.path} are not of one key.")
        return found

    def last(self, log: VerifierKey, own: VerifierKey) -> Note | None:
        """The last checkpoint that was cosigned; None: none yet.

        Raises:
            Refused: it is damaged, or another log's.
        """
        path = self.path / "cosigned.note"
        if not path.exists():
            return None
        try:
            note = Note.read(read_private(path, "last cosigned checkpoint", MAX_BYTES).decode())
        except ValueError:
            raise Refused(f"{path} is damaged. A witness that doesn't know what it cosigned must not go on: make a new one.") from None
        if not note.signed_by(log):
            raise Refused(f"{path} is not signed with the key of the log that was given: a folder is for one log.")
        if note.cosigned_at(own) is None:
            raise Refused(f"{path} is not cosigned with the key in that folder.")
        return note

    def keep(self, note: Note) -> None:
        """Makes `note` the last one that was cosigned. Durable on return."""
        _written(self.path / "cosigned.note", note)

    def keep_evidence(self, **notes: Note) -> None:
        """Keeps notes that can't all be honest, by names of their own."""
        self._evidence.mkdir(mode=0o700, exist_ok=True)
        for name, note in notes.items():
            _written(self._evidence / f"{name}.note", note)

    def evidence(self) -> list[Path]:
        """What is kept as evidence of a fork."""
        return sorted(self._evidence.glob("*.note"))

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts no other process works in this folder.

        Raises:
            Refused: one does, or there is no such folder.
        """
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(f"{self.path} can't be used: {error.strerror}. First: hub witness key.") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Refused(f"Another witness works in {self.path}.") from None
        finally:
            os.close(lock)

    @property
    def _public(self) -> Path:
        return self.path / "witness.pub"

    @property
    def _evidence(self) -> Path:
        return self.path / "evidence"


def _written(path: Path, note: Note) -> None:
    try:
        replace(path, str(note).encode())
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}. Nothing was cosigned.") from None
