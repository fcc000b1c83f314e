-- Run as hub_owner (hub/sharing/counting.py at this revision).

create function hub.incidents_counts() returns table (clause int, month timestamp, kind text, k2 int, number int)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  with c as materialized (
    select (x.c).* from (select hub.context_body(65537)::hub.incidents_context as c offset 0) x
    where (x.c).grants is not null),
  g as materialized (
    select g.id, g.min_count as least, c.since[public.idx(c.grants, g.id)] as since, c.until[public.idx(c.grants, g.id)] as until
    from c join hub.grants g on g.id = any(c.grants) where g.min_count is not null),
  n as (
    select g.id, g.least, date_trunc('month', i.occurred_at at time zone 'UTC') as month, i.category as kind, i.k2, count(*) as number
    from hub.incidents i cross join c join g on g.id = any(i.released)
    where i.released operator(public.&&) (select array_agg(g.id) from g)
      and not i.released operator(public.&&) (c.refused || c.category_held || c.place_held)
      and date_trunc('month', i.occurred_at at time zone 'UTC') at time zone 'UTC' >= g.since
      and (date_trunc('month', i.occurred_at at time zone 'UTC') + interval '1 month') at time zone 'UTC' <= least(g.until, now())
    group by 1, 2, 3, 4, 5),
  s as (
    select n.*, sum(n.number) over line as total,
           sum(n.number) over (line order by n.number, n.k2 rows unbounded preceding) - n.number as smaller
    from n window line as (partition by n.id, n.month, n.kind))
  select s.id, s.month, s.kind, s.k2, s.number::int from s where s.number >= s.least and (s.smaller = 0 or s.smaller >= s.least)
  union all
  select distinct s.id, s.month, s.kind, null::int, s.total::int from s where s.total >= s.least
  order by 1, 2, 3, 4 nulls first
$$;
revoke execute on function hub.incidents_counts from public;
grant execute on function hub.incidents_counts to hub_reader;
