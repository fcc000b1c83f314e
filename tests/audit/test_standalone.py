"""`hub-verify` and a witness run with what the distribution itself requires, without anything that only a server needs."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.audit.bundles import made, play, trusted_text
from tests.conftest import ROOT
from tests.world import World

PROGRAM = """
import sys

class Only:
    '''Refuses every module of a distribution that isn't required.'''

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ImportError(f"{name} is only for a server")

REFUSED = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Only())
"""
VERIFY = PROGRAM + "from hub.verifier import main\nmain()"
WITNESS = PROGRAM + "import hub.witness.__main__, hub.witness.commands, hub.witness.watching"


def refused_modules() -> str:
    """Top-level modules of every distribution that is installed here and that the base doesn't need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed: set[str] = set()
    left = [Requirement(text) for text in project["dependencies"]]
    while left:
        name = canonicalize_name((one := left.pop()).name)
        if name not in needed:
            needed.add(name)
            own = [Requirement(text) for text in requires(name) or ()]
            left += [r for r in own if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in one.extras or {""})]
    modules = {name: {canonicalize_name(d) for d in names} for name, names in packages_distributions().items()}
    return ",".join(sorted(name for name, names in modules.items() if name.isidentifier() and name != "hub" and not names & needed))


def run(program: str, refused: str, *more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, refused, *map(str, more)], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def refused() -> str:
    found = refused_modules()
    assert {"fastapi", "sqlalchemy", "psycopg2", "shapely", "pyroaring", "folium"} <= set(found.split(","))
    return found


def test_a_bundle_verifies_without_what_a_server_needs(world: World, tmp_path: Path, refused: str) -> None:
    play(world, tmp_path)
    trust, bundle = tmp_path / "trust.json", tmp_path / "bundle.zip"
    trust.write_text(trusted_text(world))
    bundle.write_bytes(made(world))
    ran = run(VERIFY, refused, bundle, "--keys", trust, "--all", "--pin")
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    assert "VERIFIED: everything holds." in ran.stdout
    again = run(VERIFY, refused, bundle, "--keys", trust, "--owner", "police", "--owner", "nobody")
    assert again.returncode == 3
    assert "WRONG: The bundle does not have the complete list of nobody, which was asked for." in again.stdout
    assert "No checkpoint was pinned" not in again.stdout
    for damaged in (b"", bundle.read_bytes()[:1000]):
        (tmp_path / "damaged.zip").write_bytes(damaged)
        ran = run(VERIFY, refused, tmp_path / "damaged.zip", "--keys", trust)
        assert ran.returncode == 1
        assert ran.stderr.startswith("hub-verify: The bundle ")
    assert run(VERIFY, refused, bundle, "--keys", tmp_path / "none.json").returncode == 1
    assert run(VERIFY, refused, bundle).returncode == 2


def test_a_witness_starts_without_what_a_server_needs(refused: str) -> None:
    ran = run(WITNESS, refused)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_program_that_needs_a_server_is_found_out(refused: str) -> None:
    """The control."""
    ran = run(PROGRAM + "import hub.audit.export", refused)
    assert ran.returncode == 1
    assert "is only for a server" in ran.stderr
