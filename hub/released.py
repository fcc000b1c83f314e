"""The wall: what PostgreSQL itself enforces between a reader and a dataset (docs/decisions/0004).

For each dataset: a context type, a function that verifies the sealed context and gives it, and owner-run `security_barrier` views
that show only records with a live grant and mask every column by the live grants that release it on that record. This module
writes their text from the catalogue; migrations hold it frozen, and a test compares the two.

One text, five access paths whose rows agree:

page       in the order (2 km cell, id); records whose place is released
seek       the same records through the (grant, cell) index: for readers of little
placeless  records whose place is withheld, in the order of their ids; no cell
scan, time every record, the cell masked like everything else; `time` reads a range of times
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hub.records import WINDOW_FIELD, Field, Record
from hub.tables import CELL_COLUMNS, SCHEMA, clear_fields, sealed_column, sealed_fields

EXACT_M = 0  # `place_grid_m` of a record whose exact point is granted: seen at 100 m, opened in what is returned
ROUNDINGS = {"PT1H": "hour", "P1D": "day"}  # treatment of a time → the unit it is cut to, in UTC
READER, WRITER, AUDITOR, AGREEMENTS, OWNER = "hub_reader", "hub_writer", "hub_auditor", "hub_agreements", "hub_owner"
COUNTING = 65_536  # added to the number of a dataset: a context for its counts, which opens none of its views
PATHS = ("page", "seek", "placeless", "scan", "time")


@dataclass(frozen=True, slots=True)
class Slot:
    """A member of the context: the ids of the live grants that give `field` the treatment `treatment`, or any of that word, finest first.
    `measured`: a member `<name>_by` says beside each id how the view measures: the bands, the number of characters.
    """

    name: str
    field: str
    treatment: str
    measured: bool = False


def slots(dataset: type[Record]) -> Iterator[Slot]:
    """Every (field, treatment) of the dataset that a grant can give, finest first within a field."""
    for field in sorted(dataset.fields, key=lambda f: f.number):
        yield Slot(f"{field.name}_clear", field.name, "clear")
        if field.kind == "place":
            yield from (Slot(f"{field.name}_{m}", field.name, f"grid_m:{m}") for m in CELL_COLUMNS)
        if field.kind == "time":
            yield from (Slot(f"{field.name}_{unit}", field.name, f"round_to:{iso}") for iso, unit in ROUNDINGS.items())
        if field.kind == "number":
            yield Slot(f"{field.name}_bands", field.name, "bands", measured=True)
        if field.free_text:
            yield Slot(f"{field.name}_last", field.name, "last", measured=field.kind == "text")  # a sealed text is cut when it is opened


def refusable(dataset: type[Record]) -> tuple[Field, ...]:
    """The fields that can be refused alone: each has a member `<field>_held` in the context, with the ids of the refusals that hold it
    back. Not the time that windows test: they would still tell it.
    """
    return tuple(f for f in sorted(dataset.fields, key=lambda f: f.number) if f.name != WINDOW_FIELD)


def context_sql(name: str, dataset: type[Record]) -> str:
    """The context type of a dataset and the function that verifies and gives it."""
    members = "".join(f",\n  {slot.name} int[]" + (f", {slot.name}_by text[]" if slot.measured else "") for slot in slots(dataset))
    members += "".join(f",\n  {field.name}_held int[]" for field in refusable(dataset))
    return f"""
create type {SCHEMA}.{name}_context as (
  grants int[], since timestamptz[], until timestamptz[], windowed int[],
  keys bigint[], t_lo timestamptz, t_hi timestamptz, refused int[], held int[]{members});

create function {SCHEMA}.{name}_ctx() returns {SCHEMA}.{name}_context
language plpgsql stable security definer set search_path = pg_catalog, {SCHEMA}, public, pg_temp as $$
declare body text := {SCHEMA}.context_body({dataset.number});
begin
  if body is null then return null; end if;
  return body::{SCHEMA}.{name}_context;
end $$;
"""


def view_sql(name: str, dataset: type[Record], path: str) -> str:
    """The text of one access path. Pitfalls it avoids, each measured: ORDER BY must be inside (a barrier view never sees the
    outer one); the label test hides in coalesce(), else the planner believes that 0.5 % of rows pass; OFFSET 0 keeps the grants
    of a row computed once per row and not once per column; windows are asked only where a grant with one is on the record; the
    test of the context comes first, so that a hidden record and an absent one cost the same. A refusal of whole records (`refused`)
    leaves a record no grant; one of fields (`held`) closes them whatever grants release. Where none holds, `e.held` is null and no
    column asks for more.
    """
    placed = path in ("page", "seek")
    columns = ["i.id", "i.revision_no", "i.rev", "i.provider"]
    if path != "placeless":
        columns += ["i.k2" if placed else "case when p.tier is not null then i.k2 end as k2"]
    columns += list(_masked(dataset))
    columns += ["case when e.held is null then e.grants else e.grants operator(public.|) e.held end as grants"]
    where, order = _access(path)
    return f"""
create view {SCHEMA}.{name}_{path} with (security_barrier) as
with c as materialized (select * from {SCHEMA}.{name}_ctx())
select {", ".join(columns)}
from {SCHEMA}.{name} i
cross join lateral (select case when i.released operator(public.&&) (select refused from c) then '{{}}'
  when i.released operator(public.&&) (select windowed from c) then array(
    select g from unnest(i.released operator(public.&) (select grants from c)) g
    where i.occurred_at >= (select since from c)[public.idx((select grants from c), g)]
      and i.occurred_at < (select until from c)[public.idx((select grants from c), g)])
  else i.released operator(public.&) (select grants from c) end as grants,
  nullif(i.released operator(public.&) (select held from c), '{{}}') as held offset 0) e
cross join lateral (select {_tier(dataset)} as tier offset 0) p
where (select grants is not null from c)
  and coalesce(i.released operator(public.&&) (select grants from c), false)
  and e.grants <> '{{}}' {where} {order};
"""


def _access(path: str) -> tuple[str, str]:
    """The further condition and the order of an access path."""
    return {
        "page": ("and p.tier is not null", "order by i.k2, i.id"),
        "seek": (f"and p.tier is not null and {SCHEMA}.label_keys(i.released, i.k2) operator(pg_catalog.&&) (select keys from c)", ""),
        "placeless": ("and p.tier is null", "order by i.id"),
        "scan": ("", ""),
        "time": ("and i.occurred_at >= (select t_lo from c) and i.occurred_at < (select t_hi from c)", ""),
    }[path]


def _released_by(slot: str) -> str:
    return f"e.grants operator(public.&&) (select {slot} from c)"


def _held(field: str) -> str:
    return f"e.held operator(public.&&) (select {field}_held from c)"


def _open(field: Field, treatments: str) -> str:
    """`treatments` are the branches of a CASE; a refusal of the field comes before them."""
    held = "" if field.name == WINDOW_FIELD else f" when {_held(field.name)} then null"
    return f"case{held} {treatments} end"


def _place(dataset: type[Record]) -> Field:
    return dataset.named("place")[0]


def _tier(dataset: type[Record]) -> str:
    place = _place(dataset).name
    cases = [f"when {_held(place)} then null when {_released_by(f'{place}_clear')} then {EXACT_M}"]
    cases += [f"when {_released_by(f'{place}_{m}')} then {m}" for m in CELL_COLUMNS]
    return f"case {' '.join(cases)} end"


def _masked(dataset: type[Record]) -> Iterator[str]:
    """Each column of the catalogue, as the live grants of the record release it."""
    place = _place(dataset)
    cells = "".join(f" when {m} then i.{column}" for m, column in CELL_COLUMNS.items())
    yield f"case p.tier when {EXACT_M} then i.c100{cells} end as {place.name}"
    yield f"p.tier as {place.name}_grid_m"
    for field in clear_fields(dataset):
        if field.kind == "time":
            yield _time(field)
            yield _time_treatment(field)
        elif field.kind == "number":
            band = f"(select b.low[width_bucket(i.{field.name}, b.low)] from (select {_edges(field)} as low) b)"
            yield from _measured(field, "bands", band, _edges(field))
        elif field.free_text:
            length = f"{_measure(f'{field.name}_last')}::int"
            yield from _measured(field, "last", f"'…' || right(i.{field.name}, {length})", length)
        else:
            yield _open(field, f"when {_released_by(f'{field.name}_clear')} then i.{field.name}") + f" as {field.name}"
    for field in sealed_fields(dataset):
        column = sealed_column(field)
        opened = " or ".join(_released_by(f"{field.name}_{word}") for word in ("clear", *(["last"] if field.free_text else [])))
        yield _open(field, f"when {opened} then i.{column}") + f" as {column}"


def _measured(field: Field, word: str, value: str, measure: str) -> Iterator[str]:
    """A field that grants release by a measure of their own, and beside it that measure; null where it is released whole."""
    clear, cut = _released_by(f"{field.name}_clear"), _released_by(f"{field.name}_{word}")
    yield _open(field, f"when {clear} then i.{field.name} when {cut} then {value}") + f" as {field.name}"
    yield _open(field, f"when {clear} then null when {cut} then {measure}") + f" as {field.name}_{word}"


def _measure(slot: str) -> str:
    """What the finest grant of the record says; the context lists them finest first."""
    first = f"select min(public.idx((select {slot} from c), g)) from unnest(e.grants operator(public.&) (select {slot} from c)) g"
    return f"(select {slot}_by from c)[({first})]"


def _edges(field: Field) -> str:
    return f"string_to_array({_measure(f'{field.name}_bands')}, '/')::int[]"


def _time(field: Field) -> str:
    cut = "".join(
        f" when {_released_by(f'{field.name}_{unit}')} then date_trunc('{unit}', i.{field.name}, 'UTC')" for unit in ROUNDINGS.values()
    )
    return _open(field, f"when {_released_by(f'{field.name}_clear')} then i.{field.name}{cut}") + f" as {field.name}"


def _time_treatment(field: Field) -> str:
    cut = "".join(f" when {_released_by(f'{field.name}_{unit}')} then '{iso}'" for iso, unit in ROUNDINGS.items())
    return _open(field, f"when {_released_by(f'{field.name}_clear')} then null{cut}") + f" as {field.name}_round_to"
