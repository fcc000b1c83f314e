-- Run as hub_owner. Refusals of the MOUs that are active, whatever their period; and what hub_agreements may do with them.
create function hub.refusal_snapshot() returns table (id int, name text, dataset int, provider int, recipient int, fields text[], mou text,
  version int, sha256 text, since timestamptz, until timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select r.id, r.name, r.dataset, m.provider, m.consumer, r.fields, m.mou, m.version, m.sha256, m.in_force_from, m.in_force_until
  from hub.refusals r join hub.mous m on m.id = r.mou_id where m.state = 'active' order by r.id
$$;

revoke execute on all functions in schema hub from public;
grant execute on function hub.refusal_snapshot to hub_reader;
grant select, insert on hub.refusals to hub_agreements;
