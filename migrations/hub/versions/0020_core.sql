-- Both give what they gave before.
create or replace function hub.leaf_terms(p_leaf jsonb) returns text[] language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
begin
  return array_remove(array[
    'type:' || (p_leaf->>'type'), 'decision:' || (p_leaf->>'decision'), 'purpose:' || (p_leaf->>'purpose'), 'case:' || (p_leaf->>'case'),
    'owner:' || (p_leaf->>'owner'), 'dataset:' || (p_leaf->>'dataset'), 'organisation:' || (p_leaf#>>'{by,organisation}'),
    'client:' || (p_leaf#>>'{by,client}'), 'person:' || (p_leaf#>>'{by,person}'), 'session:' || (p_leaf#>>'{by,session}')], null)
    || array(select 'mou:' || (u->>'mou') from jsonb_array_elements(coalesce(p_leaf->'under', '[]')) u)
    || array(select 'grant:' || (u->>'mou') || '/' || g
             from jsonb_array_elements(coalesce(p_leaf->'under', '[]')) u, jsonb_array_elements_text(coalesce(u->'grants', '[]')) g);
end $$;

create or replace function hub.log_behind(p_quorum int, out behind_s float8, out unwitnessed_s float8)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  behind_s := (select extract(epoch from clock_timestamp() - p.at) from hub.log_pending p order by p.leaf limit 1);
  if p_quorum > 0 then
    unwitnessed_s := (
      select extract(epoch from clock_timestamp() - c.at) from hub.checkpoints c
      where c.size > coalesce((
        select last.size from hub.witnesses w
        cross join lateral (select s.size from hub.cosignatures s where s.witness = w.name order by s.size desc limit 1) last
        where w.removed_at is null order by last.size desc offset p_quorum - 1 limit 1), 0)
      order by c.size limit 1);
  end if;
end $$;
