"""`hub keyd`: the key process. It alone holds the root key, the keys and the way to the keys database, and answers over a unix socket.

Who may connect is decided by the operating system's word for who is at the other end (SO_PEERCRED), not by the socket's mode.
"""

import os
import pwd
import socket
import struct
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from hub.crypto import known_answers, messages
from hub.crypto.destruction import Destruction
from hub.crypto.keyring import Keyring
from hub.crypto.leaf_signer import LeafSigner
from hub.crypto.messages import Failed, Malformed, Reply
from hub.crypto.remote import receive
from hub.datasets import DATASETS
from hub.db import KeydDatabase, connect_keyd, read_roles_secret
from hub.errors import HubError, Refused
from hub.identity.token_key import read_public
from hub.identity.tokens import Verifier
from hub.settings import Settings
from hub.setup import Addresses, keyd_folder, keyd_socket
from hub.workers.copying import Copying
from hub.workers.destroying import Destroying
from hub.workers.ending import utc_now, wait_for_the_end
from hub.workers.kept import listens
from hub.workers.lending import Lending, Pace
from hub.workers.limits import Limits
from hub.workers.upkeep import fitting_root_key

CHORES_S: Final = 0.2
MAX_CONNECTIONS: Final = 512
_PEER = struct.Struct("3i")  # pid, uid, gid
_log = structlog.get_logger("hub.keyd")


class KeyServer:
    """Listens at `path` and has `answer` answer each request, in a thread for each connection."""

    def __init__(self, path: Path, lending: Lending, users: Collection[int]) -> None:
        self._path, self._lending, self._users = path, lending, frozenset(users)
        self._listener = _listen(path)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False

    def serve(self) -> None:
        """Answers until it is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._begin(connection)

    def close(self) -> None:
        """Stops listening and hangs up: whoever waits for an answer asks the next key process."""
        with self._lock:
            self._closed, left = True, list(self._open)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with suppress(FileNotFoundError):
            self._path.unlink()

    def _begin(self, connection: socket.socket) -> None:
        pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        with self._lock:
            welcome = uid in self._users and len(self._open) < MAX_CONNECTIONS and not self._closed
            if welcome:
                self._open.add(connection)
        if welcome:
            threading.Thread(target=self._talk, args=(connection,), name="keyd", daemon=True).start()
        else:
            _log.warning("connection refused", uid=uid, pid=pid)
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        try:
            while True:
                body = receive(connection, messages.length_of(receive(connection, messages.LENGTH)))
                connection.sendall(messages.encode(self._reply(body)))
        except (OSError, EOFError):
            pass  # the other end went away
        except Malformed as error:
            _log.warning("message refused", error=str(error))
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _reply(self, body: bytes) -> Reply:
        request = messages.request_of(body)
        try:
            return self._lending.answer(request)
        except HubError as error:
            records = sorted(record.bytes for record in getattr(error, "records", ()))
            _log.info("refused", kind=type(request).__name__, slug=error.slug, why=error.detail)
            return Failed(error.slug, error.detail, records)
        except Exception:
            _log.exception("failed", kind=type(request).__name__)
            return Failed("internal", "The key process could not answer.")


class Keyd:
    """The key process: its keys, its databases, its server. Closing it is for the end."""

    def __init__(self, settings: Settings, addresses: Addresses, clock: Callable[[], datetime] = utc_now) -> None:
        """Opens everything.

        Raises:
            Refused: an algorithm doesn't give its known answer; a key file is missing, damaged or open to others; the root key isn't that
                of the keys; the socket is taken.
            Unavailable: a database can't be reached.
        """
        known_answers.check()
        folder, root = keyd_folder(settings), fitting_root_key(settings, addresses)
        self.database = _database(settings, addresses)
        try:
            self.keyring = Keyring(root, self.database.keys)
            self.keyring.check()
            self.signer = LeafSigner(self.keyring.signing_seed(), self.database.keys)
            verifier = Verifier(settings.base_url, f"{settings.base_url}/", read_public(folder / "token.pub"))
            self.limits = Limits(settings.opened_per_hour)
            destruction = Destruction(self.keyring, self.database.keys)
            self.destroying = Destroying(self.keyring, destruction, self.database.main, DATASETS, clock, settings.keys_backups_kept_days)
            questions, region = (
                Limits(settings.matches_per_hour, "ask whether a value occurs {most} times within an hour"),
                settings.phone_region,
            )
            pace = Pace(settings.log_behind_s, settings.witness_quorum, settings.witness_block_s)
            self.copying = Copying(self.signer, self.database.main)
            self.lending = Lending(
                self.keyring,
                self.signer,
                self.database.main,
                DATASETS,
                verifier,
                self.limits,
                questions,
                clock,
                region,
                pace,
                lambda: self.copying.behind_s,
            )
            self._server = KeyServer(keyd_socket(settings), self.lending, _users(settings))
        except BaseException:
            self.database.dispose()
            raise
        self._stopped = threading.Event()

    def start(self) -> None:
        """Serves in threads of its own."""
        for target in (self._server.serve, self._chores):
            threading.Thread(target=target, name="keyd", daemon=True).start()

    def close(self) -> None:
        self._stopped.set()
        self._server.close()
        self.lending.close()
        self.database.dispose()

    def _chores(self) -> None:
        while not self._stopped.wait(CHORES_S):
            for what, chore in (("copy signatures", self.copying.run), ("destroy keys", self.destroying.run)):
                try:
                    chore()
                except HubError as error:
                    _log.error("waits", what=what, error=error.detail)
                except Exception:
                    if not self._stopped.is_set():
                        _log.exception("waits", what=what)


def run(settings: Settings, addresses: Addresses, until: Callable[[], object] | None = None) -> None:
    """Serves until SIGTERM or SIGINT, or until `until` returns."""
    keyd = Keyd(settings, addresses)
    keyd.start()
    _log.info("key process ready", socket=str(keyd_socket(settings)), libraries=[str(library) for library in known_answers.libraries()])
    wait_for_the_end(until)
    keyd.close()


def _database(settings: Settings, addresses: Addresses) -> KeydDatabase:
    secret = read_roles_secret(keyd_folder(settings))
    return connect_keyd(addresses.main, addresses.keys, secret, pool_size=settings.pool_size, timeout_s=settings.statement_timeout_s)


def _users(settings: Settings) -> set[int]:
    """Whose processes may connect: root's, those of the key process's own user, and those of the users that the settings name."""
    found = {0, os.getuid()}
    for name in filter(None, (part.strip() for part in settings.keyd_users.split(","))):
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise Refused(f"HUB_KEYD_USERS: this machine has no user {name!r}.") from None
    return found


def _listen(path: Path) -> socket.socket:
    """A listening socket at `path`. One that nobody listens at any more is taken over."""
    if len(os.fsencode(path)) > 107:
        raise Refused(f"The socket's path {path} is longer than the 107 bytes that Linux allows: set HUB_KEYD_SOCKET to a shorter one.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if listens(path):
            raise Refused(f"A key process listens at {path} already.")
        with suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise Refused(f"The key process can't listen at {path}: {error.strerror}.") from None
    except BaseException:
        listener.close()
        raise
    return listener
