-- Run as hub_owner (hub/sharing/stored.py at this revision).

-- Every clause of a record's provider, and the conditions that the record doesn't meet: for its owner, or an auditor (p_owner null). One
-- row without a clause where there is none.
create function hub.incidents_trace(p_id uuid, p_owner text) returns table (provider text, occurred_at timestamptz, mou text, version int,
  state text, since timestamptz, until timestamptz, recipient text, name text, purposes text[], actions text[], fields jsonb,
  lookback_s bigint, embargo_s bigint, case_required boolean, refusal boolean, refuses text[], missed text[])
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select o.slug, i.occurred_at, m.mou, m.version, m.state, m.in_force_from, m.in_force_until, c.slug, coalesce(g.name, f.name), g.purposes,
         g.actions, g.fields, g.lookback_s, g.embargo_s, g.case_required, f.id is not null, f.fields, array_remove(array[case when (r.category__one_of is null or i.category = any(r.category__one_of)) is not true then 'category__one_of' end, case when (r.place__within is null or not exists (select from unnest(r.place__within) a where public.ST_Covers(a, (case r.grid_m when 100 then i.c100 when 500 then i.c500 when 2000 then i.c2k end)) is not true)) is not true then 'place__within' end, case when (r.status__one_of is null or i.status = any(r.status__one_of)) is not true then 'status__one_of' end, case when (r.severity__one_of is null or i.severity = any(r.severity__one_of)) is not true then 'severity__one_of' end, case when (r.severity__at_most is null or i.severity <= r.severity__at_most) is not true then 'severity__at_most' end, case when (r.severity__at_least is null or i.severity >= r.severity__at_least) is not true then 'severity__at_least' end, case when (r.handling__one_of is null or i.handling = any(r.handling__one_of)) is not true then 'handling__one_of' end, case when (r.external_id__one_of is null or i.external_id = any(r.external_id__one_of)) is not true then 'external_id__one_of' end], null)
  from hub.incidents i join hub.organisations o on o.id = i.provider
  left join hub.incidents_rules r on r.provider = i.provider
  left join hub.grants g on g.id = r.clause left join hub.refusals f on f.id = r.clause
  left join hub.mous m on m.id = coalesce(g.mou_id, f.mou_id) left join hub.organisations c on c.id = m.consumer
  where i.id = p_id and (p_owner is null or o.slug = p_owner) order by r.clause
$$;

revoke execute on all functions in schema hub from public;
grant execute on function hub.incidents_trace to hub_auditor;
