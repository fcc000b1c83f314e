"""Versions of an MOU, and the labels that records bear after any sequence of changes."""

from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from hub.errors import Conflict
from tests.policy.spoiling import edited, refused, state, write
from tests.world import World, feature


def test_a_version_is_never_changed_and_never_goes_back(hub: World, folder: Path) -> None:
    named = edited(("MOU-GOOD", "MOU-VERSIONS"), ("version: 1", "version: 2"))
    assert not hub.load(write(folder, named)).unchanged
    before = state(hub)
    assert hub.load(write(folder, named)).unchanged
    assert state(hub) == before
    assert "version" in str(refused(hub, write(folder, named + "# another byte\n")))
    assert "has version 2 already" in str(refused(hub, write(folder, named.replace("version: 2", "version: 1"))))
    assert hub.load(write(folder, named.replace("version: 2", "version: 3"))).superseded == 2
    assert "is superseded and never changes" in str(refused(hub, write(folder, named + "# another byte\n")))


def test_a_former_version_that_comes_back_word_for_word_is_refused(hub: World, folder: Path) -> None:
    """It is the version that the hub knows, and superseded: loading it again must not bring it back."""
    first = edited(("MOU-GOOD", "MOU-BACK"))
    hub.load(write(folder, first))
    hub.load(write(folder, first.replace("version: 1", "version: 2")))
    before = state(hub)
    with pytest.raises(Conflict, match="is superseded and never changes"):
        hub.load(write(folder, first))
    assert state(hub) == before


WRONG = """
select i.external_id from hub.incidents i where i.released is distinct from hub.incidents_label(null, i.provider, i.category,
  i.occurred_at, i.occurred_until, i.reported_at, i.resolved_at, i.status, i.severity, i.handling, i.external_id, i.c100, i.c500, i.c2k)"""
DEAD = """
select count(*) from hub.incidents where released &&
  (select array_agg(g.id) from hub.grants g join hub.mous m on m.id = g.mou_id where m.state <> 'active')"""


def _random_grants(rng: Random) -> str:
    grants = ""
    for n in range(rng.randint(1, 3)):
        where = rng.choice(
            ["everything", "[{field: severity, at_most: 3}]", "[{field: category, one_of: [theft]}]", "[{field: place, within: harbour}]"]
        )
        grants += f"""- id: grant-{n}
  dataset: incidents
  purposes: [research]
  actions: [query]
  where: {where}
  fields: {{category: clear, place: {{grid_m: {rng.choice([100, 500, 2000])}}}}}
"""
    return grants


def test_labels_equal_their_full_recomputation_after_any_sequence_of_edits(hub: World, folder: Path) -> None:
    """Coming into force, superseding, publishing, revising, in random order."""
    rng, versions = Random(11), dict.fromkeys(("MOU-A", "MOU-B", "MOU-FIRE"), 0)
    seen: set[int] = set()
    for step in range(25):
        if rng.random() < 0.5:
            name = rng.choice(sorted(versions))
            versions[name] += 1
            provider = "fire" if name == "MOU-FIRE" else "police"
            head = edited(("MOU-GOOD", name), ("version: 1", f"version: {versions[name]}"), ("provider: police", f"provider: {provider}"))
            hub.load(write(folder, head[: head.index("grants:")] + "grants:\n" + _random_grants(rng)))
        else:
            provider = rng.choice(["police", "fire"])
            places = [(rng.choice([-79.38, -79.2, -79.1999]), 43.65) for _ in range(3)]
            some = [
                feature(
                    f"L-{rng.randint(0, 9)}-{n}",
                    *place,
                    category=rng.choice(["theft", "fire"]),
                    severity=rng.choice([3, 4]),
                    title=str(step),
                )
                for n, place in enumerate(places)
            ]
            assert hub.publish(provider, *some).status_code in (200, 201)
        with hub.superuser() as connection:
            assert list(connection.scalars(sa.text(WRONG))) == [], f"step {step}"
            assert connection.scalar(sa.text(DEAD)) == 0, f"step {step}: labels of superseded grants"
            seen |= set(connection.scalars(sa.text("select cardinality(released) from hub.incidents")))
    assert len(seen) > 2


def test_the_recomputation_notices_a_label_too_many_and_one_too_few(hub: World) -> None:
    for change in ("released || 0", "released[2:]"):
        with hub.superuser() as connection:
            touched = connection.execute(sa.text(f"update hub.incidents set released = {change} where released <> '{{}}'")).rowcount
            assert touched
            assert len(list(connection.scalars(sa.text(WRONG)))) == touched
            connection.rollback()
