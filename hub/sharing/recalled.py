"""Recalls of what was delivered under grants with duties, as SQL text: whoever holds a record that is corrected, taken back or no longer
shared learns of it, in the transaction that does it. Migrations hold it frozen.

A correction is told only where the value differs both as it was delivered and as a grant of the same MOU releases it now. So a change
inside a released cell, band or hour, in a field that was not shown or is refused now, or of a record that the recipient isn't shown any
more tells nobody that there was one. Sealed fields are compared by their MACs. Of a text that is shown by its end nothing is told: its MAC
is that of the whole.
"""

from collections.abc import Iterator

from hub.records import WINDOW_FIELD, Field, Record
from hub.released import ROUNDINGS
from hub.tables import CELL_COLUMNS, SCHEMA, clear_fields, sealed_fields

CONTENT_MAC, FIELD_MAC = 32, 8  # bytes: `content_mac` is a MAC of the whole record, then one of each sealed field
DELIVERING = 4  # advisory lock 7201: reads under duties share it from before they read until they commit; a recall waits for them
_SETTINGS = "set search_path = pg_catalog, public, pg_temp set enable_nestloop = on set enable_seqscan = off"


def held_sql(record: str) -> str:
    """Whether a delivery `d` of a record is still held: whoever said that its copies are gone holds nothing of what was given before."""
    return f"""d.destroyed_at is null and not exists (select from {SCHEMA}.recalls a where a.recipient = d.recipient and a.mou = d.mou
      and a.record = {record} and a.answer in ('destroyed', 'not-held') and a.acknowledged_at >= d.at)"""


def recall_sql(name: str, dataset: type[Record]) -> str:
    """`<dataset>_recall`: after new revisions of records; `<dataset>_recall_all`: of one that goes."""
    return f"""
-- After new revisions: tells those who hold the records what of them was corrected as it is released to them, or is no longer shared.
-- `p_labels`: the labels before, by id. `reach`: the grants, not ended, by which a recipient is shown the revision before or the new one;
-- of a suspended MOU too: what it would tell waits (hub/agreements/recalls.py).
create function {SCHEMA}.{name}_recall(p_provider int, p_labels jsonb) returns void
language plpgsql volatile security definer {_SETTINGS} as $$
begin
  perform pg_advisory_xact_lock(7201, {DELIVERING});
  with steps as materialized (
    select n.id, n.rev, n.released as labels, array(select jsonb_array_elements_text(p_labels -> n.id::text)::int) as before
    from {SCHEMA}.{name} n where n.id = any(array(select jsonb_object_keys(p_labels)::uuid))),
  held as materialized (
    select s.*, d.recipient, d.mou, d.fields, d.acknowledge_s
    from steps s join {SCHEMA}.deliveries d on d.records @> array[s.id] and d.dataset = {dataset.number}
      and {held_sql("s.id")}),
  reach as materialized (
    select s.id, v.new, m.consumer, m.mou, g.fields,
           array(select unnest(f.fields) {_refusing()}) as refused
    from steps s join {SCHEMA}.{name} n on n.id = s.id join {SCHEMA}.{name}_history h on h.id = s.id and h.rev = s.rev - 1
    cross join lateral (values (true, s.labels, n.{WINDOW_FIELD}), (false, s.before, h.{WINDOW_FIELD})) v(new, labels, at)
    join {SCHEMA}.grants g on g.id = any(v.labels) and g.actions && array['query', 'export', 'match']
      and exists (select from jsonb_each_text(g.fields) f where f.value <> 'match_only')
    join {SCHEMA}.mous m on m.id = g.mou_id and m.state in ('active', 'suspended')
    where m.in_force_from <= now() and now() < m.in_force_until and m.consumer in (select recipient from held) and {_in_window()}
      and s.id in (select id from held) and not exists (select {_refusing()} and f.fields is null))
  insert into {SCHEMA}.recalls (recipient, provider, dataset, kind, record, mou, due_at)
  select t.recipient, p_provider, {dataset.number}, case when bool_or(t.gone) then 'revocation' else 'correction' end, t.id, t.mou,
         now() + make_interval(secs => min(t.acknowledge_s))
  from (
    select e.*, exists (select from reach q where q.id = e.id and q.consumer = e.recipient and not q.new)
             and not exists (select from reach q where q.id = e.id and q.consumer = e.recipient and q.new) as gone
    from held e) t
  join {SCHEMA}.{name} n on n.id = t.id join {SCHEMA}.{name}_history h on h.id = t.id and h.rev = t.rev - 1
  where t.gone or exists (
    select from reach q where q.id = t.id and q.consumer = t.recipient and q.mou = t.mou and q.new
      and ({" or ".join(_differences(dataset))}))
  group by t.recipient, t.id, t.mou;
end $$;

-- Tells everybody who holds a record that it is taken back.
create function {SCHEMA}.{name}_recall_all(p_provider int, p_id uuid, p_kind text) returns void
language plpgsql volatile security definer {_SETTINGS} as $$
begin
  perform pg_advisory_xact_lock(7201, {DELIVERING});
  insert into {SCHEMA}.recalls (recipient, provider, dataset, kind, record, mou, due_at)
  select d.recipient, p_provider, {dataset.number}, p_kind, p_id, d.mou, now() + make_interval(secs => min(d.acknowledge_s))
  from {SCHEMA}.deliveries d where d.records @> array[p_id] and d.dataset = {dataset.number}
    and {held_sql("p_id")}
  group by d.recipient, d.mou;
end $$;
"""


def owes_sql() -> str:
    """Whether anything of the provider may be held under a duty: else nobody waits for readers."""
    return f"""exists (select from {SCHEMA}.grants g join {SCHEMA}.mous m on m.id = g.mou_id
    where m.provider = p_provider and g.duties is not null)"""


def _refusing() -> str:
    """The refusals that hold for the recipient of a grant's MOU `m`; while that is suspended, those of suspended MOUs too."""
    return f"""from {SCHEMA}.refusals f join {SCHEMA}.mous r on r.id = f.mou_id where f.id = any(v.labels) and r.consumer = m.consumer
      and r.in_force_from <= now() and now() < r.in_force_until
      and (r.state = 'active' or (r.state = 'suspended' and m.state = 'suspended'))"""


def _in_window() -> str:
    """As hub/policy/treatments.py `window`: both bounds lie on the grid of the grant's own treatment of the time."""
    since, until = "now() - make_interval(secs => g.lookback_s)", "now() - make_interval(secs => g.embargo_s)"
    steps = [(iso, f"date_trunc('{unit}', {{}}, 'UTC')", f"interval '1 {unit}'") for iso, unit in ROUNDINGS.items()]
    up = " ".join(
        f"when 'round_to:{iso}' then {cut.format(since)} + case when {cut.format(since)} < {since} then {step} else interval '0' end"
        for iso, cut, step in steps
    )
    down = " ".join(f"when 'round_to:{iso}' then {cut.format(until)}" for iso, cut, _ in steps)
    time = f"g.fields ->> '{WINDOW_FIELD}'"
    return f"""(g.lookback_s is null or v.at >= case {time} {up} else {since} end)
      and (g.embargo_s is null or v.at < case {time} {down} else {until} end)"""


def _differences(dataset: type[Record]) -> Iterator[str]:
    """For each field: whether the revisions `h` and `n` show otherwise both as it was delivered (`t`) and as it is released (`q`)."""
    sealed = {f.name: n for n, f in enumerate(sealed_fields(dataset))}
    for field in (*clear_fields(dataset), *sealed_fields(dataset)):
        both = " and ".join(f"({' or '.join(_differs(field, whose, sealed.get(field.name)))})" for whose in ("t", "q"))
        yield f"({both} and '{field.name}' <> all(q.refused))"


def _differs(field: Field, whose: str, number: int | None) -> Iterator[str]:
    """The ways in which a field can differ as the fields of `whose` release it."""
    given = f"{whose}.fields ->> '{field.name}'"

    def by(treatment: str, released: str) -> str:
        return f"{given} {treatment} and {released.format('h')} is distinct from {released.format('n')}"

    if number is not None:
        yield by("= 'clear'", f"substring({{}}.content_mac from {CONTENT_MAC + 1 + FIELD_MAC * number} for {FIELD_MAC})")
    else:
        yield by("= 'clear'", f"{{}}.{field.name}")
    if field.kind == "place":
        yield from (by(f"= 'grid_m:{m}'", f"{{}}.{column}") for m, column in CELL_COLUMNS.items())
    elif field.kind == "time":
        yield from (by(f"= 'round_to:{iso}'", f"date_trunc('{unit}', {{}}.{field.name}, 'UTC')") for iso, unit in ROUNDINGS.items())
    elif field.kind == "number":
        edges = f"string_to_array(split_part({given}, ':', 2), '/')::int[]"
        yield by("like 'bands:%'", f"nullif(width_bucket({{}}.{field.name}, {edges}), 0)")
    elif field.free_text and number is None:
        yield by("like 'last:%'", f"right({{}}.{field.name}, split_part({given}, ':', 2)::int)")
