-- Run as hub_owner (hub/sharing/blind.py, stored.py and shredded.py at this revision).

insert into hub.blind_index (dataset, version, bits) values (1, 1, 8) on conflict do nothing;
-- Whether tags that were made for these versions are those that the index wants now; held until the transaction ends.
create function hub.incidents_indexed(p_version int, p_next_version int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  perform from hub.blind_index b where b.dataset = 1 and b.version = p_version
    and b.next_version is not distinct from p_next_version for share;
  if not found then
    raise exception 'the index is of another version by now' using errcode = '40001';
  end if;
end $$;
grant execute on function hub.incidents_indexed to hub_writer;
-- For the key process: tags of revisions of an owner that are on their way into the store. Tags that are there already stay: nobody knows
-- which of two attempts will be stored.
create function hub.incidents_tag(p_owner uuid, p_version int, p_next_version int, p_ids uuid[], p_revs int[], p_fields int[], p_tags int[], p_next_tags int[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  perform hub.incidents_indexed(p_version, p_next_version);
  insert into hub.incidents_blind (id, rev, provider, field, version, tag, next_version, next_tag)
  select u.id, u.rev, o.id, u.field, p_version, u.tag, case when u.next_tag is not null then p_next_version end, u.next_tag
  from unnest(p_ids, p_revs, p_fields, p_tags, p_next_tags) u(id, rev, field, tag, next_tag)
  join hub.organisations o on o.uid = p_owner;
end $$;
grant execute on function hub.incidents_tag to hub_keyd;

-- For the key process: records of these owners that may hold a value: those with its tag, and others by chance.
create function hub.incidents_candidates(p_field int, p_version int, p_tags int[], p_owners uuid[]) returns setof uuid
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  with asked as materialized (
    select o.id as provider, u.tag from unnest(p_owners, p_tags) u(owner, tag) join hub.organisations o on o.uid = u.owner),
  found as (
    select b.id, b.rev from asked a
    join hub.incidents_blind b on b.field = p_field and b.tag = a.tag and b.provider = a.provider and b.version = p_version
    union
    select b.id, b.rev from asked a
    join hub.incidents_blind b on b.field = p_field and b.next_tag = a.tag and b.provider = a.provider and b.next_version = p_version)
  select i.id from found f join hub.incidents i on i.id = f.id and i.rev = f.rev
$$;
grant execute on function hub.incidents_candidates to hub_keyd;

-- For the key process, which compares them itself: what revisions hold in a field that can be looked up, in their order.
create function hub.incidents_matched(p_field int, p_ids uuid[], p_revs int[]) returns table (n bigint, blob bytea)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select u.n, (select case p_field when 5 then r.phone_sealed when 14 then r.people_sealed when 15 then r.vehicles_sealed end from (select * from hub.incidents_history h where h.id = u.id and h.rev = u.rev) r
               union all select case p_field when 5 then r.phone_sealed when 14 then r.people_sealed when 15 then r.vehicles_sealed end from hub.incidents r where r.id = u.id and r.rev = u.rev)
  from unnest(p_ids, p_revs) with ordinality u(id, rev, n)
$$;
-- For the key process, which makes the tags of a new version: the fields that can be looked up of the next p_count records after p_id.
create function hub.incidents_to_index(p_id uuid, p_count int) returns table (id uuid, rev int, owner uuid, field int, blob bytea)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select i.id, i.rev, o.uid, f.field, f.blob
  from (select * from hub.incidents x where x.id > p_id order by x.id limit p_count) i
  join hub.organisations o on o.id = i.provider
  cross join lateral (values (5, i.phone_sealed), (14, i.people_sealed), (15, i.vehicles_sealed)) f(field, blob) order by i.id, f.field
$$;
-- How many records there are: for the length of tags.
create function hub.incidents_size() returns bigint language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$ select count(*) from hub.incidents $$;
-- Puts tags of both versions in the place of what there is of these records, unless they have changed since; and notes how far it came.
create function hub.incidents_reindex(p_version int, p_next_version int, p_reached uuid, p_all uuid[], p_all_revs int[], p_ids uuid[], p_revs int[], p_fields int[], p_tags int[], p_next_tags int[])
returns void language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare same uuid[];
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  perform from hub.incidents i where i.id = any(p_all) order by i.id for update;
  perform from hub.blind_index b where b.dataset = 1 and b.version = p_version and b.next_version = p_next_version
    for update;
  if not found then
    raise exception 'the index is of another version by now' using errcode = '40001';
  end if;
  same := array(select i.id from hub.incidents i join unnest(p_all, p_all_revs) u(id, rev) on u.id = i.id and u.rev = i.rev);
  delete from hub.incidents_blind b using hub.incidents i where i.id = any(same) and b.id = i.id and b.rev <= i.rev;
  insert into hub.incidents_blind (id, rev, provider, field, version, tag, next_version, next_tag)
  select u.id, u.rev, i.provider, u.field, p_version, u.tag, p_next_version, u.next_tag
  from unnest(p_ids, p_revs, p_fields, p_tags, p_next_tags) u(id, rev, field, tag, next_tag) join hub.incidents i on i.id = u.id
  where u.id = any(same) and u.rev = i.rev;
  update hub.blind_index set reached = p_reached where dataset = 1;
end $$;
grant execute on function hub.incidents_matched, hub.incidents_to_index, hub.incidents_size, hub.incidents_reindex to hub_keyd;

-- Records that were shredded, p_count after one of them, in the order of their ids: a restored backup of keys gets none of theirs.
create function hub.incidents_gone(p_after uuid, p_count int) returns setof uuid
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select distinct s.id from hub.incidents_shredded s where s.id > p_after order by s.id limit p_count
$$;
grant execute on function hub.incidents_gone to hub_keyd;
revoke execute on function hub.incidents_indexed, hub.incidents_tag, hub.incidents_candidates, hub.incidents_matched, hub.incidents_to_index, hub.incidents_size, hub.incidents_reindex, hub.incidents_gone from public;

-- Stores a batch as the current revisions and gives their numbers, in the batch's order; former ones move to the history. A revision
-- that is not the next of its record is refused (40001): somebody else was faster. Records that agree in all that rules test are labelled
-- once; joining them back by nested loops would cost more than it saves.
create or replace function hub.incidents_store(p_provider int, p_id uuid[], p_rev int[], p_macs bytea, p_cell_row int[], p_cell_column int[], p_kept_until date[], p_category text[], p_occurred_at timestamptz[], p_occurred_until timestamptz[], p_reported_at timestamptz[], p_resolved_at timestamptz[], p_status text[], p_severity int[], p_handling text[], p_external_id text[], p_ciphertext bytea, p_place_sealed_at int[], p_place_sealed_length int[], p_narrative_sealed_at int[], p_narrative_sealed_length int[], p_phone_sealed_at int[], p_phone_sealed_length int[], p_title_sealed_at int[], p_title_sealed_length int[], p_address_sealed_at int[], p_address_sealed_length int[], p_people_sealed_at int[], p_people_sealed_length int[], p_vehicles_sealed_at int[], p_vehicles_sealed_length int[], p_extra_sealed_at int[], p_extra_sealed_length int[])
returns table (id uuid, revision_no bigint)
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp set enable_nestloop = off as $$
#variable_conflict use_column
declare former uuid[]; before jsonb; moved int; returned int; stored int; tested text[];
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
  if stored <> cardinality(p_id) then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
  if before is not null then
    perform hub.incidents_recall(p_provider, before);
  end if;
end $$;

-- Withdraws a record: its last revision moves to the history, a tombstone takes its place; gives the tombstone's number. Whoever holds it
-- is told (`p_kind`: withdrawal, erasure).
create or replace function hub.incidents_withdraw(p_provider int, p_id uuid, p_rev int, p_kind text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare number bigint;
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  perform from hub.incidents i where i.id = p_id for update;
  insert into hub.incidents_history (id, rev, revision_no, provider, content_mac, k2, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed, narrative_sealed, phone_sealed, title_sealed, address_sealed, people_sealed, vehicles_sealed, extra_sealed, published_at, kept_until)
  select i.id, i.rev, i.revision_no, i.provider, i.content_mac, i.k2, i.c100, i.c500, i.c2k, i.category, i.occurred_at, i.occurred_until, i.reported_at, i.resolved_at, i.status, i.severity, i.handling, i.external_id, i.place_sealed, i.narrative_sealed, i.phone_sealed, i.title_sealed, i.address_sealed, i.people_sealed, i.vehicles_sealed, i.extra_sealed, i.published_at, i.kept_until from hub.incidents i
  where i.id = p_id and i.rev = p_rev and i.provider = p_provider;
  with gone as (delete from hub.incidents i where i.id = p_id and i.rev = p_rev and i.provider = p_provider returning *)
  insert into hub.incidents_withdrawn (id, rev, revision_no, provider, external_id, released)
  select g.id, g.rev + 1, nextval('hub.revision_no'), g.provider, g.external_id, g.released from gone g
  returning revision_no into number;
  if number is null then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
  delete from hub.incidents_blind b where b.id = p_id;
  if exists (select from hub.grants g join hub.mous m on m.id = g.mou_id
    where m.provider = p_provider and g.duties is not null) then
    perform hub.incidents_recall_all(p_provider, p_id, p_kind);
  end if;
  return number;
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
  delete from hub.incidents r where r.id = any(p_ids); delete from hub.incidents_history r where r.id = any(p_ids); delete from hub.incidents_withdrawn r where r.id = any(p_ids); delete from hub.incidents_blind r where r.id = any(p_ids);
  if exists (select from hub.grants g join hub.mous m on m.id = g.mou_id
    where m.provider = p_provider and g.duties is not null) then
    perform hub.incidents_recall_all(p_provider, u.id, 'erasure') from unnest(p_ids) u(id) order by u.id;
  end if;
  return query select s.revision_no from hub.incidents_shredded s where s.shred = number order by 1;
end $$;

-- After new revisions: tells those who hold the records what of them was corrected as it is released to them, or is no longer shared.
-- `p_labels`: the labels before, by id. `reach`: the grants, not ended, by which a recipient is shown the revision before or the new one;
-- of a suspended MOU too: what it would tell waits (hub/agreements/recalls.py).
create or replace function hub.incidents_recall(p_provider int, p_labels jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp set enable_nestloop = on set enable_seqscan = off as $$
begin
  perform pg_advisory_xact_lock(7201, 4);
  with steps as materialized (
    select n.id, n.rev, n.released as labels, array(select jsonb_array_elements_text(p_labels -> n.id::text)::int) as before
    from hub.incidents n where n.id = any(array(select jsonb_object_keys(p_labels)::uuid))),
  held as materialized (
    select s.*, d.recipient, d.mou, d.fields, d.acknowledge_s
    from steps s join hub.deliveries d on d.records @> array[s.id] and d.dataset = 1
      and d.destroyed_at is null and not exists (select from hub.recalls a where a.recipient = d.recipient and a.mou = d.mou
      and a.record = s.id and a.answer in ('destroyed', 'not-held') and a.acknowledged_at >= d.at)),
  reach as materialized (
    select s.id, v.new, m.consumer, m.mou, g.fields,
           array(select unnest(f.fields) from hub.refusals f join hub.mous r on r.id = f.mou_id where f.id = any(v.labels) and r.consumer = m.consumer
      and r.in_force_from <= now() and now() < r.in_force_until
      and (r.state = 'active' or (r.state = 'suspended' and m.state = 'suspended'))) as refused
    from steps s join hub.incidents n on n.id = s.id join hub.incidents_history h on h.id = s.id and h.rev = s.rev - 1
    cross join lateral (values (true, s.labels, n.occurred_at), (false, s.before, h.occurred_at)) v(new, labels, at)
    join hub.grants g on g.id = any(v.labels) and g.actions && array['query', 'export', 'match']
      and exists (select from jsonb_each_text(g.fields) f where f.value <> 'match_only')
    join hub.mous m on m.id = g.mou_id and m.state in ('active', 'suspended')
    where m.in_force_from <= now() and now() < m.in_force_until and m.consumer in (select recipient from held) and (g.lookback_s is null or v.at >= case g.fields ->> 'occurred_at' when 'round_to:PT1H' then date_trunc('hour', now() - make_interval(secs => g.lookback_s), 'UTC') + case when date_trunc('hour', now() - make_interval(secs => g.lookback_s), 'UTC') < now() - make_interval(secs => g.lookback_s) then interval '1 hour' else interval '0' end when 'round_to:P1D' then date_trunc('day', now() - make_interval(secs => g.lookback_s), 'UTC') + case when date_trunc('day', now() - make_interval(secs => g.lookback_s), 'UTC') < now() - make_interval(secs => g.lookback_s) then interval '1 day' else interval '0' end else now() - make_interval(secs => g.lookback_s) end)
      and (g.embargo_s is null or v.at < case g.fields ->> 'occurred_at' when 'round_to:PT1H' then date_trunc('hour', now() - make_interval(secs => g.embargo_s), 'UTC') when 'round_to:P1D' then date_trunc('day', now() - make_interval(secs => g.embargo_s), 'UTC') else now() - make_interval(secs => g.embargo_s) end)
      and s.id in (select id from held) and not exists (select from hub.refusals f join hub.mous r on r.id = f.mou_id where f.id = any(v.labels) and r.consumer = m.consumer
      and r.in_force_from <= now() and now() < r.in_force_until
      and (r.state = 'active' or (r.state = 'suspended' and m.state = 'suspended')) and f.fields is null))
  insert into hub.recalls (recipient, provider, dataset, kind, record, mou, due_at)
  select t.recipient, p_provider, 1, case when bool_or(t.gone) then 'revocation' else 'correction' end, t.id, t.mou,
         now() + make_interval(secs => min(t.acknowledge_s))
  from (
    select e.*, exists (select from reach q where q.id = e.id and q.consumer = e.recipient and not q.new)
             and not exists (select from reach q where q.id = e.id and q.consumer = e.recipient and q.new) as gone
    from held e) t
  join hub.incidents n on n.id = t.id join hub.incidents_history h on h.id = t.id and h.rev = t.rev - 1
  where t.gone or exists (
    select from reach q where q.id = t.id and q.consumer = t.recipient and q.mou = t.mou and q.new
      and (((t.fields ->> 'category' = 'clear' and h.category is distinct from n.category) and (q.fields ->> 'category' = 'clear' and h.category is distinct from n.category) and 'category' <> all(q.refused)) or ((t.fields ->> 'occurred_at' = 'clear' and h.occurred_at is distinct from n.occurred_at or t.fields ->> 'occurred_at' = 'round_to:PT1H' and date_trunc('hour', h.occurred_at, 'UTC') is distinct from date_trunc('hour', n.occurred_at, 'UTC') or t.fields ->> 'occurred_at' = 'round_to:P1D' and date_trunc('day', h.occurred_at, 'UTC') is distinct from date_trunc('day', n.occurred_at, 'UTC')) and (q.fields ->> 'occurred_at' = 'clear' and h.occurred_at is distinct from n.occurred_at or q.fields ->> 'occurred_at' = 'round_to:PT1H' and date_trunc('hour', h.occurred_at, 'UTC') is distinct from date_trunc('hour', n.occurred_at, 'UTC') or q.fields ->> 'occurred_at' = 'round_to:P1D' and date_trunc('day', h.occurred_at, 'UTC') is distinct from date_trunc('day', n.occurred_at, 'UTC')) and 'occurred_at' <> all(q.refused)) or ((t.fields ->> 'occurred_until' = 'clear' and h.occurred_until is distinct from n.occurred_until or t.fields ->> 'occurred_until' = 'round_to:PT1H' and date_trunc('hour', h.occurred_until, 'UTC') is distinct from date_trunc('hour', n.occurred_until, 'UTC') or t.fields ->> 'occurred_until' = 'round_to:P1D' and date_trunc('day', h.occurred_until, 'UTC') is distinct from date_trunc('day', n.occurred_until, 'UTC')) and (q.fields ->> 'occurred_until' = 'clear' and h.occurred_until is distinct from n.occurred_until or q.fields ->> 'occurred_until' = 'round_to:PT1H' and date_trunc('hour', h.occurred_until, 'UTC') is distinct from date_trunc('hour', n.occurred_until, 'UTC') or q.fields ->> 'occurred_until' = 'round_to:P1D' and date_trunc('day', h.occurred_until, 'UTC') is distinct from date_trunc('day', n.occurred_until, 'UTC')) and 'occurred_until' <> all(q.refused)) or ((t.fields ->> 'reported_at' = 'clear' and h.reported_at is distinct from n.reported_at or t.fields ->> 'reported_at' = 'round_to:PT1H' and date_trunc('hour', h.reported_at, 'UTC') is distinct from date_trunc('hour', n.reported_at, 'UTC') or t.fields ->> 'reported_at' = 'round_to:P1D' and date_trunc('day', h.reported_at, 'UTC') is distinct from date_trunc('day', n.reported_at, 'UTC')) and (q.fields ->> 'reported_at' = 'clear' and h.reported_at is distinct from n.reported_at or q.fields ->> 'reported_at' = 'round_to:PT1H' and date_trunc('hour', h.reported_at, 'UTC') is distinct from date_trunc('hour', n.reported_at, 'UTC') or q.fields ->> 'reported_at' = 'round_to:P1D' and date_trunc('day', h.reported_at, 'UTC') is distinct from date_trunc('day', n.reported_at, 'UTC')) and 'reported_at' <> all(q.refused)) or ((t.fields ->> 'resolved_at' = 'clear' and h.resolved_at is distinct from n.resolved_at or t.fields ->> 'resolved_at' = 'round_to:PT1H' and date_trunc('hour', h.resolved_at, 'UTC') is distinct from date_trunc('hour', n.resolved_at, 'UTC') or t.fields ->> 'resolved_at' = 'round_to:P1D' and date_trunc('day', h.resolved_at, 'UTC') is distinct from date_trunc('day', n.resolved_at, 'UTC')) and (q.fields ->> 'resolved_at' = 'clear' and h.resolved_at is distinct from n.resolved_at or q.fields ->> 'resolved_at' = 'round_to:PT1H' and date_trunc('hour', h.resolved_at, 'UTC') is distinct from date_trunc('hour', n.resolved_at, 'UTC') or q.fields ->> 'resolved_at' = 'round_to:P1D' and date_trunc('day', h.resolved_at, 'UTC') is distinct from date_trunc('day', n.resolved_at, 'UTC')) and 'resolved_at' <> all(q.refused)) or ((t.fields ->> 'status' = 'clear' and h.status is distinct from n.status) and (q.fields ->> 'status' = 'clear' and h.status is distinct from n.status) and 'status' <> all(q.refused)) or ((t.fields ->> 'severity' = 'clear' and h.severity is distinct from n.severity or t.fields ->> 'severity' like 'bands:%' and nullif(width_bucket(h.severity, string_to_array(split_part(t.fields ->> 'severity', ':', 2), '/')::int[]), 0) is distinct from nullif(width_bucket(n.severity, string_to_array(split_part(t.fields ->> 'severity', ':', 2), '/')::int[]), 0)) and (q.fields ->> 'severity' = 'clear' and h.severity is distinct from n.severity or q.fields ->> 'severity' like 'bands:%' and nullif(width_bucket(h.severity, string_to_array(split_part(q.fields ->> 'severity', ':', 2), '/')::int[]), 0) is distinct from nullif(width_bucket(n.severity, string_to_array(split_part(q.fields ->> 'severity', ':', 2), '/')::int[]), 0)) and 'severity' <> all(q.refused)) or ((t.fields ->> 'handling' = 'clear' and h.handling is distinct from n.handling) and (q.fields ->> 'handling' = 'clear' and h.handling is distinct from n.handling) and 'handling' <> all(q.refused)) or ((t.fields ->> 'external_id' = 'clear' and h.external_id is distinct from n.external_id or t.fields ->> 'external_id' like 'last:%' and right(h.external_id, split_part(t.fields ->> 'external_id', ':', 2)::int) is distinct from right(n.external_id, split_part(t.fields ->> 'external_id', ':', 2)::int)) and (q.fields ->> 'external_id' = 'clear' and h.external_id is distinct from n.external_id or q.fields ->> 'external_id' like 'last:%' and right(h.external_id, split_part(q.fields ->> 'external_id', ':', 2)::int) is distinct from right(n.external_id, split_part(q.fields ->> 'external_id', ':', 2)::int)) and 'external_id' <> all(q.refused)) or ((t.fields ->> 'place' = 'clear' and substring(h.content_mac from 33 for 8) is distinct from substring(n.content_mac from 33 for 8) or t.fields ->> 'place' = 'grid_m:100' and h.c100 is distinct from n.c100 or t.fields ->> 'place' = 'grid_m:500' and h.c500 is distinct from n.c500 or t.fields ->> 'place' = 'grid_m:2000' and h.c2k is distinct from n.c2k) and (q.fields ->> 'place' = 'clear' and substring(h.content_mac from 33 for 8) is distinct from substring(n.content_mac from 33 for 8) or q.fields ->> 'place' = 'grid_m:100' and h.c100 is distinct from n.c100 or q.fields ->> 'place' = 'grid_m:500' and h.c500 is distinct from n.c500 or q.fields ->> 'place' = 'grid_m:2000' and h.c2k is distinct from n.c2k) and 'place' <> all(q.refused)) or ((t.fields ->> 'narrative' = 'clear' and substring(h.content_mac from 41 for 8) is distinct from substring(n.content_mac from 41 for 8)) and (q.fields ->> 'narrative' = 'clear' and substring(h.content_mac from 41 for 8) is distinct from substring(n.content_mac from 41 for 8)) and 'narrative' <> all(q.refused)) or ((t.fields ->> 'phone' = 'clear' and substring(h.content_mac from 49 for 8) is distinct from substring(n.content_mac from 49 for 8)) and (q.fields ->> 'phone' = 'clear' and substring(h.content_mac from 49 for 8) is distinct from substring(n.content_mac from 49 for 8)) and 'phone' <> all(q.refused)) or ((t.fields ->> 'title' = 'clear' and substring(h.content_mac from 57 for 8) is distinct from substring(n.content_mac from 57 for 8)) and (q.fields ->> 'title' = 'clear' and substring(h.content_mac from 57 for 8) is distinct from substring(n.content_mac from 57 for 8)) and 'title' <> all(q.refused)) or ((t.fields ->> 'address' = 'clear' and substring(h.content_mac from 65 for 8) is distinct from substring(n.content_mac from 65 for 8)) and (q.fields ->> 'address' = 'clear' and substring(h.content_mac from 65 for 8) is distinct from substring(n.content_mac from 65 for 8)) and 'address' <> all(q.refused)) or ((t.fields ->> 'people' = 'clear' and substring(h.content_mac from 73 for 8) is distinct from substring(n.content_mac from 73 for 8)) and (q.fields ->> 'people' = 'clear' and substring(h.content_mac from 73 for 8) is distinct from substring(n.content_mac from 73 for 8)) and 'people' <> all(q.refused)) or ((t.fields ->> 'vehicles' = 'clear' and substring(h.content_mac from 81 for 8) is distinct from substring(n.content_mac from 81 for 8)) and (q.fields ->> 'vehicles' = 'clear' and substring(h.content_mac from 81 for 8) is distinct from substring(n.content_mac from 81 for 8)) and 'vehicles' <> all(q.refused)) or ((t.fields ->> 'extra' = 'clear' and substring(h.content_mac from 89 for 8) is distinct from substring(n.content_mac from 89 for 8)) and (q.fields ->> 'extra' = 'clear' and substring(h.content_mac from 89 for 8) is distinct from substring(n.content_mac from 89 for 8)) and 'extra' <> all(q.refused))))
  group by t.recipient, t.id, t.mou;
end $$;

-- Tells everybody who holds a record that it is taken back.
create or replace function hub.incidents_recall_all(p_provider int, p_id uuid, p_kind text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp set enable_nestloop = on set enable_seqscan = off as $$
begin
  perform pg_advisory_xact_lock(7201, 4);
  insert into hub.recalls (recipient, provider, dataset, kind, record, mou, due_at)
  select d.recipient, p_provider, 1, p_kind, p_id, d.mou, now() + make_interval(secs => min(d.acknowledge_s))
  from hub.deliveries d where d.records @> array[p_id] and d.dataset = 1
    and d.destroyed_at is null and not exists (select from hub.recalls a where a.recipient = d.recipient and a.mou = d.mou
      and a.record = p_id and a.answer in ('destroyed', 'not-held') and a.acknowledged_at >= d.at)
  group by d.recipient, d.mou;
end $$;
