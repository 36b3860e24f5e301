"""Our own record beside the index: which commit it is and what its files must be.

`archiver-<generation>.json` belongs to Whoosh's `_MAIN_<generation>.toc`. It is on disk before that TOC
gets its name, and the rename of the TOC is the commit: the record that counts is the one of the newest
TOC. A kill leaves either the old pair or the new one, and perhaps files that nobody names (see
`sweep`). Sizes are compared at every opening, hashes by the first writer after an unclean end.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from archiver.errors import DamagedError, DiskFullError, StoreError

FORMAT = 2
"""Of the record, the schema and the analysis together: another number means rebuild."""

REBUILD = "run `archiver reindex` to build it anew"

_toc = re.compile(r"_MAIN_(\d+)\.toc\Z")
_ours = re.compile(r"_MAIN_\d+\.toc|MAIN_[0-9a-z]+\.|archiver-\d+\.json")


class SegmentRecord(msgspec.Struct, frozen=True):
    """One segment: its file, how many documents it has, which of them are deleted, terms of each field.

    `ordered`: document numbers ascend by (date, key). `oldest` and `newest` are the dates of all
    documents, deleted ones too, in Unix seconds; so those of the first and the last when it is ordered.
    """

    id: str
    size: int
    hash: str
    documents: int
    ordered: bool
    oldest: int
    newest: int
    deleted: tuple[int, ...] = ()
    lengths: dict[str, int] = {}

    @property
    def file(self) -> str:
        return f"{self.id}.seg"


class Record(msgspec.Struct, frozen=True):
    """One commit. `ledger` is None in an index that was never fed."""

    format: int
    generation: int
    ledger: str | None
    change: int
    stemming: str
    toc_hash: str
    segments: tuple[SegmentRecord, ...] = ()


class _Version(msgspec.Struct):
    format: int


def name(generation: int) -> str:
    return f"archiver-{generation}.json"


def numbers_name(segment: SegmentRecord, ledger: str) -> str:
    return f"{segment.id}.{ledger}.numbers"


def toc_name(generation: int) -> str:
    return f"_MAIN_{generation}.toc"


@contextmanager
def told(doing: str) -> Iterator[None]:
    """What the operating system refuses, as errors of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFullError("no space left for the index", hint="make room, then run it again") from error
        raise StoreError(f"cannot {doing} the index: {error.strerror or error}") from error


def newest(folder: str) -> int | None:
    """The generation of the newest TOC; None when there is none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return None
    return max((int(found[1]) for each in names if (found := _toc.match(each))), default=None)


def read(folder: str, generation: int) -> Record:
    """The record of a generation; FileNotFoundError when there is none."""
    with open(os.path.join(folder, name(generation)), "rb") as file:
        data = file.read()
    try:
        version = msgspec.json.decode(data, type=_Version).format
        if version != FORMAT:
            raise DamagedError(f"the index has format {version}, this version reads {FORMAT}", hint=REBUILD)
        return msgspec.json.decode(data, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError("the record of the index cannot be read", hint=REBUILD) from error


def check_private(folder: str) -> None:
    """Refuse a directory that somebody else could have written to: what is in it gets unpickled."""
    facts = os.stat(folder)
    if not stat.S_ISDIR(facts.st_mode):
        raise DamagedError(f"{folder} is not a directory", hint="move it away")
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise DamagedError(
            f"the index in {folder} may have been written by somebody else",
            hint="it must belong to you and be writable by you alone: delete it and run `archiver reindex`",
        )


def file_hash(path: str) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def check_hashes(folder: str, record: Record) -> None:
    """Compare every byte with what was written."""
    wanted = {toc_name(record.generation): record.toc_hash}
    wanted |= {segment.file: segment.hash for segment in record.segments}
    for file, expected in wanted.items():
        path = os.path.join(folder, file)
        if not os.path.exists(path) or file_hash(path) != expected:
            raise DamagedError(f"{file} of the index is not what was written", hint=REBUILD)


def sweep(folder: str, record: Record | None) -> None:
    """Delete what killed commits left and what the last commit made old. Needs the writer's lock.

    Only names that Whoosh or this module gives; a reader that has such a file open keeps it.
    """
    keep = {segment.file for segment in record.segments} if record else set()
    if record:
        keep |= {name(record.generation), toc_name(record.generation)}
        keep |= {numbers_name(segment, record.ledger or "") for segment in record.segments}
    # A reader that finds no table of contents finds no index; one without its files looks damaged.
    for each in sorted(os.listdir(folder), key=lambda each: _toc.match(each) is None):
        if _ours.match(each) and each not in keep:
            os.unlink(os.path.join(folder, each))
    temporary = os.path.join(folder, "MAIN.tmp")
    if os.path.isdir(temporary):
        for each in os.listdir(temporary):
            os.unlink(os.path.join(temporary, each))
        os.rmdir(temporary)
