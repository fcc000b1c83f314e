"""`hub witness` as a partner runs it, and `hub log` as the operator does: processes of their own against a hub that is served."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.audit.notes import Checkpoint, Note, VerifierKey
from hub.audit.tree import EMPTY
from hub.setup import published
from hub.witness.folder import Folder
from hub.workers.sequencing import log_key
from tests.api.live import serving
from tests.commands import Run, environment, refused
from tests.faults.stand import wait_until
from tests.witness.paper import NAME
from tests.world import World


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    world.organisation("auditor", "auditor", ["audit"])
    world.bearer_for("auditor", "audit")
    wait_until(lambda: world.services.published.size() > 0, "there is a checkpoint")
    with serving(world) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def hub(world: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    return bare


def grown(world: World) -> int:
    """Has the log grow; its size then."""
    before = world.services.published.size()
    world.http.get("/audit/events", headers=world.bearer_for("auditor", "audit"))
    wait_until(lambda: world.services.published.size() > before, "the log grows")
    return world.services.published.size()


def partner(*words: object) -> subprocess.Popen[str]:
    """A command on a machine that knows nothing of the hub: no setting, no database."""
    command = [sys.executable, "-m", "hub.witness", *map(str, words)]
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.Popen(command, env=bare, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


def said(*words: object) -> tuple[int, str, str]:
    process = partner(*words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_witness_is_made_registered_killed_started_again_and_removed(world: World, address: str, hub: Run, tmp_path: Path) -> None:
    folder, pinned = tmp_path / "w", str(published(world.settings, world.database).state().key)
    code, key, _ = said("key", folder, "--name", NAME)
    assert code == 0
    assert VerifierKey.read(key).name == NAME
    options = (folder, "--hub", address, "--log-key", pinned)
    code, _, err = said("run", *options, "--once")
    assert (code, "No registered witness" in err or "None of the note's signatures" in err) == (1, True)

    assert hub("log", "witness", "add", NAME, key.strip()).code == 0
    assert NAME in hub("log", "witness", "list").out
    (leaf,) = world.leaves(type="log")
    assert leaf["asked"] == {"step": "witness added", "witness": NAME, "key": key.strip()}
    assert said("run", *options, "--once")[:2] == (0, f"Cosigned {world.services.published.size()} leaves of {world.settings.origin()}.\n")

    def witnessed() -> int:
        return world.services.published.state().witnesses[0].size or 0

    for ends in (signal.SIGKILL, signal.SIGINT):
        running = partner("run", *options, "--every", "0.2")
        size = grown(world)
        wait_until(lambda size=size: witnessed() >= size, "it is cosigned")
        second = said("run", *options, "--once")
        assert (second[0], "Another witness works" in second[2]) == (1, True)
        running.send_signal(ends)
        running.communicate(timeout=20)
        assert running.returncode == (-ends if ends == signal.SIGKILL else 0)
    status = hub("log", "status")
    assert f"leaves in the tree of {world.settings.origin()}" in status.out
    assert pinned in status.out

    assert hub("log", "witness", "remove", NAME).code == 0
    assert world.leaves(type="log")[-1]["asked"] == {"step": "witness removed", "witness": NAME}
    assert "no witnesses" in hub("log", "witness", "list").out
    refused(hub("log", "witness", "add", NAME, key.strip()), "was removed")
    refused(hub("log", "witness", "remove", NAME), "No witness")
    refused(hub("log", "witness", "add", "x", "y"), "can't be read")
    grown(world)
    assert said("run", *options, "--once")[0] == 1


def test_a_fork_ends_a_witness_with_code_3_whenever_it_is_started(world: World, address: str, tmp_path: Path) -> None:
    folder, signer = tmp_path / "w", log_key(world.settings)
    said("key", folder, "--name", NAME)
    (tmp_path / "log.pub").write_text(f"{signer.key}\n")
    options = (folder, "--hub", address, "--log-key", tmp_path / "log.pub", "--once")
    said("run", *options)  # cosigned; it isn't registered
    shown = Note.read((folder / "cosigned.note").read_text())
    before = shown.text
    text = str(Checkpoint(signer.key.name, Checkpoint.read(before).size, EMPTY))
    Folder(folder).keep(Note(text, [signer.sign(text), Folder(folder).cosigner().sign(text, 1)]))  # what it saw was another tree
    for word in ("HAS FORKED", "cosigns nothing of it any more"):
        code, _, err = said("run", *options)
        assert (code, word in err) == (3, True), err
        assert err.startswith("hub: ")
    assert sorted(path.name for path in (folder / "evidence").iterdir()) == ["cosigned.note", "shown.note"]


def test_a_witness_says_what_it_lacks(address: str, tmp_path: Path) -> None:
    good = "x.example+1+2"
    for words, sentence in (
        (("run", tmp_path / "none", "--hub", address, "--log-key", good), "key can't be read"),
        (("key", tmp_path / "w", "--name", "two words"), "can't name a key"),
    ):
        code, _, err = said(*words)
        assert (code, sentence in err) == (1, True), err
        assert "Traceback" not in err


def test_the_log_goes_on_after_its_database_was_put_back_once_the_operator_says_so(world: World, hub: Run) -> None:
    size = grown(world)
    ran = hub("log", "resume")
    assert ran.code == 0
    assert int(ran.out.split()[-2]) >= size
    assert world.leaves(type="log")[-1]["asked"] == {"step": "resumed"}
    assert grown(world) > size
