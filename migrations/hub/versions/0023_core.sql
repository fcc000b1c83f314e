-- Run as hub_owner. What destroys, or lets destroy, is committed with its leaf or not at all: the writer's role may call it without one.

-- Whether this very transaction adds a leaf of a provider that says so. What is added waits to be taken into the tree, so few are looked at.
create function hub.logged_now(p_provider int, p_said jsonb) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from hub.log_pending p join hub.audit_leaves l on l.id = p.leaf join hub.organisations o on o.id = p_provider
    where p.xmin = pg_current_xact_id()::xid and l.owner = o.slug
      and l.leaf::jsonb @> (p_said || jsonb_build_object('owner', o.slug, 'decision', 'permit')))
$$;
create function hub.shreds_logged() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not hub.logged_now(new.provider, jsonb_build_object('type', 'shred', 'event', new.event)) then
    raise exception 'no leaf of its owner tells of this order' using errcode = 'HB020';
  end if;
  return null;
end $$;
create constraint trigger logged after insert on hub.shreds deferrable initially deferred
  for each row execute function hub.shreds_logged();

create function hub.holds_logged() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare said jsonb := jsonb_build_object('hold', new.id) || case when new.released_at is null then '{}' else '{"released": true}' end::jsonb;
begin
  if not hub.logged_now(new.provider, jsonb_build_object('type', 'hold', 'asked', said)) then
    raise exception 'no leaf of its owner tells of this hold' using errcode = 'HB020';
  end if;
  return null;
end $$;
create constraint trigger logged after insert or update on hub.holds deferrable initially deferred
  for each row execute function hub.holds_logged();

create function hub.retention_logged() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare rule hub.retention := coalesce(new, old);
begin
  if not hub.logged_now(rule.provider, jsonb_build_object('type', 'retention',
       'asked', jsonb_build_object('months', case when tg_op = 'DELETE' then 0 else rule.months end))) then
    raise exception 'no leaf of its owner tells of this rule' using errcode = 'HB020';
  end if;
  return null;
end $$;
create constraint trigger logged after insert or update or delete on hub.retention deferrable initially deferred
  for each row execute function hub.retention_logged();

revoke execute on function hub.logged_now, hub.shreds_logged, hub.holds_logged, hub.retention_logged from public;
