"""The literals of audit events, sealed by months, on a real keys database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
import sqlalchemy as sa

from hub.crypto.keyring import Keyring
from hub.crypto.keys import Shredded
from hub.crypto.literals import Literals
from hub.errors import Tampered
from tests.crypto.test_keyring import AT, change, count

pytestmark = pytest.mark.db


@pytest.fixture
def literals(keyring: Keyring) -> Literals:
    return Literals(keyring)


def test_literals_open_with_their_event_and_month_only(literals: Literals, new_process: Callable[[], Keyring]) -> None:
    event = uuid4()
    blob = literals.seal(event, AT, b"phone = 0113")[0]
    later = Literals(new_process())
    assert later.open(event, AT, blob) == b"phone = 0113"
    assert later.open(event, AT.replace(day=1), blob) == b"phone = 0113"
    literals.seal(event, AT + timedelta(days=30), b"another month")
    for other, at in ((uuid4(), AT), (event, AT + timedelta(days=30))):
        with pytest.raises(Tampered):
            later.open(other, at, blob)
    with pytest.raises(Shredded):
        later.open(event, AT + timedelta(days=400), blob)


def test_the_month_of_literals_is_that_of_utc_and_needs_an_aware_time(literals: Literals) -> None:
    event, newyork = uuid4(), timezone(timedelta(hours=-5))
    blob = literals.seal(event, datetime(2026, 11, 30, 20, tzinfo=newyork), b"x")[0]
    assert literals.open(event, datetime(2026, 12, 1, tzinfo=UTC), blob) == b"x"
    with pytest.raises(ValueError, match="aware"):
        literals.seal(event, datetime(2026, 12, 1), b"x")


def test_a_months_literals_share_one_dek_that_can_be_shredded(
    literals: Literals, new_process: Callable[[], Keyring], keys_admin: sa.Engine
) -> None:
    events = [uuid4() for _ in range(5)]
    blobs = [one.seal(event, AT, b"x")[0] for one in (literals, Literals(new_process())) for event in events]
    assert count(keys_admin, "keys.dek") == 1
    assert {literals.open(event, AT, blob) for event, blob in zip(events * 2, blobs, strict=True)} == {b"x"}
    change(keys_admin, "DELETE FROM keys.dek")
    with pytest.raises(Shredded):
        literals.open(events[0], AT, blobs[0])
