"""A root key in an HSM in use: sessions that are lost, tokens that go away and come back, threads, and a keyring over it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pkcs11
import pytest
import sqlalchemy as sa

from hub.crypto import hsm
from hub.crypto.envelope import kek_aad
from hub.crypto.hsm import HsmRootKey, _decrypt
from hub.crypto.keyring import Keyring, Opening, Sealing
from hub.crypto.providers import FileRootKey
from hub.crypto.roots import create_in_hsm, root_key_of
from hub.crypto.rotation import Rotation
from hub.errors import Refused, Tampered, Unavailable
from tests.softhsm import PIN, Token, damage_key, forget_login, give_back, remove

AAD = kek_aad(b"owner-of-sixteen", 3, "2026-è", 2)
KEK = bytes([7]) * 32


# --- a session that is lost --------------------------------------------------------------------------------------------


def test_a_lost_session_is_opened_anew(token: Token, root: HsmRootKey) -> None:
    wrapped = root.wrap(KEK, AAD)
    for _ in range(3):
        forget_login(token)
        assert root.unwrap(wrapped, AAD) == KEK
        forget_login(token)
        assert root.unwrap(root.wrap(KEK, AAD), AAD) == KEK


class Told(list[dict[str, str]]):
    """A log whose lines can be looked at, whatever other tests made of the real one."""

    def error(self, _event: str, **more: str) -> None:
        self.append(more)


def test_while_the_token_is_gone_nothing_opens_and_when_it_is_back_all_does(
    token: Token, root: HsmRootKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = root.wrap(KEK, AAD)
    away = remove(token)
    for _ in range(2):
        told = Told()
        monkeypatch.setattr(hsm, "_log", told)
        with pytest.raises(Unavailable, match="does not answer; nothing was opened"):
            root.unwrap(wrapped, AAD)
        assert [line["why"] for line in told] == [f"There is no HSM token '{token.label}'."]
        with pytest.raises(Unavailable):
            root.wrap(KEK, AAD)
    give_back(token, away)
    assert root.unwrap(wrapped, AAD) == KEK


def test_while_the_library_cannot_start_nothing_opens_and_then_all_does(token: Token, root: HsmRootKey) -> None:
    wrapped = root.wrap(KEK, AAD)
    configuration = token.folder / "softhsm2.conf"
    away = remove(token)
    configuration.rename(token.folder / "hidden")
    for _ in range(2):
        with pytest.raises(Unavailable):
            root.unwrap(wrapped, AAD)
    (token.folder / "hidden").rename(configuration)
    give_back(token, away)
    assert root.unwrap(wrapped, AAD) == KEK


def test_a_damaged_blob_is_tampered_also_when_the_session_was_lost(token: Token, root: HsmRootKey) -> None:
    wrapped = bytearray(root.wrap(KEK, AAD))
    wrapped[-1] ^= 1
    forget_login(token)
    with pytest.raises(Tampered):
        root.unwrap(bytes(wrapped), AAD)


def test_a_blob_while_the_token_is_gone_is_not_called_tampered(token: Token, root: HsmRootKey) -> None:
    wrapped = bytearray(root.wrap(KEK, AAD))
    wrapped[-1] ^= 1
    away = remove(token)
    with pytest.raises(Unavailable):
        root.unwrap(bytes(wrapped), AAD)
    give_back(token, away)


def test_a_token_that_fails_in_the_way_a_tag_does_is_not_taken_for_a_forged_blob(token: Token, root: HsmRootKey) -> None:
    """SoftHSM answers CKR_GENERAL_ERROR to both."""
    wrapped = root.wrap(KEK, AAD)
    damage_key(token)
    with pytest.raises(pkcs11.GeneralError):
        _decrypt(root._key, wrapped[2:14], wrapped[14:], AAD)
    with pytest.raises(Unavailable):
        root.unwrap(wrapped, AAD)


def test_a_pin_that_is_refused_later_is_tried_once_so_that_it_does_not_lock(token: Token, root: HsmRootKey) -> None:
    wrapped = root.wrap(KEK, AAD)
    token.new_pin("made-up-9999")
    forget_login(token)
    with pytest.raises(Unavailable):
        root.unwrap(wrapped, AAD)
    restarts = root._place.library.starts
    for _ in range(3):
        with pytest.raises(Unavailable, match="does not take the PIN any more"):
            root.unwrap(wrapped, AAD)
    assert root._place.library.starts == restarts  # nothing was tried
    assert HsmRootKey.open(*token.place(pin="made-up-9999")).unwrap(wrapped, AAD) == KEK


def test_two_root_keys_of_one_process_do_not_disturb_each_other(token: Token, new_token: Callable[..., Token]) -> None:
    places = [token.place(), token.place("second"), new_token().place()]
    keys = [HsmRootKey.create(*place) for place in places]
    for _ in range(3):
        wrapped = [key.wrap(KEK, AAD) for key in keys]
        keys[0]._place.library.restart()  # as each does that has lost its session; now handles mean other keys
        assert [key.unwrap(blob, AAD) for key, blob in zip(keys, wrapped, strict=True)] == [KEK] * 3
        for key in keys[1:]:
            with pytest.raises(Tampered):
                key.unwrap(wrapped[0], AAD)


# --- use ---------------------------------------------------------------------------------------------------------------


def test_four_threads_wrap_and_unwrap_at_once(root: HsmRootKey) -> None:
    def work(thread: int) -> set[bytes]:
        made = set()
        for n in range(200):
            kek = thread.to_bytes(16, "big") + n.to_bytes(16, "big")
            blob = root.wrap(kek, AAD)
            assert root.unwrap(blob, AAD) == kek
            made.add(blob)
        return made

    with ThreadPoolExecutor(4) as pool:
        assert len(set().union(*pool.map(work, range(4)))) == 800


def test_threads_that_lose_the_session_all_go_on(token: Token, root: HsmRootKey) -> None:
    def work(_: int) -> int:
        return sum(root.unwrap(root.wrap(KEK, AAD), AAD) == KEK for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, n) for n in range(4)]
        for _ in range(5):
            with root._place.library.lock:
                forget_login(token)
        assert [future.result() for future in done] == [50] * 4


SEALED = Sealing(UUID(int=1), uuid4(), 1, 1, "2026", {4: (1, b"narrative"), 5: (2, b"+44 113 496 0000")})


TEXTS = [text for _, text in SEALED.fields.values()]


def opened(keyring: Keyring, blobs: dict[int, bytes]) -> list[bytes]:
    keyring.check()
    asked = [Opening(SEALED.owner, SEALED.record, 1, 1, SEALED.fields[n][0], n, blob) for n, blob in blobs.items()]
    return keyring.open_batch(asked)


@pytest.mark.db
def test_a_keyring_over_an_hsm_seals_and_opens_also_after_a_restart(token: Token, keys_engine: sa.Engine) -> None:
    create_in_hsm(token.folder, token.module, token.label, "concord-root", PIN)
    reached = {"module": token.module, "token": token.label, "label": "concord-root", "pin": PIN}
    keyring = Keyring(root_key_of(token.folder, **reached), keys_engine)  # type: ignore[arg-type]
    (blobs,) = keyring.seal_batch([SEALED])
    assert opened(keyring, blobs) == TEXTS
    forget_login(token)
    assert opened(Keyring(root_key_of(token.folder, **reached), keys_engine), blobs) == TEXTS  # type: ignore[arg-type]
    assert not (token.folder / "root.key").exists()


@pytest.mark.db
def test_a_keys_database_of_the_other_kind_of_root_key_is_refused_and_says_so(root: HsmRootKey, keys_engine: sa.Engine) -> None:
    Keyring(FileRootKey(bytes(32)), keys_engine).seal_batch([SEALED])
    with pytest.raises(Refused, match=r"does not fit the keys database.* wrapped by a root key in a key file, and this one is in an HSM"):
        Keyring(root, keys_engine).check()


@pytest.mark.db
def test_sealing_while_the_token_is_gone_is_unavailable_and_stores_nothing(token: Token, root: HsmRootKey, keys_engine: sa.Engine) -> None:
    away = remove(token)
    with pytest.raises(Unavailable):
        Keyring(root, keys_engine).seal_batch([SEALED])
    with keys_engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from keys.kek")) == 0
    give_back(token, away)
    Keyring(root, keys_engine).seal_batch([SEALED])


@pytest.mark.db
def test_a_hub_moves_from_a_key_file_to_an_hsm_and_back_and_keeps_what_is_sealed(root: HsmRootKey, keys_engine: sa.Engine) -> None:
    file = FileRootKey(bytes(32))
    (blobs,) = Keyring(file, keys_engine).seal_batch([SEALED])
    Rotation(file, keys_engine).change_root(root)
    assert opened(Keyring(root, keys_engine), blobs) == TEXTS
    Rotation(root, keys_engine).change_root(file)
    assert opened(Keyring(file, keys_engine), blobs) == TEXTS
    with pytest.raises(Refused, match="does not fit"):
        Keyring(root, keys_engine).check()
