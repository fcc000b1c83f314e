"""Passkeys (WebAuthn Level 3): made at an invitation or at the account page, used to sign in without typing a name.

A device proves that it has the key *and* that its owner unlocked it (user verification): two factors. No attestation is asked for:
it would say which make of device somebody carries.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy import Connection, Engine, text
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from hub.errors import InvalidRequest, NotAuthenticated
from hub.identity import people
from hub.identity.challenges import TTL, Challenges, Kind
from hub.identity.connection import transaction
from hub.identity.people import Person

MOST = 20
MAX_LABEL = 60
MAX_CREDENTIAL_ID = 1_023  # WebAuthn §5.8.3
ALGORITHMS = [COSEAlgorithmIdentifier.ECDSA_SHA_256, COSEAlgorithmIdentifier.EDDSA, COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256]
# `none` is asked for; where a device signs its attestation with the new key itself, browsers leave that as `packed`.
FORMATS = ("none", "packed")

Credential = str | dict[str, Any]  # JSON as the browser's PublicKeyCredential.toJSON() makes it, parsed or not

_log = structlog.get_logger("hub.identity")

_ADD = text(
    "insert into hub.passkeys (credential_id, person, public_key, sign_count, label, created_at)"
    " values (:credential_id, :person, :public_key, :sign_count, :label, :now) on conflict do nothing returning credential_id"
)
_GET = text("select person, public_key from hub.passkeys where credential_id = :credential_id")
# 0 stays 0 with devices that don't count; otherwise it only grows (WebAuthn §6.1.1), also between two sign-ins at once.
_USED = text(
    "update hub.passkeys set sign_count = :count, used_at = :now where credential_id = :credential_id"
    " and (sign_count < :count or (sign_count = 0 and :count = 0)) returning credential_id"
)
_OF = text("select credential_id, label, created_at, used_at from hub.passkeys where person = :person order by created_at, credential_id")
_RENAME = text("update hub.passkeys set label = :label where person = :person and credential_id = :credential_id returning label")
_LOCK = text("select from hub.people where id = :person for update")
_REMOVE = text("delete from hub.passkeys where person = :person and credential_id = :credential_id")


@dataclass(frozen=True)
class Passkey:
    """What its owner sees of it."""

    credential_id: bytes
    label: str
    created_at: datetime
    used_at: datetime | None


class PasskeyRefused(NotAuthenticated):
    """a passkey that is not accepted: one answer, whatever the reason

    `reason` and `person` are for the log alone.
    """

    slug, title = "passkey-refused", "The passkey was not accepted"

    def __init__(self, reason: str, person: UUID | None = None) -> None:
        super().__init__("The passkey was not accepted: try again, or sign in another way.")
        self.reason = reason
        self.person = person


class Passkeys:
    """The hub's side of WebAuthn. `origin` is the hub's address, `rp_id` the host name in it: passkeys are bound to both."""

    def __init__(self, engine: Engine, rp_id: str, origin: str, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._rp_id = rp_id
        self._origin = origin_of(origin)
        self._clock = clock
        self._challenges = Challenges(engine, clock)

    def creation_options(self, person: Person) -> str:
        """JSON for `navigator.credentials.create`: a discoverable passkey that verifies its user. Good for five minutes, once."""
        selection = AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        )
        options = generate_registration_options(
            rp_id=self._rp_id,
            rp_name="Concord",
            user_id=person.id.bytes,
            user_name=person.handle,
            user_display_name=person.name,
            challenge=self._challenges.new("create", person.id, person.id.bytes),
            timeout=round(TTL.total_seconds() * 1000),
            authenticator_selection=selection,
            exclude_credentials=self._descriptors(person),
            supported_pub_key_algs=ALGORITHMS,
        )
        return options_to_json(options)

    def register(self, person: Person, credential_json: Credential, label: str, first: Callable[[], None] = lambda: None) -> None:
        """Keeps a passkey that the person's device has just made; `first` is done once it is known to be good.

        Raises:
            PasskeyRefused: for whatever reason.
            InvalidRequest: the label is not acceptable, or the person has too many passkeys.
        """
        named = _label(label)
        with _logged():
            made = self._made(person, credential_json)
            first()
            with transaction(self._engine) as connection:
                connection.execute(_LOCK, {"person": person.id})  # of two at once the second sees the first
                if len(_of(connection, person.id)) >= MOST:
                    raise InvalidRequest(f"There are {MOST} passkeys already: remove one first.", field="passkey")
                if people.read(connection, person.id).disabled(self._clock()):
                    raise PasskeyRefused("the person is disabled", person.id)
                if connection.execute(_ADD, {**made, "person": person.id, "label": named, "now": self._clock()}).one_or_none() is None:
                    raise PasskeyRefused("the credential is registered already", person.id)

    def request_options(self, person: Person | None = None, asker: bytes = b"") -> str:
        """JSON for `navigator.credentials.get`, for whoever comes or for one person (to unlock). Good for five minutes, once. `asker`:
        by what the open ones of whoever comes are bounded.
        """
        options = generate_authentication_options(
            rp_id=self._rp_id,
            challenge=self._challenges.new("get", person.id if person else None, person.id.bytes if person else asker),
            timeout=round(TTL.total_seconds() * 1000),
            allow_credentials=self._descriptors(person) if person else [],
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json(options)

    def verify(self, credential_json: Credential, person: Person | None = None) -> Person:
        """Whose passkey has signed: `person`'s where one is given, as in the options it answers.

        Raises:
            PasskeyRefused: for whatever reason. An unknown credential is answered faster than a wrong signature, which helps nobody:
                ids of credentials are long and random.
        """
        with _logged():
            with _doubting():
                signed = parse_authentication_credential_json(credential_json)
                asked = parse_client_data_json(signed.response.client_data_json)
            self._take(asked.challenge, "get", person, asked.cross_origin)
            with transaction(self._engine) as connection:
                row = connection.execute(_GET, {"credential_id": signed.raw_id}).one_or_none()
                if row is None:
                    raise PasskeyRefused("unknown credential")
                owner = people.read(connection, row.person)
            _check_owner(owner, signed.response.user_handle, person)
            with _doubting(owner.id):
                # The count is compared below, of a signature that has proved right: a forged one must not raise suspicion.
                count = verify_authentication_response(
                    credential=signed,
                    expected_challenge=asked.challenge,
                    expected_rp_id=self._rp_id,
                    expected_origin=self._origin,
                    credential_public_key=bytes(row.public_key),
                    credential_current_sign_count=0,
                    require_user_verification=True,
                ).new_sign_count
            if owner.disabled(self._clock()):
                raise PasskeyRefused("the person is disabled", owner.id)
            self._note_use(signed.raw_id, count, owner)
        return owner

    def of(self, person_id: UUID) -> list[Passkey]:
        """A person's passkeys, the oldest first."""
        return passkeys_of(self._engine, person_id)

    def rename(self, person_id: UUID, credential_id: bytes, label: str) -> None:
        """Raises `InvalidRequest`: the label is not acceptable, or the person has no such passkey."""
        values = {"person": person_id, "credential_id": credential_id, "label": _label(label)}
        with transaction(self._engine) as connection:
            if connection.execute(_RENAME, values).one_or_none() is None:
                raise InvalidRequest("You have no such passkey.", field="passkey")

    def remove(self, person_id: UUID, credential_id: bytes) -> None:
        """Forgets a passkey, but never the last one: whoever can get here can add another one first, and recovery codes are for when
        that is no longer so.

        Raises:
            InvalidRequest: the person has no such passkey, or no other one.
        """
        with transaction(self._engine) as connection:
            connection.execute(_LOCK, {"person": person_id})  # two that are removed at once are not both spared by the other
            known = [passkey.credential_id for passkey in _of(connection, person_id)]
            if credential_id not in known:
                raise InvalidRequest("You have no such passkey.", field="passkey")
            if len(known) == 1:
                raise InvalidRequest("This is your only passkey: add another one first.", field="passkey")
            connection.execute(_REMOVE, {"person": person_id, "credential_id": credential_id})

    def _take(self, challenge: bytes, kind: Kind, person: Person | None, cross_origin: bool | None) -> None:
        id = person.id if person else None
        if not self._challenges.take(challenge, kind, id):
            raise PasskeyRefused("the challenge is unknown, used, expired, or somebody else's", id)
        if cross_origin:
            raise PasskeyRefused("asked for inside another site's frame", id)

    def _made(self, person: Person, credential_json: Credential) -> dict[str, Any]:
        """The columns of a new passkey, verified (WebAuthn §7.1)."""
        with _doubting(person.id):
            made = parse_registration_credential_json(credential_json)
            asked = parse_client_data_json(made.response.client_data_json)
        self._take(asked.challenge, "create", person, asked.cross_origin)
        with _doubting(person.id):
            verified = verify_registration_response(
                credential=made,
                expected_challenge=asked.challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                require_user_verification=True,
                supported_pub_key_algs=ALGORITHMS,
            )
            usable = _usable(verified.credential_public_key) and len(verified.credential_id) <= MAX_CREDENTIAL_ID
        if not usable or verified.fmt not in FORMATS:
            raise PasskeyRefused("a key, an id or an attestation of a kind that the hub doesn't take", person.id)
        return {
            "credential_id": verified.credential_id,
            "public_key": verified.credential_public_key,
            "sign_count": verified.sign_count,
        }

    def _note_use(self, credential_id: bytes, count: int, owner: Person) -> None:
        with transaction(self._engine) as connection:
            values = {"credential_id": credential_id, "count": count, "now": self._clock()}
            if connection.execute(_USED, values).one_or_none() is None:
                raise PasskeyRefused("its counter did not grow: a copy of the passkey is suspected", owner.id)

    def _descriptors(self, person: Person) -> list[PublicKeyCredentialDescriptor]:
        return [PublicKeyCredentialDescriptor(id=passkey.credential_id) for passkey in self.of(person.id)]


def passkeys_of(engine: Engine, person_id: UUID) -> list[Passkey]:
    """A person's passkeys, the oldest first."""
    with transaction(engine) as connection:
        return _of(connection, person_id)


def origin_of(address: str) -> str:
    """The origin of an address as browsers write it: scheme, host, and a port that is not the scheme's own (RFC 6454 §6.2)."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, usual) else f":{parts.port}")


def _of(connection: Connection, person_id: UUID) -> list[Passkey]:
    rows = connection.execute(_OF, {"person": person_id})
    return [Passkey(bytes(row.credential_id), row.label, row.created_at, row.used_at) for row in rows]


def _check_owner(owner: Person, user_handle: bytes | None, person: Person | None) -> None:
    """WebAuthn §7.2, step 6: the device says whose passkey it is, and must when nobody was named before."""
    if person is not None and person.id != owner.id:
        raise PasskeyRefused("somebody else's passkey", person.id)
    if (user_handle is not None or person is None) and user_handle != owner.id.bytes:
        raise PasskeyRefused("the device names another person than the passkey's", owner.id)


def _usable(public_key: bytes) -> bool:
    """Whether a COSE key can be loaded and is of the kind that its algorithm is for: later each signature will be tried with it."""
    match decoded_public_key_to_cryptography(decode_credential_public_key(public_key)):
        case EllipticCurvePublicKey() as key:
            return isinstance(key.curve, SECP256R1)
        case RSAPublicKey() as key:
            return 2048 <= key.key_size <= 4096
        case Ed25519PublicKey():
            return True
    return False


def _label(label: str) -> str:
    label = label.strip()
    if not (label and label.isprintable() and len(label) <= MAX_LABEL):
        raise InvalidRequest(f"A passkey's name is 1 to {MAX_LABEL} printable characters.", field="label")
    return label


@contextmanager
def _doubting(person: UUID | None = None) -> Iterator[None]:
    """Bytes from outside can make a parser raise anything: whatever it is, the passkey is refused."""
    try:
        yield
    except Exception as error:
        raise PasskeyRefused(f"{type(error).__name__}: {error}"[:200], person) from None


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except PasskeyRefused as refused:
        _log.warning("passkey refused", reason=refused.reason, person=str(refused.person) if refused.person else None)
        raise
