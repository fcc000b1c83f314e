"""What a hub needs before any of its processes starts, and what they open first: databases, migrations, key files, the purposes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from hub import localdb
from hub.audit.notes import BadNote, Signer, VerifierKey
from hub.audit.published import Published
from hub.crypto.next_root import Fits
from hub.crypto.providers import RootKey
from hub.crypto.roots import create_in_file, root_key_of
from hub.db import Database, connect, migrate, read_roles_secret, read_secrets, secret_file
from hub.errors import InvalidPolicy, Refused
from hub.identity.token_key import TokenKey, write_public
from hub.policy.purposes import read_purposes
from hub.private_file import replace
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


def log_folder(settings: Settings) -> Path:
    """What the sequencer alone needs: the log's signing key, the password of its role, the last checkpoint that it signed."""
    return settings.log_dir or settings.state_dir / "log"


def keyd_socket(settings: Settings) -> Path:
    """Where the key process listens."""
    return settings.keyd_socket or settings.state_dir / "keyd.sock"


def log_verifier(settings: Settings) -> VerifierKey:
    """The key by which checkpoints of the audit log are verified. Its private half is the sequencer's alone; `prepare` wrote this one.

    Raises:
        Refused: it is missing or damaged.
    """
    return _read_verifier(_verifier_file(settings))


def log_named(settings: Settings) -> VerifierKey:
    """The same from the sequencer's folder: the name of the log is the one that it was given first, whatever the settings say later.

    Raises:
        Refused: as `log_verifier`.
    """
    return _read_verifier(log_folder(settings) / "log.pub")


def _read_verifier(path: Path) -> VerifierKey:
    try:
        return VerifierKey.read(path.read_text())
    except OSError as error:
        raise Refused(f"The public key of the audit log {path} can't be read: {error.strerror}. Run `hub migrate`.") from None
    except (BadNote, UnicodeDecodeError):
        raise Refused(f"{path} is not the public key of an audit log. Run `hub migrate`.") from None


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
    """Migrates both databases and makes the keys that are missing: the same on a first and on any later start. The sequencer's are not made
    anew where they were taken to another machine.
    """
    folder, sequencer = keyd_folder(settings), None
    _make_folder(folder)
    _move_root_key(settings.state_dir, folder)
    elsewhere = _verifier_file(settings).exists() and not (log_folder(settings) / "log.key").exists()
    if not elsewhere:
        _make_folder(log_folder(settings))
        sequencer = read_roles_secret(log_folder(settings))
    migrate(addresses.main, addresses.keys, read_secrets(settings.state_dir), read_roles_secret(folder), sequencer)
    if not elsewhere:
        _write_verifier(settings)
    make_root_key(settings)
    open_root_key(settings)
    write_public(TokenKey.load_or_create(settings.state_dir / "token.pem"), folder / "token.pub")


def _verifier_file(settings: Settings) -> Path:
    return settings.state_dir / "log.pub"


def _write_verifier(settings: Settings) -> None:
    """Beside the log's key, once, with the name that the log is given then; a copy for the serving processes."""
    folder = log_folder(settings)
    own, seed = folder / "log.pub", secret_file(folder / "log.key")
    try:
        if not own.exists():
            replace(own, f"{Signer(settings.origin(), seed).key}\n".encode())
        key = log_named(settings)
        if settings.log_name not in (None, key.name):
            raise Refused(f"HUB_LOG_NAME is {settings.log_name}, and the audit log is called {key.name}: a log's name never changes.")
        text, path = f"{key}\n".encode(), _verifier_file(settings)
        if not path.exists() or path.read_bytes() != text:
            replace(path, text)
    except OSError as error:
        raise Refused(f"The public key of the audit log can't be written: {error}.") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"The folder {folder} can't be made: {error.strerror}.") from None


def _move_root_key(state: Path, folder: Path) -> None:
    """Before there was a key process, the root key lay in the state folder. The passphrase goes first: a key without it is moved again."""
    for name in ("root.passphrase", "root.key"):
        if (state / name).exists() and not (folder / name).exists():
            try:
                (state / name).rename(folder / name)
            except OSError as error:
                raise Refused(f"{state / name} can't be moved to {folder}: {error.strerror}. Move it there yourself.") from None


def open_database(settings: Settings, addresses: Addresses) -> Database:
    shared = read_secrets(settings.state_dir)
    return connect(addresses.main, shared, pool_size=settings.pool_size, timeout_s=settings.statement_timeout_s)


def published(settings: Settings, database: Database) -> Published:
    """The log as outsiders see it.

    Raises:
        Refused: its public key is missing.
    """
    return Published(database.auditor, log_verifier(settings), settings.witness_quorum)


def registry(settings: Settings) -> Mapping[str, str] | None:
    """The purposes that agreements may name; None: any word.

    Raises:
        Refused: the file is no registry.
    """
    if settings.purposes_file is None:
        return None
    try:
        return read_purposes(settings.purposes_file.read_bytes())
    except InvalidPolicy as error:
        raise Refused(f"{settings.purposes_file}: {error.detail}") from None
