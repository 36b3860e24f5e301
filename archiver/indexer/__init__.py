"""Drain the ledger's changes into the index.

A few changes are gone through at once, under the index lock. Many, as after a first pull, are a *bulk*: their
documents are taken newest first, in shares of neighbours in date, and every worker process reads,
analyses and writes shares of its own; the lock is held only while what they wrote becomes a part of
the index. How far a bulk has come is recorded in each of its commits (`Bulk`): a kill repeats the shares
that were under way. Mail that arrives meanwhile does not wait for its end.

    reading     from a key to a document
    feed        how far the index is, and a few changes
    shares      what the processes do, and what becomes of those that die
    bulk        many changes
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext

from archiver.attachments import Reading
from archiver.errors import DamagedError, InterruptedRun
from archiver.indexer.bulk import Options, go_through
from archiver.indexer.feed import AgainError, Feed, IndexReport, mended
from archiver.indexer.reading import Unreadable
from archiver.search.index import Index, Lock
from archiver.search.places import LedgerPlaces
from archiver.store.ledger import Ledger

__all__ = ["MEMORY", "IndexReport", "Unreadable", "drain", "mended", "tidy_up"]

MEMORY = 512 << 20
"""Bytes of all processes together during a bulk."""


def drain(
    ledger: Ledger,
    index: Index,
    lock: Lock,
    *,
    bulk_lock: Lock = nullcontext,
    workers: int = 0,
    memory: int = MEMORY,
    stemming: str = "off",
    attachments: Reading | None = None,
    tidy: bool = True,
    advance: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> IndexReport:
    """Bring the index up to the ledger's last change, and tidy it up.

    `lock` is held for each commit, `bulk_lock` during a bulk: when it raises LockedError, somebody else is at
    it, and it is left to them. A damaged index, one fed from another ledger, and one stemmed in another way
    are made right first; `report.rebuilt` says why. `attachments` is what may be spent on one, None where
    their texts are to be left out; when that changes, mail that has some is indexed again.
    `advance(done, total)` counts documents. `stop` is asked twice a second: InterruptedRun, and what was
    committed stays, to be continued from.
    """
    options = Options(workers, memory, advance, stop)
    with closing(Feed(ledger, index, lock, stemming, attachments)) as feed:
        _drain(feed, bulk_lock, options, tidy)
    return feed.report


def _drain(feed: Feed, bulk_lock: Lock, options: Options, tidy: bool) -> None:
    while True:
        try:
            feed.prepare(options.stop)
            with feed.lock():
                state = feed.position()
                much = feed.is_much(state)
                done = 0 if much else feed.catch_up(state)
            if much or state.bulk:
                if not go_through(feed, bulk_lock, options):
                    feed.report.left = True
                    return
            elif done:
                options.advance(done, done)
            else:
                if tidy:
                    _tidy(feed, options.stop)
                return
        except AgainError:
            continue
        if options.stop():
            raise InterruptedRun()


def tidy_up(ledger: Ledger, index: Index, lock: Lock, stop: Callable[[], bool]) -> None:
    """Tidy up as long as that is worth a step; who is asked to stop leaves it to the next time."""

    def idle() -> None:
        if stop():
            raise InterruptedRun()

    try:
        while not stop() and index.maintain(lock, idle):
            pass
        with lock():
            index.note_numbers(LedgerPlaces(ledger))
    except InterruptedRun:
        pass


def _tidy(feed: Feed, stop: Callable[[], bool]) -> None:
    try:
        tidy_up(feed.ledger, feed.index, feed.lock, stop)
    except DamagedError:
        with feed.lock(), feed.whole():
            raise
