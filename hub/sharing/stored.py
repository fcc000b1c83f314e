"""The functions by which a dataset is written, as SQL text: lock, store, relabel. Migrations hold it frozen.

The writer's role has no right on the tables: it fills an inbox and calls these. Whoever stores takes advisory lock 2 shared;
whoever changes rules takes it alone, so no record is stored with the labels of rules that are being replaced.
"""

from hub.geo import cells_sql
from hub.records import Record
from hub.released import AUDITOR, PATHS, READER, WRITER, context_sql, view_sql
from hub.sharing.labels import label_parameters, label_sql, rules_sql
from hub.tables import CELL_COLUMNS, SCHEMA, clear_fields, sealed_column, sealed_fields

DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"


def dataset_sql(name: str, dataset: type[Record]) -> str:
    """Everything of a dataset but its tables, to be run as the owner after them."""
    return "".join(
        [
            rules_sql(name, dataset),
            label_sql(name, dataset),
            context_sql(name, dataset),
            *(view_sql(name, dataset, path) for path in PATHS),
            _lock_sql(name),
            _store_sql(name, dataset),
            _relabel_sql(name, dataset),
            _revisions_sql(name),
            _index_sql(name),
            _rights_sql(name),
        ]
    )


def geometry_sql() -> str:
    """The functions of hub/geo.py that every dataset uses."""
    return cells_sql(SCHEMA)


def _lock_sql(name: str) -> str:
    return f"""
-- The current revisions of a provider's records, locked until the transaction ends.
create function {SCHEMA}.{name}_lock(p_provider int, p_external_ids text[])
returns table (external_id text, id uuid, rev int, revision_no bigint, content_mac bytea)
language sql volatile {DEFINER} as $$
  select i.external_id, i.id, i.rev, i.revision_no, i.content_mac from {SCHEMA}.{name} i
  where i.provider = p_provider and i.external_id = any(p_external_ids) order by i.id for update
$$;
"""


def _store_sql(name: str, dataset: type[Record]) -> str:
    values = [f.name for f in clear_fields(dataset)] + [sealed_column(f) for f in sealed_fields(dataset)]
    kept = ["revision_no", "provider", "content_mac", "k2", *CELL_COLUMNS.values(), *values, "published_at"]
    cells = ", ".join(f"{SCHEMA}.cell_centre(b.cell_row, b.cell_column, {m}) as {c}" for m, c in CELL_COLUMNS.items())
    label = ", ".join(f"c.{n}" if n in CELL_COLUMNS.values() else f"b.{n}" for n, _ in label_parameters(dataset))
    update = ", ".join(f"{c} = excluded.{c}" for c in ["rev", *kept, "released"])
    return f"""
-- Stores a batch of the inbox as the current revisions, former ones move to the history. A revision that is not the next of its
-- record is refused (40001): somebody else was faster.
create function {SCHEMA}.{name}_store(p_batch uuid, p_provider int) returns table (ordinal int, revision_no bigint)
language plpgsql volatile {DEFINER} as $$
#variable_conflict use_column
declare waiting int; stored int;
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  insert into {SCHEMA}.{name}_history (id, rev, {", ".join(kept)})
  select i.id, i.rev, {", ".join(f"i.{c}" for c in kept)} from {SCHEMA}.{name} i
  join {SCHEMA}.{name}_inbox b on b.id = i.id where b.batch = p_batch and i.rev = b.rev - 1 and i.provider = p_provider;
  select count(*) into waiting from {SCHEMA}.{name}_inbox b where b.batch = p_batch;
  return query
  with stored as (
    insert into {SCHEMA}.{name} as t (id, rev, {", ".join(kept)}, released)
    select b.id, b.rev, b.no, p_provider, b.content_mac, {SCHEMA}.cell_code(b.cell_row, b.cell_column),
           {", ".join(f"c.{c}" for c in CELL_COLUMNS.values())}, {", ".join(f"b.{v}" for v in values)}, now(),
           {SCHEMA}.{name}_label(null, p_provider, {label})
    from (select x.*, nextval('{SCHEMA}.revision_no') as no from
            (select * from {SCHEMA}.{name}_inbox where batch = p_batch order by ordinal) x offset 0) b
    cross join lateral (select {cells} offset 0) c
    on conflict (id) do update set {update} where t.rev = excluded.rev - 1 and t.provider = excluded.provider
    returning t.id, t.revision_no)
  select b.ordinal, s.revision_no from stored s join {SCHEMA}.{name}_inbox b on b.batch = p_batch and b.id = s.id order by b.ordinal;
  get diagnostics stored = row_count;
  if stored <> waiting then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
  delete from {SCHEMA}.{name}_inbox b where b.batch = p_batch;
end $$;
"""


def _relabel_sql(name: str, dataset: type[Record]) -> str:
    label = ", ".join(f"i.{n}" for n, _ in label_parameters(dataset))
    return f"""
-- Puts the labels of new grants on a provider's records and takes those of old ones off; gives the number of records touched.
create function {SCHEMA}.{name}_relabel(p_provider int, p_new int[], p_old int[]) returns bigint
language plpgsql volatile {DEFINER} as $$
declare touched bigint;
begin
  update {SCHEMA}.{name} t set released = (t.released operator(public.-) p_old) operator(public.|) l.labels
  from (select i.id, {SCHEMA}.{name}_label(p_new, i.provider, {label}) as labels
        from {SCHEMA}.{name} i where i.provider = p_provider) l
  where t.id = l.id and (l.labels <> '{{}}' or t.released operator(public.&&) p_old);
  get diagnostics touched = row_count;
  return touched;
end $$;
"""


def _revisions_sql(name: str) -> str:
    return f"""
-- Every revision number of a record, for "who saw this record"; an owner is told of its own records alone (null: an auditor asks).
create function {SCHEMA}.{name}_revisions(p_id uuid, p_owner text) returns setof bigint
language sql stable {DEFINER} as $$
  select r.revision_no from (select id, provider, revision_no from {SCHEMA}.{name}
                             union all select id, provider, revision_no from {SCHEMA}.{name}_history) r
  join {SCHEMA}.organisations o on o.id = r.provider where r.id = p_id and (p_owner is null or o.slug = p_owner)
$$;
"""


def _index_sql(name: str) -> str:
    return f"""
create index {name}_label_keys on {SCHEMA}.{name} using gin ({SCHEMA}.label_keys(released, k2));
alter table {SCHEMA}.{name} alter column released set statistics 1000;
"""


def _rights_sql(name: str) -> str:
    views = ", ".join(f"{SCHEMA}.{name}_{path}" for path in PATHS)
    return f"""
revoke execute on all functions in schema {SCHEMA} from public;
grant select on {views} to {READER};
grant execute on function {SCHEMA}.{name}_ctx to {READER};
grant insert on {SCHEMA}.{name}_inbox to {WRITER};
grant execute on function {SCHEMA}.{name}_lock, {SCHEMA}.{name}_store to {WRITER};
grant execute on function {SCHEMA}.{name}_revisions to {AUDITOR};
"""
