"""The two-key attack: AES-GCM lets one ciphertext open under two keys, so the DEK row has to say which key is meant.

With both keys known the GHASH of each is a known polynomial, and one block can be solved for so that both tags agree
(Dodis, Grubbs, Ristenpart, Woodage: "Fast Message Franking", CRYPTO 2018). Every test first shows that the attack
works on bare AES-GCM: without the commitment it would have succeeded here too.
"""

import hmac
from collections.abc import Sequence
from itertools import count
from struct import pack

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.crypto.envelope import Context, FieldKey, Kek, open_field, seal_field, unwrap_dek, wrap_dek
from hub.errors import Tampered

OWNER, RECORD = b"owner-of-sixteen", b"record-no-000001"
CONTEXT = Context(OWNER, RECORD, cls=3, rev=7)
SUBJECT = OWNER + RECORD + pack(">H", 3)
ONE = 1 << 127  # GCM writes polynomials with the lowest power first (NIST SP 800-38D, 6.3)
NONCE = bytes(12)


def aes(key: bytes, block: bytes) -> int:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 (one block: GCM's building stone)
    return int.from_bytes(encryptor.update(block), "big")


def key_stream(key: bytes, counter: int) -> int:
    return aes(key, NONCE + pack(">I", counter))


def times(a: int, b: int) -> int:
    product = 0
    for bit in range(127, -1, -1):
        if b >> bit & 1:
            product ^= a
        a = a >> 1 ^ (0xE1 << 120 if a & 1 else 0)
    return product


def power(a: int, n: int) -> int:
    result = ONE
    for bit in bin(n)[2:]:
        result = times(result, result)
        if bit == "1":
            result = times(result, a)
    return result


def tag(key: bytes, aad: bytes, blocks: Sequence[int]) -> int:
    hash_key = aes(key, bytes(16))
    padded = aad + bytes(-len(aad) % 16)
    data = [int.from_bytes(padded[i : i + 16], "big") for i in range(0, len(padded), 16)]
    state = 0
    for part in [*data, *blocks, len(aad) * 8 << 64 | len(blocks) * 128]:
        state = times(state ^ part, hash_key)
    return state ^ key_stream(key, 1)


def collide(keys: tuple[bytes, bytes], aad: bytes, last: int) -> bytes:
    """Ciphertext (2 blocks, the second one given) and tag that AES-GCM accepts under both keys."""
    difference = tag(keys[0], aad, [0, last]) ^ tag(keys[1], aad, [0, last])
    factor = power(aes(keys[0], bytes(16)), 3) ^ power(aes(keys[1], bytes(16)), 3)  # of the first block
    first = times(difference, power(factor, 2**128 - 2))
    blocks = [first, last]
    assert tag(keys[0], aad, blocks) == tag(keys[1], aad, blocks)
    return b"".join(part.to_bytes(16, "big") for part in [*blocks, tag(keys[0], aad, blocks)])


def test_a_wrapped_dek_that_opens_under_two_keks_is_refused_under_the_second() -> None:
    keks = (bytes([1]) * 32, bytes([2]) * 32)
    aad = b"HUBDEK1\0" + SUBJECT + pack(">II", 9, 7)
    wrapped = collide(keks, aad, 0)
    deks = [AESGCM(kek).decrypt(NONCE, wrapped, aad) for kek in keks]  # the losing control: GCM is content with both
    assert deks[0] != deks[1]
    committed, _ = wrap_dek(Kek(9, keks[0]), deks[0], NONCE, CONTEXT)
    row = committed[:18] + wrapped + committed[66:]
    unwrap_dek(Kek(9, keks[0]), row, CONTEXT)
    with pytest.raises(Tampered, match="commitment"):
        unwrap_dek(Kek(9, keks[1]), row, CONTEXT)


def test_a_field_that_opens_under_two_keys_opens_under_the_committed_dek_only() -> None:
    """The publisher shows the auditor one text and the reader another, by exchanging the DEK behind the commitment."""
    kek, aad = Kek(9, bytes([1]) * 32), CONTEXT.field_aad + pack(">HHI", 4, 1, 7)
    deks, keys, last = two_deks_whose_padding_agrees()
    blob = b"\x01\x01\x05" + NONCE + collide(keys, aad, last)
    rows = [wrap_dek(kek, dek, bytes([n]) * 12, CONTEXT)[0] for n, dek in enumerate(deks)]
    texts = [open_field(AESGCM(key), blob, CONTEXT, 4, 1) for key in keys]  # the losing control: the field opens twice
    assert texts[0] != texts[1]
    assert open_field(FieldKey(unwrap_dek(kek, rows[0], CONTEXT)), blob, CONTEXT, 4, 1) == texts[0]
    exchanged = rows[1][:66] + rows[0][66:]
    with pytest.raises(Tampered, match="commitment"):
        unwrap_dek(kek, exchanged, CONTEXT)


def two_deks_whose_padding_agrees() -> tuple[tuple[bytes, bytes], tuple[bytes, bytes], int]:
    """DEKs, their field keys, and a second ciphertext block that ends in 80 under both."""
    met: dict[int, tuple[bytes, bytes]] = {}
    for n in count():
        dek = pack(">QQQQ", n, n, n, n)
        key = k32(dek)
        end = key_stream(key, 3) & 0xFF
        if end in met:
            return (met[end][0], dek), (met[end][1], key), end ^ 0x80
        met[end] = dek, key
    raise AssertionError


def k32(dek: bytes) -> bytes:
    return hmac.digest(dek, b"HUBK1HUBDEK1\0" + SUBJECT + pack(">I", 7), "sha512")[:32]


def test_a_dek_put_in_the_place_of_another_opens_nothing_that_was_sealed_before() -> None:
    kek = Kek(9, bytes([1]) * 32)
    _, key = wrap_dek(kek, bytes([2]) * 32, NONCE, CONTEXT)
    blob = seal_field(FieldKey(key), b"narrative", NONCE, CONTEXT, 4, 1)
    other, _ = wrap_dek(kek, bytes([3]) * 32, NONCE, CONTEXT)
    with pytest.raises(Tampered):
        open_field(FieldKey(unwrap_dek(kek, other, CONTEXT)), blob, CONTEXT, 4, 1)
