-- Run as hub_owner. What never changes, and which steps there are, whoever asks.
create function hub.mous_guard() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.state <> 'draft' and (new.mou, new.version, new.sha256, new.source, new.provider, new.consumer, new.in_force_from, new.in_force_until)
     is distinct from (old.mou, old.version, old.sha256, old.source, old.provider, old.consumer, old.in_force_from, old.in_force_until) then
    raise exception 'a version of an MOU never changes once it is proposed' using errcode = '42501';
  end if;
  if (old.statement is not null and new.statement is distinct from old.statement)
     or (old.document is not null and new.document is distinct from old.document) then
    raise exception 'what was proposed to be signed never changes' using errcode = '42501';
  end if;
  if new.state <> old.state and not (old.state, new.state) in (('draft', 'proposed'), ('draft', 'withdrawn'), ('proposed', 'signed'),
    ('proposed', 'withdrawn'), ('signed', 'activating'), ('signed', 'withdrawn'), ('activating', 'active'), ('active', 'suspended'),
    ('active', 'terminated'), ('active', 'superseded'), ('suspended', 'active'), ('suspended', 'terminated'), ('suspended', 'superseded')) then
    raise exception 'an MOU never goes from % to %', old.state, new.state using errcode = '42501';
  end if;
  return new;
end $$;
create trigger guard before update on hub.mous for each row execute function hub.mous_guard();

drop function hub.agreements(int);
-- The agreements that are in force or suspended, as their parties signed them; null: everybody's, for an auditor.
create function hub.agreements(p_organisation int) returns table (id int, mou text, version int, sha256 text, source text, provider int, consumer int,
  since timestamptz, until timestamptz, loaded_at timestamptz, state text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select m.id, m.mou, m.version, m.sha256, m.source, m.provider, m.consumer, m.in_force_from, m.in_force_until, m.loaded_at, m.state
  from hub.mous m where m.state in ('active', 'suspended') and (p_organisation is null or p_organisation in (m.provider, m.consumer))
  order by m.mou
$$;
create or replace function hub.agreement_areas(p_organisation int) returns table (mou_id int, mou text, name text, area text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select m.id, m.mou, a.name, ST_AsGeoJSON(a.area, 6) from hub.mous m join hub.mou_areas a on a.mou_id = m.id
  where m.state in ('active', 'suspended') and (p_organisation is null or p_organisation in (m.provider, m.consumer)) order by m.mou, a.name
$$;

revoke execute on all functions in schema hub from public;
grant execute on function hub.agreements to hub_reader;
revoke update on hub.mous from hub_agreements;
grant update (state, ordered_by, sha256, source, provider, consumer, in_force_from, in_force_until, stepped_at, document, statement, suspended_by)
  on hub.mous to hub_agreements;
grant select, insert, update (confirmed_at, revoked_at) on hub.party_keys to hub_agreements;
grant select, insert on hub.boundaries to hub_agreements;
grant select, insert, update on hub.mou_signatures, hub.mou_diffs to hub_agreements;
