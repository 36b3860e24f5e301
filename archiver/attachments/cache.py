"""What attachments were found to say, by the hash of their bytes: none is read twice.

`<root>/attachments.sqlite3` is derived and survives a reindex; deleting it costs time. A file that cannot be
used as a database is thrown away. Every process has a connection of its own. What cannot be written is
left out: it is read again then.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib

import msgspec

from archiver.errors import ArchiverError
from archiver.store.layout import attachments_path
from archiver.store.locks import lock

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS text (
    hash BLOB NOT NULL,      -- SHA-256 of the decoded bytes
    kind TEXT NOT NULL,      -- as which they were read
    version TEXT NOT NULL,   -- of what read them
    text BLOB NOT NULL,      -- UTF-8, packed by zlib
    reason TEXT NOT NULL,    -- why there is none
    PRIMARY KEY (hash, kind)
) STRICT, WITHOUT ROWID
"""
_LOCK = "attachments"
# What says nothing of the file: it is in use, or the disk is full, or not ours to write.
_HARMLESS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}


class Entry(msgspec.Struct, frozen=True):
    """The text of an attachment, or the reason why it could not be read."""

    text: str
    reason: str = ""


class Cache:
    """The texts of the archive at `root`; close it. `thrown_away`: they were damaged, and are gone."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path = attachments_path(root)
        self.thrown_away = False
        self._db: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._open()

    def _open(self) -> None:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            found = os.stat(self._path)
            self._identity = found.st_dev, found.st_ino
            self._db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError("of another version")
            if version == 0:
                self._db.execute(_SCHEMA)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
        except (sqlite3.Error, OSError) as error:
            self._failed(error)

    def get(self, digest: bytes, kind: str, version: str = "") -> Entry | None:
        """What is known of an attachment by this version of the reader; without one, by any."""
        query = "SELECT text, reason, version FROM text WHERE hash = ? AND kind = ?"
        try:
            row = self._db.execute(query, (digest, kind)).fetchone() if self._db else None
            if row is None or version not in ("", row[2]):
                return None
            return Entry(zlib.decompress(row[0]).decode("utf-8"), row[1])
        except (sqlite3.Error, zlib.error, ValueError, TypeError) as error:
            self._failed(error)
            return None

    def put(self, digest: bytes, kind: str, version: str, entry: Entry) -> None:
        packed = zlib.compress(entry.text.encode("utf-8", "replace"), 3)
        values = digest, kind, version, packed, entry.reason
        try:
            if self._db:
                self._db.execute("INSERT OR REPLACE INTO text VALUES (?, ?, ?, ?, ?)", values)
        except sqlite3.Error as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Throw away what is damaged; a full disk, or one that is read only, is no reason to."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if isinstance(error, OSError) or code in _HARMLESS:
            return
        self.close()
        if self.thrown_away:
            return  # twice: do without
        self.thrown_away = True
        try:
            with lock(self._root, _LOCK, "throwing away damaged texts of attachments"):
                self._throw_away()
        except (ArchiverError, OSError):
            return
        self._open()

    def _throw_away(self) -> None:
        """Unless somebody else did so already."""
        now = os.stat(self._path)
        if (now.st_dev, now.st_ino) == self._identity:
            for ending in ("", "-wal", "-shm"):
                if os.path.exists(self._path + ending):
                    os.unlink(self._path + ending)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
