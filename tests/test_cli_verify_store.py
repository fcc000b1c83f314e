"""`hub verify-store`: whatever a database administrator does to stored revisions is found and named; what the hub itself does is not."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from hub.audit import leaf
from hub.audit.leaf import By
from hub.datasets.incidents import Incident
from hub.identity import organisations
from hub.sharing.incoming import incoming
from hub.sharing.publish import Publisher
from tests.commands import Run, environment, refused
from tests.world import World, build, feature

WHOLE = "nothing wrong."


@pytest.fixture
def shared(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path) -> Iterator[World]:
    """A store with everything in it that the hub itself makes: batches, updates, withdrawals, a record that came back."""
    with build(*databases(), state) as world:
        for slug in ("police", "fire"):
            world.organisation(slug)
        for n in range(3):
            assert world.publish("police", *(feature(f"P-{i}", narrative=f"version {n}") for i in range(4))).status_code == 201 - bool(n)
        assert world.publish("fire", feature("F-0")).status_code == 201
        assert world.publish("fire", feature("F-0")).status_code == 200  # unchanged: a leaf without revisions
        for slug, name in (("police", "P-3"), ("fire", "F-0")):
            withdraw(world, slug, name)
        assert world.publish("fire", feature("F-0", narrative="it came back")).status_code == 200
        yield world


@pytest.fixture
def hub(shared: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(shared).items():
        monkeypatch.setenv(name, value)
    return bare


def withdraw(world: World, slug: str, name: str) -> None:
    publisher = publisher_of(world, slug)
    record = one(world, f"select id from hub.incidents where external_id = '{name}'")
    world.services.datasets["incidents"].publishing.withdraw(publisher, UUID(str(record)), None)


def publisher_of(world: World, slug: str) -> Publisher:
    found = organisations.get(world.database.writer, slug)
    return Publisher(found.id, found.uid, slug, By(slug, slug))


def one(world: World, question: str) -> Any:
    with world.superuser() as admin:
        return admin.exec_driver_sql(question).scalar_one()


def columns_but(world: World, *left_out: str) -> str:
    """The columns of a stored revision, for copying one."""
    named = "table_schema = 'hub' and table_name = 'incidents_history'"
    out = "".join(f" and column_name <> '{column}'" for column in left_out)
    return str(one(world, f"select string_agg(column_name, ', ') from information_schema.columns where {named}{out}"))


def alter(world: World, *statements: str) -> None:
    """As the database's superuser, past every trigger."""
    with world.superuser() as admin:
        admin.exec_driver_sql("set session_replication_role = replica")
        for statement in statements:
            assert admin.exec_driver_sql(statement.replace("%", "%%")).rowcount != 0, statement


def known(world: World, name: str, rev: int) -> tuple[str, int]:
    """Id and number of a revision."""
    with world.superuser() as admin:
        for table in ("incidents", "incidents_history"):
            found = admin.exec_driver_sql(
                f"select id::text, revision_no from hub.{table} where external_id = '{name}' and rev = {rev}"
            ).first()
            if found:
                return found[0], found[1]
    raise AssertionError


SEALED = "place_sealed, narrative_sealed"
CONTENT = "content_mac = h.content_mac, place_sealed = h.place_sealed, narrative_sealed = h.narrative_sealed"


def test_an_untouched_store_has_nothing_wrong(hub: Run) -> None:
    ran = hub("verify-store")
    assert (ran.code, ran.out) == (0, "8 leaves, 6 roots, 16 revisions: nothing wrong.\n")


def test_only_the_auditors_role_is_used_and_the_reading_is_logged(hub: Run, shared: World) -> None:
    with shared.superuser() as admin:
        rights = admin.exec_driver_sql("select has_table_privilege('hub_auditor', 'hub.incidents', 'select')").scalar_one()
    assert not rights
    hub("verify-store", "--owner", "police")
    assert shared.leaves(type="audit")[-1]["asked"] == {"as": "verify-store", "fields": ["owner"]}


def test_a_row_rolled_back_to_former_ciphertext_is_named(hub: Run, shared: World) -> None:
    record, now = known(shared, "P-1", 3)
    _, before = known(shared, "P-1", 1)
    alter(
        shared, f"update hub.incidents i set {CONTENT} from hub.incidents_history h where h.id = i.id and h.rev = 1 and i.id = '{record}'"
    )
    ran = hub("verify-store")
    assert ran.code == 3
    assert (
        f"incidents {record} revision 3 (number {now}) was rolled back: it holds the ciphertext of revision 1 (number {before})\n"
        in ran.out
    )
    assert "1 wrong." in ran.out


def roll_back(world: World, name: str) -> tuple[str, int, int]:
    """A record's row becomes its former revision, with revision and number, as if the last had never been."""
    record, now = known(world, name, 3)
    _, before = known(world, name, 2)
    alter(
        world,
        f"update hub.incidents i set rev = h.rev, revision_no = h.revision_no, {CONTENT} from hub.incidents_history h"
        f" where h.id = i.id and h.rev = 2 and i.id = '{record}'",
    )
    return record, before, now


def test_a_record_rolled_back_with_its_revision_is_named(hub: Run, shared: World) -> None:
    record, before, now = roll_back(shared, "P-1")
    ran = hub("verify-store")
    assert ran.code == 3
    rolled = (
        f"incidents {record} was rolled back: its current revision is 2 (number {before}), and revision 3 (number {now}), which the log"
    )
    assert rolled in ran.out
    assert f"incidents {record} revision 2 (number {before}) lies in two places: current and history" in ran.out


def test_a_record_rolled_back_without_a_trace_in_the_store_is_named(hub: Run, shared: World) -> None:
    record, before, now = roll_back(shared, "P-1")
    alter(shared, f"delete from hub.incidents_history where id = '{record}' and rev = 2")
    ran = hub("verify-store")
    assert ran.code == 3
    assert f"incidents {record} was rolled back: its current revision is 2 (number {before}), and revision 3 (number {now})" in ran.out
    assert "1 wrong." in ran.out


def test_a_former_revision_put_in_place_of_the_current_one_is_named(hub: Run, shared: World) -> None:
    """Both are there, both are genuine; only their places are exchanged."""
    record, now = known(shared, "P-1", 3)
    _, before = known(shared, "P-1", 2)
    columns = columns_but(shared)
    alter(
        shared,
        f"create table hub.spare as select {columns} from hub.incidents where id = '{record}'",
        f"update hub.incidents i set rev = h.rev, revision_no = h.revision_no, {CONTENT} from hub.incidents_history h"
        f" where h.id = i.id and h.rev = 2 and i.id = '{record}'",
        f"delete from hub.incidents_history where id = '{record}' and rev = 2",
        f"insert into hub.incidents_history ({columns}) select {columns} from hub.spare",
    )
    ran = hub("verify-store")
    assert ran.code == 3
    assert (
        f"incidents {record} revision 2 (number {before}) is current, and number {now} of the same record is newer: it was rolled back"
        in ran.out
    )
    assert "1 wrong." in ran.out


def test_a_withdrawn_record_that_is_brought_back_is_named(hub: Run, shared: World) -> None:
    record, before = known(shared, "P-3", 3)
    now = one(shared, f"select revision_no from hub.incidents_withdrawn where id = '{record}'")
    columns = columns_but(shared)
    alter(
        shared,
        f"insert into hub.incidents ({columns}, released)"
        f" select {columns}, '{{}}' from hub.incidents_history where id = '{record}' and rev = 3",
        f"delete from hub.incidents_history where id = '{record}' and rev = 3",
        f"delete from hub.incidents_withdrawn where id = '{record}'",
    )
    ran = hub("verify-store")
    assert ran.code == 3
    assert f"incidents {record} was rolled back: its current revision is 3 (number {before}), and revision 4 (number {now})" in ran.out


@pytest.mark.parametrize("other", ["P-2", "F-0"])  # of the same publication; of another one, and another owner
def test_two_revisions_whose_ciphertexts_are_swapped_are_named(hub: Run, shared: World, other: str) -> None:
    one_id, one_no = known(shared, "P-1", 3)
    other_id, other_no = known(shared, other, 3)
    alter(
        shared,
        f"update hub.incidents i set ({SEALED}) ="
        f" (select {SEALED} from hub.incidents o where o.id <> i.id and o.id in ('{one_id}', '{other_id}'))"
        f" where i.id in ('{one_id}', '{other_id}')",
    )
    ran = hub("verify-store")
    assert ran.code == 3
    first, second = sorted([(one_no, one_id), (other_no, other_id)])
    swapped = f"incidents {first[1]} revision 3 (number {first[0]}) and incidents {second[1]} revision 3 (number {second[0]})"
    assert f"{swapped}: their ciphertexts are swapped\n" in ran.out
    assert "1 wrong." in ran.out


def test_a_single_bit_of_one_ciphertext_is_noticed(hub: Run, shared: World) -> None:
    record, number = known(shared, "P-2", 2)
    alter(
        shared,
        "update hub.incidents_history set narrative_sealed = set_byte(narrative_sealed, 20, get_byte(narrative_sealed, 20) # 1)"
        f" where id = '{record}' and rev = 2",
    )
    ran = hub("verify-store")
    assert ran.code == 3
    assert f"incidents {record} revision 2 (number {number}): its ciphertext is not the one that was published" in ran.out


def test_a_revision_taken_out_of_the_history_is_named(hub: Run, shared: World) -> None:
    record, number = known(shared, "P-0", 2)
    alter(shared, f"delete from hub.incidents_history where id = '{record}' and rev = 2")
    ran = hub("verify-store")
    assert ran.code == 3
    assert f"incidents {record} revision 2 (number {number}) is missing\n" in ran.out
    assert "1 wrong." in ran.out


def test_a_row_that_nobody_published_is_named(hub: Run, shared: World) -> None:
    columns = columns_but(shared, "id", "revision_no", "external_id")
    alter(
        shared,
        f"insert into hub.incidents (id, revision_no, external_id, released, {columns}) select '00000000-0000-0000-0000-00000000000a',"
        f" nextval('hub.revision_no'), 'made-up', '{{}}', {columns} from hub.incidents where external_id = 'P-1'",
    )
    ran = hub("verify-store")
    assert ran.code == 3
    assert "incidents 00000000-0000-0000-0000-00000000000a revision 3 (number 17) is in no leaf of the log\n" in ran.out
    assert "1 wrong." in ran.out


def edit_root(world: World, rehash: bool) -> str:
    """Puts another root into a leaf."""
    event, text = (
        world.leaves(type="publish")[0]["event"],
        one(world, "select leaf from hub.audit_leaves where type = 'publish' order by id limit 1"),
    )
    body = json.loads(text)
    body["shown"]["root"] = "00" * 32
    edited = leaf._canonical(body).decode().replace("'", "''")
    again = f", leaf_hash = sha256('\\x00'::bytea || convert_to('{edited}', 'utf8'))" if rehash else ""
    alter(world, f"update hub.audit_leaves set leaf = '{edited}'{again} where event = '{event}'")
    return str(event)


@pytest.mark.parametrize("rehash", [False, True])
def test_a_root_that_was_edited_is_named(hub: Run, shared: World, rehash: bool) -> None:
    event = edit_root(shared, rehash)
    ran = hub("verify-store")
    assert ran.code == 3
    where = f"the publication of event {event} (police, 4 revisions of incidents)"
    assert f"{where}: the root in its leaf was altered, for the store fits the entries kept beside it\n" in ran.out
    assert (f"the leaf of event {event}, part 1, was altered: it doesn't fit its own hash" in ran.out) != rehash


def test_entries_that_were_altered_hide_nothing_and_are_named(hub: Run, shared: World) -> None:
    event = shared.leaves(type="publish")[0]["event"]
    alter(shared, f"update hub.leaf_entries set entries = set_byte(entries, 30, get_byte(entries, 30) # 1) where event = '{event}'")
    assert "the entries kept beside its leaf were altered; the store fits the leaf" in hub("verify-store").out
    record, _ = known(shared, "P-1", 1)
    alter(shared, f"update hub.incidents_history set phone_sealed = narrative_sealed where id = '{record}' and rev = 1")
    assert f"event {event} (police, 4 revisions of incidents): neither the store nor the entries" in hub("verify-store").out


def test_a_record_given_to_another_owner_or_id_is_named(hub: Run, shared: World) -> None:
    record, number = known(shared, "P-1", 3)
    alter(shared, "update hub.incidents set provider = (select id from hub.organisations where slug = 'fire') where external_id = 'P-1'")
    ran = hub("verify-store")
    assert f"incidents {record} revision 3 (number {number}) was published by police, and is stored as fire's\n" in ran.out
    alter(shared, "update hub.incidents set id = '00000000-0000-0000-0000-00000000000b' where external_id = 'P-1'")
    moved = f"incidents {record} revision 3 (number {number}) lies at record 00000000-0000-0000-0000-00000000000b, revision 3"
    assert moved in hub("verify-store").out


def test_a_leaf_of_before_entries_were_kept_names_its_batch_or_its_only_revision(hub: Run, shared: World) -> None:
    alter(shared, "truncate hub.leaf_entries")
    assert WHOLE in hub("verify-store").out
    record, _ = known(shared, "P-1", 1)
    alter(shared, f"update hub.incidents_history set phone_sealed = narrative_sealed where id = '{record}' and rev = 1")
    only, number = known(shared, "F-0", 3)
    alter(shared, f"update hub.incidents set phone_sealed = narrative_sealed where id = '{only}'")
    ran = hub("verify-store")
    assert ran.code == 3
    assert "(police, 4 revisions of incidents): one or more of them don't fit the root in its leaf" in ran.out
    assert f"incidents {only} (number {number}): its ciphertext is not the one that was published" in ran.out
    assert "2 wrong." in ran.out
    alter(shared, f"delete from hub.incidents_history where id = '{record}' and rev = 1")
    assert "is missing\n" in hub("verify-store").out


def test_an_owner_and_a_time_narrow_what_is_verified(hub: Run, shared: World) -> None:
    record, _ = known(shared, "P-1", 1)
    alter(shared, f"update hub.incidents_history set phone_sealed = narrative_sealed where id = '{record}' and rev = 1")
    assert "1 wrong." in hub("verify-store", "--owner", "police").out
    ran = hub("verify-store", "--owner", "fire")
    assert (ran.code, ran.out) == (0, "4 leaves, 3 roots, 3 revisions: nothing wrong.\n")
    assert "8 leaves, 0 roots, 16 revisions: nothing wrong." in hub("verify-store", "--since", "2099-01-01").out
    refused(hub("verify-store", "--owner", "nobody"), "nobody")


def test_one_record_several_times_in_a_batch_and_a_leaf_in_many_parts_fit(hub: Run, shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaf, "MAX_BYTES", 1_200)
    alter(shared, "alter sequence hub.revision_no increment 2")  # as when others publish meanwhile: a bitmap without gaps takes no room
    made = [incoming(incident(f"W-{n % 40}", f"version {n}")) for n in range(600)]
    published = shared.services.datasets["incidents"].publishing.store(publisher_of(shared, "fire"), made, {"records": 600})
    assert len({r.id for r in published.receipts}) == 40
    assert one(shared, f"select max(part) from hub.audit_leaves where event = '{published.event}'") > 1
    assert WHOLE in hub("verify-store").out
    record, number = str(published.receipts[585].id), published.receipts[585].revision_no
    alter(shared, f"delete from hub.incidents where id = '{record}'")
    assert f"incidents {record} revision 15 (number {number}) is missing" in hub("verify-store").out


def incident(name: str, narrative: str) -> Incident:
    return Incident.model_validate(
        {"external_id": name, "category": "theft", "occurred_at": "2021-03-04T13:37:11Z", "place": (-79.38, 43.65), "narrative": narrative}
    )


def test_a_leaf_taken_out_of_the_log_leaves_its_revisions_behind(hub: Run, shared: World) -> None:
    """The control of what names revisions: without the leaf each of its revisions is one that nobody published."""
    alter(shared, "delete from hub.audit_leaves where id = (select min(id) from hub.audit_leaves where type = 'publish')")
    assert hub("verify-store").out.count("is in no leaf of the log") == 4


def shred(world: World, name: str) -> UUID:
    record = UUID(str(one(world, f"select id from hub.incidents where external_id = '{name}'")))
    world.services.datasets["incidents"].shredding.shred(publisher_of(world, "police"), [record])
    return record


def test_a_shredded_record_is_whole_for_its_digests_are_kept(hub: Run, shared: World) -> None:
    shred(shared, "P-1")
    ran = hub("verify-store")
    assert (ran.code, ran.out) == (0, "9 leaves, 6 roots, 16 revisions: nothing wrong.\n")


def test_a_record_that_is_marked_as_shredded_without_a_leaf_is_named(hub: Run, shared: World) -> None:
    record = shred(shared, "P-1")
    with shared.superuser() as admin:
        admin.exec_driver_sql("set session_replication_role = replica")
        admin.exec_driver_sql("delete from hub.audit_leaves where type = 'shred'")
    ran = hub("verify-store")
    assert ran.code == 3
    assert f"incidents {record} revision 1" in ran.out
    assert ran.out.count("is marked as shredded, and no leaf of the log says so") == 3


def test_a_shredded_record_that_is_put_back_is_named(hub: Run, shared: World) -> None:
    with shared.superuser() as admin:
        admin.exec_driver_sql("create table public.kept as select * from hub.incidents where external_id = 'P-2'")
    record = shred(shared, "P-2")
    alter(
        shared,
        "insert into hub.incidents select * from public.kept",
        f"delete from hub.incidents_shredded where id = '{record}' and rev = 3",
    )
    ran = hub("verify-store")
    assert ran.code == 3
    assert f"incidents {record} revision 3" in ran.out
    assert "was shredded, as the log says, and lies in current again" in ran.out


def test_a_shredded_record_that_the_index_still_has_tags_of_is_named(hub: Run, shared: World) -> None:
    record = shred(shared, "P-1")
    alter(
        shared,
        "insert into hub.incidents_blind (id, rev, provider, field, version, tag)"
        f" select id, rev, provider, 5, 1, 7 from hub.incidents_shredded where id = '{record}'",
    )
    ran = hub("verify-store", "--owner", "police")
    assert ran.code == 3
    assert f"incidents {record} was shredded, and the index for lookups still has tags of it\n" in ran.out
    assert "1 wrong." in ran.out
    assert "nothing wrong." in hub("verify-store", "--owner", "fire").out
