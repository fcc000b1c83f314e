"""What somebody finds who dumps the memory of a serving process: no key that opens anything further. Of texts it was lent, some remain."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.load import ITEMS, Client
from tests.faults.needles import find_in, keys_of, of_bytes
from tests.faults.residue import memory_of, remaining, text
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


def test_texts_that_were_opened_are_still_there_and_the_search_finds_them(
    where: Stand, record_property: Callable[[str, object], None]
) -> None:
    """Also a control. docs/security.md says so: promise no more than is so. `make soak ONLY=residue` tells how many of many."""
    left = remaining(where, PAGE)
    print(f"of {PAGE} texts that were sent and shown {left} remain after {PAGES} pages")
    record_property("texts that remain", left)
    assert 0 < left <= PAGE
