"""A key pair for a client, made on the client's side."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hub.errors import Conflict, InvalidRequest
from hub.private_file import write_new


def write(path: Path) -> Path:
    """Writes an EC P-256 private key to `path` (PEM, mode 0600) and its public key beside it; gives the public key's path.

    Raises:
        Conflict: there is a file already.
        InvalidRequest: the folder can't be written.
    """
    key = generate_private_key(SECP256R1())
    public = path.with_name(path.name + ".pub")
    try:
        write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except FileExistsError:
        raise Conflict(f"{path} exists already; a key is never overwritten.") from None
    except OSError as error:
        raise InvalidRequest(f"{path} can't be written: {error.strerror}.") from None
    return public
