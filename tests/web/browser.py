"""Debian's Chromium, driven by Playwright, with a software authenticator for passkeys."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
OPTIONS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",  # nothing leaves this machine
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for one test module. Not for a whole run: Playwright leaves an event loop running, beside which `asyncio.run` fails."""
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, *root])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Authenticator:
    """A device that keeps passkeys, in one page: CDP, domain WebAuthn."""

    session: CDPSession
    id: str

    def verifies(self, verified: bool) -> None:
        """Whether its owner can unlock it from now on."""
        self.session.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": verified})

    def credentials(self) -> int:
        """How many passkeys it holds."""
        return len(self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"])


def authenticator(page: Page) -> Authenticator:
    """A new one for `page`: built in, with resident keys and user verification, unlocked."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return Authenticator(session, made["authenticatorId"])
