-- Roles. hub_owner owns everything and can't sign in. The three that sign in own nothing: hub_reader sees the released views,
-- hub_writer fills inboxes and calls the functions that store, hub_auditor reads the audit log. Roles belong to the whole server.
do $$
declare r text;
begin
  if not exists (select from pg_roles where rolname = 'hub_owner') then
    create role hub_owner nologin noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
  end if;
  foreach r in array array['hub_reader', 'hub_writer', 'hub_auditor'] loop
    if not exists (select from pg_roles where rolname = r) then
      execute format('create role %I login noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication', r);
    end if;
    -- A statement holds the seal of its reader: it must show neither in pg_stat_activity nor in the server's log.
    execute format('alter role %I set track_activities = off', r);
    execute format('alter role %I set log_statement = ''none''', r);
    execute format('alter role %I set log_min_error_statement = ''panic''', r);
    execute format('alter role %I set log_min_duration_statement = -1', r);
    -- DETAIL of a violated constraint shows the row.
    execute format('alter role %I set log_error_verbosity = ''terse''', r);
    execute format('alter role %I set timezone = ''UTC''', r);
    execute format('alter role %I set jit = off', r);
    -- Planning a released view anew costs more than reading a page of it, and no parameter would change the plan.
    execute format('alter role %I set plan_cache_mode = ''force_generic_plan''', r);
    execute format('alter role %I set search_path = pg_catalog, public', r);
  end loop;
end $$;
create extension if not exists postgis;
create extension if not exists intarray;
create extension if not exists pgcrypto;
revoke create on schema public from public;
do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$;
create schema hub authorization hub_owner;
grant usage on schema hub to hub_reader, hub_writer, hub_auditor;
