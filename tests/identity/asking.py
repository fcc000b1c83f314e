"""Token requests and how a refusal must look."""

import base64

from hub.identity.client_auth import ASSERTION_TYPE
from hub.identity.server import Issued

from .forgery import PURPOSE


def token_form(**parameters: str) -> dict[str, str]:
    """What a good request holds, besides the assertion."""
    good = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "purpose": PURPOSE}
    return {**good, **parameters}


def refused(issued: Issued, error: str, word: str = "", status: int = 400) -> None:
    """Checks the answer of RFC 6749 §5.2, and that the log learns nothing it could take for a proven client."""
    assert (issued.status, issued.body["error"]) == (status, error), issued
    assert word in issued.body["error_description"], issued
    assert issued.body.keys() == {"error", "error_description"}
    assert issued.headers["Cache-Control"] == "no-store"
    assert issued.reason
    assert issued.session is None
    if error == "invalid_client":
        assert (issued.client, issued.client_id, issued.organisation) == (None, None, None)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
