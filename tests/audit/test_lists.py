"""Lists of owners, leaf by leaf: what an owner sees of a list that was cut, grown by nobody's leaf, or frozen; what may have expired."""

from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from hub.audit import bundle
from hub.audit.heads import start
from hub.audit.leaf import instant
from hub.audit.lists import Lists
from hub.audit.verify import time_of

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Log:
    """A log in the making: each leaf is its owner, and its time; None is a heads leaf of all."""

    def __init__(self, *leaves: tuple[str | None, datetime]) -> None:
        self.leaves, self.chains = list(leaves), dict[str, list[tuple[int, bytes]]]()
        heads = {owner: start(owner) for owner, _ in leaves if owner is not None}
        self.bodies: list[dict[str, Any]] = []
        for index, (owner, at) in enumerate(leaves):
            if owner is None:
                told = {o: [h.n, b64encode(h.chain).decode()] for o, h in heads.items()}
                self.bodies.append({"type": "heads", "at": instant(at), "heads": told})
            else:
                digest = sha256(b"%d" % index).digest()
                self.chains.setdefault(owner, []).append((index, digest))
                heads[owner] = heads[owner].follow([(index, digest)])
                owned = {"owner": owner} if owner else {}
                self.bodies.append({"type": "query", "at": instant(at), "decision": "permit", **owned})

    def lists(self, left_out: Iterable[int] = ()) -> tuple[Lists, list[str], set[int]]:
        """As a bundle with every list shows them, without some bodies; what is wrong before the whole is looked at."""
        lists, wrong = Lists(len(self.leaves), lambda index: None, {}), list[str]()
        for owner, links in self.chains.items():
            wrong += lists.read(owner, b"".join(bundle.LINK.pack(*link) for link in links))
        bodies = {index for index in range(len(self.leaves)) if index not in set(left_out)}
        for index in sorted(bodies):
            body = self.bodies[index]
            at = time_of(body)
            wrong += lists.heads(index, at, body) if body["type"] == "heads" else lists.entry(index, at, body)
        wrong += lists.end(bodies, ())
        return lists, wrong, bodies


def test_a_list_in_order_is_complete() -> None:
    lists, wrong, bodies = Log(("police", NOW), ("", NOW), (None, NOW), ("police", NOW), (None, NOW)).lists()
    assert wrong == [*lists.whole(bodies)] == []
    assert set(lists.complete) == {"police", ""}
    reach = lists.reach("police", bodies)
    assert (reach.count, reach.index, reach.at, reach.missing) == (2, 4, NOW, 0)


@pytest.mark.parametrize(("age", "frozen"), [(HOUR, False), (HOUR + timedelta(seconds=59), False), (HOUR + timedelta(seconds=61), True)])
def test_a_list_whose_newest_head_is_older_than_an_hour_is_frozen(age: timedelta, frozen: bool) -> None:
    """Once an hour the tree tells of all lists: who has an older one is not shown the newest."""
    log = Log(("police", NOW - age), (None, NOW - age), ("", NOW), (None, NOW))
    del log.bodies[3]["heads"]["police"]
    _, wrong, _ = log.lists()
    assert [("what came later was left out" in sentence) for sentence in wrong] == [True] * frozen


def test_the_end_of_the_tree_must_be_there() -> None:
    log = Log(("police", NOW), (None, NOW), ("", NOW), (None, NOW))
    _, wrong, _ = log.lists(left_out=[3])
    assert any("which tells how far the lists go, is not in the bundle" in sentence for sentence in wrong)


def test_a_leaf_is_in_one_list_or_is_a_heads_leaf_and_a_count_of_both_is_not_enough() -> None:
    """A leaf that is in nobody's list, and a heads leaf in a list that nobody has, would make up for each other."""
    log = Log(("police", NOW), ("fire", NOW), (None, NOW), (None, NOW))
    log.chains = {"police": log.chains["police"], "nobody": [(2, bytes(32))]}
    lists, wrong, bodies = log.lists()
    assert "Entry 2 says that it is a heads leaf, and is in the list of an owner." in wrong
    assert "Place 1 is in nobody's list, and is no heads leaf." in [*lists.whole(bodies)]
    log = Log(("police", NOW), (None, NOW))
    log.chains["fire"] = log.chains["police"]
    lists, _, bodies = log.lists()
    assert "Place 0 is in more than one list." in [*lists.whole(bodies)]


def expiry(log: Log, index: int, before: str, places: object, at: datetime = NOW) -> None:
    log.bodies[index] = {
        "type": "log-expiry", "at": instant(at), "decision": "permit", "asked": {"before": before, "places": places, "parts": []}
    }  # fmt: skip


OLD = datetime(2025, 3, 5, tzinfo=UTC)


def test_bodies_that_a_leaf_says_were_removed_may_be_missing_and_no_others() -> None:
    log = Log(("police", OLD), (None, OLD), ("police", NOW), (None, NOW), ("", NOW), (None, NOW))
    expiry(log, 4, "2025-04", 1)
    lists, wrong, bodies = log.lists(left_out=[0])
    assert wrong == [*lists.whole(bodies)] == []
    assert lists.reach("police", bodies).expired == 1
    assert len([*lists.notes()]) == 1
    lists, wrong, bodies = log.lists(left_out=[0, 2])
    assert [*lists.whole(bodies)] == ["The leaf at 2 is missing: its body was deleted."]
    assert (lists.reach("police", bodies).expired, lists.reach("police", bodies).missing) == (1, 1)


def test_what_is_younger_than_what_was_removed_did_not_expire() -> None:
    """Whatever place a leaf names: those before tell how old one is."""
    log = Log(("police", OLD), (None, OLD), ("police", NOW), (None, NOW), ("police", NOW), ("", NOW), (None, NOW))
    expiry(log, 5, "2025-04", 5)
    lists, _, bodies = log.lists(left_out=[0, 4])
    assert [*lists.whole(bodies)] == ["The leaf at 4 is missing: its body was deleted."]


def test_a_leaf_that_says_it_is_of_the_future_makes_nothing_young() -> None:
    log = Log(("fire", datetime(2199, 1, 1, tzinfo=UTC)), ("police", OLD), (None, OLD), ("", NOW), (None, NOW))
    expiry(log, 3, "2025-04", 2)
    lists, wrong, bodies = log.lists(left_out=[1])
    assert wrong == [*lists.whole(bodies)] == []


@pytest.mark.parametrize(
    ("before", "places", "words"),
    [
        ("2025-12", 1, "which were not a year old"),
        ("2199-01", 1, "which were not a year old"),
        ("2025-11", 5, "which can't be"),
        ("2025-11", 10**9, "which can't be"),
    ],
)
def test_a_leaf_that_says_what_cant_be_is_not_believed(before: str, places: int, words: str) -> None:
    log = Log(("police", OLD), (None, OLD), ("", NOW), (None, NOW))
    expiry(log, 2, before, places)
    lists, wrong, bodies = log.lists(left_out=[0])
    assert len(wrong) == 1
    assert words in wrong[0]
    assert [*lists.whole(bodies)] == ["The leaf at 0 is missing: its body was deleted."]
