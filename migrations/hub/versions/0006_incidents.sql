-- Run as hub_owner (hub/released.py, hub/sharing/labels.py and stored.py at this revision).

drop view hub.incidents_page;
drop view hub.incidents_seek;
drop view hub.incidents_placeless;
drop view hub.incidents_scan;
drop view hub.incidents_time;
drop function hub.incidents_ctx();
drop type hub.incidents_context;

create type hub.incidents_context as (
  grants int[], since timestamptz[], until timestamptz[], windowed int[],
  keys bigint[], t_lo timestamptz, t_hi timestamptz, refused int[], held int[],
  category_clear int[],
  occurred_at_clear int[],
  occurred_at_hour int[],
  occurred_at_day int[],
  place_clear int[],
  place_100 int[],
  place_500 int[],
  place_2000 int[],
  narrative_clear int[],
  phone_clear int[],
  occurred_until_clear int[],
  occurred_until_hour int[],
  occurred_until_day int[],
  reported_at_clear int[],
  reported_at_hour int[],
  reported_at_day int[],
  resolved_at_clear int[],
  resolved_at_hour int[],
  resolved_at_day int[],
  status_clear int[],
  severity_clear int[],
  handling_clear int[],
  title_clear int[],
  address_clear int[],
  people_clear int[],
  vehicles_clear int[],
  extra_clear int[],
  external_id_clear int[],
  category_held int[],
  place_held int[],
  narrative_held int[],
  phone_held int[],
  occurred_until_held int[],
  reported_at_held int[],
  resolved_at_held int[],
  status_held int[],
  severity_held int[],
  handling_held int[],
  title_held int[],
  address_held int[],
  people_held int[],
  vehicles_held int[],
  extra_held int[],
  external_id_held int[]);

create function hub.incidents_ctx() returns hub.incidents_context
language plpgsql stable security definer set search_path = pg_catalog, hub, public, pg_temp as $$
declare body text := hub.context_body(1);
begin
  if body is null then return null; end if;
  return body::hub.incidents_context;
end $$;

create view hub.incidents_page with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, i.k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.held operator(public.&&) (select category_held from c) then null when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.held operator(public.&&) (select status_held from c) then null when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.held operator(public.&&) (select severity_held from c) then null when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.held operator(public.&&) (select handling_held from c) then null when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.held operator(public.&&) (select external_id_held from c) then null when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.held operator(public.&&) (select narrative_held from c) then null when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.held operator(public.&&) (select phone_held from c) then null when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.held operator(public.&&) (select title_held from c) then null when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.held operator(public.&&) (select address_held from c) then null when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.held operator(public.&&) (select people_held from c) then null when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.held operator(public.&&) (select vehicles_held from c) then null when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.held operator(public.&&) (select extra_held from c) then null when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, case when e.held is null then e.grants else e.grants operator(public.|) e.held end as grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select refused from c) then '{}'
  when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants,
  nullif(i.released operator(public.&) (select held from c), '{}') as held offset 0) e
cross join lateral (select case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and p.tier is not null order by i.k2, i.id;

create view hub.incidents_seek with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, i.k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.held operator(public.&&) (select category_held from c) then null when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.held operator(public.&&) (select status_held from c) then null when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.held operator(public.&&) (select severity_held from c) then null when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.held operator(public.&&) (select handling_held from c) then null when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.held operator(public.&&) (select external_id_held from c) then null when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.held operator(public.&&) (select narrative_held from c) then null when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.held operator(public.&&) (select phone_held from c) then null when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.held operator(public.&&) (select title_held from c) then null when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.held operator(public.&&) (select address_held from c) then null when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.held operator(public.&&) (select people_held from c) then null when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.held operator(public.&&) (select vehicles_held from c) then null when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.held operator(public.&&) (select extra_held from c) then null when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, case when e.held is null then e.grants else e.grants operator(public.|) e.held end as grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select refused from c) then '{}'
  when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants,
  nullif(i.released operator(public.&) (select held from c), '{}') as held offset 0) e
cross join lateral (select case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and p.tier is not null and hub.label_keys(i.released, i.k2) operator(pg_catalog.&&) (select keys from c) ;

create view hub.incidents_placeless with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.held operator(public.&&) (select category_held from c) then null when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.held operator(public.&&) (select status_held from c) then null when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.held operator(public.&&) (select severity_held from c) then null when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.held operator(public.&&) (select handling_held from c) then null when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.held operator(public.&&) (select external_id_held from c) then null when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.held operator(public.&&) (select narrative_held from c) then null when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.held operator(public.&&) (select phone_held from c) then null when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.held operator(public.&&) (select title_held from c) then null when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.held operator(public.&&) (select address_held from c) then null when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.held operator(public.&&) (select people_held from c) then null when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.held operator(public.&&) (select vehicles_held from c) then null when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.held operator(public.&&) (select extra_held from c) then null when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, case when e.held is null then e.grants else e.grants operator(public.|) e.held end as grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select refused from c) then '{}'
  when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants,
  nullif(i.released operator(public.&) (select held from c), '{}') as held offset 0) e
cross join lateral (select case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and p.tier is null order by i.id;

create view hub.incidents_scan with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, case when p.tier is not null then i.k2 end as k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.held operator(public.&&) (select category_held from c) then null when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.held operator(public.&&) (select status_held from c) then null when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.held operator(public.&&) (select severity_held from c) then null when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.held operator(public.&&) (select handling_held from c) then null when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.held operator(public.&&) (select external_id_held from c) then null when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.held operator(public.&&) (select narrative_held from c) then null when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.held operator(public.&&) (select phone_held from c) then null when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.held operator(public.&&) (select title_held from c) then null when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.held operator(public.&&) (select address_held from c) then null when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.held operator(public.&&) (select people_held from c) then null when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.held operator(public.&&) (select vehicles_held from c) then null when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.held operator(public.&&) (select extra_held from c) then null when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, case when e.held is null then e.grants else e.grants operator(public.|) e.held end as grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select refused from c) then '{}'
  when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants,
  nullif(i.released operator(public.&) (select held from c), '{}') as held offset 0) e
cross join lateral (select case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}'  ;

create view hub.incidents_time with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, case when p.tier is not null then i.k2 end as k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.held operator(public.&&) (select category_held from c) then null when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.held operator(public.&&) (select occurred_until_held from c) then null when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.held operator(public.&&) (select reported_at_held from c) then null when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.held operator(public.&&) (select resolved_at_held from c) then null when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.held operator(public.&&) (select status_held from c) then null when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.held operator(public.&&) (select severity_held from c) then null when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.held operator(public.&&) (select handling_held from c) then null when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.held operator(public.&&) (select external_id_held from c) then null when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.held operator(public.&&) (select narrative_held from c) then null when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.held operator(public.&&) (select phone_held from c) then null when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.held operator(public.&&) (select title_held from c) then null when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.held operator(public.&&) (select address_held from c) then null when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.held operator(public.&&) (select people_held from c) then null when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.held operator(public.&&) (select vehicles_held from c) then null when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.held operator(public.&&) (select extra_held from c) then null when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, case when e.held is null then e.grants else e.grants operator(public.|) e.held end as grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select refused from c) then '{}'
  when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants,
  nullif(i.released operator(public.&) (select held from c), '{}') as held offset 0) e
cross join lateral (select case when e.held operator(public.&&) (select place_held from c) then null when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and i.occurred_at >= (select t_lo from c) and i.occurred_at < (select t_hi from c) ;

create or replace function hub.incidents_label(p_only int[], p_provider int, p_category text, p_occurred_at timestamptz, p_occurred_until timestamptz, p_reported_at timestamptz, p_resolved_at timestamptz, p_status text, p_severity int, p_handling text, p_external_id text, p_c100 public.geometry, p_c500 public.geometry, p_c2k public.geometry) returns int[]
language sql stable parallel safe as $$
  select coalesce(array_agg(r.clause order by r.clause), '{}') from hub.incidents_rules r
  where r.provider = p_provider and (p_only is null or r.clause = any(p_only))
    and (r.category__one_of is null or p_category = any(r.category__one_of))
    and (r.place__within is null or not exists (select from unnest(r.place__within) a where public.ST_Covers(a, (case r.grid_m when 100 then p_c100 when 500 then p_c500 when 2000 then p_c2k end)) is not true))
    and (r.status__one_of is null or p_status = any(r.status__one_of))
    and (r.severity__one_of is null or p_severity = any(r.severity__one_of))
    and (r.severity__at_most is null or p_severity <= r.severity__at_most)
    and (r.severity__at_least is null or p_severity >= r.severity__at_least)
    and (r.handling__one_of is null or p_handling = any(r.handling__one_of))
    and (r.external_id__one_of is null or p_external_id = any(r.external_id__one_of))
$$;

-- Stores a batch as the current revisions and gives their numbers, in the batch's order; former ones move to the history. A revision
-- that is not the next of its record is refused (40001): somebody else was faster. Records that agree in all that rules test are labelled
-- once; joining them back by nested loops would cost more than it saves.
create or replace function hub.incidents_store(p_provider int, p_id uuid[], p_rev int[], p_macs bytea, p_cell_row int[], p_cell_column int[], p_category text[], p_occurred_at timestamptz[], p_occurred_until timestamptz[], p_reported_at timestamptz[], p_resolved_at timestamptz[], p_status text[], p_severity int[], p_handling text[], p_external_id text[], p_ciphertext bytea, p_place_sealed_at int[], p_place_sealed_length int[], p_narrative_sealed_at int[], p_narrative_sealed_length int[], p_phone_sealed_at int[], p_phone_sealed_length int[], p_title_sealed_at int[], p_title_sealed_length int[], p_address_sealed_at int[], p_address_sealed_length int[], p_people_sealed_at int[], p_people_sealed_length int[], p_vehicles_sealed_at int[], p_vehicles_sealed_length int[], p_extra_sealed_at int[], p_extra_sealed_length int[])
returns table (id uuid, revision_no bigint)
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp set enable_nestloop = off as $$
#variable_conflict use_column
declare former uuid[]; moved int; returned int; stored int; tested text[];
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  if not exists (select from hub.organisations o where o.id = p_provider) then
    raise exception 'there is no such organisation' using errcode = '23503';
  end if;
  former := array(select u.id from unnest(p_id, p_rev) u(id, rev) where u.rev > 1);
  if former <> '{}' then
    -- In one order, so that two batches wait for each other and not in a circle.
    perform from hub.incidents i where i.id = any(former) order by i.id for update;
    perform from hub.incidents_withdrawn w where w.id = any(former) order by w.id, w.rev for update;
    insert into hub.incidents_history (id, rev, revision_no, provider, content_mac, k2, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed, narrative_sealed, phone_sealed, title_sealed, address_sealed, people_sealed, vehicles_sealed, extra_sealed, published_at)
    select i.id, i.rev, i.revision_no, i.provider, i.content_mac, i.k2, i.c100, i.c500, i.c2k, i.category, i.occurred_at, i.occurred_until, i.reported_at, i.resolved_at, i.status, i.severity, i.handling, i.external_id, i.place_sealed, i.narrative_sealed, i.phone_sealed, i.title_sealed, i.address_sealed, i.people_sealed, i.vehicles_sealed, i.extra_sealed, i.published_at from hub.incidents i
    join unnest(p_id, p_rev) u(id, rev) on u.id = i.id where i.id = any(former) and i.rev = u.rev - 1 and i.provider = p_provider;
    get diagnostics moved = row_count;
    select count(*) into returned from unnest(p_id, p_rev) u(id, rev)
    join hub.incidents_withdrawn w on w.id = u.id and w.rev = u.rev - 1 and w.provider = p_provider
    where w.id = any(former) and not exists (select from hub.incidents i where i.id = any(former) and i.id = u.id)
      and not exists (select from hub.incidents_withdrawn x where x.id = any(former) and x.id = u.id and x.rev >= u.rev);
    if moved + returned <> cardinality(former) then
      raise exception 'another revision came first' using errcode = '40001';
    end if;
  end if;
  tested := (select array_remove(array[case when bool_or(r.category__one_of is not null) then 'category' end, case when bool_or(r.place__within is not null and r.grid_m = 100) then 'c100' end, case when bool_or(r.place__within is not null and r.grid_m = 500) then 'c500' end, case when bool_or(r.place__within is not null and r.grid_m = 2000) then 'c2k' end, case when bool_or(r.status__one_of is not null) then 'status' end, case when bool_or(r.severity__one_of is not null) then 'severity' end, case when bool_or(r.severity__at_most is not null) then 'severity' end, case when bool_or(r.severity__at_least is not null) then 'severity' end, case when bool_or(r.handling__one_of is not null) then 'handling' end, case when bool_or(r.external_id__one_of is not null) then 'external_id' end], null) from hub.incidents_rules r where r.provider = p_provider);
  return query
  with a as (
    select u.*, substring(p_macs from 32 * u.n::int - 31 for 32) as content_mac, substring(p_ciphertext from u.place_sealed_at for u.place_sealed_length) as place_sealed, substring(p_ciphertext from u.narrative_sealed_at for u.narrative_sealed_length) as narrative_sealed, substring(p_ciphertext from u.phone_sealed_at for u.phone_sealed_length) as phone_sealed, substring(p_ciphertext from u.title_sealed_at for u.title_sealed_length) as title_sealed, substring(p_ciphertext from u.address_sealed_at for u.address_sealed_length) as address_sealed, substring(p_ciphertext from u.people_sealed_at for u.people_sealed_length) as people_sealed, substring(p_ciphertext from u.vehicles_sealed_at for u.vehicles_sealed_length) as vehicles_sealed, substring(p_ciphertext from u.extra_sealed_at for u.extra_sealed_length) as extra_sealed
    from unnest(p_id, p_rev, p_cell_row, p_cell_column, p_category, p_occurred_at, p_occurred_until, p_reported_at, p_resolved_at, p_status, p_severity, p_handling, p_external_id, p_place_sealed_at, p_place_sealed_length, p_narrative_sealed_at, p_narrative_sealed_length, p_phone_sealed_at, p_phone_sealed_length, p_title_sealed_at, p_title_sealed_length, p_address_sealed_at, p_address_sealed_length, p_people_sealed_at, p_people_sealed_length, p_vehicles_sealed_at, p_vehicles_sealed_length, p_extra_sealed_at, p_extra_sealed_length) with ordinality u(id, rev, cell_row, cell_column, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed_at, place_sealed_length, narrative_sealed_at, narrative_sealed_length, phone_sealed_at, phone_sealed_length, title_sealed_at, title_sealed_length, address_sealed_at, address_sealed_length, people_sealed_at, people_sealed_length, vehicles_sealed_at, vehicles_sealed_length, extra_sealed_at, extra_sealed_length, n)),
  b as materialized (
    select a.*, c.*, row(case when 'category' = any(tested) then a.category end, case when 'c100' = any(tested) then c.c100 end, case when 'c500' = any(tested) then c.c500 end, case when 'c2k' = any(tested) then c.c2k end, case when 'status' = any(tested) then a.status end, case when 'severity' = any(tested) then a.severity end, case when 'handling' = any(tested) then a.handling end, case when 'external_id' = any(tested) then a.external_id end)::text as alike from a cross join lateral (select hub.cell_centre(a.cell_row, a.cell_column, 100) as c100, hub.cell_centre(a.cell_row, a.cell_column, 500) as c500, hub.cell_centre(a.cell_row, a.cell_column, 2000) as c2k offset 0) c),
  k as materialized (
    select b.alike, l.labels from (select distinct on (alike) * from b) b cross join lateral (select coalesce(array_agg(r.clause order by r.clause), '{}') from hub.incidents_rules r
  where r.provider = p_provider
    and (r.category__one_of is null or b.category = any(r.category__one_of))
    and (r.place__within is null or not exists (select from unnest(r.place__within) a where public.ST_Covers(a, (case r.grid_m when 100 then b.c100 when 500 then b.c500 when 2000 then b.c2k end)) is not true))
    and (r.status__one_of is null or b.status = any(r.status__one_of))
    and (r.severity__one_of is null or b.severity = any(r.severity__one_of))
    and (r.severity__at_most is null or b.severity <= r.severity__at_most)
    and (r.severity__at_least is null or b.severity >= r.severity__at_least)
    and (r.handling__one_of is null or b.handling = any(r.handling__one_of))
    and (r.external_id__one_of is null or b.external_id = any(r.external_id__one_of))) l(labels))
  insert into hub.incidents as t (id, rev, revision_no, provider, content_mac, k2, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed, narrative_sealed, phone_sealed, title_sealed, address_sealed, people_sealed, vehicles_sealed, extra_sealed, published_at, released)
  select b.id, b.rev, nextval('hub.revision_no'), p_provider, b.content_mac, hub.cell_code(b.cell_row, b.cell_column),
         b.c100, b.c500, b.c2k, b.category, b.occurred_at, b.occurred_until, b.reported_at, b.resolved_at, b.status, b.severity, b.handling, b.external_id, b.place_sealed, b.narrative_sealed, b.phone_sealed, b.title_sealed, b.address_sealed, b.people_sealed, b.vehicles_sealed, b.extra_sealed, now(), b.labels
  from (select b.*, k.labels from b join k using (alike) order by b.n) b
  on conflict (id) do update set rev = excluded.rev, revision_no = excluded.revision_no, provider = excluded.provider, content_mac = excluded.content_mac, k2 = excluded.k2, c100 = excluded.c100, c500 = excluded.c500, c2k = excluded.c2k, category = excluded.category, occurred_at = excluded.occurred_at, occurred_until = excluded.occurred_until, reported_at = excluded.reported_at, resolved_at = excluded.resolved_at, status = excluded.status, severity = excluded.severity, handling = excluded.handling, external_id = excluded.external_id, place_sealed = excluded.place_sealed, narrative_sealed = excluded.narrative_sealed, phone_sealed = excluded.phone_sealed, title_sealed = excluded.title_sealed, address_sealed = excluded.address_sealed, people_sealed = excluded.people_sealed, vehicles_sealed = excluded.vehicles_sealed, extra_sealed = excluded.extra_sealed, published_at = excluded.published_at, released = excluded.released where t.rev = excluded.rev - 1 and t.provider = excluded.provider
  returning t.id, t.revision_no;
  get diagnostics stored = row_count;
  if stored <> cardinality(p_id) then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
end $$;

-- One batch of a relabelling: of the next p_count records after (p_k2, p_id), in page order, those of the provider get the labels of the
-- clauses p_adds and lose those of p_takes. Gives how far it came (null: at the end) and the number of records touched. Only records that
-- change are locked, in the order of their ids as the store locks them, and labelled by what they hold then.
create or replace function hub.incidents_relabel(p_provider int, p_adds int[], p_takes int[], p_k2 int, p_id uuid, p_count int,
  out reached_k2 int, out reached_id uuid, out touched bigint)
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare ids uuid[];
begin
  with batch as materialized (select * from hub.incidents i where (i.k2, i.id) > (p_k2, p_id) order by i.k2, i.id limit p_count),
  reached as (select b.k2, b.id from batch b order by b.k2 desc, b.id desc limit 1)
  select r.k2, r.id, array(select i.id from batch i where i.provider = p_provider and (i.released operator(public.-) p_takes) operator(public.|) (select coalesce(array_agg(r.clause order by r.clause), '{}') from hub.incidents_rules r
  where r.provider = i.provider and r.clause = any(p_adds)
    and (r.category__one_of is null or i.category = any(r.category__one_of))
    and (r.place__within is null or not exists (select from unnest(r.place__within) a where public.ST_Covers(a, (case r.grid_m when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end)) is not true))
    and (r.status__one_of is null or i.status = any(r.status__one_of))
    and (r.severity__one_of is null or i.severity = any(r.severity__one_of))
    and (r.severity__at_most is null or i.severity <= r.severity__at_most)
    and (r.severity__at_least is null or i.severity >= r.severity__at_least)
    and (r.handling__one_of is null or i.handling = any(r.handling__one_of))
    and (r.external_id__one_of is null or i.external_id = any(r.external_id__one_of))) <> i.released)
  into reached_k2, reached_id, ids from (select 1) one left join reached r on true;
  perform from hub.incidents i where i.id = any(ids) order by i.id for update;
  update hub.incidents t set released = l.released
  from (select i.id, (i.released operator(public.-) p_takes) operator(public.|) (select coalesce(array_agg(r.clause order by r.clause), '{}') from hub.incidents_rules r
  where r.provider = i.provider and r.clause = any(p_adds)
    and (r.category__one_of is null or i.category = any(r.category__one_of))
    and (r.place__within is null or not exists (select from unnest(r.place__within) a where public.ST_Covers(a, (case r.grid_m when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end)) is not true))
    and (r.status__one_of is null or i.status = any(r.status__one_of))
    and (r.severity__one_of is null or i.severity = any(r.severity__one_of))
    and (r.severity__at_most is null or i.severity <= r.severity__at_most)
    and (r.severity__at_least is null or i.severity >= r.severity__at_least)
    and (r.handling__one_of is null or i.handling = any(r.handling__one_of))
    and (r.external_id__one_of is null or i.external_id = any(r.external_id__one_of))) as released from hub.incidents i where i.id = any(ids)) l where t.id = l.id;
  get diagnostics touched = row_count;
end $$;

revoke execute on all functions in schema hub from public;
grant select on hub.incidents_page, hub.incidents_seek, hub.incidents_placeless, hub.incidents_scan, hub.incidents_time to hub_reader;
grant execute on function hub.incidents_ctx to hub_reader;
