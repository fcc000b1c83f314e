"""What lies in the keys database."""

import os
import subprocess
from collections.abc import Iterable
from urllib.parse import unquote
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from hub import localdb
from hub.crypto.keyring import Keyring, Sealing
from hub.crypto.providers import FileRootKey

pytestmark = pytest.mark.db

CITY = UUID(int=1)
CANARY = b"canary-narrative-7f3a"


def dump(engine: sa.Engine) -> bytes:
    url = engine.url
    assert url.password is not None
    return subprocess.run(
        [localdb.find_binaries() / "pg_dump", "--inserts", "-h", str(url.host), "-p", str(url.port),
         "-U", str(url.username), str(url.database)],
        env={**os.environ, "PGPASSWORD": unquote(str(url.password))}, capture_output=True, check=True,
    ).stdout  # fmt: skip


def found(secrets: Iterable[bytes], text: bytes) -> list[bytes]:
    return [secret for secret in secrets if secret in text or secret.hex().encode() in text]


def test_the_keys_database_holds_no_plaintext_and_no_key(keys_engine: sa.Engine, keys_admin: sa.Engine) -> None:
    drawn: list[bytes] = []

    def random(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    root = bytes(range(32))
    keyring = Keyring(FileRootKey(root, random), keys_engine, random)
    items = [
        Sealing(CITY, uuid4(), 1, 1, "2026", {n: (n, CANARY) for n in (1, 2, 3)})
        for _ in range(5)
    ]  # fmt: skip
    keyring.seal_batch(items)
    keyring.macs("content", CITY, [CANARY])
    text = dump(keys_admin)
    keys = [draw[i : i + 32] for draw in drawn if len(draw) % 32 == 0 for i in range(0, len(draw), 32)]
    assert len(keys) >= 5 * 3 + 3 + 1
    assert found([root, CANARY, *keys], text) == []
    nonces = [draw for draw in drawn if len(draw) == 12]
    assert nonces
    assert found(nonces, text) == nonces  # the control: what is stored is found
    assert items[0].record.hex in text.decode().replace("-", "")
