"""Several connections for one account's work, each with its own ledger and thread.

Jobs are done by whoever is free: the caller of `together`, and helpers that are hired when there is enough to
do and that leave when the server does not want so many. A job must be safe to do again from the start.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

from archiver.errors import ArchiverError, InterruptedRun, ServerError

Worker = TypeVar("Worker")
Result = TypeVar("Result")


class _Batch(Generic[Worker, Result]):
    """Jobs that belong together: what is left of them, what came of those done, how many are under way."""

    def __init__(self, jobs: Sequence[Callable[[Worker], Result]]) -> None:
        self.left = deque(enumerate(jobs))
        self.results: dict[int, Result] = {}
        self.running = 0
        self.error: BaseException | None = None

    def goes_on(self) -> bool:
        return bool(self.left) and self.error is None


class Crew(Generic[Worker]):
    """Up to `size` workers: the caller's own, and helpers that `hire` makes (a context manager each)."""

    def __init__(self, hire: Callable[[], AbstractContextManager[Worker]], size: int) -> None:
        self._hire = hire
        self._size = size
        self._batches: list[_Batch[Worker, Any]] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def together(self, jobs: Sequence[Callable[[Worker], Result]], me: Worker, helpers: int) -> list[Result]:
        """Do all jobs, with up to so many helpers; the results in order.

        The first error ends it: no further job is begun, and it is raised when those under way have ended,
        unless one of them failed for a graver reason than the server's or the user's word.
        """
        batch: _Batch[Worker, Result] = _Batch(jobs)
        with self._changed:
            self._batches.append(batch)
            self._recruit(min(helpers, len(jobs) - 1))
            self._changed.notify_all()
            # A helper that loses its connection gives its job back, so there may be work after waiting.
            while batch.goes_on() or batch.running:
                if batch.goes_on():
                    self._do(batch, me, own=False)
                else:
                    self._changed.wait()
            self._batches.remove(batch)
        if batch.error is not None:
            raise batch.error
        return [batch.results[i] for i in range(len(jobs))]

    def _recruit(self, helpers: int) -> None:
        for _ in range(min(helpers, self._size - 1) - len(self._threads)):
            thread = threading.Thread(target=self._help, name="pull helper")
            self._threads.append(thread)
            thread.start()

    def _do(self, batch: _Batch[Worker, Any], worker: Worker, *, own: bool) -> None:
        """Take and do a job; the lock is held before and after, not while it is done.

        On a connection of a helper's `own` a server's error is that connection's: the job is given back.
        """
        number, job = batch.left.popleft()
        batch.running += 1
        self._changed.release()
        result, error = None, None
        try:
            result = job(worker)
        except BaseException as exc:
            error = exc
        finally:
            self._changed.acquire()
        batch.running -= 1
        self._changed.notify_all()
        if error is None:
            batch.results[number] = result
        elif own and isinstance(error, ServerError):
            batch.left.appendleft((number, job))
            raise error
        elif batch.error is None or not isinstance(error, ServerError | InterruptedRun):
            # What went wrong here counts for more than a line that ended: it leaves more to put in order.
            batch.error = error
        if own and isinstance(error, InterruptedRun):
            raise error  # it gave up its connection, in the middle of an answer

    def _help(self) -> None:
        try:
            with self._hire() as worker, self._changed:
                while not self._closed:
                    # The newest first: it is the part of a job that waits for it.
                    batch = next((b for b in reversed(self._batches) if b.goes_on()), None)
                    if batch is None:
                        self._changed.wait()
                    else:
                        self._do(batch, worker, own=True)
        except ArchiverError:
            pass  # no more connections are wanted, or this one ended: the others do the work, and tell

    def __enter__(self) -> Crew[Worker]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
