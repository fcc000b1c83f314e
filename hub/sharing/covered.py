"""What the key process asks the main database before it lends keys, as SQL text. Migrations hold it frozen."""

from hub.tables import SCHEMA

KEYD = "hub_keyd"


def covered_sql(name: str) -> str:
    """`<dataset>_covered`: the leaves of an event, who brought the proof, and whether the store holds what is to be opened."""
    return f"""
-- Before keys are lent: the client that the proof is about and whether it is active, for whom and for which organisation it is counted (as
-- hub.proven gives them); the leaves of an event and their age, by the hub's clock; and how many of these revisions, each of an owner, the
-- store doesn't hold so. Asked of the primary alone: a standby may not know yet that a session has ended.
create function {SCHEMA}.{name}_covered(p_event uuid, p_client text, p_cookie bytea, p_ids uuid[], p_revs int[], p_numbers bigint[],
  p_owners uuid[], out client text, out active boolean, out counted text, out organisation int, out age_s float8, out leaves text[],
  out strangers bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare wall timestamptz;
begin
  select p.client, p.active, p.counted, p.organisation, p.wall into client, active, counted, organisation, wall
  from {SCHEMA}.proven(p_client, p_cookie) p;
  select array_agg(l.leaf order by l.id), extract(epoch from wall - min(l.at)) into leaves, age_s from {SCHEMA}.audit_leaves l
  where l.event = p_event;
  select count(*) into strangers
  from unnest(p_ids, p_revs, p_numbers, p_owners) u(id, rev, number, owner)
  left join {SCHEMA}.organisations o on o.uid = u.owner
  where not exists (select from {SCHEMA}.{name} i where i.id = u.id and i.rev = u.rev and i.revision_no = u.number and i.provider = o.id)
    and not exists (select from {SCHEMA}.{name}_history h where h.id = u.id and h.rev = u.rev and h.revision_no = u.number
                    and h.provider = o.id)
    -- One that was shredded since the event is known: what is asked for was read before, or its keys are gone.
    and not exists (select from {SCHEMA}.{name}_shredded s where s.id = u.id and s.rev = u.rev and s.revision_no = u.number
                    and s.provider = o.id);
end $$;
revoke execute on function {SCHEMA}.{name}_covered from public;
grant execute on function {SCHEMA}.{name}_covered to {KEYD};
"""
