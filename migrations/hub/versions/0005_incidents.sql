-- Run as hub_owner (hub/sharing/stored.py at this revision).

drop function hub.incidents_relabel(int, int[], int[]);

-- One batch of a relabelling: of the next p_count records after (p_k2, p_id), in page order, those of the provider get the labels of the
-- clauses p_adds and lose those of p_takes. Gives how far it came (null: at the end) and the number of records touched. Only records that
-- change are locked, in the order of their ids as the store locks them, and labelled by what they hold then.
create function hub.incidents_relabel(p_provider int, p_adds int[], p_takes int[], p_k2 int, p_id uuid, p_count int,
  out reached_k2 int, out reached_id uuid, out touched bigint)
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare ids uuid[];
begin
  with batch as materialized (select * from hub.incidents i where (i.k2, i.id) > (p_k2, p_id) order by i.k2, i.id limit p_count),
  reached as (select b.k2, b.id from batch b order by b.k2 desc, b.id desc limit 1)
  select r.k2, r.id, array(select i.id from batch i where i.provider = p_provider and (i.released operator(public.-) p_takes) operator(public.|) (select coalesce(array_agg(r.grant_id order by r.grant_id), '{}') from hub.incidents_rules r
  where r.provider = i.provider and r.grant_id = any(p_adds)
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
  from (select i.id, (i.released operator(public.-) p_takes) operator(public.|) (select coalesce(array_agg(r.grant_id order by r.grant_id), '{}') from hub.incidents_rules r
  where r.provider = i.provider and r.grant_id = any(p_adds)
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
grant execute on function hub.incidents_relabel to hub_agreements;
grant select, insert, delete on hub.incidents_rules to hub_agreements;
