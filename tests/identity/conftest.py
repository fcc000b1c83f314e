"""Registered partners, a token server, and a clock."""

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hub import db
from hub.identity import clients, organisations, people
from hub.identity.client_auth import ASSERTION_TYPE
from hub.identity.people import Person
from hub.identity.server import Issued, TokenServer
from hub.identity.tokens import TokenKey

from .forgery import AUDIENCE, ISSUER, NOW, PURPOSE, TOKEN_ENDPOINT, Partner, PrivateKey, public_pem


class Clock:
    """The hub's clock, in a test's hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def private_keys() -> dict[str, PrivateKey]:
    """One key for each algorithm that clients may sign with."""
    return {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "PS256": rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    }


@pytest.fixture(scope="session")
def token_key() -> TokenKey:
    return TokenKey.generate()


@pytest.fixture(scope="session")
def writer(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path) -> Iterator[sa.Engine]:
    """A migrated database, as the role the hub writes with."""
    main, _ = databases()
    database = db.connect(main, db.read_secrets(state))
    yield database.writer
    database.dispose()


@pytest.fixture
def organisation(writer: sa.Engine) -> organisations.Organisation:
    """A fresh one for each test: what one test leaves is nobody else's."""
    return organisations.add(writer, f"harbour-{secrets.token_hex(6)}", "Harbour Health")


@pytest.fixture
def register(writer: sa.Engine, organisation: organisations.Organisation, private_keys: dict[str, PrivateKey]) -> Callable[..., Partner]:
    """Registers a client of `organisation`; by default one with an ES256 key and the scopes publish and query."""

    def registered(algorithm: str = "ES256", *scopes: str) -> Partner:
        key = private_keys[algorithm]
        client_id = f"client-{secrets.token_hex(6)}"
        wanted = scopes or ("publish", "query")
        client = clients.add(writer, organisation.slug, client_id, public_pem(key), wanted)
        return Partner(client, key, algorithm)

    return registered


@pytest.fixture
def partner(register: Callable[..., Partner]) -> Partner:
    return register()


@pytest.fixture
def person(writer: sa.Engine, organisation: organisations.Organisation) -> Person:
    """An analyst of `organisation`."""
    return people.add(writer, organisation.slug, f"analyst.{secrets.token_hex(6)}@health.example", "Analyst, Harbour Health", ["analyst"])


@pytest.fixture
def other(writer: sa.Engine, organisation: organisations.Organisation) -> Person:
    """Somebody else of `organisation`."""
    return people.add(writer, organisation.slug, f"lead.{secrets.token_hex(6)}", "Lead, Harbour Health", ["agreement-lead", "auditor"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(writer: sa.Engine, token_key: TokenKey, clock: Clock) -> TokenServer:
    return TokenServer(writer, token_key, ISSUER, TOKEN_ENDPOINT, AUDIENCE, 300, clock)


@pytest.fixture
def ask(server: TokenServer) -> Callable[..., Issued]:
    """Asks for a token with an assertion; other parameters as given, None leaves one out."""

    def asked(assertion: str, **parameters: str | None) -> Issued:
        good = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "purpose": PURPOSE}
        form = {**good, "client_assertion": assertion, **parameters}
        return server.issue({k: v for k, v in form.items() if v is not None}, {}, "127.0.0.1")

    return asked
