"""The hub's signing key: one file, private, the same for every process."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import KeySet

from hub.errors import Refused
from hub.identity.tokens import TokenKey, jwks

from .forgery import private_pem, public_pem


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_new_key_is_private_to_the_hub_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "token.pem"
    made = TokenKey.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["token.pem"]
    assert TokenKey.load_or_create(path).kid == TokenKey.load(path).kid == made.kid


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    for attempt in range(10):
        path = tmp_path / f"{attempt}.pem"
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(TokenKey.load_or_create, [path] * 8))
        assert len({key.kid for key in made}) == 1
        path.unlink()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "token.pem", private_pem(ec.generate_private_key(ec.SECP256R1())), mode)
    with pytest.raises(Refused, match="chmod 600"):
        TokenKey.load(path)


def test_a_file_that_holds_no_p256_private_key_is_refused(tmp_path: Path) -> None:
    p256 = ec.generate_private_key(ec.SECP256R1())
    others = [
        "",
        "nonsense",
        public_pem(p256),
        private_pem(ec.generate_private_key(ec.SECP384R1())),
        private_pem(rsa.generate_private_key(65537, 2048)),
    ]
    for text in others:
        with pytest.raises(Refused, match="P-256"):
            TokenKey.load(write(tmp_path / "token.pem", text))
    assert TokenKey.load(write(tmp_path / "token.pem", private_pem(p256))) == TokenKey.of(p256)


def test_a_missing_key_and_an_impossible_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"token\.pem cannot be read"):
        TokenKey.load(tmp_path / "token.pem")
    write(tmp_path / "file", "")
    with pytest.raises(Refused, match=r"token\.pem cannot be created"):
        TokenKey.load_or_create(tmp_path / "file" / "token.pem")


def test_the_published_key_set_holds_no_private_member() -> None:
    key = TokenKey.generate()
    (published,) = jwks(key)["keys"]
    assert set(published) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (published["kid"], published["alg"], published["use"]) == (key.kid, "ES256", "sig")
    assert not KeySet.import_key_set(jwks(key)).keys[0].is_private


def test_a_printed_key_shows_only_its_kid() -> None:
    key = TokenKey.generate()
    assert repr(key) == f"TokenKey(kid={key.kid!r})"
