"""The demo's agreements give to each organisation what was worked out without them: a sample of the rows through the real API."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hub.demo.boundaries import POLICIES
from hub.demo.partners import PARTNERS
from hub.demo.sources import SOURCES, Source
from hub.demo.synthetic import export
from hub.identity.client_auth import ASSERTION_TYPE
from tests import assertion
from tests.demo import oracle, whole
from tests.demo.oracle import SHARES, Share, Shown
from tests.imports.sending import run
from tests.world import BASE, World

pytestmark = pytest.mark.unmeasured

EVERY = 97  # rows; a prime, so that no pattern of the file is followed
REFUSED = 20  # rows that must be refused, besides
FILES = sorted(POLICIES.glob("*.yaml"))


def sample(source: Source, packages: Path) -> list[dict[str, str]]:
    rows = list(source.read(packages))
    assert len(rows) == source.rows
    wrong = islice((row for row in rows if oracle.happened(source, row) is None), REFUSED)
    return [*rows[::EVERY], *wrong]


@pytest.fixture(scope="module")
def samples(packages: Path) -> dict[Source, list[dict[str, str]]]:
    return {source: sample(source, packages) for source in SOURCES}


@pytest.fixture(scope="module")
def incidents(samples: dict[Source, list[dict[str, str]]]) -> list[oracle.Happened]:
    found = (oracle.happened(source, row) for source, rows in samples.items() for row in rows)
    return [incident for incident in found if incident is not None]


@pytest.fixture(scope="module")
def demo(world: World, samples: dict[Source, list[dict[str, str]]]) -> World:
    for partner in PARTNERS:
        world.organisation(partner.slug, partner.kind, ["audit"] if partner.kind == "auditor" else ["publish", "query", "audit"])
    for path in FILES:
        world.load(path)
    for source, rows in samples.items():
        mapping = YAML(typ="safe", pure=True).load(source.mapping.read_text())
        job = run(world, b"".join(export(source, rows)), mapping, client=source.organisation)
        kept = sum(oracle.happened(source, row) is not None for row in rows)
        assert (job["state"], job["rows"], job["landed"], job["refused"]) == ("done", len(rows), kept, len(rows) - kept)
        assert job["refused"] >= REFUSED
    return world


CASE = "DEMO-2026-1"


def token(demo: World, share: Share, case: str | None) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion.make(demo.keys[share.reader], share.reader, BASE, demo.clock()),
        "scope": "query",
        "purpose": share.purpose,
    }
    answer = demo.http.post("/oauth/token", data=form | ({"case": case} if case else {}))
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["access_token"]
    return found


def asked(demo: World, share: Share) -> list[dict[str, Any]]:
    """Every feature the organisation gets for that purpose, with a case where the agreement wants one."""
    headers = {"Authorization": f"Bearer {token(demo, share, CASE if share.case else None)}"}
    address, found = "/collections/incidents/items?limit=1000", []
    while address:
        answer = demo.http.get(address, headers=headers)
        assert answer.status_code == 200, answer.text
        found += answer.json()["features"]
        address = next((link["href"].removeprefix(BASE) for link in answer.json()["links"] if link["rel"] == "next"), "")
    return found


def seen(features: list[dict[str, Any]]) -> Counter[Shown]:
    return Counter(
        (f["properties"]["category"], *f["geometry"]["coordinates"], datetime.fromisoformat(f["properties"]["occurred_at"]))
        for f in features
    )


@pytest.mark.parametrize("share", SHARES, ids=lambda share: share.name)
def test_an_organisation_sees_exactly_what_the_agreement_says(demo: World, incidents: list[oracle.Happened], share: Share) -> None:
    expected = oracle.shown(share, incidents, demo.clock())
    assert expected.total() >= 10, "the sample shows nothing of this agreement"
    features = asked(demo, share)
    assert seen(features) == expected
    assert {f["properties"]["provider"] for f in features} == {share.provider.organisation}
    if share.grid_m:
        assert {f["properties"]["place_grid_m"] for f in features} == {share.grid_m}


def test_an_expectation_that_is_a_little_wrong_is_noticed(demo: World, incidents: list[oracle.Happened]) -> None:
    """Control: each part of an agreement matters to the comparison."""
    share = SHARES[0]
    wrong: list[dict[str, Any]] = [
        {"categories": share.categories[1:]},
        {"area": "downtown-east"},
        {"grid_m": 100},
        {"step": oracle.DAY},
        {"lookback": oracle.DAY * 2500},
        {"provider": SOURCES[1]},
    ]
    features = seen(asked(demo, share))
    for part in wrong:
        assert oracle.shown(replace(share, **part), incidents, demo.clock()) != features, part


def test_the_expectations_are_about_the_agreements_there_are() -> None:
    said: dict[str, Share] = {share.mou: share for share in SHARES}
    for path in FILES:
        mou = YAML(typ="safe", pure=True).load(path.read_text())
        share = said.pop(mou["mou"])
        (grant,) = mou["grants"]
        assert path.stem == mou["mou"]
        assert mou["parties"] == {"provider": share.provider.organisation, "consumer": share.reader}
        assert (grant["purposes"], tuple(grant["actions"])) == ([share.purpose], share.actions)
        assert (grant.get("case_reference") == "required") == share.case
        assert "demonstration" in mou["title"]
        assert "demonstration" in mou["legal_basis"]
    assert not said


def test_the_agreements_differ_in_precision_kinds_area_purpose_and_window() -> None:
    assert {share.grid_m for share in SHARES} == {None, 100, 500, 2000}
    for part in ("categories", "area", "purpose", "lookback", "embargo"):
        assert len({getattr(share, part) for share in SHARES}) >= 3, part


def test_no_organisation_sees_a_sealed_field_that_its_agreement_does_not_name(demo: World) -> None:
    sealed = {"title", "narrative", "address", "people", "phone", "vehicles", "extra"}
    for share in SHARES:
        mou = YAML(typ="safe", pure=True).load((POLICIES / f"{share.mou}.yaml").read_text())
        granted = sealed & mou["grants"][0]["fields"].keys()
        features = asked(demo, share)
        assert {name for f in features for name in f["properties"]} & sealed == granted
        assert granted != sealed


def test_the_golden_counts_are_what_the_whole_data_come_to(packages: Path) -> None:
    """`make soak ONLY=demo` compares what the running demo gives with the same expectations."""
    assert whole.counts(packages) == whole.golden()


@pytest.mark.parametrize("share", [share for share in SHARES if share.case], ids=lambda share: share.name)
def test_an_exact_place_is_shown_for_a_case_only(demo: World, share: Share) -> None:
    """Control: with a case, see above, the same organisation gets what the agreement says."""
    headers = {"Authorization": f"Bearer {token(demo, share, None)}"}
    answer = demo.http.get("/collections/incidents/items", headers=headers)
    assert answer.status_code == 403
    assert "case" in answer.json()["detail"]
