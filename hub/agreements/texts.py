"""The terms of versions whose files are stored: read once each, for they are known by their hash. Safe to use from several threads."""

from collections.abc import Mapping
from threading import Lock

from hub.errors import Tampered
from hub.policy.mou import Mou, read_mou
from hub.records import Record


class Texts:
    def __init__(self, datasets: Mapping[str, type[Record]]) -> None:
        self._datasets = datasets
        self._read: dict[str, Mou] = {}
        self._lock = Lock()

    def terms(self, sha256: str, source: str) -> Mou:
        """The MOU whose file has this SHA-256.

        Raises:
            Tampered: the stored file is not the one that was loaded.
        """
        with self._lock:
            if sha256 not in self._read:
                mou = read_mou(source.encode(), self._datasets)
                if mou.sha256 != sha256:
                    raise Tampered(f"The stored file of {mou.mou} version {mou.version} is not the one that was loaded.")
                self._read[sha256] = mou
            return self._read[sha256]
