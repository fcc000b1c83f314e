"""A private PostgreSQL + PostGIS cluster in one folder of its own, for the demo, the tests and the benchmarks.

    HOME/data                 the cluster
    HOME/superuser-password   mode 0600; every connection needs it (scram-sha-256), through the socket too
    HOME/port                 the loopback port of the last start
    HOME/log                  the server's own messages; never a statement or its parameters
    HOME/lock                 one process at a time creates, starts or stops

PostgreSQL refuses to run as root: for root the server's programs run as the system user `postgres`, who then owns
HOME and nothing above it.
"""

import fcntl
import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hub.errors import Refused

SERVER_USER = "postgres"
OLDEST_MAJOR = 15
LONGEST_SOCKET_FOLDER = 99  # bytes: sockaddr_un holds 108, and the socket's own name takes a few
SHORT_FOLDER = Path("/tmp")  # noqa: S108 - TMPDIR may be long, or closed to the server's user; ownership is checked
PATIENCE_S = 120
ATTEMPTS = 5
OURS = {"data", "data.new", "superuser-password", "port", "log", "lock", "socket"}
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
CONF = """\
# The lines below come from hub/localdb.py. They were written once: what is changed here stays.
listen_addresses = '127.0.0.1'
unix_socket_permissions = 0700
shared_buffers = 256MB
max_wal_size = 4GB
random_page_cost = 1.1
jit = off
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
# Statements carry the very values that the records seal: they must not reach the log.
log_statement = none
log_min_duration_statement = -1
log_min_error_statement = panic
log_error_verbosity = terse
log_connections = off
log_disconnections = off
"""
NOT_DURABLE = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


@dataclass(frozen=True)
class Cluster:
    """`started_here` is true if this very `ensure` started the server: only then should its caller stop it."""

    home: Path
    port: int
    password: str = field(repr=False)
    started_here: bool = False

    @property
    def data(self) -> Path:
        return self.home / "data"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg2://{SERVER_USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def pid(self) -> int | None:
        """The postmaster's process id; None when the cluster is down, even if a crash left postmaster.pid behind."""
        running = _running(self.data)
        return running[0] if running else None


def ensure(home: Path, *, durable: bool = True) -> Cluster:
    """Make the cluster if it is missing, start it if it is down. Several processes may call this at once.

    `durable` counts when the cluster is made; without it a crash of the machine loses data (for tests).
    Raises Refused with one sentence that says what to do.
    """
    home = home.absolute()
    with _locked(home):
        _reachable(home)
        data = home / "data"
        if not data.exists():
            _create(home, find_binaries(), durable)
        _owned(data)
        major, password = _made_by(data), _password(home)
        if running := _ready(data):
            return Cluster(home, running[1], password)
        return Cluster(home, _start(home, find_binaries(major)), password, started_here=True)


def stop(cluster: Cluster, mode: str = "fast") -> None:
    """Stop the server if it runs; `mode` is smart, fast or immediate, as for pg_ctl. Raises Refused if it stays up."""
    with _locked(cluster.home):
        if pid := cluster.pid():
            os.kill(pid, STOP_SIGNALS[mode])
        until = time.monotonic() + PATIENCE_S
        while cluster.pid() is not None:
            if time.monotonic() > until:
                raise Refused(f"PostgreSQL in {cluster.home} does not stop.")
            time.sleep(0.02)
        with suppress(OSError):  # it may lie outside HOME, where nothing of ours should stay
            _socket_folder(cluster.home).rmdir()


def find_binaries(major: int | None = None) -> Path:
    """Folder with the programs of that major version, or of the newest that has PostGIS. Raises Refused."""
    found = sorted({(_major(folder), folder) for folder in _candidates()}, reverse=True)
    if not found:
        raise Refused("PostgreSQL is not installed: run scripts/setup, or set HUB_DATABASE_URL to an existing server.")
    newest = found[0][0]
    if newest < OLDEST_MAJOR:
        raise Refused(f"PostgreSQL {newest} is too old: the hub needs version {OLDEST_MAJOR} or newer.")
    if major and major not in dict(found):
        raise Refused(f"The private cluster was made by PostgreSQL {major}, which is no longer installed.")
    usable = [folder for version, folder in found if version >= OLDEST_MAJOR and major in (None, version)]
    for folder in usable:
        if _has_postgis(folder):
            return folder
    raise Refused(f"PostgreSQL {major or newest} has no PostGIS: run scripts/setup.")


def _candidates() -> list[Path]:
    """Folders with server programs: Debian's, which are not on PATH, then the one on PATH."""
    debian = [program.parent for program in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")  # with pg_config beside it
    return debian + ([Path(on_path).resolve().parent] if on_path else [])


def _major(binaries: Path) -> int:
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\) (\d+)", said)  # postgres (PostgreSQL) 15.20 (Debian …)
    return int(match[1]) if match else 0


def _has_postgis(binaries: Path) -> bool:
    """Debian splits it in two packages, one with the library and one with the control file: look for both."""
    return (_folder(binaries, "--pkglibdir") / "postgis-3.so").exists() and (
        _folder(binaries, "--sharedir") / "extension/postgis.control"
    ).exists()


def _folder(binaries: Path, which: str) -> Path:
    asked = [str(binaries / "pg_config"), which]
    return Path(subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip())


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f"The folder {home} can't be written: {error.strerror}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _create(home: Path, binaries: Path, durable: bool) -> None:
    """The cluster grows in data.new and is renamed when whole, so `data` is never half a cluster."""
    if foreign := {path.name for path in home.iterdir()} - OURS:
        raise Refused(f"The folder {home} holds other things ({min(foreign)}): a private cluster needs its own.")
    _give_to_server(home)
    shutil.rmtree(home / "data.new", ignore_errors=True)
    _write_private(home / "superuser-password", secrets.token_urlsafe(32))
    options = ["--auth=scram-sha-256", "--pwfile=superuser-password", "--data-checksums", "--encoding=UTF8"]
    options += ["--locale=C.UTF-8", "--no-instructions", *([] if durable else ["--no-sync"])]
    failed, said = _run(home, binaries / "initdb", "-D", "data.new", "-U", SERVER_USER, *options)
    if failed:
        raise Refused(f"PostgreSQL can't make a cluster in {home}: {_last_line(said)}")
    with (home / "data.new/postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(CONF + ("" if durable else NOT_DURABLE))
    (home / "data.new").rename(home / "data")


def _start(home: Path, binaries: Path) -> int:
    """Start on the remembered port, or on another one if that is taken. Raises Refused."""
    why = ""
    for attempt in range(ATTEMPTS):  # a port may be taken meanwhile; processes of a killed server may be about to end
        time.sleep(0.3 * attempt)
        port = _choose_port(home)
        already = _log_size(home)
        server = " ".join(_server_options(home, port))
        failed, said = _run(
            home,
            binaries / "pg_ctl",
            "-D",
            "data",
            "-l",
            "log",
            "-w",
            "-s",
            "-t",
            str(PATIENCE_S),
            "-o",
            server,
            "start",
        )
        if not failed:
            return port
        why = _complaint(home, already) or _last_line(said)
    raise Refused(f"PostgreSQL in {home} does not start: {why}")


def _server_options(home: Path, port: int) -> list[str]:
    options = [f"-c port={port}", f"-c unix_socket_directories={_socket_folder(home)}"]
    if buffers := os.environ.get("HUB_PG_SHARED_BUFFERS"):
        if not re.fullmatch(r"[1-9]\d*(kB|MB|GB)", buffers):
            raise Refused(f"HUB_PG_SHARED_BUFFERS is {buffers!r}: give a size such as 512MB.")
        options.append(f"-c shared_buffers={buffers}")
    return options


def _choose_port(home: Path) -> int:
    file = home / "port"
    remembered = int(file.read_text(encoding="ascii")) if file.exists() else 0
    with socket.socket() as probe:
        # As PostgreSQL does it: connections of the last run that linger in TIME_WAIT don't make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", remembered))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    _write_private(file, str(port))
    return port


def _socket_folder(home: Path) -> Path:
    """HOME/socket, or a short one in /tmp if that path is too long for a socket or for a shell."""
    folder = home / "socket"
    if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER or not re.fullmatch(r"[\w./+@:-]+", str(folder), re.ASCII):
        folder = SHORT_FOLDER / f"concord-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    now = folder.lstat()
    if not stat.S_ISDIR(now.st_mode) or now.st_uid not in (os.geteuid(), _server_uid()):
        raise Refused(f"The folder {folder}, meant for PostgreSQL's socket, belongs to somebody else: remove it.")
    _give_to_server(folder)
    return folder


def _running(data: Path) -> tuple[int, int, bool] | None:
    """(pid, port, ready) of the server, from postmaster.pid."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid = int(lines[0])
        # The number may be another program's by now; a postmaster is known by working in its data folder.
        if Path(os.readlink(f"/proc/{pid}/cwd")) != data.resolve():
            return None
        return pid, int(lines[3]), lines[7].strip() in ("ready", "standby")
    except (OSError, ValueError, IndexError):
        return None


def _ready(data: Path) -> tuple[int, int, bool] | None:
    """Like `_running`, after waiting for one that is just starting (whoever started it may have died meanwhile)."""
    until = time.monotonic() + PATIENCE_S
    while (running := _running(data)) and not running[2]:
        if time.monotonic() > until:
            raise Refused(f"PostgreSQL in {data.parent} runs but does not become ready.")
        time.sleep(0.05)
    return running


def _made_by(data: Path) -> int:
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise Refused(f"The folder {data} is not a PostgreSQL cluster: move it away.") from error


def _password(home: Path) -> str:
    try:
        return (home / "superuser-password").read_text(encoding="ascii").strip()
    except OSError as error:
        raise Refused(f"The private cluster in {home} has lost its superuser-password: put it back.") from error


def _server_uid() -> int:
    if os.geteuid() != 0:
        return os.geteuid()
    try:
        return pwd.getpwnam(SERVER_USER).pw_uid
    except KeyError as error:
        raise Refused(f"The system user {SERVER_USER} is missing: run scripts/setup.") from error


def _owned(data: Path) -> None:
    """PostgreSQL starts only for the owner of its data."""
    owner = data.stat().st_uid
    if owner != _server_uid():
        raise Refused(f"The private cluster {data} belongs to user {owner}: run as that user, or `make clean` first.")


def _give_to_server(path: Path) -> None:
    path.chmod(0o700 if path.is_dir() else 0o600)
    if os.geteuid() == 0:
        user = pwd.getpwuid(_server_uid())
        os.chown(path, user.pw_uid, user.pw_gid)


def _reachable(home: Path) -> None:
    if os.geteuid() != 0:
        return
    user = pwd.getpwuid(_server_uid())
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    for above in reversed(home.resolve().parents):
        if not _may_enter(above.stat(), user.pw_uid, groups):
            raise Refused(
                f"PostgreSQL runs as user {SERVER_USER}, who can't enter {above}: run `chmod o+x {above}`, or use another folder."
            )


def _may_enter(folder: os.stat_result, uid: int, groups: list[int]) -> bool:
    if folder.st_uid == uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    return bool(folder.st_mode & (stat.S_IXGRP if folder.st_gid in groups else stat.S_IXOTH))


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(f"{text}\n")
    _give_to_server(path)


def _run(home: Path, *command: str | Path) -> tuple[bool, str]:
    """(failed, what it said). Runs in HOME as the server's user, in a session that the terminal's Ctrl-C misses."""
    drop = ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--init-groups"] if os.geteuid() == 0 else []
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile() as said:  # the server inherits it; a pipe would not end before the server does
        done = subprocess.run(
            [*drop, *map(str, command)],
            cwd=home,
            env={**kept, "LC_ALL": "C.UTF-8", "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=False,
        )
        said.seek(0)
        return done.returncode != 0, said.read().decode(errors="replace")


def _log_size(home: Path) -> int:
    return (home / "log").stat().st_size if (home / "log").exists() else 0


def _complaint(home: Path, since: int) -> str:
    """The last fatal line that the server logged after the first `since` bytes; empty if there is none."""
    if not _log_size(home):
        return ""
    lines = (home / "log").read_bytes()[since:].decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if "FATAL" in line or "PANIC" in line), "")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why."
