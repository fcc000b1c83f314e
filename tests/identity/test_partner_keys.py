"""Which keys a partner may register: public, strong, and of three kinds."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.util import int_to_base64

from hub.errors import InvalidRequest
from hub.identity.keys import load, read_public

from .forgery import PrivateKey, base64url, private_pem, public_pem

EC_KEY, RSA_KEY, ED_KEY = ECKey.generate_key("P-256"), RSAKey.generate_key(2048), OKPKey.generate_key("Ed25519")
# Encodings of points of order 1, 2, 4 and 8 (RFC 8032 §5.1.2: little-endian y, the sign of x in the last bit).
P = 2**255 - 19
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
SMALL_ORDER = [(1).to_bytes(32, "little"), (P - 1).to_bytes(32, "little"), bytes(32), bytes.fromhex(ORDER_8)]


def refusal(key: str | bytes) -> str:
    with pytest.raises(InvalidRequest) as refused:
        read_public(key)
    assert [problem.field for problem in refused.value.problems] == ["public_key"]
    return str(refused.value)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "Ed25519"])
def test_a_key_reads_the_same_as_pem_and_as_jwk(algorithm: str, private_keys: dict[str, PrivateKey]) -> None:
    pem = public_pem(private_keys[algorithm])
    jwk = read_public(pem)
    assert read_public(pem.encode()) == read_public(json.dumps(jwk)) == jwk
    assert jwk["kid"] == load(jwk).thumbprint()
    assert not load(jwk).is_private


def test_only_the_members_that_make_the_key_are_kept() -> None:
    members = {**EC_KEY.as_dict(private=False), "alg": "RS256", "x5u": "https://evil.example", "kid": "mine"}
    assert set(read_public(json.dumps(members))) == {"kty", "crv", "x", "y", "kid"}
    assert read_public(json.dumps(members))["kid"] == EC_KEY.thumbprint()


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY, ED_KEY], ids=["EC", "RSA", "OKP"])
def test_a_private_key_is_refused_in_words_that_say_so(key: Any) -> None:
    assert "private" in refusal(json.dumps(key.as_dict(private=True)))
    assert "private" in refusal(key.as_pem(private=True))


def test_a_private_key_in_a_file_with_its_public_half_is_refused(private_keys: dict[str, PrivateKey]) -> None:
    key = private_keys["ES256"]
    assert "private" in refusal(public_pem(key) + private_pem(key))


def test_a_shared_secret_is_refused() -> None:
    assert "private" in refusal(json.dumps(OctKey.generate_key(256).as_dict()))


@pytest.mark.parametrize(("bits", "word"), [(1024, "weak"), (2047, "weak"), (4097, "large")])
def test_rsa_keys_outside_2048_to_4096_bits_are_refused(bits: int, word: str) -> None:
    # The modulus need not be a product of two primes to have a length.
    modulus = (1 << bits) - 1
    public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    assert word in refusal(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert word in refusal(json.dumps({"kty": "RSA", "n": int_to_base64(modulus), "e": "AQAB"}))


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_keys_of_exactly_2048_and_4096_bits_are_accepted(bits: int) -> None:
    assert read_public(json.dumps({"kty": "RSA", "n": int_to_base64((1 << bits) - 1), "e": "AQAB"}))


def test_an_rsa_key_with_exponent_3_is_refused() -> None:
    public = rsa.generate_private_key(3, 2048).public_key()
    assert "exponent" in refusal(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_an_ed25519_key_that_anyone_can_sign_with_is_refused(point: bytes) -> None:
    assert "anyone" in refusal(json.dumps({"kty": "OKP", "crv": "Ed25519", "x": base64url(point)}))


def test_keys_of_other_kinds_are_refused() -> None:
    for key in [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
        dsa.generate_private_key(2048),
    ]:
        assert "kind of key" in refusal(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "kind of key" in refusal(json.dumps(OKPKey.generate_key("X25519").as_dict(private=False)))


def test_a_key_marked_for_encryption_is_refused() -> None:
    assert "encryption" in refusal(json.dumps({**EC_KEY.as_dict(private=False), "use": "enc"}))


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    assert "cannot be read" in refusal(json.dumps({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}))


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"kty":"EC"}',
        '{"kty":["EC"]}',
        '{"kty":"RSA","n":5,"e":"AQAB"}',
        '{"kty":"RSA","n":"","e":""}',
        '{"keys":[]}',
        "ssh-ed25519 AAAA",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        b"\xff\x00",
        "é",
        '{"a":' * 1200,
        '{"kty":"OKP","crv":"Ed25519","x":"AAAA"}',
        '{"kty":"OKP","crv":{},"x":"AAAA"}',
    ],
)
def test_what_is_no_key_is_refused(nonsense: str | bytes) -> None:
    refusal(nonsense)


def test_a_key_longer_than_8_kib_is_refused() -> None:
    assert "longer" in refusal("x" * 8193)


def test_an_ordinary_ed25519_key_is_never_taken_for_a_weak_one() -> None:
    for _ in range(20):
        assert read_public(public_pem(ed25519.Ed25519PrivateKey.generate()))
