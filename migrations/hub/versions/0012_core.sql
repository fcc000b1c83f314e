-- Run as hub_owner.

drop function hub.policy_snapshot();
create function hub.policy_snapshot() returns table (epoch bigint, id int, name text, dataset int, provider int, recipient int, purposes text[],
  actions text[], fields jsonb, lookback_s bigint, embargo_s bigint, mou text, version int, sha256 text, since timestamptz, until timestamptz,
  case_required boolean, duties jsonb, min_count int)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (select e.epoch from hub.policy_epoch e), g.id, g.name, g.dataset, m.provider, m.consumer, g.purposes, g.actions, g.fields,
         g.lookback_s, g.embargo_s, m.mou, m.version, m.sha256, m.in_force_from, m.in_force_until, g.case_required, g.duties, g.min_count
  from hub.grants g join hub.mous m on m.id = g.mou_id where m.state = 'active' order by g.id
$$;
revoke execute on function hub.policy_snapshot from public;
grant execute on function hub.policy_snapshot to hub_reader, hub_writer, hub_auditor;
