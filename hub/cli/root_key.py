"""`hub root-key …`: the root key is made in an HSM; or, where it is a file, split into shares for its custodians and restored from them."""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.out import console
from hub.cli.party import read_file
from hub.cli.root_change import change
from hub.crypto import custody
from hub.crypto.providers import write_root
from hub.crypto.roots import create_in_hsm, root_in_file
from hub.errors import InvalidRequest, Refused
from hub.private_file import write_new
from hub.settings import plain, read_settings
from hub.setup import keyd_folder

commands = typer.Typer(no_args_is_help=True, help="The root key: made in an HSM, changed; or, where it is a file, split into shares.")
commands.command()(change)
ShareFiles = Annotated[list[Path], typer.Argument(help="Files with one share each, in any order.", metavar="SHARE-FILE…")]


@commands.command()
def create() -> None:
    """Has the HSM of the settings make the root key, which never leaves it. Once, before the first hub migrate."""
    settings = read_settings()
    if settings.root_key_module is None or settings.root_key_token is None:
        raise Refused("HUB_ROOT_KEY_MODULE is not set: without an HSM the root key is a file, which hub migrate makes.")
    token, label = settings.root_key_token, settings.root_key_label
    create_in_hsm(keyd_folder(settings), settings.root_key_module, token, label, plain(settings.root_key_pin))
    console.print(f"Made the key {label} on the token {token}. Back up the token with its own means.", markup=False)


@commands.command()
def split(
    shares: Annotated[int, typer.Option(min=2, max=custody.MOST, help="How many shares to make.")],
    needed: Annotated[int, typer.Option(min=2, max=custody.MOST, help="How many of them restore the key.")],
    to: Annotated[Path, typer.Option(help="A folder: a file for each share is written there, mode 0600.")],
) -> None:
    """Splits the root key of the key file into shares for its custodians. Each set of shares is new; earlier ones stay good."""
    made = custody.split(_root_in_use(), needed, shares)
    _folder(to)
    paths = [to / f"share-{number}-of-{shares}.txt" for number in range(1, shares + 1)]
    _write_all({path: _text(share, number, shares, needed) for number, (path, share) in enumerate(zip(paths, made, strict=True), 1)})
    for path in paths:
        print(path)
    console.print(f"Any {needed} of these {shares} restore the key. Give each to its custodian, then delete the files.", markup=False)


@commands.command()
def check(share_files: ShareFiles) -> None:
    """Whether these shares restore the root key of the key file: yes or no (exit code 1). Writes nothing."""
    same = hmac.compare_digest(_restored(share_files), _root_in_use())
    print("yes" if same else "no")
    if not same:
        raise typer.Exit(1)


@commands.command()
def restore(share_files: ShareFiles, to: Annotated[Path, typer.Option(help="The new key file; it must not exist.")]) -> None:
    """Writes a new key file from shares, under a passphrase: that of HUB_ROOT_KEY_PASSPHRASE, or one that is asked for."""
    settings = read_settings()
    root = _restored(share_files)
    if to.exists():
        raise InvalidRequest(f"{to} is there already; a key file is never overwritten.")
    passphrase = plain(settings.root_key_passphrase)
    if passphrase is None:
        passphrase = typer.prompt("Passphrase of the new key file", hide_input=True, confirmation_prompt=True, err=True)
    write_root(to, passphrase, root)
    console.print(f"Restored {to}. As root.key in the key process's folder, with HUB_ROOT_KEY_PASSPHRASE, it is the hub's.", markup=False)


def _root_in_use() -> bytes:
    settings = read_settings()
    if settings.root_key_module is not None:
        raise Refused(
            f"The root key is on the HSM token {settings.root_key_token!r} and can't leave it: back up the token with its own means."
        )
    return root_in_file(keyd_folder(settings), plain(settings.root_key_passphrase))


def _restored(files: Sequence[Path]) -> bytes:
    return custody.restore([_words(path) for path in files], [str(path) for path in files])


def _text(share: str, number: int, shares: int, needed: int) -> str:
    """A word a line, with its number, so that it can be copied by hand and compared."""
    head = (
        f"# Share {number} of {shares} of a Concord root key. Any {needed} of them restore it: hub root-key restore.",
        f"# Set: {custody.name_of_set(share)}. Made {datetime.now(UTC):%Y-%m-%d}. Who has {needed} has the key: keep them apart.",
    )
    return "\n".join([*head, *(f"{place:2} {word}" for place, word in enumerate(share.split(), 1))]) + "\n"


def _words(path: Path) -> str:
    """The share in a file: without lines that begin with #, and without numbers, which are there to help people."""
    try:
        lines = read_file(path).decode().splitlines()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not a text.") from None
    words = [word for line in lines if not line.lstrip().startswith("#") for word in line.split()]
    return " ".join(word for word in words if not word.rstrip(".:)").isdigit())


def _folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"{path} can't be a folder: {error.strerror}.") from None


def _write_all(texts: dict[Path, str]) -> None:
    """All files or none: half a set is of no use, and could be taken for one."""
    written: list[Path] = []
    try:
        for path, text in texts.items():
            write_new(path, text.encode())
            written.append(path)
    except OSError as error:
        for done in written:
            done.unlink()
        if isinstance(error, FileExistsError):
            raise InvalidRequest(f"{path} is there already; a share is never overwritten.") from None
        raise InvalidRequest(f"{path} can't be written: {error.strerror}.") from None
