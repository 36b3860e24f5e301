"""Asking the index: a query's tree, whom to ask, and what of the mail the index does not hold yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from archiver.archive import BULK
from archiver.archive.ids import short_id
from archiver.archive.reports import Behind, Counted, Results, Row
from archiver.errors import ArchiverError, QueryError, TooCostlyError
from archiver.search.places import LedgerPlaces, fed_from
from archiver.search.query import parse
from archiver.search.tokens import doubts
from archiver.search.tree import DateRange
from archiver.store.layout import user_path
from archiver.store.locks import holder

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.search.index import Index, Order
    from archiver.search.tree import Node
    from archiver.store.ledger import Ledger
    from archiver.store.records import Spot


class Asked(msgspec.Struct, frozen=True):
    """A query as a tree, whom to ask, what the index does not hold, `where` each leaf stands."""

    tree: Node
    ledger: Ledger
    index: Index
    places: LedgerPlaces
    behind: Behind
    where: dict[Node, int]


@contextmanager
def asking(archive: Archive, text: str) -> Iterator[Asked]:
    """A query, its words as those of the index were analysed; QueryError when it is wrong."""
    now, wanted = datetime.now(), archive.config.index.stemming
    where: dict[Node, int] = {}
    parse_ = partial(parse, now=now, saved=archive.config.searches, message=archive.resolve, spots=where)
    tree = parse_(text, stemming=wanted)
    for doubt in doubts(text):
        archive.say(doubt)
    with archive.ledger() as ledger, archive.index() as index:
        state = index.state()
        if state and state.stemming != wanted:
            archive.say(
                f"the index was built with stemming: {state.stemming}; archiver sync makes it {wanted}"
            )
            tree = parse_(text, stemming=state.stemming)
        try:
            yield Asked(tree, ledger, index, LedgerPlaces(ledger, state), behind(ledger, index), where)
        except TooCostlyError as error:
            at = next((at for leaf, at in where.items() if leaf is error.leaf), 0)
            raise QueryError(error.message, text, at, hint=error.hint) from error


@contextmanager
def asking_all(archive: Archive) -> Iterator[Asked]:
    """The same without a query; the tree is one that finds everything."""
    with archive.ledger() as ledger, archive.index() as index:
        everything = DateRange(None, None)
        places = LedgerPlaces(ledger, index.state())
        yield Asked(everything, ledger, index, places, behind(ledger, index), {})


def search(archive: Archive, text: str, order: Order, offset: int, limit: int) -> Results:
    """The page of hits for a query."""
    with asking(archive, text) as asked:
        hits = asked.index.search(asked.tree, asked.places, order, offset, limit)
        tags = shown_tags(archive, [hit.key for hit in hits.hits])
        rows = tuple(
            Row(short_id(asked.ledger, hit.key), hit, spots(asked.ledger, hit.key), tags.get(hit.key, ()))
            for hit in hits.hits
        )
        return Results(hits.total, rows, asked.tree, asked.behind)


def shown_tags(archive: Archive, keys: list[bytes]) -> dict[bytes, tuple[str, ...]]:
    """The tags of messages; where they cannot be read the mail is shown all the same, and why is said."""
    if not os.path.exists(user_path(archive.root)):
        return {}
    from archiver.archive.tags import tags_of

    try:
        return tags_of(archive, keys)
    except ArchiverError as exc:
        archive.say(f"no tags are shown: {exc}")
        return {}


def count(archive: Archive, text: str) -> Counted:
    """How many messages a query finds, counted."""
    with asking(archive, text) as asked:
        return Counted(asked.index.matches(asked.tree, asked.places), asked.behind)


def search_keys(archive: Archive, text: str) -> list[bytes]:
    """The keys of every message a query finds, oldest first."""
    with asking(archive, text) as asked:
        hits = asked.index.search(asked.tree, asked.places, "oldest", 0, sys.maxsize).hits
        return [hit.key for hit in hits]


def spots(ledger: Ledger, key: bytes) -> tuple[Spot, ...]:
    """A message's places, those on the server first, by name: which was pulled first is chance."""
    return tuple(sorted(ledger.spots(key), key=lambda spot: (spot.gone, spot.account, spot.folder, spot.id)))


def behind(ledger: Ledger, index: Index) -> Behind:
    """What of this ledger's mail the index does not hold yet, and who is at it."""
    pending = max(ledger.last_change() - indexed(ledger, index), 0)
    return Behind(pending, _since(index), holder(ledger.root, BULK) if pending else None)


def indexed(ledger: Ledger, index: Index) -> int:
    """About how many changes of this ledger the index holds; 0 when it is damaged or another's."""
    try:
        state = index.state()
    except ArchiverError:
        return 0
    if state is None or not fed_from(ledger, state):
        return 0
    return state.change + min(state.bulk.done, state.bulk.upto - state.change) if state.bulk else state.change


def _since(index: Index) -> int | None:
    """What was received since then is indexed, when more than that is on its way."""
    state = index.state()
    return state.bulk.since if state and state.bulk else None
