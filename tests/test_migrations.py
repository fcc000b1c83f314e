"""The migrated databases are what the catalogue says: tables as SQLAlchemy has them, functions and views as they are generated."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hub import db
from hub.datasets import DATASETS
from hub.setup import Addresses, prepare
from hub.sharing.stored import dataset_sql, geometry_sql
from hub.tables import keys_metadata, metadata, tables_of
from tests.world import World, feature, grant

VERSIONS = db.MIGRATIONS / "hub" / "versions"
# Made by hub/sharing/stored.py, not by SQLAlchemy: compared as text below.
GENERATED = {f"{name}_{part}" for name in DATASETS for part in ("rules", "label_keys", "rules_provider")}

SNAPSHOT = """
with c as (select * from pg_class where relnamespace = to_regnamespace(%(schema)s)),
     f as (select * from pg_proc where pronamespace = to_regnamespace(%(schema)s))
select 'relation ' || relname, concat_ws(' ', relkind, relpersistence, reloptions, pg_get_userbyid(relowner), relacl)
  from c where relkind <> 'i'
union all
select 'column ' || relname || '.' || attname, concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attidentity,
                                                         attstattarget, pg_get_expr(adbin, adrelid), attacl)
  from c join pg_attribute on attrelid = c.oid and attnum > 0 and not attisdropped
  left join pg_attrdef on adrelid = attrelid and adnum = attnum where relkind <> 'i'
union all
select 'constraint ' || relname || '.' || conname, pg_get_constraintdef(k.oid) from c join pg_constraint k on conrelid = c.oid
union all
select 'index ' || relname, pg_get_indexdef(c.oid) from c where relkind = 'i'
union all
select 'view ' || relname, pg_get_viewdef(c.oid) from c where relkind = 'v'
union all
select 'trigger ' || relname || '.' || tgname, pg_get_triggerdef(t.oid) from c join pg_trigger t on tgrelid = c.oid
  where not tgisinternal
union all
select 'function ' || f.oid::regprocedure, concat_ws(' ', pg_get_functiondef(f.oid), pg_get_userbyid(proowner), proacl) from f
"""


@contextmanager
def _connected(url: sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _snapshot(url: sa.URL, schema: str) -> dict[str, str]:
    with _connected(url) as connection:
        return {str(what): text for what, text in connection.exec_driver_sql(SNAPSHOT, {"schema": schema})}


@pytest.fixture(scope="module")
def migrated(databases: Callable[[], tuple[sa.URL, sa.URL]]) -> tuple[sa.URL, sa.URL]:
    return databases()


@pytest.mark.parametrize(("schema", "described"), [("hub", metadata), ("keys", keys_metadata)])
def test_the_tables_are_those_of_the_catalogue(migrated: tuple[sa.URL, sa.URL], schema: str, described: sa.MetaData) -> None:
    assert _differences(migrated[schema == "keys"], schema, described) == []


def _differences(url: sa.URL, schema: str, described: sa.MetaData) -> list[Any]:
    for name, dataset in DATASETS.items():
        tables_of(name, dataset)  # made on first use
    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, parents: (
            (name == schema) if kind == "schema" else name not in GENERATED and not (kind == "table" and name.startswith("audit_leaves_"))
        ),
        "compare_type": True,
        "compare_server_default": True,
    }
    with _connected(url) as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), described))


def test_a_column_too_many_is_noticed(databases: Callable[[], tuple[sa.URL, sa.URL]]) -> None:
    """The control."""
    main, _ = databases()
    with _connected(main) as connection:
        connection.exec_driver_sql("alter table hub.incidents_history add column more text, alter column status type varchar(9)")
    found = _differences(main, "hub", metadata)
    assert "remove_column" in str(found)
    assert "modify_type" in str(found)


@pytest.fixture(scope="module")
def generated(databases: Callable[[], tuple[sa.URL, sa.URL]]) -> sa.URL:
    """A database whose schema was made by today's code, instead of by the frozen text of the migrations."""
    main, _ = databases()
    with _connected(main) as connection:
        connection.exec_driver_sql("drop schema hub cascade")
        connection.exec_driver_sql(
            "create schema hub authorization hub_owner; grant usage on schema hub to hub_reader, hub_writer, hub_auditor, hub_agreements"
        )
        connection.exec_driver_sql("set local role hub_owner")
        for name, dataset in DATASETS.items():
            tables_of(name, dataset)
        metadata.create_all(connection)
        for core in sorted(VERSIONS.glob("*_core.sql")):
            connection.exec_driver_sql(core.read_text().replace("%", "%%"))
        connection.exec_driver_sql(geometry_sql().replace("%", "%%"))
        for name, dataset in DATASETS.items():
            connection.exec_driver_sql(dataset_sql(name, dataset).replace("%", "%%"))
    return main


def test_everything_in_the_database_is_what_the_code_generates(migrated: tuple[sa.URL, sa.URL], generated: sa.URL) -> None:
    """Columns, constraints, indexes, views, functions, triggers, owners and rights."""
    found, expected = _snapshot(migrated[0], "hub"), _snapshot(generated, "hub")
    assert len(expected) > 200
    assert {what.split()[0] for what in expected} == {"relation", "column", "constraint", "index", "view", "trigger", "function"}
    assert found == expected


@pytest.mark.parametrize(
    "change",
    [
        "create or replace function hub.label_keys(released int[], k2 int) returns bigint[] language sql as 'select null::bigint[]'",
        "alter view hub.incidents_page set (security_barrier = false)",
        "grant select on hub.incidents to hub_reader",
        "alter table hub.incidents alter column category drop not null",
        "drop trigger append_only on hub.audit_leaves",
        "alter function hub.context_body(int) reset search_path",
        "drop index hub.incidents_k2_id",
    ],
)
def test_a_change_by_hand_is_noticed(databases: Callable[[], tuple[sa.URL, sa.URL]], generated: sa.URL, change: str) -> None:
    """The control."""
    main, _ = databases()
    with _connected(main) as connection:
        connection.exec_driver_sql(change)
    assert _snapshot(main, "hub") != _snapshot(generated, "hub")


def test_migrating_again_is_harmless(world: World, tmp_path: Path) -> None:
    for slug in ("police", "health"):
        world.organisation(slug)
    world.mou(tmp_path, "MOU-1", "police", "health", [grant(fields={"place": "clear"})])
    assert world.publish("police", feature("A-1")).status_code == 201
    before = [_snapshot(url, schema) for url, schema in _both(world)]
    for _ in range(2):
        prepare(world.settings, world.addresses)
    assert [_snapshot(url, schema) for url, schema in _both(world)] == before
    with world.superuser() as admin:
        assert admin.exec_driver_sql("select count(*) from hub.seal_key").scalar_one() == 1
    (found,) = world.items("health", "research")  # records, keys, seals and passwords still fit together
    assert found["geometry"]["coordinates"] == [-79.38, 43.65]


def _both(world: World) -> list[tuple[sa.URL, str]]:
    return [(world.addresses.main, "hub"), (world.addresses.keys, "keys")]


@pytest.mark.parametrize("branch", ["hub", "keys"])
def test_a_branch_has_one_beginning_and_one_end(branch: str) -> None:
    scripts = ScriptDirectory(str(db.MIGRATIONS / branch))
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1


@pytest.mark.parametrize(("place", "branch"), [(0, "hub"), (1, "keys")])
def test_a_migrated_database_is_at_the_end(migrated: tuple[sa.URL, sa.URL], place: int, branch: str) -> None:
    with _connected(migrated[place]) as connection:
        found = connection.exec_driver_sql(f"select version_num from public.{branch}_version").scalar_one()
    assert [found] == ScriptDirectory(str(db.MIGRATIONS / branch)).get_heads()


def test_a_fresh_server_is_migrated_from_nothing(world: World, cluster: Any) -> None:
    """No database there yet; the roles are, for they belong to the whole server."""
    name = f"{world.addresses.main.database}_fresh"
    main, keys = (world.addresses.main.set(database=n) for n in (name, f"{name}_keys"))
    try:
        prepare(world.settings, Addresses(main, keys))
        assert _snapshot(main, "hub") == _snapshot(world.addresses.main, "hub")
        assert _snapshot(keys, "keys") == _snapshot(world.addresses.keys, "keys")
    finally:
        engine = sa.create_engine(cluster.url(), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for database in (name, f"{name}_keys"):
                connection.exec_driver_sql(f'drop database if exists "{database}" with (force)')
        engine.dispose()
