-- Cells, and the dataset incidents (hub/geo.py, hub/sharing/stored.py at this revision). Run as hub_owner.

create function hub.cell_columns(r int) returns bigint language sql immutable strict parallel safe
  return 80000 * (100000000 - (2 * (r / 20) + 1 - 10000)::bigint * (2 * (r / 20) + 1 - 10000)::bigint) / (400000000 + (2 * (r / 20) + 1 - 10000)::bigint * (2 * (r / 20) + 1 - 10000)::bigint);
create function hub.cell_row(lat float8) returns int language sql immutable strict parallel safe
  return least(floor((lat + 90.0::float8) * 200000.0::float8 / 180.0::float8)::int, 199999);
create function hub.cell_column(lon float8, r int) returns int language sql immutable strict parallel safe
  return case when lon = 180 then 0
    else least(floor((lon + 180.0::float8) * (hub.cell_columns(r) * 20)::float8 / 360.0::float8)::int,
               (hub.cell_columns(r) * 20 - 1)::int) end;
create function hub.cell_code(r int, c int) returns int language sql immutable strict parallel safe
  return r / 20 * 32768 + c / 20;
create function hub.cell_centre(r int, c int, grid_m int) returns public.geometry
  language plpgsql immutable strict parallel safe as $$
declare
  side int := grid_m / 100;
  width float8 := hub.cell_columns(r) * (20 / side);
  lon float8 := (c / side + 0.5::float8) * 360.0::float8 / width - 180.0::float8;
  lat float8 := (r / side + 0.5::float8) * 180.0::float8 / (10000 * (20 / side))::float8 - 90.0::float8;
begin
  return public.ST_SetSRID(public.ST_MakePoint(floor(lon * 1e7::float8 + 0.5::float8) / 1e7::float8,
                                               floor(lat * 1e7::float8 + 0.5::float8) / 1e7::float8), 4326);
end $$;

create table hub.incidents_rules (
  grant_id int primary key references hub.grants,
  provider int not null references hub.organisations,
  grid_m int,
  category__one_of text[],
  place__within public.geometry[],
  status__one_of text[],
  severity__one_of int[],
  severity__at_most int,
  severity__at_least int,
  handling__one_of text[],
  external_id__one_of text[]);
create index incidents_rules_provider on hub.incidents_rules (provider);

create function hub.incidents_label(p_only int[], p_provider int, p_category text, p_occurred_at timestamptz, p_occurred_until timestamptz, p_reported_at timestamptz, p_resolved_at timestamptz, p_status text, p_severity int, p_handling text, p_external_id text, p_c100 public.geometry, p_c500 public.geometry, p_c2k public.geometry) returns int[]
language sql stable parallel safe as $$
  select coalesce(array_agg(r.grant_id order by r.grant_id), '{}') from hub.incidents_rules r
  where r.provider = p_provider and (p_only is null or r.grant_id = any(p_only))
    and (r.category__one_of is null or p_category = any(r.category__one_of))
    and (r.place__within is null or not exists (select from unnest(r.place__within) a where public.ST_Covers(a, (case r.grid_m when 100 then p_c100 when 500 then p_c500 when 2000 then p_c2k end)) is not true))
    and (r.status__one_of is null or p_status = any(r.status__one_of))
    and (r.severity__one_of is null or p_severity = any(r.severity__one_of))
    and (r.severity__at_most is null or p_severity <= r.severity__at_most)
    and (r.severity__at_least is null or p_severity >= r.severity__at_least)
    and (r.handling__one_of is null or p_handling = any(r.handling__one_of))
    and (r.external_id__one_of is null or p_external_id = any(r.external_id__one_of))
$$;

create type hub.incidents_context as (
  grants int[], since timestamptz[], until timestamptz[], windowed int[],
  keys bigint[], t_lo timestamptz, t_hi timestamptz,
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
  external_id_clear int[]);

create function hub.incidents_ctx() returns hub.incidents_context
language plpgsql stable security definer set search_path = pg_catalog, hub, public, pg_temp as $$
declare body text := hub.context_body(1);
begin
  if body is null then return null; end if;
  return body::hub.incidents_context;
end $$;

create view hub.incidents_page with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, i.k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, e.grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants offset 0) e
cross join lateral (select case when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and p.tier is not null order by i.k2, i.id;

create view hub.incidents_seek with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, i.k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, e.grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants offset 0) e
cross join lateral (select case when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and p.tier is not null and hub.label_keys(i.released, i.k2) operator(pg_catalog.&&) (select keys from c) ;

create view hub.incidents_placeless with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, e.grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants offset 0) e
cross join lateral (select case when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and p.tier is null order by i.id;

create view hub.incidents_scan with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, case when p.tier is not null then i.k2 end as k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, e.grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants offset 0) e
cross join lateral (select case when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}'  ;

create view hub.incidents_time with (security_barrier) as
with c as materialized (select * from hub.incidents_ctx())
select i.id, i.revision_no, i.rev, i.provider, case when p.tier is not null then i.k2 end as k2, case p.tier when 0 then i.c100 when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end as place, p.tier as place_grid_m, case when e.grants operator(public.&&) (select category_clear from c) then i.category end as category, case when e.grants operator(public.&&) (select occurred_at_clear from c) then i.occurred_at when e.grants operator(public.&&) (select occurred_at_hour from c) then date_trunc('hour', i.occurred_at, 'UTC') when e.grants operator(public.&&) (select occurred_at_day from c) then date_trunc('day', i.occurred_at, 'UTC') end as occurred_at, case when e.grants operator(public.&&) (select occurred_at_clear from c) then null when e.grants operator(public.&&) (select occurred_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_at_day from c) then 'P1D' end as occurred_at_round_to, case when e.grants operator(public.&&) (select occurred_until_clear from c) then i.occurred_until when e.grants operator(public.&&) (select occurred_until_hour from c) then date_trunc('hour', i.occurred_until, 'UTC') when e.grants operator(public.&&) (select occurred_until_day from c) then date_trunc('day', i.occurred_until, 'UTC') end as occurred_until, case when e.grants operator(public.&&) (select occurred_until_clear from c) then null when e.grants operator(public.&&) (select occurred_until_hour from c) then 'PT1H' when e.grants operator(public.&&) (select occurred_until_day from c) then 'P1D' end as occurred_until_round_to, case when e.grants operator(public.&&) (select reported_at_clear from c) then i.reported_at when e.grants operator(public.&&) (select reported_at_hour from c) then date_trunc('hour', i.reported_at, 'UTC') when e.grants operator(public.&&) (select reported_at_day from c) then date_trunc('day', i.reported_at, 'UTC') end as reported_at, case when e.grants operator(public.&&) (select reported_at_clear from c) then null when e.grants operator(public.&&) (select reported_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select reported_at_day from c) then 'P1D' end as reported_at_round_to, case when e.grants operator(public.&&) (select resolved_at_clear from c) then i.resolved_at when e.grants operator(public.&&) (select resolved_at_hour from c) then date_trunc('hour', i.resolved_at, 'UTC') when e.grants operator(public.&&) (select resolved_at_day from c) then date_trunc('day', i.resolved_at, 'UTC') end as resolved_at, case when e.grants operator(public.&&) (select resolved_at_clear from c) then null when e.grants operator(public.&&) (select resolved_at_hour from c) then 'PT1H' when e.grants operator(public.&&) (select resolved_at_day from c) then 'P1D' end as resolved_at_round_to, case when e.grants operator(public.&&) (select status_clear from c) then i.status end as status, case when e.grants operator(public.&&) (select severity_clear from c) then i.severity end as severity, case when e.grants operator(public.&&) (select handling_clear from c) then i.handling end as handling, case when e.grants operator(public.&&) (select external_id_clear from c) then i.external_id end as external_id, case when e.grants operator(public.&&) (select place_clear from c) then i.place_sealed end as place_sealed, case when e.grants operator(public.&&) (select narrative_clear from c) then i.narrative_sealed end as narrative_sealed, case when e.grants operator(public.&&) (select phone_clear from c) then i.phone_sealed end as phone_sealed, case when e.grants operator(public.&&) (select title_clear from c) then i.title_sealed end as title_sealed, case when e.grants operator(public.&&) (select address_clear from c) then i.address_sealed end as address_sealed, case when e.grants operator(public.&&) (select people_clear from c) then i.people_sealed end as people_sealed, case when e.grants operator(public.&&) (select vehicles_clear from c) then i.vehicles_sealed end as vehicles_sealed, case when e.grants operator(public.&&) (select extra_clear from c) then i.extra_sealed end as extra_sealed, e.grants
from hub.incidents i
cross join lateral (select case when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants offset 0) e
cross join lateral (select case when e.grants operator(public.&&) (select place_clear from c) then 0 when e.grants operator(public.&&) (select place_100 from c) then 100 when e.grants operator(public.&&) (select place_500 from c) then 500 when e.grants operator(public.&&) (select place_2000 from c) then 2000 end as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{}' and i.occurred_at >= (select t_lo from c) and i.occurred_at < (select t_hi from c) ;

-- The current revisions of a provider's records, locked until the transaction ends.
create function hub.incidents_lock(p_provider int, p_external_ids text[])
returns table (external_id text, id uuid, rev int, revision_no bigint, content_mac bytea)
language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
  select i.external_id, i.id, i.rev, i.revision_no, i.content_mac from hub.incidents i
  where i.provider = p_provider and i.external_id = any(p_external_ids) order by i.id for update
$$;

-- Stores a batch of the inbox as the current revisions, former ones move to the history. A revision that is not the next of its
-- record is refused (40001): somebody else was faster.
create function hub.incidents_store(p_batch uuid, p_provider int) returns table (ordinal int, revision_no bigint)
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare waiting int; stored int;
begin
  perform pg_advisory_xact_lock_shared(7201, 2);
  insert into hub.incidents_history (id, rev, revision_no, provider, content_mac, k2, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed, narrative_sealed, phone_sealed, title_sealed, address_sealed, people_sealed, vehicles_sealed, extra_sealed, published_at)
  select i.id, i.rev, i.revision_no, i.provider, i.content_mac, i.k2, i.c100, i.c500, i.c2k, i.category, i.occurred_at, i.occurred_until, i.reported_at, i.resolved_at, i.status, i.severity, i.handling, i.external_id, i.place_sealed, i.narrative_sealed, i.phone_sealed, i.title_sealed, i.address_sealed, i.people_sealed, i.vehicles_sealed, i.extra_sealed, i.published_at from hub.incidents i
  join hub.incidents_inbox b on b.id = i.id where b.batch = p_batch and i.rev = b.rev - 1 and i.provider = p_provider;
  select count(*) into waiting from hub.incidents_inbox b where b.batch = p_batch;
  return query
  with stored as (
    insert into hub.incidents as t (id, rev, revision_no, provider, content_mac, k2, c100, c500, c2k, category, occurred_at, occurred_until, reported_at, resolved_at, status, severity, handling, external_id, place_sealed, narrative_sealed, phone_sealed, title_sealed, address_sealed, people_sealed, vehicles_sealed, extra_sealed, published_at, released)
    select b.id, b.rev, b.no, p_provider, b.content_mac, hub.cell_code(b.cell_row, b.cell_column),
           c.c100, c.c500, c.c2k, b.category, b.occurred_at, b.occurred_until, b.reported_at, b.resolved_at, b.status, b.severity, b.handling, b.external_id, b.place_sealed, b.narrative_sealed, b.phone_sealed, b.title_sealed, b.address_sealed, b.people_sealed, b.vehicles_sealed, b.extra_sealed, now(),
           hub.incidents_label(null, p_provider, b.category, b.occurred_at, b.occurred_until, b.reported_at, b.resolved_at, b.status, b.severity, b.handling, b.external_id, c.c100, c.c500, c.c2k)
    from (select x.*, nextval('hub.revision_no') as no from
            (select * from hub.incidents_inbox where batch = p_batch order by ordinal) x offset 0) b
    cross join lateral (select hub.cell_centre(b.cell_row, b.cell_column, 100) as c100, hub.cell_centre(b.cell_row, b.cell_column, 500) as c500, hub.cell_centre(b.cell_row, b.cell_column, 2000) as c2k offset 0) c
    on conflict (id) do update set rev = excluded.rev, revision_no = excluded.revision_no, provider = excluded.provider, content_mac = excluded.content_mac, k2 = excluded.k2, c100 = excluded.c100, c500 = excluded.c500, c2k = excluded.c2k, category = excluded.category, occurred_at = excluded.occurred_at, occurred_until = excluded.occurred_until, reported_at = excluded.reported_at, resolved_at = excluded.resolved_at, status = excluded.status, severity = excluded.severity, handling = excluded.handling, external_id = excluded.external_id, place_sealed = excluded.place_sealed, narrative_sealed = excluded.narrative_sealed, phone_sealed = excluded.phone_sealed, title_sealed = excluded.title_sealed, address_sealed = excluded.address_sealed, people_sealed = excluded.people_sealed, vehicles_sealed = excluded.vehicles_sealed, extra_sealed = excluded.extra_sealed, published_at = excluded.published_at, released = excluded.released where t.rev = excluded.rev - 1 and t.provider = excluded.provider
    returning t.id, t.revision_no)
  select b.ordinal, s.revision_no from stored s join hub.incidents_inbox b on b.batch = p_batch and b.id = s.id order by b.ordinal;
  get diagnostics stored = row_count;
  if stored <> waiting then
    raise exception 'another revision came first' using errcode = '40001';
  end if;
  delete from hub.incidents_inbox b where b.batch = p_batch;
end $$;

-- Puts the labels of new grants on a provider's records and takes those of old ones off; gives the number of records touched.
create function hub.incidents_relabel(p_provider int, p_new int[], p_old int[]) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare touched bigint;
begin
  update hub.incidents t set released = (t.released operator(public.-) p_old) operator(public.|) l.labels
  from (select i.id, hub.incidents_label(p_new, i.provider, i.category, i.occurred_at, i.occurred_until, i.reported_at, i.resolved_at, i.status, i.severity, i.handling, i.external_id, i.c100, i.c500, i.c2k) as labels
        from hub.incidents i where i.provider = p_provider) l
  where t.id = l.id and (l.labels <> '{}' or t.released operator(public.&&) p_old);
  get diagnostics touched = row_count;
  return touched;
end $$;

-- Every revision number of a record, for "who saw this record"; an owner is told of its own records alone (null: an auditor asks).
create function hub.incidents_revisions(p_id uuid, p_owner text) returns setof bigint
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select r.revision_no from (select id, provider, revision_no from hub.incidents
                             union all select id, provider, revision_no from hub.incidents_history) r
  join hub.organisations o on o.id = r.provider where r.id = p_id and (p_owner is null or o.slug = p_owner)
$$;

create index incidents_label_keys on hub.incidents using gin (hub.label_keys(released, k2));
alter table hub.incidents alter column released set statistics 1000;

revoke execute on all functions in schema hub from public;
grant select on hub.incidents_page, hub.incidents_seek, hub.incidents_placeless, hub.incidents_scan, hub.incidents_time to hub_reader;
grant execute on function hub.incidents_ctx to hub_reader;
grant insert on hub.incidents_inbox to hub_writer;
grant execute on function hub.incidents_lock, hub.incidents_store to hub_writer;
grant execute on function hub.incidents_revisions to hub_auditor;
