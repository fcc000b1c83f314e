"""Kill -9 of the process that rotates, at every message to the database, commits included: everything opens, and the next run ends it."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa

from hub.crypto.keyring import Keyring
from hub.crypto.keys import Shredded
from hub.crypto.providers import FileRootKey
from hub.crypto.rotation import Rotation
from hub.errors import Refused
from tests.crypto.conftest import ROOT
from tests.crypto.database import as_the_hub
from tests.crypto.test_keyring import change
from tests.crypto.test_rotation import Blobs, opens, sealed

pytestmark = [
    pytest.mark.db,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # a child begins as a copy, in no time
]
NEW_ROOT = bytes(range(32, 64))
MOST = 100
Step = Callable[[Rotation], Any]


def rewrap(rotation: Rotation) -> None:
    while not rotation.rewrap(2).over:
        pass


def change_root(rotation: Rotation) -> None:
    rotation.change_root(FileRootKey(NEW_ROOT))


def rotating(admin: sa.Engine, step: Step, at: int) -> None:
    """The process: it ends itself before its `at`-th message; with 0, after the last commit."""
    engine, seen = as_the_hub(admin), [0]

    def message(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(engine, "before_cursor_execute", message)
    sa.event.listen(engine, "commit", message)
    step(Rotation(FileRootKey(ROOT), engine))
    if at == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def killed(admin: sa.Engine, step: Step, at: int) -> bool:
    """Whether it was killed before it was done."""
    process = multiprocessing.get_context("fork").Process(target=rotating, args=(admin, step, at))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def everything_opens(new_process: Callable[[], Keyring], admin: sa.Engine, blobs: Blobs) -> bool:
    """What was sealed before, and what is sealed now, as the hub goes on. That is taken away: each trial has the same few keys."""
    ring = new_process()
    ((item, made),) = sealed(ring, 1)
    both = opens(ring, blobs) and opens(new_process(), [(item, made)])
    change(admin, f"delete from keys.dek where record = '{item.record}'")
    return both


@pytest.mark.parametrize("step", [Rotation.rotate, rewrap], ids=["rotate", "rewrap"])
def test_killed_at_any_message_everything_opens_and_the_next_run_ends_it(
    keyring: Keyring, new_process: Callable[[], Keyring], keys_engine: sa.Engine, keys_admin: sa.Engine, step: Step
) -> None:
    blobs, rotation = sealed(keyring, 3), Rotation(FileRootKey(ROOT), keys_engine)
    for at in count(1):
        assert at < MOST
        if step is rewrap:
            rotation.rotate()
        ended = killed(keys_admin, step, at)
        assert everything_opens(new_process, keys_admin, blobs)
        assert opens(keyring, blobs)  # it has served all along
        rewrap(rotation)
        assert not [k for k in rotation.status() if not k.newest]
        assert everything_opens(new_process, keys_admin, blobs)
        if not ended:
            break
    assert at > 3
    assert killed(keys_admin, step, 0)
    assert everything_opens(new_process, keys_admin, blobs)


def test_a_change_of_the_root_key_killed_at_any_message_is_whole_or_did_not_happen(
    keyring: Keyring, new_process: Callable[[], Keyring], keys_engine: sa.Engine, keys_admin: sa.Engine
) -> None:
    blobs = sealed(keyring, 3)
    for at in count(1):
        assert at < MOST
        if not killed(keys_admin, change_root, at):
            break
        new_process().check()
        assert everything_opens(new_process, keys_admin, blobs)
    assert at > 3
    with pytest.raises(Refused):
        new_process().check()
    assert opens(Keyring(FileRootKey(NEW_ROOT), keys_engine), blobs)


def test_a_rotation_that_destroys_keys_before_their_successors_wrap_anything_is_caught(
    keyring: Keyring, new_process: Callable[[], Keyring], keys_admin: sa.Engine
) -> None:
    """The losing control."""
    blobs = sealed(keyring, 3)
    change(keys_admin, "drop trigger is_unused on keys.kek")

    def hasty(rotation: Rotation) -> None:
        rotation.rotate()
        change(rotation._engine, "delete from keys.kek where epoch = 1")
        rewrap(rotation)

    ended = [at for at in range(1, 20) if killed(keys_admin, hasty, at)]
    assert ended
    with pytest.raises(Shredded):
        opens(new_process(), blobs)
