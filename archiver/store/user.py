"""What cannot be had again from mail or server: tags, the outbox, what was sent and what became of it.

One SQLite file, in WAL mode with synchronous=FULL: what a method has done is on the disk when it returns.
It is migrated from version to version and never rebuilt; one that cannot be read is left as it is.

A recipient's status: `queued` (meant to be sent, never begun), `sending` (begun, no answer yet), `sent`,
`deferred` (not taken, trying again is safe), `failed`, `unknown` (begun, and nobody can tell whether the
server has it). Only a holder of the outbox lock has rows `sending`; those found by the next holder have
lost theirs and become `unknown`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from archiver.errors import DamagedError, DiskFullError, LockedError, NotFoundError, StoreError
from archiver.store.layout import make_directory, user_path
from archiver.store.locks import lock

if TYPE_CHECKING:
    from archiver.smtp import Outcome

Status = Literal["queued", "sending", "sent", "deferred", "failed", "unknown"]

OUTBOX_LOCK = "outbox"
_COLUMNS = "id, key, message_id, via, sender, created, block"
INTERRUPTED = "the sender was stopped before the server's answer was recorded"

# Version n is reached by the statements at n - 1. What is here has run somewhere: add, never change.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE message (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key BLOB NOT NULL,          -- SHA-256 of the original's wire bytes
            message_id TEXT NOT NULL,   -- Resent-Message-ID
            via TEXT NOT NULL,          -- the sending server's name in the configuration
            sender TEXT NOT NULL,       -- envelope
            created INTEGER NOT NULL,   -- Unix seconds
            block BLOB NOT NULL DEFAULT x''  -- the bytes put before the original's, once begun
        ) STRICT""",
        "CREATE INDEX message_key ON message (key)",
        """CREATE TABLE recipient (
            message INTEGER NOT NULL REFERENCES message (id),
            position INTEGER NOT NULL,
            address TEXT NOT NULL,
            status TEXT NOT NULL CHECK
                (status IN ('queued', 'sending', 'sent', 'deferred', 'failed', 'unknown')),
            code INTEGER NOT NULL DEFAULT 0,    -- of the SMTP reply, 0 without one
            reply TEXT NOT NULL DEFAULT '',
            updated INTEGER NOT NULL,           -- Unix seconds
            PRIMARY KEY (message, position)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX recipient_open ON recipient (status) WHERE status NOT IN ('sent', 'failed')",
    ),
    (
        """CREATE TABLE tag (
            name TEXT NOT NULL,     -- as `store.tags.tag_name` gives it
            key BLOB NOT NULL,      -- SHA-256 of the message's wire bytes
            PRIMARY KEY (name, key)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX tag_key ON tag (key)",
    ),
    (  # see `archiver.store.restored`
        """CREATE TABLE target (          -- a mailbox that messages are put into
            id INTEGER PRIMARY KEY,
            host TEXT NOT NULL,
            user TEXT NOT NULL,
            raw TEXT NOT NULL,          -- its name on the wire
            uidvalidity INTEGER NOT NULL,
            UNIQUE (host, user, raw)
        ) STRICT""",
        """CREATE TABLE restored (
            target INTEGER NOT NULL REFERENCES target (id),
            key BLOB NOT NULL,
            uid INTEGER,                -- NULL: it was sent, and nobody knows whether the server has it
            above INTEGER NOT NULL,     -- if it has it, its UID is this one or a higher one
            received INTEGER NOT NULL,  -- INTERNALDATE it was sent with, Unix seconds
            updated INTEGER NOT NULL,   -- Unix seconds
            PRIMARY KEY (target, key)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX restored_open ON restored (target) WHERE uid IS NULL",
    ),
)


class Intent(msgspec.Struct, frozen=True):
    """One message to be sent: the original's key, and what the outbox keeps of it from the start."""

    key: bytes
    message_id: str
    via: str
    sender: str
    recipients: tuple[str, ...]


class Recipient(msgspec.Struct, frozen=True):
    """What is known of one recipient; `updated` in Unix seconds."""

    address: str
    status: Status
    code: int
    reply: str
    updated: int


class OutboxMessage(msgspec.Struct, frozen=True):
    """A message of the outbox with its recipients; `created` in Unix seconds."""

    id: int
    key: bytes
    message_id: str
    via: str
    sender: str
    created: int
    block: bytes
    recipients: tuple[Recipient, ...]


class User:
    """The open user database; one connection, one thread. Close it, or use it as a context manager."""

    def __init__(self, root: str) -> None:
        """Open, or create, `<root>/user.sqlite3`. DamagedError when it is none, or of a later version."""
        self.root = root
        self.path = user_path(root)
        with self._translate():
            make_directory(root)
            # SQLite gives its side files the mode of this one.
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(fd).st_mode & 0o077:
                os.fchmod(fd, 0o600)
            os.close(fd)
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def _prepare(self) -> None:
        version = self._version()
        if version > len(_MIGRATIONS):
            raise DamagedError(
                f"{self.path} is of version {version}; this program knows versions up to {len(_MIGRATIONS)}",
                hint="it was written by a later release: use that one; the file was left as it is",
            )
        self._rows("PRAGMA synchronous=FULL")
        self._rows("PRAGMA foreign_keys=ON")
        if version < len(_MIGRATIONS):
            # Two first runs at once: switching to WAL does not wait for the other by itself.
            with lock(self.root, "user", "prepare the user database"):
                if self._version() == 0 and self._rows("SELECT 1 FROM sqlite_master LIMIT 1"):
                    raise self._damaged("it is another program's database")
                self._rows("PRAGMA journal_mode=WAL")
                self._migrate()

    def _migrate(self) -> None:
        with self._transaction():
            for version in range(self._version(), len(_MIGRATIONS)):
                for statement in _MIGRATIONS[version]:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {version + 1}")

    def _version(self) -> int:
        return int(self._rows("PRAGMA user_version")[0][0])

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self._translate():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and durable when the block ends."""
        with self._translate():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StoreError(
                f"cannot open {self.path}: {exc.strerror}", hint="check the directory and its permissions"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise self._explained(exc) from exc

    def _explained(self, exc: sqlite3.DatabaseError) -> StoreError:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return DiskFullError(f"cannot write {self.path}: {exc}", hint="make room and try again")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LockedError(f"{self.path} is in use by another program", hint="try again later")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(exc))
        return StoreError(f"cannot use {self.path}: {exc}", hint="check its permissions")

    def _damaged(self, reason: str) -> DamagedError:
        return DamagedError(
            f"{self.path} cannot be used: {reason}",
            hint="it was left as it is: put a copy from a backup in its place, or move it away to begin anew",
        )

    # The outbox

    @contextmanager
    def sending(
        self,
        purpose: str,
        now: int,
        *,
        wait: bool = True,
        waiting: Callable[[str], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[int]:
        """Hold the outbox lock: only then may anything be begun. Yields how many recipients became `unknown`.

        `purpose`, `wait`, `waiting` and `stop` as in `archiver.store.locks.lock`.
        """
        with lock(self.root, OUTBOX_LOCK, purpose, wait=wait, waiting=waiting, stop=stop):
            yield self._orphans(now)

    def _orphans(self, now: int) -> int:
        with self._transaction():
            found = self._db.execute(
                """UPDATE recipient SET status = 'unknown', code = 0, reply = ?, updated = ?
                WHERE status = 'sending'""",
                (INTERRUPTED, now),
            )
        return found.rowcount

    def queue(self, intents: Iterable[Intent], now: int) -> list[int]:
        """Put messages into the outbox, all or none; their ids. Nothing is sent by that."""
        with self._transaction():
            return [self._queue(intent, now) for intent in intents]

    def _queue(self, intent: Intent, now: int) -> int:
        added = self._db.execute(
            "INSERT INTO message (key, message_id, via, sender, created) VALUES (?, ?, ?, ?, ?)",
            (intent.key, intent.message_id, intent.via, intent.sender, now),
        ).lastrowid
        assert added is not None
        self._db.executemany(
            """INSERT INTO recipient (message, position, address, status, updated)
            VALUES (?, ?, ?, 'queued', ?)""",
            [(added, position, address, now) for position, address in enumerate(intent.recipients)],
        )
        return added

    def begin(self, message: int, block: bytes, now: int) -> tuple[str, ...]:
        """Mark the queued and deferred recipients `sending`, before the first byte goes out; their addresses.

        `block` is what is put before the original's bytes this time.
        """
        with self._transaction():
            return self._begin(message, block, now)

    def _begin(self, message: int, block: bytes, now: int) -> tuple[str, ...]:
        self._db.execute("UPDATE message SET block = ? WHERE id = ?", (block, message))
        rows = self._db.execute(
            """UPDATE recipient SET status = 'sending', updated = ?
            WHERE message = ? AND status IN ('queued', 'deferred') RETURNING position, address""",
            (now, message),
        ).fetchall()
        return tuple(address for _, address in sorted(rows))

    def release(self, message: int, now: int) -> None:
        """Take back `begin`, for recipients of whom no byte went out: they are `queued`."""
        with self._transaction():
            self._db.execute(
                """UPDATE recipient SET status = 'queued', updated = ?
                WHERE message = ? AND status = 'sending'""",
                (now, message),
            )

    def finish(
        self, message: int, outcomes: Sequence[Outcome], now: int, *, then: tuple[int, bytes] | None = None
    ) -> tuple[str, ...]:
        """Record what became of a message and, in the same transaction, begin the next: its id and block.

        One fsync for both. The addresses begun, as of `begin`.
        """
        with self._transaction():
            self._record(message, outcomes, now)
            return () if then is None else self._begin(*then, now)

    def settle(self, results: Iterable[tuple[int, Sequence[Outcome]]], now: int) -> None:
        """Record what became of many messages, all or none."""
        with self._transaction():
            for message, outcomes in results:
                self._record(message, outcomes, now)

    def _record(self, message: int, outcomes: Sequence[Outcome], now: int) -> None:
        self._db.executemany(
            """UPDATE recipient SET status = ?, code = ?, reply = ?, updated = ?
            WHERE message = ? AND address = ? AND status IN ('queued', 'sending', 'deferred')""",
            [(o.status, o.code, o.reply, now, message, o.address) for o in outcomes],
        )

    def outbox(self, *, limit: int = -1, open_only: bool = False) -> list[OutboxMessage]:
        """Messages, newest first; with `open_only` those that have a recipient neither sent nor failed."""
        chosen = "id IN (SELECT message FROM recipient WHERE status NOT IN ('sent', 'failed'))"
        rows = self._rows(
            f"""SELECT {_COLUMNS} FROM message WHERE {chosen if open_only else "TRUE"}
            ORDER BY id DESC LIMIT ?""",
            limit,
        )
        return [self._message(row) for row in rows]

    def message(self, message: int) -> OutboxMessage:
        """One message of the outbox; NotFoundError."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM message WHERE id = ?", message)
        if not rows:
            raise NotFoundError(f"no message {message} in the outbox", hint="`archiver outbox` lists them")
        return self._message(rows[0])

    def _message(self, row: Sequence[Any]) -> OutboxMessage:
        recipients = self._rows(
            """SELECT address, status, code, reply, updated FROM recipient
            WHERE message = ? ORDER BY position""",
            row[0],
        )
        id, key, message_id, via, sender, created, block = row
        to = tuple(Recipient(*values) for values in recipients)
        return OutboxMessage(id, key, message_id, via, sender, created, block, to)
