"""The functions by which a dataset is written, as SQL text: known, store, withdraw, relabel. Migrations hold it frozen.

The writer's role has no right on the tables: it calls these. Whoever stores takes advisory lock 2 shared;
whoever changes rules takes it alone, so no record is stored with the labels of rules that are being replaced.
"""

from hub.geo import cells_sql
from hub.records import Record
from hub.released import AGREEMENTS, AUDITOR, PATHS, READER, WRITER, context_sql, view_sql
from hub.sharing.blind import blind_sql
from hub.sharing.counting import counts_sql
from hub.sharing.covered import covered_sql
from hub.sharing.inventory import inventory_sql
from hub.sharing.labels import SQL_TYPES, alike_sql, label_sql, labels_of, rule_columns, rules_sql, tested_sql
from hub.sharing.recalled import CONTENT_MAC, FIELD_MAC, owes_sql, recall_sql
from hub.sharing.shredded import shred_sql
from hub.tables import CELL_COLUMNS, SCHEMA, clear_fields, sealed_column, sealed_fields

WRITING = ("known", "known_id", "lock", "store", "withdraw", "receipts")
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"


def dataset_sql(name: str, dataset: type[Record]) -> str:
    """Everything of a dataset but its tables, to be run as the owner after them."""
    return "".join(
        [
            rules_sql(name, dataset),
            label_sql(name, dataset),
            context_sql(name, dataset),
            *(view_sql(name, dataset, path) for path in PATHS),
            counts_sql(name, dataset),
            _known_sql(name),
            recall_sql(name, dataset),
            _store_sql(name, dataset),
            _withdraw_sql(name, dataset),
            _relabel_sql(name, dataset),
            _receipts_sql(name),
            _revisions_sql(name),
            _trace_sql(name, dataset),
            shred_sql(name, dataset),
            blind_sql(name, dataset),
            _index_sql(name),
            _rights_sql(name, dataset),
            covered_sql(name),
            inventory_sql(name, dataset),
        ]
    )


def geometry_sql() -> str:
    """The functions of hub/geo.py that every dataset uses."""
    return cells_sql(SCHEMA)


def _known_sql(name: str) -> str:
    columns = "external_id, {0}.id, {0}.rev, {0}.revision_no"
    latest = f"""not exists (select from {SCHEMA}.{name} i where i.id = w.id)
    and not exists (select from {SCHEMA}.{name}_withdrawn x where x.id = w.id and x.rev > w.rev)"""
    return f"""
-- What a provider has under these external ids, or under this id: current revisions and, where a record is withdrawn, its tombstone
-- (no content). Nothing is locked: the store refuses a revision that is not the next.
create function {SCHEMA}.{name}_known(p_provider int, p_external_ids text[])
returns table (external_id text, id uuid, rev int, revision_no bigint, content_mac bytea)
language sql stable {DEFINER} as $$
  select i.{columns.format("i")}, i.content_mac from {SCHEMA}.{name} i
  where i.provider = p_provider and i.external_id = any(p_external_ids)
  union all
  select w.{columns.format("w")}, null from {SCHEMA}.{name}_withdrawn w
  where w.provider = p_provider and w.external_id = any(p_external_ids) and {latest}
$$;
-- The same records, locked until the transaction ends: for an attempt after one that came too late.
create function {SCHEMA}.{name}_lock(p_provider int, p_external_ids text[]) returns void
language plpgsql volatile {DEFINER} as $$
begin
  perform pg_advisory_xact_lock_shared(7201, 2);  -- before any row, as the store does: an MOU that comes into force locks in this order
  perform from {SCHEMA}.{name} i where i.provider = p_provider and i.external_id = any(p_external_ids) order by i.id for update;
  perform from {SCHEMA}.{name}_withdrawn w where w.provider = p_provider and w.external_id = any(p_external_ids)
  order by w.id, w.rev for update;
end $$;
create function {SCHEMA}.{name}_known_id(p_provider int, p_id uuid)
returns table (external_id text, id uuid, rev int, revision_no bigint, content_mac bytea)
language sql stable {DEFINER} as $$
  select i.{columns.format("i")}, i.content_mac from {SCHEMA}.{name} i where i.id = p_id and i.provider = p_provider
$$;
"""


def store_parameters(dataset: type[Record]) -> list[tuple[str, str]]:
    """The parameters of the store function: (name, SQL type). Arrays have one element a record. Ciphertext comes in one piece, with
    where each field's begins in it (from 1) and its length.
    """
    fixed = [("provider", "int"), ("id", "uuid[]"), ("rev", "int[]"), ("macs", "bytea"), ("cell_row", "int[]"), ("cell_column", "int[]")]
    fixed += [("kept_until", "date[]")]
    clear = [(f.name, f"{SQL_TYPES[f.kind]}[]") for f in clear_fields(dataset)]
    sealed = [(f"{sealed_column(f)}_{part}", "int[]") for f in sealed_fields(dataset) for part in ("at", "length")]
    return [*fixed, *clear, ("ciphertext", "bytea"), *sealed]


def _values(dataset: type[Record]) -> list[str]:
    return [f.name for f in clear_fields(dataset)] + [sealed_column(f) for f in sealed_fields(dataset)]


def _kept(dataset: type[Record]) -> list[str]:
    """The columns that the history keeps of a revision, besides id and rev."""
    return ["revision_no", "provider", "content_mac", "k2", *CELL_COLUMNS.values(), *_values(dataset), "published_at", "kept_until"]


def _store_sql(name: str, dataset: type[Record]) -> str:
    values, kept = _values(dataset), _kept(dataset)
    arrays = [n for n, t in store_parameters(dataset) if t.endswith("[]")]
    ciphers = ", ".join(
        f"substring(p_ciphertext from u.{c}_at for u.{c}_length) as {c}" for c in (sealed_column(f) for f in sealed_fields(dataset))
    )
    cells = ", ".join(f"{SCHEMA}.cell_centre(a.cell_row, a.cell_column, {m}) as {c}" for m, c in CELL_COLUMNS.items())
    alike = alike_sql(dataset, "tested", lambda n: f"c.{n}" if n in CELL_COLUMNS.values() else f"a.{n}")
    labels = labels_of(name, dataset, "p_provider", lambda n: f"b.{n}")
    width = CONTENT_MAC + FIELD_MAC * len(sealed_fields(dataset))
    update = ", ".join(f"{c} = excluded.{c}" for c in ["rev", *kept, "released"])
    return f"""
-- Stores a batch as the current revisions and gives their numbers, in the batch's order; former ones move to the history. A revision
-- that is not the next of its record is refused (40001): somebody else was faster. Records that agree in all that rules test are labelled
-- once; joining them back by nested loops would cost more than it saves.
create function {SCHEMA}.{name}_store({", ".join(f"p_{n} {t}" for n, t in store_parameters(dataset))})
returns table (id uuid, revision_no bigint)
language plpgsql volatile {DEFINER} set enable_nestloop = off as $$
#variable_conflict use_column
declare former uuid[]; fresh uuid[]; before jsonb; moved int; returned int; stored int; earlier int; tested text[];
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  if not exists (select from {SCHEMA}.organisations o where o.id = p_provider) then
    raise exception 'there is no such organisation' using errcode = '23503';
  end if;
  former := array(select u.id from unnest(p_id, p_rev) u(id, rev) where u.rev > 1);
  if former <> '{{}}' then
    -- In one order, so that two batches wait for each other and not in a circle.
    perform from {SCHEMA}.{name} i where i.id = any(former) order by i.id for update;
    perform from {SCHEMA}.{name}_withdrawn w where w.id = any(former) order by w.id, w.rev for update;
    insert into {SCHEMA}.{name}_history (id, rev, {", ".join(kept)})
    select i.id, i.rev, {", ".join(f"i.{c}" for c in kept)} from {SCHEMA}.{name} i
    join unnest(p_id, p_rev) u(id, rev) on u.id = i.id where i.id = any(former) and i.rev = u.rev - 1 and i.provider = p_provider;
    get diagnostics moved = row_count;
    delete from {SCHEMA}.{name}_blind b using unnest(p_id, p_rev) u(id, rev) where b.id = u.id and b.id = any(former) and b.rev < u.rev;
    if {owes_sql()} then
      before := (select jsonb_object_agg(i.id, to_jsonb(i.released)) from {SCHEMA}.{name} i where i.id = any(former));
    end if;
    select count(*) into returned from unnest(p_id, p_rev) u(id, rev)
    join {SCHEMA}.{name}_withdrawn w on w.id = u.id and w.rev = u.rev - 1 and w.provider = p_provider
    where w.id = any(former) and not exists (select from {SCHEMA}.{name} i where i.id = any(former) and i.id = u.id)
      and not exists (select from {SCHEMA}.{name}_withdrawn x where x.id = any(former) and x.id = u.id and x.rev >= u.rev);
    if moved + returned <> cardinality(former) then
      raise exception 'another revision came first' using errcode = '40001';
    end if;
  end if;
  tested := ({tested_sql(name, dataset, "p_provider")});
  return query
  with a as (
    select u.*, substring(p_macs from {width} * (u.n::int - 1) + 1 for {width}) as content_mac, {ciphers}
    from unnest({", ".join(f"p_{n}" for n in arrays)}) with ordinality u({", ".join(arrays)}, n)),
  b as materialized (
    select a.*, c.*, {alike} as alike from a cross join lateral (select {cells} offset 0) c),
  k as materialized (
    select b.alike, l.labels from (select distinct on (alike) * from b) b cross join lateral (select {labels}) l(labels))
  insert into {SCHEMA}.{name} as t (id, rev, {", ".join(kept)}, released)
  select b.id, b.rev, nextval('{SCHEMA}.revision_no'), p_provider, b.content_mac, {SCHEMA}.cell_code(b.cell_row, b.cell_column),
         {", ".join(f"b.{v}" for v in [*CELL_COLUMNS.values(), *values])}, now(), b.kept_until, b.labels
  from (select b.*, k.labels from b join k using (alike) order by b.n) b
  on conflict (id) do update set {update} where t.rev = excluded.rev - 1 and t.provider = excluded.provider
  returning t.id, t.revision_no;
  get diagnostics stored = row_count;
  -- A first revision is of a record that never was (of one that is withdrawn there is a history). Asked when it is stored: whoever was
  -- withdrawing or shredding it has ended by now.
  fresh := array(select u.id from unnest(p_id, p_rev) u(id, rev) where u.rev = 1);
  select count(*) into earlier from (
    select from {SCHEMA}.{name}_history h where h.id = any(fresh)
    union all select from {SCHEMA}.{name}_shredded s where s.id = any(fresh)) e;
  if stored <> cardinality(p_id) or cardinality(fresh) + cardinality(former) <> cardinality(p_id) or earlier > 0 then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
  if before is not null then
    perform {SCHEMA}.{name}_recall(p_provider, before);
  end if;
end $$;
"""


def _withdraw_sql(name: str, dataset: type[Record]) -> str:
    kept = _kept(dataset)
    return f"""
-- Withdraws a record: its last revision moves to the history, a tombstone takes its place; gives the tombstone's number. Whoever holds it
-- is told (`p_kind`: withdrawal, erasure).
create function {SCHEMA}.{name}_withdraw(p_provider int, p_id uuid, p_rev int, p_kind text) returns bigint
language plpgsql volatile {DEFINER} as $$
declare number bigint;
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  perform from {SCHEMA}.{name} i where i.id = p_id for update;
  insert into {SCHEMA}.{name}_history (id, rev, {", ".join(kept)})
  select i.id, i.rev, {", ".join(f"i.{c}" for c in kept)} from {SCHEMA}.{name} i
  where i.id = p_id and i.rev = p_rev and i.provider = p_provider;
  with gone as (delete from {SCHEMA}.{name} i where i.id = p_id and i.rev = p_rev and i.provider = p_provider returning *)
  insert into {SCHEMA}.{name}_withdrawn (id, rev, revision_no, provider, external_id, released)
  select g.id, g.rev + 1, nextval('{SCHEMA}.revision_no'), g.provider, g.external_id, g.released from gone g
  returning revision_no into number;
  if number is null then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
  delete from {SCHEMA}.{name}_blind b where b.id = p_id;
  if {owes_sql()} then
    perform {SCHEMA}.{name}_recall_all(p_provider, p_id, p_kind);
  end if;
  return number;
end $$;
"""


def _relabel_sql(name: str, dataset: type[Record]) -> str:
    labels = labels_of(name, dataset, "i.provider", lambda n: f"i.{n}", " and r.clause = any(p_adds)")
    changed = f"(i.released operator(public.-) p_takes) operator(public.|) (select {labels})"
    return f"""
-- One batch of a relabelling: of the next p_count records after (p_k2, p_id), in page order, those of the provider get the labels of the
-- clauses p_adds and lose those of p_takes. Gives how far it came (null: at the end) and the number of records touched. Only records that
-- change are locked, in the order of their ids as the store locks them, and labelled by what they hold then.
create function {SCHEMA}.{name}_relabel(p_provider int, p_adds int[], p_takes int[], p_k2 int, p_id uuid, p_count int,
  out reached_k2 int, out reached_id uuid, out touched bigint)
language plpgsql volatile {DEFINER} as $$
declare ids uuid[];
begin
  with batch as materialized (select * from {SCHEMA}.{name} i where (i.k2, i.id) > (p_k2, p_id) order by i.k2, i.id limit p_count),
  reached as (select b.k2, b.id from batch b order by b.k2 desc, b.id desc limit 1)
  select r.k2, r.id, array(select i.id from batch i where i.provider = p_provider and {changed} <> i.released)
  into reached_k2, reached_id, ids from (select 1) one left join reached r on true;
  perform from {SCHEMA}.{name} i where i.id = any(ids) order by i.id for update;
  update {SCHEMA}.{name} t set released = l.released
  from (select i.id, {changed} as released from {SCHEMA}.{name} i where i.id = any(ids)) l where t.id = l.id;
  get diagnostics touched = row_count;
end $$;
"""


def _receipts_sql(name: str) -> str:
    return f"""
-- What a provider's revisions are: for the report of an import.
create function {SCHEMA}.{name}_receipts(p_provider int, p_revisions bigint[]) returns table (revision_no bigint, id uuid, rev int)
language sql stable {DEFINER} as $$
  select i.revision_no, i.id, i.rev from {SCHEMA}.{name} i where i.revision_no = any(p_revisions) and i.provider = p_provider
  union all
  select h.revision_no, h.id, h.rev from {SCHEMA}.{name}_history h where h.revision_no = any(p_revisions) and h.provider = p_provider
$$;
"""


def _revisions_sql(name: str) -> str:
    return f"""
-- Every revision number of a record, for "who saw this record"; an owner is told of its own records alone (null: an auditor asks).
create function {SCHEMA}.{name}_revisions(p_id uuid, p_owner text) returns setof bigint
language sql stable {DEFINER} as $$
  select r.revision_no from (select id, provider, revision_no from {SCHEMA}.{name}
                             union all select id, provider, revision_no from {SCHEMA}.{name}_history
                             union all select id, provider, revision_no from {SCHEMA}.{name}_withdrawn
                             union all select id, provider, revision_no from {SCHEMA}.{name}_shredded) r
  join {SCHEMA}.organisations o on o.id = r.provider where r.id = p_id and (p_owner is null or o.slug = p_owner)
$$;
"""


def _trace_sql(name: str, dataset: type[Record]) -> str:
    cells = " ".join(f"when {m} then i.{column}" for m, column in CELL_COLUMNS.items())
    missed = ", ".join(
        f"case when {c.sql(f'r.{c.column(f)}', f'(case r.grid_m {cells} end)' if f.kind == 'place' else f'i.{f.name}')} is not true"
        f" then '{c.column(f)}' end"
        for f, c in rule_columns(dataset)
    )
    return f"""
-- Every clause of a record's provider, and the conditions that the record doesn't meet: for its owner, or an auditor (p_owner null). One
-- row without a clause where there is none.
create function {SCHEMA}.{name}_trace(p_id uuid, p_owner text) returns table (provider text, occurred_at timestamptz, mou text, version int,
  state text, since timestamptz, until timestamptz, recipient text, name text, purposes text[], actions text[], fields jsonb,
  lookback_s bigint, embargo_s bigint, case_required boolean, refusal boolean, refuses text[], missed text[])
language sql stable {DEFINER} as $$
  select o.slug, i.occurred_at, m.mou, m.version, m.state, m.in_force_from, m.in_force_until, c.slug, coalesce(g.name, f.name), g.purposes,
         g.actions, g.fields, g.lookback_s, g.embargo_s, g.case_required, f.id is not null, f.fields, array_remove(array[{missed}], null)
  from {SCHEMA}.{name} i join {SCHEMA}.organisations o on o.id = i.provider
  left join {SCHEMA}.{name}_rules r on r.provider = i.provider
  left join {SCHEMA}.grants g on g.id = r.clause left join {SCHEMA}.refusals f on f.id = r.clause
  left join {SCHEMA}.mous m on m.id = coalesce(g.mou_id, f.mou_id) left join {SCHEMA}.organisations c on c.id = m.consumer
  where i.id = p_id and (p_owner is null or o.slug = p_owner) order by r.clause
$$;
"""


def _index_sql(name: str) -> str:
    return f"""
create index {name}_label_keys on {SCHEMA}.{name} using gin ({SCHEMA}.label_keys(released, k2));
alter table {SCHEMA}.{name} alter column released set statistics 1000;
"""


def _rights_sql(name: str, dataset: type[Record]) -> str:
    clear = ", ".join(["id", "revision_no", "provider", "released", *CELL_COLUMNS.values(), *(f.name for f in clear_fields(dataset))])
    views = ", ".join(f"{SCHEMA}.{name}_{path}" for path in PATHS)
    return f"""
revoke execute on all functions in schema {SCHEMA} from public;
grant select on {views} to {READER};
grant execute on function {SCHEMA}.{name}_ctx to {READER};
grant execute on function {", ".join(f"{SCHEMA}.{name}_{f}" for f in WRITING)} to {WRITER};
grant execute on function {SCHEMA}.{name}_revisions, {SCHEMA}.{name}_trace to {AUDITOR};
grant execute on function {SCHEMA}.{name}_relabel to {AGREEMENTS};
grant select, insert, delete on {SCHEMA}.{name}_rules to {AGREEMENTS};
grant select ({clear}) on {SCHEMA}.{name} to {AGREEMENTS};  -- an effect diff counts; nothing sealed
"""
