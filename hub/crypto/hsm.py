"""A root key that never leaves a hardware security module (HSM), used through PKCS#11 v2.40.

    wrapped KEK (62 B)  01 | 02 | nonce 12 | ct 32 | tag 16        (AAD: `envelope.kek_aad`)

The token itself does AES-256-GCM (CKM_AES_GCM) with a secret key that can be neither read (CKA_SENSITIVE) nor taken out (not
CKA_EXTRACTABLE). The nonce is ours, so that the hub relies on no random generator that it can't choose.

Open it in the process that uses it: PKCS#11 does not survive a fork.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import pkcs11
import structlog
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, PKCS11Error, TokenFlag

from hub.crypto.providers import IN_HSM, Random, parts
from hub.errors import Refused, Tampered, Unavailable

_log = structlog.get_logger("hub.hsm")
_PROBE: Final = bytes(32)
_PROBE_AAD: Final = b"HUBPROBE"
_SEALED_BYTES: Final = 48
_TAG_FAILS: Final = (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange)
# SoftHSM up to 2.6 and others answer this to a tag that doesn't verify (SoftHSMv2 issue 689), and to real trouble too.
_UNCLEAR: Final = (pkcs11.GeneralError, pkcs11.FunctionFailed)
_LOCKED: Final = "is locked after too many wrong ones: unlock it with the HSM's own tool"


class _PinRefused(Refused):
    """Not to be tried again: the next wrong PIN may be the one that locks the token."""


class _Library:
    """A PKCS#11 library: loaded once in a process, called under `lock` only, since it is started without locks of its own."""

    def __init__(self, path: str) -> None:
        self._lib = pkcs11.lib(path)
        self.lock = threading.RLock()
        self.starts = 0
        """A session or key of an earlier start means nothing any more; its number may mean another one's."""

    def restart(self) -> None:
        self.starts += 1
        self._lib.reinitialize()

    def tokens(self, label: str) -> list[pkcs11.Token]:
        return list(self._lib.get_tokens(token_label=label))


_libraries: dict[str, _Library] = {}
_loading = threading.Lock()


def _load(module: Path) -> _Library:
    path = str(module.absolute())  # a name without a slash would be looked for elsewhere
    with _loading:
        if path not in _libraries:
            try:
                _libraries[path] = _Library(path)
            except PKCS11Error as error:
                reason = "it is missing" if not module.exists() else f"it is not one, or does not start ({_said(error)})"
                raise Refused(f"The PKCS#11 library {module} cannot be used: {reason}.") from None
        return _libraries[path]


class _Place:
    """A key on a token, and the PIN to it. What it does is done under the library's lock."""

    __slots__ = ("_key_label", "_label", "_pin", "library")

    def __init__(self, library: _Library, token_label: str, pin: str, key_label: str) -> None:
        self.library, self._label, self._pin, self._key_label = library, token_label, pin, key_label

    def find(self, nonce: bytes) -> pkcs11.SecretKey:
        """Logs in and gives the key, tried with `nonce`. Raises Refused."""
        session = self._session()
        try:
            keys = self._keys(session)
            if not keys:
                raise Refused(f"The HSM token {self._label!r} has no secret key {self._key_label!r}: `hub root-key create` makes one.")
            if len(keys) > 1:
                raise Refused(f"The HSM token {self._label!r} has {len(keys)} secret keys {self._key_label!r}: which is the hub's?")
            doubt = _doubt(keys[0])
            if doubt:
                raise Refused(f"The key {self._key_label!r} of the HSM token {self._label!r} {doubt}.")
            _prove(keys[0], nonce)
        except PKCS11Error as error:
            raise self._fault(error) from None
        return keys[0]

    def make(self) -> None:
        """Has the token make the key. Raises Refused."""
        session = self._session(rw=True)
        try:
            if self._keys(session):
                raise Refused(f"The HSM token {self._label!r} has a secret key {self._key_label!r} already: it is never replaced.")
            session.generate_key(
                KeyType.AES,
                256,
                label=self._key_label,
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
        except PKCS11Error as error:
            raise self._fault(error) from None

    def _keys(self, session: pkcs11.Session) -> list[pkcs11.SecretKey]:
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self._key_label}
        return [key for key in session.get_objects(wanted) if isinstance(key, pkcs11.SecretKey)]

    def _session(self, *, rw: bool = False) -> pkcs11.Session:
        try:
            token = self._token()
            barred = _barred(token.flags)
            if barred:
                raise _PinRefused(f"The PIN of the HSM token {self._label!r} {barred}.")
            if Mechanism.AES_GCM not in token.slot.get_mechanisms():
                raise Refused(f"The HSM token {self._label!r} cannot do AES-GCM (CKM_AES_GCM).")
            try:
                return token.open(rw=rw, user_pin=self._pin)
            except pkcs11.UserAlreadyLoggedIn:  # as another root key of this process: a login is the whole process's
                return token.open(rw=rw)
        except PKCS11Error as error:
            raise self._fault(error) from None

    def _token(self) -> pkcs11.Token:
        found: list[pkcs11.Token] = []
        with suppress(PKCS11Error):
            found = self.library.tokens(self._label)
        if not found:  # it may have come since the library was started, or come back
            self.library.restart()
            found = self.library.tokens(self._label)
        if not found:
            raise Refused(f"There is no HSM token {self._label!r}.")
        if len(found) > 1:
            raise Refused(f"There are {len(found)} HSM tokens {self._label!r}: give the hub's a label of its own.")
        return found[0]

    def _fault(self, error: PKCS11Error) -> Refused:
        match error:
            case pkcs11.PinIncorrect() | pkcs11.PinInvalid() | pkcs11.PinLenRange():
                return _PinRefused(f"The PIN is not that of the HSM token {self._label!r}.")
            case pkcs11.PinLocked():
                return _PinRefused(f"The PIN of the HSM token {self._label!r} {_LOCKED}.")
            case pkcs11.UserPinNotInitialized() | pkcs11.PinExpired():
                return _PinRefused(f"The HSM token {self._label!r} has no PIN in force for its user: set one with the HSM's own tool.")
            case _:
                return Refused(f"The HSM token {self._label!r} cannot be used: it answers {_said(error)}.")


class HsmRootKey:
    """A root key in an HSM. Safe to use from several threads, which take turns.

    A session that was lost is opened anew, once for each call; then `wrap` and `unwrap` raise Unavailable.
    """

    __slots__ = ("_given_up", "_key", "_place", "_random", "_start")

    def __init__(self, place: _Place, random: Random) -> None:
        self._place, self._random, self._given_up = place, random, False
        with place.library.lock:
            self._find()

    def __repr__(self) -> str:
        return "HsmRootKey(hidden)"

    @classmethod
    def create(cls, module: Path, token_label: str, pin: str, key_label: str, random: Random = os.urandom) -> Self:
        """Has the token make the key; it must not have one with that label. Raises Refused as `open` does."""
        place = _Place(_load(module), token_label, pin, key_label)
        with place.library.lock:
            place.make()
        return cls(place, random)

    @classmethod
    def open(cls, module: Path, token_label: str, pin: str, key_label: str, random: Random = os.urandom) -> Self:
        """Logs in and tries the key.

        Raises:
            Refused: in one sentence for the operator. The library is none, there is no such token, the PIN is wrong or locked, there
                is no such key, or several, or one that could leave the token or isn't AES-256.
        """
        return cls(_Place(_load(module), token_label, pin, key_label), random)

    def wrap(self, kek: bytes, aad: bytes) -> bytes:
        if len(kek) != 32:
            raise ValueError("a KEK is 32 bytes")
        _check_bound(aad)
        nonce = self._random(12)
        return IN_HSM + nonce + self._use(lambda key: _encrypt(key, nonce, kek, aad))

    def unwrap(self, blob: bytes, aad: bytes) -> bytes:
        _check_bound(aad)
        nonce, sealed = parts(blob, IN_HSM)
        return self._use(lambda key: self._opened(key, nonce, sealed, aad))

    def _opened(self, key: pkcs11.SecretKey, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        try:
            return _decrypt(key, nonce, sealed, aad)
        except _TAG_FAILS:
            pass
        except _UNCLEAR:
            _prove(key, self._random(12))  # if the token does what it should, it is the blob that is wrong
        raise Tampered("A wrapped key-encryption key does not verify under the root key in the HSM.")

    def _use(self, work: Callable[[pkcs11.SecretKey], bytes]) -> bytes:
        library = self._place.library
        with library.lock:
            if self._given_up:
                raise Unavailable("The HSM does not take the PIN any more; it is tried again when the hub is started anew.")
            try:
                if self._start == library.starts:  # else another root key of this process had the library started anew
                    return work(self._key)
            except PKCS11Error:
                with suppress(PKCS11Error):  # looking for the token tries once more
                    library.restart()
            try:
                self._find()
                return work(self._key)
            except (PKCS11Error, Refused) as error:
                self._given_up = isinstance(error, _PinRefused)
                _log.error("the HSM does not answer", why=_said(error))
                raise Unavailable("The HSM with the root key does not answer; nothing was opened. Try again shortly.") from error

    def _find(self) -> None:
        self._key = self._place.find(self._random(12))
        self._start = self._place.library.starts  # only now: looking for the token may have started the library anew


def _check_bound(aad: bytes) -> None:
    if not aad:  # some builds of SoftHSM end the process (SoftHSMv2 issue 664)
        raise ValueError("a KEK is bound to something")


def _barred(flags: TokenFlag) -> str | None:
    """Why no PIN is tried: the hub never uses up the last try, which workers that are restarted soon would."""
    if flags & TokenFlag.USER_PIN_LOCKED:
        return _LOCKED
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        return "was wrong so often that one more time locks it: log in once with the HSM's own tool"
    return None


def _doubt(key: pkcs11.SecretKey) -> str | None:
    """Why this is no root key."""
    wanted = {
        Attribute.KEY_TYPE: (KeyType.AES, "is not AES-256"),
        Attribute.VALUE_LEN: (32, "is not AES-256"),
        Attribute.SENSITIVE: (True, "can be read (CKA_SENSITIVE is off)"),
        Attribute.EXTRACTABLE: (False, "can be taken out of the token (CKA_EXTRACTABLE is on)"),
        Attribute.ENCRYPT: (True, "may not encrypt (CKA_ENCRYPT is off)"),
        Attribute.DECRYPT: (True, "may not decrypt (CKA_DECRYPT is off)"),
    }
    found = key.get_attributes(list(wanted))
    return next((doubt for attribute, (value, doubt) in wanted.items() if found.get(attribute) != value), None)


def _prove(key: pkcs11.SecretKey, nonce: bytes) -> None:
    """Raises PKCS11Error when the token doesn't give back what it sealed, or seals in another form."""
    sealed = _encrypt(key, nonce, _PROBE, _PROBE_AAD)
    if len(sealed) != _SEALED_BYTES or _decrypt(key, nonce, sealed, _PROBE_AAD) != _PROBE:
        raise pkcs11.FunctionFailed("another form of AES-GCM")


# A key has these methods if the token lets it encrypt and decrypt: that much its type doesn't say.
def _encrypt(key: Any, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    return bytes(key.encrypt(plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=pkcs11.GCMParams(nonce, aad, 128)))


def _decrypt(key: Any, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    return bytes(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=pkcs11.GCMParams(nonce, aad, 128)))


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
