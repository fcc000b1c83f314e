"""signin.p95_ms: what the hub takes to sign somebody in, over HTTP on a kept connection: to ask for a passkey, then to verify its answer,
begin a session and have it in the log. What the person and the device take in between is not in it.
"""

import http.client
import json
import statistics
import time
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

from hub.app import assemble
from hub.identity import people
from hub.settings import Settings
from hub.setup import Addresses
from tests.bench.server import running
from tests.bench.setting import Setting, fresh_hub
from tests.identity.authenticator import Authenticator

NAME, PORT, TIMES, WARM, GOAL_MS = "bench_signin", 8915, 300, 20, 200
BASE = f"http://127.0.0.1:{PORT}"


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    addresses, settings = fresh_hub(setting, NAME)
    device = _device(settings, addresses)
    with running(settings, addresses, PORT), closing(http.client.HTTPConnection("127.0.0.1", PORT)) as wire:
        samples = [_sign_in(wire, device) for _ in range(WARM + TIMES)][WARM:]
    whole = sorted(sum(parts) for parts in samples)
    p95 = whole[int(len(whole) * 0.95)]
    asking, proving = (statistics.median(part) for part in zip(*samples, strict=True))
    note = f"{TIMES} sign-ins; median {statistics.median(whole):.1f} ms: {asking:.1f} to ask, {proving:.1f} to verify, begin and log"
    return [
        {
            "name": "signin.p95_ms",
            "value": round(p95, 1),
            "reference": GOAL_MS,
            "unit": "ms",
            "ratio": round(p95 / GOAL_MS, 2),
            "goal": GOAL_MS,
            "sign": "≤",
            "met": p95 <= GOAL_MS,
            "note": note,
        }
    ]


def _device(settings: Settings, addresses: Addresses) -> Authenticator:
    """A person's device, with a passkey that the hub knows."""
    called, database = assemble(settings.model_copy(update={"base_url": BASE}), addresses)
    try:
        person = people.add(database.writer, "everything", "reader@everything", "Reader", ["auditor"])
        device = Authenticator(BASE, "127.0.0.1")  # no browser takes an IP address; the cost is the same
        called.passkeys.register(person, device.create(called.passkeys.creation_options(person)), "Laptop")
    finally:
        database.dispose()
    return device


def _sign_in(wire: http.client.HTTPConnection, device: Authenticator) -> tuple[float, float]:
    """Milliseconds of the two requests."""
    asking, options, _ = _post(wire, "/sign-in/options", "{}", "application/json")
    fields = {"credential": json.dumps(device.get(options)), "next": "/audit"}
    proving, _, headers = _post(wire, "/sign-in", urlencode(fields), "application/x-www-form-urlencoded")
    if headers.get("Location") != "/audit" or "__Host-session=" not in headers.get("Set-Cookie", ""):
        raise RuntimeError("void: nobody was signed in")
    return asking, proving


def _post(wire: http.client.HTTPConnection, path: str, body: str, media: str) -> tuple[float, str, http.client.HTTPMessage]:
    began = time.perf_counter()
    wire.request("POST", path, body, {"Content-Type": media, "Accept": "*/*"})
    answer = wire.getresponse()
    text = answer.read().decode()
    took = (time.perf_counter() - began) * 1e3
    if answer.status not in (200, 303):
        raise RuntimeError(f"void: {answer.status} {text[:200]}")
    return took, text, answer.headers
