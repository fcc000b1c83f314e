"""Copies what the key process signed into the log, where auditors read it."""

from typing import Final

from sqlalchemy import Engine

from hub.crypto.leaf_signer import LeafSigner
from hub.db import Transaction, transaction
from hub.leaf_chain import Signed

AT_ONCE: Final = 1_000
_ADD = """
insert into hub.leaf_signatures (n, event, leaf_hash, chain, key, signature)
select * from unnest(%s::bigint[], %s::uuid[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[]) on conflict (n) do nothing"""


def copy(signer: LeafSigner, main: Engine) -> int:
    """Copies every signature that the log lacks at its end; how many.

    Raises:
        Unavailable: one of the databases can't be reached; what was copied stays.
    """
    copied = 0
    while True:
        with transaction(main) as tx:
            ((last,),) = tx.rows("select coalesce(max(n), 0) from hub.leaf_signatures")
            signed = signer.after(last, AT_ONCE)
            if signed:
                _add(tx, signed)
                copied += len(signed)
        if len(signed) < AT_ONCE:
            return copied


def _add(tx: Transaction, signed: list[Signed]) -> None:
    columns = list(zip(*signed, strict=True))
    tx.rows(_ADD, (list(columns[0]), [str(event) for event in columns[1]], *(list(c) for c in columns[2:])))
