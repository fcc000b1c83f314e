"""What of the texts that a serving process opened is left in its memory: a figure, not a promise (docs/security.md).

    200 pages of 100 records, each shown once, to a reader who sees every field; then requests that open nothing; then pages again.

The server is started anew between publishing and reading, so that what is found was opened, not sent. After each part its memory is read,
as a core dump would hold it, and searched for every text.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.load import ITEMS, Client
from tests.faults.needles import find_in
from tests.faults.stand import Stand, stand
from tests.world import BASE, feature

PAGE, FURTHER = 100, 200
BATCH = 2_000


def memory_of(pid: int) -> Iterator[tuple[str, bytes]]:
    """Every part that can be read: what a core dump holds."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if found is None or "[v" in line:  # [vvar], [vsyscall]: the kernel's
                continue
            low, high = (int(part, 16) for part in found.groups())
            memory.seek(low)
            try:
                yield line, memory.read(high - low)
            except OSError:  # a guard page
                continue


def text(n: int) -> str:
    """Each begins differently: that is what the search looks for first."""
    return f"{n * 7919 + 10_472_900} is what was told, and for few"


def remaining(where: Stand, texts: int) -> int:
    """How many of the texts are in the server's memory."""
    assert where.server.pid is not None
    return len(find_in({text(n).encode(): str(n) for n in range(texts)}, memory_of(where.server.pid)))


def published(where: Stand, texts: int) -> None:
    police = Client(where, "police")
    for start in range(0, texts, BATCH):
        features = [feature(f"R-{n}", narrative=text(n)) for n in range(start, min(start + BATCH, texts))]
        answer = police.ask("POST", ITEMS, {"type": "FeatureCollection", "features": features})
        assert answer is not None
        assert answer[0] == 201, answer
    police.close()


def read(where: Stand, client: Client, pages: int) -> int:
    """Reads so many pages, from the first one on; how many records they showed."""
    path, shown = f"{ITEMS}?limit={PAGE}", 0
    for _ in range(pages):
        answer = client.ask("GET", path)
        assert answer is not None
        assert answer[0] == 200, answer
        page = json.loads(answer[2])
        shown += page["numberReturned"]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        path = following[0].removeprefix(BASE) if following else f"{ITEMS}?limit={PAGE}"
    client.close()  # the server would while memory is searched
    return shown


def soak(_seed: int, pages: int) -> dict[str, object]:
    """The figure: of the texts on so many pages, how many remain at once, after requests that open nothing, and after pages again."""
    began, texts = time.monotonic(), pages * PAGE
    with stand("residue", page_limit=PAGE, opened_per_hour=1_000_000_000) as where:
        published(where, texts)
        where.kill()
        where.start()
        before = remaining(where, texts)
        health, housing = Client(where, "health", "research"), Client(where, "housing", "research")
        shown = read(where, health, pages)
        at_once = remaining(where, texts)
        read(where, housing, FURTHER)  # sees clear columns alone
        after_clear = remaining(where, texts)
        for _ in range(FURTHER):
            read(where, health, 1)
        after_pages = remaining(where, texts)
    return {
        "texts": texts,
        "shown": shown,
        "before": before,
        "at_once": at_once,
        f"after_{FURTHER}_requests_that_open_nothing": after_clear,
        f"after_{FURTHER}_pages_of_the_first_{PAGE}": after_pages,
        "faults": [f"{before} texts were there before any was opened"] if before else [],
        "control_lost": at_once,
        "seconds": round(time.monotonic() - began),
    }
