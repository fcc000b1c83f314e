"""`hub root-key change`: another root key, in a file or an HSM. Killed anywhere, the former or the new one opens every key."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.out import console
from hub.crypto.next_root import alone, drop_next, make_next, take_next
from hub.crypto.providers import RootKey
from hub.crypto.roots import read_pin, root_key_of
from hub.errors import InvalidRequest, Refused
from hub.settings import Settings, plain, read_settings
from hub.setup import addresses_of, keyd_folder, keyd_socket
from hub.workers.kept import listens
from hub.workers.upkeep import held


class To(StrEnum):
    FILE = "file"
    HSM = "hsm"


Module = Annotated[Path | None, typer.Option(help="PKCS#11 library of the HSM. Unset: that of the settings.", exists=True)]
Token = Annotated[str | None, typer.Option(help="Label of its token. Unset: that of the settings.")]
Label = Annotated[str, typer.Option(help="Label of the new root key on it, which is there: hub root-key create makes one.")]
PinFile = Annotated[Path | None, typer.Option(help="A private file with the token's PIN. Unset: that of the settings, or root.pin.")]
Ask = Annotated[bool, typer.Option("--ask", help="Asks for the passphrase of the new key file, and keeps it nowhere.")]


def change(
    to: Annotated[To, typer.Option(help="Where the new root key is: in a key file, which is made, or in an HSM.")],
    module: Module = None,
    token: Token = None,
    label: Label = "concord-root",
    pin_file: PinFile = None,
    ask: Ask = False,
) -> None:
    """Wraps every key with another root key, all or none. Stop the key process first; run it as its user. Interrupted, run it again."""
    settings = read_settings()
    folder, socket = keyd_folder(settings), keyd_socket(settings)

    def unheard() -> None:
        if listens(socket):
            raise Refused(f"A key process listens at {socket} and would go on with the former root key: stop it, or the hub that runs it.")

    unheard()
    with alone(folder), held(settings, addresses_of(settings)) as keys:
        keys.rotation.holds()
        drop_next(folder)
        if to is To.FILE:
            count = keys.rotation.change_root(make_next(folder, _passphrase(settings, ask)), unheard)
            take_next(folder)
        else:
            count = keys.rotation.change_root(_in_hsm(settings, module, token, label, pin_file), unheard)
    console.print(f"{count:,} keys are wrapped with the new root key.")
    _tell(settings, to, folder, ask)


def _passphrase(settings: Settings, ask: bool) -> str | None:
    """Asked for where it is kept elsewhere: None has one made and kept beside the key, as `hub migrate` does."""
    if not ask and plain(settings.root_key_passphrase) is None:
        return None
    return str(typer.prompt("Passphrase of the new key file", hide_input=True, confirmation_prompt=True, err=True))


def _in_hsm(settings: Settings, module: Path | None, token: str | None, label: str, pin_file: Path | None) -> RootKey:
    module, token = module or settings.root_key_module, token or settings.root_key_token
    if module is None or token is None:
        raise InvalidRequest("An HSM needs --module and --token.")
    if (module, token, label) == (settings.root_key_module, settings.root_key_token, settings.root_key_label):
        raise InvalidRequest(f"The key {label} on the token {token} is the root key in use: make another one first, with another label.")
    pin = plain(settings.root_key_pin) if pin_file is None else read_pin(pin_file)
    return root_key_of(keyd_folder(settings), module=module, token=token, label=label, pin=pin)


def _tell(settings: Settings, to: To, folder: Path, ask: bool) -> None:
    say: Callable[[str], None] = lambda sentence: console.print(sentence, markup=False)  # noqa: E731
    if to is To.HSM:
        say("Now set HUB_ROOT_KEY_MODULE, HUB_ROOT_KEY_TOKEN, HUB_ROOT_KEY_LABEL and the PIN to where it is, then start the key process.")
    elif settings.root_key_module is not None:
        say("Now unset HUB_ROOT_KEY_MODULE and what else names the HSM, then start the key process.")
    elif ask or settings.root_key_passphrase is not None:
        say("Now give the key process the new passphrase, then start it.")
    say(f"The former root key opens the backups of the keys made under it, and nothing else: keep it with them, not in {folder}.")
    if to is To.FILE:
        say("Shares of the former root key don't restore the new one: hub root-key split.")
