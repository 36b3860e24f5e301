"""How far long work is: bars on a terminal, a line now and then otherwise, nothing with --json."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from archiver.cli.app import say
from archiver.cli.text import count, size

_LINE_EVERY = 10.0


class Meter(Protocol):
    """Takes progress from pulling threads, from the indexer, from verifying and from importing."""

    def expect(self, account: str, folder: str, messages: int) -> None: ...
    def stored(self, account: str, messages: int, size: int) -> None: ...
    def indexed(self, done: int, total: int) -> None: ...
    def read(self, files: int, size: int) -> None: ...
    def taken(self, messages: int, size: int) -> None: ...


@contextmanager
def meter(quiet: bool = False) -> Iterator[Meter]:
    """What fits where stderr goes."""
    if quiet:
        yield Lines(None)
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield Lines(_LINE_EVERY)


class Lines:
    """A line for each account every so many seconds; none at all with `every` None."""

    def __init__(self, every: float | None) -> None:
        self._every = every
        self._lock = threading.Lock()
        self._begun = self._last = time.monotonic()
        self._done: dict[str, list[int]] = {}

    def expect(self, account: str, folder: str, messages: int) -> None:
        with self._lock:
            self._done.setdefault(account, [0, 0, 0])[2] += messages

    def stored(self, account: str, messages: int, size_: int) -> None:
        with self._lock:
            done = self._done.setdefault(account, [0, 0, 0])
            done[0] += messages
            done[1] += size_
            due = self._due()
        if due:
            self._line(account, *done)

    def indexed(self, done: int, total: int) -> None:
        with self._lock:
            due = self._due()
        if due:
            say(f"indexed {_amount(done, total)}")

    def read(self, files: int, size_: int) -> None:
        with self._lock:
            due = self._due()
        if due:
            say(f"read {count(files, 'file')}, {size(size_)}")

    def taken(self, messages: int, size_: int) -> None:
        with self._lock:
            due = self._due()
        if due:
            say(f"took {count(messages, 'message')}, {size(size_)}")

    def _line(self, account: str, done: int, bytes_: int, total: int) -> None:
        rate = done / max(time.monotonic() - self._begun, 0.001)
        left = max(total - done, 0) / rate if rate else 0
        amount = _amount(done, total)
        say(f"{account}: {amount}, {size(bytes_)}, {rate:,.0f}/s, about {left:.0f} s left")

    def _due(self) -> bool:
        if self._every is None or time.monotonic() - self._last < self._every:
            return False
        self._last = time.monotonic()
        return True


def _amount(done: float, total: float) -> str:
    return f"{done:,.0f} of {count(int(total), 'message')}"


@contextmanager
def _bars() -> Iterator[Meter]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[amount]}"),
        TextColumn("{task.fields[bytes]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        yield Bars(progress)


class Bars:
    """A bar for each account, one for the index; one without an end for files that are read."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._tasks: dict[str, Any] = {}
        self._bytes: dict[str, int] = {}
        self._begun: dict[str, float] = {}

    def _task(self, name: str, total: int | None = 0) -> Any:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, amount="", bytes="", rate="")
            self._begun[name] = time.monotonic()
        return self._tasks[name]

    def expect(self, account: str, folder: str, messages: int) -> None:
        with self._lock:
            task = self._task(account)
            known = self._progress.tasks[task]
            total = known.total + messages
            self._progress.update(task, total=total, amount=_amount(known.completed, total))

    def stored(self, account: str, messages: int, size_: int) -> None:
        with self._lock:
            task = self._task(account)
            self._bytes[account] = self._bytes.get(account, 0) + size_
            known = self._progress.tasks[task]
            done = known.completed + messages
            rate = done / max(time.monotonic() - self._begun[account], 0.001)
            self._progress.update(
                task,
                completed=done,
                amount=_amount(done, known.total),
                bytes=size(self._bytes[account]),
                rate=f"{rate:,.0f}/s",
            )

    def indexed(self, done: int, total: int) -> None:
        with self._lock:
            task = self._task("index")
            self._progress.update(task, completed=done, total=total, amount=_amount(done, total))

    def read(self, files: int, size_: int) -> None:
        with self._lock:
            task = self._task("read", total=None)
            self._progress.update(task, amount=count(files, "file"), bytes=size(size_))

    def taken(self, messages: int, size_: int) -> None:
        with self._lock:
            task = self._task("import", total=None)
            self._progress.update(task, amount=count(messages, "message"), bytes=size(size_))
