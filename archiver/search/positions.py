"""Where a term stands in a field, packed into bytes as Whoosh keeps it.

The number of positions in four bytes, then a pickle of the differences between them. Whoosh takes a
pickle of any sequence, so this is the shortest there is, put together from ready-made opcodes: the
numbers, and the opcode that makes a tuple of them.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import sub

_count = struct.Struct("!I")
_byte = struct.Struct("B")
_short = struct.Struct("<H")
_int = struct.Struct("<i")
_CACHED = 4096
_TUPLES = {1: b"\x85.", 2: b"\x86.", 3: b"\x87."}


class _Integers(dict[int, bytes]):
    """Numbers from 0 on as opcodes of a pickle; the small ones are remembered."""

    def __missing__(self, number: int) -> bytes:
        if number < 1 << 8:
            opcode = b"K" + _byte.pack(number)
        elif number < 1 << 16:
            opcode = b"M" + _short.pack(number)
        elif number < 1 << 31:
            opcode = b"J" + _int.pack(number)
        else:
            opcode = pickle.dumps(number, 2)[2:-1]
        if number < _CACHED:
            self[number] = opcode
        return opcode


INTEGERS = _Integers()


def string(value: bytes) -> bytes:
    """Bytes as opcodes of a pickle (protocol 3)."""
    if len(value) < 1 << 8:
        return b"C" + _byte.pack(len(value)) + value
    return b"B" + _int.pack(len(value)) + value


def packed(count: int, steps: bytes) -> bytes:
    """So many positions, from the opcodes of their differences one after the other."""
    if count > 3:
        return _count.pack(count) + b"(" + steps + b"t."
    return _count.pack(count) + steps + _TUPLES[count]


def pack(positions: Sequence[int]) -> bytes:
    """Ascending positions, one at least."""
    steps = [positions[0], *map(sub, positions[1:], positions)]
    return packed(len(steps), b"".join(map(INTEGERS.__getitem__, steps)))


def unpack(value: bytes) -> list[int]:
    return list(accumulate(pickle.loads(value[_count.size :])))


def starts(value: bytes, before: int) -> Iterator[int]:
    """Where rows of terms begin in which this one comes after so many others, were the others there.

    Where there are others, a number below 0 comes, too; nothing begins there.
    """
    deltas = pickle.loads(value[_count.size :])
    return accumulate(deltas, initial=-before) if before else accumulate(deltas)
