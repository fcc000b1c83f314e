"""What an operator does with the keys beside the key process: looks at them, rotates them, verifies every one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Engine, text

from hub.crypto.keyring import Dek, Keyring
from hub.crypto.leaf_signer import LeafSigner
from hub.crypto.providers import RootKey
from hub.crypto.rotation import Rotation
from hub.datasets import DATASETS
from hub.db import connect_keyd, passing_faults, read_roles_secret, transaction
from hub.errors import HubError
from hub.leaf_chain import NOTHING, genuine
from hub.settings import Settings
from hub.setup import Addresses, keyd_folder, open_root_key

AT_ONCE = 5_000
_DEKS = text("""
    select d.record, d.class, d.rev, k.owner from keys.dek d join keys.kek k using (kek_id)
    where k.destroyed_at is null and (d.record, d.class, d.rev) > (cast(:record as uuid), :cls, :rev)
    order by d.record, d.class, d.rev limit :most""")
_KEYLESS = text("""
    select u.record::text, u.rev from unnest(cast(:records as uuid[]), cast(:revs as int[])) u(record, rev)
    where not exists (select from keys.dek d where (d.record, d.rev) = (u.record, u.rev))
      and not exists (select from keys.shredded s where s.record = u.record) order by u.record, u.rev""")
_GONE = """
select u.n from unnest(%s::bigint[], %s::bytea[]) u(n, leaf_hash)
where not exists (select from hub.audit_leaves l where l.event = any(%s::uuid[]) and l.leaf_hash = u.leaf_hash) order by u.n"""


@dataclass(frozen=True)
class Held:
    """The keys, opened."""

    root: RootKey
    keyring: Keyring
    rotation: Rotation
    signer: LeafSigner
    keys: Engine
    main: Engine


@contextmanager
def held(settings: Settings, addresses: Addresses) -> Iterator[Held]:
    """The keys, for one command. Run it as the key process's user.

    Raises:
        Refused: a key file is missing or can't be opened, or the root key isn't that of the keys.
    """
    root = fitting_root_key(settings, addresses)
    database = connect_keyd(addresses.main, addresses.keys, read_roles_secret(keyd_folder(settings)), pool_size=2)
    try:
        keyring = Keyring(root, database.keys)
        keyring.check()
        signer = LeafSigner(keyring.signing_seed(), database.keys)
        yield Held(root, keyring, Rotation(root, database.keys), signer, database.keys, database.main)
    finally:
        database.dispose()


def fitting_root_key(settings: Settings, addresses: Addresses) -> RootKey:
    """The root key; after a change that was interrupted, the one of the two that fits the keys. Raises Refused as `held` does."""

    def fits(root: RootKey) -> None:
        database = connect_keyd(addresses.main, addresses.keys, read_roles_secret(keyd_folder(settings)), pool_size=1)
        try:
            Keyring(root, database.keys).check()
        finally:
            database.dispose()

    return open_root_key(settings, fits)


@dataclass
class Verified:
    """What was looked at, and what was wrong, a sentence each."""

    deks: int = 0
    revisions: int = 0
    signatures: int = 0
    wrong: list[str] = field(default_factory=list)


def verify(opened: Held, log: Engine) -> Verified:
    """Unwraps every DEK, its commitment included; looks for the keys of each stored revision; verifies the chain of signatures; looks for
    each signed leaf in the log. `log`, an engine of the auditor's role, reads store and log.
    """
    found = Verified()
    _verify_deks(opened, found)
    for dataset in DATASETS:
        _verify_stored(opened, log, dataset, found)
    _verify_signatures(opened, log, found)
    return found


def _verify_deks(opened: Held, found: Verified) -> None:
    at = (UUID(int=0), 0, -1)
    while True:
        with passing_faults(), opened.keys.connect() as connection:
            rows = connection.execute(_DEKS, {"record": str(at[0]), "cls": at[1], "rev": at[2], "most": AT_ONCE}).all()
        deks = [Dek(UUID(str(owner)), UUID(str(record)), cls, rev) for record, cls, rev, owner in rows]
        if not deks:
            return
        found.deks += len(deks)
        found.wrong += _wrong(opened.keyring, deks)
        at = (deks[-1].record, deks[-1].cls, deks[-1].rev)


def _wrong(keyring: Keyring, deks: list[Dek]) -> Iterator[str]:
    try:
        keyring.lend(deks)
    except HubError as error:
        if len(deks) == 1:
            yield f"record {deks[0].record}, class {deks[0].cls}, revision {deks[0].rev}: {error.detail}"
            return
        middle = len(deks) // 2
        yield from _wrong(keyring, deks[:middle])
        yield from _wrong(keyring, deks[middle:])


def _verify_stored(opened: Held, log: Engine, dataset: str, found: Verified) -> None:
    """A key is durable before what it seals is stored, so each revision has one, unless its record was shredded."""
    after = -1
    while True:
        with transaction(log) as tx:
            page = tx.rows(f"select revision_no, id::text, rev, part from hub.{dataset}_listing(%s, %s)", (after, AT_ONCE))  # noqa: S608
        if not page:
            return
        after = page[-1][0]
        rows = [(record, rev) for _, record, rev, part in page if part in ("current", "history")]
        found.revisions += len(rows)
        with passing_faults(), opened.keys.connect() as connection:
            asked = {"records": [record for record, _ in rows], "revs": [rev for _, rev in rows]}
            for record, rev in connection.execute(_KEYLESS, asked):
                found.wrong.append(f"record {record}, revision {rev}: its keys are gone, and it was not shredded")


def _verify_signatures(opened: Held, log: Engine, found: Verified) -> None:
    n, chain = NOTHING
    while entries := opened.signer.after(n, AT_ONCE):
        for entry in entries:
            if not genuine(entry, n, chain):
                found.wrong.append(f"signature {entry.n} doesn't follow from the one before, or doesn't verify")
            n, chain = entry.n, entry.chain
        found.signatures += len(entries)
        with transaction(log) as tx:
            columns = ([e.n for e in entries], [e.leaf_hash for e in entries], list({str(e.event) for e in entries}))
            for (gone,) in tx.rows(_GONE, columns):
                found.wrong.append(f"the leaf of signature {gone} is not in the log")
