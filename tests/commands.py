"""The command line in tests: a command run as the entry point does it, and `hub serve` as a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from hub import cli
from tests.world import World, socket_folder

HUB = Path(sys.executable).with_name("hub")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def environment(world: World) -> dict[str, str]:
    return {
        "HUB_DATABASE_URL": world.addresses.main.render_as_string(hide_password=False),
        "HUB_KEYS_DATABASE_URL": world.addresses.keys.render_as_string(hide_password=False),
        "HUB_STATE_DIR": str(world.settings.state_dir),
        "HUB_LOG_DIR": str(world.settings.log_dir),
    }


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs a command as the entry point does, in this process, with nothing set."""
    for name in [n for n in os.environ if n.startswith("HUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["hub", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


def refused(ran: Ran, *words: str) -> None:
    """One sentence that says what is wrong; below it, at most, the places."""
    assert (ran.code, ran.out) == (1, ""), ran
    first, *more = ran.err.splitlines()
    assert first.startswith("hub: ")
    assert all(line.startswith("  ") for line in more), ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, ran.err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(world: World, folder: Path, client: str, purpose: str | None = None) -> Iterator[Path]:
    """`hub serve` as a process of its own, its log in `folder`; gives the file of a client's profile."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    (folder / f"{client}.pem").write_bytes(world.keys[client])
    profile = folder / f"{client}.json"
    profile.write_text(json.dumps({"base_url": base, "client_id": client, "key": f"{client}.pem", "purpose": purpose}))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    with (folder / "log").open("w") as log, socket_folder() as short:
        # A key process of its own: the world's believes the tokens of another address.
        settings = environment(world) | {"HUB_BASE_URL": base, "HUB_LOG_LEVEL": "debug", "HUB_KEYD_SOCKET": str(short / "keyd.sock")}
        server = subprocess.Popen([HUB, "serve", "--port", str(port)], env=inherited | settings, stderr=log, stdout=log)
        try:
            wait_for(base, server)
            yield profile
        finally:
            server.terminate()
            assert server.wait(20) in (0, -15)


def wait_for(base: str, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 30
    with httpx2.Client() as http:  # one: making it costs more than asking
        while True:
            with suppress(httpx2.TransportError):
                if http.get(f"{base}/readyz").status_code == 200:
                    return
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
