"""The demo's witnesses: registered once, at work as processes of their own, ended with the demo."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.demo import witnesses
from hub.errors import Refused
from hub.settings import Settings
from hub.witness.folder import Folder
from tests.api.live import serving
from tests.faults.stand import wait_until
from tests.world import World


@pytest.fixture
def settings(world: World, tmp_path: Path) -> Iterator[Settings]:
    """A demo's: its address, and a state folder of its own with the log's public key."""
    (tmp_path / "log.pub").write_text(f"{world.services.published.state().key}\n")
    with serving(world) as port:
        yield world.settings.model_copy(update={"state_dir": tmp_path, "base_url": f"http://127.0.0.1:{port}"})


def held(settings: Settings, name: str) -> bool:
    try:
        with Folder(settings.state_dir / "witnesses" / name).held():
            return False
    except Refused:
        return True


def test_both_cosign_one_checkpoint_and_end_with_the_demo(world: World, settings: Settings) -> None:
    world.organisation("police")
    for _ in range(2):  # started again, the demo registers nothing twice
        witnesses.set_up(world.addresses, settings.state_dir)
    told = [leaf["asked"]["witness"] for leaf in world.leaves(type="log")]
    assert told == [f"{name}/witness" for name in witnesses.NAMES]
    published = world.services.published
    world.bearer("police")
    with witnesses.at_work(settings):
        wait_until(lambda: all(w.size for w in published.state().witnesses), "both have cosigned")
        assert all(held(settings, name) for name in witnesses.NAMES)
        wait_until(lambda: all(w.lag_s is None for w in published.state().witnesses), "both are up to date")
        assert published.checkpoint(witnesses=2) == published.checkpoint()
    assert not any(held(settings, name) for name in witnesses.NAMES)
