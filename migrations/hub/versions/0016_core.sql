-- Run as hub_owner.

-- For the key process: how the index of a dataset stands.
create function hub.blind_state(p_dataset int) returns table (version int, bits int, next_version int, next_bits int, reached uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select b.version, b.bits, b.next_version, b.next_bits, b.reached from hub.blind_index b where b.dataset = p_dataset
$$;
-- A new version begins, unless one has: from now on whoever stores has to make its tags too.
create function hub.blind_begin(p_dataset int, p_bits int) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update hub.blind_index set next_version = version + 1, next_bits = p_bits, reached = '00000000-0000-0000-0000-000000000000'
  where dataset = p_dataset and next_version is null
$$;
-- The new version is filled: lookups use it from now on.
create function hub.blind_finish(p_dataset int) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update hub.blind_index set version = next_version, bits = next_bits, next_version = null, next_bits = null, reached = null
  where dataset = p_dataset and next_version is not null
$$;
-- For the key process: the client or session that a proof is about, and whether it is active.
create function hub.proven(p_client text, p_cookie bytea, out client text, out active boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if pg_is_in_recovery() then
    raise exception 'the key process asks the primary' using errcode = '57P03';
  end if;
  client := coalesce(p_client, (select 'session:' || s.id from hub.sessions s where s.token_hash = p_cookie));
  active := (select a.active from hub.admit(client) a);
end $$;
revoke execute on function hub.blind_state, hub.blind_begin, hub.blind_finish, hub.proven from public;
grant execute on function hub.blind_state, hub.blind_begin, hub.blind_finish, hub.proven to hub_keyd;
