"""The documentation says what is so: generated parts are current, names exist, links lead somewhere, and the tutorial works."""

import io
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
from starlette.exceptions import HTTPException

import hub.app  # noqa: F401  # a kind of problem is known once its module is
from hub import cli, localdb
from hub.api import problems
from hub.datasets import DATASETS
from hub.demo import tour
from hub.errors import HubError
from hub.policy.conditions import CONDITIONS
from hub.policy.mou import WORDS
from hub.policy.treatments import ROUND_TO
from hub.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
HEADINGS = ["Context", "Decision", "Consequences", "Alternatives", "What enforces it"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rows(page: str) -> set[str]:
    """What the first cells of a page's tables name, in code type."""
    text = (DOCS / page).read_text()
    return {code for cell in re.findall(r"^\| *([^|]*?) *\|", text, re.M) for code in re.findall(r"`([^`]+)`", cell)}


def subclasses(kind: type[HubError]) -> Iterator[type[HubError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from subclasses(sub)


# --- reference ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_generated_parts_are_current(page: Path) -> None:
    renewed = runpy.run_path(str(DOCS / "generate.py"))["renewed"]
    assert renewed(page.read_text()) == page.read_text(), "run: .venv/bin/python docs/generate.py"


def test_every_setting_has_a_row() -> None:
    assert {f"HUB_{field.upper()}" for field in Settings.model_fields} <= rows("reference/settings.md")


def test_every_kind_of_problem_has_a_row() -> None:
    assert {kind.slug for kind in subclasses(HubError)} <= rows("reference/problems.md")


@pytest.mark.parametrize("status", [404, 405, 418])
def test_the_problems_of_the_router_have_a_row(status: int) -> None:
    nothing = SimpleNamespace(method="PUT", scope={}, app=SimpleNamespace(routes=[]))
    body = json.loads(problems.of_http_exception(nothing, HTTPException(status)).body)  # type: ignore[arg-type]
    assert body["type"].removeprefix("urn:concord:problem:") in rows("reference/problems.md")


def test_every_word_of_an_mou_has_a_row() -> None:
    words = WORDS - {"values"}  # `values` holds a test record's fields, whose names are the words
    assert words | set(CONDITIONS) <= rows("reference/mou.md")


def test_every_treatment_has_a_row() -> None:
    treatments = {"clear", "withhold", "{grid_m: 100}", "{grid_m: 500}", "{grid_m: 2000}", *(f"{{round_to: {t}}}" for t in ROUND_TO)}
    treatments |= {"{bands: [1, 3, 5]}", "{last: 4}", "match_only"}
    assert treatments <= rows("reference/mou.md")


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_field_of_a_dataset_has_a_row_with_its_number(dataset: str) -> None:
    text = (DOCS / "reference" / f"{dataset}.md").read_text()
    missing = [f.name for f in DATASETS[dataset].fields if not re.search(rf"^\| `{f.name}` \| {f.number} \|", text, re.M)]
    assert not missing


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(name for names in project["optional-dependencies"].values() for name in names)]
    assert {re.split(r"[<>=~\[]", text)[0] for text in wanted} <= rows("decisions/0002-dependencies.md")


# --- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
        to = (page.parent / target).resolve() if target else page
        assert to.exists(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in anchors(to), f"{name(page)}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    inside = r"`((?:hub|tests|docs|scripts|migrations|policies)/[\w./-]+)`"
    missing = [path for path in re.findall(inside, page.read_text()) if not (ROOT / path).exists()]
    assert not missing


def test_pages_that_the_code_names_exist() -> None:
    texts = [
        path.read_text() for folder in ("hub", "migrations", "scripts", "tests") for path in (ROOT / folder).rglob("*") if is_text(path)
    ]
    named = {found for text in texts for found in re.findall(r"docs/(?:decisions/\d{4}|[\w/-]+\.md)", text)}
    assert named
    assert not [found for found in named if not list(ROOT.glob(found if found.endswith(".md") else f"{found}-*.md"))]


def is_text(path: Path) -> bool:
    return path.is_file() and path.suffix in ("", ".py", ".sql")


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_says_all_five_things(page: Path) -> None:
    assert re.findall(r"^## (.+)$", page.read_text(), re.M) == HEADINGS


# --- commands ----------------------------------------------------------------------------------------------------------


def commands(text: str) -> set[tuple[str, ...]]:
    """The `hub …` and `make …` commands in code: their words up to the first argument or option."""
    code = [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^ {4}(.+)$", text, re.M)]
    code += [line for block in re.findall(r"^```sh.*?\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]
    found = [re.search(r"(?:^|\s)(?:\.venv/bin/)?(hub|make)((?: [a-z]+(?:-[a-z]+)*)+)", line) for line in code]
    return {(words[1], *words[2].split()) for words in found if words}


def known(command: tuple[str, ...]) -> bool:
    if command[0] == "make":
        return bool(re.search(rf"^{command[1]}:", (ROOT / "Makefile").read_text(), re.M))
    app: Any = cli.app
    for word in command[1:]:
        groups = {group.name: group.typer_instance for group in app.registered_groups}
        if word not in groups:
            return word in {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
        app = groups[word]
    return True


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_a_page_names_exist(page: Path) -> None:
    assert not [command for command in commands(page.read_text()) if not known(command)]


def test_a_command_that_is_not_there_is_noticed() -> None:
    named = commands("`hub mou vanish`, `make demo`\n\n    A=b .venv/bin/hub org add x\n\n```sh\nhub vanish --all\n```\n")
    assert named == {("hub", "mou", "vanish"), ("make", "demo"), ("hub", "org", "add", "x"), ("hub", "vanish")}
    assert {command for command in named if not known(command)} == {("hub", "mou", "vanish"), ("hub", "vanish")}


def test_the_readme_shows_the_commands_that_the_demo_prints(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(sys.prefix).parent)
    tour.tell(Settings(), {})
    printed = re.findall(r"^\$ (.+)$", capsys.readouterr().out, re.M)
    assert len(printed) == 3
    assert [command for command in printed if f"\n{command}\n" not in (ROOT / "README.md").read_text()] == []


# --- the tutorial ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what else the fence says, its text."""

    language: str
    more: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w+) ?(.*?)\n(.*?)^```$", page.read_text(), re.M | re.S)]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if os.environ.get("HUB_DATABASE_URL"):
        pytest.skip("an existing server is used; the tutorial makes its own")
    for variable in [v for v in os.environ if v.startswith("HUB_")]:
        monkeypatch.delenv(variable)
    (ROOT / ".local").mkdir(exist_ok=True)
    # Not tmp_path: for root, PostgreSQL runs as a user who could not enter it.
    made = Path(tempfile.mkdtemp(prefix="tutorial-", dir=ROOT / ".local"))
    made.chmod(0o755)
    monkeypatch.chdir(made)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    yield made
    home = made / ".local" / "tutorial" / "pg"
    if (home / "data").exists():
        localdb.stop(localdb.Cluster(home, 0, ""), "immediate")
    shutil.rmtree(made)


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The status and output of one line of a shell. `hub …` runs in this process, which has paid for its imports already."""
    if line.startswith("export "):
        monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
        return 0, ""
    if not line.startswith("hub "):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    mine, _, rest = line.partition(" | ")
    status, out = run_hub(shlex.split(mine), monkeypatch)
    if rest and not status:
        done = subprocess.run(["bash", "-c", rest], input=out, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    return status, out


def run_hub(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", arguments)
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


@contextmanager
def serving(line: str, port: int) -> Iterator[None]:
    with open("serve.log", "wb") as log, subprocess.Popen(shlex.split(line), stdout=log, stderr=log) as server:
        try:
            assert any(ready(port) for _ in range(600) if server.poll() is None), Path("serve.log").read_text()
            yield
        finally:
            server.send_signal(signal.SIGINT)


def ready(port: int) -> bool:
    with suppress(OSError), build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)
    time.sleep(0.1)
    return False


def matches(expected: str, given: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return bool(re.fullmatch(pattern, "\n".join(line.rstrip() for line in given.strip().splitlines()), re.S))


def walk(page: str, port: int, monkeypatch: pytest.MonkeyPatch, servers: ExitStack) -> Iterator[tuple[str, str]]:
    """Follows a page in the current folder; gives what each block of commands should answer, and what it did."""
    said = ""
    for block in blocks(DOCS / page):
        text = block.text.replace("8001", str(port))
        if block.language == "text":
            yield text, said
        elif block.more.startswith("file="):
            Path(block.more.removeprefix("file=")).write_text(text)
        elif block.more == "serve":
            servers.enter_context(serving(text, port))
        elif block.more == "stop":
            servers.close()
        else:
            results = [run(line, monkeypatch) for line in text.splitlines()]
            said = "".join(out for _, out in results)
            assert (block.more == "fails") == any(status for status, _ in results), f"{text}\n{said}"


@pytest.mark.db
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("page", "least"),
    [("tutorial.md", 11), ("publish.md", 8), ("first-mou.md", 12), ("recovery.md", 11), ("verify.md", 3), ("witness.md", 6)],
)
def test_what_a_page_tells_to_do_works_as_printed(page: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ExitStack() as servers:
        answers = list(walk(page, port, monkeypatch, servers))
    assert len(answers) >= least
    for expected, said in answers:
        assert matches(expected.replace("8001", str(port)), said), said


def test_an_answer_that_differs_from_the_tutorial_is_noticed() -> None:
    assert matches("a …\nc", "a b  \nc\n")
    assert not matches("a …\nc", "a b\nd")
