-- Run as hub_owner. The log by months, and what waits to be taken into the tree.

alter table hub.log_tiles alter column hashes set storage external;

-- The first event id of a month.
create function hub.first_event(p_month date) returns uuid language sql immutable parallel safe set search_path = pg_catalog, pg_temp
  return rpad(lpad(to_hex((extract(epoch from p_month::timestamp at time zone 'UTC') * 1000)::bigint), 12, '0'), 32, '0')::uuid;

-- Makes the partitions of this month and the next `p_ahead`. One that is there in another shape, or whose events are elsewhere already, is
-- passed over: the default partition takes what no month does.
create function hub.add_audit_months(p_ahead int) returns int language plpgsql volatile security definer
set search_path = pg_catalog, public, pg_temp set client_min_messages = warning as $$
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
      exception when invalid_object_definition or check_violation then null;
      end;
    end if;
    m := (m + interval '1 month')::date;
  end loop;
  return made;
end $$;

create table hub.audit_leaves_other partition of hub.audit_leaves default;
create trigger append_only before update or delete or truncate on hub.audit_leaves_other
  for each statement execute function hub.audit_is_append_only();
select hub.add_audit_months(3);

drop trigger if exists append_only on hub.audit_leaves;
create trigger append_only before update or delete or truncate on hub.audit_leaves
  for each statement execute function hub.audit_is_append_only();
create trigger append_only before update or delete or truncate on hub.log_index
  for each statement execute function hub.audit_is_append_only();
create trigger append_only before update or delete or truncate on hub.heads_leaves
  for each statement execute function hub.audit_is_append_only();
create trigger append_only before update or delete or truncate on hub.checkpoints
  for each statement execute function hub.audit_is_append_only();
create trigger append_only before update or delete or truncate on hub.cosignatures
  for each statement execute function hub.audit_is_append_only();

insert into hub.log_state (size, root, whole_at, beat_at) values (0, sha256(''), '-infinity', '-infinity');

-- As before; and each leaf waits to be taken into the tree.
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
           hub.leaf_terms(u.leaf::jsonb)
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

-- How long the oldest leaf has been waiting; and since when `p_quorum` witnesses have not cosigned all that is signed (null: they have, or
-- none need to), both in seconds.
create function hub.log_behind(p_quorum int, out behind_s float8, out unwitnessed_s float8)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (select extract(epoch from clock_timestamp() - p.at) from hub.log_pending p order by p.leaf limit 1),
         case when p_quorum > 0 then (
           select extract(epoch from clock_timestamp() - c.at) from hub.checkpoints c
           where c.size > coalesce((
             select last.size from hub.witnesses w
             cross join lateral (select s.size from hub.cosignatures s where s.witness = w.name order by s.size desc limit 1) last
             where w.removed_at is null order by last.size desc offset p_quorum - 1 limit 1), 0)
           order by c.size limit 1) end
$$;

-- For a bundle: a version of an agreement that leaves cite, whatever became of it, with what its parties signed; a boundary file; the keys
-- with which parties sign.
create function hub.cited_mou(p_mou text, p_version int) returns table (source text, statement text, signatures jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select m.source, m.statement,
         coalesce((select jsonb_agg(jsonb_build_object('organisation', o.slug, 'kid', s.kid, 'jws', s.jws) order by o.slug)
                   from hub.mou_signatures s join hub.organisations o on o.id = s.organisation where s.mou_id = m.id), '[]')
  from hub.mous m where m.mou = p_mou and m.version = p_version
$$;
create function hub.cited_boundary(p_sha256 text) returns setof bytea
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select b.content from hub.boundaries b where b.sha256 = p_sha256
$$;
create function hub.keys_of_parties() returns table (organisation text, jwk jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select o.slug, k.jwk from hub.party_keys k join hub.organisations o on o.id = k.organisation where k.confirmed_at is not null
  order by o.slug, k.confirmed_at
$$;

revoke execute on function hub.cited_mou, hub.cited_boundary, hub.keys_of_parties from public;
grant execute on function hub.cited_mou, hub.cited_boundary, hub.keys_of_parties to hub_auditor;
revoke execute on function hub.first_event, hub.add_audit_months, hub.log_behind from public;
grant execute on function hub.add_audit_months, hub.log_behind to hub_sequencer;
grant execute on function hub.log_behind to hub_keyd, hub_auditor;
grant select, delete on hub.log_pending to hub_sequencer;
grant select, insert on hub.log_index, hub.heads_leaves, hub.checkpoints to hub_sequencer;
grant select, insert, update on hub.log_tiles, hub.log_heads, hub.log_alarms to hub_sequencer;
grant select, update on hub.log_state to hub_sequencer;
grant select on hub.leaf_signatures, hub.witnesses, hub.cosignatures to hub_sequencer;
grant select on hub.log_pending, hub.log_index, hub.heads_leaves, hub.log_tiles, hub.log_heads, hub.log_state, hub.checkpoints, hub.witnesses, hub.cosignatures,
  hub.log_alarms to hub_auditor;
grant insert on hub.cosignatures to hub_auditor;
