-- One order for everyone who locks: the advisory lock, DEKs by their key, KEKs by their number. Without it a publish and a rotation, or a
-- publish and the end of a bucket, could wait for each other.
create or replace function keys.dek_has_its_kek() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Whoever shreds takes this lock alone: what was added before is found and deleted, what comes after finds what is written here.
  if tg_op = 'INSERT' then
    perform pg_advisory_xact_lock_shared(7203, 1);
  end if;
  -- Locked as a foreign key would: whoever destroys a KEK waits, and then finds the DEK.
  perform from keys.kek k where k.kek_id in (select distinct n.kek_id from added n) order by k.kek_id for key share;
  if exists (select from added n where not exists (select from keys.kek k where k.kek_id = n.kek_id)) then
    raise exception 'there is no such key-encryption key' using errcode = '23503';
  end if;
  if tg_op = 'INSERT' then
    if exists (select from added n join keys.shredded s on s.record = n.record) then
      raise exception 'this record is shredded' using errcode = 'HB011';
    end if;
    -- A process that has not heard of a rotation, or of the end of a bucket, is told so by this error, and looks for the new key.
    if exists (select from (select distinct n.kek_id from added n) a join keys.kek k using (kek_id) where k.destroyed_at is not null
               or exists (select from keys.kek newer where (newer.owner, newer.class, newer.bucket) = (k.owner, k.class, k.bucket)
                          and newer.epoch > k.epoch)) then
      raise exception 'there is a newer key-encryption key' using errcode = 'HB010';
    end if;
  end if;
  return null;
end $$;
