"""What a witness does: it looks at the log's newest checkpoint, has it proved that all it saw before is in there unchanged, and cosigns.

What it cosigned is durable before the cosignature leaves: whatever kills it, it never cosigns two trees that don't go together. It also
cosigns the newest checkpoint that another witness did, so that a quorum meets on one although each comes at its own time.
"""

import threading
from collections.abc import Callable
from typing import Final

import structlog

from hub.audit.notes import BadNote, Checkpoint, Note, VerifierKey, verified
from hub.audit.tree import consistent
from hub.errors import HubError
from hub.witness.folder import Folder
from hub.witness.hub import Hub

LONGEST_PAUSE_S: Final = 60.0
_log = structlog.get_logger("hub.witness")


class Fork(HubError):
    """The log signed two trees of which one can't have grown into the other: it was rewritten. Nothing is cosigned from then on."""

    slug, title = "fork", "The log has forked"


class Doubtful(HubError):
    """A checkpoint is not signed by the log, is smaller than one before, or is not proved to go on from it. It isn't cosigned."""

    slug, title = "doubtful-checkpoint", "The checkpoint is not cosigned"


class Witness:
    """A witness at work; its folder is held by whoever calls. `clock`: seconds since 1970."""

    def __init__(self, hub: Hub, log: VerifierKey, folder: Folder, clock: Callable[[], float]) -> None:
        """Raises Refused: its folder is damaged. Fork: it holds the evidence of one."""
        self._hub, self._log, self._folder, self._clock = hub, log, folder, clock
        self._cosigner = folder.cosigner()
        self._last, self._taken = folder.last(log, self._cosigner.key), False
        if folder.evidence():
            raise Fork(f"The log {log.name} has forked; {self._given_up()}")

    @property
    def last(self) -> Checkpoint | None:
        """What it cosigned last."""
        return None if self._last is None else Checkpoint.read(self._last.text)

    def look(self) -> None:
        """Cosigns what the log shows, if it is honest, and brings the cosignatures to the hub.

        Raises:
            Fork: the log was rewritten; the evidence is kept.
            Doubtful: it may have been; nothing was cosigned.
            Unreachable, NotTaken: the hub doesn't answer, or doesn't take it; it can be tried again.
        """
        others = self._shown(cosigned="true")
        newest = self._shown()
        if others is not None:
            self._consider(others, newest=False)
        if newest is not None:
            self._consider(newest, newest=True)
        elif self.last is not None:
            raise Doubtful(f"The log shows no checkpoint; it had {self.last.size} leaves.")
        self._bring()

    def _shown(self, **asked: str) -> Note | None:
        note = self._hub.checkpoint(**asked)
        if note is not None:
            self._check_signed(note)
        return note

    def _check_signed(self, note: Note) -> None:
        try:
            origin = Checkpoint.read(note.text).origin
        except BadNote as error:
            raise Doubtful(f"The hub shows what is no checkpoint: {error}.") from None
        if origin != self._log.name or not note.signed_by(self._log):
            raise Doubtful(f"The hub shows a checkpoint of {origin} that is not signed with the key {self._log}.")

    def _consider(self, note: Note, newest: bool) -> None:
        shown, last = Checkpoint.read(note.text), self.last
        if last is not None:
            if shown.size == last.size:
                if shown.root != last.root:
                    self._forked(note)
                return
            if shown.size < last.size:
                if newest:
                    raise Doubtful(f"The log shows {shown.size} leaves, and has shown {last.size} before. That isn't cosigned.")
                return
            if not consistent(last.size, last.root, shown.size, shown.root, self._hub.consistency(last.size, shown.size)):
                self._unproved(note, last)
        self._cosign(note)

    def _unproved(self, note: Note, last: Checkpoint) -> None:
        """The proof is wrong. If the log signed another tree of the size that was cosigned, that is a fork."""
        then = self._hub.checkpoint(size=str(last.size))
        if then is not None:
            self._check_signed(then)
            now = Checkpoint.read(then.text)
            if now.size == last.size and now.root != last.root:
                self._forked(then, later=note)
        raise Doubtful(
            f"The log doesn't prove that its tree of {Checkpoint.read(note.text).size} leaves goes on from the one of {last.size} that was "
            "cosigned. That isn't cosigned."
        )

    def _forked(self, shown: Note, **more: Note) -> None:
        if self._last is not None:
            self._folder.keep_evidence(cosigned=self._last, shown=shown, **more)
        size = Checkpoint.read(shown.text).size
        raise Fork(f"THE LOG {self._log.name} HAS FORKED: it signed two trees of {size} leaves; {self._given_up()}")

    def _given_up(self) -> str:
        return f"the evidence is in {self._folder.path / 'evidence'}. This witness cosigns nothing of it any more."

    def _cosign(self, note: Note) -> None:
        logs = next(s for s in note.signatures if verified(note.text, s, self._log))
        cosigned = Note(note.text, [logs, self._cosigner.sign(note.text, int(self._clock()))])
        self._folder.keep(cosigned)
        self._last, self._taken = cosigned, False
        self._bring()

    def _bring(self) -> None:
        if self._last is not None and not self._taken:
            self._hub.send(self._last)
            self._taken = True


def run(witness: Witness, every_s: float, stopped: threading.Event) -> None:
    """Looks every `every_s` seconds until it is stopped; after failures less and less often, a minute at most.

    Raises:
        Fork
    """
    failed, said = 0, None
    while not stopped.is_set():
        try:
            witness.look()
            if failed or said is None:
                _log.info("cosigns", size=witness.last.size if witness.last else 0)
            failed, said = 0, ""
        except Fork:
            raise
        except HubError as error:
            failed += 1
            if said != error.detail:  # once, not every minute
                _log.error(error.slug, why=error.detail)
            said = error.detail
        stopped.wait(min(every_s * 2 ** min(failed, 10), max(LONGEST_PAUSE_S, every_s)))
