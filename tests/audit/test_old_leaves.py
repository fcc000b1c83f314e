"""Leaves of a hub before grants were among the terms of the log: its upgrade makes them findable, and changes no leaf."""

from typing import Any

import sqlalchemy as sa

from hub import db
from hub.audit.log import Log, Search
from tests.audit.conftest import Story

UPGRADE = db.MIGRATIONS / "hub" / "versions" / "0018_terms.sql"
LEAVES = "select id, leaf, leaf_hash, at, terms from hub.audit_leaves order by id"


def kept(story: Story) -> list[Any]:
    with story.world.superuser() as connection:
        return [tuple(row) for row in connection.execute(sa.text(LEAVES))]


def test_the_upgrade_finds_old_uses_of_a_grant_and_leaves_the_leaves_alone(story: Story) -> None:
    log, before = Log(story.world.database.auditor), kept(story)
    uses = log.find(Search(grant="MOU-1/all"))
    assert {e.body["type"] for e in uses} == {"query", "mou"}
    with story.world.superuser() as connection:  # as the version before wrote them
        connection.exec_driver_sql("alter table hub.audit_leaves disable trigger append_only")
        connection.exec_driver_sql(
            "update hub.audit_leaves set terms = array(select t from unnest(terms) t where not starts_with(t, 'grant:'))"
        )
        connection.exec_driver_sql("alter table hub.audit_leaves enable trigger append_only")
    assert log.find(Search(grant="MOU-1/all")) == []  # control
    with story.world.superuser() as connection:
        connection.exec_driver_sql("set role hub_owner")
        connection.execute(sa.text(UPGRADE.read_text().replace(":", "\\:")))
        connection.exec_driver_sql("reset role")
    assert log.find(Search(grant="MOU-1/all")) == uses
    assert kept(story) == before


def test_a_grant_is_found_under_its_own_agreement_alone(story: Story) -> None:
    """Three agreements have a grant of the same name."""
    for number, others in (("1", "23"), ("2", "13")):
        found = story.events("auditor", grant=f"MOU-{number}/all", type="query")
        assert found
        cited = {u["mou"] for e in found for u in e["leaf"]["under"]}
        assert f"MOU-{number}" in cited
        assert not cited & {f"MOU-{other}" for other in others}
    for wrong in ("all", "MOU-1/al", "MOU-1", "MOU-1/"):
        assert story.events("auditor", grant=wrong) == []


def test_an_owner_finds_uses_of_grants_on_its_own_data_alone(story: Story) -> None:
    assert story.events("police", grant="MOU-1/all", type="query")
    assert story.events("police", grant="MOU-3/all") == []
    assert story.events("ambulance", grant="MOU-3/all", type="query")
