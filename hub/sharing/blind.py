"""The blind index of a dataset, as SQL text: which records may hold a value, told by truncated tags. Migrations hold it frozen.

The key process writes the tags of a revision itself, before the revision is stored, and alone reads them: a serving process that could
have tags made by pretending to publish would try out every phone number. Whoever stores names the versions of the index that the tags were
made for; when they are no longer its versions it has to begin again. So once a new version has begun every new record has its tag, and the
key process adds those of the records that were there.
"""

from hub.records import Record
from hub.released import WRITER
from hub.sharing.covered import KEYD
from hub.tables import SCHEMA, sealed_column, sealed_fields

TAGGING = 6  # advisory lock 7201: whoever writes tags shares it, a shredding takes it alone; to both it is the last of their locks
FIRST_BITS = 8
"""Enough for 65,536 values (hub/workers/reindexing.py)."""
_DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
_TAGS = "p_ids uuid[], p_revs int[], p_fields int[], p_tags int[], p_next_tags int[]"


def blind_sql(name: str, dataset: type[Record]) -> str:
    """The functions of writers, readers and the key process."""
    return _index_sql(name, dataset) + _candidates_sql(name) + _keyd_sql(name, dataset)


def _index_sql(name: str, dataset: type[Record]) -> str:
    return f"""
insert into {SCHEMA}.blind_index (dataset, version, bits) values ({dataset.number}, 1, {FIRST_BITS}) on conflict do nothing;
-- Whether tags that were made for these versions are those that the index wants now; held until the transaction ends.
create function {SCHEMA}.{name}_indexed(p_version int, p_next_version int) returns void
language plpgsql volatile {_DEFINER} as $$
begin
  perform from {SCHEMA}.blind_index b where b.dataset = {dataset.number} and b.version = p_version
    and b.next_version is not distinct from p_next_version for share;
  if not found then
    raise exception 'the index is of another version by now' using errcode = '40001';
  end if;
end $$;
grant execute on function {SCHEMA}.{name}_indexed to {WRITER};
-- For the key process: tags of revisions of an owner that are on their way into the store. Tags that are there already stay: nobody knows
-- which of two attempts will be stored. A record that was shredded gets none, for the store refuses it; one that is being shredded loses
-- them. No row of it is locked: a publication may hold those while its tags are written.
create function {SCHEMA}.{name}_tag(p_owner uuid, p_version int, p_next_version int, {_TAGS}) returns void
language plpgsql volatile {_DEFINER} as $$
declare gone uuid[];
begin
  perform {SCHEMA}.{name}_indexed(p_version, p_next_version);
  perform pg_advisory_xact_lock_shared(7201, {TAGGING});
  gone := array(select s.id from {SCHEMA}.{name}_shredded s where s.id = any(p_ids));
  insert into {SCHEMA}.{name}_blind (id, rev, provider, field, version, tag, next_version, next_tag)
  select u.id, u.rev, o.id, u.field, p_version, u.tag, case when u.next_tag is not null then p_next_version end, u.next_tag
  from unnest(p_ids, p_revs, p_fields, p_tags, p_next_tags) u(id, rev, field, tag, next_tag)
  join {SCHEMA}.organisations o on o.uid = p_owner where u.id <> all(gone);
end $$;
grant execute on function {SCHEMA}.{name}_tag to {KEYD};
-- For the key process: of the next p_count records after p_after that have tags, takes away those of former versions that belong to no
-- current revision: what they were made for can't be stored any more. Gives how far it came (null: at the end). Waits for nobody.
create function {SCHEMA}.{name}_untag(p_after uuid, p_count int) returns uuid
language plpgsql volatile {_DEFINER} as $$
declare reached uuid; now_version int := (select b.version from {SCHEMA}.blind_index b where b.dataset = {dataset.number});
begin
  select n.id into reached from (
    select distinct b.id from {SCHEMA}.{name}_blind b where b.id > p_after order by b.id limit p_count) n order by n.id desc limit 1;
  delete from {SCHEMA}.{name}_blind where ctid = any(array(
    select b.ctid from {SCHEMA}.{name}_blind b where b.id > p_after and b.id <= reached and b.version < now_version
      and not exists (select from {SCHEMA}.{name} i where i.id = b.id and i.rev = b.rev) for update skip locked));
  return reached;
end $$;
grant execute on function {SCHEMA}.{name}_untag to {KEYD};
"""


def _candidates_sql(name: str) -> str:
    return f"""
-- For the key process: records of these owners that may hold a value: those with its tag, and others by chance.
create function {SCHEMA}.{name}_candidates(p_field int, p_version int, p_tags int[], p_owners uuid[]) returns setof uuid
language sql stable {_DEFINER} as $$
  with asked as materialized (
    select o.id as provider, u.tag from unnest(p_owners, p_tags) u(owner, tag) join {SCHEMA}.organisations o on o.uid = u.owner),
  found as (
    select b.id, b.rev from asked a
    join {SCHEMA}.{name}_blind b on b.field = p_field and b.tag = a.tag and b.provider = a.provider and b.version = p_version
    union
    select b.id, b.rev from asked a
    join {SCHEMA}.{name}_blind b on b.field = p_field and b.next_tag = a.tag and b.provider = a.provider and b.next_version = p_version)
  select i.id from found f join {SCHEMA}.{name} i on i.id = f.id and i.rev = f.rev
$$;
grant execute on function {SCHEMA}.{name}_candidates to {KEYD};
"""


def _keyd_sql(name: str, dataset: type[Record]) -> str:
    fields = [f for f in sealed_fields(dataset) if f.matched]
    blob = f"case p_field {' '.join(f'when {f.number} then r.{sealed_column(f)}' for f in fields)} end"
    values = ", ".join(f"({f.number}, i.{sealed_column(f)})" for f in fields)
    return f"""
-- For the key process, which compares them itself: what revisions hold in a field that can be looked up, in their order.
create function {SCHEMA}.{name}_matched(p_field int, p_ids uuid[], p_revs int[]) returns table (n bigint, blob bytea)
language sql stable {_DEFINER} as $$
  select u.n, (select {blob} from (select * from {SCHEMA}.{name}_history h where h.id = u.id and h.rev = u.rev) r
               union all select {blob} from {SCHEMA}.{name} r where r.id = u.id and r.rev = u.rev)
  from unnest(p_ids, p_revs) with ordinality u(id, rev, n)
$$;
-- For the key process, which makes the tags of a new version: the fields that can be looked up of the next p_count records after p_id.
create function {SCHEMA}.{name}_to_index(p_id uuid, p_count int) returns table (id uuid, rev int, owner uuid, field int, blob bytea)
language sql stable {_DEFINER} as $$
  select i.id, i.rev, o.uid, f.field, f.blob
  from (select * from {SCHEMA}.{name} x where x.id > p_id order by x.id limit p_count) i
  join {SCHEMA}.organisations o on o.id = i.provider
  cross join lateral (values {values}) f(field, blob) order by i.id, f.field
$$;
-- How many records there are: for the length of tags.
create function {SCHEMA}.{name}_size() returns bigint language sql stable {_DEFINER} as $$ select count(*) from {SCHEMA}.{name} $$;
-- Puts tags of both versions in the place of what there is of these records, unless they have changed since; and notes how far it came.
create function {SCHEMA}.{name}_reindex(p_version int, p_next_version int, p_reached uuid, p_all uuid[], p_all_revs int[], {_TAGS})
returns void language plpgsql volatile {_DEFINER} as $$
declare same uuid[];
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  perform from {SCHEMA}.{name} i where i.id = any(p_all) order by i.id for update;
  perform from {SCHEMA}.blind_index b where b.dataset = {dataset.number} and b.version = p_version and b.next_version = p_next_version
    for update;
  if not found then
    raise exception 'the index is of another version by now' using errcode = '40001';
  end if;
  same := array(select i.id from {SCHEMA}.{name} i join unnest(p_all, p_all_revs) u(id, rev) on u.id = i.id and u.rev = i.rev);
  delete from {SCHEMA}.{name}_blind b using {SCHEMA}.{name} i where i.id = any(same) and b.id = i.id and b.rev <= i.rev;
  insert into {SCHEMA}.{name}_blind (id, rev, provider, field, version, tag, next_version, next_tag)
  select u.id, u.rev, i.provider, u.field, p_version, u.tag, p_next_version, u.next_tag
  from unnest(p_ids, p_revs, p_fields, p_tags, p_next_tags) u(id, rev, field, tag, next_tag) join {SCHEMA}.{name} i on i.id = u.id
  where u.id = any(same) and u.rev = i.rev;
  update {SCHEMA}.blind_index set reached = p_reached where dataset = {dataset.number};
end $$;
grant execute on function {SCHEMA}.{name}_matched, {SCHEMA}.{name}_to_index, {SCHEMA}.{name}_size, {SCHEMA}.{name}_reindex to {KEYD};
"""
