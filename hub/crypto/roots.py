"""Where the root key is: in a file in the key process's folder, or in an HSM. What differs between the two is settled here.

In the folder: `root.key`, the key file; `root.passphrase`, which opens it where nobody gives one; `root.pin`, the HSM's PIN likewise.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from hub.crypto.next_root import Fits, pending, settled
from hub.crypto.providers import FileRootKey, RootKey, read_root
from hub.db import secret_file
from hub.errors import Refused
from hub.private_file import read_private

if TYPE_CHECKING:
    from hub.crypto.hsm import HsmRootKey

_PIN_BYTES = 1024


def root_key_of(
    folder: Path,
    passphrase: str | None = None,
    *,
    module: Path | None = None,
    token: str | None = None,
    label: str = "",
    pin: str | None = None,
    fits: Fits | None = None,
) -> RootKey:
    """The root key: in the HSM that the PKCS#11 library `module` reaches, else in the key file of the folder. It is never made here.

    `token` and `label` name the token and the key on it. A passphrase or PIN that is None is read from the folder. `fits` decides
    between two key files when a change of the root key was interrupted.

    Raises:
        Refused: it can't be had; one sentence says why.
    """
    if module is not None:
        return _hsm().open(module, token or "", pin_of(folder, pin), label)
    if pending(folder):
        return FileRootKey(settled(folder, passphrase, fits))
    return FileRootKey(root_in_file(folder, passphrase))


def create_in_file(folder: Path, passphrase: str | None = None) -> None:
    """Makes the key file in the folder unless it is there, and its passphrase unless one is given. Raises Refused."""
    path = folder / "root.key"
    if path.exists():
        return
    try:
        FileRootKey.create(path, secret_file(folder / "root.passphrase").hex() if passphrase is None else passphrase)
    except Refused:
        if not path.exists():
            raise  # else: a process that started together with this one was first


def create_in_hsm(folder: Path, module: Path, token: str, label: str, pin: str | None = None) -> None:
    """Has the HSM make the root key; arguments as above. Raises Refused, also if the token has a key of that label."""
    _hsm().create(module, token, pin_of(folder, pin), label)


def root_in_file(folder: Path, passphrase: str | None = None) -> bytes:
    """The 32 bytes of the root key in the key file. Raises Refused: there is no such file, it doesn't open, or it is being changed."""
    path, kept = folder / "root.key", folder / "root.passphrase"
    if pending(folder):
        raise Refused("A change of the root key was interrupted: start the key process, which ends it, or `hub root-key change` again.")
    if not path.exists():
        raise Refused(f"There is no root key at {path}: run `hub migrate` first.")
    if passphrase is None and not kept.exists():
        raise Refused(f"There is no passphrase for the root key: set HUB_ROOT_KEY_PASSPHRASE, or put back {kept}.")
    return read_root(path, secret_file(kept).hex() if passphrase is None else passphrase)


def pin_of(folder: Path, given: str | None) -> str:
    """Raises Refused: nobody gives a PIN, and there is no private file with one."""
    if given is not None:
        return given
    path = folder / "root.pin"
    if not path.exists():
        raise Refused(f"The HSM needs a PIN: set HUB_ROOT_KEY_PIN, or write it to {path} with mode 0600.")
    return read_pin(path)


def read_pin(path: Path) -> str:
    """The PIN in a private file of one line. Raises Refused."""
    content = read_private(path, "PIN file", _PIN_BYTES)
    try:
        pin = content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        pin = ""
    if not pin or "\n" in pin or len(content) > _PIN_BYTES:
        raise Refused(f"The PIN file {path} is not one line with a PIN.")
    return pin


def _hsm() -> "type[HsmRootKey]":
    """Only who has an HSM has the package for it."""
    try:
        from hub.crypto.hsm import HsmRootKey
    except ModuleNotFoundError:
        raise Refused("An HSM needs the package python-pkcs11, which is not installed: docs/keys.md says how.") from None
    return HsmRootKey
