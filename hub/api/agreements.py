"""Agreements over HTTP: boundary files, drafts, and the steps of their life (hub/agreements/lifecycle.py), by a party's own program with
the scope `agreements`. A party sees its own agreements; what is other people's is absent.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, field_validator
from starlette.requests import Request
from starlette.responses import Response

from hub.agreements.boundaries import MAX_BYTES
from hub.agreements.due import NOTHING, due_of
from hub.agreements.lifecycle import PATIENCE_S, Lifecycle
from hub.agreements.party_keys import PartyKey
from hub.agreements.store import Actor, Version, number_of
from hub.api.answers import JSON, NO_STORE, PDF, YAML, json_answer
from hub.api.bodies import check_encoding, json_of, read_body
from hub.api.parameters import interval, only
from hub.api.services import READ, Services, authorise, refusals_logged, services
from hub.audit.leaf import By, instant
from hub.errors import InvalidRequest, NoSuchResource, Problem, WrongMediaType
from hub.identity.tokens import AccessToken
from hub.policy.vocabulary import NEVER_TEXT

SCOPE = "agreements"
MAX_FILE = 200_000


class Body(BaseModel):
    """What a request sends, as JSON; an unknown member is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _kept(cls, value: object) -> object:
        """What PostgreSQL can keep: the log takes these texts as they are."""
        if isinstance(value, str) and NEVER_TEXT.search(value):
            raise ValueError("holds a character that no text may hold (U+0000, or half of a pair)")
        return value


B = TypeVar("B", bound=Body)


class Nothing(Body):
    """No members."""


class Signed(Body):
    """A detached JWS over the statement of the version."""

    signature: Annotated[str, StringConstraints(min_length=1, max_length=8_192)]


class Acknowledged(Body):
    """The SHA-256 of the effect diff that the provider has looked at."""

    diff_sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class Reason(Body):
    """Why; the other party reads it in the log."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class OfferedKey(Body):
    """A public key (JWK as text, or PEM), and a detached JWS by it over the offer."""

    public_key: Annotated[str, StringConstraints(min_length=1, max_length=8_192)]
    proof: Annotated[str, StringConstraints(min_length=1, max_length=8_192)]


@dataclass(frozen=True, slots=True)
class Asked:
    """An authorised request."""

    called: Services
    token: AccessToken
    by: By
    body: bytes

    @property
    def actor(self) -> Actor:
        return Actor(self.token.organisation, self.by)

    async def run(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Does the work in a thread. What it refuses is in the log before it is told."""

        def logged() -> Any:
            with refusals_logged(self.called, self.token, self.by):
                return work(*arguments, **named)

        return await run_in_threadpool(logged)


async def boundary(request: Request) -> Response:
    """Keeps a boundary file under its SHA-256."""
    asked = await asking(request, MAX_BYTES, ("application/geo+json", JSON))
    digest = request.path_params["sha256"]
    added = await asked.run(asked.called.lifecycle.keep_boundary, asked.actor, digest, asked.body)
    return json_answer({"sha256": digest}, 201 if added else 200)


async def draft(request: Request) -> Response:
    """Keeps an MOU file as a draft."""
    asked = await asking(request, MAX_FILE, (YAML, "text/yaml", "application/x-yaml"))
    found = await asked.run(asked.called.lifecycle.draft, asked.actor, asked.body)
    return await _answer(asked, found, 201, {"Location": _address(asked.called, found)})


async def agreements(request: Request) -> Response:
    """Every version of the agreements that the organisation is a party of."""
    asked = await asking(request)
    return json_answer({"mous": await asked.run(_all_told, asked)})


async def one(request: Request) -> Response:
    """How a version stands."""
    asked = await asking(request)
    return await _answer(asked, await asked.run(asked.called.lifecycle.get, asked.actor, *_named(request)))


async def part(request: Request) -> Response:
    """A version's file, its document, or the statement that is signed."""
    asked = await asking(request)
    wanted = request.path_params["part"]
    if wanted not in PARTS:
        raise NoSuchResource(f"A version has the parts {', '.join(PARTS)}.")
    media, get = PARTS[wanted]
    return Response(await asked.run(get, asked.called.lifecycle, asked.actor, *_named(request)), 200, NO_STORE, media)


PARTS: dict[str, tuple[str, Callable[[Lifecycle, Actor, str, int], bytes]]] = {
    "source": (YAML, lambda lifecycle, *named: lifecycle.get(*named).source.encode()),
    "statement": (JSON, Lifecycle.statement),
    "document": (PDF, Lifecycle.document),
}


async def diff(request: Request) -> Response:
    """What a version would change, worked out now. `Content-Digest` (RFC 9530) has the SHA-256 that activation asks for."""
    asked = await asking(request, 1_000, (JSON,))
    members_of(Nothing, asked.body or b"{}")
    body = await asked.run(asked.called.lifecycle.diff, asked.actor, *_named(request))
    digest = b64encode(sha256(body).digest()).decode()
    return Response(body, 200, NO_STORE | {"Content-Digest": f"sha-256=:{digest}:"}, JSON)


async def use(request: Request) -> Response:
    """What was read under a version, from the log, and a narrower version as a diff; `datetime`: the period, the last year unless said."""
    asked = await asking(request, parameters=("datetime",))
    until = asked.called.clock()
    since = until - timedelta(days=365)
    if (given := request.query_params.get("datetime")) is not None:
        first, last = interval(given)
        since, until = first or since, last or until
    named = (asked.actor, asked.called.log, *_named(request), since, until)
    return json_answer(await asked.run(asked.called.lifecycle.use, *named))


def step(model: type[Body], take: Callable[..., Version]) -> Callable[[Request], Any]:
    """A handler of one step: `take(lifecycle, actor, mou, version, **members of the body)`."""

    async def handler(request: Request) -> Response:
        asked = await asking(request, 20_000, (JSON,))
        members = members_of(model, asked.body or b"{}").model_dump()
        found = await asked.run(take, asked.called.lifecycle, asked.actor, *_named(request), **members)
        return await _answer(asked, found, 202 if found.state == "activating" else 200)

    return handler


def _activate(lifecycle: Lifecycle, actor: Actor, mou: str, version: int, diff_sha256: str) -> Version:
    """Waits a little: most versions are in force then; the labels of a large one go on after the answer."""
    lifecycle.finish(lifecycle.activate(actor, mou, version, diff_sha256), PATIENCE_S)
    return lifecycle.get(actor, mou, version)


async def party_keys(request: Request) -> Response:
    """The organisation's keys for signatures."""
    asked = await asking(request)
    found = await asked.run(asked.called.party_keys.list, asked.actor)
    return json_answer({"keys": [_key(k) for k in found]})


async def offer_key(request: Request) -> Response:
    """Offers a key for signatures; an operator confirms it."""
    asked = await asking(request, 20_000, (JSON,))
    given = members_of(OfferedKey, asked.body)
    return _key_answer(await asked.run(asked.called.party_keys.offer, asked.actor, given.public_key, given.proof), 201)


async def revoke_key(request: Request) -> Response:
    """Revokes a key of one's own: it signs nothing any more."""
    asked = await asking(request, 1_000, (JSON,))
    members_of(Nothing, asked.body or b"{}")
    return _key_answer(await asked.run(asked.called.party_keys.revoke, asked.actor, request.path_params["kid"]), 200)


async def asking(request: Request, most: int = 0, media: tuple[str, ...] = (), parameters: tuple[str, ...] = ()) -> Asked:
    """The request of a party's program, authorised; its body, up to `most` bytes, where it may have one."""
    called = services(request)
    token, by = await run_in_threadpool(authorise, request, SCOPE)
    only(request, parameters)
    if not media:
        return Asked(called, token, by, b"")
    check_encoding(request)
    body = await read_body(request, most)
    given = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if body and given not in media:
        raise WrongMediaType(f"This takes {' or '.join(media[:2])}.", field="Content-Type")
    return Asked(called, token, by, body)


def _named(request: Request) -> tuple[str, int]:
    return request.path_params["mou"], number_of(request.path_params["version"])


def members_of(model: type[B], body: bytes) -> B:
    """Raises InvalidRequest: the body is not what `model` takes; each thing wrong is named."""
    try:
        return model.model_validate(json_of(body))
    except ValidationError as error:
        problems = [Problem(".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors(include_url=False, include_input=False)]
        raise InvalidRequest(f"{problems[0].field}: {problems[0].reason}.", problems=problems) from None


def _address(called: Services, found: Version) -> str:
    return f"{called.settings.base_url}/mous/{found.mou}/{found.version}"


async def _answer(asked: Asked, found: Version, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    told = await asked.run(lambda: _told(asked.called, found, asked.called.lifecycle.list(asked.actor)))
    return json_answer(told, status, headers)


def _all_told(asked: Asked) -> list[dict[str, Any]]:
    found = asked.called.lifecycle.list(asked.actor)
    return [_told(asked.called, v, found) for v in found]


def _told(called: Services, found: Version, all_: Sequence[Version]) -> dict[str, Any]:
    """`all_`: every version of the agreement, from which it is seen whether its renewal is under way."""
    now = called.clock()
    wants = due_of(found, all_, lambda v: called.agreements.texts.terms(v.sha256, v.source), now)
    here = _address(called, found)
    links = [("self", here, JSON, "This version"), ("describedby", f"{here}/source", YAML, "Its file")]
    if found.statement is not None:
        links += [("document", f"{here}/document", PDF, "What people read before they sign")]
        links += [("statement", f"{here}/statement", JSON, "What is signed")]
    return {
        "mou": found.mou,
        "version": found.version,
        "sha256": found.sha256,
        "state": found.state_at(now),
        "provider": found.provider,
        "consumer": found.consumer,
        "from": instant(found.since),
        "until": instant(found.until),
        "stepped_at": instant(found.stepped_at),
        "document_sha256": found.document_sha256,
        "signatures": found.signatures,
        "suspended_by": found.suspended_by,
        **(wants.told() if wants else NOTHING),
        "links": [{"rel": rel, "href": href, "type": media, "title": title} for rel, href, media, title in links],
    }


def _key_answer(key: PartyKey, status: int) -> Response:
    return json_answer(_key(key), status)


def _key(key: PartyKey) -> dict[str, Any]:
    times = {name: None if at is None else instant(at) for name, at in (("confirmed_at", key.confirmed_at), ("revoked_at", key.revoked_at))}
    return {"kid": key.kid, "jwk": key.jwk, "state": key.state, "offered_at": instant(key.offered_at), **times}


STEPS: dict[str, Callable[[Request], Any]] = {
    "proposal": step(Nothing, Lifecycle.propose),
    "signatures": step(Signed, Lifecycle.sign),
    "activation": step(Acknowledged, _activate),
    "suspension": step(Reason, Lifecycle.suspend),
    "resumption": step(Nothing, Lifecycle.resume),
    "termination": step(Reason, Lifecycle.terminate),
    "withdrawal": step(Nothing, Lifecycle.withdraw),
}


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/mous", agreements, methods=READ)
    routes.add_api_route("/mous", draft, methods=["POST"])
    routes.add_api_route("/mous/boundaries/{sha256}", boundary, methods=["PUT"])
    routes.add_api_route("/mous/{mou}/{version}", one, methods=READ)
    routes.add_api_route("/mous/{mou}/{version}/diff", diff, methods=["POST"])
    routes.add_api_route("/mous/{mou}/{version}/use", use, methods=READ)
    for name, handler in STEPS.items():
        routes.add_api_route(f"/mous/{{mou}}/{{version}}/{name}", handler, methods=["POST"])
    routes.add_api_route("/mous/{mou}/{version}/{part}", part, methods=READ)
    routes.add_api_route("/party-keys", party_keys, methods=READ)
    routes.add_api_route("/party-keys", offer_key, methods=["POST"])
    routes.add_api_route("/party-keys/{kid}/revocation", revoke_key, methods=["POST"])
    return routes
