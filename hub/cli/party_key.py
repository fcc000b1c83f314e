"""`hub party-key …`: the keys that parties sign agreements with. The private half is made and stays where the party keeps it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hub.agreements.party_keys import PartyKeys
from hub.cli.opened import opened
from hub.cli.out import console, table
from hub.cli.party import OPERATOR, AsAnybody, AsParty, party, passphrase_of, read_file
from hub.errors import InvalidRequest
from hub.identity.party_keys import OFFER, new_key, offer, public_of, sign

commands = typer.Typer(no_args_is_help=True, help="Keys for signatures: made and held by a party, offered by it, confirmed by an operator.")
THUMBPRINTS = {"ignore_unknown_options": True}  # one in 64 begins with a hyphen


@commands.command()
def new(path: Path, passphrase: Annotated[bool, typer.Option(help="Asks for a passphrase that protects the file.")] = True) -> None:
    """Makes a private key for signatures at PATH (Ed25519, mode 0600); prints its thumbprint. Keep it off the hub."""
    secret = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True) if passphrase else None
    try:
        jwk = new_key(path, secret)
    except FileExistsError:
        raise InvalidRequest(f"{path} is there already; a key is never overwritten.") from None
    except OSError as error:
        raise InvalidRequest(f"{path} can't be written: {error.strerror}.") from None
    console.print(
        f"Keep {path} to yourself. Offer it with hub party-key offer {path}, and tell the operator this thumbprint:", markup=False
    )
    print(jwk["kid"])


@commands.command("offer")
def offer_key(path: Path, organisation: Annotated[str, typer.Argument(help="Your organisation's slug.")], as_: AsParty) -> None:
    """Offers the public half of a key to the hub, with a proof that you hold the private one."""
    pem = read_file(path)
    secret = passphrase_of(pem)
    public, jwk = public_of(pem, secret)
    proof = sign(pem, secret, offer(organisation, jwk), OFFER)
    with party(as_) as client:
        found = client.request("POST", "/party-keys", {"public_key": public, "proof": proof}).json()
    console.print(f"Offered {found['kid']}. An operator confirms it with hub party-key confirm, after comparing the thumbprint with you.")


@commands.command(context_settings=THUMBPRINTS)
def confirm(kid: str) -> None:
    """Confirms a key that a party offered: compare the thumbprint with somebody you know there, by another way than the hub."""
    with opened() as database:
        found = PartyKeys(database.agreements, lambda: datetime.now(UTC)).confirm(OPERATOR, kid)
    console.print(f"Confirmed: {found.organisation} signs with {found.kid}.", markup=False)


@commands.command(context_settings=THUMBPRINTS)
def revoke(kid: str, as_: AsAnybody = None) -> None:
    """Ends a key: it signs nothing any more. Agreements that it signed stay in force."""
    if as_ is None:
        with opened() as database:
            PartyKeys(database.agreements, lambda: datetime.now(UTC)).revoke(OPERATOR, kid)
    else:
        with party(as_) as client:
            client.request("POST", f"/party-keys/{kid}/revocation", {})
    console.print(f"Revoked {kid}.", markup=False)


@commands.command("list")
def list_keys(as_: AsAnybody = None) -> None:
    """Keys for signatures and where they stand."""
    if as_ is None:
        with opened() as database:
            keys = PartyKeys(database.agreements, lambda: datetime.now(UTC)).list(OPERATOR)
        rows = [[k.kid, k.organisation, k.state] for k in keys]
    else:
        with party(as_) as client:
            rows = [[k["kid"], "yours", k["state"]] for k in client.get("/party-keys").json()["keys"]]
    table(["thumbprint", "organisation", "state"], rows)
