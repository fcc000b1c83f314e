-- The terms of a leaf: also each grant that gave something, as agreement and grant, for grants of two agreements may have one name.
create or replace function hub.leaf_terms(p_leaf jsonb) returns text[] language sql immutable parallel safe
  return array_remove(array[
    'type:' || (p_leaf->>'type'), 'decision:' || (p_leaf->>'decision'), 'purpose:' || (p_leaf->>'purpose'), 'case:' || (p_leaf->>'case'),
    'owner:' || (p_leaf->>'owner'), 'dataset:' || (p_leaf->>'dataset'), 'organisation:' || (p_leaf#>>'{by,organisation}'),
    'client:' || (p_leaf#>>'{by,client}'), 'person:' || (p_leaf#>>'{by,person}'), 'session:' || (p_leaf#>>'{by,session}')], null)
    || array(select 'mou:' || (u->>'mou') from jsonb_array_elements(coalesce(p_leaf->'under', '[]')) u)
    || array(select 'grant:' || (u->>'mou') || '/' || g
             from jsonb_array_elements(coalesce(p_leaf->'under', '[]')) u, jsonb_array_elements_text(coalesce(u->'grants', '[]')) g);

grant select, insert, update, delete on hub.saved_searches to hub_writer;
