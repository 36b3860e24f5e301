"""Writing to the index directory: the lock, the order of a commit, what a killed one left.

A commit: the segment is on the disk; our record is; the new TOC is under a temporary name; the rename
of the TOC is the moment; then what has become old is deleted. The kernel drops the lock with the
process, so the file `writing` tells the next writer that its predecessor did not come to an end.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from archiver.errors import ArchiverError, DamagedError, LockedError
from archiver.search.index import IndexState
from archiver.search.whoosh import record as records
from archiver.search.whoosh.parts import Parts
from archiver.search.whoosh.record import Record, SegmentRecord
from archiver.search.whoosh.storage import write_durably
from archiver.search.whoosh.sweep import sweep

_LOCK = "MAIN_WRITELOCK"  # the name Whoosh's own writers lock


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Hold the writer's lock of the directory, which is made when it is missing."""
    with records.told("write"):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        records.check_private(folder)
        descriptor = os.open(os.path.join(folder, _LOCK), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(
                    "another process is writing to the index", hint="try again later"
                ) from error
            yield
        finally:
            os.close(descriptor)


@contextmanager
def writing(folder: str) -> Iterator[Record | None]:
    """The lock, and a directory that holds the last commit and nothing else; its record."""
    with locked(folder):
        record = current(folder)
        marker = os.path.join(folder, records.WRITING)
        if record and os.path.exists(marker):
            records.check_hashes(folder, record)
        sweep(folder, record)
        os.close(os.open(marker, os.O_CREAT | os.O_WRONLY, 0o600))
        try:
            yield record
        except BaseException:
            # The marker stays: the next writer looks twice. The space is given back now, if that is possible.
            with suppress(OSError, ArchiverError):
                sweep(folder, current(folder))
            raise
        os.unlink(marker)


def current(folder: str) -> Record | None:
    """The record of the last commit. Needs the lock: without it, the files may go while one looks."""
    generation = records.newest(folder)
    try:
        return None if generation is None else records.read(folder, generation)
    except FileNotFoundError as error:
        raise DamagedError("the record of the index is missing", hint=records.REBUILD) from error


def commit(
    folder: str, before: Record | None, segments: Sequence[SegmentRecord], state: IndexState | None
) -> None:
    """Make these segments the index, in place of what the last commit made it."""
    from archiver.search.whoosh import toc

    generation = before.generation + 1 if before else 1
    done: list[Record] = []

    def prepare(path: str) -> None:
        toc_hash = records.file_hash(path)
        record = Record(records.FORMAT, generation, state, toc_hash, tuple(segments))
        write_durably(folder, records.name(generation), msgspec.json.encode(record))
        done.append(record)

    toc.write(toc.CommitStorage(folder, prepare), generation, segments)
    sweep(folder, done[0])


def recover(folder: str) -> None:
    """`Index.recover` on the directory of an index."""
    if os.path.exists(os.path.join(folder, records.WRITING)):
        with writing(folder):
            pass  # entering it looks, leaving it says that all is well


def clear(folder: str) -> None:
    """Delete every file of the index, readable or not."""
    with locked(folder):
        sweep(folder, None)
        _come_to_an_end(folder)


def mend(folder: str, before: Callable[[IndexState | None, set[bytes]], None]) -> None:
    """`Index.mend` on the directory of an index."""
    with locked(folder):
        record = current(folder)
        segments = record.segments if record else ()
        sound = [each for each in segments if records.is_sound(folder, each.file, each.hash)]
        if record is None or not sound:
            raise DamagedError("nothing of the index is what was written", hint=records.REBUILD)
        before(record.state, {key for each in sound for key in _live(folder, each)})
        commit(folder, record, sound, record.state)
        _come_to_an_end(folder)


def _live(folder: str, segment: SegmentRecord) -> Iterator[bytes]:
    deleted = set(segment.deleted)
    return (key for number, key in enumerate(Parts(folder, segment).keys) if number not in deleted)


def _come_to_an_end(folder: str) -> None:
    if os.path.exists(marker := os.path.join(folder, records.WRITING)):
        os.unlink(marker)
