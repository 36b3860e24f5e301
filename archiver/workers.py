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
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from types import TracebackType
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Seconds between two looks at what else there is to do, while waiting for answers.
_TICK = 0.5

Step = Callable[[], bool]
"""Called by who works, for each step of an item: it goes on. True when it should come to an end early."""


class Crashed(Generic[Item]):
    """The worker died over this item: killed, out of memory, an extension module's fault, or out of time.

    `late`: it was we who killed it, at the deadline. `steps`: how many it had done or begun.
    """

    def __init__(self, item: Item, *, late: bool = False, steps: int = 0) -> None:
        self.item = item
        self.late = late
        self.steps = steps


def worker_count(wanted: int) -> int:
    """How many processes to use; 0 means one per usable core, at most 4."""
    return wanted or min(len(os.sched_getaffinity(0)), 4)


class _Worker:
    """A process, our end of its pipe, and the count of steps that both see."""

    def __init__(
        self,
        context: SpawnContext,
        work: Callable[..., Result],
        early: Any,
        *,
        stepping: bool,
        parent: bool,
    ) -> None:
        self.pipe, theirs = context.Pipe()
        self._count = context.RawValue("Q", 0)
        arguments = work, theirs, self._count, stepping, early
        # A daemon, in the words of multiprocessing, may have no children.
        self.process = context.Process(target=_serve, args=arguments, daemon=not parent)
        self.process.start()
        theirs.close()

    @property
    def steps(self) -> int:
        return int(self._count.value)

    def begin(self, item: object) -> None:
        self._count.value = 0
        try:
            self.pipe.send(item)
        except BrokenPipeError:
            pass  # it died; reading from it says so

    def bury(self) -> None:
        self.pipe.close()
        self.process.join()


class _Task(Generic[Item]):
    """An item under way, and when it was last seen to go on."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self._steps = 0
        self._seen = time.monotonic()

    def left(self, steps: int, deadline: float) -> float:
        """Seconds until it is late, 0 when it is. Whether it went on is only looked at when it seems late."""
        left = self._seen + deadline - time.monotonic()
        if left > 0 or steps == self._steps:
            return max(left, 0)
        self._steps, self._seen = steps, time.monotonic()
        return deadline


class Workers(Generic[Item, Result]):
    """`count` processes running `work`, a function of a module; use as a context manager."""

    def __init__(self, work: Callable[[Item], Result], count: int) -> None:
        self._start(work, count, stepping=False, parents=False)

    @classmethod
    def stepping(
        cls, work: Callable[[Item, Step], Result], count: int, *, parents: bool = False
    ) -> Workers[Item, Result]:
        """Workers whose work takes many steps, and is given what to call for each.

        `parents`: it may have workers of its own, which it must have let go of when it returns.
        """
        made = cls.__new__(cls)
        made._start(work, count, stepping=True, parents=parents)
        return made

    def _start(self, work: Callable[..., Result], count: int, *, stepping: bool, parents: bool) -> None:
        self._work = work
        self._stepping = stepping
        self._parents = parents
        self._context = multiprocessing.get_context("spawn")
        self._early = self._context.RawValue("B", 0)
        self._busy: dict[_Worker, _Task[Item]] = {}
        self._steps = 0
        self._idle = [self._spawn() for _ in range(count)]

    def _spawn(self) -> _Worker:
        return _Worker(self._context, self._work, self._early, stepping=self._stepping, parent=self._parents)

    def end_early(self) -> None:
        """Ask what is under way to come to an end; no further item is begun. Its results come as any do."""
        self._early.value = 1

    @property
    def ending(self) -> bool:
        return bool(self._early.value)

    def steps(self) -> int:
        """How many steps were done or begun, of all items so far."""
        return self._steps + sum(worker.steps for worker in self._busy)

    def map(
        self,
        items: Iterable[Item],
        *,
        deadline: float | None = None,
        idle: Callable[[], None] | None = None,
    ) -> Iterator[Result | Crashed[Item]]:
        """The results, as they come; an item that kills its worker gives Crashed, and a new worker.

        So does an item that comes no further for `deadline` seconds; for a worker that is new, its
        start counts. At most one item a worker is under way, and one more is at hand, so memory is
        bounded by `count` items and results. `idle` is called twice a second, and may raise.
        """
        pending = iter(items)
        at_hand = list(islice(pending, 1))

        def feed() -> None:
            """Let no worker wait for an item to be made, nor for what is done with a result."""
            while at_hand and self._idle and not self.ending:
                worker = self._idle.pop()
                item = at_hand.pop()
                self._busy[worker] = _Task(item)
                worker.begin(item)
                at_hand.extend(islice(pending, 1))

        feed()
        while self._busy:
            for worker in self._ready(self._patience(deadline, idle is not None)):
                answer = self._answer(worker)
                feed()
                yield answer
            for worker in self._late(deadline):
                task = self._busy.pop(worker)
                worker.process.kill()
                self._replace(worker)
                feed()
                yield Crashed(task.item, late=True, steps=worker.steps)
            if idle:
                idle()

    def _patience(self, deadline: float | None, idle: bool) -> float | None:
        """How many seconds to wait for an answer; None for ever."""
        waits = [_TICK] if idle else []
        if deadline is not None:
            waits += [task.left(worker.steps, deadline) for worker, task in self._busy.items()]
        return min(waits, default=None)

    def _ready(self, patience: float | None) -> list[_Worker]:
        by_pipe = {worker.pipe: worker for worker in self._busy}
        return [by_pipe[pipe] for pipe in wait(list(by_pipe), patience)] if by_pipe else []  # type: ignore[index]

    def _late(self, deadline: float | None) -> list[_Worker]:
        """Workers that are out of time, and did not answer while others were told."""
        if deadline is None:
            return []
        late = [worker for worker, task in self._busy.items() if not task.left(worker.steps, deadline)]
        return [worker for worker in late if not worker.pipe.poll()]

    def _answer(self, worker: _Worker) -> Result | Crashed[Item]:
        task = self._busy.pop(worker)
        try:
            result: Result = worker.pipe.recv()
        except (EOFError, OSError):  # also in the middle of an answer
            self._replace(worker)
            return Crashed(task.item, steps=worker.steps)
        self._steps += worker.steps
        self._idle.append(worker)
        return result

    def _replace(self, worker: _Worker) -> None:
        worker.bury()
        self._idle.append(self._spawn())

    def kill(self) -> None:
        """Let none of them finish what it is at, nor its own end."""
        for worker in (*self._idle, *self._busy):
            worker.process.kill()

    def __enter__(self) -> Workers[Item, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = [*self._idle, *self._busy]
        if kind is not None:
            self.kill()
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.process.join()
        self._idle, self._busy = [], {}


def _serve(work: Callable[..., Result], pipe: Connection, count: Any, stepping: bool, early: Any) -> None:
    # Ctrl-C reaches the whole process group; when to stop is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def step() -> bool:
        count.value += 1
        return bool(early.value)

    while True:
        try:
            item = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        result = work(item, step) if stepping else work(item)
        try:
            pipe.send(result)
        except (BrokenPipeError, ConnectionResetError):
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
