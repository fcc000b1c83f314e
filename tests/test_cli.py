"""The command line: what each command does, and that a mistake is one sentence on standard error and exit code 1."""

import json
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
import typer
from ruamel.yaml import YAML

from hub import __version__, cli, db
from tests.commands import HUB, Ran, Run, environment, free_port, refused, serving
from tests.world import World, feature, grant, mou_data


@pytest.fixture
def hub(world: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same against the world's databases."""
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    return bare


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_command_has_a_help_that_says_what_it_does(bare: Run, path: tuple[str, ...]) -> None:
    ran = bare(*path, "--help")
    assert ran.code == 0
    assert f"hub {' '.join(path)}" in ran.out
    (command,) = [c for p, c in commands() if p == path]
    assert command.help
    assert command.help.split("\n")[0][:60] in ran.out


def test_the_commands_are_these() -> None:
    assert {" ".join(path) for path, c in commands() if not hasattr(c, "commands")} == {
        *(
            "migrate",
            "serve",
            "keyd",
            "demo",
            "get",
            "publish",
            "reindex",
            "schema",
            "verify-store",
            "version",
            "org add",
            "org list",
            "root-key create",
            "root-key split",
            "root-key check",
            "root-key restore",
            "root-key change",
            "mapping init",
            "mapping check",
            "imports list",
            "imports cancel",
            "person invite",
            "person disable",
            "person roles",
            "person list",
        ),
        *("client key", "client add", "client disable", "audit list", "audit expire", "audit export", "audit trust", "audit verify"),
        *("sequencer", "log status", "log resume", "log witness add", "log witness remove", "log witness list"),
        *("witness key", "witness run"),
        *(f"keys {name}" for name in ("status", "check", "rotate", "rewrap", "verify", "backup", "restore", "backups")),
        *(f"shred {name}" for name in ("records", "before", "status")),
        *(f"hold {name}" for name in ("place", "release", "list")),
        *(f"retention {name}" for name in ("set", "clear", "list")),
        *(f"duty {name}" for name in ("recalls", "acknowledge", "held", "attest")),
        *(f"party-key {name}" for name in ("new", "offer", "confirm", "revoke", "list")),
        *(f"mou {name}" for name in ("check", "test", "what-if", "explain", "renew", "propose", "sign", "diff", "use", "activate")),
        *(f"mou {name}" for name in ("suspend", "resume", "terminate", "withdraw", "list")),
    }


def test_the_entry_point_is_installed_and_starts() -> None:
    ran = subprocess.run([HUB, "version"], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == f"{__version__}\n"


def test_an_unknown_command_or_option_is_a_usage_error(bare: Run) -> None:
    for words in ("nonsense", "org remove", "audit list --since 1", "audit list --limit 0", "serve --port x", "serve --port 65536"):
        ran = bare(*words.split())
        assert ran.code == 2
        assert "Traceback" not in ran.err


def test_organisations_are_added_and_listed(hub: Run) -> None:
    assert hub("org", "add", "fire", "[bold]Fire[/] :boom:").out == "Added fire.\n"  # no markup: shown as it is
    refused(hub("org", "add", "fire", "Fire"), "already an organisation 'fire'")
    assert hub("org", "add", "watch", "The watch", "--kind", "auditor").code == 0
    assert hub("org", "add", "coast", "Coast guard", "--area", "-80,43,-79,44").code == 0
    lines = hub("org", "list").out.splitlines()
    assert lines[0].split() == ["slug", "kind", "name"]
    assert {tuple(line.strip().split(maxsplit=2)) for line in lines[1:]} >= {
        ("fire", "partner", "[bold]Fire[/] :boom:"),
        ("watch", "auditor", "The watch"),
    }


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["fire-2", ""], "printable"),
        (["Fire!", "Fire"], "slug"),
        (["fire-3", "Fire", "--kind", "police"], "partner, auditor"),
        (["fire-4", "Fire", "--area", "1,2,3"], "four numbers"),
        (["fire-5", "Fire", "--area", "1,4,3,2"], "upside down"),
    ],
)
def test_an_organisation_that_cannot_be_is_refused(hub: Run, words: list[str], word: str) -> None:
    refused(hub("org", "add", *words), word)
    assert words[0] not in hub("org", "list").out


def test_a_key_pair_is_made_for_its_owner_alone_and_never_overwritten(bare: Run, tmp_path: Path) -> None:
    key, public = tmp_path / "[odd] key.pem", tmp_path / "[odd] key.pem.pub"
    ran = bare("client", "key", key)
    assert ran.code == 0
    assert f"Keep {key} to yourself; register {public}." in ran.out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    made = key.read_bytes(), public.read_bytes()
    assert b"PRIVATE KEY" in made[0]
    assert b"PRIVATE KEY" not in made[1]
    refused(bare("client", "key", key), "never overwritten")
    assert (key.read_bytes(), public.read_bytes()) == made
    refused(bare("client", "key", tmp_path / "no" / "folder" / "key.pem"), "can't be written")


def test_a_client_is_registered_and_disabled(hub: Run, world: World, tmp_path: Path) -> None:
    hub("org", "add", "clinic", "A clinic")
    hub("client", "key", tmp_path / "key.pem")
    ran = hub("client", "add", "clinic", "clinic-etl", "--key", tmp_path / "key.pem.pub", "--scope", "publish", "--scope", "audit")
    assert ran.out == "Added clinic-etl.\n"
    world.keys["clinic-etl"] = (tmp_path / "key.pem").read_bytes()
    assert world.token_response("clinic-etl").json()["scope"] == "audit publish"
    assert hub("client", "disable", "clinic-etl").out == "Disabled clinic-etl.\n"
    assert world.token_response("clinic-etl").json()["error"] == "invalid_client"
    refused(hub("client", "disable", "nobody"), "no client 'nobody'")


def test_a_client_that_cannot_be_is_refused(hub: Run, tmp_path: Path) -> None:
    hub("org", "add", "lab", "A lab")
    hub("client", "key", tmp_path / "key.pem")
    public = tmp_path / "key.pem.pub"
    (tmp_path / "not-a-key").write_text("hello")

    def add(*words: object) -> Ran:
        return hub("client", "add", *words)

    refused(add("lab", "lab-1", "--key", tmp_path / "missing", "--scope", "audit"), "can't be read: No such file")
    refused(add("lab", "lab-1", "--key", tmp_path, "--scope", "audit"), "can't be read: Is a directory")
    refused(add("lab", "lab-1", "--key", tmp_path / "not-a-key", "--scope", "audit"), "key")
    refused(add("lab", "lab-1", "--key", tmp_path / "key.pem", "--scope", "audit"), "key")
    refused(add("lab", "lab-1", "--key", public, "--scope", "everything"), "audit, publish, query")
    refused(add("nobody", "lab-1", "--key", public, "--scope", "audit"), "no organisation 'nobody'")
    refused(add("lab", "Lab 1!", "--key", public, "--scope", "audit"), "client id")
    assert add("lab", "lab-1", "--key", public, "--scope", "audit").code == 0
    refused(add("lab", "lab-1", "--key", public, "--scope", "audit"), "already a client 'lab-1'")


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """police shares with health; the MOU is in a file."""
    for slug in ("police", "health"):
        world.organisation(slug)
    path = tmp_path_factory.mktemp("mous") / "mou.yaml"
    world.load(write(path, grants=[grant()]))
    return path


def write(path: Path, name: str = "MOU-CLI", grants: Any = (), **more: Any) -> Path:
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(mou_data(name, "police", "health", grants, **more), file)
    return path


def test_an_mou_is_checked_without_a_hub(hub: Run, tmp_path: Path) -> None:
    test = {"as": {"organisation": "health", "purpose": "research"}, "record": {"at": [-79.38, 43.65]}, "expect": "shown"}
    good = write(tmp_path / "good.yaml", "MOU-CHECKED", [grant()], tests=[test])
    assert "MOU-CHECKED version 1 is good. Grants: 1; its own tests: 1, all pass." in hub("mou", "check", good).out
    wrong = write(tmp_path / "wrong.yaml", "MOU-CHECKED", [grant()], tests=[test | {"expect": "hidden"}])
    refused(hub("mou", "check", wrong), "tests[0].expect: expects the record to be hidden; it is shown")
    refused(hub("mou", "check", tmp_path / "missing.yaml"), "No such file")


def test_an_mou_that_cannot_be_is_refused_with_every_place(bare: Run, tmp_path: Path) -> None:
    refused(bare("mou", "check", tmp_path), "Is a directory")
    wrong = grant(fields={"category": "clearly"})
    ran = bare("mou", "check", write(tmp_path / "wrong.yaml", "MOU-WRONG", [wrong], colour="red"))
    refused(ran, "colour: is not a word", "'clearly' is not a treatment of category", "(line ")
    assert ran.err.count("colour") == 1
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    refused(bare("mou", "check", tmp_path / "bytes.yaml"))


def test_the_log_is_listed_and_given_as_it_is_stored(hub: Run, world: World, shared: Path) -> None:
    record = world.publish("police", feature("CLI-2")).json()["records"][0]["id"]
    ran = hub("audit", "list", "--type", "publish", "--limit", "1")
    head, line = ran.out.splitlines()
    assert head.split()[:4] == ["when", "type", "who", "purpose"]
    assert line.split()[2:4] == ["publish", "police"]
    stored = hub("audit", "list", "--json", "--limit", "100000").out.splitlines()
    with world.superuser() as connection:
        texts = connection.scalars(sa.text("select leaf from hub.audit_leaves order by id desc")).all()
    assert stored == list(texts)
    owned = [json.loads(text) for text in hub("audit", "list", "--json", "--owner", "police", "--organisation", "police").out.splitlines()]
    assert {(leaf["owner"], leaf["by"]["organisation"]) for leaf in owned} == {("police", "police")}
    about = [json.loads(text) for text in hub("audit", "list", "--json", "--record", record).out.splitlines()]
    assert [leaf["type"] for leaf in about] == ["publish"]
    assert hub("audit", "list", "--record", "00000000-0000-0000-0000-000000000000", "--json").out == ""
    assert hub("audit", "list", "--record", "7").code == 2


def test_the_operators_look_into_the_log_is_in_the_log(hub: Run, world: World) -> None:
    hub("audit", "list", "--owner", "police", "--type", "query")
    leaf = world.leaves(type="audit")[-1]
    assert (leaf["by"], leaf["decision"], leaf["asked"]) == ({"client": "cli"}, "permit", {"fields": ["owner", "type"]})


def test_setting_up_again_is_harmless(hub: Run, world: World) -> None:
    before = len(world.leaves())
    assert hub("migrate").out == "The databases are up to date.\n"
    assert len(world.leaves()) == before
    assert world.http.get("/readyz").status_code == 200


def test_setting_up_from_several_places_at_once_is_harmless(world: World) -> None:
    """Roles belong to the whole server: without a lock PostgreSQL ends one of two changes ("tuple concurrently updated")."""
    folder = world.settings.state_dir
    secrets, *roles = db.read_secrets(folder), db.read_roles_secret(folder / "keyd"), db.read_roles_secret(folder / "log")
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(db.migrate, world.addresses.main, world.addresses.keys, secrets, *roles) for _ in range(12)]
    assert [d.exception() for d in done] == [None] * 12
    assert world.http.get("/readyz").status_code == 200


def test_the_frozen_sql_can_be_made_anew(bare: Run) -> None:
    ran = bare("schema", "incidents")
    assert ran.code == 0
    assert "create function hub.incidents_store" in ran.out
    refused(bare("schema", "alerts"), "no dataset 'alerts'; there are incidents")


COMMANDS = [["migrate"], ["org", "list"], ["audit", "list"], ["mou", "check", __file__]]


@pytest.mark.parametrize("words", COMMANDS[:3], ids=" ".join)
def test_a_database_that_is_not_there_is_one_sentence_without_its_password(
    bare: Run, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_DATABASE_URL", f"postgresql://operator:canary@127.0.0.1:{free_port()}/hub")
    monkeypatch.setenv("HUB_STATE_DIR", str(tmp_path))
    ran = bare(*words)
    refused(ran, "reach")
    assert "canary" not in ran.err


@pytest.mark.parametrize("words", COMMANDS, ids=lambda w: " ".join(w)[:10])
def test_a_doubtful_setting_ends_every_command(bare: Run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_BASE_URL", "http://hub.example")
    refused(bare(*words), "HUB_BASE_URL must be https")


def test_a_state_folder_that_is_a_file_is_one_sentence(hub: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").touch()
    monkeypatch.setenv("HUB_STATE_DIR", str(tmp_path / "state"))
    refused(hub("org", "list"), "state")


@pytest.fixture(scope="module")
def served(world: World, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`hub serve` as a process of its own; gives the file of a client's profile. Its log must be JSON to the last line."""
    folder = tmp_path_factory.mktemp("profile")
    with serving(world, folder, "police", "research") as profile:
        yield profile
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert {line["route"] for line in lines if line["event"] == "request"} >= {"/oauth/token", "/collections/{name}/items"}


def test_asking_as_a_client_prints_the_answer(bare: Run, served: Path) -> None:
    ran = bare("get", "/collections", "--as", served)
    assert ran.code == 0, ran.err
    assert [c["id"] for c in json.loads(ran.out)["collections"]] == ["incidents"]
    base = json.loads(served.read_text())["base_url"]
    assert json.loads(bare("get", f"{base}/audit/events?limit=1", "--as", served).out)["events"]


def test_what_the_hub_refuses_is_told_in_its_own_words(bare: Run, served: Path) -> None:
    refused(bare("get", "/collections/incidents/items?limit=0", "--as", served), "the hub answered 400: limit must be from 1 to 1000")
    refused(bare("get", "/collections/incidents/items", "--as", served), "the hub answered 403: No MOU in force")
    refused(bare("get", "/nothing", "--as", served), "the hub answered 404")
    refused(bare("get", "https://elsewhere.example/", "--as", served), "neither a path")


def test_a_profile_that_cannot_be_used_is_one_sentence(bare: Run, tmp_path: Path) -> None:
    refused(bare("get", "/", "--as", "nobody"), "nobody.json")
    for text in ("", "[]", "{}", '{"base_url": 1, "client_id": "x", "key": "k", "purpose": null}'):
        (tmp_path / "odd.json").write_text(text)
        refused(bare("get", "/", "--as", tmp_path / "odd.json"), "can't be used")


def test_a_hub_that_is_down_is_one_sentence(bare: Run, served: Path, tmp_path: Path) -> None:
    about = json.loads(served.read_text()) | {"key": str(served.with_name("police.pem"))}
    for base in (f"http://127.0.0.1:{free_port()}", "http://name.invalid", "http://127.0.0.1:x"):
        (tmp_path / "down.json").write_text(json.dumps(about | {"base_url": base}))
        refused(bare("get", "/", "--as", tmp_path / "down.json"), "can't be reached")
