"""Keys are destroyed for good: what is left opens, a bucket that ended takes nothing more, whatever was rotated meanwhile."""

from collections.abc import Callable
from uuid import uuid4

import pytest
import sqlalchemy as sa

from hub.crypto.destruction import Bucket, Destruction
from hub.crypto.keyring import Keyring
from hub.crypto.keys import Ended, Sealing, Shredded
from hub.crypto.providers import FileRootKey
from hub.crypto.rotation import Rotation
from tests.crypto.conftest import ROOT
from tests.crypto.test_keyring import count
from tests.crypto.test_rotation import CITY, opens, sealed

pytestmark = pytest.mark.db
UNTIL = "until-2026-11-01"


@pytest.fixture
def rotation(keys_engine: sa.Engine) -> Rotation:
    return Rotation(FileRootKey(ROOT), keys_engine)


@pytest.fixture
def destruction(keyring: Keyring, keys_engine: sa.Engine) -> Destruction:
    return Destruction(keyring, keys_engine)


def rotated(rotation: Rotation) -> None:
    """To its end: former keys are gone."""
    rotation.rotate()
    while not rotation.rewrap().over:
        pass


def the_bucket(destruction: Destruction) -> Bucket:
    (found,) = destruction.buckets()
    return found


@pytest.mark.parametrize("rotations", [0, 1, 2])
def test_a_bucket_that_ended_takes_nothing_more_however_often_it_was_rotated(
    keyring: Keyring,
    new_process: Callable[[], Keyring],
    destruction: Destruction,
    rotation: Rotation,
    keys_admin: sa.Engine,
    rotations: int,
) -> None:
    gone = sealed(keyring, 2, bucket=UNTIL)
    for _ in range(rotations):
        rotated(rotation)
    destruction.end(the_bucket(destruction), [])
    there = count(keys_admin, "keys.kek")
    for ring in (keyring, new_process()):
        with pytest.raises(Ended):
            ring.seal_batch([Sealing(CITY, uuid4(), 1, 1, UNTIL, {4: (1, b"late")})])
        with pytest.raises(Shredded):
            opens(ring, gone)
    assert destruction.buckets() == []
    assert count(keys_admin, "keys.kek") == there


def test_what_lives_on_is_taken_out_after_a_rotation_that_nobody_heard_of(
    keyring: Keyring, new_process: Callable[[], Keyring], destruction: Destruction, rotation: Rotation
) -> None:
    """The key that is remembered for what is kept without end may be gone since less than a minute."""
    living, gone, other = (sealed(keyring, 1, bucket=bucket) for bucket in (UNTIL, UNTIL, "default"))
    rotated(rotation)
    destruction.end(the_bucket(destruction), [item.record for item, _ in living])
    assert opens(new_process(), living + other)
    assert opens(keyring, living + other)
    with pytest.raises(Shredded):
        opens(new_process(), gone)
