"""Release labels: which clauses' static conditions a record meets, decided by one SQL function.

A rule is a row of `<dataset>_rules`: the conditions of a clause, grant or refusal, as columns, so that a new MOU needs no DDL.
`<dataset>_label` gives the ids of the clauses whose rule a record meets, ascending. This module writes their text; migrations hold
it frozen.
"""

from collections.abc import Callable, Iterator

from hub.policy.conditions import CONDITIONS, Condition
from hub.records import Field, Record
from hub.tables import CELL_COLUMNS, CLEAR_TYPES, SCHEMA, clear_fields

SQL_TYPES = {"text": "text", "number": "int", "time": "timestamptz"}


def rule_columns(dataset: type[Record]) -> Iterator[tuple[Field, type[Condition]]]:
    """Each (field, condition) that a rule of this dataset may hold."""
    for field in sorted(dataset.fields, key=lambda f: f.number):
        for condition in CONDITIONS.values():
            if field.kind in condition.column_types:
                yield field, condition


def rules_sql(name: str, dataset: type[Record]) -> str:
    """The rules table of a dataset."""
    columns = "".join(f",\n  {c.column(f)} {c.column_types[f.kind]}" for f, c in rule_columns(dataset))
    return f"""
create table {SCHEMA}.{name}_rules (
  clause int primary key,
  provider int not null references {SCHEMA}.organisations,
  grid_m int{columns});
create index {name}_rules_provider on {SCHEMA}.{name}_rules (provider);
"""


def label_parameters(dataset: type[Record]) -> list[tuple[str, str]]:
    """The parameters of the label function after the provider: (name, SQL type)."""
    clear = [(f.name, SQL_TYPES[f.kind]) for f in clear_fields(dataset) if f.kind in CLEAR_TYPES]
    return clear + [(column, "public.geometry") for column in CELL_COLUMNS.values()]


def labels_of(name: str, dataset: type[Record], provider: str, value: Callable[[str], str], more: str = "") -> str:
    """What a record is labelled with, as the rest of a SELECT: `provider` and `value(column)` are SQL for its values. A place is
    tested at the grant's own grid. The store writes it out, because a function would be started once for every row.
    """
    cells = " ".join(f"when {m} then {value(column)}" for m, column in CELL_COLUMNS.items())
    tests = "".join(
        "\n    and " + c.sql(f"r.{c.column(f)}", f"(case r.grid_m {cells} end)" if f.kind == "place" else value(f.name))
        for f, c in rule_columns(dataset)
    )
    return f"""coalesce(array_agg(r.clause order by r.clause), '{{}}') from {SCHEMA}.{name}_rules r
  where r.provider = {provider}{more}{tests}"""


def label_sql(name: str, dataset: type[Record]) -> str:
    """The function that labels a record; `p_only` narrows it to some grants."""
    parameters = "".join(f", p_{n} {t}" for n, t in label_parameters(dataset))
    return f"""
create function {SCHEMA}.{name}_label(p_only int[], p_provider int{parameters}) returns int[]
language sql stable parallel safe as $$
  select {labels_of(name, dataset, "p_provider", lambda column: f"p_{column}", " and (p_only is null or r.clause = any(p_only))")}
$$;
"""


def tested_sql(name: str, dataset: type[Record], provider: str) -> str:
    """A query for what the rules of a provider test: names of fields and of cell columns, as text[]."""
    tests = [
        f"case when bool_or(r.{c.column(f)} is not null{grid}) then '{what}' end"
        for f, c in rule_columns(dataset)
        for what, grid in ([(k, f" and r.grid_m = {m}") for m, k in CELL_COLUMNS.items()] if f.kind == "place" else [(f.name, "")])
    ]
    return f"select array_remove(array[{', '.join(tests)}], null) from {SCHEMA}.{name}_rules r where r.provider = {provider}"


def alike_sql(dataset: type[Record], tested: str, value: Callable[[str], str]) -> str:
    """Text that is the same for two records if they agree in everything that is `tested`: so are their labels."""
    fields = dict.fromkeys(f for f, _ in rule_columns(dataset))
    names = [n for f in fields for n in (CELL_COLUMNS.values() if f.kind == "place" else [f.name])]
    return "row(" + ", ".join(f"case when '{n}' = any({tested}) then {value(n)} end" for n in names) + ")::text"
