"""Processes for work that keeps a core busy: parsing, analysing, hashing.

Spawned, never forked: a forked worker that outlives a killed parent would keep the parent's locks and
databases open. Each ends by itself the moment the parent is gone, however it went, even in the middle of
an item.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crashed(Generic[Item]):
    """The worker died over this item: killed, out of memory, an extension module's fault, or out of time.

    `late`: it was we who killed it, at the deadline.
    """

    def __init__(self, item: Item, *, late: bool = False) -> None:
        self.item = item
        self.late = late


def worker_count(wanted: int) -> int:
    """How many processes to use; 0 means one per usable core, at most 4."""
    return wanted or min(len(os.sched_getaffinity(0)), 4)


class Workers(Generic[Item, Result]):
    """`count` processes running `work`, a function of a module; use as a context manager."""

    def __init__(self, work: Callable[[Item], Result], count: int) -> None:
        self._work = work
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[Connection] = []
        self._processes: dict[Connection, SpawnProcess] = {}
        for _ in range(count):
            self._idle.append(self._spawn())

    def _spawn(self) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._work, theirs), daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process
        return ours

    def map(
        self, items: Iterable[Item], *, deadline: float | None = None
    ) -> Iterator[Result | Crashed[Item]]:
        """The results, as they come; an item that kills its worker gives Crashed, and a new worker.

        So does an item without a result `deadline` seconds after it was handed over; for a worker that is
        new, its start counts. At most one item a worker is under way, and one more is at hand, so memory is
        bounded by `count` items and results.
        """
        busy: dict[Connection, tuple[Item, float]] = {}
        pending = iter(items)
        at_hand = list(itertools.islice(pending, 1))

        def feed() -> None:
            """Let no worker wait for an item to be made, nor for what is done with a result."""
            while at_hand and self._idle:
                worker = self._idle.pop()
                item = at_hand.pop()
                busy[worker] = item, time.monotonic()
                try:
                    worker.send(item)
                except BrokenPipeError:
                    pass  # it died; recv below says so
                at_hand.extend(itertools.islice(pending, 1))

        feed()
        while busy:
            for ready in wait(list(busy), _left(busy.values(), deadline)):
                assert isinstance(ready, Connection)
                item, _ = busy.pop(ready)
                result = self._answer(ready, item)
                feed()
                yield result
            for late in [each for each in busy if _left([busy[each]], deadline) == 0]:
                if late.poll():
                    continue  # it answered while others were told
                item, _ = busy.pop(late)
                self._processes[late].kill()
                self._replace(late)
                feed()
                yield Crashed(item, late=True)

    def _answer(self, worker: Connection, item: Item) -> Result | Crashed[Item]:
        try:
            result: Result = worker.recv()
        except (EOFError, ConnectionResetError):
            self._replace(worker)
            return Crashed(item)
        self._idle.append(worker)
        return result

    def _replace(self, worker: Connection) -> None:
        self._bury(worker)
        self._idle.append(self._spawn())

    def _bury(self, worker: Connection) -> None:
        worker.close()
        self._processes.pop(worker).join()

    def __enter__(self) -> Workers[Item, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker, process in self._processes.items():
            worker.close()
            if kind is not None:
                process.kill()
        for process in self._processes.values():
            process.join()
        self._processes.clear()


def _left(busy: Iterable[tuple[object, float]], deadline: float | None) -> float | None:
    """Seconds until the first of the items under way is late, 0 when it is; None for ever."""
    if deadline is None:
        return None
    return max(min(begun for _, begun in busy) + deadline - time.monotonic(), 0)


def _serve(work: Callable[[Item], Result], pipe: Connection) -> None:
    # Ctrl-C reaches the whole process group; when to stop is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            item = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        result = work(item)
        try:
            pipe.send(result)
        except (BrokenPipeError, ConnectionResetError):
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
