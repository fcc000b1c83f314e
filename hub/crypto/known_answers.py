"""Known answers: before a key is touched, each algorithm has to give what its standard prints. And which libraries do the work.

A build that computes something else (a broken library, a doctored one) would seal what nobody opens again, or open what it shouldn't.
"""

import hashlib
import hmac
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.backends.openssl.backend import backend
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hub.crypto import envelope
from hub.errors import Refused


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


# McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16.
_GCM_KEY, _GCM_NONCE = _hex("feffe9928665731c6d6a8f9467308308") * 2, _hex("cafebabefacedbaddecaf888")
_GCM_TEXT = _hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
_GCM_AAD = _hex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
_GCM_SEALED = _hex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    "76fc6ece0f4e1768cddf8853bb2d551b"
)
# RFC 4231 §4.3, test case 2. A key is padded with zeros to a block, so padded to 32 bytes it is the same.
_MAC_KEY, _MAC_TEXT = b"Jefe".ljust(32, b"\0"), b"what do ya want for nothing?"
_MAC_256 = _hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
_MAC_512 = _hex(
    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
)
# RFC 8032 §7.1, test 2.
_SEED, _SIGNED = _hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"), _hex("72")
_SIGNATURE = _hex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
# RFC 7914 §12, the first.
_STRETCHED = _hex(
    "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"
)


def _gcm() -> bool:
    aead = AESGCM(_GCM_KEY)
    if aead.encrypt(_GCM_NONCE, _GCM_TEXT, _GCM_AAD) != _GCM_SEALED or aead.decrypt(_GCM_NONCE, _GCM_SEALED, _GCM_AAD) != _GCM_TEXT:
        return False
    try:
        aead.decrypt(_GCM_NONCE, _GCM_SEALED[:-1] + b"\0", _GCM_AAD)
    except InvalidTag:
        return True
    return False


def _hmac_512() -> bool:
    """Both ways in which the hub makes one."""
    return envelope._derive(_MAC_KEY, _MAC_TEXT) == _MAC_512 == hmac.new(_MAC_KEY, _MAC_TEXT, hashlib.sha512).digest()


def _hmac_256() -> bool:
    return hmac.digest(_MAC_KEY, _MAC_TEXT, "sha256") == _MAC_256


def _ed25519() -> bool:
    key = Ed25519PrivateKey.from_private_bytes(_SEED)
    if key.sign(_SIGNED) != _SIGNATURE:
        return False
    key.public_key().verify(_SIGNATURE, _SIGNED)
    try:
        key.public_key().verify(_SIGNATURE, b"\x73")
    except InvalidSignature:
        return True
    return False


def _scrypt() -> bool:
    return Scrypt(salt=b"", length=64, n=16, r=1, p=1).derive(b"") == _STRETCHED


ANSWERS: Final[dict[str, Callable[[], bool]]] = {
    "AES-256-GCM": _gcm,
    "HMAC-SHA-512": _hmac_512,
    "HMAC-SHA-256": _hmac_256,
    "Ed25519": _ed25519,
    "scrypt": _scrypt,
}


def check() -> None:
    """Raises Refused: an algorithm gives another answer than its standard, or none; the sentence names it."""
    for name, right in ANSWERS.items():
        try:
            good, why = right(), "gives another answer than its standard"
        except Exception as error:
            good, why = False, f"can't be computed ({type(error).__name__})"
        if not good:
            told = "; ".join(map(str, libraries()))
            raise Refused(f"{name} {why}: nothing is sealed or opened with this build of the libraries. {told}.")


@dataclass(frozen=True)
class Library:
    """What computes: `fips` says whether its FIPS provider is active, not whether that one is validated."""

    used_by: str
    version: str
    fips: bool

    def __str__(self) -> str:
        return f"{self.version} ({self.used_by}): FIPS provider {'active' if self.fips else 'not active'}"


def libraries() -> list[Library]:
    """The two copies of OpenSSL: that of the package cryptography (ciphers, signatures, scrypt), and Python's own (hashes, HMAC)."""
    return [
        Library("cryptography", backend.openssl_version_text(), bool(backend._fips_enabled)),
        Library("Python", ssl.OPENSSL_VERSION, _python_fips()),
    ]


def _python_fips() -> bool:
    try:
        from _hashlib import get_fips_mode
    except ImportError:
        return False
    return bool(get_fips_mode())
