"""Counts how often each of many 8-byte keys came up, in 24 to 48 bytes a key: a dictionary would take 150."""

from array import array

LEAST = 1 << 12


class Equals:
    """A hash table with open addressing. Keys are 8 bytes of a keyed hash, so their own bits place them."""

    def __init__(self) -> None:
        self._keys, self._counts, self._used = array("Q", bytes(8 * LEAST)), array("I", bytes(4 * LEAST)), 0

    def next(self, key: bytes) -> int:
        """How many times `key` has come up now: 1 at first."""
        if 2 * self._used >= len(self._keys):
            self._grow()
        number = int.from_bytes(key, "big")
        place = self._place(number)
        if not self._counts[place]:
            self._used += 1
            self._keys[place] = number
        self._counts[place] += 1
        return self._counts[place]

    def _place(self, number: int) -> int:
        keys, counts, mask = self._keys, self._counts, len(self._keys) - 1
        place = number & mask
        while counts[place] and keys[place] != number:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        keys, counts = self._keys, self._counts
        size = 2 * len(keys)
        self._keys, self._counts = array("Q", bytes(8 * size)), array("I", bytes(4 * size))
        for number, count in zip(keys, counts, strict=True):
            if count:
                place = self._place(number)
                self._keys[place], self._counts[place] = number, count
