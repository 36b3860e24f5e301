"""An index beside one that was made from nothing: whatever befell it, both answer alike."""

from __future__ import annotations

from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from archiver.indexer import drain
from archiver.search.index import Index, IndexState, Order, open_index
from archiver.search.places import LedgerPlaces
from archiver.search.query import parse
from archiver.store.ledger import Ledger

NOW = datetime(2024, 1, 1, tzinfo=UTC)
QUERIES = (
    "subject:number",
    "body:word7 OR word3",
    '"message number"',
    "sender1*",
    "from:sender4@example.org",
    "-word5",
    "folder:inbox number",
    "is:flagged",
    "after:2023-01-02 before:2023-01-04",
)


def up_to_date(ledger: Ledger) -> IndexState:
    """The state of an index that holds all of a ledger."""
    last = ledger.last_change()
    return IndexState(ledger.id, last, mark=ledger.mark(last) or 0)


def assert_as_fresh(ledger: Ledger, index: Index, folder: Path) -> None:
    """It is sound and up to date, and holds and finds what an index does that is made in this folder now."""
    with closing(open_index(str(folder))) as fresh:
        drain(ledger, fresh, nullcontext)
        state = index.state()
        assert state and replace(state, attachments="off") == fresh.state()
        assert fresh.state() == up_to_date(ledger)
        assert index.keys() == fresh.keys() == ledger.keys("1")
        assert index.count() == len(index.keys())
        for query in QUERIES:
            assert answers(ledger, index, query) == answers(ledger, fresh, query), query
        index.verify()


def answers(ledger: Ledger, index: Index, query: str) -> list[object]:
    """Pages in every order (by relevance as sets: scores depend on how segments are cut), and the counts."""
    tree, places = parse(query, now=NOW), LedgerPlaces(ledger)
    pages = {order: index.search(tree, places, order, limit=2000).hits for order in get_args(Order)}
    ranked = {hit.key for hit in pages.pop("relevance")}
    total = index.search(tree, places, limit=1).total
    count = index.matches(tree, places)
    assert not total.exact or total.count == count
    return [pages, ranked, count, set(index.found(tree, places))]
