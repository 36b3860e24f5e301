"""What cannot be had again from mail or server: tags, the outbox, what was sent and what became of it.

One SQLite file, in WAL mode with synchronous=FULL: what a method has done is on the disk when it returns.
It is migrated from version to version and never rebuilt; one that cannot be read is left as it is.

A recipient's status: `queued` (meant to be sent, never begun), `sending` (begun, no answer yet), `sent`,
`deferred` (not taken, trying again is safe), `failed`, `unknown` (begun, and nobody can tell whether the
server has it). One that is queued or deferred may be due: then the daemon sends it. Only a holder of the
outbox lock has rows `sending`; those found by the next holder have lost theirs and become `unknown`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from archiver.errors import (
    DamagedError,
    DiskFullError,
    LockedError,
    NotFoundError,
    RepeatError,
    StoreError,
)
from archiver.store.database import connect, is_read_only
from archiver.store.layout import make_directory, user_path
from archiver.store.locks import lock

if TYPE_CHECKING:
    from archiver.smtp import Outcome

Status = Literal["queued", "sending", "sent", "deferred", "failed", "unknown"]

OUTBOX_LOCK = "outbox"
_BEGUN = "status = 'sending'"
_WAITING = "status IN ('queued', 'deferred')"
_COLUMNS = "id, key, message_id, via, sender, created, block, recipe"
INTERRUPTED = "the sender was stopped before the server's answer was recorded"
CANCELLED = "cancelled"
CLOSED = "not to be asked about any more; nobody can tell whether it arrived"

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
    (
        # How it is made of its originals, JSON; empty: behind a Resent block, to those it goes to.
        "ALTER TABLE message ADD COLUMN recipe BLOB NOT NULL DEFAULT x''",
        "ALTER TABLE recipient ADD COLUMN tries INTEGER NOT NULL DEFAULT 0",
        # When the daemon sends what is queued or deferred, Unix seconds; NULL: never by itself.
        "ALTER TABLE recipient ADD COLUMN due INTEGER",
        """CREATE TABLE original (
            message INTEGER NOT NULL REFERENCES message (id),
            position INTEGER NOT NULL,
            key BLOB NOT NULL,
            PRIMARY KEY (message, position)
        ) STRICT, WITHOUT ROWID""",
        "INSERT INTO original (message, position, key) SELECT id, 0, key FROM message",
        "CREATE INDEX original_key ON original (key)",
    ),
    (  # see `archiver.store.pruned`
        """CREATE TABLE pruned (          -- deleted from a server, since it is archived
            account TEXT NOT NULL,
            host TEXT NOT NULL,
            user TEXT NOT NULL,
            folder TEXT NOT NULL,
            raw TEXT NOT NULL,          -- the folder's name on the wire
            uidvalidity INTEGER NOT NULL,
            uid INTEGER NOT NULL,
            key BLOB NOT NULL,          -- SHA-256 of the message's wire bytes, read back from its file
            received INTEGER NOT NULL,  -- INTERNALDATE, Unix seconds
            begun INTEGER NOT NULL,     -- Unix seconds
            done INTEGER,               -- when it was seen to be gone; NULL: nobody knows whether it is
            UNIQUE (host, user, raw, uidvalidity, uid)
        ) STRICT""",
        "CREATE INDEX pruned_key ON pruned (key)",
        "CREATE INDEX pruned_open ON pruned (begun) WHERE done IS NULL",
    ),
    # Which run of the machine may have sent it without that having come to the disk; see `User.finish`.
    ("ALTER TABLE message ADD COLUMN reserved TEXT",),
)


class Intent(msgspec.Struct, frozen=True):
    """One message to be sent: the original's key, and what the outbox keeps of it from the start.

    `more` has the keys of further originals in the same message; `due` is when the daemon may send it.
    """

    key: bytes
    message_id: str
    via: str
    sender: str
    recipients: tuple[str, ...]
    recipe: bytes = b""
    more: tuple[bytes, ...] = ()
    due: int | None = None


class Recipient(msgspec.Struct, frozen=True):
    """What is known of one recipient; `updated` and `due` in Unix seconds."""

    address: str
    status: Status
    code: int
    reply: str
    updated: int
    tries: int = 0
    due: int | None = None


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
    recipe: bytes = b""
    originals: tuple[bytes, ...] = ()


class User:
    """The open user database; one connection, one thread. Close it, or use it as a context manager."""

    def __init__(self, root: str) -> None:
        """Open, or create, `<root>/user.sqlite3`. DamagedError when it is none, or of a later version."""
        self.root = root
        self.path = user_path(root)
        with self._translate():
            make_directory(root)
            if not is_read_only(self.path):
                # SQLite gives its side files the mode of this one.
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if os.fstat(fd).st_mode & 0o077:
                    os.fchmod(fd, 0o600)
                os.close(fd)
            self._db = connect(self.path)
        self._durable = True
        self.boot = _boot()
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
            if is_read_only(self.path):
                raise StoreError(
                    f"{self.path} was written by an earlier release, and cannot be brought up to date here",
                    hint="make it writable once, and run `archiver outbox`",
                )
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
    def _transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing, and durable when the block ends.

        Else it is left to the kernel to write, and the next durable one takes it to the disk.
        """
        with self._translate():
            if durable is not self._durable:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._durable = durable
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
                """UPDATE recipient SET status = 'unknown', code = 0, reply = ?, updated = ?, due = NULL
                WHERE status = 'sending' OR status IN ('queued', 'deferred') AND message IN
                    (SELECT id FROM message WHERE reserved <> ?)""",
                (INTERRUPTED, now, self.boot),
            )
            self._db.execute("UPDATE message SET reserved = NULL WHERE reserved IS NOT NULL")
        return found.rowcount

    def orphans(self, now: int) -> int:
        """Turn what a dead sender left into `unknown`, unless somebody sends right now; how many it was.

        Where nothing can be written it stays as it is.
        """
        if is_read_only(self.path):
            return 0
        try:
            with self.sending("look", now, wait=False) as found:
                return found
        except LockedError:
            return 0

    def queue(self, intents: Iterable[Intent], now: int, *, unless_since: int | None = None) -> list[int]:
        """Put messages into the outbox, all or none; their ids. Nothing is sent by that.

        With `unless_since` RepeatError, and nothing is put, where an original was sent to one of the
        recipients after that time, or may have been, or is still to be sent to him.
        """
        intents = list(intents)
        with self._transaction():
            if unless_since is not None:
                self._refuse_repeats(intents, unless_since)
            return [self._queue(intent, now) for intent in intents]

    def _refuse_repeats(self, intents: Sequence[Intent], since: int) -> None:
        """Within the transaction, so that of two who are about to send the same one is told."""
        found = [
            row
            for intent in intents
            for key in (intent.key, *intent.more)
            for row in self._db.execute(
                f"""SELECT hex(key), address, status, message FROM original JOIN recipient USING (message)
                WHERE key = ? AND (status IN ('queued', 'deferred', 'sending')
                    OR status IN ('sent', 'unknown') AND updated >= ?)
                AND address COLLATE NOCASE IN ({", ".join("?" * len(intent.recipients))})""",
                (key, since, *intent.recipients),
            )
        ]
        if found:
            key, address, status, message = found[0]
            more = f", and {len(found) - 1} more such deliveries" if len(found) > 1 else ""
            raise RepeatError(
                f"message {key[:8].lower()} to {address} is {status} already (outbox {message}){more}",
                hint="--again sends all the same; `archiver outbox` shows what became of it",
            )

    def _queue(self, intent: Intent, now: int) -> int:
        added = self._db.execute(
            "INSERT INTO message (key, message_id, via, sender, created, recipe) VALUES (?, ?, ?, ?, ?, ?)",
            (intent.key, intent.message_id, intent.via, intent.sender, now, intent.recipe),
        ).lastrowid
        assert added is not None
        self._db.executemany(
            "INSERT INTO original (message, position, key) VALUES (?, ?, ?)",
            [(added, position, key) for position, key in enumerate((intent.key, *intent.more))],
        )
        self._db.executemany(
            """INSERT INTO recipient (message, position, address, status, updated, due)
            VALUES (?, ?, ?, 'queued', ?, ?)""",
            [
                (added, position, address, now, intent.due)
                for position, address in enumerate(intent.recipients)
            ],
        )
        return added

    def begin(self, message: int, block: bytes, now: int) -> tuple[str, ...]:
        """Mark the queued and deferred recipients `sending`, before the first byte goes out; their addresses.

        `block` is what is put before the original's bytes.
        """
        with self._transaction():
            return self._begin(message, block, now)

    def _begin(self, message: int, block: bytes, now: int) -> tuple[str, ...]:
        rows = self._db.execute(
            """UPDATE recipient SET status = 'sending', updated = ?, tries = tries + 1
            WHERE message = ? AND status IN ('queued', 'deferred') RETURNING position, address""",
            (now, message),
        ).fetchall()
        if rows:
            self._db.execute("UPDATE message SET block = ?, reserved = NULL WHERE id = ?", (block, message))
        else:
            self._reserve([message], None)  # cancelled meanwhile: it is in no group any more
        return tuple(address for _, address in sorted(rows))

    def release(self, begun: Sequence[int], reserved: Sequence[int], now: int) -> None:
        """Take back `begin`, for recipients of whom no byte went out: they are `queued`; and reservations."""
        if not begun and not reserved:
            return
        with self._transaction():
            self._db.executemany(
                """UPDATE recipient SET status = 'queued', updated = ?, tries = tries - 1
                WHERE message = ? AND status = 'sending'""",
                [(now, message) for message in begun],
            )
            self._reserve(reserved, None)

    def finish(
        self,
        message: int,
        outcomes: Sequence[Outcome],
        now: int,
        *,
        due: int | None = None,
        then: tuple[int, bytes] | None = None,
        reserve: Sequence[int] = (),
        durable: bool = True,
    ) -> tuple[str, ...]:
        """Record what became of a message and, in the same transaction, begin the next: its id and block.

        `due` is when what is deferred may be tried again by the daemon. The addresses begun, as of `begin`.
        Without `durable` all that is known from now on, also when this process is killed, and brought to the
        disk by the next durable change; only a message that was reserved by an earlier, durable one may be
        begun so. Should the machine stop before that, reserved ones become `unknown`.
        """
        with self._transaction(durable=durable):
            self._record(message, outcomes, now, due, _BEGUN)
            self._reserve(reserve, self.boot)
            return () if then is None else self._begin(*then, now)

    def _reserve(self, messages: Sequence[int], boot: str | None) -> None:
        self._db.executemany(
            "UPDATE message SET reserved = ? WHERE id = ?", [(boot, message) for message in messages]
        )

    def settle(self, results: Iterable[tuple[int, Sequence[Outcome], int | None]], now: int) -> None:
        """Record what became of many messages, all or none: id, outcomes, when deferred ones are due.

        Of those that were never begun: what is `sending` is left to who does it.
        """
        with self._transaction():
            for message, outcomes, due in results:
                self._record(message, outcomes, now, due, _WAITING)

    def _record(
        self, message: int, outcomes: Sequence[Outcome], now: int, due: int | None, those: str
    ) -> None:
        self._db.executemany(
            f"""UPDATE recipient SET status = ?, code = ?, reply = ?, updated = ?, due = ?,
                tries = tries + (status <> 'sending')
            WHERE message = ? AND address = ? AND {those}""",
            [
                (o.status, o.code, o.reply, now, due if o.status == "deferred" else None, message, o.address)
                for o in outcomes
            ],
        )

    def due(self, now: int) -> list[OutboxMessage]:
        """What the daemon may send now, oldest first."""
        rows = self._rows(
            f"""SELECT {_COLUMNS} FROM message WHERE id IN
                (SELECT message FROM recipient WHERE status IN ('queued', 'deferred') AND due <= ?)
            ORDER BY id""",
            now,
        )
        return [self._message(row) for row in rows]

    def next_due(self) -> int | None:
        """When the daemon has something to send next, Unix seconds; None when there is nothing."""
        rows = self._rows("SELECT min(due) FROM recipient WHERE status IN ('queued', 'deferred')")
        return None if rows[0][0] is None else int(rows[0][0])

    def sent_since(self, via: str, since: int) -> list[int]:
        """When messages were last sent, or tried to be, through a server; oldest first, Unix seconds."""
        rows = self._rows(
            """SELECT max(updated) AS at FROM message JOIN recipient ON message = id
            WHERE via = ? AND tries AND updated >= ? GROUP BY id ORDER BY at""",
            via,
            since,
        )
        return [at for (at,) in rows]

    def retry(self, message: int, now: int, only: Sequence[str] = ()) -> int:
        """Let what was not sent be sent again, `unknown` too: the user's word. How many recipients that are.

        `only` names those who are meant; else all. What is `sending` is left to who does it.
        """
        chosen, names = _named(only)
        with self._transaction():
            return self._db.execute(
                f"""UPDATE recipient SET status = 'queued', due = ?, tries = 0, updated = ?
                WHERE message = ? AND status IN ('queued', 'deferred', 'failed', 'unknown') AND {chosen}""",
                (now, now, message, *names),
            ).rowcount

    def cancel(self, message: int, now: int, only: Sequence[str] = ()) -> int:
        """Never send what is queued or deferred, and ask no more about what is unknown; how many that are."""
        chosen, names = _named(only)
        with self._transaction():
            return self._db.execute(
                f"""UPDATE recipient SET due = NULL, updated = ?, code = 0, status = 'failed',
                    reply = CASE status WHEN 'unknown' THEN ? ELSE ? END
                WHERE message = ? AND status IN ('queued', 'deferred', 'unknown') AND {chosen}""",
                (now, CLOSED, CANCELLED, message, *names),
            ).rowcount

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
            """SELECT address, status, code, reply, updated, tries, due FROM recipient
            WHERE message = ? ORDER BY position""",
            row[0],
        )
        keys = self._rows("SELECT key FROM original WHERE message = ? ORDER BY position", row[0])
        id, key, message_id, via, sender, created, block, recipe = row
        to = tuple(Recipient(*values) for values in recipients)
        originals = tuple(each for (each,) in keys)
        return OutboxMessage(id, key, message_id, via, sender, created, block, to, recipe, originals)


def _boot() -> str:
    """Which run of this machine it is; "" where nobody says."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def _named(addresses: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """A condition for these recipients, or for all, and its values."""
    if not addresses:
        return "TRUE", ()
    return f"address COLLATE NOCASE IN ({', '.join('?' * len(addresses))})", tuple(addresses)
