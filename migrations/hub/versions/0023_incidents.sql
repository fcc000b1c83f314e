-- Run as hub_owner (hub/sharing/stored.py, shredded.py, blind.py and inventory.py at this revision).

-- Stores a batch as the current revisions and gives their numbers, in the batch's order; former ones move to the history. A revision
-- that is not the next of its record is refused (40001): somebody else was faster. Records that agree in all that rules test are labelled
-- once; joining them back by nested loops would cost more than it saves.
create or replace function hub.incidents_store(p_provider int, p_id uuid[], p_rev int[], p_macs bytea, p_cell_row int[], p_cell_column int[], p_kept_until date[], p_category text[], p_occurred_at timestamptz[], p_occurred_until timestamptz[], p_reported_at timestamptz[], p_resolved_at timestamptz[], p_status text[], p_severity int[], p_handling text[], p_external_id text[], p_ciphertext bytea, p_place_sealed_at int[], p_place_sealed_length int[], p_narrative_sealed_at int[], p_narrative_sealed_length int[], p_phone_sealed_at int[], p_phone_sealed_length int[], p_title_sealed_at int[], p_title_sealed_length int[], p_address_sealed_at int[], p_address_sealed_length int[], p_people_sealed_at int[], p_people_sealed_length int[], p_vehicles_sealed_at int[], p_vehicles_sealed_length int[], p_extra_sealed_at int[], p_extra_sealed_length int[])
returns table (id uuid, revision_no bigint)
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp set enable_nestloop = off as $$
#variable_conflict use_column
declare former uuid[]; fresh uuid[]; before jsonb; moved int; returned int; stored int; earlier int; tested text[];
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  if not exists (select from hub.organisations o where o.id = p_provider) then
    raise exception 'there is no such organisation' using errcode = '23503';
  end if;
  former := array(select u.id from unnest(p_id, p_rev) u(id, rev) where u.rev > 1);
  if former <> '{}' then
    -- In one order, so that two batches wait for each other and not in a circle.
    perform from hub.incidents i where i.id = any(former) order by i.id for update;
    perform from hub.incidents_withdrawn w where w.id = any(former) order by w.id, w.rev for update;
    insert into hub.incidents_history (id, rev, revision_no, provider, content_mac, k2, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed, narrative_sealed, phone_sealed, title_sealed, address_sealed, people_sealed, vehicles_sealed, extra_sealed, published_at, kept_until)
    select i.id, i.rev, i.revision_no, i.provider, i.content_mac, i.k2, i.c100, i.c500, i.c2k, i.category, i.occurred_at, i.occurred_until, i.reported_at, i.resolved_at, i.status, i.severity, i.handling, i.external_id, i.place_sealed, i.narrative_sealed, i.phone_sealed, i.title_sealed, i.address_sealed, i.people_sealed, i.vehicles_sealed, i.extra_sealed, i.published_at, i.kept_until from hub.incidents i
    join unnest(p_id, p_rev) u(id, rev) on u.id = i.id where i.id = any(former) and i.rev = u.rev - 1 and i.provider = p_provider;
    get diagnostics moved = row_count;
    delete from hub.incidents_blind b using unnest(p_id, p_rev) u(id, rev) where b.id = u.id and b.id = any(former) and b.rev < u.rev;
    if exists (select from hub.grants g join hub.mous m on m.id = g.mou_id
    where m.provider = p_provider and g.duties is not null) then
      before := (select jsonb_object_agg(i.id, to_jsonb(i.released)) from hub.incidents i where i.id = any(former));
    end if;
    select count(*) into returned from unnest(p_id, p_rev) u(id, rev)
    join hub.incidents_withdrawn w on w.id = u.id and w.rev = u.rev - 1 and w.provider = p_provider
    where w.id = any(former) and not exists (select from hub.incidents i where i.id = any(former) and i.id = u.id)
      and not exists (select from hub.incidents_withdrawn x where x.id = any(former) and x.id = u.id and x.rev >= u.rev);
    if moved + returned <> cardinality(former) then
      raise exception 'another revision came first' using errcode = '40001';
    end if;
  end if;
  tested := (select array_remove(array[case when bool_or(r.category__one_of is not null) then 'category' end, case when bool_or(r.place__within is not null and r.grid_m = 100) then 'c100' end, case when bool_or(r.place__within is not null and r.grid_m = 500) then 'c500' end, case when bool_or(r.place__within is not null and r.grid_m = 2000) then 'c2k' end, case when bool_or(r.status__one_of is not null) then 'status' end, case when bool_or(r.severity__one_of is not null) then 'severity' end, case when bool_or(r.severity__at_most is not null) then 'severity' end, case when bool_or(r.severity__at_least is not null) then 'severity' end, case when bool_or(r.handling__one_of is not null) then 'handling' end, case when bool_or(r.external_id__one_of is not null) then 'external_id' end], null) from hub.incidents_rules r where r.provider = p_provider);
  return query
  with a as (
    select u.*, substring(p_macs from 96 * (u.n::int - 1) + 1 for 96) as content_mac, substring(p_ciphertext from u.place_sealed_at for u.place_sealed_length) as place_sealed, substring(p_ciphertext from u.narrative_sealed_at for u.narrative_sealed_length) as narrative_sealed, substring(p_ciphertext from u.phone_sealed_at for u.phone_sealed_length) as phone_sealed, substring(p_ciphertext from u.title_sealed_at for u.title_sealed_length) as title_sealed, substring(p_ciphertext from u.address_sealed_at for u.address_sealed_length) as address_sealed, substring(p_ciphertext from u.people_sealed_at for u.people_sealed_length) as people_sealed, substring(p_ciphertext from u.vehicles_sealed_at for u.vehicles_sealed_length) as vehicles_sealed, substring(p_ciphertext from u.extra_sealed_at for u.extra_sealed_length) as extra_sealed
    from unnest(p_id, p_rev, p_cell_row, p_cell_column, p_kept_until, p_category, p_occurred_at, p_occurred_until, p_reported_at, p_resolved_at, p_status, p_severity, p_handling, p_external_id, p_place_sealed_at, p_place_sealed_length, p_narrative_sealed_at, p_narrative_sealed_length, p_phone_sealed_at, p_phone_sealed_length, p_title_sealed_at, p_title_sealed_length, p_address_sealed_at, p_address_sealed_length, p_people_sealed_at, p_people_sealed_length, p_vehicles_sealed_at, p_vehicles_sealed_length, p_extra_sealed_at, p_extra_sealed_length) with ordinality u(id, rev, cell_row, cell_column, kept_until, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed_at, place_sealed_length, narrative_sealed_at, narrative_sealed_length, phone_sealed_at, phone_sealed_length, title_sealed_at, title_sealed_length, address_sealed_at, address_sealed_length, people_sealed_at, people_sealed_length, vehicles_sealed_at, vehicles_sealed_length, extra_sealed_at, extra_sealed_length, n)),
  b as materialized (
    select a.*, c.*, row(case when 'category' = any(tested) then a.category end, case when 'c100' = any(tested) then c.c100 end, case when 'c500' = any(tested) then c.c500 end, case when 'c2k' = any(tested) then c.c2k end, case when 'status' = any(tested) then a.status end, case when 'severity' = any(tested) then a.severity end, case when 'handling' = any(tested) then a.handling end, case when 'external_id' = any(tested) then a.external_id end)::text as alike from a cross join lateral (select hub.cell_centre(a.cell_row, a.cell_column, 100) as c100, hub.cell_centre(a.cell_row, a.cell_column, 500) as c500, hub.cell_centre(a.cell_row, a.cell_column, 2000) as c2k offset 0) c),
  k as materialized (
    select b.alike, l.labels from (select distinct on (alike) * from b) b cross join lateral (select coalesce(array_agg(r.clause order by r.clause), '{}') from hub.incidents_rules r
  where r.provider = p_provider
    and (r.category__one_of is null or b.category = any(r.category__one_of))
    and (r.place__within is null or not exists (select from unnest(r.place__within) a where public.ST_Covers(a, (case r.grid_m when 100 then b.c100 when 500 then b.c500 when 2000 then b.c2k end)) is not true))
    and (r.status__one_of is null or b.status = any(r.status__one_of))
    and (r.severity__one_of is null or b.severity = any(r.severity__one_of))
    and (r.severity__at_most is null or b.severity <= r.severity__at_most)
    and (r.severity__at_least is null or b.severity >= r.severity__at_least)
    and (r.handling__one_of is null or b.handling = any(r.handling__one_of))
    and (r.external_id__one_of is null or b.external_id = any(r.external_id__one_of))) l(labels))
  insert into hub.incidents as t (id, rev, revision_no, provider, content_mac, k2, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed, narrative_sealed, phone_sealed, title_sealed, address_sealed, people_sealed, vehicles_sealed, extra_sealed, published_at, kept_until, released)
  select b.id, b.rev, nextval('hub.revision_no'), p_provider, b.content_mac, hub.cell_code(b.cell_row, b.cell_column),
         b.c100, b.c500, b.c2k, b.category, b.occurred_at, b.occurred_until, b.reported_at, b.resolved_at, b.status, b.severity, b.handling, b.external_id, b.place_sealed, b.narrative_sealed, b.phone_sealed, b.title_sealed, b.address_sealed, b.people_sealed, b.vehicles_sealed, b.extra_sealed, now(), b.kept_until, b.labels
  from (select b.*, k.labels from b join k using (alike) order by b.n) b
  on conflict (id) do update set rev = excluded.rev, revision_no = excluded.revision_no, provider = excluded.provider, content_mac = excluded.content_mac, k2 = excluded.k2, c100 = excluded.c100, c500 = excluded.c500, c2k = excluded.c2k, category = excluded.category, occurred_at = excluded.occurred_at, occurred_until = excluded.occurred_until, reported_at = excluded.reported_at, resolved_at = excluded.resolved_at, status = excluded.status, severity = excluded.severity, handling = excluded.handling, external_id = excluded.external_id, place_sealed = excluded.place_sealed, narrative_sealed = excluded.narrative_sealed, phone_sealed = excluded.phone_sealed, title_sealed = excluded.title_sealed, address_sealed = excluded.address_sealed, people_sealed = excluded.people_sealed, vehicles_sealed = excluded.vehicles_sealed, extra_sealed = excluded.extra_sealed, published_at = excluded.published_at, kept_until = excluded.kept_until, released = excluded.released where t.rev = excluded.rev - 1 and t.provider = excluded.provider
  returning t.id, t.revision_no;
  get diagnostics stored = row_count;
  -- A first revision is of a record that never was (of one that is withdrawn there is a history). Asked when it is stored: whoever was
  -- withdrawing or shredding it has ended by now.
  fresh := array(select u.id from unnest(p_id, p_rev) u(id, rev) where u.rev = 1);
  select count(*) into earlier from (
    select from hub.incidents_history h where h.id = any(fresh)
    union all select from hub.incidents_shredded s where s.id = any(fresh)) e;
  if stored <> cardinality(p_id) or cardinality(fresh) + cardinality(former) <> cardinality(p_id) or earlier > 0 then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
  if before is not null then
    perform hub.incidents_recall(p_provider, before);
  end if;
end $$;

-- Destroys records of a provider, all of them or none: their revisions leave every table but `incidents_shredded`, which keeps their numbers
-- and the digests that publications vouch for. Gives these numbers. Those who hold a record under a duty are told. Replies to requests that
-- may tell of them go too. Held: HB012, with the ids; no such record of this provider: HB013.
create or replace function hub.incidents_shred(p_provider int, p_ids uuid[], p_event uuid, p_kind text) returns setof bigint
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare number bigint; holding uuid[];
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  perform from hub.incidents r where r.id = any(p_ids) order by r.id for update;
  perform from hub.incidents_withdrawn r where r.id = any(p_ids) order by r.id, r.rev for update;
  if exists (select from unnest(p_ids) u(id)
             where not exists (select from hub.incidents r where r.id = u.id and r.provider = p_provider)
               and not exists (select from hub.incidents_withdrawn r where r.id = u.id and r.provider = p_provider)) then
    raise exception 'there is no such record' using errcode = 'HB013';
  end if;
  lock table hub.holds in share mode;  -- a hold that is being placed comes before, or finds nothing to hold
  holding := array(select hub.incidents_held(p_ids));
  if holding <> '{}' then
    raise exception 'held' using errcode = 'HB012', detail = array_to_string(holding, ' ');
  end if;
  insert into hub.shreds (event, provider, dataset, kind, records)
  values (p_event, p_provider, 1, p_kind, cardinality(p_ids)) returning id into number;
  insert into hub.incidents_shredded (id, rev, revision_no, provider, digest, shred)
  select r.id, r.rev, r.revision_no, r.provider, sha256(coalesce(int2send(3::int2) || int4send(length(r.place_sealed)) || r.place_sealed, '') || coalesce(int2send(4::int2) || int4send(length(r.narrative_sealed)) || r.narrative_sealed, '') || coalesce(int2send(5::int2) || int4send(length(r.phone_sealed)) || r.phone_sealed, '') || coalesce(int2send(12::int2) || int4send(length(r.title_sealed)) || r.title_sealed, '') || coalesce(int2send(13::int2) || int4send(length(r.address_sealed)) || r.address_sealed, '') || coalesce(int2send(14::int2) || int4send(length(r.people_sealed)) || r.people_sealed, '') || coalesce(int2send(15::int2) || int4send(length(r.vehicles_sealed)) || r.vehicles_sealed, '') || coalesce(int2send(16::int2) || int4send(length(r.extra_sealed)) || r.extra_sealed, '')), number from hub.incidents r where r.id = any(p_ids)
  union all select r.id, r.rev, r.revision_no, r.provider, sha256(coalesce(int2send(3::int2) || int4send(length(r.place_sealed)) || r.place_sealed, '') || coalesce(int2send(4::int2) || int4send(length(r.narrative_sealed)) || r.narrative_sealed, '') || coalesce(int2send(5::int2) || int4send(length(r.phone_sealed)) || r.phone_sealed, '') || coalesce(int2send(12::int2) || int4send(length(r.title_sealed)) || r.title_sealed, '') || coalesce(int2send(13::int2) || int4send(length(r.address_sealed)) || r.address_sealed, '') || coalesce(int2send(14::int2) || int4send(length(r.people_sealed)) || r.people_sealed, '') || coalesce(int2send(15::int2) || int4send(length(r.vehicles_sealed)) || r.vehicles_sealed, '') || coalesce(int2send(16::int2) || int4send(length(r.extra_sealed)) || r.extra_sealed, '')), number from hub.incidents_history r where r.id = any(p_ids)
  union all select r.id, r.rev, r.revision_no, r.provider, sha256(''), number from hub.incidents_withdrawn r where r.id = any(p_ids);
  delete from hub.replies a using hub.clients c
  where c.client_id = a.client and c.organisation = p_provider and exists (
    select from hub.incidents u where u.id = any(p_ids) and u.published_at > now() - interval '7 days'
      and position(convert_to(u.id::text, 'UTF8') in a.body) > 0
    union all select from hub.incidents_history u where u.id = any(p_ids) and u.published_at > now() - interval '7 days'
      and position(convert_to(u.id::text, 'UTF8') in a.body) > 0
    union all select from hub.incidents_withdrawn u where u.id = any(p_ids) and u.withdrawn_at > now() - interval '7 days'
      and position(convert_to(u.id::text, 'UTF8') in a.body) > 0);
  delete from hub.incidents r where r.id = any(p_ids); delete from hub.incidents_history r where r.id = any(p_ids); delete from hub.incidents_withdrawn r where r.id = any(p_ids);
  if exists (select from hub.grants g join hub.mous m on m.id = g.mou_id
    where m.provider = p_provider and g.duties is not null) then
    perform hub.incidents_recall_all(p_provider, u.id, 'erasure') from unnest(p_ids) u(id) order by u.id;
  end if;
  perform pg_advisory_xact_lock(7201, 6);  -- tags that are being written come before, or find the record shredded
  delete from hub.incidents_blind b where b.id = any(p_ids);
  return query select s.revision_no from hub.incidents_shredded s where s.shred = number order by 1;
end $$;

-- Up to p_count records of one provider whose retention has ended and that nothing holds, but for p_but. Of a withdrawn record its last
-- revision counts.
drop function hub.incidents_due(int);
create function hub.incidents_due(p_count int, p_but uuid[]) returns table (provider int, id uuid)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  with due as (
    select r.provider, r.id from hub.incidents r where r.kept_until <= (now() at time zone 'UTC')::date
    union
    select w.provider, w.id from hub.incidents_withdrawn w join hub.incidents_history h on h.id = w.id and h.rev = w.rev - 1
    where h.kept_until <= (now() at time zone 'UTC')::date and not exists (select from hub.incidents r where r.id = w.id)
      and not exists (select from hub.incidents_withdrawn x where x.id = w.id and x.rev > w.rev)),
  one as (select r.provider from due r where r.id <> all(p_but) and not exists (select from hub.holds h where h.provider = r.provider and h.dataset = 1 and h.released_at is null
      and (h.record = r.id or (h.record is null and exists (select from hub.incidents x where x.id = r.id and (h.since is null or x.occurred_at >= h.since) and (h.until is null or x.occurred_at < h.until) union all select from hub.incidents_history x where x.id = r.id and (h.since is null or x.occurred_at >= h.since) and (h.until is null or x.occurred_at < h.until))))) limit 1)
  select r.provider, r.id from due r join one using (provider) where r.id <> all(p_but) and not exists (select from hub.holds h where h.provider = r.provider and h.dataset = 1 and h.released_at is null
      and (h.record = r.id or (h.record is null and exists (select from hub.incidents x where x.id = r.id and (h.since is null or x.occurred_at >= h.since) and (h.until is null or x.occurred_at < h.until) union all select from hub.incidents_history x where x.id = r.id and (h.since is null or x.occurred_at >= h.since) and (h.until is null or x.occurred_at < h.until))))) limit p_count
$$;
revoke execute on function hub.incidents_due from public;
grant execute on function hub.incidents_due to hub_writer;

-- One batch of a new rule for what is stored already: of the next p_count records after p_id, those of the provider are kept for as long
-- as its rule says (none: without end). Gives how far it came (null: at the end).
drop function hub.incidents_keep(int, int, uuid, int);
create function hub.incidents_keep(p_provider int, p_id uuid, p_count int) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare reached uuid; ids uuid[];
  ruled int := (select t.months from hub.retention t where t.provider = p_provider and t.dataset = 1);
begin
  select max(b.id::text)::uuid, array_agg(b.id) filter (where b.provider = p_provider) into reached, ids
  from (select r.id, r.provider from hub.incidents r where r.id > p_id order by r.id limit p_count) b;
  perform from hub.incidents r where r.id = any(ids) order by r.id for update;
  update hub.incidents r set kept_until = hub.kept_until(r.occurred_at, ruled)
  where r.id = any(ids) and r.kept_until is distinct from hub.kept_until(r.occurred_at, ruled);
  return reached;
end $$;
revoke execute on function hub.incidents_keep from public;
grant execute on function hub.incidents_keep to hub_writer;

-- For the key process: the oldest order after p_after whose keys are not destroyed yet, its records, their revisions, its event's leaves,
-- and whose records they are (empty: not one organisation's).
drop function hub.incidents_shred_order(bigint);
create function hub.incidents_shred_order(p_after bigint)
returns table (shred bigint, ids uuid[], numbers bigint[], leaves text[], owner text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select o.id, array(select distinct s.id from hub.incidents_shredded s where s.shred = o.id),
         array(select s.revision_no from hub.incidents_shredded s where s.shred = o.id),
         array(select l.leaf from hub.audit_leaves l where l.event = o.event),
         coalesce((select min(p.slug) from hub.incidents_shredded s join hub.organisations p on p.id = s.provider
                   where s.shred = o.id having count(distinct s.provider) = 1), '')
  from hub.shreds o where o.dataset = 1 and o.id > p_after and o.complete_at is null and o.keys_gone_at is null
  order by o.id limit 1
$$;
revoke execute on function hub.incidents_shred_order from public;
grant execute on function hub.incidents_shred_order to hub_keyd;

-- For the key process: tags of revisions of an owner that are on their way into the store. Tags that are there already stay: nobody knows
-- which of two attempts will be stored. A record that was shredded gets none, for the store refuses it; one that is being shredded loses
-- them. No row of it is locked: a publication may hold those while its tags are written.
create or replace function hub.incidents_tag(p_owner uuid, p_version int, p_next_version int, p_ids uuid[], p_revs int[], p_fields int[], p_tags int[], p_next_tags int[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare gone uuid[];
begin
  perform hub.incidents_indexed(p_version, p_next_version);
  perform pg_advisory_xact_lock_shared(7201, 6);
  gone := array(select s.id from hub.incidents_shredded s where s.id = any(p_ids));
  insert into hub.incidents_blind (id, rev, provider, field, version, tag, next_version, next_tag)
  select u.id, u.rev, o.id, u.field, p_version, u.tag, case when u.next_tag is not null then p_next_version end, u.next_tag
  from unnest(p_ids, p_revs, p_fields, p_tags, p_next_tags) u(id, rev, field, tag, next_tag)
  join hub.organisations o on o.uid = p_owner where u.id <> all(gone);
end $$;

-- For the key process: of the next p_count records after p_after that have tags, takes away those of former versions that belong to no
-- current revision: what they were made for can't be stored any more. Gives how far it came (null: at the end). Waits for nobody.
create function hub.incidents_untag(p_after uuid, p_count int) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare reached uuid; now_version int := (select b.version from hub.blind_index b where b.dataset = 1);
begin
  select n.id into reached from (
    select distinct b.id from hub.incidents_blind b where b.id > p_after order by b.id limit p_count) n order by n.id desc limit 1;
  delete from hub.incidents_blind where ctid = any(array(
    select b.ctid from hub.incidents_blind b where b.id > p_after and b.id <= reached and b.version < now_version
      and not exists (select from hub.incidents i where i.id = b.id and i.rev = b.rev) for update skip locked));
  return reached;
end $$;
revoke execute on function hub.incidents_untag from public;
grant execute on function hub.incidents_untag to hub_keyd;

-- Shredded records that the index for lookups still has tags of.
create function hub.incidents_blind_left() returns table (id uuid, owner text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select distinct s.id, o.slug from hub.incidents_shredded s left join hub.organisations o on o.id = s.provider
  where exists (select from hub.incidents_blind b where b.id = s.id) order by s.id
$$;
revoke execute on function hub.incidents_blind_left from public;
grant execute on function hub.incidents_blind_left to hub_auditor;

-- Tags that were written while their record was being shredded.
delete from hub.incidents_blind b using hub.incidents_shredded s where s.id = b.id;
