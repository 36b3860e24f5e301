"""Kernel locks: one holder at a time, free the instant the holder is gone, however it went."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.errors import InterruptedRun, LockedError
from archiver.store.layout import lock_path, make_directory
from archiver.store.maildir import disk_errors

# `holder` takes a shared lock for an instant: a lock counts as held after so many looks, so far apart (s).
_LOOKS, _LOOK = 20, 0.005
# A blocking flock cannot be interrupted politely, so waiting looks again so often (seconds).
_POLL = 0.05


def holder(root: str, name: str) -> str | None:
    """Who holds a lock now ("PID 12, sync"), or None; asks without taking it."""
    try:
        fd = os.open(lock_path(root, name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(fd)
    finally:
        os.close(fd)
    return None


def _read_holder(fd: int) -> str:
    return os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"


@contextmanager
def lock(
    root: str,
    name: str,
    purpose: str,
    *,
    wait: bool = True,
    waiting: Callable[[str], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    reading: bool = False,
) -> Iterator[None]:
    """Hold the lock `name` of the archive at `root` (flock(2) on `<root>/locks/<name>.lock`).

    `purpose` is written into the file, for whoever must wait: `waiting` is called once with
    "PID 12, sync" before that, and `stop` ends it with InterruptedRun. Without `wait`, LockedError at
    once. Who only reads (`reading`) goes without it where the archive cannot be written. The file stays when
    the lock is released: removing it would let two holders lock two files of one name.
    """
    path = lock_path(root, name)
    with disk_errors("lock the archive"):
        fd = _open(path, reading)
    if fd is None:
        yield
        return
    try:
        if not _try_again(fd):
            owner = _read_holder(fd)
            if not wait:
                raise LockedError(f"{name} is in use by {owner}", hint="try again when it is done")
            if waiting:
                waiting(owner)
            while not _try(fd):
                if stop():
                    raise InterruptedRun()
                time.sleep(_POLL)
        _note_holder(fd, purpose)
        yield
    finally:
        os.close(fd)


def _open(path: str, reading: bool) -> int | None:
    """The lock's file, made when missing; None when it can be neither made nor opened, for who only reads."""
    try:
        make_directory(os.path.dirname(path))
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if not reading or exc.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _try_again(fd: int) -> bool:
    for _ in range(_LOOKS):
        if _try(fd):
            return True
        time.sleep(_LOOK)
    return False


def _note_holder(fd: int, purpose: str) -> None:
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"PID {os.getpid()}, {purpose}\n".encode(), 0)
    except OSError:
        pass  # a full disk; the lock is held all the same, and the note is only for people


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
