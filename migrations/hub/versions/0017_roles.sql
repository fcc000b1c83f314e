-- The role of the sequencer: it takes waiting leaves into the tree and keeps checkpoints. It reads no leaf's body and no record.
do $$
begin
  if not exists (select from pg_roles where rolname = 'hub_sequencer') then
    create role hub_sequencer login noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
  end if;
  alter role hub_sequencer set track_activities = off;
  alter role hub_sequencer set log_statement = 'none';
  alter role hub_sequencer set log_min_error_statement = 'panic';
  alter role hub_sequencer set log_min_duration_statement = -1;
  alter role hub_sequencer set log_error_verbosity = 'terse';
  alter role hub_sequencer set timezone = 'UTC';
  alter role hub_sequencer set jit = off;
  alter role hub_sequencer set search_path = pg_catalog, public;
end $$;
grant usage on schema hub to hub_sequencer;
