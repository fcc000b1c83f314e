-- Run as hub_owner. What never changes, and which steps there are, whoever asks: also for a version that is added.
create or replace function hub.mous_guard() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    if new.state <> 'draft' then
      raise exception 'a version of an MOU never begins as %', new.state using errcode = '42501';
    end if;
    return new;
  end if;
  if old.state <> 'draft' and (new.mou, new.version, new.sha256, new.source, new.provider, new.consumer, new.in_force_from, new.in_force_until)
     is distinct from (old.mou, old.version, old.sha256, old.source, old.provider, old.consumer, old.in_force_from, old.in_force_until) then
    raise exception 'a version of an MOU never changes once it is proposed' using errcode = '42501';
  end if;
  if (old.statement is not null and new.statement is distinct from old.statement)
     or (old.document is not null and new.document is distinct from old.document) then
    raise exception 'what was proposed to be signed never changes' using errcode = '42501';
  end if;
  if new.state <> old.state and not (old.state, new.state) in (('draft', 'proposed'), ('draft', 'withdrawn'), ('proposed', 'signed'),
    ('proposed', 'withdrawn'), ('signed', 'activating'), ('signed', 'withdrawn'), ('activating', 'active'), ('activating', 'withdrawn'),
    ('active', 'suspended'), ('active', 'terminated'), ('active', 'superseded'), ('suspended', 'active'), ('suspended', 'terminated')) then
    raise exception 'an MOU never goes from % to %', old.state, new.state using errcode = '42501';
  end if;
  return new;
end $$;
drop trigger guard on hub.mous;
create trigger guard before insert or update on hub.mous for each row execute function hub.mous_guard();
