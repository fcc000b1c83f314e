"""The terms of versions, from their files: each is read once, for it is known by its bytes. Safe to use from several threads."""

from collections.abc import Mapping
from functools import lru_cache, partial

from hub.errors import Tampered
from hub.policy.mou import Mou, read_mou
from hub.records import Record

KEPT = 1_024  # files; those that were read last


class Texts:
    def __init__(self, datasets: Mapping[str, type[Record]]) -> None:
        self._read = lru_cache(KEPT)(partial(read_mou, datasets=datasets))

    def read(self, source: bytes) -> Mou:
        """The MOU in a file. Raises InvalidPolicy: there is none."""
        return self._read(source)

    def terms(self, sha256: str, source: str) -> Mou:
        """The MOU whose file has this SHA-256.

        Raises:
            Tampered: the stored file is not the one that was loaded.
        """
        mou = self._read(source.encode())
        if mou.sha256 != sha256:
            raise Tampered(f"The stored file of {mou.mou} version {mou.version} is not the one that was loaded.")
        return mou
