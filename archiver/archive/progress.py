"""How far an index has come with much mail, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from archiver.errors import ArchiverError, InterruptedRun
from archiver.search.index import Index
from archiver.store.ledger import Ledger


@contextmanager
def told_how_far(ledger: Ledger, index: Index, say: Callable[[str], None]) -> Iterator[None]:
    """Say of an interrupted bulk what is kept of it, and how it goes on."""
    try:
        yield
    except InterruptedRun:
        if kept := _kept(ledger, index):
            say(f"kept: {kept}; archiver sync or reindex goes on from there")
        raise


def _kept(ledger: Ledger, index: Index) -> str:
    try:
        state = index.state()
    except ArchiverError:
        return ""  # whoever goes on says so
    if state is None or state.bulk is None or not state.bulk.done:
        return ""
    bulk = state.bulk
    of = "" if state.change else f" of {ledger.document_count():,}"
    since = (
        f", all received since {datetime.fromtimestamp(bulk.since):%Y-%m-%d} among them" if bulk.since else ""
    )
    return f"{bulk.done:,}{of} messages are indexed{since}"
