"""The demo's witnesses: two processes, as if two of its organisations ran them; they know nothing of the hub but its address."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from hub.audit import witnesses
from hub.audit.operator import changed
from hub.errors import Conflict
from hub.settings import Settings
from hub.setup import Addresses
from hub.witness.folder import Folder

NAMES = ("health-demo", "neighbours-demo")


def set_up(addresses: Addresses, state_dir: Path) -> None:
    """Makes their keys and registers them; what is there already stays."""
    for name in NAMES:
        folder = _folder(state_dir, name)
        if (folder.path / "witness.pub").exists():
            continue
        key = folder.make_key(f"{name}/witness")
        with suppress(Conflict):  # its folder was removed, and it is still registered: that one is gone
            add = partial(witnesses.add, name=key.name, key=str(key))
            changed(addresses.main, datetime.now(UTC), "witness added", add, witness=key.name, key=str(key))


@contextmanager
def at_work(settings: Settings) -> Iterator[None]:
    """While it lasts they cosign; they end with this process however that ends."""
    running = [_start(settings, name) for name in NAMES]
    try:
        yield
    finally:
        for process in running:
            if process.stdin is not None:
                process.stdin.close()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(settings: Settings, name: str) -> subprocess.Popen[bytes]:
    folder, log_key = _folder(settings.state_dir, name).path, settings.state_dir / "log.pub"
    command = [sys.executable, "-m", "hub.witness", "run", str(folder), "--hub", settings.base_url, "--log-key", str(log_key)]
    without = {variable: value for variable, value in os.environ.items() if not variable.startswith("HUB_")}
    return subprocess.Popen([*command, "--every", "1", "--until-eof"], stdin=subprocess.PIPE, env=without, start_new_session=True)


def _folder(state_dir: Path, name: str) -> Folder:
    return Folder(state_dir / "witnesses" / name)
