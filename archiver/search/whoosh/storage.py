"""Files of an index that are being written: private, synced, committed by one rename."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from whoosh.filedb.filestore import FileStorage
from whoosh.filedb.structfile import StructFile


class PrivateStorage(FileStorage):  # type: ignore[misc]
    """Whoosh's storage in a directory, files 0600, directories 0700."""

    def create_file(self, name: str, excl: bool = False, mode: str = "wb", **kwargs: Any) -> StructFile:
        flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if excl else os.O_TRUNC)
        descriptor = os.open(os.path.join(self.folder, name), flags, 0o600)
        return StructFile(os.fdopen(descriptor, mode), name=name, **kwargs)

    def temp_storage(self, name: str | None = None) -> PrivateStorage:
        path = os.path.join(self.folder, name or "MAIN.tmp")
        os.makedirs(path, mode=0o700, exist_ok=True)
        return PrivateStorage(path)


class CommitStorage(PrivateStorage):
    """The storage a TOC is written through: its rename is the commit.

    `prepare` is called with the path of the finished TOC before it gets its name; what it writes
    belongs to the commit and must be on the disk when it returns.
    """

    def __init__(self, folder: str, prepare: Callable[[str], None]) -> None:
        super().__init__(folder)
        self.prepare = prepare

    def rename_file(self, oldname: str, newname: str, safe: bool = False) -> None:
        old = os.path.join(self.folder, oldname)
        sync(old)
        self.prepare(old)
        sync(self.folder)
        os.rename(old, os.path.join(self.folder, newname))
        sync(self.folder)


def sync(path: str) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(folder: str, name: str, data: bytes) -> None:
    """Write a small file under a temporary name, sync it, give it its name."""
    temporary = os.path.join(folder, f"{name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.rename(temporary, os.path.join(folder, name))
