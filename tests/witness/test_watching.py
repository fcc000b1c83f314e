"""A witness cosigns what goes on from what it saw, and nothing else: each refusal beside its honest twin."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hub.audit.notes import Checkpoint, Note, Signer, VerifierKey
from hub.errors import Refused
from hub.witness.folder import Folder
from hub.witness.hub import NotTaken, Unreachable
from hub.witness.watching import Doubtful, Fork, run
from tests.conftest import ROOT
from tests.witness.paper import NAME, SIGNER, Paper, made, witness


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return made(tmp_path / "witness")


def key(folder: Folder) -> VerifierKey:
    return folder.cosigner().key


def test_a_log_that_grows_is_cosigned_each_size_once(folder: Folder) -> None:
    paper = Paper("abc")
    watching = witness(paper, folder)
    watching.look()
    watching.look()
    paper.grow("d", "e")
    watching.look()
    assert paper.sizes(key(folder)) == [3, 5]
    assert watching.last == Checkpoint.read(paper.note(5).text)


def test_a_log_without_a_checkpoint_is_waited_for(folder: Folder) -> None:
    paper = Paper("")
    paper.signed = []
    watching = witness(paper, folder)
    watching.look()
    assert paper.taken == []
    paper.grow("a")
    watching.look()
    assert paper.sizes(key(folder)) == [1]


def test_two_trees_of_one_size_are_a_fork_kept_as_evidence_and_the_end(folder: Folder) -> None:
    paper, other = Paper("abc"), Paper("abX")
    witness(paper, folder).look()
    with pytest.raises(Fork, match="HAS FORKED: it signed two trees of 3 leaves"):
        witness(other, folder).look()
    assert other.taken == []
    cosigned, shown = (Note.read((folder.path / "evidence" / f"{name}.note").read_text()) for name in ("cosigned", "shown"))
    assert cosigned.text != shown.text
    assert {Checkpoint.read(n.text).size for n in (cosigned, shown)} == {3}
    assert all(note.signed_by(SIGNER.key) for note in (cosigned, shown))
    paper.grow("d")
    with pytest.raises(Fork, match="cosigns nothing of it any more"):  # not even what would be honest
        witness(paper, folder)
    assert paper.sizes(key(folder)) == [3]


def test_a_log_that_shrinks_is_not_cosigned_until_it_has_grown_past_from_there(folder: Folder) -> None:
    paper, shrunk = Paper("abcde"), Paper("abc")
    witness(paper, folder).look()
    watching = witness(shrunk, folder)
    with pytest.raises(Doubtful, match="shows 3 leaves, and has shown 5 before"):
        watching.look()
    shrunk.signed = []
    with pytest.raises(Doubtful, match="shows no checkpoint"):
        watching.look()
    assert shrunk.taken == []
    paper.grow("f")
    watching = witness(paper, folder)  # the honest twin: a cache had shown what was before
    watching.look()
    assert paper.sizes(key(folder)) == [5, 6]


def test_a_wrong_proof_is_not_cosigned_and_the_right_one_is(folder: Folder) -> None:
    paper = Paper("abc")
    watching = witness(paper, folder)
    watching.look()
    paper.grow("d", "e")
    paper.lies = True
    for _ in range(2):
        with pytest.raises(Doubtful, match="doesn't prove that its tree of 5 leaves goes on from the one of 3"):
            watching.look()
    assert paper.sizes(key(folder)) == [3]
    assert folder.evidence() == []
    paper.lies = False
    watching.look()
    assert paper.sizes(key(folder)) == [3, 5]


def test_a_stolen_key_that_signs_another_past_gets_no_cosignature(folder: Folder) -> None:
    """Whoever has the log's key and its database writes a past of their own, with good proofs within it."""
    paper, forged = Paper("abc"), Paper("aXcdefg")
    watching = witness(paper, folder)
    watching.look()
    with pytest.raises(Doubtful, match="doesn't prove"):
        witness(forged, folder).look()
    assert folder.evidence() == []  # no checkpoint of 3 leaves is shown: nothing to hold against it but the silence
    forged.signed = [3, 7]
    with pytest.raises(Fork, match="two trees of 3 leaves"):
        witness(forged, folder).look()
    assert [path.stem for path in folder.evidence()] == ["cosigned", "later", "shown"]
    assert forged.taken == []


def test_a_checkpoint_that_another_key_signed_is_no_checkpoint_of_the_log(folder: Folder) -> None:
    paper = Paper("abc", Signer(SIGNER.key.name, bytes([1]) * 32))
    for other in (paper, Paper("abc", Signer("other.example/audit", bytes(32)))):
        with pytest.raises(Doubtful, match="not signed with the key"):
            witness(other, folder).look()
        assert other.taken == []
    witness(paper, folder, paper.signer.key).look()  # the honest twin: the key that was pinned
    assert paper.sizes(key(folder)) == [3]


def test_what_another_witness_cosigned_is_cosigned_too(folder: Folder) -> None:
    paper = Paper("abc")
    watching = witness(paper, folder)
    watching.look()
    paper.grow("d")
    paper.grow("e")
    paper.others = 4
    watching.look()
    assert paper.sizes(key(folder)) == [3, 4, 5]
    watching.look()
    assert paper.sizes(key(folder)) == [3, 4, 5]


def test_a_restarted_witness_knows_what_it_cosigned_and_brings_it_again(folder: Folder) -> None:
    paper = Paper("abc")
    witness(paper, folder).look()
    with pytest.raises(Fork):
        witness(Paper("abX"), made_copy(folder)).look()  # control: a witness that knows
    witness(paper, folder).look()
    assert paper.sizes(key(folder)) == [3, 3]
    paper.grow("d")
    witness(paper, folder).look()
    assert paper.sizes(key(folder)) == [3, 3, 4]


def made_copy(folder: Folder) -> Folder:
    subprocess.run(["cp", "-a", folder.path, folder.path.with_name("copy")], check=True)
    return Folder(folder.path.with_name("copy"))


def test_a_hub_that_is_down_loses_nothing(folder: Folder) -> None:
    paper = Paper("abc")
    watching = witness(paper, folder)
    watching.look()
    before = (folder.path / "cosigned.note").read_bytes()
    paper.down = True
    for _ in range(3):
        with pytest.raises(Unreachable):
            watching.look()
    assert (folder.path / "cosigned.note").read_bytes() == before
    paper.down = False
    paper.grow("d")
    watching.look()
    assert paper.sizes(key(folder)) == [3, 4]


def test_a_witness_that_is_not_taken_tries_again(folder: Folder) -> None:
    paper = Paper("abc")
    paper.unknown = True
    watching = witness(paper, folder)
    for _ in range(2):
        with pytest.raises(NotTaken):
            watching.look()
    paper.unknown = False
    watching.look()
    assert paper.sizes(key(folder)) == [3]


def test_a_kill_between_state_and_cosignature_brings_that_same_cosignature(folder: Folder) -> None:
    """The process is ended by SIGKILL when it is about to send; the next one sends what was kept, and no other tree of that size."""
    script = (
        "import os, signal, sys; from pathlib import Path; from hub.witness.folder import Folder; from tests.witness.paper import *\n"
        "paper = Paper('abc'); paper.send = lambda note: os.kill(os.getpid(), signal.SIGKILL)\n"
        "witness(paper, Folder(Path(sys.argv[1]))).look()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder.path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(Fork):
        witness(Paper("abX"), made_copy(folder)).look()
    paper = Paper("abc")
    witness(paper, folder).look()
    assert paper.sizes(key(folder)) == [3]


def test_a_kill_before_the_state_is_kept_leaves_no_cosignature(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    paper, other = Paper("abc"), Paper("abX")
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "keep", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            witness(paper, folder).look()
    assert paper.taken == []
    witness(other, folder).look()  # nothing was promised
    assert other.sizes(key(folder)) == [3]


def test_a_full_disk_means_no_cosignature(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Paper("abc")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hub.witness.folder.replace", full)
        with pytest.raises(Refused, match="Nothing was cosigned"):
            witness(paper, folder).look()
    assert paper.taken == []


def test_two_processes_never_work_in_one_folder(folder: Folder) -> None:
    script = "import sys; from pathlib import Path; from hub.witness.folder import Folder\nwith Folder(Path(sys.argv[1])).held(): pass"
    command = [sys.executable, "-c", script, str(folder.path)]
    with folder.held():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Another witness works in" in done.stderr
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_a_folder_that_is_damaged_or_anothers_is_refused(folder: Folder) -> None:
    witness(Paper("abc"), folder).look()
    with pytest.raises(Refused, match="a folder is for one log"):
        witness(Paper("abc"), folder, Signer("other.example/audit", bytes(32)).key)
    kept = folder.path / "cosigned.note"
    kept.write_text("half a no")
    with pytest.raises(Refused, match="damaged"):
        witness(Paper("abc"), folder)
    note = Paper("abc").note(3)
    kept.write_text(str(note))  # signed by the log alone
    with pytest.raises(Refused, match="not cosigned"):
        witness(Paper("abc"), folder)
    with pytest.raises(Refused, match="never overwritten"):
        folder.make_key(NAME)
    (folder.path / "witness.key").chmod(0o644)
    with pytest.raises(Refused, match="open to others"):
        witness(Paper("abc"), folder)


def test_the_loop_goes_on_through_failures_and_ends_with_a_fork(folder: Folder) -> None:
    paper, stopped = Paper("abc"), threading.Event()
    rounds = 0

    def next_round(**asked: str) -> Note | None:
        nonlocal rounds
        rounds += 1
        paper.down = rounds in (3, 4)
        if rounds == 5:
            paper.grow("d")
        if rounds > 9:
            paper.leaves[0] = bytes(32)
        return Paper.checkpoint(paper, **asked)

    paper.checkpoint = next_round  # type: ignore[method-assign]
    with pytest.raises(Fork):
        run(witness(paper, folder), 0.01, stopped)
    assert paper.sizes(key(folder)) == [3, 4]
    stopped.set()
    run(witness(Paper("abc"), made(folder.path.with_name("other"))), 60, stopped)  # ends at once


def test_a_witness_needs_neither_driver_nor_framework() -> None:
    """What is imported, all told; the import contract says the same of the source."""
    script = (
        "import sys, hub.witness.commands\n"
        "names = {'psycopg2', 'sqlalchemy', 'fastapi', 'hub.db', 'hub.settings', 'hub.crypto', 'hub.identity'}\n"
        "print(sorted(names & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    assert done.stdout == "[]\n"
