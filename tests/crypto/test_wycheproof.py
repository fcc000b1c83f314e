"""Wycheproof's AES-GCM vectors against the primitive that everything is sealed with."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from hub.crypto.envelope import FieldKey

VECTORS = Path(__file__).parents[3] / "shared" / "data" / "crypto" / "wycheproof" / "aes_gcm_test.json"
GCM_NONCE_BYTES = range(8, 129)
"""What the library takes; the formats use 12 only."""


@pytest.fixture(scope="module")
def groups() -> list[dict[str, Any]]:
    if not VECTORS.exists() and not os.environ.get("CI"):
        pytest.skip("the shared test data are not beside this repository")
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))["testGroups"]
    return found


def cases(groups: list[dict[str, Any]], result: str) -> list[tuple[FieldKey, bytes, bytes, bytes, bytes]]:
    """(key, nonce, plaintext, ciphertext with tag, AAD) of the vectors with that result."""
    vectors = [vector for group in groups for vector in group["tests"] if vector["result"] == result]
    parts = [[bytes.fromhex(vector[name]) for name in ("key", "iv", "msg", "ct", "tag", "aad")] for vector in vectors]
    return [
        (FieldKey(key), nonce, plaintext, ciphertext + tag, aad)
        for key, nonce, plaintext, ciphertext, tag, aad in parts
        if len(nonce) in GCM_NONCE_BYTES
    ]


def test_every_valid_vector_seals_and_opens(groups: list[dict[str, Any]]) -> None:
    valid = cases(groups, "valid")
    assert len(valid) > 80
    for key, nonce, plaintext, sealed, aad in valid:
        assert key.encrypt(nonce, plaintext, aad) == sealed
        assert key.decrypt(nonce, sealed, aad) == plaintext


def test_every_invalid_vector_is_refused(groups: list[dict[str, Any]]) -> None:
    invalid = cases(groups, "invalid")
    assert len(invalid) >= 40
    for key, nonce, _, sealed, aad in invalid:
        with pytest.raises(InvalidTag):
            key.decrypt(nonce, sealed, aad)


def test_nonces_of_a_length_that_weakens_gcm_are_refused(groups: list[dict[str, Any]]) -> None:
    lengths = {g["ivSize"] // 8 for g in groups} - set(GCM_NONCE_BYTES)
    assert 0 in lengths
    for length in lengths:
        with pytest.raises(ValueError, match="Nonce"):
            FieldKey(bytes(32)).encrypt(bytes(length), b"", b"")
