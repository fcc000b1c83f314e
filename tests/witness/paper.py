"""A log on paper: leaves in a list, checkpoints signed on demand, which answers as a hub does; and can be made to lie."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hub.audit.notes import Checkpoint, Note, Signer, VerifierKey
from hub.audit.tree import consistency, leaf_hash, root_of
from hub.witness.folder import Folder
from hub.witness.hub import NotTaken, Unreachable
from hub.witness.watching import Witness

ORIGIN, NAME = "hub.example/audit", "clinic.example/witness"
SIGNER = Signer(ORIGIN, bytes(32))
AT = 1_800_000_000


class Paper:
    """Has the methods of hub.witness.hub.Hub. `signed`: the sizes of which there is a checkpoint."""

    def __init__(self, leaves: Sequence[str], signer: Signer = SIGNER) -> None:
        self.leaves, self.signer = [leaf_hash(leaf.encode()) for leaf in leaves], signer
        self.signed = [len(leaves)]
        self.taken: list[Note] = []
        self.others: int | None = None
        self.down = self.unknown = self.lies = False

    def grow(self, *leaves: str) -> None:
        self.leaves += [leaf_hash(leaf.encode()) for leaf in leaves]
        self.signed.append(len(self.leaves))

    def note(self, size: int) -> Note:
        text = str(Checkpoint(self.signer.key.name, size, root_of(self.leaves[:size])))
        return Note(text, [self.signer.sign(text)])

    def checkpoint(self, **asked: str) -> Note | None:
        self._up()
        if "cosigned" in asked:
            return None if self.others is None else self.note(self.others)
        size = int(asked.get("size", self.signed[-1] if self.signed else 0))
        return self.note(size) if size in self.signed else None

    def consistency(self, first: int, second: int) -> list[bytes]:
        self._up()
        proof = consistency(first, second, lambda start, end: root_of(self.leaves[start:end]))
        return [bytes(32), *proof[1:]] if self.lies else proof

    def send(self, note: Note) -> None:
        self._up()
        if self.unknown:
            raise NotTaken("The hub doesn't take the cosignature: no registered witness.")
        self.taken.append(note)

    def _up(self) -> None:
        if self.down:
            raise Unreachable("The hub can't be reached.")

    def sizes(self, key: VerifierKey) -> list[int]:
        """Of what it was brought, each with a good signature of the witness and of the log."""
        assert all(note.cosigned_at(key) == AT and note.signed_by(self.signer.key) for note in self.taken)
        return [Checkpoint.read(note.text).size for note in self.taken]


def made(path: Path) -> Folder:
    folder = Folder(path)
    folder.make_key(NAME)
    return folder


def witness(paper: Paper, folder: Folder, log: VerifierKey = SIGNER.key, clock: Callable[[], float] = lambda: AT) -> Witness:
    return Witness(paper, log, folder, clock)  # type: ignore[arg-type]
