"""Wires the hub: settings, databases, keys, flows, and the FastAPI application with its one error handler."""

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import sqlalchemy as sa
import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from hub import __version__
from hub.agreements.document import render
from hub.agreements.in_force import Agreements
from hub.agreements.lifecycle import Lifecycle, Render
from hub.agreements.party_keys import PartyKeys
from hub.agreements.recalls import Recalls
from hub.api import agreements, audit, collections, duties, health, imports, maps, match, oauth, openapi, problems, publish, shreds
from hub.api.services import Services, Shared
from hub.audit.failures import Failures
from hub.audit.leaf import By
from hub.audit.log import Log
from hub.crypto.keys import Keys, Proof
from hub.crypto.remote import RemoteKeys
from hub.datasets import DATASETS
from hub.db import Database, connect, read_secrets, risky_settings, transaction
from hub.errors import HubError, InvalidPolicy, Refused
from hub.identity import organisations
from hub.identity.attempts import Attempts
from hub.identity.directory import Directory
from hub.identity.passkeys import Passkeys
from hub.identity.server import TokenServer
from hub.identity.sessions import Sessions
from hub.identity.token_key import TokenKey
from hub.identity.tokens import AccessToken, Verifier
from hub.logs import RequestLog, configure
from hub.policy.mou import Mou
from hub.policy.purposes import read_purposes
from hub.settings import Settings, read_settings
from hub.setup import Addresses, addresses_of, keyd_socket
from hub.sharing.holds import Holds
from hub.sharing.imports import Imports
from hub.sharing.match import Matching
from hub.sharing.publish import Publisher, Publishing
from hub.sharing.query import Querying
from hub.sharing.replies import Replies
from hub.sharing.shared_maps import SharedMaps
from hub.sharing.shredding import Shredding
from hub.sharing.trace import Tracing
from hub.web import pages as web

_log = structlog.get_logger("hub.app")


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_database(settings: Settings, addresses: Addresses) -> Database:
    shared = read_secrets(settings.state_dir)
    return connect(addresses.main, shared, pool_size=settings.pool_size, timeout_s=settings.statement_timeout_s)


def _document(mou: Mou, names: Mapping[str, str]) -> bytes:
    return render(mou, names, DATASETS)


def registry(settings: Settings) -> Mapping[str, str] | None:
    """The purposes that agreements may name; None: any word.

    Raises:
        Refused: the file is no registry.
    """
    if settings.purposes_file is None:
        return None
    try:
        return read_purposes(settings.purposes_file.read_bytes())
    except InvalidPolicy as error:
        raise Refused(f"{settings.purposes_file}: {error.detail}") from None


def assemble(
    settings: Settings, addresses: Addresses, *, clock: Callable[[], datetime] = utc_now, document: Render = _document
) -> tuple[Services, Database]:
    """Everything the handlers call, and the database under it (to dispose of at the end)."""
    database = open_database(settings, addresses)
    keys = RemoteKeys(keyd_socket(settings))
    key = TokenKey.load_or_create(settings.state_dir / "token.pem")
    log = Log(database.auditor)
    shared = {}
    for name, dataset in DATASETS.items():
        publishing = Publishing(name, dataset, database.writer, keys, clock, uuid4)
        querying = Querying(name, dataset, database.reader, keys, database.secrets.context, settings.seal_ttl_s)
        matching = Matching(querying, keys)
        imported = Imports(publishing, database.writer, keys, clock, uuid4)
        tracing = Tracing(name, dataset, database.auditor)
        shared[name] = Shared(name, dataset, publishing, querying, imported, tracing, Shredding(publishing), Holds(publishing), matching)
    audience = f"{settings.base_url}/"
    called = Services(
        settings=settings,
        datasets=shared,
        log=log,
        failures=Failures(log),
        tokens=TokenServer(
            database.writer, key, settings.base_url, f"{settings.base_url}/oauth/token", audience, settings.token_ttl_s, clock
        ),
        token_key=key,
        verifier=Verifier(settings.base_url, audience, key.public),
        keys=keys,
        replies=Replies(database.writer, keys),
        sessions=Sessions(database.writer, database.secrets.context, clock),
        passkeys=Passkeys(database.writer, urlsplit(settings.base_url).hostname or "", settings.base_url, clock),
        attempts=Attempts(database.writer, database.secrets.context, clock),
        directory=Directory(database.writer),
        agreements=Agreements(database.reader, DATASETS),
        lifecycle=Lifecycle(database.agreements, DATASETS, document, clock, registry(settings)),
        party_keys=PartyKeys(database.agreements, clock),
        recalls=Recalls(database.agreements, {dataset.number: name for name, dataset in DATASETS.items()}, clock),
        maps=SharedMaps(database.writer),
        publisher=_publishers(database.writer),
        ready=_readiness(database, keys),
        clock=clock,
    )
    return called, database


def _publishers(engine: sa.Engine) -> Callable[[AccessToken, By], Publisher]:
    known: dict[str, Publisher] = {}

    def publisher(token: AccessToken, by: By) -> Publisher:
        slug = token.organisation
        if slug not in known:
            found = organisations.get(engine, slug)
            known[slug] = Publisher(found.id, found.uid, found.slug, By(), found.area)
        return replace(known[slug], by=by, proof=Proof(token.brought))

    return publisher


def _readiness(database: Database, keys: Keys) -> Callable[[], None]:
    def ready() -> None:
        with transaction(database.reader) as tx:
            tx.rows("select * from hub.admit('')")
        keys.check()

    return ready


CHORES_S = 5.0


def _repeat(chores: Callable[[], object], stopped: threading.Event) -> None:
    """Calls it every few seconds; what fails is told in the log of the process and tried again."""
    while not stopped.wait(CHORES_S):
        try:
            chores()
        except Exception as error:
            _log.error("chores failed", error=str(error), exc_info=not isinstance(error, HubError))


def application(called: Services, close: Callable[[], None], chores: Callable[[], object] = lambda: None) -> FastAPI:
    """The FastAPI application. While it runs, `chores` are done every few seconds; `close` is called when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        stopped = threading.Event()
        threading.Thread(target=_repeat, args=(chores, stopped), daemon=True).start()  # cut off with the process: nothing is lost
        yield
        stopped.set()
        with suppress(HubError):  # the database may be gone by now
            called.failures.flush(called.clock())
        called.keys.close()
        close()

    app = FastAPI(
        title="Concord", version=__version__, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.services = called
    app.add_middleware(problems.Defects)
    app.add_middleware(RequestLog)
    for module in (health, oauth, collections, maps, match, publish, imports, shreds, agreements, duties, audit, openapi):
        app.include_router(module.router())
    for router in web.routers():
        app.include_router(router)
    app.add_exception_handler(HubError, problems.of_hub_error)
    app.add_exception_handler(HTTPException, web.of_http_exception)
    return app


def create(settings: Settings, addresses: Addresses) -> FastAPI:
    """The application of a serving process.

    Raises:
        Refused: a key file or setting is doubtful.
    """
    called, database = assemble(settings, addresses)
    for setting in risky_settings(database.reader):
        _log.error("not durable", setting=setting, why="an acknowledged record could be lost in a crash of this database server")
    return application(called, database.dispose, lambda: housekeeping(called, database))


def housekeeping(called: Services, database: Database) -> None:
    """Goes on with activations, and destroys what is not to be kept any longer."""
    called.lifecycle.activation.resume(called.clock())
    for shared in called.datasets.values():
        while shared.shredding.due(lambda number: _provider(database.writer, number)):
            pass


def _provider(engine: sa.Engine, number: int) -> Publisher:
    """An organisation, for what the hub does in its name."""
    found = next(o for o in organisations.all_of(engine) if o.id == number)
    return Publisher(found.id, found.uid, found.slug, By(), found.area)


def serving() -> FastAPI:
    """What each serving process runs (an import string for uvicorn): settings from the environment, databases already migrated."""
    settings = read_settings()
    configure(settings.log_level)
    return create(settings, addresses_of(settings))
