-- The role of the key process: the leaves of an event by a function, signatures of leaves. It reads no record.
do $$
begin
  if not exists (select from pg_roles where rolname = 'hub_keyd') then
    create role hub_keyd login noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
  end if;
  alter role hub_keyd set track_activities = off;
  alter role hub_keyd set log_statement = 'none';
  alter role hub_keyd set log_min_error_statement = 'panic';
  alter role hub_keyd set log_min_duration_statement = -1;
  alter role hub_keyd set log_error_verbosity = 'terse';
  alter role hub_keyd set timezone = 'UTC';
  alter role hub_keyd set jit = off;
  alter role hub_keyd set search_path = pg_catalog, public;
end $$;
grant usage on schema hub to hub_keyd;
