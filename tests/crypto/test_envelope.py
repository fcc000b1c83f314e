"""Formats of version 1: golden bytes, every bit, every swap, the padding."""

import hashlib
import hmac
import json
from itertools import combinations
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import strategies as st

from hub.crypto import envelope
from hub.crypto.envelope import (
    DEK_ROW_BYTES,
    FIELD_OVERHEAD_BYTES,
    MAX_PLAINTEXT_BYTES,
    Context,
    FieldKey,
    Kek,
    kek_aad,
    open_field,
    seal_field,
    unwrap_dek,
    wrap_dek,
)
from hub.errors import Tampered, TooLarge

GOLDEN = json.loads((Path(__file__).parent / "golden" / "version1.json").read_text(encoding="utf-8"))
KEK, DEK, WRAP_NONCE, FIELD_NONCE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 12, bytes([4]) * 12
OWNER, RECORD = b"owner-of-sixteen", b"record-no-000001"
CONTEXT = Context(OWNER, RECORD, cls=3, rev=7)
PLAINTEXT = "Zeuge: Çelik, +44 113 496 0000".encode()


def sealed() -> tuple[bytes, FieldKey, bytes]:
    row, k32 = wrap_dek(Kek(9, KEK), DEK, WRAP_NONCE, CONTEXT)
    key = FieldKey(k32)
    return row, key, seal_field(key, PLAINTEXT, FIELD_NONCE, CONTEXT, 4, 1)


def flip(blob: bytes, bit: int) -> bytes:
    return (int.from_bytes(blob, "big") ^ (1 << bit)).to_bytes(len(blob), "big")


def test_the_golden_ciphertext_of_version_1_still_opens() -> None:
    key = FieldKey(unwrap_dek(Kek(9, KEK), bytes.fromhex(GOLDEN["dek_row"]), CONTEXT))
    assert open_field(key, bytes.fromhex(GOLDEN["field"]), CONTEXT, 4, 1) == PLAINTEXT
    assert open_field(key, bytes.fromhex(GOLDEN["empty_field"]), CONTEXT, 65535, 65535) == b""


def test_version_1_is_still_sealed_to_the_golden_bytes() -> None:
    row, key, blob = sealed()
    assert row.hex() == GOLDEN["dek_row"]
    assert blob.hex() == GOLDEN["field"]
    assert seal_field(key, b"", FIELD_NONCE, CONTEXT, 65535, 65535).hex() == GOLDEN["empty_field"]
    assert kek_aad(OWNER, 3, "2026-è", 2).hex() == GOLDEN["kek_aad"]


def test_the_bytes_are_those_of_the_written_format() -> None:
    """Written out a second time from the specification, with the library's primitives only."""
    subject = OWNER + RECORD + pack(">H", 3)
    wrapped = AESGCM(KEK).encrypt(WRAP_NONCE, DEK, b"HUBDEK1\0" + subject + pack(">II", 9, 7))
    derived = hmac.new(DEK, b"HUBK1" + b"HUBDEK1\0" + subject + pack(">I", 7), hashlib.sha512).digest()
    aad = b"HUBFLD1\0" + subject + pack(">HHI", 4, 1, 7)
    padded = PLAINTEXT + b"\x80" + bytes(32 - 1 - len(PLAINTEXT))
    row, _, blob = sealed()
    assert row == b"\x01\x01" + pack(">I", 9) + WRAP_NONCE + wrapped + derived[32:]
    assert blob == b"\x01\x01\x05" + FIELD_NONCE + AESGCM(derived[:32]).encrypt(FIELD_NONCE, padded, aad)
    assert (len(row), len(blob)) == (98, 31 + 32)


@given(dek=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_the_key_derivation_is_hmac_sha_512(dek: bytes, message: bytes) -> None:
    assert envelope._derive(dek, message) == hmac.digest(dek, message, "sha512")


def test_a_dek_row_with_any_bit_flipped_is_refused() -> None:
    row, _, _ = sealed()
    for bit in range(DEK_ROW_BYTES * 8):
        with pytest.raises(Tampered):
            unwrap_dek(Kek(9, KEK), flip(row, bit), CONTEXT)


def test_a_field_with_any_bit_flipped_is_refused() -> None:
    _, key, blob = sealed()
    for bit in range(len(blob) * 8):
        with pytest.raises(Tampered):
            open_field(key, flip(blob, bit), CONTEXT, 4, 1)


def test_a_dek_row_under_another_kek_is_refused() -> None:
    row, _, _ = sealed()
    for kek in (Kek(9, DEK), Kek(10, KEK), Kek(10, DEK)):
        with pytest.raises(Tampered):
            unwrap_dek(kek, row, CONTEXT)


def test_a_dek_row_relabelled_with_another_keks_id_is_refused() -> None:
    row, _, _ = sealed()
    with pytest.raises(Tampered):
        unwrap_dek(Kek(10, KEK), row[:2] + pack(">I", 10) + row[6:], CONTEXT)


def test_the_commitment_survives_a_rewrap_under_another_kek() -> None:
    row, _, blob = sealed()
    rewrapped, _ = wrap_dek(Kek(10, DEK), DEK, FIELD_NONCE, CONTEXT)
    assert rewrapped[66:] == row[66:]
    assert open_field(FieldKey(unwrap_dek(Kek(10, DEK), rewrapped, CONTEXT)), blob, CONTEXT, 4, 1) == PLAINTEXT


PLACE: dict[str, Any] = {"owner": OWNER, "record": RECORD, "cls": 3, "rev": 7, "field": 4, "schema": 1}
OTHER: dict[str, Any] = {"owner": RECORD, "record": OWNER, "cls": 4, "rev": 8, "field": 3, "schema": 7}
MOVED = [{**PLACE, **{part: OTHER[part] for part in parts}} for n in (1, 2, 6) for parts in combinations(PLACE, n)]
EXCHANGED = [{**PLACE, a: PLACE[b], b: PLACE[a]} for a, b in [("owner", "record"), *combinations(("cls", "rev", "field", "schema"), 2)]]


def context_of(place: dict[str, Any]) -> Context:
    return Context(place["owner"], place["record"], place["cls"], place["rev"])


@pytest.mark.parametrize("place", MOVED + EXCHANGED)
def test_a_field_does_not_open_in_another_place(place: dict[str, Any]) -> None:
    """The key is kept, so it is the field's own AAD that has to refuse."""
    _, key, blob = sealed()
    with pytest.raises(Tampered):
        open_field(key, blob, context_of(place), place["field"], place["schema"])


@pytest.mark.parametrize("place", [p for p in MOVED + EXCHANGED if repr(context_of(p)) != repr(CONTEXT)])
def test_a_dek_row_does_not_open_for_another_owner_record_class_or_revision(place: dict[str, Any]) -> None:
    row, _, _ = sealed()
    with pytest.raises(Tampered):
        unwrap_dek(Kek(9, KEK), row, context_of(place))


def test_two_fields_with_their_blobs_exchanged_are_both_refused() -> None:
    _, key, narrative = sealed()
    phone = seal_field(key, b"+44 113 496 0000", FIELD_NONCE, CONTEXT, 5, 1)
    for blob, field in ((narrative, 5), (phone, 4)):
        with pytest.raises(Tampered):
            open_field(key, blob, CONTEXT, field, 1)


@given(plaintext=st.binary(max_size=2100))
@example(plaintext=b"")
@example(plaintext=b"\x80")
@example(plaintext=b"\x80" + bytes(15))
@example(plaintext=b"\0" * 16)
@example(plaintext=b"\x80" * 31)
def test_padding_gives_back_every_plaintext(plaintext: bytes) -> None:
    _, key, _ = sealed()
    blob = seal_field(key, plaintext, FIELD_NONCE, CONTEXT, 4, 1)
    assert open_field(key, blob, CONTEXT, 4, 1) == plaintext


@pytest.mark.parametrize("exponent", range(4, 13))
def test_lengths_inside_a_bucket_look_alike(exponent: int) -> None:
    _, key, _ = sealed()
    shortest = 0 if exponent == 4 else 1 << (exponent - 1)
    lengths = range(shortest, 1 << exponent)
    seen = {(len(blob), blob[:3]) for n in lengths for blob in [seal_field(key, bytes(n), FIELD_NONCE, CONTEXT, 4, 1)]}
    assert seen == {(FIELD_OVERHEAD_BYTES + (1 << exponent), bytes((1, 1, exponent)))}


def test_the_largest_plaintext_is_sealed_and_one_byte_more_is_refused() -> None:
    _, key, _ = sealed()
    blob = seal_field(key, bytes(MAX_PLAINTEXT_BYTES), FIELD_NONCE, CONTEXT, 4, 1)
    assert len(open_field(key, blob, CONTEXT, 4, 1)) == MAX_PLAINTEXT_BYTES
    with pytest.raises(TooLarge):
        seal_field(key, bytes(MAX_PLAINTEXT_BYTES + 1), FIELD_NONCE, CONTEXT, 4, 1)


def test_an_authentic_field_whose_padding_is_wrong_is_refused() -> None:
    _, key, _ = sealed()
    aad = CONTEXT.field_aad + pack(">HHI", 4, 1, 7)
    for padded in (bytes(16), b"x" * 16, b"\x80" + bytes(14) + b"\x01"):
        blob = b"\x01\x01\x04" + FIELD_NONCE + key.encrypt(FIELD_NONCE, padded, aad)
        with pytest.raises(Tampered, match="padded"):
            open_field(key, blob, CONTEXT, 4, 1)


@given(blob=st.binary(max_size=200) | st.binary(max_size=64).map(lambda rest: b"\1\1\4" + rest))
@example(blob=b"\1\1\4" + bytes(44))
@example(blob=b"\1\1\x18" + bytes(44))
def test_arbitrary_bytes_are_no_field(blob: bytes) -> None:
    _, key, _ = sealed()
    with pytest.raises(Tampered):
        open_field(key, blob, CONTEXT, 4, 1)


@given(row=st.binary(max_size=200) | st.binary(min_size=92, max_size=92).map(lambda rest: b"\1\1\0\0\0\x09" + rest))
def test_arbitrary_bytes_are_no_dek_row(row: bytes) -> None:
    with pytest.raises(Tampered):
        unwrap_dek(Kek(9, KEK), row, CONTEXT)


@pytest.mark.parametrize("cut", range(1, 98))
def test_a_shortened_or_lengthened_row_or_field_is_refused(cut: int) -> None:
    row, key, blob = sealed()
    for wrong in (row[:-cut], row + bytes(cut)):
        with pytest.raises(Tampered):
            unwrap_dek(Kek(9, KEK), wrong, CONTEXT)
    for wrong in (blob[:-cut], blob + bytes(cut)):
        with pytest.raises(Tampered):
            open_field(key, wrong, CONTEXT, 4, 1)


def test_keys_and_nonces_of_a_wrong_length_are_a_programming_error() -> None:
    _, key, _ = sealed()
    for wrong in (0, 15, 17, 31, 33):
        with pytest.raises(ValueError, match="bytes"):
            Kek(1, bytes(wrong))
        with pytest.raises(ValueError, match="bytes"):
            wrap_dek(Kek(9, KEK), bytes(wrong), WRAP_NONCE, CONTEXT)
        with pytest.raises(ValueError, match="bytes"):
            seal_field(key, b"", bytes(wrong), CONTEXT, 4, 1)
        for owner, record in ((bytes(wrong), RECORD), (OWNER, bytes(wrong))):
            with pytest.raises(ValueError, match="16 bytes"):
                Context(owner, record, 3, 7)


def test_no_key_shows_in_a_representation() -> None:
    kek, (_, key, _) = Kek(9, KEK), sealed()
    shown = repr(kek) + repr(key) + repr(CONTEXT)
    assert not [secret for secret in (KEK, DEK) if secret.hex() in shown or repr(secret)[2:-1] in shown]
