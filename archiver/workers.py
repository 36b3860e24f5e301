"""Processes for work that keeps a core busy: parsing, analysing, hashing.

Spawned, never forked: a forked worker that outlives a killed parent would keep the parent's locks and
databases open. Each ends by itself the moment the parent is gone, however it went, even in the middle of
an item.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crashed(Generic[Item]):
    """The worker died over this item: killed, out of memory, or an extension module's fault."""

    def __init__(self, item: Item) -> None:
        self.item = item


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

    def map(self, items: Iterable[Item]) -> Iterator[Result | Crashed[Item]]:
        """The results, as they come; an item that kills its worker gives Crashed, and a new worker.

        At most one item a worker is under way, so memory is bounded by `count` items and results.
        """
        busy: dict[Connection, Item] = {}
        pending = iter(items)
        exhausted = False
        while busy or not exhausted:
            while self._idle and not exhausted:
                try:
                    item = next(pending)
                except StopIteration:
                    exhausted = True
                    break
                worker = self._idle.pop()
                busy[worker] = item
                try:
                    worker.send(item)
                except BrokenPipeError:
                    pass  # it died; recv below says so
            for ready in wait(list(busy)) if busy else ():
                assert isinstance(ready, Connection)
                item = busy.pop(ready)
                try:
                    result: Result | Crashed[Item] = ready.recv()
                    self._idle.append(ready)
                except (EOFError, ConnectionResetError):
                    self._bury(ready)
                    self._idle.append(self._spawn())
                    result = Crashed(item)
                yield result

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
