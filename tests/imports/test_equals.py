"""How many rows were equal to this one before it: counted as a Counter would, in far less memory."""

import random
import sys
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.sharing.equals import LEAST, Equals

pytestmark = pytest.mark.unmeasured

WIDE = st.integers(0, 2**64 - 1)
# Few of them, so that they repeat; alike in their low bits, so that they want the same place; and the edges.
CROWDED = st.integers(0, 20).map(lambda n: n << 40)
EDGES = st.sampled_from([0, 1, 2**63, 2**64 - 1, LEAST - 1, LEAST, 2 * LEAST - 1])


def counted(numbers: list[int]) -> tuple[list[int], list[int]]:
    """What Equals says of each, and what a Counter says."""
    equals, counter, said, expected = Equals(), Counter[int](), [], []
    for number in numbers:
        counter[number] += 1
        expected.append(counter[number])
        said.append(equals.next(number.to_bytes(8, "big")))
    return said, expected


@given(st.lists(WIDE | CROWDED | EDGES, max_size=200))
def test_it_counts_as_a_counter_does(numbers: list[int]) -> None:
    said, expected = counted(numbers)
    assert said == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 2 * LEAST), st.integers(0, 2**32), st.sampled_from([1, 3, 1 << 20]))
def test_it_counts_right_as_it_grows(count: int, seed: int, step: int) -> None:
    """Also when all keys want to lie side by side, or few places."""
    chance = random.Random(seed)
    numbers = [chance.randrange(count) * step for _ in range(count)] + [n * step for n in range(count)]
    said, expected = counted(numbers)
    assert said == expected


def size_of(held: object) -> int:
    """Bytes of what an object's attributes hold."""
    return sum(map(sys.getsizeof, vars(held).values()))


def test_a_million_keys_take_less_than_fifty_bytes_each_and_little_time() -> None:
    chance, equals = random.Random(1), Equals()
    keys = [chance.randbytes(8) for _ in range(1_000_000)]
    began, most = time.process_time(), 0.0
    for n, key in enumerate(keys, 1):
        equals.next(key)
        if n % 50_000 == 0:
            most = max(most, size_of(equals) / n)
    assert most < 50
    assert size_of(equals) < 30 << 20
    assert time.process_time() - began < 20


def test_a_dictionary_would_take_more() -> None:
    """Control for the measure."""
    held = {random.Random(1).randbytes(8) + bytes([n % 256]): n for n in range(1_000)} | {n.to_bytes(8, "big"): n for n in range(100_000)}
    assert sys.getsizeof(held) + sum(map(sys.getsizeof, held)) > 50 * len(held)


@pytest.mark.parametrize("size", [LEAST // 2 - 1, LEAST // 2, LEAST // 2 + 1])
def test_the_edge_of_growing(size: int) -> None:
    said, expected = counted([*range(size), *range(size)])
    assert said == expected
