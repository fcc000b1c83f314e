"""A good MOU file to spoil, and what must not change when it is refused."""

import hashlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.errors import Conflict, HubError, InvalidPolicy
from tests.world import World

AREA = {"type": "Polygon", "coordinates": [[[-79.5, 43.6], [-79.2, 43.6], [-79.2, 43.8], [-79.5, 43.8], [-79.5, 43.6]]]}
GOOD = """\
mou: MOU-GOOD
version: 1
title: An agreement to spoil
parties: {provider: police, consumer: health}
in_force: {from: 2026-01-01, until: 2099-12-31}
review_by: 2030-01-01
legal_basis: "City Data Act s.12"
jurisdictions:
  harbour: {file: boundaries/harbour.geojson, sha256: SHA}
grants:
- id: response
  dataset: incidents
  purposes: [research]
  actions: [query]
  where:
  - {field: category, one_of: [theft, assault]}
  - {field: place, within: harbour}
  - {field: severity, at_most: 3}
  occurred: {lookback: P365D, embargo: PT4H}
  fields: {category: clear, occurred_at: {round_to: PT1H}, place: {grid_m: 500}}
"""
Edit = tuple[str, str]


def write(folder: Path, source: str | bytes) -> Path:
    """The file, SHA replaced by that of the boundary as it is."""
    digest = hashlib.sha256((folder / "boundaries" / "harbour.geojson").read_bytes()).hexdigest()
    content = source.encode() if isinstance(source, str) else source
    (folder / "mou.yaml").write_bytes(content.replace(b"SHA", digest.encode()))
    return folder / "mou.yaml"


def edited(*edits: Edit) -> str:
    text = GOOD
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} is not there once"
        text = text.replace(old, new)
    return text


STATE = """
select json_build_object(
  'epoch', (select epoch from hub.policy_epoch),
  'mous', (select json_agg(m order by id) from hub.mous m),
  'grants', (select json_agg(g order by id) from hub.grants g),
  'rules', (select json_agg(to_jsonb(r) - 'place__within' order by clause) from hub.incidents_rules r),
  'labels', (select json_agg(json_build_array(external_id, released, xmin::text) order by external_id) from hub.incidents),
  'leaves', (select count(*) from hub.audit_leaves where type = 'mou'))::text"""


def state(world: World) -> str:
    """Everything that an agreement changes."""
    with world.superuser() as connection:
        return str(connection.scalar(sa.text(STATE)))


def refused(world: World, path: Path) -> HubError:
    """The one error; nothing else may happen."""
    before = state(world)
    with pytest.raises((InvalidPolicy, Conflict)) as caught:
        world.load(path)
    assert state(world) == before
    return caught.value
