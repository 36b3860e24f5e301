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
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import accumulate
from operator import sub
from typing import IO, TypeAlias

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

_MAGIC = b"W3Bl"
_BLOCK = 128
_WORTH_COMPRESSING = 160


def frequency(entry: bytes) -> int:
    """How many documents have the term."""
    found: int = _summary.unpack_from(entry)[2]
    return found


def blocks(entry: bytes, file: memoryview) -> Iterator[Block]:
    """The postings of a term, block by block; `file` is the whole postings file."""
    if entry[0]:
        ids, weights, values = pickle.loads(entry[_summary.size :])
        yield list(ids), tuple(weights), values
        return
    offset, length = _extent.unpack_from(entry, _summary.size)
    if bytes(file[offset : offset + 4]) != _MAGIC:
        raise ValueError("no posting list where there must be one")
    at, end = offset + 4, offset + length
    while at < end:
        (size,) = _length.unpack_from(file, at)
        at += _length.size
        yield _block(file[at : at + abs(size)])
        if size < 0:
            return
        at += size


def _block(data: memoryview) -> Block:
    stream = BytesIO(data)
    about = pickle.load(stream)
    raw = data[stream.tell() :]
    deltas, weights, values = pickle.loads(zlib.decompress(raw) if about[3] else raw)
    return list(accumulate(deltas)), weights, values


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

    def add(self, parts: Iterable[Postings], lengths: bytes) -> bytes | None:
        """Write a list that comes in parts; its entry for the term table, None when nothing came.

        `lengths` has the length byte of every document of the segment.
        """
        made = _List(lengths)
        start = self._offset
        ids: list[int] = []
        weights: list[int] = []
        values: list[bytes] = []
        for more, heavy, packed in parts:
            ids += more
            weights += heavy
            values += packed or ()
            # One at least is left, since the last block must say that it is.
            whole = (len(ids) - 1) // _BLOCK * _BLOCK
            for at in range(0, whole, _BLOCK):
                cut = slice(at, at + _BLOCK)
                self._write(made.block(ids[cut], weights[cut], values[cut]))
            del ids[:whole], weights[:whole], values[:whole]
        if not ids:
            return None
        if made.count == 0 and len(ids) == 1:
            return made.inlined(ids[0], weights[0], values[0] if values else string(b""))
        self._write(made.block(ids, weights, values, last=True))
        return made.summary(inlined=False) + _extent.pack(start, self._offset - start)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)


class _List:
    """One posting list: its blocks as bytes, and what its summary says when all went through."""

    __slots__ = ("_first", "_heaviest", "_last", "_lengths", "_longest", "_shortest", "_weight", "count")

    def __init__(self, lengths: bytes) -> None:
        self._lengths = lengths
        self.count = self._weight = self._heaviest = self._first = self._last = self._longest = 0
        self._shortest = 255

    def _note(self, ids: Sequence[int], weights: Sequence[int]) -> tuple[int, int, int]:
        """Count these postings in; their heaviest weight, shortest and longest field."""
        inside = bytes(map(self._lengths.__getitem__, ids))
        heaviest, shortest, longest = max(weights), min(inside), max(inside)
        if not self.count:
            self._first = ids[0]
        self._last = ids[-1]
        self.count += len(ids)
        self._weight += sum(weights)
        self._heaviest = max(self._heaviest, heaviest)
        self._shortest = min(self._shortest, shortest)
        self._longest = max(self._longest, longest)
        return heaviest, shortest, longest

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

    def inlined(self, number: int, weight: int, value: bytes) -> bytes:
        """The entry of a list of one posting, which needs no block."""
        self._note((number,), (weight,))
        posting = b"\x85".join((INTEGERS[number], INTEGERS[weight], value, b"\x87."))
        return self.summary(inlined=True) + posting

    def block(
        self, ids: Sequence[int], weights: Sequence[int], values: Sequence[bytes], *, last: bool = False
    ) -> bytes:
        magic = b"" if self.count else _MAGIC
        heaviest, shortest, longest = self._note(ids, weights)
        data = b"".join(
            (
                b"(",
                INTEGERS[ids[0]],
                *map(INTEGERS.__getitem__, map(sub, ids[1:], ids)),
                b"t",
                _weights(weights, heaviest),
                b"(" if values else b"N",
                *values,
                b"t\x87." if values else b"\x87.",
            )
        )
        compressed = len(data) > _WORTH_COMPRESSING
        if compressed:
            data = _compress(data)
        about = b"(%b%bG%b%b%b%bt." % (
            INTEGERS[len(ids)],
            INTEGERS[ids[-1]],
            _float.pack(heaviest),
            INTEGERS[compressed],
            INTEGERS[shortest],
            INTEGERS[longest],
        )
        size = len(about) + len(data)
        return magic + _length.pack(-size if last else size) + about + data


def _weights(weights: Sequence[int], heaviest: int) -> bytes:
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
