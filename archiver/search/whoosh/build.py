"""Writes a segment as Whoosh's own writer makes one, without its code.

A segment is one file, a compound of parts: posting lists, term table, and a column for everything that is
kept of each document. `write` puts it together from columns and lists, whoever has them: documents
gathered in memory (gather.py), or other segments (merge.py).
"""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import string
import struct
import tempfile
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import IO, TypeAlias

import msgspec

from archiver.search.whoosh.lexicon import LexiconWriter
from archiver.search.whoosh.postings import ListWriter, Packed, Postings
from archiver.search.whoosh.record import SegmentRecord, file_hash
from archiver.search.whoosh.segment import LENGTHS
from archiver.search.whoosh.storage import sync
from archiver.search.whoosh.table import TableWriter, big_endian

INDEX_NAME = "MAIN"

Lists: TypeAlias = "Iterable[tuple[bytes, Iterable[Postings | Packed]]]"
"""Terms of a field, ascending, each with its postings in parts."""

_LETTERS = string.digits + string.ascii_lowercase
_header = struct.Struct("!qi")
_stored = struct.Struct("<HH")
_checksum = struct.Struct("!I")
_STORED_LIMIT = 1 << 16


class Columns(msgspec.Struct):
    """What is kept of each document, in the order of the documents.

    `lengths`: a byte for each document in each field, `totals` the terms of each field in all.
    `stored`: what is shown of it, as `pack_stored` gives it. `ids`: as `archiver.search.ids` packs them.
    These and the keys are gone through once.
    """

    dates: array[int]
    sizes: array[int]
    ordered: bool
    lengths: dict[str, bytes]
    totals: dict[str, int]
    keys: Iterable[bytes]
    stored: Iterable[bytes]
    ids: Iterable[bytes]


def length_byte(length: int) -> int:
    """How Whoosh keeps the number of terms in a field; LENGTHS is the way back."""
    return min(bisect_left(LENGTHS, length), 255)


def pack_stored(shown: dict[str, str]) -> bytes:
    """What Whoosh shows of a document: a pickle, in a zlib stream (RFC 1950) that does not compress it.

    Such a stream is put together in no time, and there is little to gain from a hundred bytes.
    """
    data = pickle.dumps(shown, 2)
    if len(data) >= _STORED_LIMIT:
        return zlib.compress(data, 1)
    size = _stored.pack(len(data), len(data) ^ 0xFFFF)
    return b"\x78\x01\x01" + size + data + _checksum.pack(zlib.adler32(data))


def write(folder: str, columns: Columns, fields: Iterable[tuple[str, Lists]]) -> SegmentRecord:
    """Write a segment, which no TOC names yet, into this directory, and wait until it is on the disk."""
    segment = f"{INDEX_NAME}_{''.join(secrets.choice(_LETTERS) for _ in range(16))}"
    path = os.path.join(folder, f"{segment}.seg")
    with (
        _compound(path, segment) as compound,
        tempfile.TemporaryFile(dir=folder) as terms,
        tempfile.TemporaryFile(dir=folder) as lines,
    ):
        lexicon = LexiconWriter(lines)
        with compound.part(".pst") as file:
            _write_lists(file, terms, lexicon, columns, fields)
        with compound.part(".trm") as file:
            terms.seek(0)
            shutil.copyfileobj(terms, file)
        _write_columns(compound, columns)
        for field, (start, length) in lexicon.extents.items():
            with compound.part(f".{field}.lex") as file:
                lines.seek(start)
                file.write(lines.read(length))
    sync(path)
    count = len(columns.dates)
    return SegmentRecord(
        id=segment,
        size=os.path.getsize(path),
        hash=file_hash(path),
        documents=count,
        ordered=columns.ordered,
        oldest=min(columns.dates),
        newest=max(columns.dates),
        lengths={field: total for field, total in columns.totals.items() if total},
    )


def _write_lists(
    file: IO[bytes],
    terms: IO[bytes],
    lexicon: LexiconWriter,
    columns: Columns,
    fields: Iterable[tuple[str, Lists]],
) -> None:
    lists, table = ListWriter(file), TableWriter(terms)
    numbers: dict[str, int] = {}
    for field, found in fields:
        lengths = columns.lengths.get(field) or bytes(len(columns.dates))
        lexicon.begin()
        for term, parts in found:
            entry = lists.add(parts, lengths)
            if entry is not None:
                number = numbers.setdefault(field, len(numbers))
                table.add(number.to_bytes(2, "big") + term, entry)
                if field in columns.lengths:
                    lexicon.add(term)
        if field in columns.lengths and field in numbers:
            lexicon.end(field)
    table.close(numbers)


def _write_columns(compound: _Compound, columns: Columns) -> None:
    for name, numbers in (("date", columns.dates), ("size", columns.sizes)):
        with compound.part(f".{name}.col") as file:
            file.write(big_endian(numbers))
    for field, lengths in columns.lengths.items():
        if any(lengths):
            with compound.part(f"._{field}_len.col") as file:
                file.write(lengths)
    with compound.part(".key.col") as file:
        file.writelines(columns.keys)
    for name, values in (("_stored", columns.stored), ("ids", columns.ids)):
        with compound.part(f".{name}.col") as file:
            _write_rows(file, values)


def _write_rows(file: IO[bytes], rows: Iterable[bytes]) -> None:
    """A column of values of any size."""
    sizes = array("I")
    for each in rows:
        file.write(each)
        sizes.append(len(each))
    file.write(_directory(sizes))


def _directory(sizes: array[int]) -> bytes:
    """The end of a column of values of any size: their sizes, where they begin, the types of both, a mark."""
    begins = array("I", [*accumulate(sizes, initial=0)][:-1])
    codes = ["B" if max(each) < 1 << 8 else "H" if max(each) < 1 << 16 else "I" for each in (sizes, begins)]
    numbers = [big_endian(array(code, each)) for code, each in zip(codes, (sizes, begins), strict=True)]
    return b"".join(numbers) + "".join(codes).encode() + b"X"


class _Compound:
    """Parts one after the other in one file, and a directory of them at its end."""

    def __init__(self, file: IO[bytes], segment: str) -> None:
        self._file = file
        self._segment = segment
        self._parts: dict[str, dict[str, int]] = {}

    @contextmanager
    def part(self, extension: str) -> Iterator[IO[bytes]]:
        start = self._file.tell()
        yield self._file
        self._parts[self._segment + extension] = {"offset": start, "length": self._file.tell() - start}

    def close(self) -> None:
        start = self._file.tell()
        directory = pickle.dumps(self._parts, 2) + pickle.dumps({}, 2)
        self._file.write(directory)
        self._file.seek(0)
        self._file.write(_header.pack(start, len(directory)))


@contextmanager
def _compound(path: str, segment: str) -> Iterator[_Compound]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(bytes(_header.size))
        compound = _Compound(file, segment)
        yield compound
        compound.close()
