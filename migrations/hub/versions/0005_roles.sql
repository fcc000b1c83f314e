-- A role that changes which MOUs are in force: rules, labels by a function, the policy epoch. It reads no record and no log.
do $$
begin
  if not exists (select from pg_roles where rolname = 'hub_agreements') then
    create role hub_agreements login noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
  end if;
  alter role hub_agreements set track_activities = off;
  alter role hub_agreements set log_statement = 'none';
  alter role hub_agreements set log_min_error_statement = 'panic';
  alter role hub_agreements set log_min_duration_statement = -1;
  alter role hub_agreements set log_error_verbosity = 'terse';
  alter role hub_agreements set timezone = 'UTC';
  alter role hub_agreements set jit = off;
  alter role hub_agreements set search_path = pg_catalog, public;
end $$;
grant usage on schema hub to hub_agreements;
