"""Which right each application role has, object by object: what is listed here and nothing more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from hub.datasets import DATASETS
from hub.released import PATHS
from hub.sharing.stored import WRITING
from tests.wall.raw import ENGINES, rows, session
from tests.world import World, feature, grant

HUB_ROLES = ("hub_reader", "hub_writer", "hub_auditor", "hub_agreements", "hub_keyd", "hub_sequencer")
TABLES = {
    "hub_reader": {(f"{name}_{path}", "SELECT") for name in DATASETS for path in PATHS},
    "hub_writer": {
        ("organisations", "SELECT"),
        ("organisations", "INSERT"),
        ("clients", "SELECT"),
        ("clients", "INSERT"),
        ("clients", "UPDATE"),
        ("assertions_seen", "SELECT"),
        ("assertions_seen", "INSERT"),
        ("assertions_seen", "DELETE"),
        *((table, right) for table in ("imports", "import_batches", "replies") for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
        *((table, right) for table in ("people", "passkeys", "sessions", "tickets") for right in ("SELECT", "INSERT", "UPDATE")),
        ("passkeys", "DELETE"),
        *((table, right) for table in ("recovery_codes", "challenges", "attempts") for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
        *(("shared_maps", right) for right in ("SELECT", "INSERT", "DELETE")),
        *(("saved_searches", right) for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
        *(("retention", right) for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
        *(("holds", right) for right in ("SELECT", "INSERT", "UPDATE")),  # of `released_at` alone
        ("shreds", "SELECT"),
        ("leaf_entries", "INSERT"),
    },
    "hub_auditor": {
        *((table, "SELECT") for table in ("audit_leaves", "leaf_entries", "leaf_signatures", "organisations")),
        *((table, "SELECT") for table in ("log_pending", "log_index", "heads_leaves", "log_tiles", "log_heads", "log_state", "log_alarms")),
        *((table, "SELECT") for table in ("checkpoints", "witnesses", "cosignatures")),
        ("cosignatures", "INSERT"),
        *((table, right) for table in ("flags", "flag_steps", "review_marks") for right in ("SELECT", "INSERT")),
        *((table, right) for table in ("flag_pasts", "access_reviews", "review_runs") for right in ("SELECT", "INSERT", "UPDATE")),
        *(("flag_progress", right) for right in ("SELECT", "UPDATE")),
    },
    "hub_agreements": {
        *((table, right) for table in ("mous", "grants", "refusals", "mou_areas") for right in ("SELECT", "INSERT")),
        ("organisations", "SELECT"),
        ("mous", "UPDATE"),
        *(("policy_epoch", right) for right in ("SELECT", "UPDATE")),
        *((table, right) for table in ("party_keys", "mou_signatures", "mou_diffs") for right in ("SELECT", "INSERT", "UPDATE")),
        *(("boundaries", right) for right in ("SELECT", "INSERT")),
        *((name, "SELECT") for name in DATASETS),  # clear columns: see below
        *((table, right) for table in ("deliveries", "recalls") for right in ("SELECT", "UPDATE")),  # two columns at most: see below
        ("recalls", "INSERT"),
        *(("mou_work", right) for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
        *((f"{name}_rules", right) for name in DATASETS for right in ("SELECT", "INSERT", "DELETE")),
    },
    "hub_keyd": {("leaf_signatures", "SELECT"), ("leaf_signatures", "INSERT")},
    "hub_sequencer": {
        ("log_pending", "SELECT"),
        ("log_pending", "DELETE"),
        *((table, right) for table in ("log_index", "heads_leaves", "checkpoints") for right in ("SELECT", "INSERT")),
        *((table, right) for table in ("log_tiles", "log_heads", "log_alarms") for right in ("SELECT", "INSERT", "UPDATE")),
        *(("log_state", right) for right in ("SELECT", "UPDATE")),
        *((table, "SELECT") for table in ("leaf_signatures", "witnesses", "cosignatures")),
    },
    "hub_keys": set(),
}
FUNCTIONS = {
    "hub_reader": {
        "enter",
        "admit",
        "policy_snapshot",
        "organisation_names",
        "grant_shares",
        "label_keys",
        "audit_append",
        "agreements",
        "agreement_areas",
        "refusal_snapshot",
        "deliver",
        *(f"{name}_{what}" for name in DATASETS for what in ("ctx", "counts")),
    },
    "hub_writer": {
        "audit_append",
        "admit",
        "policy_snapshot",
        "organisation_names",
        *(f"{name}_{what}" for name in DATASETS for what in (*WRITING, "held", "shred", "due", "before", "keep", "indexed")),
    },
    "hub_auditor": {
        "audit_append",
        "admit",
        "policy_snapshot",
        "organisation_names",
        "leaf_terms",
        "log_behind",
        *("cited_mou", "cited_boundary", "keys_of_parties"),
        *(f"{name}_{what}" for name in DATASETS for what in ("revisions", "trace", "inventory", "listing", "blind_left")),
    },
    "hub_agreements": {"audit_append", *(f"{name}_relabel" for name in DATASETS)},
    "hub_keyd": {
        "organisation_names",
        "shred_done",
        "shreds_complete",
        *(f"blind_{what}" for what in ("state", "begin", "finish")),
        "proven",
        "log_behind",
        *(
            f"{name}_{what}"
            for name in DATASETS
            for what in ("covered", "shred_order", "living", "gone", "tag", "untag", "candidates", "matched", "to_index", "size", "reindex")
        ),
    },
    "hub_sequencer": {"add_audit_months", "log_behind"},
    "hub_keys": set(),
}
KEYS_TABLES = {
    *((table, right) for table in ("kek", "signed", "shredded", "backups") for right in ("SELECT", "INSERT")),
    *(("kek", right) for right in ("UPDATE", "DELETE")),  # of `wrapped` and `destroyed_at`; of those that wrap nothing
    ("backups", "UPDATE"),
    *(("dek", right) for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
}


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "health"):
        world.organisation(slug)
    folder: Path = tmp_path_factory.mktemp("mous")
    world.mou(folder, "MOU-1", "police", "health", [grant()])
    assert world.publish("police", feature("A-1")).status_code == 201
    return world


@pytest.fixture
def admin(shared: World) -> Iterator[Any]:
    with shared.superuser() as connection:
        yield connection


@pytest.fixture
def keys_admin(shared: World) -> Iterator[Any]:
    connection = psycopg2.connect(shared.addresses.keys.set(drivername="postgresql").render_as_string(hide_password=False))
    yield connection
    connection.close()


RELATION_RIGHTS = """
select c.relname, r.right from pg_class c join pg_namespace n on n.oid = c.relnamespace,
       unnest(array['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER']) r("right")
where n.nspname = %(schema)s and c.relkind in ('r', 'v', 'm', 'p', 'f')
  and (has_table_privilege(%(role)s, c.oid, r.right)
       or (r.right in ('SELECT','INSERT','UPDATE','REFERENCES') and has_any_column_privilege(%(role)s, c.oid, r.right)))"""


@pytest.mark.parametrize("role", [*HUB_ROLES, "hub_keys"])
def test_a_role_has_no_other_right_on_a_table_or_view(admin: Any, role: str) -> None:
    found = admin.exec_driver_sql(RELATION_RIGHTS, {"schema": "hub", "role": role}).all()
    assert {tuple(row) for row in found} == TABLES[role]


@pytest.mark.parametrize("role", [*HUB_ROLES, "hub_keys"])
def test_a_role_may_call_no_other_function(admin: Any, role: str) -> None:
    found = admin.exec_driver_sql(
        "select p.proname from pg_proc p where p.pronamespace = 'hub'::regnamespace and has_schema_privilege(%s, 'hub', 'usage')"
        " and has_function_privilege(%s, p.oid, 'execute')",
        (role, role),
    ).scalars()
    assert set(found) == FUNCTIONS[role]


@pytest.mark.parametrize("role", [*HUB_ROLES, "hub_keys"])
def test_a_role_may_use_no_sequence_and_create_nothing(admin: Any, role: str) -> None:
    used = admin.exec_driver_sql(
        "select seqrelid::regclass::text from pg_sequence where has_sequence_privilege(%s, seqrelid, 'usage, select, update')",
        (role,),
    ).scalars()
    assert list(used) == []
    schemas = admin.exec_driver_sql("select nspname from pg_namespace where has_schema_privilege(%s, oid, 'create')", (role,)).scalars()
    assert list(schemas) == []
    database = (
        "select has_database_privilege(%s, current_database(), 'create'), has_database_privilege(%s, current_database(), 'temporary')"
    )
    assert tuple(admin.exec_driver_sql(database, (role, role)).one()) == (False, False)


@pytest.mark.parametrize("role", [*HUB_ROLES, "hub_keys"])
def test_a_role_is_nobody_special(admin: Any, role: str) -> None:
    attributes = "rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
    found = admin.exec_driver_sql(f"select {attributes} from pg_roles where rolname = %s", (role,)).one()
    assert tuple(found) == (False, False, False, False, False, False, True)
    member = "select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member or r.oid = m.roleid where r.rolname = %s"
    assert admin.exec_driver_sql(member, (role,)).scalar_one() == 0
    owned = "select count(*) from pg_shdepend d join pg_roles r on r.oid = d.refobjid where r.rolname = %s and d.deptype = 'o'"
    assert admin.exec_driver_sql(owned, (role,)).scalar_one() == 0


def test_the_owner_can_not_sign_in(admin: Any) -> None:
    found = admin.exec_driver_sql("select rolcanlogin, rolsuper, rolbypassrls from pg_roles where rolname = 'hub_owner'").one()
    assert tuple(found) == (False, False, False)


def test_everything_of_the_hub_is_its_owners(admin: Any) -> None:
    owners = admin.exec_driver_sql(
        "select distinct pg_get_userbyid(o) from (select relowner from pg_class where relnamespace = 'hub'::regnamespace"
        " union all select proowner from pg_proc where pronamespace = 'hub'::regnamespace"
        " union all select typowner from pg_type where typnamespace = 'hub'::regnamespace) x(o)"
    ).scalars()
    assert list(owners) == ["hub_owner"]


def test_every_function_with_its_owners_rights_fixes_its_search_path(admin: Any) -> None:
    """Else a caller could put operators or functions of its own in front."""
    found = admin.exec_driver_sql("select proname, proconfig from pg_proc where pronamespace = 'hub'::regnamespace and prosecdef").all()
    assert len(found) >= 10
    for name, settings in found:
        paths = [s for s in settings or () if s.startswith("search_path=")]
        assert len(paths) == 1, name
        assert paths[0].startswith("search_path=pg_catalog,"), name
        assert paths[0].endswith("pg_temp"), name


def test_every_view_is_a_barrier_and_its_owners(admin: Any) -> None:
    found = admin.exec_driver_sql(
        "select relname, reloptions from pg_class where relnamespace = 'hub'::regnamespace and relkind = 'v'"
    ).all()
    assert {name for name, _ in found} == {f"{name}_{path}" for name in DATASETS for path in PATHS}
    assert all(options == ["security_barrier=true"] for _, options in found)  # and not security_invoker


@pytest.mark.parametrize("role", [*HUB_ROLES, "hub_keys"])
def test_a_role_sees_the_keys_database_only_if_it_is_its_own(keys_admin: Any, role: str) -> None:
    with keys_admin.cursor() as cursor:
        cursor.execute(RELATION_RIGHTS, {"schema": "keys", "role": role})
        assert set(cursor.fetchall()) == (KEYS_TABLES if role == "hub_keys" else set())
        cursor.execute(
            "select has_database_privilege(%(r)s, current_database(), 'connect'), has_schema_privilege(%(r)s, 'keys', 'create'),"
            " has_database_privilege(%(r)s, current_database(), 'create'), has_database_privilege(%(r)s, current_database(), 'temporary')",
            {"r": role},
        )
        assert cursor.fetchone() == (role == "hub_keys", False, False, False)


@pytest.mark.parametrize("role", HUB_ROLES)
def test_no_other_role_gets_into_the_keys_database(shared: World, role: str) -> None:
    with (
        pytest.raises(psycopg2.OperationalError, match="permission denied for database"),
        session(shared, role, shared.addresses.keys.database),
    ):
        pass


@pytest.mark.parametrize("role", ENGINES)
def test_no_role_tells_other_sessions_what_it_runs(shared: World, role: str) -> None:
    with session(shared, role) as connection:
        settings = "track_activities", "log_statement", "log_min_error_statement", "log_min_duration_statement"
        assert [rows(connection, f"show {s}")[0][0] for s in settings] == ["off", "none", "panic", "-1"]
