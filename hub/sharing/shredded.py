"""Destroying records, as SQL text: every revision of a record leaves the tables, what proves that it was here stays, the key process is
told to destroy its keys. Migrations hold it frozen.
"""

from hub.records import WINDOW_FIELD, Record
from hub.released import WRITER
from hub.sharing.blind import TAGGING
from hub.sharing.covered import KEYD
from hub.sharing.inventory import digest_sql
from hub.sharing.recalled import owes_sql
from hub.tables import SCHEMA

HELD, ABSENT = "HB012", "HB013"
REPLIES_DAYS = 7  # as hub/sharing/replies.py keeps them
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
CONVERTED = "convert_to(u.id::text, 'UTF8')"


def shred_sql(name: str, dataset: type[Record]) -> str:
    """`<dataset>_shred`, and what is asked before and after it."""
    parts = _held_sql(name, dataset), _shred_sql(name, dataset), _due_sql(name, dataset), _orders_sql(name, dataset), _gone_sql(name)
    return "".join(parts)


def _is_held(name: str, dataset: type[Record]) -> str:
    """Whether a hold keeps a record `r` (id, provider): by its id, or because one of its revisions occurred within it."""
    within = f"(h.since is null or x.{WINDOW_FIELD} >= h.since) and (h.until is null or x.{WINDOW_FIELD} < h.until)"
    revisions = " union all ".join(f"select from {SCHEMA}.{name}{part} x where x.id = r.id and {within}" for part in ("", "_history"))
    return f"""exists (select from {SCHEMA}.holds h where h.provider = r.provider and h.dataset = {dataset.number} and h.released_at is null
      and (h.record = r.id or (h.record is null and exists ({revisions}))))"""


def _held_sql(name: str, dataset: type[Record]) -> str:
    records = " union ".join(f"select id, provider from {SCHEMA}.{name}{part} where id = any(p_ids)" for part in ("", "_history"))
    return f"""
-- Those of the records that a legal hold keeps.
create function {SCHEMA}.{name}_held(p_ids uuid[]) returns setof uuid
language sql stable {DEFINER} as $$
  select r.id from ({records}) r where {_is_held(name, dataset)}
$$;
"""


def _shred_sql(name: str, dataset: type[Record]) -> str:
    digest = digest_sql(dataset)
    tables = " ".join(f"delete from {SCHEMA}.{name}{part} r where r.id = any(p_ids);" for part in ("", "_history", "_withdrawn"))
    kept = "\n  union all ".join(
        f"select r.id, r.rev, r.revision_no, r.provider, {told}, number from {SCHEMA}.{name}{part} r where r.id = any(p_ids)"
        for part, told in (("", digest), ("_history", digest), ("_withdrawn", "sha256('')"))
    )
    return f"""
-- Destroys records of a provider, all of them or none: their revisions leave every table but `{name}_shredded`, which keeps their numbers
-- and the digests that publications vouch for. Gives these numbers. Those who hold a record under a duty are told. Replies to requests that
-- may tell of them go too. Held: {HELD}, with the ids; no such record of this provider: {ABSENT}.
create function {SCHEMA}.{name}_shred(p_provider int, p_ids uuid[], p_event uuid, p_kind text) returns setof bigint
language plpgsql volatile {DEFINER} as $$
declare number bigint; holding uuid[];
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  perform from {SCHEMA}.{name} r where r.id = any(p_ids) order by r.id for update;
  perform from {SCHEMA}.{name}_withdrawn r where r.id = any(p_ids) order by r.id, r.rev for update;
  if exists (select from unnest(p_ids) u(id)
             where not exists (select from {SCHEMA}.{name} r where r.id = u.id and r.provider = p_provider)
               and not exists (select from {SCHEMA}.{name}_withdrawn r where r.id = u.id and r.provider = p_provider)) then
    raise exception 'there is no such record' using errcode = '{ABSENT}';
  end if;
  lock table {SCHEMA}.holds in share mode;  -- a hold that is being placed comes before, or finds nothing to hold
  holding := array(select {SCHEMA}.{name}_held(p_ids));
  if holding <> '{{}}' then
    raise exception 'held' using errcode = '{HELD}', detail = array_to_string(holding, ' ');
  end if;
  insert into {SCHEMA}.shreds (event, provider, dataset, kind, records)
  values (p_event, p_provider, {dataset.number}, p_kind, cardinality(p_ids)) returning id into number;
  insert into {SCHEMA}.{name}_shredded (id, rev, revision_no, provider, digest, shred)
  {kept};
  delete from {SCHEMA}.replies a using {SCHEMA}.clients c
  where c.client_id = a.client and c.organisation = p_provider and exists (
    select from {SCHEMA}.{name} u where u.id = any(p_ids) and u.published_at > now() - interval '{REPLIES_DAYS} days'
      and position({CONVERTED} in a.body) > 0
    union all select from {SCHEMA}.{name}_history u where u.id = any(p_ids) and u.published_at > now() - interval '{REPLIES_DAYS} days'
      and position({CONVERTED} in a.body) > 0
    union all select from {SCHEMA}.{name}_withdrawn u where u.id = any(p_ids) and u.withdrawn_at > now() - interval '{REPLIES_DAYS} days'
      and position({CONVERTED} in a.body) > 0);
  {tables}
  if {owes_sql()} then
    perform {SCHEMA}.{name}_recall_all(p_provider, u.id, 'erasure') from unnest(p_ids) u(id) order by u.id;
  end if;
  perform pg_advisory_xact_lock(7201, {TAGGING});  -- tags that are being written come before, or find the record shredded
  delete from {SCHEMA}.{name}_blind b where b.id = any(p_ids);
  return query select s.revision_no from {SCHEMA}.{name}_shredded s where s.shred = number order by 1;
end $$;
"""


def _due_sql(name: str, dataset: type[Record]) -> str:
    held, ended = _is_held(name, dataset), "kept_until <= (now() at time zone 'UTC')::date"
    return f"""
-- Up to p_count records of one provider whose retention has ended and that nothing holds, but for p_but. Of a withdrawn record its last
-- revision counts.
create function {SCHEMA}.{name}_due(p_count int, p_but uuid[]) returns table (provider int, id uuid)
language sql stable {DEFINER} as $$
  with due as (
    select r.provider, r.id from {SCHEMA}.{name} r where r.{ended}
    union
    select w.provider, w.id from {SCHEMA}.{name}_withdrawn w join {SCHEMA}.{name}_history h on h.id = w.id and h.rev = w.rev - 1
    where h.{ended} and not exists (select from {SCHEMA}.{name} r where r.id = w.id)
      and not exists (select from {SCHEMA}.{name}_withdrawn x where x.id = w.id and x.rev > w.rev)),
  one as (select r.provider from due r where r.id <> all(p_but) and not {held} limit 1)
  select r.provider, r.id from due r join one using (provider) where r.id <> all(p_but) and not {held} limit p_count
$$;
-- The first p_count records of a provider that occurred before a time and that nothing holds; and how many something holds.
create function {SCHEMA}.{name}_before(p_provider int, p_before timestamptz, p_count int, out ids uuid[], out held bigint)
language sql stable {DEFINER} as $$
  select array(select r.id from {SCHEMA}.{name} r where r.provider = p_provider and r.{WINDOW_FIELD} < p_before and not {held}
               order by r.{WINDOW_FIELD}, r.id limit p_count),
         (select count(*) from {SCHEMA}.{name} r where r.provider = p_provider and r.{WINDOW_FIELD} < p_before and {held})
$$;
-- One batch of a new rule for what is stored already: of the next p_count records after p_id, those of the provider are kept for as long
-- as its rule says (none: without end). Gives how far it came (null: at the end).
create function {SCHEMA}.{name}_keep(p_provider int, p_id uuid, p_count int) returns uuid
language plpgsql volatile {DEFINER} as $$
declare reached uuid; ids uuid[];
  ruled int := (select t.months from {SCHEMA}.retention t where t.provider = p_provider and t.dataset = {dataset.number});
begin
  select max(b.id::text)::uuid, array_agg(b.id) filter (where b.provider = p_provider) into reached, ids
  from (select r.id, r.provider from {SCHEMA}.{name} r where r.id > p_id order by r.id limit p_count) b;
  perform from {SCHEMA}.{name} r where r.id = any(ids) order by r.id for update;
  update {SCHEMA}.{name} r set kept_until = {SCHEMA}.kept_until(r.{WINDOW_FIELD}, ruled)
  where r.id = any(ids) and r.kept_until is distinct from {SCHEMA}.kept_until(r.{WINDOW_FIELD}, ruled);
  return reached;
end $$;
grant execute on function {SCHEMA}.{name}_held, {SCHEMA}.{name}_shred, {SCHEMA}.{name}_due, {SCHEMA}.{name}_before,
  {SCHEMA}.{name}_keep to {WRITER};
"""


def _orders_sql(name: str, dataset: type[Record]) -> str:
    return f"""
-- For the key process: the oldest order after p_after whose keys are not destroyed yet, its records, their revisions, its event's leaves,
-- and whose records they are (empty: not one organisation's).
create function {SCHEMA}.{name}_shred_order(p_after bigint)
returns table (shred bigint, ids uuid[], numbers bigint[], leaves text[], owner text)
language sql stable {DEFINER} as $$
  select o.id, array(select distinct s.id from {SCHEMA}.{name}_shredded s where s.shred = o.id),
         array(select s.revision_no from {SCHEMA}.{name}_shredded s where s.shred = o.id),
         array(select l.leaf from {SCHEMA}.audit_leaves l where l.event = o.event),
         coalesce((select min(p.slug) from {SCHEMA}.{name}_shredded s join {SCHEMA}.organisations p on p.id = s.provider
                   where s.shred = o.id having count(distinct s.provider) = 1), '')
  from {SCHEMA}.shreds o where o.dataset = {dataset.number} and o.id > p_after and o.complete_at is null and o.keys_gone_at is null
  order by o.id limit 1
$$;
-- For the key process, before it destroys the keys of a retention bucket: those of these records that still live, and whether they are due:
-- then the retention has not come to them yet. What is not known here at all (a batch on its way in) is living too.
create function {SCHEMA}.{name}_living(p_ids uuid[]) returns table (id uuid, due boolean)
language sql stable {DEFINER} as $$
  select u.id, coalesce(case when r.id is null then w.kept_until else r.kept_until end <= (now() at time zone 'UTC')::date, false)
               and u.id not in (select {SCHEMA}.{name}_held(p_ids))
  from unnest(p_ids) u(id) left join {SCHEMA}.{name} r on r.id = u.id
  left join lateral (select h.kept_until from {SCHEMA}.{name}_history h where h.id = u.id order by h.rev desc limit 1) w on true
  where not exists (select from {SCHEMA}.{name}_shredded s where s.id = u.id)
$$;
grant execute on function {SCHEMA}.{name}_shred_order, {SCHEMA}.{name}_living to {KEYD};
"""


def _gone_sql(name: str) -> str:
    return f"""
-- Records that were shredded, p_count after one of them, in the order of their ids: a restored backup of keys gets none of theirs.
create function {SCHEMA}.{name}_gone(p_after uuid, p_count int) returns setof uuid
language sql stable {DEFINER} as $$
  select distinct s.id from {SCHEMA}.{name}_shredded s where s.id > p_after order by s.id limit p_count
$$;
grant execute on function {SCHEMA}.{name}_gone to {KEYD};
"""
