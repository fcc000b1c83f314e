-- Run as hub_owner. The sealed context, admission, and the audit log's only way in.
insert into hub.policy_epoch (epoch) values (1);
create sequence hub.revision_no as bigint;

-- A context is `mac || header \n body`: 64 hex digits of HMAC-SHA-256, then pid|transaction|expires|dataset|organisation|purpose|epoch.
-- pid and the start of the transaction (µs since 1970) bind it to one transaction of one session; both times are the server's.
create function hub.context_body(p_dataset int) returns text
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  sealed text := current_setting('hub.context', true);
  head text;
  part text[];
begin
  if coalesce(sealed, '') = '' or left(sealed, 64) is distinct from
     encode(hmac(convert_to(substr(sealed, 65), 'utf8'), (select k from hub.seal_key), 'sha256'), 'hex') then
    return null;
  end if;
  head := split_part(substr(sealed, 65), E'\n', 1);
  part := string_to_array(head, '|');
  if part[1]::int is distinct from pg_backend_pid()
     or part[2]::bigint is distinct from (extract(epoch from now()) * 1000000)::bigint
     or part[3]::bigint <= (extract(epoch from clock_timestamp()) * 1000000)::bigint
     or part[4]::int is distinct from p_dataset then
    return null;
  end if;
  return substr(sealed, 66 + length(head));
end $$;

-- Sets the context for this transaction. Writes nothing, so it works on a hot standby.
create function hub.enter(p_dataset int, p_sealed text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  perform set_config('hub.context', p_sealed, true);
  if hub.context_body(p_dataset) is null then
    perform set_config('hub.context', '', true);
    raise exception 'the seal does not hold' using errcode = '42501';
  end if;
end $$;

-- What a request needs to know before it is sealed: this session and transaction, the server's clock, the policy epoch, the client.
create function hub.admit(p_client text, out pid int, out tx_us bigint, out wall timestamptz, out epoch bigint, out active boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  pid := pg_backend_pid();
  tx_us := (extract(epoch from now()) * 1000000)::bigint;
  wall := clock_timestamp();
  select e.epoch into admit.epoch from hub.policy_epoch e;
  active := exists (select from hub.clients c where c.client_id = p_client and (c.disabled_at is null or c.disabled_at > now()));
end $$;

-- The grants of active MOUs and the epoch they hold for, in one snapshot.
create function hub.policy_snapshot() returns table (epoch bigint, id int, name text, dataset int, provider int, recipient int, purposes text[],
  actions text[], fields jsonb, lookback_s bigint, embargo_s bigint, mou text, version int, sha256 text, since timestamptz, until timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (select e.epoch from hub.policy_epoch e), g.id, g.name, g.dataset, m.provider, m.consumer, g.purposes, g.actions, g.fields,
         g.lookback_s, g.embargo_s, m.mou, m.version, m.sha256, m.in_force_from, m.in_force_until
  from hub.grants g join hub.mous m on m.id = g.mou_id where m.state = 'active' order by g.id
$$;
create function hub.organisation_names() returns table (id int, slug text, uid uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select id, slug, uid from hub.organisations order by id $$;

-- How much of a dataset each grant reaches, as the planner's own statistics estimate it (a share of all rows; absent: rare).
create function hub.grant_shares(p_table text) returns table (grant_id int, share float4)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select u.g, u.f from pg_stats s, unnest(s.most_common_elems::text::int[], s.most_common_elem_freqs) u(g, f)
  where s.schemaname = 'hub' and s.tablename = p_table and s.attname = 'released' and u.g is not null
$$;

-- The only way into the log. With an epoch: refused (HB001) unless that epoch still holds; whoever changes the policy waits for the
-- appends that have begun (advisory lock 1). The same event may be sent again after an unknown outcome; another leaf under its name
-- is refused (HB002).
create function hub.audit_append(p_epoch bigint, p_event uuid, p_type text, p_at timestamptz, p_organisation text, p_extent float8[],
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
  insert into hub.audit_leaves (event, part, type, at, organisation, owner, extent, leaf, leaf_hash)
  select p_event, u.part, p_type, p_at, p_organisation, u.owner,
         case when p_extent is not null then ST_MakeEnvelope(p_extent[1], p_extent[2], p_extent[3], p_extent[4], 4326) end,
         u.leaf, sha256('\x00'::bytea || convert_to(u.leaf, 'utf8'))        -- RFC 6962 §2.1
  from unnest(p_owners, p_parts, p_leaves) u(owner, part, leaf)
  on conflict do nothing;
  get diagnostics added = row_count;
  if added <> cardinality(p_leaves) and exists (
      select from unnest(p_owners, p_parts, p_leaves) u(owner, part, leaf) where not exists (
        select from hub.audit_leaves l where l.event = p_event and l.owner is not distinct from u.owner and l.part = u.part and l.leaf = u.leaf)) then
    raise exception 'this event is in the log with another leaf' using errcode = 'HB002';
  end if;
end $$;

create function hub.audit_is_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is only ever added to' using errcode = '42501';
end $$;
create trigger append_only before update or delete or truncate on hub.audit_leaves
  for each statement execute function hub.audit_is_append_only();

create function hub.label_keys(released int[], k2 int) returns bigint[] language sql immutable strict parallel safe
  return array(select (g::bigint << 32) | k2 from unnest(released) g);

revoke execute on all functions in schema hub from public;
grant execute on function hub.enter, hub.admit, hub.policy_snapshot, hub.organisation_names, hub.grant_shares, hub.label_keys to hub_reader;
grant execute on function hub.audit_append to hub_reader, hub_writer, hub_auditor;
grant execute on function hub.admit, hub.policy_snapshot, hub.organisation_names to hub_writer, hub_auditor;
grant select, insert on hub.organisations to hub_writer;
grant select, insert, update on hub.clients to hub_writer;
grant select, insert, delete on hub.assertions_seen to hub_writer;
grant select on hub.audit_leaves, hub.organisations to hub_auditor;
