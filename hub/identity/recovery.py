"""Recovery codes: for a person whose passkeys are lost. Each is good once and only leads to making a new passkey.

A code holds 80 random bits, so a plain SHA-256 can't be undone by trying; slow hashes (argon2) are for what people think up.
"""

import hashlib
import secrets
from base64 import b32encode
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, text

from hub.identity import people
from hub.identity.connection import transaction
from hub.identity.people import Person

COUNT = 10
BYTES = 10
# Crockford's base 32 has no I, L, O and U; the first three are read as the digits they are taken for.
_ALPHABET = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
_MISREAD = str.maketrans("OIL", "011")

_LOCK = text("select from hub.people where id = :person for update")
_VOID = text("delete from hub.recovery_codes where person = :person")
_ADD = text("insert into hub.recovery_codes (person, code_hash) values (:person, :code_hash)")
# One statement whether or not there is such a person: who waits for the answer learns nothing of handles.
_USE = text(
    "update hub.recovery_codes c set used_at = :now from hub.people p"
    " where p.handle = :handle and c.person = p.id and c.code_hash = :code_hash and c.used_at is null"
    " and (p.disabled_at is null or p.disabled_at > :now) returning c.person"
)
_LEFT = text("select count(*) from hub.recovery_codes where person = :person and used_at is null")


def new_codes(engine: Engine, person_id: UUID) -> list[str]:
    """Ten new codes such as `7Q3D-0KXM-92VH-T5AB`, told this once; the person's older ones are void."""
    codes = [_code() for _ in range(COUNT)]
    with transaction(engine) as connection:
        connection.execute(_LOCK, {"person": person_id})  # of two calls at once, one's codes are the person's
        connection.execute(_VOID, {"person": person_id})
        connection.execute(_ADD, [{"person": person_id, "code_hash": _hash(code)} for code in codes])
    return codes


def use(engine: Engine, handle: str, code: str, now: datetime) -> Person | None:
    """Whose code it was, for exactly one caller, durably; None: no such person, not theirs, used, void, or the person is disabled.

    Forgives capitals, spaces, dashes, and O, I and L for 0, 1 and 1.
    """
    with transaction(engine) as connection:
        values = {"handle": _plain(handle).strip().lower(), "code_hash": _hash(code), "now": now}
        found = connection.scalar(_USE, values)
        return people.read(connection, found) if found else None


def left(engine: Engine, person_id: UUID) -> int:
    """How many of the person's codes are still good."""
    with transaction(engine) as connection:
        return connection.scalar(_LEFT, {"person": person_id}) or 0


def _code() -> str:
    digits = b32encode(secrets.token_bytes(BYTES)).decode().translate(_ALPHABET)
    return "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _hash(code: str) -> bytes:
    digits = "".join(c for c in code if not c.isspace() and c not in "-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{EN DASH}")
    return hashlib.sha256(digits.upper().translate(_MISREAD).encode("utf-8", "replace")).digest()


def _plain(handle: str) -> str:
    """What PostgreSQL takes as text; a handle that had anything else is nobody's."""
    return handle.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
