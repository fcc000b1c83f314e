"""Wires the hub: settings, databases, keys, flows, and the FastAPI application with its one error handler."""

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID, uuid4

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
from hub.api import (
    agreements,
    audit,
    audit_files,
    collections,
    duties,
    flags,
    health,
    imports,
    log,
    maps,
    match,
    oauth,
    openapi,
    problems,
    publish,
    reviews,
    shreds,
)
from hub.api.services import Services, Shared
from hub.audit.failures import Failures
from hub.audit.flagged import Flags
from hub.audit.flagging import Flagging
from hub.audit.flags import Limits
from hub.audit.leaf import By
from hub.audit.log import Log
from hub.audit.reviews import Reviews
from hub.audit.saved import SavedSearches
from hub.crypto.keys import Keys, Proof
from hub.crypto.remote import RemoteKeys
from hub.datasets import DATASETS
from hub.db import Database, risky_settings, transaction
from hub.errors import HubError
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
from hub.settings import Settings, read_settings
from hub.setup import Addresses, addresses_of, keyd_socket, open_database, published, registry
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
ROUTED = (  # modules of the API, in the order in which a path is looked for
    *(health, oauth, collections, maps, match, publish, imports, shreds, agreements, duties),
    *(audit, audit_files, flags, reviews, log, openapi),
)


def utc_now() -> datetime:
    return datetime.now(UTC)


def _document(mou: Mou, names: Mapping[str, str]) -> bytes:
    return render(mou, names, DATASETS)


def assemble(
    settings: Settings, addresses: Addresses, *, clock: Callable[[], datetime] = utc_now, document: Render = _document
) -> tuple[Services, Database]:
    """Everything the handlers call, and the database under it (to dispose of at the end)."""
    database = open_database(settings, addresses)
    keys = RemoteKeys(keyd_socket(settings))
    key = TokenKey.load_or_create(settings.state_dir / "token.pem")
    recorded = Log(database.auditor, keys.sign)
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
        log=recorded,
        published=published(settings, database),
        flags=Flags(database.auditor),
        reviews=Reviews(database.auditor, clock),
        failures=Failures(recorded),
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
        searches=SavedSearches(database.writer),
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
WATCHED = 20  # batches of leaves looked at in one go: other chores wait meanwhile


def _repeat(chores: Callable[[], object], stopped: threading.Event) -> None:
    """Calls it every few seconds; what fails is told in the log of the process and tried again."""
    while not stopped.wait(CHORES_S):
        try:
            chores()
        except Exception as error:
            told = {"error": error.detail} if isinstance(error, HubError) else {"exc_info": True}
            _log.error("chores failed", **told)


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
    for module in ROUTED:
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
    """Goes on with activations, destroys what is not to be kept any longer, looks at new leaves of the log, and opens access reviews."""
    called.lifecycle.activation.resume(called.clock())
    for shared in called.datasets.values():
        left: set[UUID] = set()
        while shared.shredding.due(lambda number: _provider(database.writer, number), left):
            pass
    flagging = flagging_of(called.settings, database)
    for _ in range(WATCHED):
        if not flagging.step(called.clock()):
            break
    called.reviews.open_due(flagging.reached)


def flagging_of(settings: Settings, database: Database) -> Flagging:
    """What looks at new leaves, within the limits of the settings."""
    return Flagging(database.auditor, Limits(**{limit.name: getattr(settings, f"flag_{limit.name}") for limit in fields(Limits)}))


def _provider(engine: sa.Engine, number: int) -> Publisher:
    """An organisation, for what the hub does in its name."""
    found = next(o for o in organisations.all_of(engine) if o.id == number)
    return Publisher(found.id, found.uid, found.slug, By(), found.area)


def serving() -> FastAPI:
    """What each serving process runs (an import string for uvicorn): settings from the environment, databases already migrated."""
    settings = read_settings()
    configure(settings.log_level)
    return create(settings, addresses_of(settings))
