-- For the key process: the client or session that a proof is about, whether it is active, for whom it is counted (a client, or a person
-- whatever the session), and for which organisation; and the hub's time.
drop function hub.proven(text, bytea);
create function hub.proven(p_client text, p_cookie bytea, out client text, out active boolean, out counted text, out organisation int,
  out wall timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if pg_is_in_recovery() then
    raise exception 'the key process asks the primary' using errcode = '57P03';
  end if;
  if p_client is null then
    select 'session:' || s.id, 'person:' || p.id, p.organisation into client, counted, organisation
    from hub.sessions s join hub.people p on p.id = s.person where s.token_hash = p_cookie;
  else
    client := p_client;
    counted := p_client;
    organisation := (select c.organisation from hub.clients c where c.client_id = p_client);
  end if;
  select a.active, a.wall into active, wall from hub.admit(client) a;
end $$;
revoke execute on function hub.proven from public;
grant execute on function hub.proven to hub_keyd;
