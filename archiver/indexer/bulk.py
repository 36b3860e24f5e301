"""Much mail at once: all cores at it, newest first, and each step of it kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import msgspec
from msgspec.structs import replace

from archiver.errors import InterruptedRun, LockedError
from archiver.indexer.feed import AgainError, Feed
from archiver.indexer.shares import Line, Share, Written, write_share, written
from archiver.search.index import LATEST, Bulk, IndexState, Lock, Received
from archiver.workers import Workers, worker_count

SHARE = 7_000
"""Documents of a share at most: so much work a kill may cost a process."""

# Bytes that processes take before they hold any mail, and what one must have for it to be worth starting.
_OWN = 64 << 20
_WORKER = 44 << 20
# Of the process that reads attachments for one of them; a document takes more, within its own limit.
_READER = 56 << 20
_LEAST = 24 << 20
# Documents that keep a process busy for about as long as it takes to start.
_WORTH = 200


class Options(msgspec.Struct, frozen=True):
    """The parameters of a drain that are those of its bulks."""

    workers: int
    memory: int
    advance: Callable[[int, int], None]
    stop: Callable[[], bool]


def go_through(feed: Feed, lock: Lock, options: Options) -> bool:
    """Bring the index up to the last change, or go on with a bulk that was interrupted.

    `lock` is for this alone; False when somebody else has it. Who waited for it may find nothing left to do.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock())
        except LockedError:
            return False
        with feed.lock():
            state = _begin(feed)
        if state.bulk:
            bulk = _write(feed, state.change, state.bulk, options)
            with feed.lock():
                _end(feed, bulk)
    return True


def _write(feed: Feed, change: int, bulk: Bulk, options: Options) -> Bulk:
    """Write what is left of a bulk; how far it is then. Asked to stop, InterruptedRun: the rest is kept."""
    ahead = [(stretch.after, stretch.last) for stretch in bulk.ahead]
    count = feed.ledger.queue(change, bulk.upto, bulk.reached, ahead)
    if not count:
        return bulk
    done, total = bulk.done, bulk.done + count
    each = _WORKER + (_READER if feed.reads else 0)
    processes, memory = _divided(count, worker_count(options.workers), options.memory, each)
    with (
        feed.index.drafting() as place,
        Workers.stepping(write_share, processes, parents=feed.reads) as pool,
    ):

        def idle() -> None:
            if options.stop():
                pool.end_early()
            options.advance(min(done + pool.steps(), total), total)

        shares = _shares(feed, bulk, place, memory, _share_size(count, processes))
        for share, made in written(pool, shares, idle):
            with suppress(InterruptedRun):
                feed.prepare(options.stop)
            with feed.lock():
                bulk = _keep(feed, bulk, share, made, options.stop)
        if pool.ending:
            raise InterruptedRun()
    options.advance(total, total)
    return bulk


def _begin(feed: Feed) -> IndexState:
    """The state with a bulk in it, begun anew or going on; without one when there is nothing to do for it."""
    state = feed.position()
    if state.bulk or not feed.is_much(state):
        return state
    state = replace(state, bulk=Bulk(state.change, LATEST, LATEST, 0))
    state = feed.reached(state, feed.ledger.last_change())
    with feed.whole():
        # Others see so where the bulk ends, and do what comes after it themselves.
        feed.index.apply((), (), state)
    return state


def _keep(feed: Feed, bulk: Bulk, share: Share, made: Written, stop: Callable[[], bool]) -> Bulk:
    """Make a share a part of the index, and go through what came meanwhile, if that is little."""
    state = _unchanged(feed, bulk)
    assert state.bulk
    outdated = {queued.key for queued in feed.ledger.changed(share.seen, state.bulk.upto)}
    bulk = state.bulk.further(share.stretch, share.line.count)
    state = replace(state, bulk=bulk)
    with feed.whole():
        feed.index.adopt(made.portions, state, outdated)
    feed.report.added += sum(portion.documents for portion in made.portions)
    feed.report.unreadable += made.unreadable
    feed.report.attachments = feed.report.attachments.plus(made.attachments)
    if not feed.is_much(state) and not stop():
        feed.catch_up(state)
    return bulk


def _end(feed: Feed, bulk: Bulk) -> None:
    state = _unchanged(feed, bulk)
    with feed.whole():
        feed.index.apply((), (), replace(state, change=state.seen, bulk=None))


def _unchanged(feed: Feed, bulk: Bulk) -> IndexState:
    """The state, when the bulk is where we left it: nobody emptied the index meanwhile."""
    with feed.whole():
        state = feed.index.state()
    if state is None or state.bulk is None or not feed.is_ours(state):
        raise AgainError
    if (state.bulk.reached, state.bulk.ahead) != (bulk.reached, bulk.ahead):
        raise AgainError
    return state


def _divided(count: int, wanted: int, memory: int, each: int) -> tuple[int, int]:
    """How many processes, and how many bytes of documents each may gather beside the `each` it takes."""
    processes = max(min(wanted, count // _WORTH, (memory - _OWN) // (each + _LEAST)), 1)
    return processes, max((memory - _OWN) // processes - each, _LEAST)


def _share_size(count: int, processes: int) -> int:
    """Shares of one size, as many for each process."""
    rounds = -(-count // (SHARE * processes))
    return max(-(-count // max(rounds * processes, 1)), 1)


def _shares(feed: Feed, bulk: Bulk, place: str, memory: int, size: int) -> Iterator[Share]:
    number = 0
    after: Received = bulk.reached
    while (line := Line.of(feed.ledger.queued(number * size, size))).count:
        where = feed.ledger.root, place
        share = Share(number, line, after, *where, memory, bulk.upto, feed.stemming, feed.reading)
        yield share
        after = share.stretch.last
        number += 1
