"""Writes one stock segment from prepared documents.

The schema holds stock classes only, so that unmodified Whoosh opens the index. Its analyzer is there for
programs that search the index with Whoosh's own parser: we write terms that are analysed already.
Documents, stored values and columns go through Whoosh's codec; posting lists are encoded by
postings.py, from dictionaries of the batch instead of Whoosh's pool of sorted tuples, which is
what most of the time of its own writer goes to.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeAlias

from whoosh import columns, fields
from whoosh.analysis import LowercaseFilter, RegexTokenizer
from whoosh.codec.whoosh3 import W3Codec, W3Segment
from whoosh.filedb.filetables import HashWriter, OrderedHashWriter
from whoosh.filedb.structfile import StructFile
from whoosh.util.numeric import length_to_byte
from whoosh.util.numlists import GrowableArray

from archiver.search.fields import CONTENT
from archiver.search.index import Prepared
from archiver.search.positions import count
from archiver.search.whoosh.postings import encode
from archiver.search.whoosh.record import SegmentRecord, file_hash
from archiver.search.whoosh.segment import KEY_SIZE
from archiver.search.whoosh.storage import PrivateStorage, sync

INDEX_NAME = "MAIN"

KEY = columns.FixedBytesColumn(KEY_SIZE)
NUMBER = columns.NumericColumn("q")

Posting: TypeAlias = "tuple[list[int], list[float], list[bytes] | None]"
"""Ids, weights and values of one term."""


def schema() -> fields.Schema:
    words = RegexTokenizer(r"[^\W_]+") | LowercaseFilter()
    shown = {"subject", "from"}
    content = {
        name: fields.TEXT(analyzer=words, stored=name in shown, multitoken_query="phrase") for name in CONTENT
    }
    return fields.Schema(
        key=fields.COLUMN(KEY),
        date=fields.COLUMN(NUMBER),
        size=fields.COLUMN(NUMBER),
        has=fields.ID(stored=True),
        **content,
    )


class Documents:
    """Writes what is kept for each document: columns, lengths, what is shown."""

    def __init__(self, storage: PrivateStorage) -> None:
        self.segment: W3Segment = W3Codec().new_segment(storage, INDEX_NAME)
        self.count = 0
        self.lengths = {field: bytearray() for field in CONTENT}
        self.totals = dict.fromkeys(CONTENT, 0)
        self.ordered = True
        self.oldest = self.newest = 0
        self._last = (-(1 << 63), b"")
        self._writer = W3Codec().per_document_writer(storage, self.segment)

    def add(
        self, key: bytes, date: int, size: int, stored: Mapping[str, str], lengths: Mapping[str, int]
    ) -> int:
        """The number the document gets."""
        writer, number = self._writer, self.count
        writer.start_doc(number)
        for field, into in self.lengths.items():
            length = lengths.get(field, 0)
            writer.add_field(field, None, stored.get(field), length)
            into.append(length_to_byte(length))
            self.totals[field] += length
        writer.add_field("has", None, stored.get("has") or None, 0)
        writer.add_column_value("key", KEY, key)
        writer.add_column_value("date", NUMBER, date)
        writer.add_column_value("size", NUMBER, size)
        writer.finish_doc()
        self._note_order(date, key)
        self.count += 1
        return number

    def _note_order(self, date: int, key: bytes) -> None:
        self.ordered = self.ordered and self._last <= (date, key)
        self._last = date, key
        self.oldest = min(self.oldest, date) if self.count else date
        self.newest = max(self.newest, date) if self.count else date

    def close(self) -> None:
        self._writer.close()


class _TermTable(OrderedHashWriter):  # type: ignore[misc]
    """Whoosh's term table, hashed by CRC-32: its second kind of hash, faster than the default MD5."""

    def __init__(self, file: StructFile) -> None:
        HashWriter.__init__(self, file, hashtype=1)
        self.index = GrowableArray("H")
        self.lastkey = b""


def write_terms(
    storage: PrivateStorage,
    documents: Documents,
    postings: Iterable[tuple[str, Iterator[tuple[str, Posting]]]],
) -> None:
    """Write the term table and the posting lists; fields and the terms of each come in order."""
    segment = documents.segment
    file = segment.create_file(storage, W3Codec.POSTS_EXT)
    table = _TermTable(segment.create_file(storage, W3Codec.TERMS_EXT))
    ids: dict[str, int] = {}
    table.extras["fieldmap"] = ids
    offset = 0
    for field, terms in postings:
        start = ids.setdefault(field, len(ids)).to_bytes(2, "big")
        lengths = documents.lengths.get(field) or bytes(documents.count)
        for term, (numbers, weights, values) in terms:
            entry, data = encode(numbers, weights, values, lengths, offset)
            table.add(start + term.encode(), entry)
            file.write(data)
            offset += len(data)
    file.close()
    table.close()


def finish(storage: PrivateStorage, documents: Documents) -> SegmentRecord:
    """Put the parts into one file, sync it, describe it."""
    segment = documents.segment
    segment.set_doc_count(documents.count)
    segment.create_compound_file(storage)
    path = os.path.join(storage.folder, segment.make_filename(segment.COMPOUND_EXT))
    sync(path)
    lengths = {field: total for field, total in documents.totals.items() if total}
    return SegmentRecord(
        id=segment.segment_id(),
        size=os.path.getsize(path),
        hash=file_hash(path),
        documents=documents.count,
        ordered=documents.ordered,
        oldest=documents.oldest,
        newest=documents.newest,
        lengths=lengths,
    )


def toc_segment(record: SegmentRecord) -> W3Segment:
    """The segment as Whoosh's table of contents holds it."""
    deleted = set(record.deleted) or None
    segment = W3Segment(
        W3Codec(), INDEX_NAME, record.documents, record.id.removeprefix(f"{INDEX_NAME}_"), deleted
    )
    segment.compound = True
    segment._fieldlengths = dict(record.lengths)
    return segment


def write_segment(storage: PrivateStorage, prepared: Iterable[Prepared]) -> SegmentRecord:
    """Write these documents, one at least, as a segment that no TOC names yet: in order of (date, key)."""
    documents = Documents(storage)
    # Term -> document, packed positions, document, packed positions ... : one flat list is fastest.
    found: dict[str, defaultdict[str, list[Any]]] = {field: defaultdict(list) for field in CONTENT}
    facts: defaultdict[str, list[int]] = defaultdict(list)
    for each in sorted(prepared, key=attrgetter("date", "key")):
        stored = {"subject": each.subject, "from": each.sender, "has": " ".join(each.has)}
        number = documents.add(each.key, each.date, each.size, stored, each.lengths)
        for field, terms in each.terms.items():
            into = found[field]
            for term, packed in terms.items():
                into[term] += (number, packed)
        for fact in each.has:
            facts[fact].append(number)
    documents.close()
    ordered = {field: _postings(terms) for field, terms in sorted(found.items()) if terms}
    write_terms(storage, documents, [*ordered.items(), ("has", _facts(facts))])
    return finish(storage, documents)


def _postings(terms: dict[str, list[Any]]) -> Iterator[tuple[str, Posting]]:
    for term, flat in sorted(terms.items()):
        values = flat[1::2]
        yield term, (flat[::2], list(map(float, map(count, values))), values)


def _facts(facts: dict[str, list[int]]) -> Iterator[tuple[str, Posting]]:
    for fact, numbers in sorted(facts.items()):
        yield fact, (numbers, [1.0] * len(numbers), None)
