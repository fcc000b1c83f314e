"""What a browser does that no page may make it do, noted as it happens: console errors and warnings, reports of the content security
policy, dialogs, requests to anywhere but the hub.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Route, expect

# Chromium tells the document; the document tells us. Both, as a report and as a line of the console, count.
_REPORT = (
    "addEventListener('securitypolicyviolation', e => window.reportOfPolicy(`${e.effectiveDirective} ${e.blockedURI} ${e.sourceFile}`))"
)


class Watched:
    """One browser context under watch. `wrong` is empty when all is well."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context = context
        self.wrong: list[str] = []
        self._allowed: tuple[str, ...] = ()
        self._base = urlsplit(base).netloc
        context.on("console", self._said)
        context.on("weberror", lambda error: self._note(f"error: {error.error}"))
        context.on("dialog", self._asked)
        context.expose_binding("reportOfPolicy", lambda _source, report: self._note(f"policy: {report}"))
        context.add_init_script(_REPORT)
        context.route("**/*", self._requested)
        context.route_web_socket("**/*", lambda socket: (self._note(f"elsewhere: {socket.url}"), socket.close()))

    @contextmanager
    def allowing(self, *parts: str) -> Iterator[None]:
        """What holds one of `parts` is expected meanwhile: a page that answers 404 says so in the console too."""
        before, self._allowed = self._allowed, (*self._allowed, *parts)
        try:
            yield
        finally:
            self._allowed = before

    def _note(self, what: str) -> None:
        if not any(part in what for part in self._allowed):
            self.wrong.append(what)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._note(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _asked(self, dialog: Dialog) -> None:
        if dialog.type != "beforeunload":
            self._note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _requested(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https") and address.netloc != self._base:
            self._note(f"elsewhere: {route.request.url}")
            route.abort()
        else:
            route.continue_()


def map_drawn(page: Page) -> None:
    """Waits until a map has what it shows. Until then its legend grows, and what is below moves away from under a click."""
    expect(page.locator("#map-page")).to_have_attribute("data-ready", re.compile("."))
    expect(page.locator("#map-busy")).to_be_hidden()
