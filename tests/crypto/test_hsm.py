"""A root key on a real token of SoftHSM2: it never leaves the token, and whatever goes wrong is one clear sentence."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass, PKCS11Error, TokenFlag

from hub.crypto import hsm
from hub.crypto.envelope import kek_aad
from hub.crypto.hsm import HsmRootKey
from hub.crypto.providers import FileRootKey
from hub.errors import Refused, Tampered
from tests.softhsm import MODULE, PIN, Token, configure, forget_login

GOLDEN = json.loads((Path(__file__).parent / "golden" / "version1.json").read_text(encoding="utf-8"))
AAD = kek_aad(b"owner-of-sixteen", 3, "2026-è", 2)
KEK = bytes([7]) * 32
AES = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
USE = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT


def refusal(place: tuple[Path, str, str, str], open_: Callable[..., HsmRootKey] = HsmRootKey.open) -> str:
    with pytest.raises(Refused) as refused:
        open_(*place)
    sentence = str(refused.value)
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    assert place[2] not in "".join(traceback.format_exception(refused.value)).replace(__file__, "")  # the PIN
    return sentence


def make(token: Token, kind: KeyType = KeyType.AES, bits: int = 256, use: MechanismFlag = USE, **changed: Any) -> None:
    """A key that the hub did not make."""
    with token.session() as session:
        template = {**AES, **{getattr(Attribute, name): value for name, value in changed.items()}}
        session.generate_key(kind, bits, label="concord-root", store=True, capabilities=use, template=template)


def without(mechanism: str) -> str:
    """For SoftHSM's configuration. Of a list after a minus, SoftHSM 2.6 overlooks the first."""
    return f"slots.mechanisms = -CKM_MD5,{mechanism}"


# --- the key -----------------------------------------------------------------------------------------------------------


def test_what_was_wrapped_opens_in_its_place_and_with_a_later_opening(token: Token, root: HsmRootKey) -> None:
    wrapped = root.wrap(KEK, AAD)
    assert (len(wrapped), wrapped[:2]) == (62, b"\1\2")
    assert KEK not in wrapped
    assert root.unwrap(wrapped, AAD) == KEK
    assert HsmRootKey.open(*token.place()).unwrap(wrapped, AAD) == KEK


def test_what_was_wrapped_opens_in_another_process(token: Token, root: HsmRootKey) -> None:
    script = (
        "import sys; from pathlib import Path; from hub.crypto.hsm import HsmRootKey; module, token, pin, label, blob, aad = sys.argv[1:]\n"
        "print(HsmRootKey.open(Path(module), token, pin, label).unwrap(bytes.fromhex(blob), bytes.fromhex(aad)).hex())"
    )
    words = [sys.executable, "-W", "error", "-c", script, *map(str, token.place()), root.wrap(KEK, AAD).hex(), AAD.hex()]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip() == KEK.hex()


def test_wrapping_twice_gives_two_ciphertexts(root: HsmRootKey) -> None:
    assert root.wrap(KEK, AAD) != root.wrap(KEK, AAD)


def test_the_nonce_is_the_hubs(token: Token) -> None:
    root = HsmRootKey.create(*token.place(), random=lambda size: bytes([9]) * size)
    assert root.wrap(KEK, AAD)[2:14] == bytes([9]) * 12


def test_the_key_can_be_neither_read_nor_wrapped_nor_made_extractable(token: Token, root: HsmRootKey) -> None:
    assert root.unwrap(root.wrap(KEK, AAD), AAD) == KEK
    with token.session() as session:
        (key,) = session.get_objects({Attribute.LABEL: "concord-root"})
        assert isinstance(key, pkcs11.SecretKey)
        with pytest.raises(pkcs11.AttributeSensitive):
            key[Attribute.VALUE]
        assert all(key[flag] for flag in (Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE, Attribute.PRIVATE))
        assert not any(key[flag] for flag in (Attribute.EXTRACTABLE, Attribute.WRAP, Attribute.UNWRAP, Attribute.SIGN, Attribute.DERIVE))
        for flag, value in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)):
            with pytest.raises(PKCS11Error):
                key[flag] = value
        wrapping: Any = session.generate_key(KeyType.AES, 256, label="thief", capabilities=MechanismFlag.WRAP)
        with pytest.raises(pkcs11.KeyUnextractable):
            wrapping.wrap_key(key, mechanism=pkcs11.Mechanism.AES_KEY_WRAP)


def test_a_key_that_may_be_read_is_read_in_the_same_way(token: Token) -> None:  # the control of the test above
    make(token, SENSITIVE=False, EXTRACTABLE=True)
    with token.session() as session:
        (key,) = session.get_objects({Attribute.LABEL: "concord-root"})
        assert len(key[Attribute.VALUE]) == 32


def test_only_32_bytes_bound_to_something_are_wrapped(root: HsmRootKey) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        root.wrap(KEK[1:], AAD)
    for use in (root.wrap, root.unwrap):
        with pytest.raises(ValueError, match="bound to something"):
            use(KEK, b"")


def test_the_golden_wrapped_kek_of_version_1_still_opens(token: Token) -> None:
    with token.session() as session:
        session.create_object({
            Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, Attribute.VALUE: bytes([7]) * 32,
            Attribute.LABEL: "concord-root", Attribute.TOKEN: True, Attribute.ENCRYPT: True, Attribute.DECRYPT: True, **AES,
        })  # fmt: skip
    assert HsmRootKey.open(*token.place()).unwrap(bytes.fromhex(GOLDEN["wrapped_kek_hsm"]), AAD) == bytes([1]) * 32


# --- tampering ---------------------------------------------------------------------------------------------------------


def test_a_wrapped_kek_with_any_bit_flipped_is_refused(root: HsmRootKey) -> None:
    wrapped = root.wrap(KEK, AAD)
    for bit in range(len(wrapped) * 8):
        flipped = (int.from_bytes(wrapped, "big") ^ 1 << bit).to_bytes(len(wrapped), "big")
        with pytest.raises(Tampered):
            root.unwrap(flipped, AAD)
    assert root.unwrap(wrapped, AAD) == KEK  # the session took no harm


@pytest.mark.parametrize("aad", [AAD[:1], AAD[:-1], AAD + b"\0", kek_aad(b"owner-of-another", 3, "2026-è", 2)])
def test_a_wrapped_kek_is_bound_to_its_place(root: HsmRootKey, aad: bytes) -> None:
    with pytest.raises(Tampered):
        root.unwrap(root.wrap(KEK, AAD), aad)


@pytest.mark.parametrize("blob", [b"", b"\1\2", b"\1\2" + bytes(59), b"\1\2" + bytes(61), b"\2\2" + bytes(60), b"\1\3" + bytes(60)])
def test_what_is_no_wrapped_kek_is_refused(root: HsmRootKey, blob: bytes) -> None:
    with pytest.raises(Tampered):
        root.unwrap(blob, AAD)


def test_another_key_of_the_same_token_does_not_unwrap(token: Token, root: HsmRootKey) -> None:
    with pytest.raises(Tampered):
        HsmRootKey.create(*token.place("other")).unwrap(root.wrap(KEK, AAD), AAD)


def test_a_kek_wrapped_under_a_key_file_is_told_apart_both_ways(root: HsmRootKey) -> None:
    file = FileRootKey(bytes(32))
    with pytest.raises(Tampered, match="wrapped by a root key in a key file, and this one is in an HSM"):
        root.unwrap(file.wrap(KEK, AAD), AAD)
    with pytest.raises(Tampered, match="wrapped by a root key in an HSM, and this one is in a key file"):
        file.unwrap(root.wrap(KEK, AAD), AAD)


# --- opening -----------------------------------------------------------------------------------------------------------


def test_an_absent_library_is_one_clear_sentence(token: Token) -> None:
    assert "it is missing" in refusal(token.place(module=Path("/nowhere/libpkcs11.so")))


def test_what_is_no_pkcs11_library_is_one_clear_sentence(token: Token, tmp_path: Path) -> None:
    (tmp_path / "empty.so").touch()
    for module in (Path(__file__), tmp_path / "empty.so", Path(pkcs11._pkcs11.__file__)):  # type: ignore[attr-defined]
        assert "it is not one" in refusal(token.place(module=module))


def test_a_library_that_does_not_start_is_one_clear_sentence(token: Token, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from hub.crypto.hsm import HsmRootKey; from hub.errors import Refused\n"
        "try: HsmRootKey.open(Path(sys.argv[1]), 'token', '1234', 'root')\n"
        "except Refused as refused: print(refused)"
    )
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "absent.conf")}
    done = subprocess.run([sys.executable, "-c", script, MODULE], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == f"The PKCS#11 library {MODULE} cannot be used: it is not one, or does not start (GeneralError).\n"


def test_an_absent_token_is_one_clear_sentence(token: Token) -> None:
    assert refusal(token.place(token="elsewhere")) == "There is no HSM token 'elsewhere'."


def test_two_tokens_of_one_label_are_one_clear_sentence(new_token: Callable[..., Token]) -> None:
    new_token("twin")
    assert refusal(new_token("twin").place()).startswith("There are 2 HSM tokens 'twin'")


def test_a_token_that_came_later_is_found(root: HsmRootKey, new_token: Callable[..., Token], monkeypatch: pytest.MonkeyPatch) -> None:
    class Still:
        def reinitialize(self) -> None: ...

    monkeypatch.setattr("tests.softhsm.pkcs11.lib", lambda _path: Still())  # nobody tells the library
    later = new_token()
    monkeypatch.undo()
    monkeypatch.setenv("SOFTHSM2_CONF", str(later.folder / "softhsm2.conf"))
    assert "no secret key" in refusal(later.place())
    assert root.unwrap(root.wrap(KEK, AAD), AAD) == KEK  # the library was started anew; this one follows


@pytest.mark.parametrize("pin", ["made-up-1235", "zz", "x" * 300, "PIN-ü"])
def test_a_wrong_pin_is_one_clear_sentence(token: Token, pin: str) -> None:
    assert refusal(token.place(pin=pin)) == f"The PIN is not that of the HSM token '{token.label}'."


def test_an_empty_pin_is_wrong(token: Token) -> None:
    with pytest.raises(Refused, match="The PIN is not that of"):
        HsmRootKey.open(*token.place(pin=""))


def test_a_locked_pin_and_the_last_try_are_not_tried() -> None:
    """SoftHSM never locks a PIN, so this asks only what the hub makes of the flags and the answer of a token that does."""
    assert hsm._barred(TokenFlag.LOGIN_REQUIRED | TokenFlag.USER_PIN_COUNT_LOW) is None
    assert "is locked" in str(hsm._barred(TokenFlag.LOGIN_REQUIRED | TokenFlag.USER_PIN_LOCKED))
    assert "one more time locks it" in str(hsm._barred(TokenFlag.USER_PIN_COUNT_LOW | TokenFlag.USER_PIN_FINAL_TRY))
    place = hsm._Place(hsm._load(MODULE), "token", PIN, "root")
    assert str(place._fault(pkcs11.PinLocked())).startswith("The PIN of the HSM token 'token' is locked")


def test_a_token_whose_user_has_no_pin_is_one_clear_sentence(token: Token) -> None:
    place = hsm._Place(hsm._load(MODULE), token.label, PIN, "root")
    assert "has no PIN in force" in str(place._fault(pkcs11.UserPinNotInitialized()))


def test_an_absent_key_is_one_clear_sentence(token: Token) -> None:
    assert "no secret key 'concord-root': `hub root-key create`" in refusal(token.place())


def test_two_keys_of_one_label_are_one_clear_sentence(token: Token) -> None:
    make(token)
    make(token)
    assert "has 2 secret keys 'concord-root'" in refusal(token.place())


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        ({"bits": 128}, "is not AES-256"),
        ({"kind": KeyType.GENERIC_SECRET, "use": MechanismFlag.SIGN}, "is not AES-256"),
        ({"EXTRACTABLE": True}, "can be taken out of the token"),
        ({"SENSITIVE": False}, "can be read"),
        ({"use": MechanismFlag.DECRYPT}, "may not encrypt"),
        ({"use": MechanismFlag.ENCRYPT}, "may not decrypt"),
    ],
)
def test_a_doubtful_key_is_one_clear_sentence(token: Token, words: dict[str, Any], doubt: str) -> None:
    make(token, **words)
    assert doubt in refusal(token.place())


def test_a_token_without_aes_gcm_is_one_clear_sentence(token: Token, root: HsmRootKey) -> None:
    assert root.unwrap(root.wrap(KEK, AAD), AAD) == KEK
    configure(token.folder, without("CKM_AES_GCM"))
    forget_login(token)
    assert "cannot do AES-GCM" in refusal(token.place())
    assert "cannot do AES-GCM" in refusal(token.place("another"), HsmRootKey.create)


def test_a_key_is_never_replaced(token: Token, root: HsmRootKey) -> None:
    wrapped = root.wrap(KEK, AAD)
    assert "already: it is never replaced" in refusal(token.place(), HsmRootKey.create)
    assert HsmRootKey.open(*token.place()).unwrap(wrapped, AAD) == KEK


def test_neither_pin_nor_key_shows_in_the_representation(root: HsmRootKey) -> None:
    assert repr(root) == "HsmRootKey(hidden)"
    assert PIN not in repr(root._place)
