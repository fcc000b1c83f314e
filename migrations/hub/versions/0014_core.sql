-- Run as hub_owner.

-- The day with whose beginning (UTC) the retention of a record ends: of the month after the one p_months later; null without a rule.
create function hub.kept_until(p_at timestamptz, p_months int) returns date
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select least(date '9999-12-01', (date_trunc('month', p_at at time zone 'UTC') + make_interval(months => p_months + 1))::date)
  where p_months is not null
$$;
-- For the key process: the keys of what an order names are destroyed.
create function hub.shred_done(p_shred bigint) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update hub.shreds set keys_gone_at = now() where id = p_shred and keys_gone_at is null
$$;
-- For the key process: orders are complete when every copy of the keys database that may hold their keys is gone: those that were made
-- before p_days days, and of those that were registered all but the ones since p_oldest (an hour for clocks that differ).
create function hub.shreds_complete(p_days int, p_oldest timestamptz) returns bigint
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  with done as (
    update hub.shreds set complete_at = now()
    where complete_at is null and keys_gone_at <= now() - make_interval(days => p_days) and keys_gone_at <= coalesce(p_oldest, 'infinity') - interval '1 hour'
    returning 1)
  select count(*) from done
$$;
revoke execute on function hub.kept_until, hub.shred_done, hub.shreds_complete from public;
grant execute on function hub.shred_done, hub.shreds_complete to hub_keyd;
grant select on hub.retention, hub.shreds, hub.holds to hub_writer;
grant insert on hub.holds to hub_writer;
grant update (released_at) on hub.holds to hub_writer;
grant insert, delete on hub.retention to hub_writer;
grant update (months, since) on hub.retention to hub_writer;
