"""One segment read through a memory map.

Reads the layout of a W3 segment in a compound file: a directory of the parts inside, a term table
(hashed, and ordered for prefixes), posting lists, and columns of a value for each document. Knows
documents by their number in the segment; deleted ones are still in posting lists, `live` leaves them out.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zlib
from array import array
from binascii import crc32
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from archiver.search.ids import Ids, unpack
from archiver.search.whoosh.lists import Postings
from archiver.search.whoosh.parts import KEY_SIZE, Parts
from archiver.search.whoosh.postings import Block, blocks, ids
from archiver.search.whoosh.record import SegmentRecord

if TYPE_CHECKING:
    from archiver.search.whoosh.lexicon import Lexicon
    from archiver.search.whoosh.shown import Shown

LENGTHS = tuple(round((1.033**byte - 1) * 27) for byte in range(256))
"""What Whoosh's length bytes stand for."""

_table = struct.Struct("!qi")
_slot = struct.Struct("!Iq")
_sizes = struct.Struct("!ii")
_int = struct.Struct("!i")


class Segment(Parts):
    """A segment file and what is asked of it."""

    def __init__(self, folder: str, record: SegmentRecord) -> None:
        super().__init__(folder, record)
        self.numbers: dict[str, Sequence[int]] = {}
        """What numbers.py found out, by ledger."""
        self._lexicons: dict[str, Lexicon] = {}
        self._shown: dict[str, Shown] = {}
        with self.reading():
            self.terms = Terms(self.part(".trm"))
            self._postings = self.part(".pst")

    def blocks(self, entry: bytes) -> Iterator[Block]:
        """The postings of a term by its entry in `terms`."""
        return blocks(entry, self._postings)

    def postings(self, entry: bytes, whole: bool = False) -> Postings:
        """The same, to be read in parts."""
        return Postings(entry, self._postings, whole)

    def documents(self, entry: bytes) -> list[int]:
        """The documents of a term without positions, deleted ones among them."""
        return ids(entry, self._postings)

    def lexicon(self, field: str) -> Lexicon:
        """The terms of a field with words."""
        if field not in self._lexicons:
            from archiver.search.whoosh.lexicon import Lexicon

            with self.reading():
                packed = self.part(f".{field}.lex")
                listed = zlib.decompress(packed) if packed else self._walked(field)
                self._lexicons[field] = Lexicon(listed)
        return self._lexicons[field]

    def _walked(self, field: str) -> bytes:
        return b"".join(term + b"\n" for term, _ in self.terms.all(field))

    def shown(self, field: str) -> Shown:
        """What is shown of a field of every document."""
        if field not in self._shown:
            from archiver.search.whoosh.shown import Shown

            self._shown[field] = Shown(
                self.record.documents, lambda number: self.stored(number).get(field, "")
            )
        return self._shown[field]

    @cached_property
    def live(self) -> frozenset[int]:
        """The documents that are not deleted."""
        return frozenset(range(self.record.documents)).difference(self.record.deleted)

    @cached_property
    def _keys(self) -> memoryview:
        """The keys one after the other; Whoosh does not write those at the end that are all zeros."""
        return self.part(".key.col")

    def key(self, number: int) -> bytes:
        key = self._keys[KEY_SIZE * number : KEY_SIZE * (number + 1)].tobytes()
        return key if len(key) == KEY_SIZE else key.ljust(KEY_SIZE, b"\0")

    @cached_property
    def keys(self) -> list[bytes]:
        """The key of every document, deleted ones too."""
        data = self.key_data()
        return [data[at : at + KEY_SIZE] for at in range(0, len(data), KEY_SIZE)]

    @cached_property
    def by_key(self) -> dict[bytes, int]:
        """Key -> number of each document that is not deleted."""
        keys = self.keys
        return {keys[number]: number for number in self.live}

    @cached_property
    def dates(self) -> array[int]:
        with self.reading():
            return self.column(".date.col")

    @cached_property
    def sizes(self) -> array[int]:
        with self.reading():
            return self.column(".size.col")

    def length_bytes(self, field: str) -> bytes:
        """How long the field is in every document, as bytes to look up in LENGTHS."""
        return bytes(self.part(f"._{field}_len.col")).ljust(self.record.documents, b"\0")

    def _rows(self, name: str) -> tuple[memoryview, array[int], Sequence[int]]:
        """A column of values of any size; how long each document's is, and where it begins."""
        data = self.part(f".{name}.col")
        if not data:
            nothing = array("I", bytes(4 * self.record.documents))
            return data, nothing, nothing
        with self.reading():
            code, end = chr(data[-1]), len(data) - 1
            begins: Sequence[int] = ()
            if code == "X":
                code, end = chr(data[-3]), len(data) - 3
                offsets = self._array(chr(data[-2]), data[:end])
                begins, end = offsets, end - len(offsets) * offsets.itemsize
            lengths = self._array(code, data[:end])
            return data, lengths, begins or list(accumulate(lengths, initial=0))

    def _array(self, code: str, data: memoryview) -> array[int]:
        """The numbers, one for each document, that the data ends with."""
        numbers: array[int] = array(code)
        numbers.frombytes(data[len(data) - numbers.itemsize * self.record.documents :])
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers

    @cached_property
    def _stored(self) -> tuple[memoryview, array[int], Sequence[int]]:
        return self._rows("_stored")

    @cached_property
    def _ids(self) -> tuple[memoryview, array[int], Sequence[int]]:
        return self._rows("ids")

    def stored(self, number: int) -> dict[str, Any]:
        """What is shown of a document, by field."""
        data, lengths, begins = self._stored
        if not lengths[number]:
            return {}
        with self.reading():
            part = data[begins[number] : begins[number] + lengths[number]]
            found: dict[str, Any] = pickle.loads(zlib.decompress(part))
            return found

    def ids(self, number: int) -> Ids:
        """The hashed Message-IDs of a document: its own and those it refers to."""
        with self.reading():
            return unpack(self.packed_ids(number))

    def packed_ids(self, number: int) -> bytes:
        data, lengths, begins = self._ids
        return bytes(data[begins[number] : begins[number] + lengths[number]])

    def all_ids(self) -> Iterator[bytes]:
        """As they are packed (`archiver.search.ids`), of every document."""
        data, lengths, begins = self._ids
        whole = bytes(data)
        return (whole[begin : begin + length] for begin, length in zip(begins, lengths, strict=False))


class Terms:
    """A term table: entries by field and term.

    Layout: keys and values in order, 256 hash tables, their directory, a pickled dictionary, an
    array of the places of all keys, the length of these last two.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        (tail,) = _int.unpack_from(data, len(data) - _int.size)
        about_at = len(data) - _int.size - tail
        about = pickle.loads(data[about_at:])
        self.fields: dict[str, int] = about["fieldmap"]
        if bytes(data[:5]) not in (b"HSH3\0", b"HSH3\1"):
            raise ValueError("no term table where there must be one")
        self._crc = data[4] == 1
        self._tables = about_at - 256 * _table.size
        (self._end, _) = _table.unpack_from(data, self._tables)
        self._place = struct.Struct(f"!{about['indextype']}")
        self._count: int = about["indexlen"]
        self._places = len(data) - _int.size - self._count * self._place.size

    def _key(self, field: str, term: str) -> bytes:
        return self.fields[field].to_bytes(2, "big") + term.encode()

    def _at(self, place: int) -> tuple[bytes, bytes]:
        key, value = _sizes.unpack_from(self._data, place)
        start = place + _sizes.size
        return bytes(self._data[start : start + key]), bytes(self._data[start + key : start + key + value])

    def get(self, field: str, term: str) -> bytes | None:
        """The entry of a term, None when no document has it."""
        if field not in self.fields:
            return None
        key = self._key(field, term)
        code = crc32(key) if self._crc else _md5(key)
        table, slots = _table.unpack_from(self._data, self._tables + (code & 255) * _table.size)
        for step in range(slots):
            found, place = _slot.unpack_from(self._data, table + ((code >> 8) + step) % slots * _slot.size)
            if not place:
                return None
            if found == code:
                stored, entry = self._at(place)
                if stored == key:
                    return entry
        return None

    def starting(self, field: str, prefix: str) -> Iterator[bytes]:
        """The entries of all terms that begin so, in order."""
        return (entry for _, entry in self._from(field, prefix))

    def all(self, field: str) -> Iterator[tuple[bytes, bytes]]:
        """(term, entry) of a field in order."""
        return ((key[2:], entry) for key, entry in self._from(field, ""))

    def of(self, field: str, prefix: str) -> Iterator[tuple[bytes, bytes]]:
        """(term, entry) of all that begin so, in order."""
        return ((key[2:], entry) for key, entry in self._from(field, prefix))

    def _from(self, field: str, prefix: str) -> Iterator[tuple[bytes, bytes]]:
        """(key, entry) of each term that begins so; they stand in the file in their order."""
        if field not in self.fields:
            return
        wanted = self._key(field, prefix)
        first = self._first(wanted)
        place = self._nth(first) if first < self._count else self._end
        while place < self._end:
            length, size = _sizes.unpack_from(self._data, place)
            start = place + _sizes.size
            place = start + length + size
            key = bytes(self._data[start : start + length])
            if not key.startswith(wanted):
                return
            yield key, bytes(self._data[start + length : place])

    def _nth(self, index: int) -> int:
        """The place of a term by its number in the order of all."""
        (place,) = self._place.unpack_from(self._data, self._places + index * self._place.size)
        return int(place)

    def _first(self, wanted: bytes) -> int:
        """The number of the first term that is not less."""
        return bisect_left(range(self._count), wanted, key=lambda index: self._at(self._nth(index))[0])


def _md5(key: bytes) -> int:
    from hashlib import md5

    return int.from_bytes(md5(key, usedforsecurity=False).digest()[-4:], "big")
