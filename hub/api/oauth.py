"""The authorization server's endpoints: token, public keys, metadata (RFC 6749, 7517, 8414)."""

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hub.api.answers import json_answer
from hub.api.bodies import read_body
from hub.api.parameters import only
from hub.api.services import READ, Services, services, source_of
from hub.audit.leaf import By
from hub.identity.server import Issued
from hub.identity.token_key import jwks

MAX_BODY = 64 * 1024


async def token(request: Request) -> Response:
    """An access token for a client that proves itself; who got one, and who was refused, is logged before the answer."""
    called = services(request)
    body = await read_body(request, MAX_BODY)
    issued = await run_in_threadpool(_issue, called, request, body)
    return json_answer(issued.body, issued.status, issued.headers)


def _issue(called: Services, request: Request, body: bytes) -> Issued:
    issued = called.tokens.issue(body, request.headers, source_of(request))
    if issued.client is None:
        # Nobody proved who they are: there is no one to log, and logging each would let anyone fill the log.
        called.failures.note("client-assertion", called.clock())
        return issued
    by = By(issued.organisation, issued.client_id, issued.session, source_of(request))
    asked = {"scope": sorted(issued.scopes)} if issued.scopes else None
    decision = "permit" if issued.status == 200 else "refuse"
    called.log.record(called.event("token", by, decision, purpose=issued.purpose, case=issued.case, asked=asked, reason=issued.reason))
    return issued


def keys(request: Request) -> Response:
    """The public key that tokens are signed with."""
    only(request, ())
    return json_answer(jwks(services(request).token_key))


def metadata(request: Request) -> Response:
    """RFC 8414."""
    only(request, ())
    base = services(request).settings.base_url
    return json_answer(
        {
            "issuer": base,
            "token_endpoint": f"{base}/oauth/token",
            "jwks_uri": f"{base}/oauth/jwks",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "scopes_supported": ["audit", "publish", "query"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "PS256", "Ed25519"],
        }
    )


def router() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    routes.add_api_route("/oauth/token", token, methods=["POST"])
    routes.add_api_route("/oauth/jwks", keys, methods=READ)
    routes.add_api_route("/.well-known/oauth-authorization-server", metadata, methods=READ)
    return routes
