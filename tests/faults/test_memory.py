"""What somebody finds who dumps the memory of a serving process: no key that opens anything further. Of texts it was lent, some remain."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.load import ITEMS, Client
from tests.faults.needles import find_in, keys_of, of_bytes, of_text
from tests.faults.stand import Stand, stand
from tests.world import feature

pytestmark = pytest.mark.db
PAGES, PAGE = 200, 100


@pytest.fixture(scope="module")
def where() -> Iterator[Stand]:
    """A hub of which a partner has read 200 pages of 100 records, every field opened."""
    with stand("memory", page_limit=PAGE) as made:
        police = Client(made, "police")
        sent = {
            "type": "FeatureCollection",
            "features": [feature(f"A-{n}", narrative=text(n), phone=f"+1 416 555 {n:04}") for n in range(PAGE)],
        }
        assert (police.ask("POST", ITEMS, sent) or (0,))[0] == 201
        police.close()
        health = Client(made, "health", "research")
        for _ in range(PAGES):
            answer = health.ask("GET", f"{ITEMS}?limit={PAGE}")
            assert answer is not None
            assert answer[0] == 200
            assert text(PAGE - 1).encode() in answer[2]
        health.close()
        yield made


def text(n: int) -> str:
    return f"What is told of the record of {n * 7919 + 104729} is for few"


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


def test_no_key_that_opens_anything_further_is_in_the_serving_process(where: Stand) -> None:
    keys = keys_of(where)
    lasting = {name: value for name, value in keys.items() if not name.startswith("K32 ")}
    assert {"root key", "passphrase", "KEK 1"} < lasting.keys()
    assert sum(name.startswith("DEK ") for name in lasting) >= 2 * PAGE
    needles = {form: name for name, value in lasting.items() for form in of_bytes(name, value)}
    assert where.server.pid is not None
    assert find_in(needles, memory_of(where.server.pid)) == {}


def test_the_search_finds_the_keys_in_the_key_process(where: Stand) -> None:
    """The control."""
    keys = {name: value for name, value in keys_of(where).items() if name.startswith("KEK")}
    assert where.keyd.pid is not None
    found = find_in({value: name for name, value in keys.items()}, memory_of(where.keyd.pid))
    assert found.keys() & keys.keys()


def test_texts_that_were_opened_are_still_there_and_the_search_finds_them(where: Stand) -> None:
    """Also a control. docs/security.md says so: promise no more than is so."""
    needles = {form: f"record {n}" for n in range(PAGE) for form in of_text("", text(n))}
    assert where.server.pid is not None
    assert 0 < len(find_in(needles, memory_of(where.server.pid))) <= PAGE
