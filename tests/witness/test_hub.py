"""A real hub and its witness: quorum and lag are told, raise alarms, and stop sealed fields; what a rewritten hub gets is a fork."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.audit import witnesses
from hub.audit.notes import Checkpoint, Note, VerifierKey
from hub.audit.tree import EMPTY
from hub.db import owner_transaction
from hub.witness.folder import Folder
from hub.witness.hub import Hub, NotTaken, Unreachable
from hub.witness.watching import Doubtful, Fork, Witness
from hub.workers.sequencing import log_key, resume
from tests.faults.stand import wait_until
from tests.witness.paper import NAME, made
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"


def operator(world: World, does: Callable[..., object]) -> None:
    with owner_transaction(world.addresses.main) as tx:
        does(tx)
        tx.rows("commit")


def register(world: World, folder: Folder) -> None:
    operator(world, lambda tx: witnesses.add(tx, NAME, str(folder.cosigner().key)))


def witness(world: World, folder: Folder) -> Witness:
    return Witness(Hub(world.http), VerifierKey.read(state(world)["key"]), folder, time.time)  # type: ignore[arg-type]


def state(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.http.get("/audit/log").json()
    return found


def settled(world: World) -> None:
    """Until nothing waits for the tree."""
    wait_until(lambda: state(world)["waiting"] == 0 and state(world)["size"] > 0, "all is in the tree")


def open_kinds(world: World) -> list[str]:
    return [alarm["kind"] for alarm in state(world)["alarms"]]


def test_what_is_sealed_is_refused_while_no_witness_comes_and_given_again_once_one_does(watched: World, tmp_path: Path) -> None:
    folder = made(tmp_path / "witness")
    register(watched, folder)
    for slug in ("police", "health", "housing"):
        watched.organisation(slug)
    watched.mou(
        tmp_path, "MOU-1", "police", "health", [grant(fields={"category": "clear", "place": {"grid_m": 500}, "narrative": "clear"})]
    )
    watched.mou(tmp_path, "MOU-2", "police", "housing", [grant()])
    assert watched.publish("police", feature("A", narrative="A canary sings")).status_code == 201
    watching = witness(watched, folder)
    settled(watched)
    watching.look()
    assert watched.items("health", "research")[0]["properties"]["narrative"] == "A canary sings"
    assert (state(watched)["quorum"], state(watched)["witnesses"][0]["name"]) == (1, NAME)

    wait_until(lambda: (state(watched)["unwitnessed_s"] or 0) > 3, "no witness came for three seconds")
    refused = watched.get("health", "research", ITEMS)
    assert refused.status_code == 503
    assert "canary" not in refused.text
    assert watched.http.get(f"{ITEMS}?limit=1", headers=watched.bearer("housing", "research")).status_code == 200  # nothing sealed
    assert watched.publish("police", feature("B", narrative="Another")).status_code == 201
    for path in ("/healthz", "/readyz", "/audit/checkpoint", "/audit/log", "/sign-in", "/api"):
        assert watched.http.get(path).status_code == 200, path
    wait_until(lambda: "witnesses behind" in open_kinds(watched), "an alarm is raised")
    assert state(watched)["witnesses"][0]["lag_s"] > 1

    settled(watched)
    watching.look()
    assert len(watched.items("health", "research")) == 2
    settled(watched)
    watching.look()
    wait_until(lambda: "witnesses behind" not in open_kinds(watched), "the alarm ends")


def test_a_witness_follows_a_hub_at_work_and_a_removed_one_is_told_so(watched: World, tmp_path: Path) -> None:
    folder = made(tmp_path / "witness")
    watched.organisation("police")
    watched.organisation("auditor", "auditor", ["audit"])
    watched.bearer("police")
    settled(watched)
    watching = witness(watched, folder)
    with pytest.raises(NotTaken, match="registered"):
        watching.look()
    register(watched, folder)
    sizes = []
    for _ in range(4):
        watched.http.get("/audit/events", headers=watched.bearer_for("auditor", "audit"))
        settled(watched)
        watching.look()
        sizes.append(watching.last.size if watching.last else 0)
    assert sizes == sorted(set(sizes))
    assert state(watched)["witnesses"][0]["size"] == sizes[-1] == state(watched)["size"]
    assert state(watched)["unwitnessed_s"] is None
    shown = Note.read(watched.http.get("/audit/checkpoint?witnessed=true").text)
    assert Checkpoint.read(shown.text).size == sizes[-1]
    assert shown.cosigned_at(folder.cosigner().key) is not None
    operator(watched, lambda tx: witnesses.remove(tx, NAME))
    watched.http.get("/audit/events", headers=watched.bearer_for("auditor", "audit"))
    settled(watched)
    with pytest.raises(NotTaken, match="registered"):
        watching.look()
    assert watched.http.get("/audit/checkpoint?witnessed=true").status_code == 404


def test_a_hub_whose_database_and_key_were_used_to_rewrite_it_gets_a_fork(watched: World, tmp_path: Path) -> None:
    folder = made(tmp_path / "witness")
    register(watched, folder)
    watched.organisation("police")
    watched.bearer("police")
    settled(watched)
    watching = witness(watched, folder)
    watching.look()
    assert watching.last is not None
    watched.sequencing.close()  # as whoever took everything over can
    signer = log_key(watched.settings)
    text = str(Checkpoint(signer.key.name, watching.last.size, EMPTY))
    with watched.superuser() as admin:
        admin.exec_driver_sql("set session_replication_role = replica")
        admin.exec_driver_sql(
            "update hub.checkpoints set note = %s where size = %s", (str(Note(text, [signer.sign(text)])), watching.last.size)
        )
    with pytest.raises(Fork, match="HAS FORKED"):
        watching.look()
    assert len(folder.evidence()) == 2
    watched.sequencing.start()


def test_a_database_that_was_put_back_goes_on_when_an_operator_says_so_and_its_witness_does_not(watched: World, tmp_path: Path) -> None:
    folder = made(tmp_path / "witness")
    register(watched, folder)
    watched.organisation("auditor", "auditor", ["audit"])
    headers = watched.bearer_for("auditor", "audit")
    settled(watched)
    early = Checkpoint.read(Note.read(watched.http.get("/audit/checkpoint").text).text)
    for _ in range(3):
        watched.http.get("/audit/events", headers=headers)
    settled(watched)
    watching = witness(watched, folder)
    watching.look()
    assert watching.last is not None
    assert watching.last.size > early.size
    with watched.superuser() as admin:  # as a restored backup is; the witness was registered before
        admin.exec_driver_sql("set session_replication_role = replica")
        admin.exec_driver_sql("update hub.log_state set size = %s, root = %s", (early.size, early.root))
        for table, column in (("log_index", "idx"), ("heads_leaves", "idx")):
            admin.exec_driver_sql(f"delete from hub.{table} where {column} >= %s", (early.size,))
        for table in ("checkpoints", "cosignatures"):
            admin.exec_driver_sql(f"delete from hub.{table} where size > %s", (early.size,))
    watched.http.get("/audit/events", headers=headers)
    with pytest.raises(Doubtful, match=f"shows {early.size} leaves, and has shown {watching.last.size} before"):
        watching.look()
    time.sleep(1)
    assert (state(watched)["size"], state(watched)["waiting"]) == (early.size, 1)  # nothing is signed on its own
    assert resume(watched.settings, watched.addresses).size == early.size
    wait_until(lambda: state(watched)["waiting"] == 0, "the sequencer goes on")
    for _ in range(4):
        watched.http.get("/audit/events", headers=headers)
    settled(watched)
    assert state(watched)["size"] > watching.last.size
    with pytest.raises(Doubtful, match="doesn't prove"):
        watching.look()
    again = Folder(tmp_path / "again")
    key = again.make_key("again.example/witness")
    operator(watched, lambda tx: witnesses.add(tx, key.name, str(key)))
    witness(watched, again).look()  # a new one, once its partner agrees
    assert {w["name"]: w["size"] for w in state(watched)["witnesses"]}[key.name] == state(watched)["size"]


def test_an_answer_that_is_none_is_no_more_than_a_hub_that_is_down(watched: World) -> None:
    hub = Hub(watched.http)  # type: ignore[arg-type]
    with pytest.raises(Unreachable, match="answered 400"):
        hub.checkpoint(size="x")
    assert hub.checkpoint(size="99999999") is None
    with pytest.raises(Unreachable, match="answered 404"):
        hub.consistency(5, 99999999)
