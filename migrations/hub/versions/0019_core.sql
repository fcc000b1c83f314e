-- Run as hub_owner. Flags and access reviews: what is only added to, what never changes.
insert into hub.flag_progress (reached, seen, seen_at) values (0, 0, 'epoch');

create function hub.only_added_to() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception '% is only ever added to', tg_table_name using errcode = '42501';
end $$;
create trigger append_only before update or delete or truncate on hub.flags for each statement execute function hub.only_added_to();
create trigger append_only before update or delete or truncate on hub.flag_steps for each statement execute function hub.only_added_to();
create trigger append_only before update or delete or truncate on hub.review_marks for each statement execute function hub.only_added_to();

-- The figures of a run are fixed when it is opened, and all of it when it is signed.
create function hub.review_runs_guard() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.signed_at is not null then
    raise exception 'a review that is signed off never changes' using errcode = '42501';
  end if;
  if (new.id, new.review, new.since, new.until, new.due_at, new.opened_at, new.figures)
     is distinct from (old.id, old.review, old.since, old.until, old.due_at, old.opened_at, old.figures) then
    raise exception 'what a review is about never changes' using errcode = '42501';
  end if;
  return new;
end $$;
create trigger guard before update on hub.review_runs for each row execute function hub.review_runs_guard();
create trigger kept before delete or truncate on hub.review_runs for each statement execute function hub.only_added_to();

-- A decision about a line of a run that is signed comes too late; it waits for a signature that is under way.
create function hub.review_marks_guard() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform from hub.review_runs r where r.id = new.run and r.signed_at is null for share;
  if not found then
    raise exception 'a review that is signed off never changes' using errcode = '42501';
  end if;
  return new;
end $$;
create trigger guard before insert on hub.review_marks for each row execute function hub.review_marks_guard();

revoke execute on function hub.only_added_to, hub.review_runs_guard, hub.review_marks_guard from public;
grant select, insert on hub.flags, hub.flag_steps, hub.flag_pasts, hub.access_reviews, hub.review_runs, hub.review_marks to hub_auditor;
grant update (past) on hub.flag_pasts to hub_auditor;
grant select, update (reached, seen, seen_at) on hub.flag_progress to hub_auditor;
grant update (assignee, next_from, ended_at) on hub.access_reviews to hub_auditor;
grant update (assignee, signed, signed_at) on hub.review_runs to hub_auditor;
