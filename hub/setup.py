"""What a hub needs before any of its processes starts: where its databases are, their migrations, its key files."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from hub import localdb
from hub.crypto.next_root import Fits
from hub.crypto.providers import RootKey
from hub.crypto.roots import create_in_file, root_key_of
from hub.db import migrate, read_keyd_secret, read_secrets
from hub.errors import Refused
from hub.identity.token_key import TokenKey, write_public
from hub.settings import Settings, plain


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
    """Makes the root key in the key process's folder unless it is there, and its passphrase unless the settings have one. In an HSM nothing
    is made: a wrong label would make a second root key.

    Raises:
        Refused: the folder can't be written.
    """
    if settings.root_key_module is None:
        _make_folder(keyd_folder(settings))
        create_in_file(keyd_folder(settings), plain(settings.root_key_passphrase))


def open_root_key(settings: Settings, fits: Fits | None = None) -> RootKey:
    """The root key, from the key process's folder or in an HSM. It is never made here: a new one in place of one that is elsewhere would be
    of no use. `fits` decides when a change of the root key was interrupted.

    Raises:
        Refused: there is none; the file can be read by others or is damaged; the passphrase or the PIN does not open it.
    """
    return root_key_of(
        keyd_folder(settings),
        plain(settings.root_key_passphrase),
        module=settings.root_key_module,
        token=settings.root_key_token,
        label=settings.root_key_label,
        pin=plain(settings.root_key_pin),
        fits=fits,
    )


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
