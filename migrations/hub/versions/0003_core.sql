-- Run as hub_owner. What a review of the log filters by, people's sessions beside clients, agreements for their readers.

-- The terms of a leaf: `kind:value`, so that one index serves every filter and every conjunction of them.
create function hub.leaf_terms(p_leaf jsonb) returns text[] language sql immutable parallel safe
  return array_remove(array[
    'type:' || (p_leaf->>'type'), 'decision:' || (p_leaf->>'decision'), 'purpose:' || (p_leaf->>'purpose'), 'case:' || (p_leaf->>'case'),
    'owner:' || (p_leaf->>'owner'), 'dataset:' || (p_leaf->>'dataset'), 'organisation:' || (p_leaf#>>'{by,organisation}'),
    'client:' || (p_leaf#>>'{by,client}'), 'person:' || (p_leaf#>>'{by,person}'), 'session:' || (p_leaf#>>'{by,session}')], null)
    || array(select 'mou:' || (u->>'mou') from jsonb_array_elements(coalesce(p_leaf->'under', '[]')) u);

create or replace function hub.audit_append(p_epoch bigint, p_event uuid, p_type text, p_at timestamptz, p_organisation text, p_extent float8[],
  p_owners text[], p_parts int[], p_leaves text[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare added int;
begin
  if p_epoch is not null then
    perform pg_advisory_xact_lock_shared(7201, 1);
    if not exists (select from hub.policy_epoch e where e.epoch = p_epoch) then
      raise exception 'the policy has changed' using errcode = 'HB001';
    end if;
  end if;
  insert into hub.audit_leaves (event, part, type, at, organisation, owner, extent, leaf, leaf_hash, terms)
  select p_event, u.part, p_type, p_at, p_organisation, u.owner,
         case when p_extent is not null then ST_MakeEnvelope(p_extent[1], p_extent[2], p_extent[3], p_extent[4], 4326) end,
         u.leaf, sha256('\x00'::bytea || convert_to(u.leaf, 'utf8')),       -- RFC 6962 §2.1
         hub.leaf_terms(u.leaf::jsonb)
  from unnest(p_owners, p_parts, p_leaves) u(owner, part, leaf)
  on conflict do nothing;
  get diagnostics added = row_count;
  if added <> cardinality(p_leaves) and exists (
      select from unnest(p_owners, p_parts, p_leaves) u(owner, part, leaf) where not exists (
        select from hub.audit_leaves l where l.event = p_event and l.owner is not distinct from u.owner and l.part = u.part and l.leaf = u.leaf)) then
    raise exception 'this event is in the log with another leaf' using errcode = 'HB002';
  end if;
end $$;

-- A client, or `session:` and the id of a person's session: signed in, not idle for half an hour, not ended, not disabled.
create or replace function hub.admit(p_client text, out pid int, out tx_us bigint, out wall timestamptz, out epoch bigint, out active boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  pid := pg_backend_pid();
  tx_us := (extract(epoch from now()) * 1000000)::bigint;
  wall := clock_timestamp();
  select e.epoch into admit.epoch from hub.policy_epoch e;
  if starts_with(p_client, 'session:') then
    active := exists (select from hub.sessions s join hub.people p on p.id = s.person
                      where s.id = substr(p_client, 9)::uuid and s.ended_at is null and s.expires_at > now()
                        and s.seen_at > now() - interval '30 minutes' and (p.disabled_at is null or p.disabled_at > now()));
  else
    active := exists (select from hub.clients c where c.client_id = p_client and (c.disabled_at is null or c.disabled_at > now()));
  end if;
end $$;

drop function hub.policy_snapshot();
create function hub.policy_snapshot() returns table (epoch bigint, id int, name text, dataset int, provider int, recipient int, purposes text[],
  actions text[], fields jsonb, lookback_s bigint, embargo_s bigint, mou text, version int, sha256 text, since timestamptz, until timestamptz,
  case_required boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (select e.epoch from hub.policy_epoch e), g.id, g.name, g.dataset, m.provider, m.consumer, g.purposes, g.actions, g.fields,
         g.lookback_s, g.embargo_s, m.mou, m.version, m.sha256, m.in_force_from, m.in_force_until, g.case_required
  from hub.grants g join hub.mous m on m.id = g.mou_id where m.state = 'active' order by g.id
$$;

-- The agreements that are loaded and not replaced, as their parties signed them; null: everybody's, for an auditor.
create function hub.agreements(p_organisation int) returns table (id int, mou text, version int, sha256 text, source text, provider int, consumer int,
  since timestamptz, until timestamptz, loaded_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select m.id, m.mou, m.version, m.sha256, m.source, m.provider, m.consumer, m.in_force_from, m.in_force_until, m.loaded_at
  from hub.mous m where m.state = 'active' and (p_organisation is null or p_organisation in (m.provider, m.consumer)) order by m.mou
$$;
-- Their areas as GeoJSON geometries, (lon, lat) in degrees.
create function hub.agreement_areas(p_organisation int) returns table (mou_id int, mou text, name text, area text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select m.id, m.mou, a.name, ST_AsGeoJSON(a.area, 6) from hub.mous m join hub.mou_areas a on a.mou_id = m.id
  where m.state = 'active' and (p_organisation is null or p_organisation in (m.provider, m.consumer)) order by m.mou, a.name
$$;

revoke execute on all functions in schema hub from public;
grant execute on function hub.leaf_terms to hub_auditor;
grant execute on function hub.policy_snapshot to hub_reader, hub_writer, hub_auditor;
grant execute on function hub.agreements, hub.agreement_areas to hub_reader;
grant select, insert, update on hub.people, hub.passkeys, hub.sessions, hub.tickets to hub_writer;
grant delete on hub.passkeys to hub_writer;
grant select, insert, update, delete on hub.recovery_codes, hub.challenges, hub.attempts to hub_writer;
grant select, insert, delete on hub.shared_maps to hub_writer;
