-- Run as hub_owner.

drop function hub.policy_snapshot();
create function hub.policy_snapshot() returns table (epoch bigint, id int, name text, dataset int, provider int, recipient int, purposes text[],
  actions text[], fields jsonb, lookback_s bigint, embargo_s bigint, mou text, version int, sha256 text, since timestamptz, until timestamptz,
  case_required boolean, duties jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (select e.epoch from hub.policy_epoch e), g.id, g.name, g.dataset, m.provider, m.consumer, g.purposes, g.actions, g.fields,
         g.lookback_s, g.embargo_s, m.mou, m.version, m.sha256, m.in_force_from, m.in_force_until, g.case_required, g.duties
  from hub.grants g join hub.mous m on m.id = g.mou_id where m.state = 'active' order by g.id
$$;

-- What an access gave under grants with duties, in its own transaction. `p_rows`: hub/sharing/deliveries.py.
create function hub.deliver(p_event uuid, p_recipient int, p_dataset smallint, p_at timestamptz, p_rows jsonb) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  insert into hub.deliveries (event, recipient, provider, dataset, mou, version, grants, fields, records, at, retain_until, acknowledge_s)
  select p_event, p_recipient, r.provider, p_dataset, r.mou, r.version, r.grants, r.fields, r.records, p_at,
         p_at + make_interval(secs => r.retain_s), r.acknowledge_s
  from jsonb_to_recordset(p_rows) as r(provider int, mou text, version int, grants int[], fields jsonb, retain_s bigint,
                                       acknowledge_s bigint, records uuid[])
$$;

revoke execute on function hub.policy_snapshot, hub.deliver from public;
grant execute on function hub.policy_snapshot to hub_reader, hub_writer, hub_auditor;
grant execute on function hub.deliver to hub_reader;
grant select on hub.deliveries, hub.recalls to hub_agreements;
grant update (destroyed_at) on hub.deliveries to hub_agreements;
grant insert (recipient, provider, dataset, kind, mou, at, due_at), update (acknowledged_at, answer) on hub.recalls to hub_agreements;
