-- Run as the administrator of the keys database. Same promise as the foreign key: no DEK without its KEK.
alter table keys.dek drop constraint dek_kek_id_fkey;

create function keys.dek_has_its_kek() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Locked as a foreign key would: whoever destroys a KEK waits, and then finds the DEK.
  perform from keys.kek k where k.kek_id in (select distinct n.kek_id from added n) for key share;
  if exists (select from added n where not exists (select from keys.kek k where k.kek_id = n.kek_id)) then
    raise exception 'there is no such key-encryption key' using errcode = '23503';
  end if;
  return null;
end $$;
create trigger has_its_kek after insert on keys.dek referencing new table as added
  for each statement execute function keys.dek_has_its_kek();
create trigger keeps_its_kek after update on keys.dek referencing new table as added
  for each statement execute function keys.dek_has_its_kek();

create function keys.kek_is_unused() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'keys are destroyed in READ COMMITTED: an older snapshot would not see a DEK that was added since' using errcode = '25001';
  end if;
  if exists (select from gone g join keys.dek d on d.kek_id = g.kek_id where not exists (select from keys.kek k where k.kek_id = g.kek_id)) then
    raise exception 'data keys are still wrapped with this key' using errcode = '23503';
  end if;
  return null;
end $$;
create trigger is_unused after delete on keys.kek referencing old table as gone
  for each statement execute function keys.kek_is_unused();
create trigger keeps_its_id after update on keys.kek referencing old table as gone
  for each statement execute function keys.kek_is_unused();
create function keys.no_truncate() returns trigger language plpgsql as $$
begin
  raise exception 'keys are deleted, never truncated: data keys may still be wrapped with them' using errcode = '23503';
end $$;
create trigger no_truncate before truncate on keys.kek for each statement execute function keys.no_truncate();
revoke execute on all functions in schema keys from public;
