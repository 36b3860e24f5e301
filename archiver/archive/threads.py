"""Conversations as they are shown: a page of those in which something was found, and one as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archiver.archive.find import asking, behind, shown_tags, spots
from archiver.archive.ids import short_id
from archiver.archive.reports import Row, ThreadLine, ThreadReport, ThreadResults, ThreadRow
from archiver.errors import NotFoundError
from archiver.search.query import thread_of
from archiver.search.threads import Entry, tree

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.search.index import Hit, Linked, Order
    from archiver.search.tree import Thread
    from archiver.store.ledger import Ledger


def search_threads(archive: Archive, text: str, order: Order, offset: int, limit: int) -> ThreadResults:
    """The page of conversations in which a query finds something."""
    with asking(archive, text) as asked:
        found = asked.index.search_threads(asked.tree, asked.places, order, offset, limit)
        rows = _rows(archive, asked.ledger, [each.hit for each in found.hits])
        return ThreadResults(
            tuple(
                ThreadRow(row, each.matched, each.messages, each.senders)
                for row, each in zip(rows, found.hits, strict=True)
            ),
            found.more,
            asked.behind,
        )


def thread(archive: Archive, text: str) -> ThreadReport:
    """The conversation of a message, by an id or its Message-ID; NotFoundError when there is none."""
    wanted = thread_of(text, archive.resolve)
    with archive.ledger() as ledger, archive.index() as index:
        found = index.conversation(wanted)
        if not found.messages:
            raise _nothing(wanted)
        rows = dict(
            zip(
                (each.hit.key for each in found.messages),
                _rows(archive, ledger, [each.hit for each in found.messages]),
                strict=True,
            )
        )
        lines = tuple(_lines(found.messages, rows, wanted))
        return ThreadReport(lines, len(rows), found.whole, behind(ledger, index))


def _nothing(wanted: Thread) -> NotFoundError:
    if wanted.key:
        return NotFoundError(
            "the message is not indexed yet", hint="archiver sync or archiver reindex indexes it"
        )
    return NotFoundError(
        "no message has this Message-ID, or refers to it",
        hint="take an id from the first column of `archiver search`",
    )


def _rows(archive: Archive, ledger: Ledger, hits: Sequence[Hit]) -> list[Row]:
    tags = shown_tags(archive, [hit.key for hit in hits])
    return [
        Row(short_id(ledger, hit.key), hit, spots(ledger, hit.key), tags.get(hit.key, ())) for hit in hits
    ]


def _lines(messages: Sequence[Linked], rows: dict[bytes, Row], wanted: Thread) -> Iterator[ThreadLine]:
    """The tree, and what of each line differs from the one above it."""
    above: list[Entry] = []
    for entry in tree(each.link for each in messages):
        del above[entry.depth :]
        link = entry.link
        before = next((each.link.topic for each in reversed(above) if each.link), None)
        yield ThreadLine(
            depth=entry.depth,
            row=rows[link.key] if link else None,
            missing=entry.missing,
            guessed=entry.guessed,
            asked=link is not None and (link.key == wanted.key or link.own == wanted.id != ""),
            turns=link is not None and link.topic != before,
        )
        above.append(entry)
