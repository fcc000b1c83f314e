"""A hub that a browser can open: the world's databases and keys, served on http://localhost (passkeys need a host name)."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from hub.api.services import SESSION_COOKIE, Services
from hub.app import application, assemble
from hub.identity.people import Person
from hub.settings import Settings
from tests.world import World


@dataclass(frozen=True)
class Served:
    """`base` is where it is, without a slash at its end."""

    world: World
    services: Services
    base: str

    def cookie(self, person: Person, purpose: str | None = None, case: str | None = None, method: str = "passkey") -> dict[str, Any]:
        """The cookie of a new session of somebody, as a browser context takes it."""
        value, session = self.services.sessions.begin(person, method)
        if purpose:
            self.services.sessions.choose(session, purpose, case)
        # Chromium takes a Secure cookie by this way for an https address only, and sends it to http://localhost all the same.
        address = self.base.replace("http:", "https:")
        return {"name": SESSION_COOKIE, "value": value, "url": address, "secure": True, "httpOnly": True}


@contextmanager
def serve(world: World, **settings: Any) -> Iterator[Served]:
    """Serves until the block ends. `settings` override those of the world."""
    listening = socket.create_server(("127.0.0.1", 0))
    base = f"http://localhost:{listening.getsockname()[1]}"
    own = Settings(**{**world.settings.model_dump(exclude_unset=True), "base_url": base, "sign_in_links": True, **settings})
    called, database = assemble(own, world.addresses, clock=world.clock)
    app = application(called, database.dispose)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield Served(world, called, base)
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
