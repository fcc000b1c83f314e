"""The body of a token request (RFC 6749 §3.2 and appendix B)."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import InvalidRequestError

MAX_FIELDS = 20
MAX_BYTES = 16 * 1024

Form = bytes | Mapping[str, Any] | Iterable[tuple[str, Any]]


def fields(form: Form) -> dict[str, str]:
    """Parameters by name; one without a value counts as absent. `form`: the raw body, or pairs, or a (multi-)mapping.

    Raises:
        InvalidRequestError: unreadable, too large, a parameter twice, or one that isn't text (a file).
    """
    found: dict[str, str] = {}
    for name, value in _pairs(form):
        if not isinstance(value, str):
            raise InvalidRequestError("Every parameter must be text.")
        if name in found:
            raise InvalidRequestError(f"The parameter {_shown(name)} appears more than once.")
        found[name] = value
    return {name: value for name, value in found.items() if value}


def _pairs(form: Form) -> Iterable[tuple[str, Any]]:
    if isinstance(form, bytes):
        return _parsed(form)
    if isinstance(form, Mapping):
        # A multi-mapping's items() would hide a parameter that came twice.
        pairs: Iterable[tuple[str, Any]] = getattr(form, "multi_items", form.items)()
        return pairs
    return form


def _parsed(body: bytes) -> list[tuple[str, str]]:
    if len(body) > MAX_BYTES:
        raise InvalidRequestError(f"The body is longer than {MAX_BYTES} bytes.")
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidRequestError("The body is not a form (application/x-www-form-urlencoded, UTF-8).") from None


def _shown(name: str) -> str:
    """Names come from the caller, and an error description may hold only some characters (RFC 6749 §5.2)."""
    return name if name.isascii() and name.replace("_", "").isalnum() and len(name) <= 40 else "(unnamed)"
