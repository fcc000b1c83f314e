"""A census of nonces: millions of real seals, by processes that start, seal and end, into one keys database with rotations in between. Not
one nonce may come twice, of fields and of wrapped data keys alike, and each bit must be set about as often as not.

Memory is bounded whatever the number of seals: nonces go to files, by their first byte, and one file at a time is looked through.
"""

import math
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import numpy as np
import sqlalchemy as sa

from hub.crypto.envelope import NONCE_BYTES
from hub.crypto.keyring import Keyring
from hub.crypto.keys import Sealing
from hub.crypto.providers import FileRootKey
from hub.crypto.rotation import Rotation
from tests.crypto.database import as_the_hub, new_cluster, new_database

ROOT, CITY = bytes(range(32)), UUID(int=1)
FIELDS, CLASSES = 8, 2
EACH = FIELDS + CLASSES  # seals for a record
RECORDS = 1_000  # in a batch
PROCESSES = 2  # at once
SHARE = 100_000  # seals of one process before it ends and another starts
ROTATE_EVERY = 10  # rounds
FILES = 256
LIKELY = 6.5
"""Standard deviations of a bit's count from a half: with 96 bits of two kinds, a fair source strays as far once in 60 million runs."""
Random = Callable[[int], bytes]
Source = Callable[[int], Random]
"""A source of random bytes for each process, by its number."""


class Census:
    """Counts nonces of each kind. Use in `with`: it keeps files meanwhile."""

    def __init__(self) -> None:
        self.counted: dict[str, int] = {}
        self._ones: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def __enter__(self) -> Self:
        self._open = ExitStack()
        folder = Path(self._open.enter_context(TemporaryDirectory(prefix="census-")))
        self._paths = [folder / str(n) for n in range(FILES)]
        self._files = [self._open.enter_context(path.open("wb")) for path in self._paths]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def add(self, kind: str, nonces: bytes) -> None:
        """Nonces, one directly after the other."""
        found = np.frombuffer(nonces, np.uint8).reshape(-1, NONCE_BYTES)
        self.counted[kind] = self.counted.get(kind, 0) + len(found)
        self._ones[kind] = self._ones.get(kind, 0) + np.unpackbits(found, axis=1).sum(axis=0, dtype=np.int64)
        of = found[:, 0]
        for n in np.unique(of):
            self._files[n].write(found[of == n].tobytes())

    def twice(self) -> int:
        """How many came that had come before."""
        found = 0
        for file, path in zip(self._files, self._paths, strict=True):
            file.flush()
            held = path.read_bytes()
            each = range(0, len(held), NONCE_BYTES)
            found += len(each) - len({held[at : at + NONCE_BYTES] for at in each})
        return found

    def strayed(self, kind: str) -> float:
        """By how many standard deviations the bit that strays furthest is off a half."""
        n = self.counted[kind]
        return float(np.abs(self._ones[kind] - n / 2).max() / (math.sqrt(n) / 2))

    def faults(self) -> list[str]:
        """One sentence for each thing that is wrong."""
        twice = self.twice()
        found = [f"{twice:,} nonces came twice"] if twice else []
        return found + [
            f"a bit in nonces of {kind} strays by {s:.1f} deviations" for kind in self.counted if (s := self.strayed(kind)) > LIKELY
        ]


def fair(_number: int) -> Random:
    return os.urandom


def restarted(_number: int) -> Random:
    """The first fault of the control: a generator that each process begins anew where the others began."""
    return random.Random(20261127).randbytes


def stuck(_number: int) -> Random:
    """The second fault: one bit in twelve bytes is never set."""

    def drawn(size: int) -> bytes:
        return bytes(byte & 0xFE if at % NONCE_BYTES == 5 else byte for at, byte in enumerate(os.urandom(size)))

    return drawn


def work(admin: sa.Engine, random_: Random, seals: int, path: Path) -> None:
    """One process: a keyring that remembers nothing seals so many fields and data keys; the nonces of the fields go to `path`."""
    engine = as_the_hub(admin)
    keyring = Keyring(FileRootKey(ROOT, random_), engine, random_)
    with path.open("wb") as out:
        for left in range(math.ceil(seals / EACH), 0, -RECORDS):
            items = [
                Sealing(CITY, uuid4(), 1, 1, "2026", {n: (1 + n % CLASSES, b"x") for n in range(1, FIELDS + 1)})
                for _ in range(min(left, RECORDS))
            ]
            out.write(b"".join(blob[3:15] for sealed in keyring.seal_batch(items) for blob in sealed.values()))
    engine.dispose()


def processes(admin: sa.Engine, source: Source, first: int, shares: Iterable[int]) -> bytes:
    """Runs a process for each share, all at once; the nonces of their fields. They are forked: a generator that lives in a process's memory
    would be copied with it.
    """
    context = multiprocessing.get_context("fork")
    with TemporaryDirectory(prefix="census-") as folder:
        paths = [Path(folder) / str(n) for n, _ in enumerate(shares)]
        started = [
            context.Process(target=work, args=(admin, source(first + n), share, path))
            for n, (share, path) in enumerate(zip(shares, paths, strict=True))
        ]
        for process in started:
            process.start()
        for process in started:
            process.join()
        if any(process.exitcode for process in started):
            raise RuntimeError("a process of the census failed")
        return b"".join(path.read_bytes() for path in paths)


def wraps(admin: sa.Engine) -> bytes:
    """The nonces of the data keys as they are wrapped now."""
    with admin.connect() as connection:
        return b"".join(bytes(n) for (n,) in connection.exec_driver_sql("select substring(row from 7 for 12) from keys.dek"))


def count(census: Census, admin: sa.Engine, source: Source, seals: int, share: int = SHARE) -> int:
    """Makes at least so many seals and counts their nonces; how many processes made them."""
    ran = rounds = 0
    while sum(census.counted.values()) < seals:
        left = seals - sum(census.counted.values())
        shares = [min(share, math.ceil(left / PROCESSES))] * PROCESSES
        census.add("fields", processes(admin, source, ran, shares))
        census.add("data keys", wraps(admin))
        ran, rounds = ran + PROCESSES, rounds + 1
        if rounds % ROTATE_EVERY == 1:
            _rotate(admin, source(ran))
            census.add("data keys", wraps(admin))
        with admin.begin() as connection:  # counted: they would only fill the disk
            connection.exec_driver_sql("truncate keys.dek")
    return ran


def _rotate(admin: sa.Engine, random_: Random) -> None:
    engine = as_the_hub(admin)
    rotation = Rotation(FileRootKey(ROOT, random_), engine, random_)
    rotation.rotate()
    while not rotation.rewrap().over:
        pass
    engine.dispose()


def noticed(admin: sa.Engine, source: Source) -> list[str]:
    """The control: what a small census finds with this source."""
    with Census() as census:
        count(census, admin, source, 4_000, 1_000)
        return census.faults()


def soak(seed: int, count_: int) -> dict[str, object]:
    """The long run: so many seals. `faults` must be empty, and each of the faulty sources be noticed. Nothing here is chosen by `seed`."""
    began = time.monotonic()
    with new_cluster() as cluster, new_database(cluster) as admin, Census() as census:
        ran = count(census, admin, fair, count_)
        found = census.faults()
        controls = {source.__name__: noticed(admin, source) for source in (restarted, stuck)}
    return {
        "seals": dict(census.counted),
        "processes": ran,
        "strayed_most": {kind: round(census.strayed(kind), 2) for kind in census.counted},
        "faults": found,
        "controls": controls,
        "control_lost": int(all(controls.values())),
        "seconds": round(time.monotonic() - began),
    }
