"""A hub to test against: real databases, real keys, the real application, and partners with keys of their own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from starlette.testclient import TestClient

from hub import db
from hub.api.services import Services, reader_of
from hub.app import application, assemble
from hub.audit.leaf import By
from hub.identity import clients, organisations
from hub.identity.client_auth import ASSERTION_TYPE
from hub.policy.mou import Mou
from hub.private_file import write_new
from hub.settings import Settings
from hub.setup import Addresses, prepare
from hub.sharing.reader import Reader
from hub.workers.ending import utc_now
from hub.workers.keyd import Keyd
from hub.workers.sequencing import Sequencing
from tests import assertion
from tests.signing import Clock, Loaded, Signing
from tests.written import yaml_of

BASE = "http://127.0.0.1:8000"


@dataclass
class World:
    """One hub and its partners."""

    settings: Settings
    addresses: Addresses
    services: Services
    database: db.Database
    keyd: Keyd
    sequencing: Sequencing
    http: TestClient
    clock: Clock
    keys: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[tuple[str, str | None], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signing = Signing(self.services.lifecycle, self.services.party_keys, self.clock)

    def organisation(
        self, slug: str, kind: str = "partner", scopes: Sequence[str] = ("publish", "query", "audit")
    ) -> organisations.Organisation:
        """An organisation with one client of the same name."""
        found = organisations.add(self.database.writer, slug, slug.capitalize(), kind)
        key = ec.generate_private_key(ec.SECP256R1())
        self.keys[slug] = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        clients.add(self.database.writer, slug, slug, public, scopes)
        return found

    def token_response(self, client: str, purpose: str | None = None, scope: str | None = None, case: str | None = None) -> Any:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion.make(self.keys[client], client, BASE, self.clock()),
        }
        form |= {"purpose": purpose} if purpose else {}
        form |= {"scope": scope} if scope else {}
        form |= {"case": case} if case else {}
        return self.http.post("/oauth/token", data=form)

    def bearer(self, client: str, purpose: str | None = None) -> dict[str, str]:
        """An Authorization header; without a purpose one that can publish and audit, not query."""
        key = (client, purpose)
        if key not in self.tokens:
            answer = self.token_response(client, purpose, None if purpose else "publish audit")
            assert answer.status_code == 200, answer.text
            self.tokens[key] = answer.json()["access_token"]
        return {"Authorization": f"Bearer {self.tokens[key]}"}

    def reader(self, client: str, purpose: str, case: str | None = None) -> Reader:
        """Who reads, as the flow is told: with a token of its own."""
        answer = self.token_response(client, purpose, case=case)
        assert answer.status_code == 200, answer.text
        token = self.services.verifier.verify(f"Bearer {answer.json()['access_token']}", self.clock())
        return reader_of(token, By(token.organisation, token.client_id, token.session))

    def bearer_for(self, client: str, scope: str) -> dict[str, str]:
        """An Authorization header with this scope alone."""
        key = (client, f"scope {scope}")
        if key not in self.tokens:
            answer = self.token_response(client, None, scope)
            assert answer.status_code == 200, answer.text
            self.tokens[key] = answer.json()["access_token"]
        return {"Authorization": f"Bearer {self.tokens[key]}"}

    def publish(self, client: str, *features: Mapping[str, Any]) -> Any:
        body = {"type": "FeatureCollection", "features": list(features)}
        return self.http.post(
            "/collections/incidents/items", json=body, headers=self.bearer(client) | {"Content-Type": "application/geo+json"}
        )

    def get(self, client: str, purpose: str, path: str, **params: Any) -> Any:
        return self.http.get(path, params=params, headers=self.bearer(client, purpose))

    def items(self, client: str, purpose: str, **params: Any) -> list[dict[str, Any]]:
        """Every feature a reader gets, following `next`."""
        found: list[dict[str, Any]] = []
        answer = self.get(client, purpose, "/collections/incidents/items", **({"limit": 1000} | params))
        while True:
            assert answer.status_code == 200, answer.text
            found += answer.json()["features"]
            following = [link["href"] for link in answer.json()["links"] if link["rel"] == "next"]
            if not following:
                return found
            answer = self.http.get(following[0].removeprefix(BASE), headers=self.bearer(client, purpose))

    def mou(self, folder: Path, name: str, provider: str, consumer: str, grants: Sequence[Mapping[str, Any]], **more: Any) -> Loaded:
        """Writes an MOU file and loads it."""
        path = folder / f"{name}-{uuid4().hex[:6]}.yaml"
        path.write_bytes(yaml_of(mou_data(name, provider, consumer, grants, **more)))
        return self.load(path)

    def load(self, path: Path) -> Loaded:
        """Brings an MOU file into force, signed by both parties (tests/signing.py)."""
        return self.signing.load(path)

    def leaves(self, **conditions: Any) -> list[dict[str, Any]]:
        """Parsed leaves, oldest first."""
        from hub.audit.log import Search

        return [entry.body for entry in reversed(self.services.log.find(Search(limit=10_000, **conditions)))]

    @cached_property
    def administrator(self) -> sa.Engine:
        """The superuser's, with a connection that stays: for what is asked very often."""
        return sa.create_engine(self.addresses.main, pool_size=1)

    @contextmanager
    def superuser(self) -> Iterator[sa.Connection]:
        engine = sa.create_engine(self.addresses.main, poolclass=sa.NullPool)
        with engine.begin() as connection:
            yield connection
        engine.dispose()


def mou_data(name: str, provider: str, consumer: str, grants: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "mou": name,
        "version": 1,
        "title": "A test",
        "parties": {"provider": provider, "consumer": consumer},
        "in_force": {"from": datetime(2020, 1, 1).date(), "until": datetime(2099, 12, 31).date()},
        "review_by": datetime(2030, 1, 1).date(),
        "legal_basis": "None; this is a test",
        "grants": list(grants),
    } | more


def grant(identifier: str = "all", purposes: Sequence[str] = ("research",), where: Any = "everything", **more: Any) -> dict[str, Any]:
    return {
        "id": identifier,
        "dataset": "incidents",
        "purposes": list(purposes),
        "actions": ["query"],
        "where": where,
        "fields": {"category": "clear", "occurred_at": "clear", "place": {"grid_m": 500}},
    } | more


def feature(external_id: str, lon: float = -79.38, lat: float = 43.65, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": {"external_id": external_id, "category": "theft", "occurred_at": "2021-03-04T13:37:11Z"} | properties,
    }


def _short_document(mou: Mou, names: Mapping[str, str]) -> bytes:
    """Stands for the PDF, which takes a third of a second."""
    return f"{mou.mou} {mou.version} {mou.sha256} {sorted(names)}".encode()


@contextmanager
def build(main: sa.URL, keys: sa.URL, state: Path, log: Path | None = None, **more: Any) -> Iterator[World]:
    """A hub over migrated databases at the administrator's addresses. `log`: the sequencer's folder, where it is to stay."""
    with socket_folder() as folder:
        apart = {"keyd_socket": folder / "keyd.sock", "log_dir": log or folder / "log"}
        settings = Settings(state_dir=state, pool_size=4, log_level="error", **apart, **more)
        addresses, clock = Addresses(main, keys), Clock()
        if log is None:
            log_files(state, folder / "log")
        prepare(settings, addresses)
        with keyd(settings, addresses, clock) as held, sequencing(settings, addresses) as working:
            services, database = assemble(settings, addresses, clock=clock, document=_short_document)
            with TestClient(application(services, database.dispose), base_url=BASE, raise_server_exceptions=False) as http:
                yield World(settings, addresses, services, database, held, working, http, clock)


def log_files(state: Path, folder: Path) -> None:
    """A sequencer's folder for one hub: what was last signed is of one database; roles are of the whole server, and hubs that share a state
    folder share the public key of their log.
    """
    folder.mkdir(mode=0o700)
    for name in ("roles.key", "log.key"):
        write_new(folder / name, db.secret_file(state / "log" / name))


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with TemporaryDirectory(prefix="hub", dir="/tmp") as folder:  # its name is not to be guessed
        yield Path(folder)


@contextmanager
def sequencing(settings: Settings, addresses: Addresses) -> Iterator[Sequencing]:
    """The sequencer, in a thread of this process."""
    working = Sequencing(settings, addresses)
    working.start()
    try:
        yield working
    finally:
        working.close()


@contextmanager
def keyd(settings: Settings, addresses: Addresses, clock: Callable[[], datetime] = utc_now) -> Iterator[Keyd]:
    """The key process, in threads of this one, over its real socket."""
    held = Keyd(settings, addresses, clock)
    held.start()
    try:
        yield held
    finally:
        held.close()
