"""Shredding meets what is under way: a publication of the same record, a page that shows it, another order, a hold. And nothing is left."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from hub.crypto.remote import RemoteKeys
from hub.sharing.publish import Publishing
from tests.shredding.test_shred import HERE, carried_out, item, post, published, rows, shared, shred
from tests.world import World, feature

__all__ = ["shared"]
SCHEMAS = "select schemaname, tablename from pg_tables where schemaname in ('hub', 'keys')"


def test_a_record_that_is_shredded_while_its_next_revision_is_sealed_is_published_as_another(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = published(shared, "R-1")
    seal, done = Publishing._seal, []

    def late(self: Publishing, *arguments: Any) -> None:
        if not done:
            done.append(shred(shared, record).status_code)
            carried_out(shared)
        seal(self, *arguments)

    monkeypatch.setattr(Publishing, "_seal", late)
    answer = shared.publish("police", feature("R-1", narrative="again"))
    assert done == [202]
    (again,) = answer.json()["records"]
    assert (again["outcome"], again["id"] != record) == ("created", True)
    assert item(shared, again["id"]).json()["properties"]["narrative"] == "again"


@pytest.mark.parametrize("way", ["page", "item"])
def test_a_record_that_is_shredded_between_the_log_and_its_key_is_absent(shared: World, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    gone, stays = published(shared, f"P-{way}-1", f"P-{way}-2")
    lend, done = RemoteKeys.open_batch, []

    def late(self: RemoteKeys, *arguments: Any) -> Any:
        if not done:
            done.append(shred(shared, gone).status_code)
            carried_out(shared)
        return lend(self, *arguments)

    monkeypatch.setattr(RemoteKeys, "open_batch", late)
    if way == "item":
        assert item(shared, gone).status_code == 404
    else:
        found = {f["id"] for f in shared.items("health", "research")}
        assert (gone in found, stays in found) == (False, True)
    assert done == [202]


def test_of_two_orders_at_once_for_one_record_one_is_carried_out(shared: World) -> None:
    (record,) = published(shared, "T-2")
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(a.status_code for a in pool.map(lambda _: shred(shared, record), range(4)))
    assert statuses == [202, 404, 404, 404]


def test_a_hold_that_is_placed_meanwhile_comes_before_or_finds_nothing(shared: World) -> None:
    for n in range(5):
        (record,) = published(shared, f"H-{n}")
        hold = {"reference": "Now", "record": record}
        with ThreadPoolExecutor(2) as pool:
            order = pool.submit(shred, shared, record)
            placed = pool.submit(post, shared, "/collections/incidents/holds", hold)
        assert (order.result().status_code, placed.result().status_code) in ((202, 404), (409, 201))


def everything(world: World) -> Iterator[tuple[str, str]]:
    """Each row of each table of both databases, as text."""
    for url in (world.addresses.main, world.addresses.keys):
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for schema, table in connection.exec_driver_sql(SCHEMAS).all():
                for (row,) in connection.exec_driver_sql(f'select t::text from {schema}."{table}" t'):
                    yield f"{schema}.{table}", row
        engine.dispose()


def test_nothing_of_a_shredded_record_is_left_in_any_table(shared: World) -> None:
    at = "2020-07-08T09:10:11.121314Z"
    (record,) = published(shared, "L-the-only-one", occurred_at=at)
    published(shared, "L-the-only-one", occurred_at=at, title="Another revision")
    stored = "select narrative_sealed, place_sealed, content_mac from hub.incidents{} where id = cast(:r as uuid)"
    secrets = {bytes(value).hex() for part in ("", "_history") for row in rows(shared, stored.format(part), r=record) for value in row}
    engine = sa.create_engine(shared.addresses.keys, poolclass=sa.NullPool)
    with engine.begin() as connection:
        deks = sa.text("select row from keys.dek where record = cast(:r as uuid)")
        secrets |= {bytes(row).hex() for row in connection.execute(deks, {"r": record}).scalars()}
    engine.dispose()
    assert len(secrets) == 6 + 4
    secrets |= {"L-the-only-one", "09:10:11.121314"}
    before = {secret for _, row in everything(shared) for secret in secrets if secret in row}
    assert before == secrets, "the search finds what is there"
    assert post(shared, HERE, {"records": [record]}).status_code == 202
    carried_out(shared)
    assert [(where, secret) for where, row in everything(shared) for secret in secrets if secret in row] == []


def test_wrapped_keys_are_cleared_from_the_table_of_keys_soon(shared: World) -> None:
    """The table's own settings; how soon is the server's `autovacuum_naptime`."""
    engine = sa.create_engine(shared.addresses.keys, poolclass=sa.NullPool)
    with engine.begin() as connection:
        options = connection.exec_driver_sql("select reloptions from pg_class where oid = 'keys.dek'::regclass").scalar_one()
    engine.dispose()
    assert set(options) == {"autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=0"}


def test_a_thousand_records_go_in_one_order(shared: World) -> None:
    names = [f"M-{n}" for n in range(1_000)]
    ids = published(shared, *names)
    began = time.monotonic()
    assert shred(shared, *ids).json()["records"] == 1_000
    carried_out(shared)
    assert time.monotonic() - began < 30
    gone = "select count(*) from hub.incidents_shredded where id = any(cast(:ids as uuid[]))"
    assert rows(shared, gone, ids=ids) == [(1_000,)]
    assert {UUID(i) for i in ids}.isdisjoint({UUID(str(r)) for (r,) in rows(shared, "select id from hub.incidents")})
