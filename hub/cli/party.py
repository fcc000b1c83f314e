"""Acting for a party of agreements, over HTTP, or as the operator, on the hub itself."""

from pathlib import Path
from typing import Annotated

import typer

from hub.agreements.store import Actor
from hub.audit.leaf import By
from hub.client import Client
from hub.demo.partners import profile_client
from hub.errors import InvalidRequest
from hub.settings import read_settings

AsParty = Annotated[str, typer.Option("--as", help="The profile of your organisation's program with the scope agreements.")]
AsAnybody = Annotated[str | None, typer.Option("--as", help="A party's profile; without one you act as the operator, on the hub itself.")]
OPERATOR = Actor(None, By(client="cli"))


def party(profile: str) -> Client:
    """The program of a party."""
    return profile_client(profile, read_settings().state_dir, "agreements")


def read_file(path: Path) -> bytes:
    """Raises InvalidRequest: the file can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read: {error.strerror}.") from None


def passphrase_of(pem: bytes) -> str | None:
    """Asks for the passphrase of a private key, if it has one."""
    return typer.prompt("Passphrase of the key", hide_input=True, err=True) if b"ENCRYPTED" in pem else None
