"""A file or directory that appears whole, or not at all, and takes the place of nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.errors import DiskFullError, LockedError, NotFoundError, StoreError, UsageError
from archiver.store.layout import sync_directory
from archiver.store.maildir import disk_errors

_UNLINKABLE = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Errors of a disk that is not the archive's."""
    try:
        yield
    except OSError:
        try:
            with disk_errors(what):
                raise
        except DiskFullError as exc:
            exc.hint = "make room, or export to another disk; nothing is left of this one"
            raise
        except StoreError as exc:
            exc.hint = "check the permissions of the directory"
            raise


def insist_free(path: str) -> None:
    """UsageError where something is there already, NotFoundError without a directory to put it into."""
    if os.path.lexists(path):
        raise UsageError(
            f"{path} is there already", hint="nothing is overwritten: name another, or move it away"
        )
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise NotFoundError(f"there is no directory {parent}", hint="make it, or name another")


@contextmanager
def new_file(path: str) -> Iterator[int]:
    """A descriptor of a file that is at `path`, durably, when the block ends well, else gone."""
    part = _part(path)
    descriptor = _made(part, path, _FILE, lambda: os.open(part, _FILE | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _hold(descriptor, part, path)
        try:
            with writing("write the export"):
                yield descriptor
                os.fsync(descriptor)
                _put(part, path)
                sync_directory(os.path.dirname(part))
        finally:
            if os.path.exists(part):
                os.unlink(part)
    finally:
        os.close(descriptor)


@contextmanager
def new_directory(path: str) -> Iterator[str]:
    """A directory to write into, which is at `path` when the block ends well; the caller makes it durable."""
    part = _part(path)

    def make() -> int:
        os.mkdir(part, 0o700)
        return os.open(part, _DIRECTORY)

    descriptor = _made(part, path, _DIRECTORY, make)
    try:
        _hold(descriptor, part, path)
        try:
            with writing("write the export"):
                yield part
                _claim(path)
                os.rename(part, path)
                sync_directory(os.path.dirname(part))
        finally:
            if os.path.exists(part):
                shutil.rmtree(part)
    finally:
        os.close(descriptor)


def _part(path: str) -> str:
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.join(parent, f".{name}.archiver-export")


def _made(part: str, path: str, how: int, make: Callable[[], int]) -> int:
    """What `make` makes at `part`, where nothing may be.

    What a killed run left there is removed and never written into: it may be the second name of an export
    that was complete by then, or somebody else's who would read along.
    """
    with writing("write the export"):
        try:
            return make()
        except FileExistsError:
            left = os.open(part, how | os.O_NONBLOCK)
        try:
            _hold(left, part, path)
            shutil.rmtree(part) if how & os.O_DIRECTORY else os.unlink(part)
        finally:
            os.close(left)
    return _made(part, path, how, make)


def _hold(descriptor: int, part: str, path: str) -> None:
    """Let a second run that would write the same know of the first, be it that this one ends just now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(descriptor), os.lstat(part))
    except OSError:
        ours = False
    if not ours:
        raise LockedError(f"another export writes {path}", hint="try again when it is done")


def _put(part: str, path: str) -> None:
    try:
        os.link(part, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as exc:
        if exc.errno not in _UNLINKABLE:
            raise
        # A file system without links: the name is taken first, so that it can be nobody else's.
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise _taken(path) from None
        os.replace(part, path)


def _claim(path: str) -> None:
    """Take a directory's name, so that it can be nobody else's; an empty one may be renamed over."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        raise _taken(path) from None


def _taken(path: str) -> UsageError:
    return UsageError(f"{path} was made by somebody else meanwhile", hint="name another")
