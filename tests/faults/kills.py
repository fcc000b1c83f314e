"""Kill -9 of the server, of the key process, of the sequencer and of PostgreSQL, at random moments and at named points; connections cut; a
full disk: while partners publish and read.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hub import localdb
from hub.audit.sequence import Memory, Sequencer
from hub.crypto.keyring import Keyring
from hub.crypto.leaf_signer import LeafSigner
from hub.crypto.remote import RemoteKeys
from hub.db import Transaction
from hub.sharing.disclosure import Disclosure, Writer
from hub.sharing.publish import Publishing
from hub.workers import copying
from tests.faults.ledger_check import faults
from tests.faults.load import Ledger, Load
from tests.faults.stand import Stand, small_disk, stand, wait_until
from tests.faults.tree_check import tree_faults

CHECK_EVERY = 40


def children(postmaster: int) -> Iterator[tuple[int, str]]:
    """(process id, title) of a postmaster's processes, such as `postgres: hub_writer hub 127.0.0.1(41234) COPY`."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == postmaster:
                yield int(entry.name), (entry / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile


def _postmaster(where: Stand) -> int:
    pid = where.main.pid()
    assert pid is not None
    return pid


def kill_server(where: Stand, _chance: random.Random) -> None:
    where.server.kill()


def kill_keyd(where: Stand, _chance: random.Random) -> None:
    where.keyd.kill()


def kill_postmaster(where: Stand, _chance: random.Random) -> None:
    pid = _postmaster(where)
    orphans = [child for child, _ in children(pid)]
    os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    wait_until(lambda: where.main.pid() is None, "PostgreSQL survives SIGKILL")
    wait_until(lambda: not any(map(alive, orphans)), "PostgreSQL's processes do not notice that it is dead")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_backend(where: Stand, chance: random.Random) -> None:
    """One that serves the hub; PostgreSQL then ends all others and recovers by itself."""
    serving: list[int] = []

    def serves() -> list[int]:
        serving[:] = [pid for pid, title in children(_postmaster(where)) if "hub_" in title]
        return serving

    wait_until(serves, "PostgreSQL serves the hub")  # none may be left of those that were there before connections were cut
    with suppress(ProcessLookupError):  # it ended meanwhile
        os.kill(chance.choice(serving), signal.SIGKILL)


def stop_immediately(where: Stand, _chance: random.Random) -> None:
    localdb.stop(where.main, "immediate")


def kill_sequencer(where: Stand, _chance: random.Random) -> None:
    where.sequencer.kill()


BEFORE, AFTER = "before", "after"
POINTS: dict[str, dict[str, tuple[Any, str, str, int]]] = {
    "sequencer": {
        "nothing taken": (Sequencer, "_state", BEFORE, 0),
        "taken, nothing noted": (Memory, "keep", BEFORE, 2),
        "noted, not stored": (Sequencer, "_store", BEFORE, 0),
        "stored, not noted": (Memory, "keep", BEFORE, 1),
    },
    "server": {
        "sealed, not stored": (Publishing, "_commit", BEFORE, 0),
        "stored, not acknowledged": (Publishing, "_commit", AFTER, 0),
        "found, not logged": (Writer, "log", BEFORE, 0),
        "logged, not answered": (Writer, "log", AFTER, 0),
        "logged, nothing signed yet": (RemoteKeys, "sign", BEFORE, 0),
        "signed, not answered": (RemoteKeys, "sign", AFTER, 0),
        "opened, not answered": (RemoteKeys, "open_batch", AFTER, 0),
    },
    "keyd": {
        "asked, nothing signed": (LeafSigner, "_store", BEFORE, 0),
        "signed, not told": (LeafSigner, "_store", AFTER, 0),
        "signed, nothing lent": (Keyring, "lend", BEFORE, 0),
        "lent, not told": (Keyring, "lend", AFTER, 0),
        "nothing copied": (copying, "_add", BEFORE, 0),
        "copied, not committed": (copying, "_add", AFTER, 0),
        "no data key stored": (Keyring, "_store", BEFORE, 0),
        "data keys stored, nothing sealed": (Keyring, "_store", AFTER, 0),
    },
}
"""By process: where it dies, before or after which method; of how many arguments, 0: any."""


def die_at(process: str, point: str) -> None:
    """Run in a process before it starts: it kills itself when it comes to this point."""
    kind, name, when, places = POINTS[process][point]
    method = getattr(kind, name)

    def dies(*more: Any, **named: Any) -> Any:
        mine = places in (0, len(more) - 1)
        if mine and when == BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = method(*more, **named)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(kind, name, dies)


def strike(where: Stand, process: str, point: str) -> None:
    """The process dies at a named point, while partners publish and read."""
    struck = getattr(where, process)
    struck.kill()
    struck.sabotage = partial(die_at, process, point)
    with suppress(AssertionError):  # it came to its point before it was known to listen
        struck.start()
    wait_until(lambda: not struck.alive, f"the {process} comes to its point: {point}")
    assert struck.exit_code == -signal.SIGKILL
    struck.sabotage = None
    struck.kill()


def strike_sequencer(where: Stand, chance: random.Random) -> None:
    strike(where, "sequencer", chance.choice(list(POINTS["sequencer"])))


def strike_server(where: Stand, chance: random.Random) -> None:
    strike(where, "server", chance.choice(list(POINTS["server"])))


def strike_keyd(where: Stand, chance: random.Random) -> None:
    strike(where, "keyd", chance.choice(list(POINTS["keyd"])))


def cut_connections(where: Stand, _chance: random.Random) -> None:
    """As when the network goes: every connection of the hub's processes to PostgreSQL at once."""
    where.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename like 'hub_%'")


def fill_disk(where: Stand, chance: random.Random) -> None:
    """No room for a while; PostgreSQL may end by itself. For a stand on a small disk."""
    ballast = where.main.home / "socket" / "ballast"
    # What PostgreSQL writes meanwhile may be what filled the disk: as well.
    with ballast.open("wb") as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(where.main.home).free - (1 << 20)))
    time.sleep(chance.uniform(0.2, 1.5))
    ballast.unlink()


def kill_both(where: Stand, chance: random.Random) -> None:
    first, second = chance.sample([kill_server, kill_postmaster], 2)
    first(where, chance)
    second(where, chance)


KILLS = (
    *(kill_server, strike_server, kill_keyd, strike_keyd, kill_sequencer, strike_sequencer, kill_postmaster, kill_backend),
    *(stop_immediately, cut_connections, kill_both),
)
Kill = Callable[[Stand, random.Random], None]


def round_of(where: Stand, ledger: Ledger, kill: Kill, chance: random.Random) -> None:
    """Waits until work flows, kills, and raises what is down."""
    flowing(ledger)
    time.sleep(chance.uniform(0, 0.3))
    kill(where, chance)
    where.raise_databases()
    where.start()


def flowing(ledger: Ledger) -> None:
    """Returns after new receipts and new pages: the hub works, or works again by itself."""
    receipts, pages = ledger.progress()
    wait_until(lambda: len(ledger.receipts) > receipts + 2 and ledger.pages > pages + 1, f"work flows {ledger.wrong[:3]}")


def kill_often(where: Stand, ledger: Ledger, seed: int, count: int, kinds: tuple[Kill, ...] = KILLS) -> Counter[str]:
    """`count` kills under load, each kind about as often; gives how many there were of each."""
    chance = random.Random(seed)
    plan = [kinds[n % len(kinds)] for n in range(count)]
    chance.shuffle(plan)
    with Load(where, ledger, chance.getrandbits(32)):
        for kill in plan:
            round_of(where, ledger, kill, chance)
        flowing(ledger)
    return Counter(kill.__name__ for kill in plan)


def leave_out_leaves() -> None:
    """The fault of the other control: a hub that leaves out of the log a page in ten of those that need no key: for others it gets none."""
    log = Writer.log

    def careless(self: Writer, tx: Transaction, disclosure: Disclosure, *more: Any) -> list[bytes]:
        bare = disclosure.event.by.organisation == "housing"  # which sees nothing sealed
        if not bare or random.random() >= 0.2:
            return log(self, tx, disclosure, *more)
        tx.rows("commit")
        return [os.urandom(32)]

    Writer.log = careless  # type: ignore[method-assign]


def forgetful(where: Stand) -> None:
    """The fault of the control: PostgreSQL acknowledges before the record of it is on disk."""
    where.sql("alter system set synchronous_commit = off")
    where.sql("alter system set wal_writer_delay = '10s'")
    where.sql("select pg_reload_conf()")


def lose(where: Stand, ledger: Ledger, seed: int, most: int = 12) -> list[str]:
    """Kills a forgetful PostgreSQL until something acknowledged is gone; gives what is."""
    forgetful(where)
    for n in range(most):
        kill_often(where, ledger, seed + n, 1, (kill_postmaster,))
        if found := [f for f in faults(where, ledger) if f.startswith("lost:")]:
            return found
    return []


def soak(seed: int, count: int) -> dict[str, object]:
    """The long run: `count` kills, everything checked every 40, a tenth as many with a full disk, then the control. `faults` must be empty,
    `control_lost` not.
    """
    began, ledger, kills, found = time.monotonic(), Ledger(), Counter[str](), list[str]()
    with stand("soak") as where:
        for n in range(0, count, CHECK_EVERY):
            kills += kill_often(where, ledger, seed + n, min(CHECK_EVERY, count - n))
            found = [*faults(where, ledger), *tree_faults(where)]
            print(f"  {kills.total():,} kills, {len(ledger.receipts):,} receipts, faults: {found[:3]}", flush=True)
            if found:
                break
    full = Ledger()
    with stand("soak-full", disk=small_disk) as where:
        for n in range(0, count // 10, 10):
            kills += kill_often(where, full, seed + n, 10, (fill_disk,))
            if found := found or [*faults(where, full), *tree_faults(where)]:
                break
    with stand("soak-control") as where:
        lost = lose(where, Ledger(), seed)
    return {
        "kills": dict(kills),
        "acknowledged": len(ledger.receipts) + len(full.receipts),
        "disclosed": sum(ledger.seen.values()) + sum(full.seen.values()),
        "statuses": dict(ledger.statuses),
        "faults": found[:20],
        "control_lost": len(lost),
        "seconds": round(time.monotonic() - began),
    }
