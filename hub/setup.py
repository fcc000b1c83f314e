"""What a hub needs before any of its processes starts: where its databases are, their migrations, its key files."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from hub import localdb
from hub.crypto.providers import FileRootKey
from hub.db import migrate, read_keyd_secret, read_secrets, secret_file
from hub.errors import Refused
from hub.identity.token_key import TokenKey, write_public
from hub.settings import Settings


@dataclass(frozen=True)
class Addresses:
    """The administrator's addresses of the two databases."""

    main: sa.URL
    keys: sa.URL


def addresses_of(settings: Settings) -> Addresses:
    """The databases of the settings; without HUB_DATABASE_URL the private cluster's, which is started if it is down."""
    main, keys = settings.main_url(), settings.keys_url()
    if main is None or keys is None:
        cluster = localdb.ensure(settings.state_dir / "pg")
        main, keys = sa.make_url(cluster.url("hub")), keys or sa.make_url(cluster.url("hub_keys"))
    return Addresses(main, keys)


def keyd_folder(settings: Settings) -> Path:
    """What the key process alone needs: the root key, the password of its roles."""
    return settings.keyd_dir or settings.state_dir / "keyd"


def keyd_socket(settings: Settings) -> Path:
    """Where the key process listens."""
    return settings.keyd_socket or settings.state_dir / "keyd.sock"


def make_root_key(settings: Settings) -> None:
    """Makes the root key in the key process's folder unless it is there, and its passphrase unless the settings have one.

    Raises:
        Refused: the folder can't be written.
    """
    folder = keyd_folder(settings)
    if (folder / "root.key").exists():
        return
    _make_folder(folder)
    if settings.root_key_passphrase is None:
        secret_file(folder / "root.passphrase")
    try:
        FileRootKey.create(folder / "root.key", _passphrase(settings))
    except Refused:
        if not (folder / "root.key").exists():
            raise  # else: a process that started together with this one was first


def open_root_key(settings: Settings) -> FileRootKey:
    """The root key in the key process's folder. It is never made here: a new one in place of one that is elsewhere would be of no use.

    Raises:
        Refused: there is none, the file can be read by others, is damaged, or the passphrase does not open it.
    """
    path = keyd_folder(settings) / "root.key"
    if not path.exists():
        raise Refused(f"There is no root key at {path}: run `hub migrate` first.")
    return FileRootKey.open(path, _passphrase(settings))


def _passphrase(settings: Settings) -> str:
    if settings.root_key_passphrase is not None:
        return settings.root_key_passphrase.get_secret_value()
    path = keyd_folder(settings) / "root.passphrase"
    if not path.exists():
        raise Refused(f"There is no passphrase for the root key: set HUB_ROOT_KEY_PASSPHRASE, or put back {path}.")
    return secret_file(path).hex()


def prepare(settings: Settings, addresses: Addresses) -> None:
    """Migrates both databases and makes the keys that are missing: the same on a first and on any later start."""
    folder = keyd_folder(settings)
    _make_folder(folder)
    _move_root_key(settings.state_dir, folder)
    migrate(addresses.main, addresses.keys, read_secrets(settings.state_dir), read_keyd_secret(folder))
    make_root_key(settings)
    open_root_key(settings)
    write_public(TokenKey.load_or_create(settings.state_dir / "token.pem"), folder / "token.pub")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"The key process's folder {folder} can't be made: {error.strerror}.") from None


def _move_root_key(state: Path, folder: Path) -> None:
    """Before there was a key process, the root key lay in the state folder. The passphrase goes first: a key without it is moved again."""
    for name in ("root.passphrase", "root.key"):
        if (state / name).exists() and not (folder / name).exists():
            try:
                (state / name).rename(folder / name)
            except OSError as error:
                raise Refused(f"{state / name} can't be moved to {folder}: {error.strerror}. Move it there yourself.") from None
