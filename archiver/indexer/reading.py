"""From a key to a document: whichever of its files still holds it, parsed."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from archiver.errors import ArchiverError
from archiver.message import parse
from archiver.search.index import Document, document
from archiver.store.layout import mail_root
from archiver.store.maildir import Finder
from archiver.store.reader import read_start
from archiver.store.records import Queued

# What lies beyond so many bytes of a message is kept and not searched.
_READ_LIMIT = 16 << 20


class Unreadable(msgspec.Struct, frozen=True):
    """A document that is not in the index because no file has its bytes, and why."""

    key: bytes
    reason: str


class Documents:
    """Reads documents of the archive at `root`; remembers directory listings, so keep it for many."""

    def __init__(self, root: str) -> None:
        self._mail = mail_root(root)
        self._finder = Finder()

    def read(self, queued: Queued) -> Document | Unreadable:
        try:
            start, size = read_start(queued.key, list(self._paths(queued)), _READ_LIMIT)
        except ArchiverError as exc:
            return Unreadable(queued.key, exc.message)
        return document(queued.key, queued.received, size, parse(start))

    def _paths(self, queued: Queued) -> Iterable[str]:
        for folder, file, flags in queued.places:
            if path := self._finder.path(os.path.join(self._mail, folder), file, flags):
                yield path
