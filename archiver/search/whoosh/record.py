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
from contextlib import contextmanager, suppress

import msgspec

from archiver.errors import DamagedError, DiskFullError, StoreError
from archiver.search.index import IndexState

FORMAT = 4
"""Of the record, the schema and the analysis together: another number means rebuild."""

REBUILD = (
    "run `archiver sync`, which indexes again what is damaged, or `archiver reindex`, which builds it anew"
)

WRITING = "writing"
"""There while somebody writes; who meets damage leaves it, too, for the next writer to look twice."""

_toc = re.compile(r"_MAIN_(\d+)\.toc\Z")


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
    """One commit. An index that was never fed has no state."""

    format: int
    generation: int
    state: IndexState | None
    toc_hash: str
    segments: tuple[SegmentRecord, ...] = ()


class _Version(msgspec.Struct):
    format: int


def name(generation: int) -> str:
    return f"archiver-{generation}.json"


def numbers_name(segment: SegmentRecord, ledger: str) -> str:
    return f"{segment.id}.{ledger}.numbers"


def files(record: Record) -> set[str]:
    """The names of all files of a commit, and of what is noted beside its segments."""
    ledger = record.state.ledger if record.state else ""
    return {
        name(record.generation),
        toc_name(record.generation),
        *(segment.file for segment in record.segments),
        *(numbers_name(segment, ledger) for segment in record.segments),
    }


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


def missing() -> DamagedError:
    return DamagedError("a file of the index is missing, or it was changed by others", hint=REBUILD)


def file_hash(path: str) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def check_hashes(folder: str, record: Record) -> None:
    """Compare every byte with what was written."""
    wanted = {toc_name(record.generation): record.toc_hash}
    wanted |= {segment.file: segment.hash for segment in record.segments}
    for file, expected in wanted.items():
        if not is_sound(folder, file, expected):
            raise DamagedError(f"{file} of the index is not what was written", hint=REBUILD)


def suspect(folder: str) -> None:
    """Let the next writer compare every byte, if that can be written down."""
    with suppress(OSError):
        os.close(os.open(os.path.join(folder, WRITING), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def is_sound(folder: str, file: str, expected: str) -> bool:
    """Whether a file has the bytes that were written."""
    path = os.path.join(folder, file)
    return os.path.exists(path) and file_hash(path) == expected
