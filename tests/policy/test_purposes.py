"""The registry of purposes: what agreements of a hub may name."""

from pathlib import Path

import pytest

from hub.agreements.files import check
from hub.agreements.lifecycle import Lifecycle
from hub.agreements.store import Actor
from hub.audit.leaf import By
from hub.datasets import DATASETS
from hub.errors import InvalidPolicy, Refused
from hub.policy.purposes import read_purposes
from hub.settings import Settings
from hub.setup import registry
from tests.conftest import ROOT
from tests.policy.spoiling import GOOD, edited, write
from tests.signing import OPERATOR
from tests.world import World

SHIPPED = ROOT / "policies" / "purposes.yaml"
KNOWN = {"public-health.outreach": "Finding people", "research": "Research"}
WRONG = {
    "": "purposes: ",
    "purposes: {}": "at least 1",
    "purposes: [research]": "purposes",
    "purposes: {Research: x}": "pattern",
    "purposes: {research: 7}": "purposes.research",
    "purposes: {research: x, research: y}": "research",
    "purpose: {research: x}": "purpose",
}


def test_the_shipped_registry_says_what_each_purpose_means() -> None:
    found = read_purposes(SHIPPED.read_bytes())
    assert len(found) >= 10
    assert all(len(text.split()) > 1 for text in found.values())


@pytest.mark.parametrize("path", sorted((ROOT / "policies" / "demo").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_demos_agreements_name_registered_purposes(path: Path) -> None:
    check(path, DATASETS, purposes=read_purposes(SHIPPED.read_bytes()))


def test_a_purpose_that_is_not_registered_is_an_error_with_its_place(folder: Path) -> None:
    path = write(folder, edited(("purposes: [research]", "purposes: [research, public-health.outreech]")))
    check(path, DATASETS)
    with pytest.raises(InvalidPolicy) as caught:
        check(path, DATASETS, purposes=KNOWN)
    (problem,) = caught.value.problems
    assert problem.field == "grants[0].purposes[1]"
    assert problem.reason.startswith("'public-health.outreech' is not a purpose of this hub (did you mean 'public-health.outreach'?)")
    assert "(line 13, column 24)" in problem.reason


def test_a_hub_with_a_registry_keeps_no_draft_that_names_another_purpose(hub: World, folder: Path) -> None:
    strict = Lifecycle(hub.database.agreements, DATASETS, lambda mou, _: mou.source, hub.clock, KNOWN)
    path = write(folder, GOOD.replace("MOU-GOOD", "MOU-PURPOSES"))
    content = (folder / "boundaries" / "harbour.geojson").read_bytes()
    strict.keep_boundary(Actor("police", By(client="test")), check(path, DATASETS)[0].jurisdictions["harbour"].sha256, content)
    with pytest.raises(InvalidPolicy, match="not a purpose of this hub"):
        strict.draft(OPERATOR, path.read_bytes().replace(b"[research]", b"[marketing]"))


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_no_registry_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "purposes.yaml").write_text(text)
    with pytest.raises(Refused, match=r"purposes\.yaml: ") as caught:
        registry(Settings(purposes_file=tmp_path / "purposes.yaml"))
    assert WRONG[text].rstrip(": ") in str(caught.value)


def test_without_a_registry_any_word_will_do() -> None:
    assert registry(Settings()) is None
