"""A posting list read where a query needs it: the blocks that a window of documents touches, no others.

The blocks of a list stand one after the other without a directory. Where each begins is noted when the
first is asked for; the head of a block tells its last id, so that a block is found by bisection and
only then unpacked. A window is a range of document numbers.
"""

from __future__ import annotations

import pickle
import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from io import BytesIO
from itertools import accumulate
from typing import TypeAlias

from archiver.search.whoosh.postings import _MAGIC, Block, _extent, _length, _summary

Head: TypeAlias = "tuple[int, int, float, int, int, int]"
"""Of a block: postings, last id, heaviest weight, compressed or not, shortest and longest field as bytes."""

# The pickle of a tuple that begins with one of numbers (opcodes BININT1, 2, 4), up to the end of that; a
# protocol is not always said, and who makes tuples by their marks sets two.
_numbers = re.compile(rb"(?:\x80.)?\({1,2}(?:K.|M..|J.{4})+t", re.DOTALL)
# A head is a pickle of fewer bytes.
_HEAD_LIMIT = 96
_KEPT = 64


class Postings:
    """The documents of one term in a segment, deleted ones among them."""

    def __init__(self, entry: bytes, file: memoryview, whole: bool = False) -> None:
        """`whole`: blocks will be wanted whole when their ids were, so that is how they are unpacked."""
        (_, _, self.frequency, self._shortest, _, self._heaviest, self.first, self.last) = (
            _summary.unpack_from(entry)
        )
        self._entry = entry
        self._file = file
        self._whole = whole or bool(entry[0])
        self._starts: list[int] = []
        self._heads: dict[int, Head] = {}
        self._ids: dict[int, list[int]] = {}
        self._blocks: dict[int, Block] = {}

    def within(self, window: range, among: AbstractSet[int] | None = None) -> set[int]:
        """The documents in the window; of `among`, which is in the window, when that is given."""
        if self.last < window.start or self.first >= window.stop:
            return set()
        if self.frequency == 1:
            return {self.first} if among is None or self.first in among else set()
        found: set[int] = set()
        if among is None:
            for at in self._touching(window):
                ids = self._ids_of(at)
                found.update(ids[bisect_left(ids, window.start) : bisect_left(ids, window.stop)])
        else:
            for at, wanted in self._around(among):
                found.update(wanted.intersection(self._ids_of(at)))
        return found

    def values(self, wanted: AbstractSet[int]) -> Iterator[tuple[int, bytes]]:
        """(document, packed positions) of those of the wanted documents that have the term."""
        if self.frequency == 1 and self.first not in wanted:
            return
        for some, (ids, _, values) in self.blocks(wanted):
            for number, value in zip(ids, values or (), strict=True):
                if number in some:
                    yield number, value

    def blocks(self, wanted: AbstractSet[int]) -> Iterator[tuple[set[int], Block]]:
        """Each block that may hold some of the wanted documents, after which ones."""
        for at, some in self._around(wanted):
            yield some, self._block(at)

    def _touching(self, window: range) -> Iterator[int]:
        """The numbers of the blocks that touch the window, and perhaps of one more."""
        for at in range(self._holding(window.start), self._count()):
            yield at
            if self._last(at) >= window.stop - 1:
                return

    def _around(self, wanted: AbstractSet[int]) -> Iterator[tuple[int, set[int]]]:
        """The number of each block that may hold some of the wanted documents, and these."""
        ascending = sorted(wanted)
        at = number = 0
        while at < len(ascending):
            if number == self._count():
                return
            if self._last(number) < ascending[at]:
                number = self._holding(ascending[at], number)
                continue
            end = bisect_right(ascending, self._last(number), at)
            yield number, set(ascending[at:end])
            at, number = end, number + 1

    def _holding(self, document: int, low: int = 0) -> int:
        """The first block whose last id is not less than this; the number of blocks when there is none."""
        return bisect_left(range(self._count()), document, low, key=self._last)

    def _count(self) -> int:
        if not self._starts:
            self._starts = [0] if self._entry[0] else list(_starts(self._entry, self._file))
        return len(self._starts)

    def _last(self, number: int) -> int:
        return self._head(number)[1]

    def _head(self, number: int) -> Head:
        if number not in self._heads:
            self._heads[number] = self._read_head(number)
        return self._heads[number]

    def _read_head(self, number: int) -> Head:
        if self._entry[0]:
            return self.frequency, self.last, self._heaviest, 0, self._shortest, self._shortest
        start = self._starts[number]
        head: Head = pickle.loads(self._file[start : start + _HEAD_LIMIT])
        return head

    def _ids_of(self, number: int) -> list[int]:
        """The ids of a block; the last few are kept, since the next window asks for them again."""
        if number not in self._ids:
            if len(self._ids) == _KEPT:
                self._ids.clear()
            self._ids[number] = self._block(number)[0] if self._whole else unpacked_ids(self._data(number))
        return self._ids[number]

    def _block(self, number: int) -> Block:
        """A block unpacked, kept like its ids."""
        if number not in self._blocks:
            if len(self._blocks) == _KEPT:
                self._blocks.clear()
            self._blocks[number] = self._inlined() if self._entry[0] else unpacked(self._data(number))
        return self._blocks[number]

    def _inlined(self) -> Block:
        ids, weights, values = pickle.loads(self._entry[_summary.size :])
        return list(ids), tuple(weights), values

    def _data(self, number: int) -> memoryview:
        start = self._starts[number]
        (size,) = _length.unpack_from(self._file, start - _length.size)
        return self._file[start : start + abs(size)]


def _starts(entry: bytes, file: memoryview) -> Iterator[int]:
    """Where each block of a list begins, after its length."""
    offset, length = _extent.unpack_from(entry, _summary.size)
    if file[offset : offset + len(_MAGIC)] != _MAGIC:
        raise ValueError("no posting list where there must be one")
    at, end = offset + len(_MAGIC), offset + length
    size = 1
    while size > 0:
        (size,) = _length.unpack_from(file, at)
        at += _length.size
        yield at
        at += abs(size)
    if size == 0 or at != end:
        raise ValueError("a posting list ends where it must not")


def unpacked(data: memoryview) -> Block:
    """A block; ValueError when its ids are not what its head says."""
    head, packed = _parted(data)
    deltas, weights, values = pickle.loads(zlib.decompress(packed) if head[3] else packed)
    return _checked(deltas, head), weights, values


def unpacked_ids(data: memoryview) -> list[int]:
    """The ids of a block: its beginning is enough, and most of it are positions."""
    head, packed = _parted(data)
    start = zlib.decompressobj().decompress(packed, 16 + 3 * head[0]) if head[3] else packed
    if deltas := _numbers.match(start):
        return _checked(pickle.loads(deltas[0] + pickle.STOP), head)
    return unpacked(data)[0]


def _parted(data: memoryview) -> tuple[Head, memoryview]:
    stream = BytesIO(data)
    head: Head = pickle.load(stream)
    return head, data[stream.tell() :]


def _checked(deltas: Sequence[int], head: Head) -> list[int]:
    ids = list(accumulate(deltas))
    if len(ids) != head[0] or ids[-1] != head[1]:
        raise ValueError("a block holds other documents than it should")
    return ids
