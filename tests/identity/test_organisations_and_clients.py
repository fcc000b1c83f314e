"""Registering organisations and their clients: clear refusals, no half-made entries."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from hub.errors import Conflict, HubError, InvalidRequest, Unavailable
from hub.identity import clients, organisations
from hub.identity.organisations import Organisation

from .forgery import NOW, Partner, PrivateKey, private_pem, public_pem

pytestmark = pytest.mark.db


def field_of(call: Callable[[], Any], kind: type[HubError] = InvalidRequest) -> str:
    with pytest.raises(kind) as refused:
        call()
    return refused.value.problems[0].field


def test_an_organisation_is_found_by_its_slug(writer: Engine) -> None:
    added = organisations.add(writer, "cityport-police", "Cityport Police — Östra", "partner")
    auditor = organisations.add(writer, "oversight", "Oversight Board", "auditor")
    assert organisations.get(writer, "cityport-police") == added
    assert auditor.kind == "auditor"
    assert {added, auditor} <= set(organisations.all_of(writer))
    assert [o.slug for o in organisations.all_of(writer)] == sorted(o.slug for o in organisations.all_of(writer))


def test_a_slug_belongs_to_one_organisation(writer: Engine, organisation: Organisation) -> None:
    assert field_of(lambda: organisations.add(writer, organisation.slug, "Another"), Conflict) == "slug"
    assert organisations.get(writer, organisation.slug).name == "Harbour Health"


@pytest.mark.parametrize("slug", ["", "a", "-a", "A1", "a_b", "a b", "é1", "a" * 64, "ab\n", "a\x00", "ab\ud800"])
def test_a_bad_slug_is_refused_by_name(writer: Engine, slug: str) -> None:
    assert field_of(lambda: organisations.add(writer, slug, "Name")) == "slug"
    assert field_of(lambda: organisations.get(writer, slug)) == "organisation"


@pytest.mark.parametrize("slug", ["a1", "a-", "0" * 63])
def test_a_slug_at_the_edge_is_accepted_here_and_by_the_database(writer: Engine, slug: str) -> None:
    assert organisations.add(writer, slug, "Name").slug == slug


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "two\nlines", "x" * 201, "\ud800"])
def test_a_bad_name_is_refused_by_name(writer: Engine, name: str) -> None:
    assert field_of(lambda: organisations.add(writer, "some-slug", name)) == "name"


def test_an_unknown_kind_or_organisation_is_refused_by_name(writer: Engine) -> None:
    assert field_of(lambda: organisations.add(writer, "some-slug", "Name", "owner")) == "kind"
    assert field_of(lambda: organisations.get(writer, "nobody-here")) == "organisation"


def test_a_client_is_found_with_its_organisation(writer: Engine, partner: Partner) -> None:
    assert clients.get(writer, partner.client.client_id) == partner.client
    assert partner.client.scopes == {"publish", "query"}


def test_a_client_id_belongs_to_one_client(writer: Engine, partner: Partner, organisation: Organisation) -> None:
    def again() -> object:
        return clients.add(writer, organisation.slug, partner.client.client_id, public_pem(partner.key), {"audit"})

    assert field_of(again, Conflict) == "client_id"
    assert clients.get(writer, partner.client.client_id).scopes == {"publish", "query"}


@pytest.mark.parametrize("client_id", ["", "a", "UPPER", ".dot", "a" * 64, "a b", "ab\n", "a\x00b", "ab\ud800"])
def test_a_bad_client_id_is_refused_by_name(writer: Engine, organisation: Organisation, client_id: str) -> None:
    assert field_of(lambda: clients.add(writer, organisation.slug, client_id, "", {"query"})) == "client_id"
    assert field_of(lambda: clients.get(writer, client_id)) == "client_id"
    assert field_of(lambda: clients.disable(writer, client_id, NOW)) == "client_id"
    assert clients.find(writer, client_id) is None


@pytest.mark.parametrize("scopes", [set(), {"query", "admin"}, {"QUERY"}])
def test_bad_scopes_are_refused_by_name(writer: Engine, organisation: Organisation, scopes: set[str]) -> None:
    assert field_of(lambda: clients.add(writer, organisation.slug, "a-client", "", scopes)) == "scopes"


def test_registering_a_private_key_leaves_nothing_behind(
    writer: Engine, organisation: Organisation, private_keys: dict[str, PrivateKey]
) -> None:
    for key in private_keys.values():
        pem = private_pem(key)
        assert field_of(lambda: clients.add(writer, organisation.slug, "leaky", pem, {"query"})) == "public_key"  # noqa: B023
    assert clients.find(writer, "leaky") is None


def test_a_client_of_an_unknown_organisation_is_refused_by_name(writer: Engine, private_keys: dict[str, PrivateKey]) -> None:
    pem = public_pem(private_keys["ES256"])
    assert field_of(lambda: clients.add(writer, "nobody-here", "a-client", pem, {"query"})) == "organisation"


def test_the_stored_key_is_public(writer: Engine, partner: Partner) -> None:
    with writer.connect() as connection:
        stored = connection.scalar(sa.text("select jwk::text from hub.clients where client_id = :c"), {"c": partner.client.client_id})
    assert set(json.loads(stored)) == {"kty", "crv", "x", "y", "kid"}


def test_disabling_again_later_does_not_give_time_back(writer: Engine, partner: Partner) -> None:
    client_id = partner.client.client_id
    clients.disable(writer, client_id, NOW)
    clients.disable(writer, client_id, NOW + timedelta(days=1))
    assert clients.get(writer, client_id).disabled_at == NOW
    clients.disable(writer, client_id, NOW - timedelta(days=1))
    assert clients.get(writer, client_id).disabled_at == NOW - timedelta(days=1)


def test_disabling_an_unknown_client_is_refused(writer: Engine) -> None:
    assert field_of(lambda: clients.disable(writer, "no-such-client", NOW)) == "client_id"


def test_a_database_that_is_down_is_said_to_be_unavailable() -> None:
    nowhere = sa.create_engine("postgresql+psycopg2://hub@127.0.0.1:1/hub")
    with pytest.raises(Unavailable):
        organisations.get(nowhere, "harbour-health")
