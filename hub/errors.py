"""Every error the hub raises on purpose.

HubError
├── InvalidRequest    400  the request's form is wrong: a parameter, a header, a body that can't be read
├── InvalidRecord     422  a record is readable but not acceptable
├── NotAuthenticated  401  no valid token
├── Forbidden         403  the token is valid but not for this
├── NotShared         404  absent, or not shared with you: deliberately the same answer
├── NoSuchResource    404  a path the hub doesn't have (says nothing about records)
├── Conflict          409  the record changed meanwhile
├── PreconditionFailed   412  If-Match names another revision than the current one
├── PreconditionMissing  428  a change by id needs If-Match
├── KeyReused         422  an Idempotency-Key came before, with another request
├── TooLarge          413  the body is over the limit
├── WrongMediaType    415  the body's type isn't one the hub reads
├── TooMany           429  too many failed tries to sign in
├── Unavailable       503  a part the hub needs is down; nothing was opened
├── Tampered          500  a stored record or seal does not verify: stop, do not guess
├── InvalidPolicy     422  an MOU file that the hub refuses to load
├── InvalidMapping    422  a mapping that the hub refuses to read
├── InvalidFile       422  a file that can't be read as its mapping says; what was read before stays
└── Refused           500  the hub refuses to start (a doubtful setting, an old server, a missing extension)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input: `field` names the place (a path such as `features[3].geometry`)."""

    field: str
    reason: str


class HubError(Exception):
    """`str(error)` is safe to show to the caller; reasons that are not go to the audit log."""

    status = 500
    slug = "internal"
    title = "The hub could not answer"

    def __init__(
        self, detail: str, *, field: str | None = None, problems: Sequence[Problem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.problems = tuple(problems) or ((Problem(field, detail),) if field else ())


class InvalidRequest(HubError):
    status, slug, title = 400, "invalid-request", "The request is not valid"


class InvalidRecord(HubError):
    status, slug, title = 422, "invalid-record", "A record is not valid"


class NotAuthenticated(HubError):
    """Answered with a `WWW-Authenticate: Bearer` challenge (RFC 6750 §3)."""

    status, slug, title = 401, "not-authenticated", "A valid access token is needed"


class Forbidden(HubError):
    status, slug, title = 403, "forbidden", "This token does not allow that"


class NotShared(HubError):
    """Carries no detail of its own: what is absent and what is withheld must read alike."""

    status, slug, title = 404, "not-shared", "No such record is shared with you"

    def __init__(self) -> None:
        super().__init__("There is no such record, or it is not shared with you for this purpose.")


class NoSuchResource(HubError):
    status, slug, title = 404, "no-such-resource", "The hub has no such resource"


class Conflict(HubError):
    status, slug, title = 409, "conflict", "The record changed meanwhile"


class PreconditionFailed(HubError):
    status, slug, title = 412, "precondition-failed", "The record is at another revision"


class PreconditionMissing(HubError):
    status, slug, title = 428, "precondition-missing", "The revision to change must be named"


class KeyReused(HubError):
    status, slug, title = 422, "key-reused", "The Idempotency-Key was used for another request"


class TooLarge(HubError):
    status, slug, title = 413, "too-large", "The body is too large"


class WrongMediaType(HubError):
    status, slug, title = 415, "wrong-media-type", "The hub does not read this media type"


class TooMany(HubError):
    """`wait_s`: seconds until the next try is looked at (RFC 6585 §4)."""

    status, slug, title = 429, "too-many-tries", "Too many tries"

    def __init__(self, wait_s: int) -> None:
        minutes = max(1, -(-wait_s // 60))
        sentence = f"Too many tries did not succeed. Try again in {minutes} minute{'' if minutes == 1 else 's'}."
        super().__init__(sentence, headers={"Retry-After": str(wait_s)})


class Unavailable(HubError):
    status, slug, title = 503, "unavailable", "The hub cannot answer just now"


class Tampered(HubError):
    slug, title = "tampered", "A stored record does not verify"


class InvalidPolicy(HubError):
    status, slug, title = 422, "invalid-policy", "The MOU is not valid"


class InvalidMapping(HubError):
    status, slug, title = 422, "invalid-mapping", "The mapping is not valid"


class InvalidFile(HubError):
    status, slug, title = 422, "invalid-file", "The file can't be read as its mapping says"


class Refused(HubError):
    slug, title = "refused", "The hub refuses to start"
