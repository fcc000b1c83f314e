"""Which witnesses cosign the log: who is registered, what came from them, how far each is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hub.audit.notes import WITNESS, BadNote, Checkpoint, Note, VerifierKey
from hub.db import Transaction
from hub.errors import Conflict, HubError, InvalidRequest

MAX_SIZE = 2**63
_STANDING = """
select w.name, w.key, w.added_at, last.size, last.at,
       (select extract(epoch from clock_timestamp() - c.at)::float8 from hub.checkpoints c where c.size > coalesce(last.size, 0)
        order by c.size limit 1)
from hub.witnesses w
left join lateral (select s.size, s.at from hub.cosignatures s where s.witness = w.name order by s.size desc limit 1) last on true
where w.removed_at is null order by w.name"""
_KEEP = "insert into hub.cosignatures (witness, size, line) values (%s, %s, %s) on conflict do nothing"


class NotThisLogs(HubError):
    """A note was sent that is no checkpoint which this log has published."""

    status, slug, title = 409, "not-this-log", "The checkpoint is not one of this log"


class NotAWitness(HubError):
    """A note was sent without a good signature of a witness that is registered here."""

    status, slug, title = 403, "not-a-witness", "No registered witness has signed that"


@dataclass(frozen=True)
class Witness:
    """A witness, and how far it is: the last checkpoint that it cosigned and when (None: none yet), for how long the first one after that
    has been waiting for it, seconds (None: it has cosigned the newest).
    """

    name: str
    key: str
    added_at: datetime
    size: int | None
    at: datetime | None
    lag_s: float | None


def add(tx: Transaction, name: str, key: str) -> VerifierKey:
    """Registers a witness. A name is good once, and a key for one witness: whoever had two would count as two.

    Raises:
        InvalidRequest: it is not the verifier key of a witness, or is called otherwise.
        Conflict: the name was given before, or another witness has the key.
    """
    try:
        found = VerifierKey.read(key)
    except BadNote as error:
        raise InvalidRequest(f"The key can't be read: {error}.", field="key") from None
    if found.kind != WITNESS:
        raise InvalidRequest("This is the key of a log, not of a witness.", field="key")
    if found.name != name:
        raise InvalidRequest(f"The key is called {found.name}: a witness is registered by the name that its signatures have.", field="name")
    for known, text, removed_at in tx.rows("select name, key, removed_at from hub.witnesses for update"):
        if known == name:
            how = "is registered already" if removed_at is None else "was removed; it comes back by another name, with a new key"
            raise Conflict(f"The witness {name} {how}.", field="name")
        if VerifierKey.read(text).public == found.public:
            raise Conflict(f"The key is that of the witness {known}.", field="key")
    tx.rows("insert into hub.witnesses (name, key) values (%s, %s)", (name, str(found)))
    return found


def remove(tx: Transaction, name: str) -> None:
    """From now on it counts no more, and what it cosigned doesn't either.

    Raises:
        InvalidRequest: no such witness is registered.
    """
    if not tx.rows("update hub.witnesses set removed_at = now() where name = %s and removed_at is null returning name", (name,)):
        raise InvalidRequest(f"No witness {name} is registered.", field="name")


def standing(tx: Transaction) -> list[Witness]:
    """The registered witnesses, by name."""
    return [Witness(*row) for row in tx.rows(_STANDING)]


def keep(tx: Transaction, note: Note) -> tuple[int, list[str]]:
    """Keeps the cosignatures in a note, each once; the checkpoint's size, and whose they are.

    Raises:
        BadNote: it is no checkpoint.
        NotThisLogs, NotAWitness
    """
    claimed = Checkpoint.read(note.text)
    stored = tx.rows("select note from hub.checkpoints where size = %s", (claimed.size,)) if claimed.size < MAX_SIZE else []
    if not stored or Note.read(stored[0][0]).text != note.text:
        raise NotThisLogs(f"This log has published no such checkpoint of {claimed.size} leaves.")
    known = _keys(tx)
    good = {s.name: s for s in note.signatures if s.name in known and Note(note.text, [s]).cosigned_at(known[s.name]) is not None}
    if not good:
        raise NotAWitness("None of the note's signatures is a good one of a witness that is registered here.")
    for name in sorted(good):  # in one order: two notes with the same witnesses wait for each other, not in a circle
        tx.rows(_KEEP, (name, claimed.size, good[name].line()))
    return claimed.size, sorted(good)


def _keys(tx: Transaction) -> Mapping[str, VerifierKey]:
    return {name: VerifierKey.read(key) for name, key in tx.rows("select name, key from hub.witnesses where removed_at is null")}
