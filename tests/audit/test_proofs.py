"""Proofs of inclusion and consistency: published vectors, all trees up to 520 leaves, an independent library, what they refuse."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from hub.audit.tiles import Edge as Growing
from hub.audit.tiles import Tile, Tree, tile_at, tiles_of
from hub.audit.tree import EMPTY, consistency, consistent, included, inclusion, leaf_hash, root_of
from tests.audit.vectors import vectors

MOST = 520
DATA = [n.to_bytes(4, "big") for n in range(MOST + 200)]
HASHES = [leaf_hash(data) for data in DATA]


def tree_of(size: int) -> Tree:
    tiles: dict[tuple[int, int], bytes] = {}
    for tile, hashes in Growing(0).append(HASHES[:size]).items():
        tiles[tile.level, tile.n] = hashes
    return Tree(size, lambda tile: tiles[tile.level, tile.n])


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_published_proofs_of_inclusion_are_taken_and_refused_as_they_say() -> None:
    seen = {True: 0, False: 0}
    for path, v in vectors("inclusion"):
        good = included(raw(v["leafHash"]), v["leafIdx"], v["treeSize"], [raw(p) for p in v["proof"] or ()], raw(v["root"]))
        assert good is not v["wantErr"], path
        seen[good] += 1
    assert seen[True] >= 3
    assert seen[False] >= 30


def test_published_proofs_of_consistency_are_taken_and_refused_as_they_say() -> None:
    seen = {True: 0, False: 0}
    for path, v in vectors("consistency"):
        good = consistent(v["size1"], raw(v["root1"]), v["size2"], raw(v["root2"]), [raw(p) for p in v["proof"] or ()])
        assert good is not v["wantErr"], path
        seen[good] += 1
    assert seen[True] >= 3
    assert seen[False] >= 20


def test_every_tree_up_to_520_leaves_has_the_root_and_the_proofs_of_its_tiles() -> None:
    """Each size with several leaves and several earlier trees, among them the edges of tiles and subtrees."""
    whole = tree_of(MOST)
    for size in range(1, MOST + 1):
        tree, top = Tree(size, whole._read), root_of(HASHES[:size])
        assert tree.root() == whole.root(size) == top
        for index in {0, size - 1, size // 2, size * 7 // 9, min(255, size - 1), min(256, size - 1)}:
            proof = inclusion(index, size, tree.ranged)
            assert included(HASHES[index], index, size, proof, top), (index, size)
        for first in {1, size, size // 2 or 1, size * 5 // 8 or 1, min(256, size), max(1, size - 1)}:
            assert consistent(first, root_of(HASHES[:first]), size, top, consistency(first, size, tree.ranged)), (first, size)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 255, 256, 257, 300, 511, 512, 513, 520])
def test_an_independent_library_comes_to_the_same_trees_and_paths(size: int) -> None:
    other = InmemoryTree(algorithm="sha256")
    for data in DATA[:size]:
        other.append_entry(data)
    tree = tree_of(size)
    assert tree.root() == other.get_root()
    for index in range(0, size, max(1, size // 17)):
        theirs = other.prove_inclusion(index + 1, size).serialize()["path"]  # the leaf itself comes first
        assert [p.hex() for p in inclusion(index, size, tree.ranged)] == theirs[1:]


def test_a_tree_grown_in_any_pieces_has_the_same_tiles() -> None:
    for pieces in ([1] * 600, [255, 1, 1, 343], [600], [256, 344], [300, 300]):
        edge, tiles, at = Growing(0), dict[tuple[int, int], bytes](), 0
        for piece in pieces:
            tiles |= {(t.level, t.n): hashes for t, hashes in edge.append(HASHES[at : at + piece]).items()}
            at += piece
            assert edge.root() == root_of(HASHES[:at])
            assert Growing(at, edge.partial()).root() == edge.root()
        assert {key: len(hashes) // 32 for key, hashes in tiles.items()} == {(t.level, t.n): t.width for t in tiles_of(600)}


def test_an_edge_that_is_not_of_its_size_is_refused() -> None:
    with pytest.raises(ValueError, match="not the last tiles"):
        Growing(3, [bytes(32 * 2)])
    with pytest.raises(ValueError, match="not the last tiles"):
        Growing(256, [b""])


def test_the_empty_tree_begins_every_tree_without_a_proof() -> None:
    assert consistent(0, EMPTY, 5, HASHES[0], [])
    assert not consistent(0, HASHES[0], 5, HASHES[1], [])
    assert not consistent(0, EMPTY, 5, HASHES[0], [HASHES[1]])


@given(st.data())
def test_a_proof_that_was_changed_in_any_way_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 300))
    tree, index = tree_of(size), data.draw(st.integers(0, size - 1))
    proof, top = inclusion(index, size, tree.ranged), tree.root()
    assert included(HASHES[index], index, size, proof, top)
    n = data.draw(st.integers(0, len(proof) - 1))
    bit = 1 << data.draw(st.integers(0, 255))
    flipped = (int.from_bytes(proof[n], "big") ^ bit).to_bytes(32, "big")
    assert not included(HASHES[index], index, size, [*proof[:n], flipped, *proof[n + 1 :]], top)
    assert not included(HASHES[index], index, size, [*proof[:n], *proof[n + 1 :]], top)
    assert not included(HASHES[index], index, size, [*proof, HASHES[0]], top)
    assert not included(HASHES[index - 1], index, size, proof, top)
    other = data.draw(st.integers(-2, size + 2).filter(lambda i: i != index))
    assert not included(HASHES[index], other, size, proof, top)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_a_tree_that_is_not_the_beginning_has_no_proof(a: int, b: int, data: st.DataObject) -> None:
    first, second = sorted((a, b))
    forged = [*HASHES[:first]]
    forged[data.draw(st.integers(0, first - 1))] = HASHES[-1]
    tree = tree_of(second)
    proof = consistency(first, second, tree.ranged)
    assert consistent(first, root_of(HASHES[:first]), second, tree.root(), proof)
    assert not consistent(first, root_of(forged), second, tree.root(), proof)
    if first < second:
        assert not consistent(second, tree.root(), first, root_of(HASHES[:first]), proof)
        assert not consistent(first, root_of(HASHES[:first]), second, tree.root(), [*proof, HASHES[0]])
        assert not consistent(first, root_of(HASHES[:first]), second, tree.root(), proof[:-1])


@given(st.integers(0, 62), st.integers(0, 10**12), st.integers(1, 256))
def test_the_path_of_a_tile_is_read_back(level: int, n: int, width: int) -> None:
    tile = Tile(level, n, width)
    assert tile_at(tile.path()) == tile


@pytest.mark.parametrize(
    "path",
    ["", "0", "0/", "0/1", "0/0001", "00/001", "64/001", "0/x001", "0/x000/001", "0/001.p/0", "0/001.p/256", "0/001.p/257", "0/001/"],
)
def test_a_path_that_is_no_tiles_is_refused(path: str) -> None:
    assert tile_at(path) is None


def test_paths_are_those_of_the_specification() -> None:
    assert Tile(0, 1234067).path() == "0/x001/x234/067"
    assert Tile(0, 0, 5).path() == "0/000.p/5"


def test_a_leaf_or_tree_that_is_not_there_has_no_proof() -> None:
    tree = tree_of(5)
    for index in (-1, 5):
        with pytest.raises(ValueError, match="not in a tree"):
            inclusion(index, 5, tree.ranged)
    for first in (0, 6):
        with pytest.raises(ValueError, match="no proof"):
            consistency(first, 5, tree.ranged)
    with pytest.raises(KeyError):
        tree.ranged(4, 6)
