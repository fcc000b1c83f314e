"""The demo's organisations, clients and people: set up once, called by what they are, each with a link that works once."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.demo.partners import PARTNERS, PEOPLE, links, profile_client, set_up
from hub.demo.tour import tell
from hub.errors import Refused
from hub.identity import organisations, people, tickets
from hub.settings import Settings
from tests.world import World


@pytest.fixture(scope="module")
def settings(world: World, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    found = Settings(state_dir=tmp_path_factory.mktemp("state"), base_url="http://localhost:8000")
    set_up(world.database, found)
    return found


def test_set_up_again_changes_nothing(world: World, settings: Settings) -> None:
    def there() -> object:
        files = {path.name: path.read_bytes() for path in (settings.state_dir / "profiles").iterdir()}
        return files, organisations.all_of(world.database.writer), people.all_of(world.database.writer, None)

    before = there()
    set_up(world.database, settings)
    assert there() == before


def test_every_name_says_that_it_is_a_demos_and_is_no_persons(world: World, settings: Settings) -> None:
    assert all(partner.name.startswith("Demo ") and partner.slug.endswith("-demo") for partner in PARTNERS)
    names = {partner.slug: partner.name for partner in PARTNERS}
    for role in PEOPLE:
        assert role.name == f"{role.role.capitalize().replace('-', ' ')}, {names[role.organisation]}"


def test_there_are_two_police_a_health_a_housing_a_neighbourhood_partner_and_an_auditor(world: World, settings: Settings) -> None:
    assert {partner.profile for partner in PARTNERS} == {"police", "west-yorkshire", "health", "housing", "neighbours", "auditor"}
    assert [o.slug for o in organisations.all_of(world.database.writer) if o.kind == "auditor"] == ["auditor-demo"]


def test_every_role_has_somebody(world: World, settings: Settings) -> None:
    assert {role.role for role in PEOPLE} == set(people.ROLES)


def test_a_link_signs_in_once(world: World, settings: Settings) -> None:
    given = links(world.database, settings)
    assert given.keys() == {role.handle for role in PEOPLE}
    for handle, address in given.items():
        base, _, token = address.rpartition("/")
        assert base == "http://localhost:8000/enter"
        used = [tickets.use(world.database.writer, token, "link", datetime.now(UTC)) for _ in range(2)]
        assert [person and person.handle for person in used] == [handle, None]


def test_the_tour_names_each_person_with_the_link(world: World, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    given = links(world.database, settings)
    tell(settings, given)
    printed = capsys.readouterr().out
    for role in PEOPLE:
        assert any(role.name in line and given[role.handle] in line for line in printed.splitlines()), role
    assert f"{settings.base_url}/map" in printed
    assert "synthetic" in printed


@pytest.mark.parametrize("text", ["", "{}", '{"base_url": "http://localhost", "client_id": "a", "key": "none.pem", "purpose": null}', "[]"])
def test_a_profile_that_can_not_be_used_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    for name in ("nobody", str(tmp_path / "bad.json")):
        with pytest.raises(Refused, match="can't be used"):
            profile_client(name, tmp_path)
