"""The published RFC 6962 proofs: they lie beside the repository, and must be there in CI."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED

VECTORS = SHARED / "data" / "crypto" / "merkle_rfc6962"


def vectors(kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each vector of `kind`, inclusion or consistency, with its file."""
    if not VECTORS.is_dir() and not os.environ.get("CI"):
        pytest.skip("the shared test data are not beside this repository")
    for path in sorted((VECTORS / kind).rglob("*.json")):
        yield path, json.loads(path.read_text())
