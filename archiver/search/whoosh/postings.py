"""The bytes of a posting list in Whoosh's W3 format.

A term's entry in the term table is a summary (`_summary`), then either its only posting, pickled, or
offset and length of its blocks in the postings file: a magic word, then blocks of up to 128 postings,
each a length (negative in the last), a pickled tuple about it and a pickled tuple of ids (as differences),
weights and values, compressed when that is said. The value of a posting is its positions.

What is unpickled are tuples, lists and numbers; that the files are ours is record.py's care.
"""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import accumulate
from operator import sub
from typing import TypeAlias

Weights: TypeAlias = "tuple[float, ...] | float | None"
Block: TypeAlias = "tuple[list[int], Weights, Sequence[bytes] | None]"
"""Ids ascending; weights: None when all are 1, a number when all are equal; values, if any."""

# Inlined or not, total weight, documents, shortest and longest field, heaviest, first and last id.
_summary = struct.Struct("!BfIBBfII")
_extent = struct.Struct("!qi")
_length = struct.Struct("!i")

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


def encode(
    ids: list[int], weights: list[float], values: list[bytes] | None, lengths: bytes | bytearray, offset: int
) -> tuple[bytes, bytes]:
    """(entry for the term table, bytes for the postings file at `offset`).

    `lengths` has the length byte of every document of the segment.
    """
    inside = bytes(map(lengths.__getitem__, ids))
    shortest, longest, heaviest = min(inside), max(inside), max(weights)
    one = len(ids) == 1
    summary = _summary.pack(one, sum(weights), len(ids), shortest, longest, heaviest, ids[0], ids[-1])
    if one:
        return summary + pickle.dumps(((ids[0],), (heaviest,), tuple(values or (b"",))), 3), b""
    parts = [_MAGIC]
    for start in range(0, len(ids), _BLOCK):
        cut = slice(start, start + _BLOCK)
        last = start + _BLOCK >= len(ids)
        parts.append(_encode_block(ids[cut], weights[cut], values and values[cut], inside[cut], last))
    data = b"".join(parts)
    return summary + _extent.pack(offset, len(data)), data


def _encode_block(
    ids: list[int], weights: list[float], values: list[bytes] | None, lengths: bytes, last: bool
) -> bytes:
    heaviest = max(weights)
    equal = weights.count(heaviest) == len(weights)
    small = None if equal and heaviest == 1.0 else heaviest if equal else tuple(weights)
    deltas = (ids[0], *map(sub, ids[1:], ids))
    data = pickle.dumps((deltas, small, tuple(values) if values else None), 3)
    compressed = len(data) > _WORTH_COMPRESSING
    if compressed:
        data = zlib.compress(data, 1)
    about = pickle.dumps((len(ids), ids[-1], heaviest, int(compressed), min(lengths), max(lengths)), 2)
    size = len(about) + len(data)
    return _length.pack(-size if last else size) + about + data
