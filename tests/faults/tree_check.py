"""What must hold of the log's tree after any crash: a bundle of the whole log, verified as an auditor does; every signed leaf is in it."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

from hub.audit.bundle import Trust
from hub.audit.export import Exporter, Wanted
from hub.audit.trust import trust_of
from hub.audit.verify import verify
from hub.db import connect, read_secrets
from hub.workers.sequencing import log_key
from tests.faults.stand import Stand, wait_until

WAITING = """
select (select count(*) from hub.log_pending) + (select count(*) from hub.audit_leaves l where not exists (
  select from hub.log_index i where i.leaf = l.id)), (select coalesce(max(n), 0) from hub.leaf_signatures)"""


def tree_faults(where: Stand) -> Iterator[str]:
    """One sentence for each thing that does not hold. Server at rest; the sequencer and the key process run."""
    ((last,),) = where.sql("select coalesce(max(n), 0) from keys.signed", url=where.addresses.keys)
    wait_until(lambda: where.sql(WAITING) == [(0, last)], "everything gets into the tree, and signatures are copied")
    database, signer = connect(where.addresses.main, read_secrets(where.settings.state_dir)), log_key(where.settings)
    try:
        trust = Trust.read(json.dumps(trust_of(database.auditor, signer.key, 0)))
        out = io.BytesIO()
        Exporter(database.auditor, signer).write(out, Wanted(None, (), {}), datetime.now(UTC))
    finally:
        database.dispose()
    found = verify(out, trust)
    yield from (f"tree: {sentence}" for sentence in found.wrong)
    if not found.whole or not found.entries:
        yield "tree: the bundle is not of the whole log"
