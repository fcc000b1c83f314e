"""Kill -9 of the process that destroys keys, at every message to the database, commits included: all of it is destroyed or nothing, what
lives on opens, and the next run ends it.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from hub.crypto.destruction import Destruction
from hub.crypto.keyring import Keyring
from hub.crypto.keys import Shredded
from hub.crypto.providers import FileRootKey
from tests.crypto.conftest import ROOT
from tests.crypto.database import as_the_hub
from tests.crypto.test_rotation import Blobs, opens, sealed

pytestmark = [
    pytest.mark.db,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # a child begins as a copy, in no time
]
UNTIL = "until-2026-11-01"
MOST = 40
Step = Callable[[Destruction], Any]


def shred(records: list[UUID], destruction: Destruction) -> None:
    destruction.shred(records)


def end(living: list[UUID], destruction: Destruction) -> None:
    """As hub/workers/destroying.py does it."""
    for bucket in destruction.buckets():
        assert list(destruction.records_of(bucket))
        destruction.end(bucket, living)
    while destruction.sweep():
        pass


def end_macs(destruction: Destruction) -> None:
    destruction.end_macs(["blind:1:5:1"])


def destroying(admin: sa.Engine, step: Step, at: int) -> None:
    """The process: it ends itself before its `at`-th message; with 0, after the last commit."""
    engine, seen = as_the_hub(admin), [0]

    def message(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(engine, "before_cursor_execute", message)
    sa.event.listen(engine, "commit", message)
    step(Destruction(Keyring(FileRootKey(ROOT), engine), engine))
    if at == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def killed(admin: sa.Engine, step: Step, at: int) -> bool:
    """Whether it was killed before it was done."""
    process = multiprocessing.get_context("fork").Process(target=destroying, args=(admin, step, at))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def left(ring: Keyring, blobs: Blobs) -> int:
    """How many of the records open."""
    found = 0
    for one in blobs:
        with suppress(Shredded):
            found += opens(ring, [one])
    return found


@pytest.mark.parametrize("way", ["order", "bucket"])
def test_killed_at_any_message_all_is_destroyed_or_nothing_and_the_next_run_ends_it(
    new_process: Callable[[], Keyring], keys_engine: sa.Engine, keys_admin: sa.Engine, way: str
) -> None:
    for at in count(1):
        assert at < MOST
        bucket = UNTIL if way == "order" else f"until-{2000 + at}-11-01"  # one that ended takes nothing more
        living, gone = sealed(new_process(), 2, bucket=bucket), sealed(new_process(), 3, bucket=bucket)
        step = partial(shred, [i.record for i, _ in gone]) if way == "order" else partial(end, [i.record for i, _ in living])
        ended = killed(keys_admin, step, at)
        assert left(new_process(), living) == 2
        assert left(new_process(), gone) in ((0, 3) if ended else (0,))
        step(Destruction(new_process(), keys_engine))
        assert (left(new_process(), living), left(new_process(), gone)) == (2, 0)
        if not ended:
            break
    assert at > 4
    living, gone = sealed(new_process(), 1, bucket="until-2050-11-01"), sealed(new_process(), 1, bucket="until-2050-11-01")
    step = partial(shred, [i.record for i, _ in gone]) if way == "order" else partial(end, [i.record for i, _ in living])
    assert killed(keys_admin, step, 0)  # after its last commit
    assert (left(new_process(), living), left(new_process(), gone)) == (1, 0)


def test_killed_at_any_message_the_key_of_a_former_index_is_there_or_not_and_the_next_run_ends_it(
    new_process: Callable[[], Keyring], keys_engine: sa.Engine, keys_admin: sa.Engine
) -> None:
    before = new_process().macs("blind:1:5:1", UUID(int=1), [b"x"])
    for at in count(1):
        if not killed(keys_admin, end_macs, at):
            break
        assert new_process().macs("blind:1:5:1", UUID(int=1), [b"x"]) == before
    assert at == 4
    assert Destruction(new_process(), keys_engine).mac_labels() == []


def test_a_bucket_that_ends_before_what_lives_on_is_taken_out_is_caught(new_process: Callable[[], Keyring], keys_admin: sa.Engine) -> None:
    """The losing control."""
    living = sealed(new_process(), 2, bucket=UNTIL)

    def hasty(destruction: Destruction) -> None:
        (bucket,) = destruction.buckets()
        destruction.end(bucket, [])
        destruction.end(bucket, [item.record for item, _ in living])

    found = [left(new_process(), living) for at in range(1, 7) if killed(keys_admin, hasty, at)]
    assert found == [2, 2, 2, 2, 2, 0]
