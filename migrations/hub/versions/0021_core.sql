-- A leaf is filed under what it says: whoever reads columns and whoever reads the text see the same. What could not be read later, or be
-- taken for a heads leaf, which only the sequencer writes, is refused. HB003: that is a defect of the hub, or somebody at its database.
create function hub.checked_terms(
  p_leaf text, p_event uuid, p_type text, p_at timestamptz, p_organisation text, p_owner text, p_part int
) returns text[] language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
  body jsonb := p_leaf::jsonb;
begin
  if jsonb_typeof(body) <> 'object' or body->'v' is distinct from '1' or (body->>'event') is distinct from p_event::text
     or p_type = 'heads' or (body->>'type') is distinct from p_type or (body->>'owner') is distinct from p_owner
     or (body->>'part') is distinct from p_part::text or (body#>>'{by,organisation}') is distinct from p_organisation
     or (body->>'at') is distinct from to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') or jsonb_typeof(body->'by') is distinct from 'object'
     or (body->>'decision') is null or jsonb_typeof(body->'asked') <> 'object' or jsonb_typeof(body->'shown') <> 'object'
     or jsonb_typeof(body->'under') <> 'array' or p_leaf ~ '[\n\r\t]' then
    raise exception 'the leaf does not say what it is filed under' using errcode = 'HB003';
  end if;
  return hub.leaf_terms(body);
end $$;

-- As before, but for the terms.
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
  with added as (
    insert into hub.audit_leaves (event, part, type, at, organisation, owner, extent, leaf, leaf_hash, terms)
    select p_event, u.part, p_type, p_at, p_organisation, u.owner,
           case when p_extent is not null then ST_MakeEnvelope(p_extent[1], p_extent[2], p_extent[3], p_extent[4], 4326) end,
           u.leaf, sha256('\x00'::bytea || convert_to(u.leaf, 'utf8')),       -- RFC 6962 §2.1
           hub.checked_terms(u.leaf, p_event, p_type, p_at, p_organisation, u.owner, u.part)
    from unnest(p_owners, p_parts, p_leaves) u(owner, part, leaf)
    on conflict do nothing
    returning id, leaf_hash, coalesce(owner, '') as owner)
  insert into hub.log_pending (leaf, leaf_hash, owner) select a.id, a.leaf_hash, a.owner from added a;
  get diagnostics added = row_count;
  if added <> cardinality(p_leaves) and exists (
      select from unnest(p_owners, p_parts, p_leaves) u(owner, part, leaf) where not exists (
        select from hub.audit_leaves l where l.event = p_event and l.owner is not distinct from u.owner and l.part = u.part and l.leaf = u.leaf)) then
    raise exception 'this event is in the log with another leaf' using errcode = 'HB002';
  end if;
end $$;

-- As before; whoever reads the whole log, a dump, keeps nobody waiting who adds to it: then months are made an hour later.
create or replace function hub.add_audit_months(p_ahead int) returns int language plpgsql volatile security definer
set search_path = pg_catalog, public, pg_temp set client_min_messages = warning set lock_timeout = '500ms' as $$
declare
  m date := date_trunc('month', now() at time zone 'UTC')::date;
  made int := 0;
  name text;
begin
  for i in 0..p_ahead loop
    name := 'audit_leaves_' || to_char(m, 'YYYY_MM');
    if to_regclass('hub.' || name) is null then
      begin
        execute format('create table hub.%I partition of hub.audit_leaves for values from (%L) to (%L)', name,
                       hub.first_event(m), hub.first_event((m + interval '1 month')::date));
        execute format('create trigger append_only before update or delete or truncate on hub.%I for each statement'
                       ' execute function hub.audit_is_append_only()', name);
        made := made + 1;
      exception
        when invalid_object_definition or check_violation then null;
        when lock_not_available then return made;
      end;
    end if;
    m := (m + interval '1 month')::date;
  end loop;
  return made;
end $$;
revoke execute on function hub.checked_terms from public;
