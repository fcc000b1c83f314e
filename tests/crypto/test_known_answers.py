"""Before a key is touched, every algorithm gives its known answer: a build that doesn't is refused by the algorithm's name."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hub.crypto import envelope, known_answers
from hub.errors import Refused
from hub.settings import Settings
from hub.setup import Addresses
from hub.workers.keyd import Keyd


def off_by_one(right: Callable[..., bytes]) -> Callable[..., bytes]:
    def wrong(*arguments: Any, **more: Any) -> bytes:
        answer = right(*arguments, **more)
        return bytes([answer[0] ^ 1]) + answer[1:]

    return wrong


class WrongCipher:
    def __init__(self, key: bytes) -> None:
        self._right = AESGCM(key)

    def encrypt(self, *arguments: Any) -> bytes:
        return off_by_one(self._right.encrypt)(*arguments)


class Careless:
    """Opens whatever the tag is."""

    def __init__(self, key: bytes) -> None:
        self.encrypt = AESGCM(key).encrypt

    def decrypt(self, *_: Any) -> bytes:
        return known_answers._GCM_TEXT


class WrongScrypt:
    def __init__(self, **parameters: Any) -> None:
        self.derive = off_by_one(Scrypt(**parameters).derive)


class Unsupported:
    """As OpenSSL is in FIPS mode."""

    def __init__(self, **_: Any) -> None:
        raise NotImplementedError


class WrongKey:
    @staticmethod
    def from_private_bytes(seed: bytes) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes([seed[0] ^ 1]) + seed[1:])


BROKEN = [
    ("AES-256-GCM", known_answers, "AESGCM", WrongCipher),
    ("AES-256-GCM", known_answers, "AESGCM", Careless),
    ("HMAC-SHA-512", envelope, "_derive", off_by_one(envelope._derive)),
    ("HMAC-SHA-512", envelope, "_OUTER", bytes(256)),
    ("HMAC-SHA-256", known_answers.hmac, "digest", off_by_one(known_answers.hmac.digest)),
    ("Ed25519", known_answers, "Ed25519PrivateKey", WrongKey),
    ("scrypt", known_answers, "Scrypt", WrongScrypt),
    ("scrypt", known_answers, "Scrypt", Unsupported),
]


def test_all_is_as_the_standards_say() -> None:
    known_answers.check()
    assert set(known_answers.ANSWERS) == {name for name, *_ in BROKEN}


@pytest.mark.parametrize(("name", "where", "what", "wrong"), BROKEN)
def test_a_key_process_does_not_start_with_an_algorithm_that_errs(
    name: str, where: Any, what: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, what, wrong)
    with pytest.raises(
        Refused, match=rf"^{name} (gives another answer than its standard|can't be computed \(NotImplementedError\)): nothing"
    ):
        Keyd(Settings(), Addresses(None, None))  # type: ignore[arg-type]


def test_both_libraries_say_whether_their_fips_provider_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = known_answers.libraries()
    assert str(first).startswith("OpenSSL ")
    assert str(first).endswith("(cryptography): FIPS provider not active")
    assert "(Python): FIPS provider" in str(second)
    monkeypatch.setattr(known_answers.backend, "_fips_enabled", True)
    assert str(known_answers.libraries()[0]).endswith("(cryptography): FIPS provider active")
