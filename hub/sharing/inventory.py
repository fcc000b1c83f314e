"""What the store holds of each revision, without a value of it, as SQL text: for hub/sharing/verify_store.py. Migrations hold it frozen."""

from hub.records import Record
from hub.released import AUDITOR
from hub.tables import SCHEMA, sealed_column, sealed_fields

_DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"


def inventory_sql(name: str, dataset: type[Record]) -> str:
    """`<dataset>_inventory`: revisions by their numbers; `<dataset>_listing`: all of them, page by page; `<dataset>_blind_left`: of which
    shredded records there are tags.
    """
    parts = _parts(name, dataset)
    held = "\n    union all ".join(
        f"select r.revision_no, r.id, r.rev, r.provider, '{part}', {digest} from {table} r where r.revision_no = any(p_numbers)"
        for part, table, digest in parts
    )
    listed = "\n    union all ".join(
        f"(select r.revision_no, r.id, r.rev, r.provider, '{part}' from {table} r where r.revision_no > p_after"
        " order by r.revision_no limit p_count)"
        for part, table, _ in parts
    )
    newest = ", ".join(f"(select max(x.revision_no) from {table} x where x.id = r.id)" for _, table, _ in parts)
    return f"""
-- What lies under these numbers, and where: of each revision the SHA-256 over its ciphertexts that went into the leaf of its publication.
create function {SCHEMA}.{name}_inventory(p_numbers bigint[])
returns table (revision_no bigint, id uuid, rev int, owner text, part text, digest bytea)
language sql stable {_DEFINER} as $$
  select r.revision_no, r.id, r.rev, o.slug, r.part, r.digest from (
    {held}) r(revision_no, id, rev, provider, part, digest)
  left join {SCHEMA}.organisations o on o.id = r.provider
$$;
-- The next revisions after a number, in their order; of each record the number of its newest revision and of its current one.
create function {SCHEMA}.{name}_listing(p_after bigint, p_count int)
returns table (revision_no bigint, id uuid, rev int, owner text, part text, newest bigint, current bigint)
language sql stable {_DEFINER} as $$
  select r.revision_no, r.id, r.rev, o.slug, r.part, greatest({newest}), (select c.revision_no from {SCHEMA}.{name} c where c.id = r.id)
  from (select * from (
    {listed}) u(revision_no, id, rev, provider, part) order by u.revision_no
        fetch first p_count rows with ties) r  -- a number that lies in two places stays on one page
  left join {SCHEMA}.organisations o on o.id = r.provider order by r.revision_no, r.part
$$;
-- Shredded records that the index for lookups still has tags of.
create function {SCHEMA}.{name}_blind_left() returns table (id uuid, owner text)
language sql stable {_DEFINER} as $$
  select distinct s.id, o.slug from {SCHEMA}.{name}_shredded s left join {SCHEMA}.organisations o on o.id = s.provider
  where exists (select from {SCHEMA}.{name}_blind b where b.id = s.id) order by s.id
$$;
revoke execute on function {SCHEMA}.{name}_inventory, {SCHEMA}.{name}_listing, {SCHEMA}.{name}_blind_left from public;
grant execute on function {SCHEMA}.{name}_inventory, {SCHEMA}.{name}_listing, {SCHEMA}.{name}_blind_left to {AUDITOR};
"""


def _parts(name: str, dataset: type[Record]) -> list[tuple[str, str, str]]:
    """Where revisions lie: the word for it, the table, and the digest of a row `r`."""
    digest = digest_sql(dataset)
    return [
        ("current", f"{SCHEMA}.{name}", digest),
        ("history", f"{SCHEMA}.{name}_history", digest),
        ("withdrawn", f"{SCHEMA}.{name}_withdrawn", "sha256('')"),
        ("shredded", f"{SCHEMA}.{name}_shredded", "r.digest"),
    ]


def digest_sql(dataset: type[Record]) -> str:
    """Of a row `r`, as `Revision.digest` in hub/sharing/incoming.py: field number (u16), length (u32) and ciphertext of each field that
    has one.
    """
    fields = (
        f"coalesce(int2send({f.number}::int2) || int4send(length(r.{sealed_column(f)})) || r.{sealed_column(f)}, '')"
        for f in sealed_fields(dataset)
    )
    return f"sha256({' || '.join(fields)})"
