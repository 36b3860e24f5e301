"""The parts of a segment file, read through a memory map."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from typing import Any

from archiver.errors import DamagedError
from archiver.search.whoosh.record import REBUILD, SegmentRecord, file_hash, suspect

KEY_SIZE = 32

_compound = struct.Struct("!qi")

_UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    zlib.error,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
)


class Parts:
    """A segment file; the map lives as long as the object."""

    def __init__(self, folder: str, record: SegmentRecord) -> None:
        self.record = record
        self.path = os.path.join(folder, record.file)
        with open(self.path, "rb") as file:
            if os.fstat(file.fileno()).st_size != record.size:
                raise DamagedError(f"{record.file} of the index has the wrong size", hint=REBUILD)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        with self.reading():
            where, _ = _compound.unpack_from(self._view)
            self._parts: dict[str, dict[str, Any]] = pickle.loads(self._view[where:])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Tell damage from mistakes of ours: what cannot be read and is not what was written is damage."""
        try:
            yield
        except _UNREADABLE as error:
            if file_hash(self.path) == self.record.hash:
                raise
            suspect(os.path.dirname(self.path))
            raise DamagedError(f"{self.record.file} of the index is damaged", hint=REBUILD) from error

    def part(self, extension: str) -> memoryview:
        """A part of the file; an empty one when no document had a value for that column."""
        part = self._parts.get(self.record.id + extension)
        if part is None:
            return self._view[:0]
        return self._view[part["offset"] : part["offset"] + part["length"]]

    def let_go(self) -> None:
        """Give back the memory that what was read of the file takes up, for who goes through all of it."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def column(self, extension: str) -> array[int]:
        """A column of 64-bit numbers, one for each document; Whoosh leaves out zeros at the end."""
        numbers = array("q", bytes(self.part(extension)))
        if sys.byteorder == "little":
            numbers.byteswap()
        numbers.extend([0] * (self.record.documents - len(numbers)))
        return numbers

    def begins(self, extension: str) -> array[int]:
        """Where each value begins in a column of values of any size, and the last one ends."""
        data = self.part(extension)
        if not data:
            return array("I", bytes(4 * (self.record.documents + 1)))
        code, end = chr(data[-1]), len(data) - 1
        if code == "X":
            code, offsets = chr(data[-3]), chr(data[-2])
            end = len(data) - 3 - array(offsets).itemsize * self.record.documents
        lengths = array(code)
        lengths.frombytes(data[end - lengths.itemsize * self.record.documents : end])
        if sys.byteorder == "little":
            lengths.byteswap()
        return array("I", accumulate(lengths, initial=0))

    def key_data(self) -> bytes:
        """The keys one after the other; Whoosh leaves out those at the end that are all zeros."""
        return bytes(self.part(".key.col")).ljust(KEY_SIZE * self.record.documents, b"\0")

    @cached_property
    def keys(self) -> Sequence[bytes]:
        """The key of each document, deleted ones too."""
        return Rows(self.key_data(), range(0, KEY_SIZE * (self.record.documents + 1), KEY_SIZE))

    def find(self, keys: AbstractSet[bytes]) -> list[int]:
        """The numbers of the documents that have one of these keys, deleted ones too; ascending.

        Eight bytes of each key are looked at first: that is done at once for a whole segment.
        """
        wanted = {int.from_bytes(key[:8], sys.byteorder) for key in keys}
        heads = array("Q", self.key_data())[:: KEY_SIZE // 8]
        if wanted.isdisjoint(heads):
            return []
        likely = [number for number, head in enumerate(heads) if head in wanted]
        return [number for number in likely if self.keys[number] in keys]


class Rows(Sequence[bytes]):
    """Values of any size one after the other; `begins` has the end of the last, too."""

    def __init__(self, data: bytes | memoryview, begins: Sequence[int]) -> None:
        self._data = data
        self._begins = begins

    def __len__(self) -> int:
        return len(self._begins) - 1

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        return bytes(self._data[self._begins[number] : self._begins[number + 1]])
