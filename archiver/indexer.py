"""Drain the ledger's changes into the index, or build it anew; the index lock is held a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import msgspec

from archiver.errors import ArchiverError, DamagedError, InterruptedRun
from archiver.message import parse
from archiver.search.index import Index, IndexState, Prepared, document, prepare
from archiver.search.places import LedgerPlaces
from archiver.store.ledger import Ledger
from archiver.store.reader import Reader, read_start
from archiver.workers import Crashed, Workers, worker_count

BATCH = 2000
BATCH_BYTES = 64 << 20
"""A batch ends with the message that reaches this size: what was read of it is in memory until its commit."""

_CHUNK = 50
_CHUNK_BYTES = 4 << 20
# Seconds for a chunk, and for a message alone, before its process is given up.
_DEADLINE = 300.0
# What lies beyond so many bytes of a message is kept and not searched.
_READ_LIMIT = 16 << 20
# Below this many documents, starting processes costs more than they save.
_WORTH_WORKERS = 400
_OTHER = "it was fed from another ledger"
_STEMMED = "its words were stemmed in another way"


class Task(msgspec.Struct, frozen=True):
    """A document to analyse: its key, INTERNALDATE in Unix seconds, where its files are.

    `size`: how many bytes of it are read at most. `stemming`: the language whose words are stemmed, or off.
    """

    key: bytes
    received: int
    paths: tuple[str, ...]
    size: int
    stemming: str = "off"


class Unreadable(msgspec.Struct, frozen=True):
    """A document that is not in the index because no file has its bytes, and why."""

    key: bytes
    reason: str


class IndexReport(msgspec.Struct, kw_only=True):
    """What a drain did: changes it went through, documents added, removed, and those it could not read."""

    changes: int = 0
    added: int = 0
    removed: int = 0
    rebuilt: str = ""
    unreadable: list[Unreadable] = msgspec.field(default_factory=list)

    def plus(self, later: IndexReport) -> IndexReport:
        """What this drain and a later one did together."""
        return IndexReport(
            changes=self.changes + later.changes,
            added=self.added + later.added,
            removed=self.removed + later.removed,
            rebuilt=self.rebuilt or later.rebuilt,
            unreadable=[*self.unreadable, *later.unreadable],
        )


Lock = Callable[[], AbstractContextManager[None]]
Pool = Workers[list[Task], list[Prepared | Unreadable]]


def drain(
    ledger: Ledger,
    index: Index,
    lock: Lock,
    *,
    workers: int = 0,
    stemming: str = "off",
    advance: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> IndexReport:
    """Bring the index up to the ledger's last change.

    A damaged index, one fed from another ledger, and one stemmed in another way are made right first;
    `report.rebuilt` says why.
    `advance(done, total)` counts changes. `stop` is asked between batches: InterruptedRun, and what was
    committed stays, to be continued from. LockedError only from `lock` itself.
    """
    report = IndexReport()
    pool: Pool | None = None
    changes: Sequence[tuple[int, bytes]]
    with ExitStack() as stack:
        while True:
            try:
                with lock():
                    after = _position(ledger, index, report, stemming)
                    changes = ledger.changes(after, BATCH)
                    left = ledger.last_change() - after
                    if pool is None and len(changes) >= _WORTH_WORKERS and worker_count(workers) > 1:
                        pool = Workers(analyse, worker_count(workers))
                        stack.enter_context(pool)
                    tasks, changes = _batch(ledger, changes, stemming)
                    if changes:
                        state = IndexState(ledger.id, changes[-1][0], stemming)
                        _apply(index, report, tasks, state, pool)
                if not changes:
                    _tidy(ledger, index, report, lock, stop)
                    return report
            except _EmptiedError:
                continue
            report.changes += len(changes)
            advance(report.changes, report.changes + max(left - len(changes), 0))
            if stop():
                raise InterruptedRun()


class _EmptiedError(Exception):
    """The index was found damaged and is empty now: begin again."""


@contextmanager
def _whole(index: Index, report: IndexReport) -> Iterator[None]:
    """Around what is done with the index: found damaged there, it is emptied, once."""
    try:
        yield
    except DamagedError as exc:
        if report.rebuilt not in ("", _OTHER, _STEMMED):
            raise  # so is the new one
        index.clear()
        report.rebuilt, report.added, report.changes = exc.message, 0, 0
        report.unreadable.clear()
        raise _EmptiedError from exc


def _position(ledger: Ledger, index: Index, report: IndexReport, stemming: str) -> int:
    """The last change the index holds, after making it one of this ledger."""
    with _whole(index, report):
        state = index.state()
    if state is None:
        return 0
    if state.stemming != stemming:
        index.clear()
        report.rebuilt = _STEMMED
        return 0
    # Before looking at what is there, since a pull may go on: what it adds now comes as a change.
    last = ledger.last_change()
    if state.ledger == ledger.id and state.change <= last:
        return state.change
    report.rebuilt = report.rebuilt or _OTHER
    known = ledger.keys("1")
    with _whole(index, report):
        present = index.keys()
    # First, so that a kill between the two leaves the index another ledger's, and all this is done again.
    ledger.touch(known - present)
    with _whole(index, report):
        index.apply((), present - known, IndexState(ledger.id, last, stemming))
    report.removed += len(present - known)
    return last


def _batch(
    ledger: Ledger, changes: Sequence[tuple[int, bytes]], stemming: str = "off"
) -> tuple[list[Task], Sequence[tuple[int, bytes]]]:
    """The documents of the first of the changes, BATCH_BYTES of them or little more; those changes."""
    reader = Reader(ledger)
    tasks: dict[bytes, Task] = {}
    size = 0
    for at, (_, key) in enumerate(changes):
        if size >= BATCH_BYTES:
            return list(tasks.values()), changes[:at]
        if key not in tasks:
            tasks[key] = _task(ledger, reader, key, stemming)
            size += tasks[key].size
    return list(tasks.values()), changes


def _task(ledger: Ledger, reader: Reader, key: bytes, stemming: str) -> Task:
    spots = ledger.spots(key)
    paths = tuple(path for spot in spots if (path := reader.path(spot)))
    size = min(max((spot.size for spot in spots), default=0), _READ_LIMIT)
    return Task(key, min((spot.received for spot in spots), default=0), paths, size, stemming)


def _apply(
    index: Index, report: IndexReport, tasks: Sequence[Task], state: IndexState, pool: Pool | None
) -> None:
    ready = list(_analysed(tasks, pool))
    documents = [each for each in ready if isinstance(each, Prepared)]
    with _whole(index, report):
        index.apply(documents, (), state)
    report.added += len(documents)
    report.unreadable += [each for each in ready if isinstance(each, Unreadable)]


def _tidy(ledger: Ledger, index: Index, report: IndexReport, lock: Lock, stop: Callable[[], bool]) -> None:
    while not stop():
        with lock(), _whole(index, report):
            if not index.maintain():
                index.note_numbers(LedgerPlaces(ledger))
                return


def _analysed(tasks: Sequence[Task], pool: Pool | None) -> Iterator[Prepared | Unreadable]:
    if pool is None:
        yield from analyse(tasks)
        return
    crashed: list[Task] = []
    for result in pool.map(_chunks(tasks), deadline=_DEADLINE):
        if isinstance(result, Crashed):
            crashed += result.item
        else:
            yield from result
    for alone in pool.map(([task] for task in crashed), deadline=_DEADLINE):
        if isinstance(alone, Crashed):
            reason = "reading it takes too long" if alone.late else "reading it kills the process"
            yield Unreadable(alone.item[0].key, reason)
        else:
            yield from alone


def _chunks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Tasks for one worker at a time: _CHUNK of them, fewer when they are large."""
    chunk: list[Task] = []
    size = 0
    for task in tasks:
        if chunk and (len(chunk) == _CHUNK or size + task.size > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(task)
        size += task.size
    if chunk:
        yield chunk


def analyse(tasks: Iterable[Task]) -> list[Prepared | Unreadable]:
    """Read, parse and analyse documents; runs in this process or in a worker."""
    ready: list[Prepared | Unreadable] = []
    for task in tasks:
        try:
            start, size = read_start(task.key, task.paths, _READ_LIMIT)
        except ArchiverError as exc:
            ready.append(Unreadable(task.key, exc.message))
            continue
        ready.append(prepare(document(task.key, task.received, size, parse(start)), task.stemming))
    return ready
