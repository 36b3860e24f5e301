"""Files of messages, read and hashed: work for processes that import little and open nothing else."""

from __future__ import annotations

import hashlib
import os
from typing import Literal

# Memory for a file that is read; a larger one is read in pieces of this size.
_PIECE = 1 << 16

Wrong = Literal["missing", "unreadable", "damaged"]
Expected = tuple[str, bytes]
"""A file's path, empty when there is none, and the key its bytes should have."""
Task = tuple[int, list[Expected]]
"""Some files, under a number by which the result is known again."""
Checked = tuple[int, int, int, list[tuple[int, Wrong]]]
"""A task's number, files and bytes that were read, and which of its files, counted from 0, are wrong."""


def check(task: Task) -> Checked:
    """Compare the bytes of files with their keys and with their names."""
    number, expected = task
    files = size = 0
    wrong: list[tuple[int, Wrong]] = []
    for at, (path, key) in enumerate(expected):
        try:
            read, found = _hash_renamed(path)
        except FileNotFoundError:
            wrong.append((at, "missing"))
            continue
        except OSError:
            wrong.append((at, "unreadable"))
            continue
        files += 1
        size += read
        if found != key:
            wrong.append((at, "damaged"))
    return number, files, size, wrong


def hash_file(path: str) -> tuple[int, bytes]:
    """Bytes in a file of ours, and the key they have on the wire; no key when they do not fit its name.

    One whose name has lost W= is read either way, as by `maildir.to_wire`. OSError when it cannot be read.
    """
    base = _base(path)
    size, digest = _hash(path, crlf=",W=" in base)
    if not _fits(digest, base) and ",W=" not in base:
        size, digest = _hash(path, crlf=True)
    return size, digest if _fits(digest, base) else b""


def _base(path: str) -> str:
    return path.rpartition("/")[2].partition(":")[0]


def _fits(digest: bytes, base: str) -> bool:
    return digest.hex()[:32] == base.split(".", 2)[1]


def _hash(path: str, *, crlf: bool) -> tuple[int, bytes]:
    digest = hashlib.sha256()
    size = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := os.read(descriptor, _PIECE):
            size += len(piece)
            digest.update(piece.replace(b"\n", b"\r\n") if crlf else piece)
    finally:
        os.close(descriptor)
    return size, digest.digest()


def _hash_renamed(path: str) -> tuple[int, bytes]:
    """As `hash_file`, of a file that another program may have renamed since it was listed."""
    try:
        return hash_file(path)
    except FileNotFoundError:
        from archiver.store.maildir import Finder

        found = Finder().path(os.path.dirname(os.path.dirname(path)), _base(path), "") if path else None
        if found is None:
            raise
        return hash_file(found)
