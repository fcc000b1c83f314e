"""The token endpoint (RFC 6749 §3.2): client credentials, `private_key_jwt`, nothing else. Knows no web framework.

Authlib is the authorization server; how a client proves itself (`client_auth`) and what a token is (`tokens`) are ours.
"""

import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from sqlalchemy import Engine

from hub.errors import Refused
from hub.identity.case import CASE_FORM, is_case
from hub.identity.client_auth import ClientAuthentication
from hub.identity.clients import SCOPES, Client
from hub.identity.form import Form, fields
from hub.identity.replay import Replays
from hub.identity.tokens import MAX_LIFETIME_S, TokenKey, mint

AUTH_METHOD = "private_key_jwt"
GRANT_TYPE = "client_credentials"
FORM_TYPE = "application/x-www-form-urlencoded"
PURPOSE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
MAX_PURPOSE = 100

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Issued:
    """An answer to send, and for the audit log who got it; who is None unless the client proved itself.

    `reason` is set on refusal only; it may say more than `body` does. `session` is the token's jti.
    """

    status: int
    body: dict[str, Any] = field(repr=False)
    headers: dict[str, str]
    client: Client | None = None
    purpose: str | None = None
    scopes: frozenset[str] = frozenset()
    session: str | None = None
    reason: str | None = None
    case: str | None = None

    @property
    def client_id(self) -> str | None:
        return self.client.client_id if self.client else None

    @property
    def organisation(self) -> str | None:
        """The slug."""
        return self.client.organisation.slug if self.client else None


class TokenServer:
    """`issue` answers one token request. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        key: TokenKey,
        issuer: str,
        token_endpoint: str,
        audience: str,
        ttl_s: int = 300,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not 0 < ttl_s <= MAX_LIFETIME_S:
            raise Refused(f"The lifetime of access tokens must be 1 to {MAX_LIFETIME_S} seconds, not {ttl_s}.")
        self._key, self._issuer, self._audience, self._ttl_s, self._clock = key, issuer, audience, ttl_s, clock
        self._authentication = ClientAuthentication(engine, issuer, token_endpoint, Replays(engine))
        self._server = _Server(self)

    def issue(self, form: Form, headers: Mapping[str, str], remote: str | None = None) -> Issued:
        """`form`: the raw body, or its pairs. Send `body` as JSON with `status` and `headers` (RFC 6749 §5.1, §5.2).

        Raises:
            Unavailable: the database is down.
        """
        request = _Request()
        reason = None
        try:
            request.payload = BasicOAuth2Payload(_parameters(form, headers))
            status, body, sent = self._server.create_token_response(request)
        except OAuth2Error as error:
            status, body, sent = error()
            reason = getattr(error, "reason", error.description)
            _log.info("token refused: %s", reason, extra={"remote": remote})
        client = request.client.client if request.client else None
        return Issued(status, body, dict(sent), client, request.purpose, request.scopes, request.session, reason, request.case)

    def authenticate(self, _query_client: object, request: "_Request") -> "_Proven":
        return _Proven(self._authentication.authenticate(request.payload.data, self._clock()))

    def answer(self, request: "_Request") -> dict[str, Any]:
        """The body of a successful answer."""
        request.session = secrets.token_urlsafe(16)
        client = request.client.client
        token = mint(
            self._key,
            self._issuer,
            self._audience,
            client,
            request.scopes,
            request.purpose,
            self._clock(),
            self._ttl_s,
            request.session,
            request.case,
        )
        scope = " ".join(sorted(request.scopes))
        return {"access_token": token, "token_type": "Bearer", "expires_in": self._ttl_s, "scope": scope}


@dataclass(frozen=True)
class _Proven:
    """A client that proved itself, as Authlib asks about it."""

    client: Client

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == AUTH_METHOD

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT_TYPE


class _Request(OAuth2Request):  # type: ignore[misc]  # Authlib ships no types
    """`client` is set once the client has proved itself; scopes, purpose and case once they are granted."""

    scopes: frozenset[str] = frozenset()
    purpose: str | None = None
    case: str | None = None
    session: str | None = None

    def __init__(self) -> None:
        # Authlib refuses http:// here, on loopback too. hub.settings has already refused it everywhere else.
        super().__init__("POST", "https://localhost/")


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = [AUTH_METHOD]

    def validate_token_request(self) -> None:
        super().validate_token_request()  # authenticates
        form = self.request.payload.data
        scopes = _granted(self.client.client, form.get("scope"))
        purpose = _purpose(form.get("purpose"), scopes)
        self.request.case = _case(form.get("case"), purpose)
        self.request.purpose = purpose
        self.request.scopes = scopes

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        # Not Authlib's: that one writes the token to its debug log.
        return 200, self.server.tokens.answer(self.request), self.TOKEN_RESPONSE_HEADER


class _Server(AuthorizationServer):  # type: ignore[misc]
    def __init__(self, tokens: TokenServer) -> None:
        super().__init__(scopes_supported=SCOPES)
        self.tokens = tokens
        self.register_client_auth_method(AUTH_METHOD, tokens.authenticate)
        self.register_grant(_Grant)

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, status: int, body: dict[str, Any], headers: list[tuple[str, str]]) -> tuple[object, ...]:
        return status, body, headers

    def handle_error_response(self, request: _Request, error: OAuth2Error) -> None:
        raise error  # to `issue`, which also wants the reason

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""


def _parameters(form: Form, headers: Mapping[str, str]) -> dict[str, str]:
    lower = {name.lower(): value for name, value in headers.items()}
    if "authorization" in lower:
        description = "Clients authenticate with private_key_jwt, not with an Authorization header."
        raise InvalidClientError(status_code=401, description=description)
    media_type = lower.get("content-type", FORM_TYPE).partition(";")[0].strip().lower()
    if media_type != FORM_TYPE:
        raise InvalidRequestError(f"The body must be {FORM_TYPE}.")
    parameters = fields(form)
    if "grant_type" not in parameters:
        raise InvalidRequestError("The parameter grant_type is missing.")
    if parameters["grant_type"] != GRANT_TYPE:
        raise OAuth2Error("The grant_type must be client_credentials.", error="unsupported_grant_type")
    return parameters


def _granted(client: Client, scope: str | None) -> frozenset[str]:
    """All of the client's scopes unless it asks for fewer (RFC 6749 §3.3)."""
    wanted = client.scopes if scope is None else frozenset(scope.split())
    if not wanted or wanted - client.scopes:
        raise InvalidScopeError("The client is not registered for every scope it asks for (scope).")
    return wanted


def _purpose(purpose: str | None, scopes: frozenset[str]) -> str | None:
    if purpose is None and "query" in scopes:
        raise InvalidRequestError("The parameter purpose is missing: a token for the scope query names one.")
    if purpose is not None and (len(purpose) > MAX_PURPOSE or not PURPOSE.fullmatch(purpose)):
        description = f"The parameter purpose must look like public-health.outreach (at most {MAX_PURPOSE} characters)."
        raise InvalidRequestError(description)
    return purpose


def _case(case: str | None, purpose: str | None) -> str | None:
    if case is not None and purpose is None:
        raise InvalidRequestError("The parameter case needs a purpose: without one a token opens nothing that belongs to a case.")
    if case is not None and not is_case(case):
        raise InvalidRequestError(f"The parameter case must be {CASE_FORM}.")
    return case
