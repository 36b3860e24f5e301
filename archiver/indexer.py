"""Drain the ledger's changes into the index, or build it anew; the index lock is held a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import msgspec

from archiver.errors import ArchiverError, DamagedError, InterruptedRun
from archiver.message import parse
from archiver.search.index import Index, IndexState, Prepared, document, prepare
from archiver.store.ledger import Ledger
from archiver.store.reader import Reader, read_wire
from archiver.workers import Crashed, Workers, worker_count

BATCH = 2000
_CHUNK = 50
# Below this many documents, starting processes costs more than they save.
_WORTH_WORKERS = 400


class Task(msgspec.Struct, frozen=True):
    """A document to analyse: its key, INTERNALDATE in Unix seconds, and where its files are."""

    key: bytes
    received: int
    paths: tuple[str, ...]


class Unreadable(msgspec.Struct, frozen=True):
    """A document that is not in the index because no file has its bytes, and why."""

    key: bytes
    reason: str


class IndexReport(msgspec.Struct, kw_only=True):
    """What a drain did: documents added, removed, and those that could not be read."""

    added: int = 0
    removed: int = 0
    rebuilt: str = ""
    unreadable: list[Unreadable] = msgspec.field(default_factory=list)


Lock = Callable[[], AbstractContextManager[None]]


def drain(
    ledger: Ledger,
    index: Index,
    lock: Lock,
    *,
    workers: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> IndexReport:
    """Bring the index up to the ledger's last change.

    A damaged index, or one fed from another ledger, is made equal first; `report.rebuilt` says why.
    `advance(done, total)` counts documents. `stop` is asked between batches: InterruptedRun, and what was
    committed stays, to be continued from. LockedError only from `lock` itself.
    """
    report = IndexReport()
    pool: Workers[list[Task], list[Prepared | Unreadable]] | None = None
    done = 0
    try:
        while True:
            with lock():
                after = _position(ledger, index, report)
                changes = ledger.changes(after, BATCH)
                if not changes:
                    break
                total = done + ledger.last_change() - after
                if pool is None and len(changes) >= _WORTH_WORKERS and worker_count(workers) > 1:
                    pool = Workers(analyse, worker_count(workers))
                keys = list(dict.fromkeys(key for _, key in changes))
                ready = list(_analysed(ledger, keys, pool))
                documents = [r for r in ready if isinstance(r, Prepared)]
                index.apply(documents, (), IndexState(ledger.id, changes[-1][0]))
            report.added += len(documents)
            report.unreadable += [r for r in ready if isinstance(r, Unreadable)]
            done += len(changes)
            advance(done, max(total, done))
            if stop():
                raise InterruptedRun()
        _tidy(index, lock, stop)
    finally:
        if pool is not None:
            pool.__exit__(None, None, None)
    return report


def _position(ledger: Ledger, index: Index, report: IndexReport) -> int:
    """The last change the index holds, after making it one of this ledger."""
    try:
        state = index.state()
    except DamagedError as exc:
        report.rebuilt = exc.message
        index.clear()
        state = None
    if state is None:
        return 0
    if state.ledger == ledger.id and state.change <= ledger.last_change():
        return state.change
    report.rebuilt = "it was fed from another ledger"
    known, present = ledger.keys("1"), index.keys()
    stray, lacking = present - known, known - present
    index.apply((), stray, IndexState(ledger.id, ledger.last_change()))
    report.removed += len(stray)
    ledger.touch(lacking)
    after = index.state()
    assert after is not None
    return after.change


def _tidy(index: Index, lock: Lock, stop: Callable[[], bool]) -> None:
    while not stop():
        with lock():
            if not index.maintain():
                return


def _analysed(
    ledger: Ledger, keys: Sequence[bytes], pool: Workers[list[Task], list[Prepared | Unreadable]] | None
) -> Iterator[Prepared | Unreadable]:
    reader = Reader(ledger)
    tasks = [Task(key, ledger.received(key), tuple(reader.paths(key))) for key in keys]
    if pool is None:
        yield from analyse(tasks)
        return
    chunks = [tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK)]
    crashed: list[Task] = []
    for result in pool.map(chunks):
        if isinstance(result, Crashed):
            crashed += result.item
        else:
            yield from result
    for alone in pool.map([task] for task in crashed):
        if isinstance(alone, Crashed):
            yield Unreadable(alone.item[0].key, "reading it kills the process")
        else:
            yield from alone


def analyse(tasks: Iterable[Task]) -> list[Prepared | Unreadable]:
    """Read, parse and analyse documents; runs in this process or in a worker."""
    ready: list[Prepared | Unreadable] = []
    for task in tasks:
        try:
            wire = read_wire(task.key, task.paths)
        except ArchiverError as exc:
            ready.append(Unreadable(task.key, exc.message))
            continue
        ready.append(prepare(document(task.key, task.received, len(wire), parse(wire))))
    return ready
