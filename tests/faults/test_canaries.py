"""Sealed values, keys, tokens and seals come to rest nowhere: not in tables, write-ahead log, statistics, dumps, logs, temporary
files or errors. Each search also finds what is there to be found.
"""

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hub import localdb
from hub.datasets.incidents import Incident
from hub.db import KEYD_ROLE, KEYS_ROLE, ROLES, read_keyd_secret, read_secrets
from hub.setup import keyd_folder
from hub.sharing.context import Admission, Reach, seal
from tests.faults.command import Command
from tests.faults.load import ITEMS, Client
from tests.faults.needles import find, find_in, keys_of, of_bytes, of_text, opens
from tests.faults.scene import CLEAR, Scene, play
from tests.faults.stand import stand

pytestmark = pytest.mark.db
SEAL = re.compile(rb"[0-9a-f]{64}\d+\|\d{15,17}\|\d{15,17}\|")  # hub/sharing/context.py
PART_OF_SEAL = re.compile(rb"hub\.enter\(1, '+[0-9a-f]{8}")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with stand("canaries", server=Command) as where:
        played = Scene(where, random.Random(20261122))
        play(played)
        yield played


def test_sealed_values_are_nowhere(scene: Scene) -> None:
    assert len(set(scene.needles.values())) > 30
    assert find_in(scene.needles, scene.rest) == {}
    assert find_in(scene.needles, scene.said) == {}


def test_the_search_finds_a_clear_value_in_tables_log_statistics_and_dump(scene: Scene) -> None:
    places = find_in(scene.clear, scene.rest)[CLEAR]
    assert "dump" in places
    assert "pg_stats of hub" in places
    assert any(p.startswith("data/pg_wal/") for p in places)
    assert any(p.startswith("data/base/") for p in places)
    assert "server.log" not in places


def test_the_search_finds_sealed_values_where_they_are_shown(scene: Scene) -> None:
    shown = set().union(*(find(scene.needles, answer) for answer in scene.shown))
    assert shown >= {"title", "narrative", "end of a long narrative", "address", "name", "birth date", "phone", "plate"}
    assert shown >= {"value in extra", "longitude", "latitude"}


def test_no_key_is_anywhere(scene: Scene) -> None:
    scene.where.raise_databases()
    keys = keys_of(scene.where)
    place = Incident.named("place")[0]
    coordinates = opens(scene.where, keys, "place_sealed", place.cls, place.number)
    secrets, keyd = read_secrets(scene.where.settings.state_dir), read_keyd_secret(keyd_folder(scene.where.settings))
    roles = {role: secrets.password(role).encode() for role in ROLES} | {
        role: keyd.password(role).encode() for role in (KEYD_ROLE, KEYS_ROLE)
    }
    localdb.stop(scene.where.main)
    assert all(find(scene.needles, str(point).encode()) == {"longitude", "latitude"} for point in coordinates)  # these are the keys
    assert {"root key", "KEK 1"} < keys.keys()
    needles = {form: name for name, value in (keys | roles).items() for form in of_bytes(name, value)}
    assert find_in(needles, [*scene.rest, *scene.said]) == {}
    (some,) = random.Random(0).sample(sorted(keys), 1)
    assert find(needles, b"x" * 100_001 + keys[some] + b"y") == {some}


def test_tokens_and_assertions_are_in_no_log_and_at_no_other_place(scene: Scene) -> None:
    needles = {form: "secret" for secret in scene.secrets for part in (secret, *secret.split(".")[1:]) for form in of_text("secret", part)}
    assert len(scene.secrets) == 4
    assert find_in(needles, [*scene.rest, *scene.said]) == {}
    assert find(needles, f"Authorization: Bearer {scene.secrets[-1]}".encode()) == {"secret"}


def test_seals_are_in_no_log_and_at_no_other_place(scene: Scene) -> None:
    for name, data in (*scene.rest, *scene.said):
        assert not SEAL.search(data), name
        assert not PART_OF_SEAL.search(data), name


def test_the_server_logged_what_happened(scene: Scene) -> None:
    log = dict(scene.rest)["server.log"].decode()
    assert '"event": "request"' in log
    assert '"event": "unavailable"' in log
    assert '"event": "defect"' in log


def test_a_seal_in_a_log_would_be_found(scene: Scene) -> None:
    """Control: with statement logging on for the reader's role, PostgreSQL's log holds seals."""
    now = datetime.now(UTC)
    made = seal(b"k" * 32, Incident, Admission(123, 1_700_000_000_000_000, now, 1, True), 1, "research", (), (), 5, Reach())
    assert SEAL.match(made.encode())
    where = scene.where
    where.raise_databases()
    where.sql("alter role hub_reader set log_statement = 'all'")
    where.server.start()
    health = Client(where, "health", "research")
    assert (health.ask("GET", ITEMS) or (0,))[0] == 200
    health.close()
    where.server.kill()
    log = (where.main.home / "log").read_bytes()
    assert SEAL.search(log)
    assert PART_OF_SEAL.search(log)
