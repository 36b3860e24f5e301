"""Where in a message a query found something: its text, or an attachment whose text is known."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from archiver.attachments import Reading, Texts
from archiver.errors import ArchiverError
from archiver.message import parse
from archiver.search.snippet import Wanted, snippet, wanted
from archiver.store.layout import attachments_path
from archiver.store.reader import Reader

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.search.tree import Node


# Columns, enough for a match.
_SOME = 80


class Passage(msgspec.Struct, frozen=True):
    """A text, the field it is searched by, and the name of the file it is from, "" for the message's own."""

    text: str
    field: str = "body"
    name: str = ""


def passages(archive: Archive, keys: Sequence[bytes], tree: Node) -> Iterator[Passage]:
    """Of each message its text, or that of the first attachment that has what its text has not.

    Empty where the message cannot be read. Reads no attachment: only what was read for the index counts.
    """
    with ExitStack() as stack:
        reader = Reader(stack.enter_context(archive.ledger()))
        texts = None
        if os.path.exists(attachments_path(archive.root)):
            reading = Reading(archive.config.index.attachment_size, known=True)
            texts = stack.enter_context(Texts(archive.root, reading))
        for key in keys:
            try:
                yield _passage(reader.wire(key), tree, texts)
            except ArchiverError:
                yield Passage("")


def _passage(wire: bytes, tree: Node, texts: Texts | None) -> Passage:
    message = parse(wire)
    own = Passage(message.text)
    terms = wanted(tree, "attachment")
    if texts is None or not terms or not message.attachments or _has(own.text, wanted(tree, "body")):
        return own
    inside = texts.named(wire, message.attachments)
    found = (Passage(text, "attachment", name) for name, text in inside if _has(text, terms))
    return next(found, own)


def _has(text: str, terms: Sequence[Wanted]) -> bool:
    """Whether any of the terms is where a snippet would show it."""
    return bool(snippet(text, terms, _SOME).marks)
