"""What a hub says of its own keys, for a trust file: to be compared with what others say, before it is believed."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from hub.audit import bundle
from hub.audit.notes import VerifierKey
from hub.db import transaction

_UNSIGNED = """
select coalesce(max(i.idx) + 1, 0) from hub.log_index i join hub.audit_leaves l on l.id = i.leaf
where l.type = any(%s) and l.leaf::jsonb#>>'{by,client}' is distinct from 'cli' and i.idx < (
  select coalesce(min(i.idx), 0) from hub.leaf_signatures s join hub.log_index i using (leaf_hash)
  where s.n = (select min(n) from hub.leaf_signatures))"""


def trust_of(engine: Engine, log: VerifierKey, quorum: int) -> Mapping[str, Any]:
    """The members of a trust file; `engine` is the auditor's."""
    with transaction(engine) as tx:
        keyd = [bytes(key).hex() for (key,) in tx.rows("select distinct key from hub.leaf_signatures")]
        witnesses = [key for (key,) in tx.rows("select key from hub.witnesses where removed_at is null order by name")]
        parties: dict[str, list[Any]] = {}
        for organisation, jwk in tx.rows("select * from hub.keys_of_parties()"):
            parties.setdefault(organisation, []).append(jwk)
        ((signed_from,),) = tx.rows(_UNSIGNED, (list(bundle.DISCLOSING),))
    return {
        "v": bundle.VERSION,
        "log": str(log),
        "keyd": keyd,
        "witnesses": witnesses,
        "quorum": quorum,
        "signed_from": signed_from,
        "parties": parties,
    }
