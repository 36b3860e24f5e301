"""What unmodified Whoosh sees of an index: its schema and its segments.

The schema holds stock classes only. Its analyzer is there for programs that search the index with
Whoosh's own parser: what we write is analysed already (archiver/search/analysis.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from whoosh import columns, fields
from whoosh.analysis import LowercaseFilter, RegexTokenizer
from whoosh.codec.whoosh3 import W3Codec, W3Segment
from whoosh.filedb.filestore import FileStorage
from whoosh.filedb.structfile import StructFile
from whoosh.index import TOC

from archiver.search.fields import CONTENT, REGEX, TERMS
from archiver.search.whoosh.build import INDEX_NAME
from archiver.search.whoosh.parts import KEY_SIZE
from archiver.search.whoosh.record import SegmentRecord
from archiver.search.whoosh.storage import sync


class CommitStorage(FileStorage):  # type: ignore[misc]
    """Whoosh's storage as a TOC is written through it: files 0600, and its rename is the commit.

    `prepare` is called with the path of the finished TOC before it gets its name; what it writes
    belongs to the commit and must be on the disk when it returns.
    """

    def __init__(self, folder: str, prepare: Callable[[str], None]) -> None:
        super().__init__(folder)
        self.prepare = prepare

    def create_file(self, name: str, excl: bool = False, mode: str = "wb", **kwargs: Any) -> StructFile:
        flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if excl else os.O_TRUNC)
        descriptor = os.open(os.path.join(self.folder, name), flags, 0o600)
        return StructFile(os.fdopen(descriptor, mode), name=name, **kwargs)

    def rename_file(self, oldname: str, newname: str, safe: bool = False) -> None:
        old = os.path.join(self.folder, oldname)
        sync(old)
        self.prepare(old)
        sync(self.folder)
        os.rename(old, os.path.join(self.folder, newname))
        sync(self.folder)


def schema() -> fields.Schema:
    words = RegexTokenizer(r"[^\W_]+") | LowercaseFilter()
    content = {
        name: fields.TEXT(analyzer=words, stored=name in REGEX, multitoken_query="phrase") for name in CONTENT
    }
    return fields.Schema(
        key=fields.COLUMN(columns.FixedBytesColumn(KEY_SIZE)),
        date=fields.COLUMN(columns.NumericColumn("q")),
        size=fields.COLUMN(columns.NumericColumn("q")),
        ids=fields.COLUMN(columns.VarBytesColumn()),
        **{name: fields.ID(stored=name == "has") for name in TERMS},
        **content,
    )


def write(storage: CommitStorage, generation: int, segments: Iterable[SegmentRecord]) -> None:
    """Write the table of contents of these segments."""
    TOC(schema(), [_segment(each) for each in segments], generation).write(storage, INDEX_NAME)


def _segment(record: SegmentRecord) -> W3Segment:
    deleted = set(record.deleted) or None
    segment = W3Segment(
        W3Codec(), INDEX_NAME, record.documents, record.id.removeprefix(f"{INDEX_NAME}_"), deleted
    )
    segment.compound = True
    segment._fieldlengths = dict(record.lengths)
    return segment
