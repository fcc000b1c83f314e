"""SQL stacked behind the application's own, as each of its roles: whatever it tries, it gains nothing.

Who can run raw SQL as a role has what that role may do (test_rights.py lists it): hub_reader needs a seal that only the hub can
make, hub_writer may store and register clients, hub_auditor may read the log, hub_agreements may change which MOUs
are in force. Everything else is tried here.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import sqlalchemy as sa

from hub.datasets import DATASETS
from hub.sharing.stored import store_parameters
from tests.leaves import leaf_text
from tests.wall.raw import ENGINES, begin, rows, sealed, session
from tests.world import World, feature, grant

DENIED = "42501"
CANARY = "Nobody is told this"

# What every role must be refused, in whichever database: (statement, SQLSTATE or several).
ANYWHERE = [
    ("set role hub_owner", DENIED),
    ("set role postgres", DENIED),
    ("set session authorization hub_owner", DENIED),
    ("set session authorization postgres", DENIED),
    ("select set_config('role', 'hub_owner', false)", DENIED),
    ("select set_config('session_authorization', 'hub_owner', false)", DENIED),
    ("select set_config('is_superuser', 'on', false)", "55P02"),
    ("set session_replication_role = replica", DENIED),
    ("set track_activities = on", DENIED),
    ("set local track_activities = on", DENIED),
    ("select set_config('track_activities', 'on', true)", DENIED),
    ("set log_statement = 'all'", DENIED),
    ("set log_min_error_statement = 'error'", DENIED),
    ("set log_min_duration_statement = 0", DENIED),
    ("set lo_compat_privileges = on", DENIED),
    ("load 'dblink'", DENIED),
    ("grant hub_owner to current_user", DENIED),
    ("grant pg_read_all_data to current_user", DENIED),
    ("alter role current_user superuser", DENIED),
    ("alter role current_user bypassrls", DENIED),
    ("alter role current_user inherit", DENIED),
    ("alter role current_user set track_activities = on", DENIED),
    ("alter role hub_owner login password 'x'", DENIED),
    ("alter role postgres password 'x'", DENIED),
    ("create role mine", DENIED),
    ("create schema mine", DENIED),
    ("create table public.mine (x int)", DENIED),
    ("create temp table mine (x int)", DENIED),
    ("create temp view mine as select 1", DENIED),
    ("create temp sequence mine", DENIED),
    ("select 1 as x into temp mine", DENIED),
    ("create function public.mine() returns int language sql as 'select 1'", DENIED),
    ("create function pg_temp.mine() returns int language sql as 'select 1'", DENIED),
    ("create type public.mine as (x int)", DENIED),
    ("create operator public.=== (leftarg = int, rightarg = int, function = int4eq)", DENIED),
    ("create extension dblink", "42501|0A000"),  # 0A000: this server has none to offer
    ("create language plperlu", "42501|0A000"),
    ("create event trigger mine on ddl_command_end execute function mine()", DENIED),
    ("create foreign data wrapper mine", DENIED),
    ("create publication mine for all tables", DENIED),
    ('create collation public.mine from "C"', DENIED),
    ("alter schema public owner to current_user", DENIED),
    ("alter default privileges for role hub_owner grant select on tables to current_user", DENIED),
    ("copy (select 1) to program 'id'", DENIED),
    ("copy (select 1) to '/tmp/mine'", DENIED),
    ("select lo_import('/etc/hostname')", DENIED),
    ("select lo_export(1, '/tmp/mine')", DENIED),
    ("select pg_read_file('/etc/hostname')", DENIED),
    ("select pg_read_binary_file('postgresql.conf')", DENIED),
    ("select pg_ls_dir('.')", DENIED),
    ("select pg_stat_file('postgresql.conf')", DENIED),
    ("select * from pg_ls_logdir()", DENIED),
    ("select * from pg_ls_waldir()", DENIED),
    ("select pg_current_logfile()", DENIED),
    ("select pg_reload_conf()", DENIED),
    ("select * from pg_create_physical_replication_slot('mine')", DENIED),
    ("select dblink('dbname=postgres', 'select 1')", "42883"),  # the extension is not there
    ("select * from pg_authid", DENIED),
    ("select * from pg_shadow", DENIED),
    ("select * from pg_statistic", DENIED),
    ("select * from pg_statistic_ext_data", DENIED),
    ("select * from pg_largeobject", DENIED),
    ("select * from pg_hba_file_rules", DENIED),
    ("select * from pg_file_settings", DENIED),
    ("select * from pg_subscription", DENIED),
]
# Refused to the roles that work in the main database.
MAIN = [
    *((f"select * from hub.{t}", DENIED) for t in ("incidents", "incidents_history", "incidents_withdrawn", "seal_key")),
    ("table hub.incidents", DENIED),
    ("copy hub.incidents to stdout", DENIED),
    ("explain analyze select * from hub.incidents", DENIED),
    ("do $$ begin perform * from hub.incidents; end $$", DENIED),
    ("lock table hub.incidents in access share mode", DENIED),
    ("delete from hub.incidents", DENIED),
    ("update hub.seal_key set k = ''", DENIED),
    ("update hub.mous set source = ''", DENIED),
    ("update hub.grants set fields = '{}'", DENIED),
    ("insert into hub.audit_leaves (event) values (gen_random_uuid())", DENIED),
    ("update hub.audit_leaves set leaf = ''", DENIED),
    ("delete from hub.audit_leaves", DENIED),
    ("truncate hub.audit_leaves", DENIED),
    ("alter table hub.audit_leaves disable trigger append_only", DENIED),
    ("drop trigger append_only on hub.audit_leaves", DENIED),
    ("alter table hub.incidents owner to current_user", DENIED),
    ("alter view hub.incidents_page set (security_barrier = false)", DENIED),
    ("alter view hub.incidents_page set (security_invoker = true)", DENIED),
    ("create or replace view hub.incidents_page as select 1", DENIED),
    ("create or replace function hub.context_body(p_dataset int) returns text language sql as 'select null::text'", DENIED),
    ("alter function hub.context_body(int) owner to current_user", DENIED),
    ("alter function hub.context_body(int) security invoker", DENIED),
    ("alter role current_user in database postgres set log_statement = 'all'", DENIED),
    ("grant select on hub.incidents to current_user", DENIED),
    ("grant execute on function hub.context_body to current_user", DENIED),
    ("drop view hub.incidents_page", DENIED),
    ("drop schema hub cascade", DENIED),
    ("reindex table hub.incidents", DENIED),
    ("select hub.context_body(1)", DENIED),
    ("select nextval('hub.revision_no')", DENIED),
    ("select setval('hub.revision_no', 1)", DENIED),
    ("select hub.incidents_recall(1, '{}')", DENIED),
    ("select hub.incidents_recall_all(1, gen_random_uuid(), 'erasure')", DENIED),
]
NOTHING = ", ".join(f"null::{kind}" for _, kind in store_parameters(DATASETS["incidents"]))
WRITING = [
    (f"select * from hub.incidents_store({NOTHING})", DENIED),
    ("select * from hub.incidents_known(1, '{}')", DENIED),
    ("select * from hub.incidents_known_id(1, gen_random_uuid())", DENIED),
    ("select hub.incidents_withdraw(1, gen_random_uuid(), 1, 'erasure')", DENIED),
    ("select * from hub.incidents_receipts(1, '{}')", DENIED),
]
# What hub_agreements is for.
AGREEING = [
    *(
        (f"select * from hub.{t}", DENIED)
        for t in ("incidents_rules", "mous", "grants", "refusals", "policy_epoch", "mou_work", "deliveries", "recalls")
    ),
    ("update hub.policy_epoch set epoch = epoch + 1", DENIED),
    ("insert into hub.grants (mou_id, name, dataset, purposes, actions, fields) values (1, 'x', 1, '{}', '{}', '{}')", DENIED),
    ("select hub.incidents_relabel(1, '{}', '{}', -1, gen_random_uuid(), 1)", DENIED),
]
BY_ROLE = {
    "hub_reader": [
        ("select * from hub.audit_leaves", DENIED),
        ("select * from hub.organisations", DENIED),
        ("select * from hub.clients", DENIED),
        ("select * from hub.imports", DENIED),
        ("insert into hub.replies (client) values ('x')", DENIED),
        *WRITING,
        ("select * from hub.incidents_revisions(gen_random_uuid(), null)", DENIED),
        ("update hub.incidents_page set category = 'x'", "55000"),  # no view that can be written
        ("delete from hub.incidents_scan", "55000"),
        ("lock table hub.incidents_page in access exclusive mode", DENIED),
        ("select hub.enter(1, 'forged')", DENIED),
    ],
    "hub_writer": [
        ("select * from hub.incidents_page", DENIED),
        ("select * from hub.audit_leaves", DENIED),
        ("copy hub.imports from program 'id'", DENIED),
        ("insert into hub.incidents_withdrawn (id) values (gen_random_uuid())", DENIED),
        ("delete from hub.organisations", DENIED),
        ("update hub.organisations set kind = 'auditor'", DENIED),
        ("delete from hub.clients", DENIED),
        ("select hub.enter(1, 'x')", DENIED),
        ("select * from hub.incidents_ctx()", DENIED),
        ("select * from hub.incidents_revisions(gen_random_uuid(), null)", DENIED),
    ],
    "hub_auditor": [
        ("select * from hub.incidents_page", DENIED),
        ("select * from hub.clients", DENIED),
        ("insert into hub.organisations (slug, name, kind) values ('mine', 'Mine', 'auditor')", DENIED),
        ("select hub.enter(1, 'x')", DENIED),
        *WRITING,
    ],
    "hub_agreements": [
        ("select * from hub.incidents_page", DENIED),
        ("select * from hub.audit_leaves", DENIED),
        ("select * from hub.clients", DENIED),
        ("delete from hub.mous", DENIED),
        ("delete from hub.grants", DENIED),
        ("update hub.mous set sha256 = ''", DENIED),
        ("update hub.organisations set kind = 'auditor'", DENIED),
        ("select hub.enter(1, 'x')", DENIED),
        ("select * from hub.incidents_revisions(gen_random_uuid(), null)", DENIED),
        *WRITING,
    ],
    "hub_keyd": [
        ("select * from hub.incidents_page", DENIED),
        ("select * from hub.audit_leaves", DENIED),
        ("select * from hub.sessions", DENIED),
        ("select hub.enter(1, 'x')", DENIED),
        ("select hub.audit_append(null, gen_random_uuid(), 'x', now(), null, null, array['x'], array[1], array['x'])", DENIED),
        ("update hub.leaf_signatures set n = 1", DENIED),
        ("delete from hub.leaf_signatures", DENIED),
        *WRITING,
    ],
    "hub_keys": [
        ("update keys.signed set n = 1", DENIED),
        ("delete from keys.signed", DENIED),
        ("update keys.kek set epoch = 9", DENIED),
        ("truncate keys.dek", DENIED),
        ("alter table keys.dek disable trigger all", DENIED),
        ("create table keys.mine (x int)", DENIED),
        ("drop table keys.kek", DENIED),
    ],
}
REFUSED = [
    *((role, statement, code) for role in ENGINES for statement, code in ANYWHERE),
    *((role, statement, code) for role in ENGINES if role != "hub_keys" for statement, code in MAIN),
    *((role, statement, code) for role in ENGINES if role not in ("hub_keys", "hub_agreements") for statement, code in AGREEING),
    *((role, statement, code) for role, refused in BY_ROLE.items() for statement, code in refused),
]
# These PostgreSQL lets anybody do. What it must not do is help.
IDLE = [
    "reset role",
    "set role none",
    "reset session authorization",
    "set session authorization default",
    "reset all",
    "set search_path = public, pg_temp",
    "set row_security = off",
    "set default_transaction_isolation = 'serializable'",
    "set enable_seqscan = off",
    "alter role current_user set search_path = public",  # rolled back here; its own defaults are any role's to set
    "select set_config('hub.context', repeat('0', 64) || '1|1|9999999999999999|1|1|research|1', false)",
    "select set_config('hub.context', '', false)",
    "listen anything",
    "select pg_advisory_lock_shared(1)",
]


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health"):
        world.organisation(slug)
    world.mou(folder, "MOU-1", "police", "health", [grant()])
    assert world.publish("police", *(feature(f"A-{n}", narrative=CANARY) for n in range(20))).status_code == 201
    assert world.items("health", "research")
    with world.superuser() as admin:
        admin.exec_driver_sql("analyze")
    return world


@pytest.fixture(scope="module")
def sessions(shared: World) -> Iterator[dict[str, Any]]:
    opened = {role: session(shared, role) for role in ENGINES}
    yield {role: manager.__enter__() for role, manager in opened.items()}
    for manager in opened.values():
        manager.__exit__(None, None, None)


def _prefix(world: World, connection: Any, role: str) -> str:
    """What the hub itself says in a transaction of that role, before the statement that is stacked behind it."""
    if role != "hub_reader":
        return "begin; select 1; "
    text = sealed(world, connection, "health")
    return connection.cursor().mogrify("select hub.enter(1, %s); select id from hub.incidents_page; ", (text,)).decode()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("role", "statement", "code"), REFUSED)
def test_a_stacked_statement_is_refused(shared: World, sessions: dict[str, Any], role: str, statement: str, code: str) -> None:
    connection = sessions[role]
    try:
        with pytest.raises(psycopg2.Error) as caught:
            rows(connection, _prefix(shared, connection, role) + statement)
        assert caught.value.pgcode in code.split("|")
    finally:
        rows(connection, "rollback")


PROBES = {
    "hub_reader": ("select * from hub.incidents", "select hub.context_body(1)"),
    "hub_writer": ("select * from hub.incidents", "select * from hub.incidents_page"),
    "hub_auditor": ("select * from hub.incidents", "delete from hub.audit_leaves"),
    "hub_agreements": ("select * from hub.incidents", "select * from hub.incidents_page"),
    "hub_keyd": ("select * from hub.incidents", "select * from hub.audit_leaves"),
    "hub_sequencer": ("select * from hub.audit_leaves", "delete from hub.log_index"),
    "hub_keys": ("delete from keys.signed", "select pg_read_file('/etc/hostname')"),
}


@pytest.mark.parametrize("statement", IDLE)
@pytest.mark.parametrize("role", ENGINES)
def test_a_statement_that_succeeds_gains_nothing(shared: World, role: str, statement: str) -> None:
    with session(shared, role) as connection:
        rows(connection, "begin")
        rows(connection, statement)
        assert rows(connection, "select current_user, session_user") == [(role, role)]
        for probe in PROBES[role]:
            rows(connection, "savepoint here")
            with pytest.raises(psycopg2.Error) as caught:
                rows(connection, probe)
            assert caught.value.pgcode == DENIED
            rows(connection, "rollback to here")
        if role == "hub_reader":
            assert rows(connection, "select count(*) from hub.incidents_scan") == [(0,)]
        rows(connection, "rollback")


# --- what other sessions do, and what the planner knows ----------------------------------------------------------------------------


@pytest.mark.parametrize("role", ENGINES)
def test_other_sessions_statements_can_not_be_read(shared: World, role: str) -> None:
    """The seal is in the reader's statements; the same role in another session sees that one runs, and nothing of it."""
    with session(shared, role) as busy, session(shared, role) as spy:
        pid = rows(busy, "begin; select pg_backend_pid()")[0][0]
        if role == "hub_reader":
            rows(busy, "rollback")
            text = sealed(shared, busy, "health")
            rows(busy, "select hub.enter(1, %s); select * from hub.incidents_page", (text,))
        ((query,),) = rows(spy, "select query from pg_stat_activity where pid = %s", (pid,))
        assert not query
        others = rows(spy, "select query from pg_stat_activity where usename <> current_user and query <> '<insufficient privilege>'")
        assert [q for (q,) in others if q] == []


def test_a_role_that_tells_its_statements_is_overheard(shared: World) -> None:
    """The control: a role of the same kind, for whose sessions nobody turned track_activities off."""
    role, password = f"telling_{uuid4().hex[:8]}", uuid4().hex
    url = shared.addresses.main.set(drivername="postgresql", username=role, password=password).render_as_string(hide_password=False)
    with shared.superuser() as admin:
        admin.exec_driver_sql(f"create role {role} login password '{password}'")
    try:
        with closing(psycopg2.connect(url)) as busy, closing(psycopg2.connect(url)) as spy:
            ((pid, _),) = rows(busy, "select pg_backend_pid(), %s", (CANARY,))
            ((query,),) = rows(spy, "select query from pg_stat_activity where pid = %s", (pid,))
        assert CANARY in query
    finally:
        with shared.superuser() as admin:
            admin.exec_driver_sql(f"drop role {role}")


@pytest.mark.parametrize("role", ["hub_reader", "hub_writer", "hub_auditor", "hub_agreements"])
def test_statistics_tell_nothing_of_the_records(shared: World, sessions: dict[str, Any], role: str) -> None:
    found = rows(sessions[role], "select tablename, attname from pg_stats where schemaname = 'hub'")
    allowed = {
        "hub_reader": set(),
        "hub_writer": {"organisations", "clients", "assertions_seen"},
        "hub_auditor": {
            *("audit_leaves", "leaf_entries", "leaf_signatures", "organisations", "checkpoints", "heads_leaves", "log_heads", "log_index"),
            *("log_pending", "log_state", "log_tiles", "log_alarms", "witnesses", "cosignatures"),
            *("flags", "flag_steps", "flag_pasts", "flag_progress", "access_reviews", "review_runs", "review_marks"),
        },
        "hub_agreements": {
            *("organisations", "mous", "grants", "refusals", "mou_areas", "mou_work", "incidents_rules", "policy_epoch", "party_keys"),
            *("boundaries", "mou_signatures", "mou_diffs", "incidents"),  # of incidents the clear columns, which an effect diff counts by
        },
    }
    assert {table for table, _ in found} <= allowed[role]
    assert rows(sessions[role], "select * from pg_stats_ext where schemaname = 'hub'") == []
    with shared.superuser() as admin:  # they are there
        assert admin.exec_driver_sql("select count(*) from pg_stats where schemaname = 'hub' and tablename = 'incidents'").scalar_one() > 10


def test_the_keys_role_finds_nothing_in_the_main_database(shared: World) -> None:
    with session(shared, "hub_keys", str(shared.addresses.main.database)) as connection:
        for statement in ("select * from hub.incidents_page", "select * from hub.organisations", "select * from hub.admit('x')"):
            with pytest.raises(psycopg2.Error) as caught:
                rows(connection, statement)
            assert caught.value.pgcode == DENIED


# --- the log -----------------------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
APPEND = "select hub.audit_append(null, %s::uuid, 'query', '2026-05-04 12:00:00Z', 'police', null, %s::text[], %s::int[], %s::text[])"


def said(event: str, owner: str | None, **more: Any) -> str:
    return leaf_text(event, "query", NOON, owner=owner, organisation="police", **more)


@pytest.mark.parametrize("role", ["hub_reader", "hub_writer", "hub_auditor", "hub_agreements"])
def test_the_log_takes_a_leaf_once_and_never_another_in_its_place(shared: World, sessions: dict[str, Any], role: str) -> None:
    connection, event = sessions[role], str(uuid4())
    first = said(event, "police")
    rows(connection, APPEND, (event, ["police", None], [1, 1], [first, said(event, None, own=1)]))
    before = _leaves(shared)
    rows(connection, APPEND, (event, ["police"], [1], [first]))  # the same again, after an unknown outcome
    others = {said(event, "police", other=1): "police", said(event, None): None, first + " ": "police", "": "police", "{": "police"}
    for leaf, owner in others.items():
        with pytest.raises(psycopg2.Error) as caught:
            rows(connection, APPEND, (event, [owner], [1], [leaf]))
        assert caught.value.pgcode == ("HB002" if len(leaf) > 1 else "22P02")  # the latter are no JSON
    with pytest.raises(psycopg2.Error) as caught:  # with a leaf that is new beside one that is not the same
        rows(connection, APPEND, (event, ["health", "police"], [1, 1], [said(event, "health"), first + " "]))
    assert caught.value.pgcode == "HB002"
    assert _leaves(shared) == before


@pytest.mark.parametrize("role", ["hub_reader", "hub_writer", "hub_auditor", "hub_agreements"])
def test_a_leaf_is_filed_under_what_it_says(shared: World, sessions: dict[str, Any], role: str) -> None:
    """So nobody hides an access from an owner's list, from whoever searches by a column, or passes a leaf off as a heads leaf."""
    connection, event, before = sessions[role], str(uuid4()), _leaves(shared)
    honest = json.loads(said(event, "police"))
    for change in (
        {"owner": "fire"}, {"owner": None}, {"event": str(uuid4())}, {"type": "heads"}, {"type": "export"}, {"part": 2}, {"v": 2},
        {"at": "2026-05-04T12:00:00.001Z"}, {"at": None}, 
        {"at": "2026-05-04T12:00:00"}, {"at": "2026-05-04T12:00:00Z"}, {"by": {}}, {"by": {"organisation": "fire"}}, {"by": "police"},
        {"decision": None}, {"asked": 1}, {"shown": []}, {"under": {}},
    ):  # fmt: skip
        leaf = json.dumps({name: value for name, value in (honest | change).items() if value is not None})
        with pytest.raises(psycopg2.Error) as caught:
            rows(connection, APPEND, (event, ["police"], [1], [leaf]))
        assert caught.value.pgcode == "HB003", change
    for leaf in ("[]", "null", "1", "{}", json.dumps(honest, indent=1), json.dumps(honest) + "\t"):
        with pytest.raises(psycopg2.Error) as caught:
            rows(connection, APPEND, (event, ["police"], [1], [leaf]))
        assert caught.value.pgcode == "HB003", leaf
    heads = leaf_text(event, "heads", NOON, organisation="police", heads={"police": [0, ""]})
    with pytest.raises(psycopg2.Error) as caught:
        rows(connection, APPEND.replace("'query'", "'heads'"), (event, [None], [1], [heads]))
    assert caught.value.pgcode == "HB003"
    assert _leaves(shared) == before


def _leaves(world: World) -> list[tuple[Any, ...]]:
    with world.superuser() as admin:
        return [
            tuple(r)
            for r in admin.exec_driver_sql("select id, event::text, owner, part, leaf, leaf_hash::text from hub.audit_leaves order by id")
        ]


@pytest.mark.parametrize("who", ["postgres", "hub_owner"])
@pytest.mark.parametrize(
    "statement",
    [
        "update hub.audit_leaves set leaf = leaf",
        "update hub.audit_leaves set at = now() where false",
        "delete from hub.audit_leaves",
        "truncate hub.audit_leaves",
        "insert into hub.audit_leaves (event, part, type, at, leaf, leaf_hash) select event, part, type, at, 'x', '' from hub.audit_leaves "
        "on conflict (event, owner, part) do update set leaf = excluded.leaf",
        "merge into hub.audit_leaves a using (select 1) x on true when matched then delete",
    ],
)
def test_not_even_its_owner_changes_the_log_by_an_ordinary_statement(shared: World, who: str, statement: str) -> None:
    """An administrator can drop the trigger; that it shows is the work of the signed tree, later on."""
    before = _leaves(shared)
    with pytest.raises(sa.exc.DBAPIError, match="only ever added to"):
        _run_as(shared, who, statement)
    assert _leaves(shared) == before


def _run_as(world: World, who: str, statement: str) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql(f"set local role {who}")
        admin.exec_driver_sql(statement)


def test_the_seal_is_nowhere_in_the_servers_views_afterwards(shared: World) -> None:
    """A pooled session forgets: no setting, cursor or prepared statement keeps what a request was sealed with."""
    assert shared.items("health", "research")
    raw = shared.database.reader.raw_connection()
    try:
        kept = [
            *rows(raw, "select statement from pg_prepared_statements"),
            *rows(raw, "select statement from pg_cursors"),
            *rows(raw, "select coalesce(current_setting('hub.context', true), '')"),
        ]
        assert kept[-1] == ("",)
        assert not any("research" in text or "|" in text.replace("||", "") for (text,) in kept)
    finally:
        raw.rollback()
        raw.close()


def test_reading_the_views_needs_no_write(shared: World) -> None:
    """So that a hot standby can serve readers: entering and reading work in a read-only transaction."""
    with session(shared, "hub_reader") as connection:
        rows(connection, "set default_transaction_read_only = on")
        text = sealed(shared, connection, "health")
        found = rows(connection, "select hub.enter(1, %s); select count(*) from hub.incidents_scan", (text,))
        assert found == [(20,)]
        rows(connection, "rollback")
        assert begin(connection, "health").active
