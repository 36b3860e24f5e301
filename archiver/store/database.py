"""Opening the archive's SQLite files: to write, or only to read them where nothing can be written.

A file in WAL mode wants two others beside it even to be read. Where these cannot be made (the archive lies
on a disk mounted read-only, or is somebody else's), a file that was closed well is read without them;
changes that wait beside it in `-wal` are read when `-shm` is there, too, and never left out.
"""

from __future__ import annotations

import os
import sqlite3
from urllib.parse import quote

from archiver.errors import StoreError


def connect(path: str, *, cached_statements: int = 128) -> sqlite3.Connection:
    """A connection without transactions of its own. StoreError when even reading takes writing."""
    return sqlite3.connect(
        location(path), timeout=60, isolation_level=None, cached_statements=cached_statements, uri=True
    )


def location(path: str) -> str:
    """What SQLite is to open, or to attach to such a connection. StoreError as of `connect`."""
    path = os.path.abspath(path)
    how = _read_only(path)
    return f"file:{quote(path)}?{how}" if how else path


def is_read_only(path: str) -> bool:
    """Whether a file that is there, or its directory, cannot be written."""
    return os.path.exists(path) and not (
        os.access(path, os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK)
    )


def _read_only(path: str) -> str:
    """How a database that cannot be written is opened; empty for one that can be."""
    if not is_read_only(path):
        return ""
    try:
        waiting = os.path.getsize(f"{path}-wal")
    except FileNotFoundError:
        waiting = 0
    if os.path.exists(f"{path}-wal") and os.path.exists(f"{path}-shm"):
        return "mode=ro"
    if waiting:
        raise StoreError(
            f"{path} cannot be written, and so what waits in {os.path.basename(path)}-wal cannot be read",
            hint="make it writable once, and run `archiver status`",
        )
    return "immutable=1"
