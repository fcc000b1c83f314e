"""`hub keys …`: what there is, a new epoch, taking data keys over, verifying; on a hub that serves."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.commands import Run, environment, refused
from tests.world import World, feature, grant

CANARY = "A canary sings at the harbour"


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "fire", "health"):
        world.organisation(slug)
    fields = {"category": "clear", "narrative": "clear", "place": {"grid_m": 500}}
    world.mou(folder, "MOU-1", "police", "health", [grant(fields=fields)])
    for slug in ("police", "fire"):
        sent = (feature(f"{slug}-{n}", narrative=CANARY) for n in range(3))
        assert world.publish(slug, *sent).status_code == 201
    return world


@pytest.fixture
def hub(shared: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(shared).items():
        monkeypatch.setenv(name, value)
    return bare


def shown(world: World) -> list[str]:
    return [f["properties"]["narrative"] for f in world.items("health", "research")]


def test_from_a_new_epoch_to_the_end_of_the_former_while_the_hub_serves(hub: Run, shared: World) -> None:
    assert shown(shared) == [CANARY] * 3
    ran = hub("keys", "rotate", "--owner", "police", "--class", "case")
    assert ran.out.startswith("1 new keys.")
    assert shared.publish("police", feature("police-9", narrative=CANARY)).status_code == 201
    assert shown(shared) == [CANARY] * 4
    said = hub("keys", "status").out
    assert "police" in said
    assert "former" in said
    assert "3 data keys are still wrapped with a former key" in said
    assert hub("keys", "rewrap").out == "3 data keys rewrapped, 1 former keys destroyed.\n"
    assert "former" not in hub("keys", "status").out
    assert hub("keys", "rewrap").out == "0 data keys rewrapped, 0 former keys destroyed.\n"
    assert shown(shared) == [CANARY] * 4


def test_every_key_is_verified_and_what_is_wrong_is_named(hub: Run, shared: World) -> None:
    for _ in range(3):
        shown(shared)
    ran = hub("keys", "verify")
    assert ran.code == 0, ran.out
    assert "nothing wrong." in ran.out
    with shared.superuser() as admin:
        record = admin.exec_driver_sql("select id from hub.incidents where external_id = 'fire-1'").scalar_one()
        admin.exec_driver_sql("alter table hub.audit_leaves disable trigger append_only")
        gone = admin.exec_driver_sql(
            "delete from hub.audit_leaves where event = (select event from hub.leaf_signatures order by n limit 1)"
        )
        assert gone.rowcount == 1
        admin.exec_driver_sql("alter table hub.audit_leaves enable trigger append_only")
    engine = sa.create_engine(shared.addresses.keys, poolclass=sa.NullPool)
    with engine.begin() as keys:
        keys.exec_driver_sql(
            "update keys.dek set row = set_byte(row, 97, get_byte(row, 97) # 1) where record = %s and class = 3", (str(record),)
        )
        keys.exec_driver_sql("update keys.signed set signature = set_byte(signature, 0, get_byte(signature, 0) # 1) where n = 2")
    ran = hub("keys", "verify")
    assert ran.code == 3
    assert f"record {record}, class 3, revision 1: A wrapped key breaks its commitment." in ran.out
    assert "the leaf of signature 1 is not in the log" in ran.out
    assert "signature 2 doesn't follow from the one before, or doesn't verify" in ran.out
    assert "3 wrong." in ran.out


def test_a_revision_whose_keys_are_gone_is_named_unless_it_was_shredded(hub: Run, shared: World) -> None:
    with shared.superuser() as admin:
        found = admin.exec_driver_sql("select id::text from hub.incidents where external_id in ('fire-0', 'fire-2') order by external_id")
        lost, shredded = [record for (record,) in found]
    with sa.create_engine(shared.addresses.keys, poolclass=sa.NullPool).begin() as keys:
        keys.exec_driver_sql("delete from keys.dek where record = any(%s::uuid[])", ([lost, shredded],))
        keys.exec_driver_sql("insert into keys.shredded (record) values (%s)", (shredded,))
    ran = hub("keys", "verify")
    assert ran.code == 3
    assert f"record {lost}, revision 1: its keys are gone, and it was not shredded\n" in ran.out
    assert shredded not in ran.out


def test_the_start_up_checks_can_be_run_and_tell_the_libraries(hub: Run) -> None:
    ran = hub("keys", "check")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(
        "AES-256-GCM, HMAC-SHA-512, HMAC-SHA-256, Ed25519, scrypt: as their standards say.\nThe root key fits the keys.\n"
    )
    assert "(cryptography): FIPS provider not active\n" in ran.out
    assert "(cryptography): FIPS provider not active\n" in hub("keys", "status").out


def test_what_there_isnt_is_refused(hub: Run) -> None:
    refused(hub("keys", "rotate", "--class", "narrative"), "There is no class 'narrative'; there are identity")
    refused(hub("keys", "rotate", "--owner", "nobody"), "nobody")


def test_without_the_root_key_nothing_is_done(hub: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_KEYD_DIR", str(tmp_path))
    for command in ("status", "rotate", "rewrap", "verify"):
        refused(hub("keys", command), "There is no root key")
