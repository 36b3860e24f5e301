"""Kernel locks: one holder at a time, free the instant the holder is gone, however it went."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.errors import LockedError
from archiver.store.layout import lock_path, make_directory


@contextmanager
def lock(
    root: str,
    name: str,
    purpose: str,
    *,
    wait: bool = True,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lock `name` of the archive at `root` (flock(2) on `<root>/locks/<name>.lock`).

    `purpose` is written into the file, for whoever must wait: `waiting` is called once with
    "PID 12, sync" before blocking. Without `wait`, LockedError at once. The file stays when the lock
    is released: removing it would let two holders lock two files of one name.
    """
    path = lock_path(root, name)
    make_directory(os.path.dirname(path))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
            if not wait:
                raise LockedError(f"{name} is in use by {holder}", hint="try again when it is done") from None
            if waiting:
                waiting(holder)
            fcntl.flock(fd, fcntl.LOCK_EX)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"PID {os.getpid()}, {purpose}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
