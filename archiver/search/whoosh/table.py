"""Writes a term table: Whoosh's ordered hash file.

A header; keys and entries, in order; 256 hash tables, found by the low byte of the hash of a key; the
directory of these; a pickled dictionary; the places of all keys, in order, for bisection; the length of
these two. The hash is CRC-32, one of the three that Whoosh knows, and the fastest.
"""

from __future__ import annotations

import pickle
import struct
import sys
from array import array
from collections.abc import Mapping
from typing import IO
from zlib import crc32

_MAGIC = b"HSH3"
_CRC32 = 1
_header = struct.Struct("!4sBii")
_lengths = struct.Struct("!ii")
_slot = struct.Struct("!Iq")
_table = struct.Struct("!qi")
_int = struct.Struct("!i")
_BUFFER = 1 << 16


class TableWriter:
    """Writes a term table into a file, from where it stands; memory grows by 12 bytes a term."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hashes = array("I")
        self._places = array("q")
        self._buffer = bytearray(_header.pack(_MAGIC, _CRC32, 0, 0))
        self._written = 0

    def add(self, key: bytes, entry: bytes) -> None:
        """Keys ascend."""
        buffer = self._buffer
        self._places.append(self._written + len(buffer))
        self._hashes.append(crc32(key))
        buffer += _lengths.pack(len(key), len(entry))
        buffer += key
        buffer += entry
        if len(buffer) > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        self._file.write(self._buffer)
        self._written += len(self._buffer)
        self._buffer.clear()

    def close(self, fields: Mapping[str, int]) -> None:
        """Write what follows the entries; `fields` gives the number that the keys of a field begin with."""
        directory = bytearray()
        for chosen in self._buckets():
            directory += _table.pack(self._written + len(self._buffer), 2 * len(chosen))
            self._buffer += self._slots(chosen)
            self._flush()
        self._buffer += directory
        places = _smallest(self._places)
        extras = {"fieldmap": dict(fields), "indextype": places.typecode, "indexlen": len(places)}
        pickled = pickle.dumps(extras, 2)
        tail = pickled + big_endian(places)
        self._buffer += tail + _int.pack(len(tail))
        self._flush()

    def _buckets(self) -> list[array[int]]:
        """For each low byte of a hash which of the keys have it."""
        buckets = [array("I") for _ in range(256)]
        for at, hashed in enumerate(self._hashes):
            buckets[hashed & 255].append(at)
        return buckets

    def _slots(self, chosen: array[int]) -> bytes:
        """A hash table, half of it empty; who finds a slot taken goes on to the next."""
        count = 2 * len(chosen)
        table = bytearray(count * _slot.size)
        taken = bytearray(count)
        for at in chosen:
            hashed = self._hashes[at]
            slot = (hashed >> 8) % count
            while taken[slot]:
                slot = (slot + 1) % count
            taken[slot] = 1
            _slot.pack_into(table, slot * _slot.size, hashed, self._places[at])
        return bytes(table)


def _smallest(numbers: array[int]) -> array[int]:
    """The numbers, ascending, as the narrowest array that Whoosh reads."""
    last = numbers[-1] if numbers else 0
    return array("H" if last < 1 << 16 else "i" if last < 1 << 31 else "q", numbers)


def big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
