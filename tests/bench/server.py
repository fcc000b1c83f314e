"""A serving process to measure: started, watched, ended."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from hub.settings import Settings
from hub.setup import Addresses


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]

    def rss_mb(self) -> float:
        """Resident memory of the process, MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Collects its memory, ten times a second."""
        seen, over = [self.rss_mb()], threading.Event()

        def look() -> None:
            while not over.wait(0.1):
                seen.append(self.rss_mb())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            thread.join()


@contextmanager
def running(settings: Settings, addresses: Addresses, port: int) -> Iterator[Server]:
    """`hub serve` over these databases, ready to answer."""
    env = {
        "HUB_DATABASE_URL": addresses.main.render_as_string(False),
        "HUB_KEYS_DATABASE_URL": addresses.keys.render_as_string(False),
        "HUB_STATE_DIR": str(settings.state_dir),
        "HUB_BASE_URL": f"http://127.0.0.1:{port}",
        "HUB_LOG_LEVEL": "warning",
        "PATH": "/usr/bin:/bin",
    }
    process = subprocess.Popen([str(Path(sys.prefix) / "bin" / "hub"), "serve", "--port", str(port)], env=env)
    try:
        _ready(port, process)
        yield Server(process)
    finally:
        process.terminate()
        process.wait(20)


def _ready(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            if process.poll() is not None:
                break
        time.sleep(0.1)
    raise RuntimeError("the server did not start")
