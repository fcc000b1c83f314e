"""The hub as a witness asks it. Nothing that it answers is believed: what matters is signed or proved."""

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from hub.audit.notes import BadNote, Note
from hub.errors import HubError

MAX_ANSWER: Final = 32 * 1024  # what is kept, with a signature more, can be read again


class Unreachable(HubError):
    """The hub can't be asked, or answers with what is no answer. It is asked again."""

    slug, title = "hub-unreachable", "The hub can't be asked"


class NotTaken(HubError):
    """The hub doesn't take a cosignature: the witness isn't registered there, or the hub doesn't know the checkpoint any more."""

    slug, title = "cosignature-not-taken", "The hub doesn't take the cosignature"


class Hub:
    """Asks over `http`, a client whose base address is the hub's."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def checkpoint(self, **asked: str) -> Note | None:
        """The checkpoint that is asked for; None when the hub says that there is none.

        Raises:
            Unreachable
        """
        status, body = self._ask("GET", "/audit/checkpoint", params=asked)
        if status == 404:
            return None
        try:
            return Note.read(_good(status, body).decode())
        except (BadNote, UnicodeDecodeError) as error:
            raise Unreachable(f"The hub's checkpoint can't be read: {error}.") from None

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof as the hub tells it, not verified.

        Raises:
            Unreachable
        """
        status, body = self._ask("GET", "/audit/proof/consistency", params={"first": str(first), "second": str(second)})
        try:
            return [b64decode(h, validate=True) for h in json.loads(_good(status, body))["proof"]]
        except (ValueError, KeyError, TypeError):
            raise Unreachable("The hub's proof can't be read.") from None

    def send(self, note: Note) -> None:
        """Brings a cosignature; the same again is no matter.

        Raises:
            Unreachable, NotTaken
        """
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        status, body = self._ask("POST", "/audit/cosignatures", content=str(note).encode(), headers=headers)
        if status in (400, 403, 409):
            raise NotTaken(f"The hub doesn't take the cosignature: {_detail(body)}")
        _good(status, body)

    def _ask(self, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        try:
            with self._http.stream(method, path, **more) as answer:
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER:
                        raise Unreachable(f"The hub's answer to {path} is over {MAX_ANSWER:,} bytes.")
                return answer.status_code, body
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unreachable(f"The hub can't be reached: {error}.") from None


def _good(status: int, body: bytes) -> bytes:
    if status != 200:
        raise Unreachable(f"The hub answered {status}: {_detail(body)}")
    return body


def _detail(body: bytes) -> str:
    try:
        told = json.loads(body)
    except json.JSONDecodeError:
        told = None
    return str(told.get("detail", ""))[:500] if isinstance(told, Mapping) else "no reason that can be read."
