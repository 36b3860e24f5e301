"""From a key to a document: whichever of its files still holds it, parsed, its attachments read."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from archiver.attachments import Reading, Tally, Texts
from archiver.errors import ArchiverError
from archiver.message import parse
from archiver.search.index import Document, document
from archiver.store.layout import mail_root
from archiver.store.maildir import Finder
from archiver.store.reader import read_start
from archiver.store.records import Queued

# What lies beyond so many bytes of a message is kept and not searched: of its text, with the attachments.
_READ_LIMIT = 16 << 20
_READ_WITH_ATTACHMENTS = 48 << 20


class Unreadable(msgspec.Struct, frozen=True):
    """A document that is not in the index because no file has its bytes, and why."""

    key: bytes
    reason: str


class Documents:
    """Reads documents of the archive at `root`; remembers directory listings, so keep it for many. Close it.

    `reading`: what may be spent on attachments; without it their texts are left out.
    """

    def __init__(self, root: str, reading: Reading | None = None) -> None:
        self._mail = mail_root(root)
        self._finder = Finder()
        self._texts = Texts(root, reading) if reading else None
        self._limit = _READ_WITH_ATTACHMENTS if reading else _READ_LIMIT

    def read(self, queued: Queued) -> Document | Unreadable:
        try:
            start, size = read_start(queued.key, list(self._paths(queued)), self._limit)
        except ArchiverError as exc:
            return Unreadable(queued.key, exc.message)
        message = parse(start)
        made = document(queued.key, queued.received, size, message)
        if self._texts is None or not message.attachments:
            return made
        # The last one of a message that was cut is cut, too.
        whole = message.attachments if len(start) < self._limit else message.attachments[:-1]
        return replace(made, attachments=self._texts.of(queued.key, start, whole))

    def tally(self) -> Tally:
        """What became of attachments since this was asked last."""
        return self._texts.taken() if self._texts else Tally()

    def close(self) -> None:
        if self._texts:
            self._texts.close()

    def _paths(self, queued: Queued) -> Iterable[str]:
        for folder, file, flags in queued.places:
            if path := self._finder.path(os.path.join(self._mail, folder), file, flags):
                yield path
