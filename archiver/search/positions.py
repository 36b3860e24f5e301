"""Where a term stands in a field, packed into bytes: Whoosh's own encoding of positions.

The number of positions in four bytes, then a pickled list of the differences between them. Packed
when a document is analysed, in whatever process that is, so that the writer only copies.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from itertools import accumulate
from operator import sub

_count = struct.Struct("!I")
_CACHED = 1 << 16


class _Single(dict[int, bytes]):
    """Most terms stand in one position, and most of those are small numbers."""

    def __missing__(self, position: int) -> bytes:
        packed = _count.pack(1) + pickle.dumps([position], 2)
        if position < _CACHED:
            self[position] = packed
        return packed


_single = _Single()


def pack(positions: list[int]) -> bytes:
    """Ascending positions, one at least."""
    if len(positions) == 1:
        return _single[positions[0]]
    return _count.pack(len(positions)) + pickle.dumps([positions[0], *map(sub, positions[1:], positions)], 2)


def unpack(packed: bytes) -> list[int]:
    return list(accumulate(pickle.loads(packed[_count.size :])))


def starts(packed: bytes, before: int) -> Iterator[int]:
    """Where rows of terms begin in which this one comes after so many others, were the others there.

    Where there are others, a number below 0 comes, too; nothing begins there.
    """
    deltas = pickle.loads(packed[_count.size :])
    return accumulate(deltas, initial=-before) if before else accumulate(deltas)


def count(packed: bytes) -> int:
    """How many positions there are."""
    found: int = _count.unpack_from(packed)[0]
    return found
