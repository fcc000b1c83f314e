"""Labels as they are, against labels computed anew; and an activation that is taken a step at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from hub.agreements import activation
from hub.agreements.activation import Activation
from hub.datasets import DATASETS
from hub.datasets.incidents import Incident
from hub.db import transaction
from hub.sharing.labels import label_parameters
from tests.world import World

_VALUES = "".join(f", i.{name}" for name, _ in label_parameters(Incident))
_LIVE = "(select coalesce(array_agg(g.id), '{}') from hub.grants g join hub.mous m on m.id = g.mou_id where m.state = 'active')"
# What a reader can be shown by must be right at every moment; everything else once nothing is under way.
WRONG_NOW = f"select count(*) from hub.incidents i where i.released & {_LIVE} <> hub.incidents_label(null, i.provider{_VALUES}) & {_LIVE}"
WRONG = f"select count(*) from hub.incidents i where i.released <> hub.incidents_label(null, i.provider{_VALUES})"
DEAD = f"select count(*) from hub.incidents i where i.released - {_LIVE} <> '{{}}'"


def count(world: World, statement: str) -> int:
    with world.administrator.begin() as connection:
        return int(connection.scalar(sa.text(statement.replace(":", r"\:"))) or 0)


def activating(world: World) -> Activation:
    return Activation(world.database.agreements, DATASETS)


@contextmanager
def only_begun() -> Iterator[None]:
    """Loading an MOU stops after the first step, as if its process had been killed."""
    finish, Activation.finish = Activation.finish, lambda *_: 0  # type: ignore[method-assign]
    try:
        yield
    finally:
        Activation.finish = finish  # type: ignore[method-assign]


def begin(world: World, path: Path) -> int:
    """Brings an MOU file to where its labelling starts; gives the number of the version."""
    with only_begun():
        mou = world.load(path).mou
    with world.superuser() as connection:
        number = connection.scalar(sa.text("select id from hub.mous where mou = :mou and version = :v"), {"mou": mou.mou, "v": mou.version})
    assert isinstance(number, int)
    return number


def step(world: World, number: int, records: int) -> bool:
    """One batch of so many records; false when none is left."""
    whole, activation.BATCH = activation.BATCH, records
    try:
        with transaction(world.database.agreements) as tx:
            return activating(world)._batch(tx, number)
    finally:
        activation.BATCH = whole
