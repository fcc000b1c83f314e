"""What the operator changes about the log, with its leaf, in one transaction."""

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hub.audit.leaf import By, Event, event_id
from hub.audit.log import append
from hub.db import Transaction, owner_transaction


def changed(main: sa.URL, now: datetime, step: str, does: Callable[[Transaction], object], **told: Any) -> None:
    """Has `does` done as the owner of the tables; the log keeps the `step` and what is `told` of it. `main`: the administrator's address.

    Raises:
        HubError: what `does` refuses; nothing changed.
        Unavailable: the database can't be reached.
    """
    event = Event(event_id(now, os.urandom(10)), "log", now, By(client="cli"), "permit", asked={"step": step, **told})
    with owner_transaction(main) as tx:
        does(tx)
        append(tx, event, then="; commit")
