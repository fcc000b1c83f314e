"""Copies what the key process signed into the log, where auditors read it."""

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from sqlalchemy import Engine

from hub.crypto.leaf_signer import LeafSigner
from hub.db import Transaction, transaction
from hub.errors import Tampered
from hub.leaf_chain import Signed

AT_ONCE: Final = 1_000
_ADD = """
insert into hub.leaf_signatures (n, event, leaf_hash, chain, key, signature)
select * from unnest(%s::bigint[], %s::uuid[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[]) on conflict (n) do nothing"""


class Copying:
    """Copies, and knows for how long the log has not taken what was signed: a log without the signatures doesn't show what was deleted."""

    def __init__(self, signer: LeafSigner, main: Engine, tick: Callable[[], float] = time.monotonic) -> None:
        self._signer, self._main, self._tick = signer, main, tick
        self._whole_at = tick()

    def run(self) -> None:
        """Copies what is there.

        Raises:
            Unavailable: one of the databases can't be reached; what was copied stays.
            Tampered: the log's last signature is not one that was made here, or it takes none.
        """
        began = self._tick()
        copy(self._signer, self._main)
        self._whole_at = began

    @property
    def behind_s(self) -> float:
        """Since when, seconds, something may be missing in the log: some tenths of a second when all is well."""
        return self._tick() - self._whole_at


def copy(signer: LeafSigner, main: Engine) -> int:
    """Copies every signature that the log lacks at its end; how many.

    Raises:
        Unavailable: one of the databases can't be reached; what was copied stays.
        Tampered: the log's last signature is not one that was made here, or it takes none.
    """
    copied = 0
    while True:
        with transaction(main) as tx:
            last = _last(tx, signer)
            signed = signer.after(last, AT_ONCE)
            if signed:
                _add(tx, signed)
                if _last(tx, signer) < signed[-1].n:  # more, where another process copies too
                    raise Tampered(f"The log doesn't take signatures: it has none after number {last}.")
                copied += len(signed)
        if len(signed) < AT_ONCE:
            return copied


def _last(tx: Transaction, signer: LeafSigner) -> int:
    """The number of the log's last signature, which must be the one that was made here."""
    found = tx.rows("select n, event::text, leaf_hash, chain, key, signature from hub.leaf_signatures order by n desc limit 1")
    if not found:
        return 0
    ((n, event, *raw),) = found
    if signer.after(n - 1, 1) != [Signed(n, UUID(event), *(bytes(b) for b in raw))]:
        raise Tampered(f"The log's signature {n} was not made by this key process.")
    return int(n)


def _add(tx: Transaction, signed: list[Signed]) -> None:
    columns = list(zip(*signed, strict=True))
    tx.rows(_ADD, (list(columns[0]), [str(event) for event in columns[1]], *(list(c) for c in columns[2:])))
