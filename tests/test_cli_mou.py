"""`hub mou …` and `hub party-key …`: what docs/first-mou.md doesn't walk through."""

import json
import stat
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hub import cli
from hub.identity.party_keys import STATEMENT, check, public_of, sign
from tests.agreements.parties import Party, agree, party
from tests.commands import Run, environment, refused
from tests.world import World, grant, mou_data
from tests.written import yaml_of

SAID = {
    "v": 1, "mou": "MOU-1", "version": 2, "sha256": "a" * 64, "document": "b" * 64, "boundaries": {},
    "provider": "police", "consumer": "health", "in_force": {"from": "2026-01-01", "until": "2026-12-31"},
}  # fmt: skip


@pytest.fixture
def hub(world: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    return bare


@pytest.fixture(scope="module")
def parties(world: World) -> tuple[Party, Party]:
    for slug in ("police", "health"):
        world.organisation(slug)
    return party(world, "police"), party(world, "health")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mou.yaml"
    tests = [
        {"as": {"organisation": "health", "purpose": "research"}, "record": {"at": [0, 0]}, "expect": "shown"},
        {"as": {"organisation": "health", "purpose": "other"}, "record": {"at": [0, 0]}, "expect": "shown"},
    ]
    path.write_bytes(b"# Why we agreed\n" + yaml_of(mou_data("MOU-CLI", "police", "health", [grant()], tests=tests)))
    return path


def test_the_tests_of_a_file_are_told_one_by_one(bare: Run, file: Path) -> None:
    ran = bare("mou", "test", file)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "passed  tests[0]  health for research",
        "failed  tests[1]  health for other",
        "        expects the record to be shown; it is hidden",
        "2 tests, 1 failed.",
    ]


def test_what_if_says_how_each_field_would_be_released(bare: Run, file: Path) -> None:
    ran = bare("mou", "what-if", file, "{at: [0, 0], category: theft}")
    assert ran.out.splitlines()[0] == "health for research: shown."
    assert ["place", "grid_m:500"] in [line.split() for line in ran.out.splitlines()]
    assert bare("mou", "what-if", file, "{at: [0, 0]}", "--organisation", "fire").out.strip() == "fire for research: hidden."
    refused(bare("mou", "what-if", file, "{at: [200, 0]}"), "at")
    refused(bare("mou", "what-if", file, "{category: theft}"), "can't be read")


def test_a_file_is_told_in_sentences(bare: Run, file: Path) -> None:
    out = bare("mou", "explain", file).out
    assert "police shares incidents with health for the purpose research." in out
    assert "withheld: " in out


def test_a_renewal_changes_the_version_and_the_period_alone(bare: Run, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.yaml"
    assert bare("mou", "renew", file, "--until", "2101-01-31", "--out", out).code == 0
    before, after = (YAML(typ="safe", pure=True).load(p.read_text()) for p in (file, out))
    assert out.read_text().startswith("# Why we agreed\n")
    assert after.pop("supersedes") == f"sha256:{sha256(file.read_bytes()).hexdigest()}"
    assert (after.pop("version"), after.pop("in_force")) == (2, {"from": date(2100, 1, 1), "until": date(2101, 1, 31)})
    del before["version"], before["in_force"]
    assert after == before
    refused(bare("mou", "renew", file, "--until", "2101-01-31", "--out", out), "is there already")
    refused(bare("mou", "renew", file, "--until", "2050-01-31"), "end before it begins")
    again = bare("mou", "renew", out, "--until", "2102-01-31", "--from", "2101-06-01")
    assert again.out.count("supersedes:") == 1
    assert "version: 3" in again.out


def test_a_statement_is_signed_without_a_hub(bare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, said = tmp_path / "key.pem", tmp_path / "statement.json"
    said.write_text(json.dumps(SAID))
    answers = iter(["s3cret", "s3cret"])
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    kid = bare("party-key", "new", key).out.split()[-1]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    ran = bare("mou", "sign", "--key", key, "--statement", said, "--yes")
    _, jwk = public_of(key.read_bytes(), "s3cret")
    assert jwk["kid"] == kid
    check(ran.out.strip(), STATEMENT, said.read_bytes(), jwk)
    assert "police gives, health receives" in ran.err
    refused(bare("party-key", "new", key, "--no-passphrase"), "never overwritten")
    answers = iter(["wrong"])
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    wrong = bare("mou", "sign", "--key", key, "--statement", said, "--yes")
    assert (wrong.code, wrong.out, wrong.err.splitlines()[-1][:29]) == (1, "", "hub: The key can't be read: I")
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert bare("mou", "sign", "--key", key, "--statement", said).code == 1
    refused(bare("mou", "sign", "--key", key), "or give --statement")
    refused(bare("mou", "sign", "--key", key, "--statement", tmp_path / "none", "--yes"), "can't be read")


def test_the_operator_suspends_resumes_and_ends(hub: Run, world: World, parties: tuple[Party, Party]) -> None:
    police, health = parties
    agree(police, health, mou_data("MOU-OPERATED", "police", "health", [grant(purposes=["operated"])]))
    assert world.items("health", "operated") == []
    assert hub("mou", "suspend", "MOU-OPERATED", 1, "--reason", "A court order").out == "MOU-OPERATED version 1 is suspended.\n"
    assert world.get("health", "operated", "/collections/incidents/items").status_code == 403
    assert police.step("resumption", "MOU-OPERATED").status_code == 403  # the operator suspended it
    assert hub("mou", "resume", "MOU-OPERATED", 1).out == "MOU-OPERATED version 1 is active.\n"
    assert world.items("health", "operated") == []
    assert hub("mou", "terminate", "MOU-OPERATED", 1, "--reason", "Over").out == "MOU-OPERATED version 1 is terminated.\n"
    assert "MOU-OPERATED" not in hub("mou", "list").out
    (line,) = [line for line in hub("mou", "list", "--all").out.splitlines() if line.startswith("MOU-OPERATED")]
    assert line.split() == ["MOU-OPERATED", "1", "terminated", "police", "health", "2099-12-31"]
    steps = [leaf["asked"] for leaf in world.leaves(type="mou", mou="MOU-OPERATED", owner="health")]
    assert steps[-1] == {"step": "terminated", "reason": "Over"}


def test_what_is_due_is_listed_for_the_operator_and_for_a_party(hub: Run, world: World, parties: tuple[Party, Party]) -> None:
    police, health = parties
    assert hub("mou", "list", "--due").out == "Nothing is due.\n"
    until = (world.clock() + timedelta(days=5)).date()
    period = {"from": date(2020, 1, 1), "until": until}
    data = mou_data("MOU-DUE", "police", "health", [grant(purposes=["due"])], in_force=period, review_by=date(2025, 3, 1))
    agree(police, health, data)
    agree(police, health, mou_data("MOU-FINE", "police", "health", [grant(purposes=["fine"])]))
    said = "ends in 6 days, and no next version is on its way; its review is overdue since 1 March 2025"
    line = f"MOU-DUE 1 active police health {until} {said}"
    every, due = hub("mou", "list"), hub("mou", "list", "--due")
    assert (every.code, due.code) == (0, 3)
    assert [" ".join(row.split()) for row in due.out.splitlines()] == ["agreement version state gives receives ends due", line]
    rows = [" ".join(row.split()) for row in every.out.splitlines()]
    assert line in rows
    assert "MOU-FINE 1 active police health 2099-12-31" in rows
    health.draft(data | {"version": 2, "in_force": period | {"until": date(2099, 12, 31)}, "review_by": date(2030, 1, 1)})
    health.step("proposal", "MOU-DUE", 2)
    (row,) = [" ".join(row.split()) for row in hub("mou", "list").out.splitlines() if row.startswith("MOU-DUE  ") and " active" in row]
    assert row.endswith("ends in 6 days; renewal under way: version 2 is proposed; its review is overdue since 1 March 2025")
    assert hub("mou", "suspend", "MOU-DUE", 1, "--reason", "Over").code == 0
    assert hub("mou", "terminate", "MOU-DUE", 1, "--reason", "Over").code == 0
    gone = hub("mou", "list", "--due")
    assert (gone.code, gone.out) == (0, "Nothing is due.\n")


def test_the_operator_withdraws_what_nobody_finishes(hub: Run, parties: tuple[Party, Party]) -> None:
    police, _ = parties
    police.draft(mou_data("MOU-LEFT", "police", "health", [grant()]))
    assert hub("mou", "withdraw", "MOU-LEFT", 1).out == "MOU-LEFT version 1 is withdrawn.\n"
    refused(hub("mou", "withdraw", "MOU-LEFT", 1), "it must be draft or proposed or signed")
    refused(hub("mou", "withdraw", "MOU-NONE", 1), "no such version")


def test_keys_are_listed_and_revoked_by_the_operator(hub: Run, world: World) -> None:
    world.organisation("fire")
    fire = party(world, "fire", confirmed=False)
    assert [line.split()[1:] for line in hub("party-key", "list").out.splitlines() if fire.kid in line] == [["fire", "offered"]]
    assert hub("party-key", "revoke", fire.kid).code == 0
    refused(hub("party-key", "confirm", fire.kid), "was revoked")
    for name in ("nobody", "-cSoP", "--help-me", "-h"):
        refused(hub("party-key", "confirm", name), "no such key")


def test_a_document_that_is_not_the_one_in_the_statement_is_not_signed(bare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dishonest:
        """A hub that shows one document and has another signed."""

        def __enter__(self) -> "Dishonest":
            return self

        def __exit__(self, *_: object) -> None: ...

        def get(self, address: str) -> Any:
            content = json.dumps(SAID).encode() if address.endswith("statement") else b"%PDF of something else"
            return type("Answer", (), {"content": content})

    monkeypatch.setattr(cli.mou, "party", lambda *_: Dishonest())
    key = tmp_path / "key.pem"
    bare("party-key", "new", key, "--no-passphrase")
    refused(bare("mou", "sign", "MOU-1", 2, "--key", key, "--as", "x.json", "--yes"), "nothing was signed")
    assert sign(key.read_bytes(), None, b"{}", STATEMENT).count(".") == 2
