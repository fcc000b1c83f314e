"""Recalls of what was delivered under grants with duties, as SQL text: whoever holds a record that is corrected, taken back or no longer
shared learns of it, in the transaction that does it. Migrations hold it frozen.

A correction is told only where what was released differs: a change inside a released cell, band or hour, or in a field that was not
shown, tells nobody that there was one. Sealed fields are compared by their MACs. Of a text that was shown by its end nothing is told:
its MAC is that of the whole.
"""

from collections.abc import Iterator

from hub.records import Field, Record
from hub.released import ROUNDINGS
from hub.tables import CELL_COLUMNS, SCHEMA, clear_fields, sealed_fields

CONTENT_MAC, FIELD_MAC = 32, 8  # bytes: `content_mac` is a MAC of the whole record, then one of each sealed field


def recall_sql(name: str, dataset: type[Record]) -> str:
    """`<dataset>_recall`: after new revisions of records; `<dataset>_recall_all`: of one that goes."""
    cut = " or ".join(_differences(dataset))
    return f"""
-- After new revisions: tells those who hold the records what of them was corrected as it was released to them, or is no longer shared.
-- `p_labels`: the labels before, by id. Its own setting of enable_nestloop: the caller's is off.
create function {SCHEMA}.{name}_recall(p_provider int, p_labels jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp set enable_nestloop = on as $$
begin
  with steps as materialized (
    select n.id, n.rev, n.released as labels, array(select jsonb_array_elements_text(p_labels -> n.id::text)::int) as before
    from {SCHEMA}.{name} n where n.id = any(array(select jsonb_object_keys(p_labels)::uuid))),
  held as materialized (
    select s.id, s.rev, d.recipient, d.mou, d.fields, d.acknowledge_s,
           d.grants operator(public.&&) s.before and not d.grants operator(public.&&) s.labels as gone
    from steps s join {SCHEMA}.deliveries d on d.records @> array[s.id] and d.dataset = {dataset.number} and d.destroyed_at is null)
  insert into {SCHEMA}.recalls (recipient, provider, dataset, kind, record, mou, due_at)
  select e.recipient, p_provider, {dataset.number}, case when bool_or(e.gone) then 'revocation' else 'correction' end, e.id, e.mou,
         now() + make_interval(secs => min(e.acknowledge_s))
  from held e join {SCHEMA}.{name} n on n.id = e.id join {SCHEMA}.{name}_history h on h.id = e.id and h.rev = e.rev - 1
  where e.gone or {cut}
  group by e.recipient, e.id, e.mou;
end $$;

-- Tells everybody who holds a record that it is taken back.
create function {SCHEMA}.{name}_recall_all(p_provider int, p_id uuid, p_kind text) returns void
language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
  insert into {SCHEMA}.recalls (recipient, provider, dataset, kind, record, mou, due_at)
  select d.recipient, p_provider, {dataset.number}, p_kind, p_id, d.mou, now() + make_interval(secs => min(d.acknowledge_s))
  from {SCHEMA}.deliveries d where d.records @> array[p_id] and d.dataset = {dataset.number} and d.destroyed_at is null
  group by d.recipient, d.mou
$$;
"""


def before_sql(name: str) -> str:
    """The labels of the records in `former`, if anything of the provider was delivered under a duty; else null."""
    return f"""case when exists (select from {SCHEMA}.deliveries d where d.provider = p_provider and d.destroyed_at is null) then
      (select jsonb_object_agg(i.id, to_jsonb(i.released)) from {SCHEMA}.{name} i where i.id = any(former)) end"""


def _differences(dataset: type[Record]) -> Iterator[str]:
    """For each field and treatment: whether the revisions `h` and `n` show otherwise as `e.fields` releases them."""
    for field in clear_fields(dataset):
        yield _differs(field, "= 'clear'", f"{{}}.{field.name}")
        if field.kind == "time":
            for iso, unit in ROUNDINGS.items():
                yield _differs(field, f"= 'round_to:{iso}'", f"date_trunc('{unit}', {{}}.{field.name}, 'UTC')")
        elif field.kind == "number":
            yield _differs(field, "like 'bands:%'", f"nullif(width_bucket({{}}.{field.name}, {_measure(field, '/')}::int[]), 0)")
        elif field.free_text:
            yield _differs(field, "like 'last:%'", f"right({{}}.{field.name}, {_measure(field)}::int)")
    for n, field in enumerate(sealed_fields(dataset)):
        yield _differs(field, "= 'clear'", f"substring({{}}.content_mac from {CONTENT_MAC + 1 + FIELD_MAC * n} for {FIELD_MAC})")
        if field.kind == "place":
            yield from (_differs(field, f"= 'grid_m:{m}'", f"{{}}.{column}") for m, column in CELL_COLUMNS.items())


def _differs(field: Field, treatment: str, released: str) -> str:
    return f"(e.fields ->> '{field.name}' {treatment} and {released.format('h')} is distinct from {released.format('n')})"


def _measure(field: Field, separator: str = "") -> str:
    measure = f"split_part(e.fields ->> '{field.name}', ':', 2)"
    return f"string_to_array({measure}, '{separator}')" if separator else measure
