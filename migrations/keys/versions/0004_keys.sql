create or replace function keys.dek_has_its_kek() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Locked as a foreign key would: whoever destroys a KEK waits, and then finds the DEK.
  perform from keys.kek k where k.kek_id in (select distinct n.kek_id from added n) for key share;
  if exists (select from added n where not exists (select from keys.kek k where k.kek_id = n.kek_id)) then
    raise exception 'there is no such key-encryption key' using errcode = '23503';
  end if;
  -- A process that has not heard of a rotation is told so by this error, and looks for the new key.
  if tg_op = 'INSERT' and exists (select from (select distinct n.kek_id from added n) a join keys.kek k using (kek_id)
             join keys.kek newer on (newer.owner, newer.class, newer.bucket) = (k.owner, k.class, k.bucket) and newer.epoch > k.epoch) then
    raise exception 'there is a newer key-encryption key' using errcode = 'HB010';
  end if;
  return null;
end $$;
grant delete on keys.kek to hub_keys;             -- a trigger keeps those that are in use
grant update (wrapped) on keys.kek to hub_keys;   -- when the root key changes
