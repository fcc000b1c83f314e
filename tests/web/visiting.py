"""Somebody's browser without a screen: keeps the session's cookie and sends what browsers send. For tests of pages over HTTP."""

import json
import re
from collections.abc import Mapping
from html import unescape
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx2

from hub.api.services import SESSION_COOKIE
from hub.identity.people import Person
from hub.identity.sessions import Session
from tests.identity.authenticator import Authenticator
from tests.web.served import Served

_ADDRESSES = count(1)
_HTTP = httpx2.Client(follow_redirects=False, trust_env=False)  # one for all: making one costs more than a request


class Visitor:
    """One browser, at an address of its own, so that nobody else's failed tries count against it."""

    def __init__(self, served: Served, source: str | None = None) -> None:
        self.served = served
        self.cookie: str | None = None
        number = next(_ADDRESSES)
        self.source = source or f"198.18.{number // 250}.{number % 250 + 1}"

    def send(self, method: str, path: str, *, cookie: str | None = None, **more: Any) -> httpx2.Response:
        """One request; a redirect is not followed. A cookie that comes back is kept, as by a browser."""
        cookie = cookie or self.cookie
        headers = {"Accept": "text/html", "X-Forwarded-For": self.source} | ({"Cookie": f"{SESSION_COOKIE}={cookie}"} if cookie else {})
        if method == "POST":
            headers |= {"Origin": self.served.base, "Sec-Fetch-Site": "same-origin"}
        headers |= more.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value is not None}
        answer = _HTTP.request(method, self.served.base + path, headers=headers, **more)
        _HTTP.cookies.clear()
        set_cookie = answer.headers.get("set-cookie")
        if set_cookie:
            value = re.match(rf'{SESSION_COOKIE}="?([^";]*)"?;', set_cookie)
            assert value
            self.cookie = value[1] or None
        return answer

    def get(self, path: str, **more: Any) -> httpx2.Response:
        return self.send("GET", path, **more)

    def post(self, path: str, fields: Mapping[str, str] | None = None, **more: Any) -> httpx2.Response:
        """A form as the page of this session has it."""
        return self.send("POST", path, data={"csrf": self.csrf, **(fields or {})}, **more)

    def ask(self, path: str, **more: Any) -> httpx2.Response:
        """What the script of the page asks for."""
        headers = {"Accept": "application/json", "X-CSRF-Token": self.csrf} | more.pop("headers", {})
        return self.send("POST", path, json={}, headers=headers, **more)

    @property
    def csrf(self) -> str:
        session = self.session
        return session.csrf if session else ""

    @property
    def session(self) -> Session | None:
        """The session of the cookie, as the hub finds it."""
        return self.served.services.sessions.find(self.cookie) if self.cookie else None

    def begin(self, person: Person, method: str = "passkey", purpose: str | None = None) -> "Visitor":
        """A session, without the pages that lead to one."""
        self.cookie, session = self.served.services.sessions.begin(person, method)
        if purpose:
            self.served.services.sessions.choose(session, purpose, None)
        return self

    def sign_in(self, device: Authenticator, path: str = "/sign-in", wanted: str = "", **wrong: Any) -> httpx2.Response:
        """Through the page, with a passkey; `wrong` says what the device does wrong."""
        options = self.ask(f"{path}/options")
        assert options.status_code == 200, options.text
        return self.post(path, {"credential": _text(device.get(options.text, **wrong)), "next": wanted})

    def make_passkey(self, path: str, label: str = "Laptop", **wrong: Any) -> tuple[httpx2.Response, Authenticator]:
        """Through a page that makes one."""
        device = self.device()
        options = self.ask(f"{path}/options")
        assert options.status_code == 200, options.text
        return self.post(path, {"credential": _text(device.create(options.text, **wrong)), "label": label}), device

    def device(self) -> Authenticator:
        return Authenticator(self.served.base, str(urlsplit(self.served.base).hostname))


def passkey_of(served: Served, person: Person, label: str = "Laptop") -> Authenticator:
    """A device with a passkey that the hub knows."""
    device = Visitor(served).device()
    made = device.create(served.services.passkeys.creation_options(person))
    served.services.passkeys.register(person, made, label)
    return device


def words(answer: httpx2.Response) -> str:
    """What a reader of a page reads."""
    main = answer.text.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", f"<{main}")).split())


def links(answer: httpx2.Response) -> set[str]:
    """Where a page's links lead to, within the hub."""
    return {unescape(href) for href in re.findall(r'<a [^>]*href="([^"]*)"', answer.text) if href.startswith("/")}


def _text(credential: dict[str, Any]) -> str:
    return json.dumps(credential)
