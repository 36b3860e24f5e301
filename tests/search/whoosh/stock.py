"""Segments that Whoosh's own writer makes, for our reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import whoosh.index
from whoosh.filedb.filestore import FileStorage
from whoosh.writing import SegmentWriter

from archiver.search import ids
from archiver.search.analysis import terms
from archiver.search.fields import CONTENT
from archiver.search.index import Document, IndexState, exact_terms, shown
from archiver.search.whoosh.commit import commit
from archiver.search.whoosh.record import FORMAT, Record, SegmentRecord, file_hash
from archiver.search.whoosh.toc import schema

_GAP = "\uffff"
"""A term that nobody looks for, where one value of a field ends and the next begins."""


def write_with_stock(folder: Path, documents: Sequence[Document]) -> None:
    """An index of the documents in one segment, in this order, and a record of ours for it."""
    folder.mkdir(0o700)
    index: Any = whoosh.index.FileIndex.create(FileStorage(str(folder)), schema())
    writer = SegmentWriter(index)
    for document in documents:
        writer.add_document(**_fields(document))
    writer.commit()
    record_stock(folder)


def record_stock(folder: Path) -> None:
    """Make a commit of ours of the one segment that Whoosh wrote, in no order as far as we know."""
    index: Any = whoosh.index.open_dir(str(folder))
    (segment,) = index._segments()
    path = folder / segment.make_filename(".seg")
    with index.reader() as reader:
        dates = list(reader.column_reader("date"))
        lengths = {field: reader.field_length(field) for field in CONTENT}
    record = SegmentRecord(
        id=segment.segment_id(),
        size=path.stat().st_size,
        hash=file_hash(str(path)),
        documents=len(dates),
        ordered=False,
        oldest=min(dates),
        newest=max(dates),
        lengths=lengths,
    )
    before = Record(FORMAT, index.latest_generation(), None, "")
    commit(str(folder), before, [record], IndexState("L", 1))


def _fields(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {
        "key": document.key,
        "date": document.date,
        "size": document.size,
        "subject": terms(document.subject),
        "from": _listed(document.from_),
        "to": _listed(document.to),
        "cc": _listed(document.cc),
        "body": terms(document.body),
        "filename": _listed(document.filenames),
        "bcc": _listed(document.bcc),
        "list": _listed(document.lists),
        "attachment": _listed(document.attachments),
        "ids": ids.pack(document.id, document.refers, document.topic, document.is_reply),
        **{name: list(found) for name, found in exact_terms(document).items()},
    }
    found |= {f"_stored_{name}": text for name, text in shown(document).items()}
    return {name: value for name, value in found.items() if value != []}


def _listed(values: Iterable[str]) -> list[str]:
    return [term for value in values for term in (*terms(value), _GAP)][:-1]
