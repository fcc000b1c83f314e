"""The log's tree in tiles of 256 hashes, as C2SP tlog-tiles lays them out. Pure.

Tile (level, n) holds the hashes of the 256 complete subtrees of 256**level leaves from n * 256 on. The last tile of a level may be
narrower; a full one never changes, and each narrower one is its beginning.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from hub.audit.tree import EMPTY, node_hash, root_of, split

WIDTH: Final = 256
SIZE: Final = 32
MAX_LEVEL: Final = 63  # tlog-tiles: two digits at most, 0 to 63
_PATH = re.compile(r"(0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class Tile(NamedTuple):
    """A tile by its place; `width` is how many of its 256 hashes are meant."""

    level: int
    n: int
    width: int = WIDTH

    def path(self) -> str:
        """`<level>/<n>[.p/<width>]`, n in groups of three digits: 1234067 is x001/x234/067."""
        return f"{self.level}/{place(self.n, self.width)}"


Read = Callable[[Tile], bytes]
"""Gives the hashes of a tile, 32 bytes each; at least `width` of them. Raises what its own source raises, KeyError where there is none."""


def place(n: int, width: int) -> str:
    """The end of a tile's path, or of a bundle of entries: `x001/x234/067.p/12`."""
    digits = str(n)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]]) + ("" if width == WIDTH else f".p/{width}")


def tile_at(path: str) -> Tile | None:
    """The tile of a path; None if it is none's."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    level, n, width = int(match[1]), int(match[2].replace("x", "").replace("/", "")), int(match[3] or WIDTH)
    found = Tile(level, n, width)
    return found if level <= MAX_LEVEL and width <= WIDTH and found.path() == path else None


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of the tree of `size` leaves, the last of each level as wide as it is then."""
    level = 0
    while size:
        yield from (Tile(level, n) for n in range(size // WIDTH))
        if size % WIDTH:
            yield Tile(level, size // WIDTH, size % WIDTH)
        level, size = level + 1, size // WIDTH


class Tree:
    """A tree of `size` leaves, from its tiles."""

    def __init__(self, size: int, read: Read) -> None:
        self.size, self._read = size, read

    def root(self, size: int | None = None) -> bytes:
        """The hash of the tree of the first `size` leaves."""
        end = self.size if size is None else size
        return self.ranged(0, end) if end else EMPTY

    def leaf(self, index: int) -> bytes:
        """The hash of a leaf."""
        return self.ranged(index, index + 1)

    def ranged(self, start: int, end: int) -> bytes:
        """The hash of a range (hub/audit/tree.py)."""
        count = end - start
        if count & (count - 1) == 0:
            return self._subtree(start, count.bit_length() - 1)
        middle = start + split(count)
        return node_hash(self.ranged(start, middle), self.ranged(middle, end))

    def _subtree(self, start: int, height: int) -> bytes:
        """The complete subtree of 2**height leaves from `start`: in a tile, or from up to 128 hashes of one."""
        level, above = divmod(height, 8)
        first, count = start >> 8 * level, 1 << above
        n, offset = divmod(first, WIDTH)
        width = min(WIDTH, (self.size >> 8 * level) - n * WIDTH)
        if width < offset + count:
            raise KeyError(f"leaves {start} to {start + (1 << height)} are not in a tree of {self.size}")
        hashes = self._read(Tile(level, n, width))
        return root_of(_hashes(hashes[SIZE * offset : SIZE * (offset + count)]))


class Edge:
    """The right edge of a growing tree: of each level the hashes of its last, not yet full tile."""

    def __init__(self, size: int, partial: Sequence[bytes] = ()) -> None:
        """`partial`: by level, what the tiles hold that are not full at `size`.

        Raises:
            ValueError: it isn't what a tree of that size has.
        """
        self.size, self._levels = size, [bytearray(p) for p in partial]
        widths = [(size >> 8 * level) % WIDTH for level in range(-(-size.bit_length() // 8))]
        if [len(p) for p in self._levels] != [SIZE * width for width in widths]:
            raise ValueError(f"these are not the last tiles of a tree of {size} leaves")

    def append(self, hashes: Sequence[bytes]) -> dict[Tile, bytes]:
        """Adds leaves by their hashes; gives each tile that this changed, as it is now."""
        changed: dict[tuple[int, int], bytes | None] = {}
        for leaf in hashes:
            self._add(0, self.size, leaf, changed)
            self.size += 1
        as_now = {at: bytes(self._levels[at[0]]) if full is None else full for at, full in changed.items()}
        return {Tile(level, n, len(held) // SIZE): held for (level, n), held in as_now.items()}

    def _add(self, level: int, place: int, added: bytes, changed: dict[tuple[int, int], bytes | None]) -> None:
        if level == len(self._levels):
            self._levels.append(bytearray())
        held = self._levels[level]
        held += added
        n = place // WIDTH
        if len(held) == SIZE * WIDTH:
            changed[level, n] = bytes(held)
            above = root_of(_hashes(held))
            self._levels[level] = bytearray()
            self._add(level + 1, n, above, changed)
        else:
            changed[level, n] = None  # as it is when all are added

    def root(self) -> bytes:
        """The hash of the whole tree."""
        rest: list[bytes] = []  # complete subtrees, and after them what is not one: paired as leaves are
        for held in self._levels:
            rest = [*_hashes(held), *rest]
            rest = [root_of(rest)] if rest else []
        return rest[0] if rest else EMPTY

    def partial(self) -> list[bytes]:
        """By level, what the tiles hold that are not full."""
        return [bytes(held) for held in self._levels]


def _hashes(held: bytes | bytearray) -> list[bytes]:
    return [bytes(held[i : i + SIZE]) for i in range(0, len(held), SIZE)]
