"""Sealed values, keys, tokens and seals come to rest nowhere: not in tables, write-ahead log, statistics, dumps, logs, temporary
files or errors. Each search also finds what is there to be found.
"""

import os
import random
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from tempfile import TemporaryFile

import pytest

from hub import localdb
from hub.datasets.incidents import Incident
from hub.db import KEYD_ROLE, KEYS_ROLE, ROLES, read_roles_secret, read_secrets
from hub.setup import keyd_folder
from hub.sharing.context import Admission, Reach, seal
from tests.faults.arriving import family, open_files
from tests.faults.command import Command
from tests.faults.load import ITEMS, Client
from tests.faults.needles import find, find_in, keys_of, of_bytes, of_text, opens
from tests.faults.scene import CLEAR, Scene, play
from tests.faults.stand import stand, wait_until

pytestmark = pytest.mark.db
SEAL = re.compile(rb"[0-9a-f]{64}\d+\|\d{15,17}\|\d{15,17}\|")  # hub/sharing/context.py
PART_OF_SEAL = re.compile(rb"hub\.enter\(1, '+[0-9a-f]{8}")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with stand("canaries", keys_apart=True, server=Command) as where:
        played = Scene(where, random.Random(20261122))
        play(played)
        yield played


def test_sealed_values_are_nowhere(scene: Scene) -> None:
    assert len(set(scene.needles.values())) > 40
    assert find_in(scene.needles, scene.rest) == {}
    assert find_in(scene.needles, scene.said) == {}
    assert find_in(scene.needles, scene.kept) == {}


def test_sealed_values_are_in_no_file_while_they_are_under_way(scene: Scene) -> None:
    """Not where an upload might be spooled, not where PostgreSQL sorts, not in files without a name."""
    for moment in ("while a file arrives", "while a publish waits"):
        assert any(name.startswith(moment) for name, _ in scene.caught)
    assert find_in(scene.needles, scene.caught) == {}


def test_a_file_that_a_process_holds_and_has_deleted_would_be_found(scene: Scene) -> None:
    """The control, in this process and in one that it started."""
    needle = next(n for n, name in scene.needles.items() if name == "narrative in a file")
    with TemporaryFile() as spool:
        spool.write(b"..." + needle)
        spool.flush()
        assert set(find_in(scene.needles, open_files(os.getpid(), "here"))) == {"narrative in a file"}
        child = subprocess.Popen(["sleep", "60"], stdin=spool)
        assert child.pid in family(os.getpid())
        assert set(find_in(scene.needles, open_files(child.pid, "there"))) == {"narrative in a file"}
        child.kill()
        child.wait()


def test_every_sealed_field_was_there_to_be_found(scene: Scene) -> None:
    """A field that is added to the dataset has to be added to the scene."""
    told = {
        "title": "title", "narrative": "narrative", "address": "address", "people": "name", "phone": "phone", "vehicles": "plate",
        "extra": "value in extra",
    }  # fmt: skip
    assert {field.name for field in Incident.named("sealed")} == told.keys()
    assert {*told.values(), "longitude", "latitude"} <= set(scene.needles.values())


def test_the_search_finds_a_clear_value_in_tables_log_statistics_and_dump(scene: Scene) -> None:
    places = find_in(scene.clear, scene.rest)[CLEAR]
    assert "main dump" in places
    assert "pg_stats of hub" in places
    assert any(p.startswith("main data/pg_wal/") for p in places)
    assert any(p.startswith("main data/base/") for p in places)
    assert not [p for p in places if p.startswith("keys ")]
    assert "server.log" not in places


def test_the_search_finds_a_wrapped_key_in_the_tables_log_and_dump_of_the_keys(scene: Scene) -> None:
    scene.where.raise_databases()
    rows = [bytes(row) for (row,) in scene.where.sql("select row from keys.dek", url=scene.where.addresses.keys)]
    for cluster in scene.where.clusters():
        localdb.stop(cluster)
    assert len(rows) > 100
    places = find_in({form: "wrapped" for row in rows for form in of_bytes("", row[18:66])}, scene.rest)["wrapped"]
    assert "keys dump" in places
    assert any(p.startswith("keys data/pg_wal/") for p in places)
    assert any(p.startswith("keys data/base/") for p in places)
    assert not [p for p in places if p.startswith("main ")]


def test_the_search_finds_sealed_values_where_they_are_shown(scene: Scene) -> None:
    shown = set().union(*(find(scene.needles, answer) for answer in scene.shown))
    assert shown >= {"title", "narrative", "end of a long narrative", "address", "name", "birth date", "phone", "plate"}
    assert shown >= {"value in extra", "longitude", "latitude"}


def test_no_key_is_anywhere(scene: Scene) -> None:
    scene.where.raise_databases()
    keys = keys_of(scene.where)
    place = Incident.named("place")[0]
    coordinates = opens(scene.where, keys, "place_sealed", place.cls, place.number)
    secrets, keyd = read_secrets(scene.where.settings.state_dir), read_roles_secret(keyd_folder(scene.where.settings))
    roles = {role: secrets.password(role).encode() for role in ROLES} | {
        role: keyd.password(role).encode() for role in (KEYD_ROLE, KEYS_ROLE)
    }
    for cluster in scene.where.clusters():
        localdb.stop(cluster)
    assert all(find(scene.needles, str(point).encode()) == {"longitude", "latitude"} for point in coordinates)  # these are the keys
    assert {"root key", "KEK 1"} < keys.keys()
    needles = {form: name for name, value in (keys | roles).items() for form in of_bytes(name, value)}
    assert find_in(needles, [*scene.rest, *scene.caught, *scene.said]) == {}
    (some,) = random.Random(0).sample(sorted(keys), 1)
    assert find(needles, b"x" * 100_001 + keys[some] + b"y") == {some}


def test_tokens_and_assertions_are_in_no_log_and_at_no_other_place(scene: Scene) -> None:
    needles = {form: "secret" for secret in scene.secrets for part in (secret, *secret.split(".")[1:]) for form in of_text("secret", part)}
    assert len(scene.secrets) == 6
    assert find_in(needles, [*scene.rest, *scene.caught, *scene.kept, *scene.said]) == {}
    assert find(needles, f"Authorization: Bearer {scene.secrets[-1]}".encode()) == {"secret"}


def test_seals_are_in_no_log_and_at_no_other_place(scene: Scene) -> None:
    for name, data in (*scene.rest, *scene.caught, *scene.said):
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
    # What had waited for the tree when all was stopped has waited too long by now: nothing sealed is opened until it is in.
    wait_until(lambda: (health.ask("GET", ITEMS) or (0,))[0] == 200, "the sequencer has caught up")
    health.close()
    where.server.kill()
    log = (where.main.home / "log").read_bytes()
    assert SEAL.search(log)
    assert PART_OF_SEAL.search(log)
