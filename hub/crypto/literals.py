"""What was asked for, in the words of who asked: the literals of an audit event, sealed under a DEK of the event's month, and their keyed
hash. A month's literals are shredded by deleting its DEK; the log goes on without them.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

from hub.crypto.envelope import Context, FieldKey, open_field, seal_field
from hub.crypto.keyring import AUDIT_CLASS, Dek, Keyring
from hub.crypto.keys import HUB

BUCKET: Final = "audit"
_MONTHS: Final = UUID("6e2f6a0c-6a55-4f0e-9a53-0f4b1d0c7c11")


class Literals:
    """Keeps the keys of the months that it sealed in."""

    def __init__(self, keyring: Keyring, random: Callable[[int], bytes] = os.urandom) -> None:
        self._keyring, self._random = keyring, random
        self._months: dict[Dek, FieldKey] = {}

    def seal(self, event: UUID, at: datetime, text: bytes) -> tuple[bytes, bytes]:
        """The literals of an event, sealed under the DEK of its month (UTC; `at` is aware), and their keyed hash."""
        month = _month(at)
        if month not in self._months:
            self._months[month] = FieldKey(self._keyring.ensure(month, BUCKET))
        sealed = seal_field(self._months[month], text, self._random(12), _of_event(event), 0, 0)
        return sealed, self._keyring.macs("literals", HUB, [text])[0]

    def open(self, event: UUID, at: datetime, blob: bytes) -> bytes:
        """Raises Shredded when that month's DEK is gone."""
        return open_field(FieldKey(self._keyring.lend([_month(at)])[0]), blob, _of_event(event), 0, 0)


def _month(at: datetime) -> Dek:
    if at.tzinfo is None:
        raise ValueError("an audit event's time is aware")
    return Dek(HUB, uuid5(_MONTHS, f"{at.astimezone(UTC):%Y-%m}"), AUDIT_CLASS, 1)


def _of_event(event: UUID) -> Context:
    return Context(HUB.bytes, event.bytes, AUDIT_CLASS, 1)
