"""Merkle tree hashes against the words of RFC 6962 §2.1, against published vectors, and for what they must notice."""

import base64
from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.tree import leaf_hash, root
from tests.audit.vectors import vectors

# The eight leaves of Certificate Transparency's reference tests, and the roots of its first n.
LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def as_written(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word: k is the largest power of two smaller than n."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + as_written(leaves[:k]) + as_written(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(131))
def test_the_root_is_that_of_the_recursive_definition(size: int) -> None:
    leaves = [n.to_bytes(2, "big") * (n % 4) for n in range(size)]
    assert root(leaves) == as_written(leaves)


@pytest.mark.parametrize(("size", "wanted"), ROOTS.items())
def test_the_reference_trees_have_their_roots(size: int, wanted: str) -> None:
    assert root(LEAVES[:size]).hex() == wanted


def test_the_published_vectors_name_the_same_leaves_and_roots() -> None:
    checked = 0
    for path, vector in [found for kind in ("inclusion", "consistency") for found in vectors(kind) if found[0].name == "happy-path.json"]:
        if "leafHash" in vector:
            assert leaf_hash(LEAVES[vector["leafIdx"]]) == base64.b64decode(vector["leafHash"]), path
            sizes = {vector["treeSize"]: vector["root"]}
        else:
            sizes = {vector["size1"]: vector["root1"], vector["size2"]: vector["root2"]}
        for size, wanted in sizes.items():
            assert root(LEAVES[:size]) == base64.b64decode(wanted), path
            checked += 1
    assert checked >= 6


def test_a_leaf_is_never_taken_for_a_node() -> None:
    """Second preimages: what RFC 6962 puts the prefixes there for."""
    two = [b"a", b"b"]
    inside = leaf_hash(two[0]) + leaf_hash(two[1])
    assert root([inside]) != root(two)
    assert leaf_hash(b"") != sha256(b"").digest()


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_any_leaf_changed_moved_added_or_left_out_changes_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(leaves) - 1))
    before = root(leaves)
    assert root([*leaves[:n], leaves[n] + b"!", *leaves[n + 1 :]]) != before
    assert root([*leaves[:n], *leaves[n + 1 :]]) != before
    assert root([*leaves, leaves[n]]) != before
    turned = leaves[::-1]
    assert (root(turned) == before) is (turned == leaves)
