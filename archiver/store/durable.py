"""Many small files made durable at the price of few waits.

Two ways of equal strength: fsync of each file, several at once, or one syncfs(2) of the file system, which
also waits for what others wrote but makes the disk work once. Which is faster differs from disk to disk and
from hour to hour, so both are tried and the faster one is kept, until it no longer is.

syncfs is used only where it is known to reach the disk and to tell of failed writes: on ext4, XFS, Btrfs and
tmpfs, since Linux 5.8. A FUSE or network file system may take the call and do nothing. Its descriptor is
opened before the first file of a group is written, so that no error of writing back goes unseen.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType

from archiver.store.layout import sync_file

_THREADS = 16
# Every so many groups the way that lost is tried again.
_LOOK_AGAIN = 12
_SYNCFS_SINCE = (5, 8)
_SYNCFS_TYPES = frozenset(("ext4", "xfs", "btrfs", "tmpfs"))


class Syncer:
    """Makes written files durable; use as a context manager.

    A group may begin while another thread waits for the one before it; no two begin, and no two end, at once.
    """

    def __init__(self, *, use_syncfs: bool = True) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fsync")
        self._use_syncfs = use_syncfs and _has_syncfs()
        # Seconds a file, by way; smaller is better, unknown is best.
        self._costs = {"syncfs": 0.0, "fsync": 0.0}
        self._groups = 0

    @contextmanager
    def group(self, folder: str) -> Iterator[Callable[[Sequence[str]], None]]:
        """Begin before the first file in `folder` is written; call what it yields when all are.

        That returns when the content of all paths is on the disk; OSError otherwise.
        """
        way = self._choose() if self._use_syncfs and _reaches_the_disk(folder) else "fsync"
        if way == "fsync":
            yield lambda paths: self._timed("fsync", paths, self._fsync)
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield lambda paths: self._timed("syncfs", paths, lambda _: _syncfs(descriptor, folder))
        finally:
            os.close(descriptor)

    def _timed(self, way: str, paths: Sequence[str], sync: Callable[[Sequence[str]], None]) -> None:
        if paths:
            begun = time.monotonic()
            sync(paths)
            self._costs[way] = max((time.monotonic() - begun) / len(paths), 1e-9)

    def _choose(self) -> str:
        self._groups += 1
        better, worse = sorted(self._costs, key=self._costs.__getitem__)
        return worse if self._groups % _LOOK_AGAIN == 0 else better

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
        # limit of 1024.
        sync_file(path)


def _syncfs(descriptor: int, folder: str) -> None:
    if _libc().syncfs(descriptor):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), folder)


@functools.lru_cache(maxsize=64)
def _reaches_the_disk(folder: str) -> bool:
    """Whether the folder's file system is of a type whose syncfs can be relied on."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            lines = [line.split() for line in mounts]
    except OSError:
        return False
    types = {fields[fields.index("-") + 1] for fields in lines if fields[2] == wanted and "-" in fields}
    return bool(types) and types <= _SYNCFS_TYPES


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
