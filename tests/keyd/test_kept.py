"""`hub serve` brings a key process of its own where none answers, keeps it, and takes it with it."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from hub.crypto.remote import RemoteKeys
from hub.errors import Refused
from hub.settings import Settings
from hub.setup import Addresses
from hub.workers.kept import kept, listens
from tests.commands import environment, serving
from tests.world import World, keyd, socket_folder

PURPOSE = "research"


@pytest.fixture
def settings(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Those of the world, with a socket where nobody listens, for child processes too."""
    with socket_folder() as folder:
        for name, value in environment(world).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HUB_KEYD_SOCKET", str(folder / "keyd.sock"))
        yield world.settings.model_copy(update={"keyd_socket": folder / "keyd.sock"})


def keyds(socket: Path) -> list[int]:
    """The processes whose socket it is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words, variables = (entry / "cmdline").read_bytes().split(b"\0"), (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"keyd" in words and f"HUB_KEYD_SOCKET={socket}".encode() in variables:
            found.append(int(entry.name))
    return found


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_one_is_started_started_anew_when_it_is_killed_and_ended_at_the_end(settings: Settings) -> None:
    path = settings.keyd_socket
    assert path is not None
    keys = RemoteKeys(path)
    with kept(settings):
        keys.check()
        (first,) = keyds(path)
        os.kill(first, signal.SIGKILL)
        until(lambda: keyds(path) not in ([], [first]) and listens(path), "another is started")
        keys.check()
    until(lambda: not keyds(path), "it ends")
    assert not path.exists()
    keys.close()


def test_one_that_answers_already_is_used(world: World, settings: Settings, addresses: Addresses) -> None:
    path = settings.keyd_socket
    assert path is not None
    with keyd(settings, addresses), kept(settings):
        time.sleep(0.5)
        assert keyds(path) == []


@pytest.fixture
def addresses(world: World) -> Addresses:
    return world.addresses


def test_one_that_cant_start_is_refused_with_its_reason(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUB_KEYD_DIR", str(tmp_path))
    with pytest.raises(Refused, match="did not start; its message is above"), kept(settings):
        pytest.fail("it started")
    assert "run `hub migrate` first" in capfd.readouterr().err


def test_it_ends_with_a_server_that_is_killed(world: World, tmp_path: Path) -> None:
    world.organisation("police")
    ended = False
    with suppress(AssertionError), serving(world, tmp_path, "police", PURPOSE) as profile:  # which finds -9 no good end
        base = json.loads(profile.read_text())["base_url"]
        assert httpx2.get(f"{base}/readyz").status_code == 200
        servers = [int(p.name) for p in Path("/proc").glob("[0-9]*") if _serves(p, base.rpartition(":")[2])]
        (server,) = servers
        (child,) = [int(p.name) for p in Path("/proc").glob("[0-9]*") if _parent(p) == server and b"keyd" in _words(p)]
        os.kill(server, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{child}").exists() or b"keyd" not in _words(Path(f"/proc/{child}")), "the key process ends too")
        ended = True
    assert ended


def _words(entry: Path) -> list[bytes]:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _serves(entry: Path, port: str) -> bool:
    words = _words(entry)
    return b"serve" in words and port.encode() in words


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
