"""`hub serve` itself, as an operator runs it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.server import Server
from tests.faults.stand import wait_until


class Command(Server):
    """The same as its base, but the real command, set up by its environment, with a folder of its own for temporary files."""

    def start(self) -> None:
        self.temporary.mkdir(exist_ok=True)
        settings, addresses = self.settings, self.addresses
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.temporary),
            "HUB_STATE_DIR": str(settings.state_dir),
            "HUB_DATABASE_URL": addresses.main.render_as_string(hide_password=False),
            "HUB_KEYS_DATABASE_URL": addresses.keys.render_as_string(hide_password=False),
            "HUB_LOG_LEVEL": settings.log_level,
            "HUB_MAX_BODY_BYTES": "100000",
        }
        program = [sys.executable, "-W", "error", "-c", "from hub.cli import app; app()", "serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._command = subprocess.Popen(program, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: self._answers() or self._command.poll() is not None, "hub serve answers")
        assert self._command.poll() is None, self.log.read_text()[-2_000:]

    @property
    def pid(self) -> int:
        return self._command.pid

    @property
    def temporary(self) -> Path:
        return self.log.parent / "tmp"

    def stop(self) -> None:
        """In good order."""
        self._command.terminate()
        self._command.wait(30)

    def kill(self) -> None:
        self._command.kill()
        self._command.wait(30)
