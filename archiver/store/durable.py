"""Many small files made durable at the price of few waits.

Two ways of equal strength: fsync of each file, several at once, or one syncfs(2) of the file system, which
also waits for what others wrote but makes the disk work once. Which is faster differs from disk to disk and
from hour to hour, so both are tried and the faster one is kept, until it no longer is.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

_THREADS = 16
# Every so many groups the way that lost is tried again.
_LOOK_AGAIN = 12
# Before Linux 5.8 syncfs did not tell of failed writes.
_SYNCFS_SINCE = (5, 8)


class Syncer:
    """Makes written files durable. For one thread at a time; use as a context manager."""

    def __init__(self, *, use_syncfs: bool = True) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fsync")
        self._ways: list[Callable[[Sequence[str]], None]] = [self._fsync]
        if use_syncfs and _has_syncfs():
            self._ways.insert(0, _syncfs)
        # Seconds a file, by way; smaller is better, unknown is best.
        self._costs = [0.0] * len(self._ways)
        self._groups = 0

    def sync(self, paths: Sequence[str]) -> None:
        """Return when the content of all `paths`, of one file system, is on the disk; OSError otherwise."""
        if not paths:
            return
        way = self._choose()
        begun = time.monotonic()
        self._ways[way](paths)
        self._costs[way] = max((time.monotonic() - begun) / len(paths), 1e-9)

    def _choose(self) -> int:
        self._groups += 1
        order = sorted(range(len(self._ways)), key=self._costs.__getitem__)
        return order[-1] if self._groups % _LOOK_AGAIN == 0 else order[0]

    def _fsync(self, paths: Sequence[str]) -> None:
        slices = [paths[i::_THREADS] for i in range(min(_THREADS, len(paths)))]
        # list() so that an error of any of them is raised here.
        list(self._pool.map(_fsync_each, slices))

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Syncer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fsync_each(paths: Sequence[str]) -> None:
    for path in paths:
        # Opened anew: a descriptor kept for each file of a group, in each account, would pass the usual
        # limit of 1024. An error of writing back that nobody saw yet is told to whoever opens next.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _syncfs(paths: Sequence[str]) -> None:
    descriptor = os.open(paths[0], os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc().syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), paths[0])
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _has_syncfs() -> bool:
    """Whether syncfs is there and tells of errors."""
    system = os.uname()
    try:
        release = tuple(int(part) for part in system.release.split("-")[0].split(".")[:2])
    except ValueError:
        return False
    return system.sysname == "Linux" and release >= _SYNCFS_SINCE and hasattr(_libc(), "syncfs")
