"""What lies in the keys database, and that no nonce comes twice."""

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


def nonces_of(rows: Iterable[bytes], blobs: Iterable[bytes]) -> list[bytes]:
    return [row[6:18] for row in rows] + [blob[3:15] for blob in blobs]


def census(keyring: Keyring, admin: sa.Engine, records: int, fields: int) -> tuple[int, int]:
    """Seals made, and how many different nonces they used (fields and wraps together)."""
    blobs: list[bytes] = []
    for _ in range(0, records, 1000):
        items = [
            Sealing(CITY, uuid4(), 1, 1, "2026", {n: (1 + n % 2, b"x") for n in range(1, fields + 1)}) for _ in range(min(records, 1000))
        ]
        blobs += [blob for sealed in keyring.seal_batch(items) for blob in sealed.values()]
    with admin.connect() as connection:
        rows = [bytes(row) for (row,) in connection.exec_driver_sql("SELECT row FROM keys.dek")]
    nonces = nonces_of(rows, blobs)
    return len(nonces), len(set(nonces))


def test_two_hundred_thousand_seals_never_use_a_nonce_twice(keyring: Keyring, keys_admin: sa.Engine) -> None:
    made, different = census(keyring, keys_admin, records=20_000, fields=8)
    assert made == different == 20_000 * (8 + 2)


def test_the_census_notices_a_generator_that_repeats_itself(keys_engine: sa.Engine, keys_admin: sa.Engine) -> None:
    """The losing control."""
    tired = Keyring(FileRootKey(bytes(32)), keys_engine, lambda size: bytes(n % 251 for n in range(size)))
    made, different = census(tired, keys_admin, records=2, fields=300)
    assert different < made
