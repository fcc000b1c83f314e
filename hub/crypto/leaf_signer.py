"""Signs leaves before keys are lent, counts them and chains them, so that a leaf which goes missing later is missed
(hub/leaf_chain.py).

Each entry is durable in the keys database before its signature is given to anybody; a copy goes into the log (hub/workers/copying.py).
"""

from collections import deque
from collections.abc import Sequence
from threading import Lock
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg2 import Binary, IntegrityError
from sqlalchemy import Engine, text

from hub.db import passing_faults, transaction
from hub.leaf_chain import NOTHING, Signed, chained, statement

_HEAD = text("SELECT n, chain FROM keys.signed ORDER BY n DESC LIMIT 1")
_ADD = """
as insert into keys.signed (n, event, leaf_hash, chain, key, signature)
select u.n, u.event, u.leaf_hash, u.chain, $1, u.signature
from unnest($2::bigint[], $3::uuid[], $4::bytea[], $5::bytea[], $6::bytea[]) as u(n, event, leaf_hash, chain, signature)"""
_AFTER = text("SELECT n, event, leaf_hash, chain, key, signature FROM keys.signed WHERE n > :n ORDER BY n LIMIT :most")


class _Asked:
    """The leaves of one event, waiting to be signed; what came of it."""

    def __init__(self, event: UUID, hashes: Sequence[bytes]) -> None:
        self.event, self.hashes = event, hashes
        self.made: list[Signed] | None = None


class LeafSigner:
    """Thread-safe; processes that sign at once for one keys database get places in one chain. Whoever comes while an entry is being stored
    waits, and is stored together with all who wait: so the disk's time for one is the time for many.
    """

    def __init__(self, seed: bytes, engine: Engine) -> None:
        self._key, self._engine, self._lock = Ed25519PrivateKey.from_private_bytes(seed), engine, Lock()
        self._head: tuple[int, bytes] | None = None
        self._waiting: deque[_Asked] = deque()
        self.public = self._key.public_key().public_bytes_raw()
        """The public key, 32 bytes."""

    def sign(self, event: UUID, hashes: Sequence[bytes]) -> list[Signed]:
        """Signs the leaves of `event`; durable on return.

        Raises:
            Unavailable: the keys database can't be reached.
        """
        asked = _Asked(event, hashes)
        self._waiting.append(asked)
        with self._lock, passing_faults():
            if asked.made is None:  # nobody signed it along with its own
                batch = [asked, *(other for other in self._taken() if other is not asked)]
                for one, made in zip(batch, self._signed(batch), strict=True):
                    one.made = made
        return asked.made or []

    def _taken(self) -> list[_Asked]:
        """Who waits. One whose own thread failed to be stored is signed by its own thread again, or by nobody."""
        found = []
        while self._waiting:
            found.append(self._waiting.popleft())
        return found

    def _signed(self, batch: Sequence[_Asked]) -> list[list[Signed]]:
        while True:
            head = self._head or self._read_head()
            made, last = [], head
            for asked in batch:
                made.append(self._made(last, asked.event, asked.hashes))
                last = (made[-1][-1].n, made[-1][-1].chain) if made[-1] else last
            self._head = None  # until it is known that they are there
            try:
                self._store([signed for one in made for signed in one])
            except IntegrityError:
                continue  # another process took these places
            self._head = last
            return made

    def after(self, n: int, most: int) -> list[Signed]:
        """The entries after place `n`, `most` at most, in their order."""
        with passing_faults(), self._engine.connect() as connection:
            rows = connection.execute(_AFTER, {"n": n, "most": most}).all()
        return [Signed(r.n, UUID(str(r.event)), *(bytes(b) for b in r[2:])) for r in rows]

    def _made(self, head: tuple[int, bytes], event: UUID, hashes: Sequence[bytes]) -> list[Signed]:
        (n, chain), made, public = head, [], self.public
        for leaf_hash in hashes:
            n, chain = n + 1, chained(chain, n + 1, leaf_hash)
            made.append(Signed(n, event, leaf_hash, chain, public, self._key.sign(statement(n, leaf_hash, chain))))
        return made

    def _read_head(self) -> tuple[int, bytes]:
        with self._engine.connect() as connection:
            row = connection.execute(_HEAD).one_or_none()
        return (row.n, bytes(row.chain)) if row else NOTHING

    def _store(self, made: Sequence[Signed]) -> None:
        """One statement, which is its own transaction. Raises IntegrityError: a place is taken."""
        values = (
            Binary(self.public),
            [s.n for s in made],
            "{" + ",".join(str(s.event) for s in made) + "}",
            [Binary(s.leaf_hash) for s in made],
            [Binary(s.chain) for s in made],
            [Binary(s.signature) for s in made],
        )
        with transaction(self._engine) as tx:
            tx.prepare("sign", _ADD)
            tx.rows("execute sign(%s, %s, %s, %s, %s, %s)", values)
