"""The bytes of a posting list in Whoosh's W3 format.

A term's entry in the term table is a summary (`_summary`), then either its only posting, pickled, or
offset and length of its blocks in the postings file: a magic word, then blocks of up to 128 postings,
each a length (negative in the last), a pickled tuple about it and a pickled tuple of ids (as differences),
weights and values, compressed when that is said. The value of a posting is its positions.

What is unpickled are tuples, lists and numbers; that the files are ours is record.py's care. What is
pickled is put together from ready-made opcodes (positions.py), which is twice as fast as pickling it.
"""

from __future__ import annotations

import pickle
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import accumulate
from operator import sub
from typing import IO, TypeAlias

import msgspec

from archiver.search.positions import INTEGERS, string

Weights: TypeAlias = "tuple[float, ...] | float | None"
Block: TypeAlias = "tuple[list[int], Weights, Sequence[bytes] | None]"
"""Ids ascending; weights: None when all are 1, a number when all are equal; values, if any."""
Postings: TypeAlias = "tuple[Sequence[int], Sequence[int], Sequence[bytes] | None]"
"""To be written: ids ascending, and for each a weight and the opcodes (`string`) of its value, if any."""

# Inlined or not, total weight, documents, shortest and longest field, heaviest, first and last id.
_summary = struct.Struct("!BfIBBfII")
_extent = struct.Struct("!qi")
_length = struct.Struct("!i")
_float = struct.Struct(">d")

# The pickle of a block up to the end of its ids; that of its weights, which follows.
_ids = re.compile(rb"(?:\x80.)?\((?:K.|M..|J.{4})+t", re.DOTALL)
_heavy = re.compile(rb"(?:q.)?(N|G.{8}|\((?:K.|M..|J.{4}|G.{8})+t)", re.DOTALL)

_MAGIC = b"W3Bl"
_BLOCK = 128
_EMPTY = string(b"")
_WORTH_COMPRESSING = 160
_REMEMBERED = 1 << 15


class Packed(msgspec.Struct):
    """A block that can be written again as it stands, but for its ids.

    `heaviest`, `shortest`, `longest` are those of its head, `rest` is its pickle from the end of the ids on.
    """

    ids: list[int]
    weights: list[int]
    heaviest: int
    shortest: int
    longest: int
    rest: bytes

    def unpacked(self) -> Postings:
        _, _, values = pickle.loads(b"N" + self.rest)
        return self.ids, self.weights, values and [*map(_strings.__getitem__, values)]


class _Strings(dict[bytes, bytes]):
    """Values as opcodes; the many that are alike are made once."""

    def __missing__(self, value: bytes) -> bytes:
        made = string(value)
        if len(self) < _REMEMBERED:
            self[value] = made
        return made


_strings = _Strings()


def frequency(entry: bytes) -> int:
    """How many documents have the term."""
    found: int = _summary.unpack_from(entry)[2]
    return found


def frequency_and_first(entry: bytes) -> tuple[int, int]:
    """How many documents have the term, and the first of them."""
    summary = _summary.unpack_from(entry)
    return summary[2], summary[6]


def blocks(entry: bytes, file: memoryview) -> Iterator[Block]:
    """The postings of a term, block by block; `file` is the whole postings file."""
    if entry[0]:
        ids, weights, values = pickle.loads(entry[_summary.size :])
        yield list(ids), tuple(weights), values
        return
    for _, data in _blocks(entry, file):
        deltas, weights, values = pickle.loads(data)
        yield list(accumulate(deltas)), weights, values


def ids(entry: bytes, file: memoryview) -> list[int]:
    """The documents of a term that has no positions, all at once: of many short lists in the least time."""
    if entry[0]:
        return list(pickle.loads(entry[_summary.size :])[0])
    return [number for _, data in _blocks(entry, file) for number in accumulate(pickle.loads(data)[0])]


def parts(entry: bytes, file: memoryview) -> Iterator[Postings | Packed]:
    """The postings of a term for who means to write them again."""
    if entry[0]:
        ids, weights, values = pickle.loads(entry[_summary.size :])
        yield list(ids), [*map(int, weights)], [*map(string, values)]
        return
    for head, data in _blocks(entry, file):
        deltas = _ids.match(data)
        heavy = deltas and _heavy.match(data, deltas.end())
        if deltas and heavy:
            ids = [*accumulate(pickle.loads(deltas[0] + pickle.STOP))]
            weights = weights_of((ids, pickle.loads(heavy[1] + pickle.STOP), None))
            rest = data[deltas.end() :]
            yield Packed(ids, [*map(int, weights)], int(head[2]), head[4], head[5], rest)
        else:
            steps, *block = pickle.loads(data)
            ids = [*accumulate(steps)]
            yield ids, [*map(int, weights_of((ids, *block)))], block[1] and [*map(string, block[1])]


def _blocks(entry: bytes, file: memoryview) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Head and pickle of each block."""
    offset, length = _extent.unpack_from(entry, _summary.size)
    if bytes(file[offset : offset + 4]) != _MAGIC:
        raise ValueError("no posting list where there must be one")
    at, end = offset + 4, offset + length
    while at < end:
        (size,) = _length.unpack_from(file, at)
        at += _length.size
        stream = BytesIO(file[at : at + abs(size)])
        head = pickle.load(stream)
        data = stream.read()
        yield head, zlib.decompress(data) if head[3] else data
        if size < 0:
            return
        at += size


def weights_of(block: Block) -> Sequence[float]:
    """One weight for each id."""
    ids, weights, _ = block
    if weights is None:
        return (1.0,) * len(ids)
    return (weights,) * len(ids) if isinstance(weights, float) else weights


def ascending(ids: list[int], weights: list[int], values: list[bytes] | None) -> Postings:
    """Postings in the order of their ids, which they may not have come in."""
    in_order = sorted(ids)
    if ids == in_order:
        return ids, weights, values
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return in_order, [*map(weights.__getitem__, order)], values and [*map(values.__getitem__, order)]


class ListWriter:
    """Writes posting lists into a file, one after the other; their offsets count from where it stands."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._offset = 0

    def add(self, parts: Iterable[Postings | Packed], lengths: bytes) -> bytes | None:
        """Write a list that comes in parts; its entry for the term table, None when nothing came.

        `lengths` has the length byte of every document of the segment.
        """
        if isinstance(parts, tuple) and len(parts) == 1:
            (only,) = parts
            if isinstance(only, tuple) and len(only[0]) == 1:
                return _inlined(only, lengths)  # most terms, and half the time this way
        made = _List(lengths)
        start = self._offset
        for part in parts:
            self._write(made.take(part))
        if made.is_short:
            return made.inlined() if made.ids else None
        self._write(made.end())
        return made.summary(inlined=False) + _extent.pack(start, self._offset - start)

    def _write(self, blocks: Sequence[bytes]) -> None:
        for data in blocks:
            self._file.write(data)
            self._offset += len(data)


class _List:
    """One posting list on its way into blocks, and what its summary says when all went through.

    Postings wait until there is a block of them and one more, since the last block must say that it is.
    A block that is packed already is put in as it is where that tears no other apart; it waits, too.
    """

    def __init__(self, lengths: bytes) -> None:
        self.ids: list[int] = []
        self.count = 0
        self._weights: list[int] = []
        self._values: list[bytes] = []
        self._waiting: Packed | None = None
        self._lengths = lengths
        self._weight = self._heaviest = self._first = self._last = self._longest = 0
        self._shortest = 255

    @property
    def is_short(self) -> bool:
        """Whether there is at most one posting in all."""
        return not self.count and not self._waiting and len(self.ids) < 2

    def take(self, part: Postings | Packed) -> list[bytes]:
        """The blocks that are ready then."""
        if not isinstance(part, Packed):
            return self._take(part, lambda count: (count - 1) // _BLOCK * _BLOCK)
        if len(part.ids) < _BLOCK // 2:
            return self.take(part.unpacked())
        if 0 < len(self.ids) < _BLOCK // 2:
            # The two together, in halves if they are more than a block: what comes then can stay as it is.
            return self._take(part.unpacked(), lambda count: count // 2 if count > _BLOCK else 0)
        ready = [*self._ready(), *self._blocks(len(self.ids))]
        self._waiting = part
        return ready

    def _take(self, part: Postings, size: Callable[[int], int]) -> list[bytes]:
        """Put postings to those that wait, and make blocks of the first `size` of so many."""
        ready = self._ready()
        ids, weights, values = part
        self.ids += ids
        self._weights += weights
        self._values += values or ()
        return ready + self._blocks(size(len(self.ids)))

    def _ready(self) -> list[bytes]:
        waiting, self._waiting = self._waiting, None
        return [self._packed(waiting)] if waiting else []

    def _blocks(self, count: int) -> list[bytes]:
        """Blocks of the first so many postings."""
        made = []
        for at in range(0, count, _BLOCK):
            cut = slice(at, min(at + _BLOCK, count))
            made.append(self._block(self.ids[cut], self._weights[cut], self._values[cut]))
        if made:
            del self.ids[:count], self._weights[:count], self._values[:count]
        return made

    def end(self) -> list[bytes]:
        """What waits, as the last block."""
        if self._waiting:
            return [self._packed(self._waiting, last=True)]
        return [self._block(self.ids, self._weights, self._values, last=True)]

    def summary(self, *, inlined: bool) -> bytes:
        return _summary.pack(
            inlined,
            self._weight,
            self.count,
            self._shortest,
            self._longest,
            self._heaviest,
            self._first,
            self._last,
        )

    def inlined(self) -> bytes:
        """The entry of a list of one posting, which needs no block."""
        return _inlined((self.ids, self._weights, self._values or None), self._lengths)

    def _block(
        self, ids: Sequence[int], weights: Sequence[int], values: Sequence[bytes], *, last: bool = False
    ) -> bytes:
        inside = bytes(map(self._lengths.__getitem__, ids))
        heaviest = max(weights)
        rest = (
            _opcodes(weights, heaviest),
            b"(" if values else b"N",
            *values,
            b"t\x87." if values else b"\x87.",
        )
        return self._encoded(ids, weights, (heaviest, min(inside), max(inside)), rest, last)

    def _packed(self, block: Packed, *, last: bool = False) -> bytes:
        about = block.heaviest, block.shortest, block.longest
        return self._encoded(block.ids, block.weights, about, (block.rest,), last)

    def _encoded(
        self,
        ids: Sequence[int],
        weights: Sequence[int],
        about: tuple[int, int, int],
        rest: Iterable[bytes],
        last: bool,
    ) -> bytes:
        """A block; `about`: the heaviest weight, the shortest and longest field; `rest` follows the ids."""
        magic = b"" if self.count else _MAGIC
        self._note(ids, weights, about)
        steps = map(INTEGERS.__getitem__, map(sub, ids[1:], ids))
        data = b"".join((b"(", INTEGERS[ids[0]], *steps, b"t", *rest))
        compressed = len(data) > _WORTH_COMPRESSING
        if compressed:
            data = _compress(data)
        heaviest, shortest, longest = about
        head = b"(%b%bG%b%b%b%bt." % (
            INTEGERS[len(ids)],
            INTEGERS[ids[-1]],
            _float.pack(heaviest),
            INTEGERS[compressed],
            INTEGERS[shortest],
            INTEGERS[longest],
        )
        size = len(head) + len(data)
        return magic + _length.pack(-size if last else size) + head + data

    def _note(self, ids: Sequence[int], weights: Sequence[int], about: tuple[int, int, int]) -> None:
        if not self.count:
            self._first = ids[0]
        self._last = ids[-1]
        self.count += len(ids)
        self._weight += sum(weights)
        self._heaviest = max(self._heaviest, about[0])
        self._shortest = min(self._shortest, about[1])
        self._longest = max(self._longest, about[2])


def _inlined(posting: Postings, lengths: bytes) -> bytes:
    """The entry of a list of one posting, which needs no block."""
    (number,), (weight,), values = posting
    length = lengths[number]
    value = values[0] if values else _EMPTY
    return b"".join(
        (
            _summary.pack(True, weight, 1, length, length, weight, number, number),
            b"\x85".join((INTEGERS[number], INTEGERS[weight], value, b"\x87.")),
        )
    )


def _opcodes(weights: Sequence[int], heaviest: int) -> bytes:
    """None when all are 1; a float, which Whoosh wants there, when all are equal."""
    if heaviest == 1:
        return b"N"
    if min(weights) == heaviest:
        return b"G" + _float.pack(heaviest)
    return b"".join((b"(", *map(INTEGERS.__getitem__, weights), b"t"))


def _compress(data: bytes) -> bytes:
    """A zlib stream; what the usual one sets up for a long text takes longer than these few bytes."""
    made = zlib.compressobj(1, zlib.DEFLATED, 12, 4)
    return made.compress(data) + made.flush()
