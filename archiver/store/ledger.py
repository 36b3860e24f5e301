"""What is known of every message: where it lies on the server and on disk, what is settled, what is due.

Derived: a deleted ledger is rebuilt from the Maildir (`archiver.store.rebuild`) and the server. One SQLite
file in WAL mode, synchronous=FULL: a batch of messages is one transaction, so its fsync costs little, and
"this folder is being written" is on disk before the first file is.

Words: a *document* is one content, found by its key. A *place* is one message on the server, (folder,
epoch, uid), and names its file. An *epoch* is one life of a folder's UIDs; it ends when UIDVALIDITY
changes or the server counts its UIDs anew. A *change* tells the index to look at a document.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import os
import re
import sqlite3
import time
import uuid
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from archiver.errors import DamagedError, DiskFullError, LockedError, StoreError
from archiver.store.database import connect
from archiver.store.layout import ledger_path, make_directory
from archiver.store.locks import lock
from archiver.store.maildir import disk_errors
from archiver.store.records import (
    IMPORTED,
    RETRY_AFTER,
    SCHEMA,
    VERSION,
    AccountRow,
    Content,
    Failure,
    Folder,
    NewPlace,
    Origin,
    Place,
    Queued,
    Spot,
    State,
    Stored,
)

_Row = TypeVar("_Row", bound=msgspec.Struct)

# Values asked for in one statement.
_MANY = 500
_MOVE_AWAY = "move it away; the next sync rebuilds it from the mail"
# A limit on file sizes and a full disk under the shared memory look like any other error of writing.
_FULL = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)


class Ledger:
    """An open ledger; one connection, one thread. Close it, or use it as a context manager."""

    def __init__(self, root: str) -> None:
        """Open, or create, the ledger of the archive at `root`; where it cannot be written, only to read it.

        DamagedError when the file is none.
        """
        path = ledger_path(root)
        with disk_errors("open the archive"):
            make_directory(root)
            if not os.path.exists(path):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self.root = root
        self._path = path
        with self._translate():
            self._db = connect(path, cached_statements=256)
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        with self._translate():
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.create_function("casefold", 1, str.casefold, deterministic=True)
            self._db.create_function("glob_folder", 2, glob_folder, deterministic=True)
            self._db.create_function("has_label", 2, has_label, deterministic=True)
            self._prepare()

    def _prepare(self) -> None:
        """Make the schema where there is none."""
        version = self._one("PRAGMA user_version")[0]
        if version == VERSION:
            return
        if version:
            raise DamagedError(
                f"{self._path} is of format {version}, this program knows {VERSION}",
                hint=_MOVE_AWAY,
            )
        # First runs at once: switching to WAL does not wait for another that does the same.
        with lock(self.root, "ledger", "make the ledger"):
            if self._one("PRAGMA user_version")[0] == 0:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._make()

    def _make(self) -> None:
        with self.transaction():
            if self._one("PRAGMA user_version")[0] == 0:
                for statement in SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO meta VALUES ('id', ?)", (uuid.uuid4().hex,))
                self._db.execute("INSERT INTO meta VALUES ('fresh', '1')")
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    @property
    def id(self) -> str:
        """The name of this ledger; asked each time, since another process may `rename` it."""
        return str(self._one("SELECT value FROM meta WHERE name = 'id'")[0])

    def rename(self) -> None:
        """Have another id from now on: what was noted of this one's numbers may be of another history."""
        with self.transaction():
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'id'", (uuid.uuid4().hex,))

    @property
    def fresh(self) -> bool:
        """Whether the tree has still to be read into this ledger (`rebuilt`), by us or another process."""
        return bool(self._rows("SELECT 1 FROM meta WHERE name = 'fresh'"))

    def rebuilt(self) -> None:
        """The tree was read into a ledger that was made new."""
        with self.transaction():
            self._db.execute("DELETE FROM meta WHERE name = 'fresh'")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # our mistake, not the file's
        except sqlite3.OperationalError as exc:
            code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # none: text that is no UTF-8
            if code in _FULL:
                raise DiskFullError(
                    f"cannot write {self._path}: {exc}", hint="make room and try again"
                ) from exc
            if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise LockedError(f"{self._path} is in use by another run", hint="try again later") from exc
            if code != sqlite3.SQLITE_CORRUPT:
                raise StoreError(f"cannot use {self._path}: {exc}", hint="check its permissions") from exc
            raise DamagedError(f"{self._path} is damaged", hint=_MOVE_AWAY) from exc
        except sqlite3.DatabaseError as exc:
            raise DamagedError(f"{self._path} is damaged: {exc}", hint=_MOVE_AWAY) from exc
        except UnicodeDecodeError as exc:
            # So a schema that was overwritten shows.
            raise DamagedError(f"{self._path} is damaged", hint=_MOVE_AWAY) from exc

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable when the block ends."""
        with self._translate():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _one(self, sql: str, *values: object) -> tuple[object, ...]:
        with self._translate():
            row: tuple[object, ...] = self._db.execute(sql, values).fetchone()
        return row

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self._translate():
            return self._db.execute(sql, values).fetchall()

    def _number(self, sql: str, *values: object) -> int:
        value = self._one(sql, *values)[0]
        assert isinstance(value, int)
        return value

    # Accounts

    def identify(self, account: str, host: str, user: str) -> bool:
        """Remember whose mailbox `account` is. Another host or user opens new epochs: True when it did.

        What the server calls contents and folders means nothing there, and is forgotten. A ledger that was
        rebuilt does not know whose it was, and takes the word of the first to come.
        """
        before = self.account(account)
        if before and (before.host, before.user) == (host, user):
            return False
        with self.transaction():
            self._set_mailbox(account, host, user)
            if not before or not before.host:
                return False
            opened = self._db.execute(
                "UPDATE folder SET uidvalidity = 0, mailboxid = NULL WHERE account = ?", (account,)
            )
            self._db.execute(
                "UPDATE place SET content = NULL WHERE content IS NOT NULL"
                " AND folder IN (SELECT id FROM folder WHERE account = ?)",
                (account,),
            )
        return opened.rowcount > 0

    def same_mailbox(self, account: str, host: str, user: str) -> None:
        """Remember that the mailbox of `account` has another host or user now: no new epochs."""
        with self.transaction():
            self._set_mailbox(account, host, user)

    def _set_mailbox(self, account: str, host: str, user: str) -> None:
        self._db.execute(
            "INSERT INTO account (name, host, user) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET host = excluded.host, user = excluded.user",
            (account, host, user),
        )

    def started(self, account: str, now: float) -> None:
        """A run of `account` begins, be it the first: whose mailbox it is shows when it has logged in."""
        self._note_time(account, "started", now)

    def finished(self, account: str, now: float, error: str | None) -> None:
        """A run of `account` ended; without `error` it was a good one."""
        with self.transaction():
            self._db.execute(
                "UPDATE account SET finished = ?1, error = ?2,"
                " succeeded = CASE WHEN ?2 IS NULL THEN ?1 ELSE succeeded END WHERE name = ?3",
                (now, error, account),
            )

    def schedule(self, account: str, next_run: float | None) -> None:
        """Remember when the daemon means to run next, for `archiver status`."""
        self._note_time(account, "next_run", next_run)

    def _note_time(self, account: str, column: str, time_: float | None) -> None:
        with self.transaction():
            self._db.execute(
                f"INSERT INTO account (name, host, user, {column}) VALUES (?, '', '', ?)"
                f" ON CONFLICT (name) DO UPDATE SET {column} = excluded.{column}",
                (account, time_),
            )

    def account(self, name: str) -> AccountRow | None:
        """What is known of an account; None before its first run."""
        return next(iter(self._select(AccountRow, "account WHERE name = ?", name)), None)

    def accounts(self) -> list[AccountRow]:
        return self._select(AccountRow, "account ORDER BY name")

    def spent(self, account: str, day: str) -> int:
        """Bytes fetched on a day, such as `2024-03-05`."""
        rows = self._rows("SELECT value FROM meta WHERE name = ?", f"spent {account}")
        known, _, size = rows[0][0].partition(" ") if rows else ("", "", "0")
        return int(size) if known == day else 0

    def spend(self, account: str, day: str, size: int) -> None:
        """Count bytes fetched on a day; of days before nothing is kept."""
        total = f"{day} {self.spent(account, day) + size}"
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"spent {account}", total))

    # Folders

    def folders(self, account: str | None = None) -> list[Folder]:
        return self._select(Folder, "folder WHERE ?1 IS NULL OR account = ?1 ORDER BY account, name", account)

    def folder(self, folder_id: int) -> Folder:
        return self._select(Folder, "folder WHERE id = ?", folder_id)[0]

    def add_folder(
        self, account: str, raw: str, name: str, path: str, mailboxid: str | None = None
    ) -> Folder:
        """A folder of this account, new or known. `path` is relative to the mail root.

        Where the directory is known under another name, that one was guessed, and gives way.
        """
        with self.transaction():
            self._db.execute(
                "INSERT INTO folder (account, raw, name, path, mailboxid) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (account, raw) DO NOTHING"
                " ON CONFLICT (path) DO UPDATE SET raw = excluded.raw, name = excluded.name, listed = 1,"
                " mailboxid = excluded.mailboxid",
                (account, raw, name, path, mailboxid),
            )
        return self._select(Folder, "folder WHERE account = ? AND raw = ?", account, raw)[0]

    def set_mailboxid(self, folder_id: int, mailboxid: str) -> None:
        """Remember the name of a folder that stays."""
        with self.transaction():
            self._db.execute("UPDATE folder SET mailboxid = ? WHERE id = ?", (mailboxid, folder_id))

    def rename_folder(self, folder_id: int, raw: str, name: str, path: str) -> None:
        """A folder has another name, and its directory has followed; UIDs and all that is known stay."""
        with self.transaction():
            self._db.execute(
                "UPDATE folder SET raw = ?, name = ?, path = ?, listed = 1 WHERE id = ?",
                (raw, name, path, folder_id),
            )

    def is_empty(self, folder_id: int) -> bool:
        """Whether there never was a message in a folder."""
        return not self._rows("SELECT 1 FROM place WHERE folder = ? LIMIT 1", folder_id)

    def forget_folder(self, folder_id: int) -> None:
        """Drop a folder in which there never was a message."""
        with self.transaction():
            self._db.execute("DELETE FROM folder WHERE id = ?", (folder_id,))

    def set_listed(self, account: str, raws: Iterable[str]) -> None:
        """Remember which folders the server has; the others' messages are gone with them."""
        with self.transaction():
            self._db.execute("UPDATE folder SET listed = 0 WHERE account = ?", (account,))
            self._db.executemany(
                "UPDATE folder SET listed = 1 WHERE account = ? AND raw = ?", ((account, raw) for raw in raws)
            )
            self._db.execute(
                "UPDATE place SET gone = ? WHERE gone = 0 AND epoch >= 0 AND folder IN"
                " (SELECT id FROM folder WHERE account = ? AND listed = 0)",
                (int(time.time()), account),
            )
            self._db.execute(
                "UPDATE folder SET uidnext = NULL, messages = NULL, modseq = NULL, flags_at = 0"
                " WHERE account = ? AND listed = 0",
                (account,),
            )

    def open_folder(self, folder_id: int) -> None:
        """Say, durably, that files are about to be written and nothing is up to date until `settle`."""
        with self.transaction():
            self._db.execute("UPDATE folder SET open = 1, uidnext = NULL WHERE id = ?", (folder_id,))

    def close_folder(self, folder_id: int, error: str | None) -> None:
        """A run stopped cleanly before the folder was settled; `error` says why, for the status."""
        with self.transaction():
            self._db.execute("UPDATE folder SET open = 0, error = ? WHERE id = ?", (error, folder_id))

    def unsettle(self, folder_id: int) -> None:
        """Let the next pull compare every UID of a folder, and try what failed without waiting."""
        with self.transaction():
            self._db.execute("UPDATE folder SET uidnext = NULL WHERE id = ?", (folder_id,))
            self._db.execute("UPDATE failed SET due = 0 WHERE folder = ?", (folder_id,))

    def new_epoch(self, folder_id: int, uidvalidity: int) -> None:
        """Begin to count UIDs anew: nothing is settled, nothing has failed."""
        with self.transaction():
            self._db.execute(
                "UPDATE folder SET epoch = epoch + 1, uidvalidity = ?, cursor = 0, uidnext = NULL,"
                " messages = NULL, modseq = NULL, flags_at = 0 WHERE id = ?",
                (uidvalidity, folder_id),
            )
            self._db.execute("DELETE FROM failed WHERE folder = ?", (folder_id,))

    def settle(
        self,
        folder: Folder,
        *,
        cursor: int,
        uidnext: int | None,
        messages: int | None,
        modseq: int | None,
        flags_at: float,
    ) -> None:
        """A folder was brought up to date with what the server said: all at or below `cursor` is done."""
        with self.transaction():
            self._db.execute(
                "UPDATE folder SET cursor = ?, uidnext = ?, messages = ?, modseq = ?, flags_at = ?,"
                " open = 0, error = NULL WHERE id = ?",
                (cursor, uidnext, messages, modseq, flags_at, folder.id),
            )
            self._db.execute(
                "UPDATE place SET gone = ? WHERE folder = ? AND epoch BETWEEN 0 AND ? - 1 AND gone = 0",
                (int(time.time()), folder.id, folder.epoch),
            )

    # Places

    def known(self, folder: Folder) -> dict[int, State]:
        """What is known of each UID of the present epoch."""
        rows = self._rows(
            "SELECT uid, flags, keywords, gone, labels FROM place WHERE folder = ? AND epoch = ?",
            folder.id,
            folder.epoch,
        )
        return {uid: (flags, keywords, gone, labels) for uid, flags, keywords, gone, labels in rows}

    def live_count(self, folder: Folder) -> int:
        return self._number(
            "SELECT count(*) FROM place WHERE folder = ? AND epoch = ? AND gone = 0", folder.id, folder.epoch
        )

    def uids(self, folder: Folder) -> tuple[array[int], array[int]]:
        """The UIDs of the present epoch, ascending: taken to be on the server, and gone from it."""
        live, gone = array("I"), array("I")
        with self._translate():
            rows = self._db.execute(
                "SELECT uid, gone FROM place WHERE folder = ? AND epoch = ? AND uid > 0 ORDER BY uid",
                (folder.id, folder.epoch),
            )
            for uid, since in rows:
                (gone if since else live).append(uid)
        return live, gone

    def places(self, folder: Folder, uids: Iterable[int]) -> list[Place]:
        where = "place WHERE folder = ? AND epoch = ? AND uid = ?"
        return [p for uid in uids for p in self._select(Place, where, folder.id, folder.epoch, uid)]

    def all_places(self, folder_id: int) -> list[Place]:
        return self._select(Place, "place WHERE folder = ? ORDER BY id", folder_id)

    def stored(self, folder_id: int) -> Iterator[Stored]:
        """Every place of a folder, the present epoch last, by UID; read as they are taken."""
        with self._translate():
            rows = self._db.execute(
                "SELECT p.id, p.uid, p.file, p.flags, p.gone, d.key, d.size FROM place p"
                " JOIN document d ON d.id = p.document WHERE p.folder = ? ORDER BY p.epoch, p.uid",
                (folder_id,),
            )
            for row in rows:
                yield Stored(*row)

    def origins(self, account: str) -> list[Origin]:
        """Every place of an account, in the order they became known."""
        return self._origins("f.account = ?", account)

    def origins_of(self, keys: Sequence[bytes]) -> Iterator[Origin]:
        """Every place of these documents."""
        for start in range(0, len(keys), _MANY):
            some = keys[start : start + _MANY]
            yield from self._origins(f"d.key IN ({','.join('?' * len(some))})", *some)

    def _origins(self, where: str, *values: object) -> list[Origin]:
        rows = self._rows(
            "SELECT d.key, d.size, f.account, f.name, f.path, p.file, p.flags, p.keywords, p.gone, p.received"
            " FROM place p JOIN folder f ON f.id = p.folder JOIN document d ON d.id = p.document"
            f" WHERE {where} ORDER BY p.id",
            *values,
        )
        return [Origin(*row) for row in rows]

    def keys_by_uid(self, folder: Folder) -> dict[int, bytes]:
        """The content of each UID of the present epoch that is taken to be on the server."""
        return dict(
            self._rows(
                "SELECT p.uid, d.key FROM place p JOIN document d ON d.id = p.document"
                " WHERE p.folder = ? AND p.epoch = ? AND p.gone = 0 AND p.uid > 0",
                folder.id,
                folder.epoch,
            )
        )

    def earlier_count(self, folder: Folder) -> int:
        """How many places of earlier epochs could be claimed."""
        return self._number(
            "SELECT count(*) FROM place WHERE folder = ? AND epoch BETWEEN 0 AND ? - 1",
            folder.id,
            folder.epoch,
        )

    def claimable(self, folder: Folder, key: bytes) -> list[Place]:
        """Places of earlier epochs of this folder with the same content, the likeliest first."""
        return self._select(
            Place,
            "place WHERE folder = ? AND epoch BETWEEN 0 AND ? - 1"
            " AND document = (SELECT id FROM document WHERE key = ?) ORDER BY gone, epoch DESC, uid",
            folder.id,
            folder.epoch,
            key,
        )

    def add_places(self, folder: Folder, new: Sequence[NewPlace], claimed: Iterable[int] = ()) -> int:
        """Know stored messages, in one transaction; `claimed` places of earlier epochs become them.

        Returns how many documents were new. A failure recorded for one of the UIDs is forgotten. The index
        hears of a document that is new, had no place, or whose oldest place is another now: its date may be.
        """
        with self.transaction():
            ids, known = self._add_documents(new)
            oldest = self._oldest([*known, *self._displaced(folder, new)])
            self._db.executemany("DELETE FROM place WHERE id = ?", ((i,) for i in claimed))
            self._db.executemany(
                "INSERT INTO place (folder, epoch, uid, document, received, file, flags, keywords, content,"
                f" labels) VALUES ({folder.id}, {folder.epoch}, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (folder, epoch, uid) DO UPDATE SET document = excluded.document,"
                " received = excluded.received, file = excluded.file, flags = excluded.flags,"
                " keywords = excluded.keywords, gone = 0, content = excluded.content,"
                " labels = excluded.labels",
                [
                    (p.uid, ids[p.key], p.received, p.file, p.flags, p.keywords, p.content, p.labels)
                    for p in new
                ],
            )
            if oldest:
                now = self._oldest(list(oldest))
                self._touch(key for key, received in oldest.items() if now[key] not in (received, None))
            if self._rows("SELECT 1 FROM failed WHERE folder = ? LIMIT 1", folder.id):
                self._db.executemany(
                    "DELETE FROM failed WHERE folder = ? AND epoch = ? AND uid = ?",
                    ((folder.id, folder.epoch, place.uid) for place in new),
                )
        return len(ids) - len(known)

    def _add_documents(self, new: Sequence[NewPlace]) -> tuple[dict[bytes, int], list[bytes]]:
        """Key -> id of the documents of these places, and the keys of those that were there already.

        Numbered here, so that what refers to them need not ask for each.
        """
        sizes = {place.key: place.size for place in new}
        last = self._number("SELECT coalesce(max(id), 0) FROM document")
        ids = {key: number for number, key in enumerate(sizes, last + 1)}
        added = self._db.executemany(
            "INSERT INTO document (id, key, size) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
            [(ids[key], key, size) for key, size in sizes.items()],
        ).rowcount
        known: list[bytes] = []
        if added < len(ids):
            marks = ",".join("?" * len(ids))
            ids = dict(self._rows(f"SELECT key, id FROM document WHERE key IN ({marks})", *ids))
            known = [key for key, number in ids.items() if number <= last]
        self._db.execute(
            "INSERT INTO change (document) SELECT id FROM document WHERE id > ? ORDER BY id", (last,)
        )
        return ids, known

    def _displaced(self, folder: Folder, new: Sequence[NewPlace]) -> list[bytes]:
        """The documents that so far are at the UIDs of these places and will not be."""
        keys = {place.uid: place.key for place in new}
        rows = self._rows(
            "SELECT p.uid, d.key FROM place p JOIN document d ON d.id = p.document"
            f" WHERE p.folder = ? AND p.epoch = ? AND p.uid IN ({','.join('?' * len(keys))})",
            folder.id,
            folder.epoch,
            *keys,
        )
        return [key for uid, key in rows if key != keys[uid]]

    def _oldest(self, keys: Sequence[bytes]) -> dict[bytes, int | None]:
        """The documents among these, and the INTERNALDATE of their oldest place; None when they have none."""
        if not keys:
            return {}
        marks = ",".join("?" * len(keys))
        rows = self._rows(
            "SELECT d.key, min(p.received) FROM document d LEFT JOIN place p ON p.document = d.id"
            f" WHERE d.key IN ({marks}) GROUP BY d.id",
            *keys,
        )
        return dict(rows)

    def add_earlier(self, folder: Folder, found: Sequence[NewPlace]) -> None:
        """Know files whose UIDs mean nothing today: of an earlier epoch (0), or imported (-1).

        They get negative numbers in place of UIDs.
        """
        lowest = self.lowest_uid(folder.id)
        for epoch in (0, IMPORTED):
            numbered = [
                msgspec.structs.replace(place, uid=lowest - 1 - i)
                for i, place in enumerate(found)
                if (epoch == 0) == ("U=" in place.file)
            ]
            self.add_places(msgspec.structs.replace(folder, epoch=epoch), numbered)

    def lowest_uid(self, folder_id: int) -> int:
        """The lowest of the negative numbers that places without a UID have; 0 when there are none."""
        return self._number(
            "SELECT coalesce(min(uid), 0) FROM place WHERE folder = ? AND epoch <= 0", folder_id
        )

    def want_again(self, ids: Iterable[int]) -> None:
        """Let the next pull fetch these places' messages again, whose files are lost; the places stay.

        So it is known what is lacking until it is back, also when no server can be asked or has it.
        """
        with self.transaction():
            for place in ids:
                self._db.execute(
                    "INSERT OR REPLACE INTO failed"
                    " SELECT folder, epoch, uid, 'its file is lost', 0, 0 FROM place WHERE id = ?",
                    (place,),
                )
                self._db.execute(
                    "UPDATE folder SET uidnext = NULL WHERE id = (SELECT folder FROM place WHERE id = ?)",
                    (place,),
                )

    def set_flags(self, folder: Folder, flags: Iterable[tuple[int, str, str, str | None]]) -> None:
        """(UID, letters, keywords, labels) as the server has them now; the message is there, so not gone."""
        with self.transaction():
            self._db.executemany(
                "UPDATE place SET flags = ?, keywords = ?, labels = ?, gone = 0"
                " WHERE folder = ? AND epoch = ? AND uid = ?",
                ((*words, folder.id, folder.epoch, uid) for uid, *words in flags),
            )

    def set_gone(self, folder: Folder, uids: Iterable[int], now: int) -> None:
        with self.transaction():
            self._db.executemany(
                "UPDATE place SET gone = ? WHERE folder = ? AND epoch = ? AND uid = ? AND gone = 0",
                ((now, folder.id, folder.epoch, uid) for uid in uids),
            )

    # What the server calls contents

    def named(self, account: str, contents: Sequence[str]) -> dict[str, Content]:
        """The documents the server of `account` has these names for; not those that it had for several."""
        marks = ",".join("?" * len(contents))
        rows = self._rows(
            "SELECT p.content, d.key, d.size, min(p.file), group_concat(DISTINCT p.received)"
            " FROM place p JOIN folder f ON f.id = p.folder JOIN document d ON d.id = p.document"
            f" WHERE p.content IN ({marks}) AND f.account = ?"
            " GROUP BY p.content HAVING min(p.document) = max(p.document)",
            *contents,
            account,
        )
        return {
            content: Content(key, size, file, frozenset(map(int, dates.split(","))))
            for content, key, size, file, dates in rows
        }

    def has_unnamed(self, folder: Folder) -> bool:
        """Whether the server has not said yet what it calls some content of the present epoch."""
        where = "folder = ? AND epoch = ? AND gone = 0 AND content IS NULL"
        return bool(self._rows(f"SELECT 1 FROM place WHERE {where} LIMIT 1", folder.id, folder.epoch))

    def set_contents(self, folder: Folder, contents: Iterable[tuple[int, str]]) -> None:
        """Remember what the server calls the contents of these UIDs, where that is not known."""
        with self.transaction():
            self._db.executemany(
                "UPDATE place SET content = ? WHERE folder = ? AND epoch = ? AND uid = ? AND content IS NULL",
                ((content, folder.id, folder.epoch, uid) for uid, content in contents),
            )

    # Failures

    def failures(self, folder: Folder) -> dict[int, Failure]:
        found = self._select(Failure, "failed WHERE folder = ? AND epoch = ?", folder.id, folder.epoch)
        return {failure.uid: failure for failure in found}

    def all_failures(self) -> list[Failure]:
        return self._select(Failure, "failed ORDER BY folder, uid")

    def fail(self, folder: Folder, uid: int, reason: str, now: float) -> None:
        """Record that a UID could not be stored; it is due again after a growing wait."""
        before = self.failures(folder).get(uid)
        tries = (before.tries if before else 0) + 1
        due = now + RETRY_AFTER[min(tries, len(RETRY_AFTER)) - 1]
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?, ?, ?)",
                (folder.id, folder.epoch, uid, reason, tries, due),
            )

    def forget_failures(self, folder: Folder, uids: Iterable[int]) -> None:
        """Drop failures of UIDs that the server no longer has."""
        with self.transaction():
            self._db.executemany(
                "DELETE FROM failed WHERE folder = ? AND epoch = ? AND uid = ?",
                ((folder.id, folder.epoch, uid) for uid in uids),
            )

    # Documents

    def known_keys(self, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these documents are known."""
        marks = ",".join("?" * len(keys))
        return {key for (key,) in self._rows(f"SELECT key FROM document WHERE key IN ({marks})", *keys)}

    def has_place(self, folder_id: int, key: bytes) -> bool:
        """Whether a folder has, or had, a message of this key."""
        return bool(
            self._rows(
                "SELECT 1 FROM place WHERE document = (SELECT id FROM document WHERE key = ?) AND folder = ?"
                " LIMIT 1",
                key,
                folder_id,
            )
        )

    def spots(self, key: bytes) -> list[Spot]:
        """Every place of a document, those on the server first."""
        return self._select(Spot, "spot WHERE key = ? ORDER BY gone, id", key)

    def spots_of(self, keys: Sequence[bytes]) -> list[Spot]:
        """Every place of some hundred documents, those on the server first."""
        marks = ",".join("?" * len(keys))
        return self._select(Spot, f"spot WHERE key IN ({marks}) ORDER BY gone, id", *keys)

    def spots_of_folder(self, folder_id: int) -> Iterator[Spot]:
        """Every place of a folder, the oldest first; read as they are taken."""
        columns = ", ".join(Spot.__struct_fields__)
        with self._translate():
            rows = self._db.execute(
                f"SELECT {columns} FROM spot WHERE folder_id = ? ORDER BY received, id", (folder_id,)
            )
            for row in rows:
                yield Spot(*row)

    def place_count(self, folder_id: int) -> int:
        return self._number("SELECT count(*) FROM place WHERE folder = ?", folder_id)

    def received(self, key: bytes) -> int:
        """INTERNALDATE of the document's oldest place, Unix seconds; 0 when it has none."""
        return self._number("SELECT coalesce(min(received), 0) FROM spot WHERE key = ?", key)

    def keys(self, where: str, parameters: Sequence[object] = ()) -> set[bytes]:
        """Keys of documents with a place for which the SQL condition on `spot` holds."""
        rows = self._rows(f"SELECT DISTINCT key FROM spot WHERE {where}", *parameters)
        return {key for (key,) in rows}

    def documents(self, where: str, parameters: Sequence[object] = ()) -> set[int]:
        """Numbers of documents with a place for which the SQL condition on `place` holds.

        A number means the same document as long as there is this ledger.
        """
        # One long text takes a third of the time of as many rows.
        found = self._one(f"SELECT group_concat(document) FROM place WHERE {where}", *parameters)[0]
        return msgspec.json.decode(f"[{found or ''}]", type=set[int])

    def documents_by_folder(self) -> Iterator[tuple[str, str, set[int]]]:
        """Account and name of each folder, and the numbers of the documents that are, or were, in it."""
        rows = self._rows(
            "SELECT account, name, (SELECT group_concat(document) FROM place WHERE folder = f.id)"
            " FROM folder f ORDER BY account, name"
        )
        for account, name, found in rows:
            yield account, name, msgspec.json.decode(f"[{found or ''}]", type=set[int])

    def numbers(self, keys: Sequence[bytes]) -> list[int]:
        """The number of each document, 0 for one that is not known."""
        found: dict[bytes, int] = {}
        for start in range(0, len(keys), _MANY):
            some = keys[start : start + _MANY]
            marks = ",".join("?" * len(some))
            found.update(self._rows(f"SELECT key, id FROM document WHERE key IN ({marks})", *some))
        return [found.get(key, 0) for key in keys]

    def keys_between(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Keys of known documents, low <= key <= high, in order."""
        rows = self._rows(
            "SELECT key FROM document WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?", low, high, limit
        )
        return [key for (key,) in rows]

    def document_count(self) -> int:
        return self._number("SELECT count(*) FROM document")

    def total_size(self) -> int:
        """Bytes on the wire of all documents."""
        return self._number("SELECT coalesce(sum(size), 0) FROM document")

    def totals(self) -> dict[int, tuple[int, int, int]]:
        """Folder id -> (messages on the server, messages gone from it, bytes of all)."""
        rows = self._rows(
            "SELECT folder_id, sum(gone = 0), sum(gone > 0), sum(size) FROM spot GROUP BY folder_id"
        )
        return {folder: (live, gone, size) for folder, live, gone, size in rows}

    # Changes

    def last_change(self) -> int:
        return self._number("SELECT coalesce(max(number), 0) FROM change")

    def mark(self, change: int) -> int | None:
        """A number drawn at random when a change was made; None when there is none, 0 before the first.

        A ledger that was put back from a backup gives numbers of changes out again, but never these: who
        knows the mark of a change knows whether all up to it happened in this ledger, too.
        """
        rows = self._rows("SELECT mark FROM change WHERE number = ?", change)
        return int(rows[0][0]) if rows else None if change else 0

    def queue(
        self,
        after: int,
        upto: int,
        below: tuple[int, int],
        without: Sequence[tuple[tuple[int, int], tuple[int, int]]] = (),
    ) -> int:
        """Line up the documents with a change in (after, upto], newest first; how many there are.

        Their order is that of (INTERNALDATE of the oldest place, 0 without one; number), and only those less
        than `below` are taken, without those less than the first and not less than the second of a pair.
        `queued` reads the line, which is this connection's alone.
        """
        others = " AND NOT ((oldest, c.document) < (?, ?) AND (oldest, c.document) >= (?, ?))"
        with self.transaction():
            self._db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS queue"
                " (n INTEGER PRIMARY KEY, document INTEGER NOT NULL, received INTEGER NOT NULL)"
            )
            self._db.execute("DELETE FROM queue")
            return self._db.execute(
                "INSERT INTO queue (document, received)"
                " SELECT c.document, coalesce(min(p.received), 0) AS oldest"
                " FROM (SELECT DISTINCT document FROM change WHERE number > ? AND number <= ?) c"
                " LEFT JOIN place p ON p.document = c.document"
                f" GROUP BY c.document HAVING (oldest, c.document) < (?, ?){others * len(without)}"
                " ORDER BY oldest DESC, c.document DESC",
                (after, upto, *below, *(number for pair in without for end in pair for number in end)),
            ).rowcount

    def queued(self, first: int, count: int) -> Iterator[Queued]:
        """So many documents of the line, from the first-th on, which is numbered 0.

        They have the INTERNALDATE they were lined up by, even when an older copy has come since.
        """
        return self._queued("(SELECT * FROM queue WHERE n > ?1 AND n <= ?1 + ?2)", first, count)

    def changed(self, after: int, upto: int) -> list[Queued]:
        """The documents with a change in (after, upto]; for a few of them."""
        changed = (
            "SELECT c.document AS n, c.document, coalesce(min(p.received), 0) AS received"
            " FROM change c LEFT JOIN place p ON p.document = c.document"
            " WHERE c.number > ? AND c.number <= ? GROUP BY c.document"
        )
        return list(self._queued(f"({changed})", after, upto))

    def _queued(self, documents: str, *values: int) -> Iterator[Queued]:
        """The documents of a table (n, document, received), in the order of n."""
        with self._translate():
            yield from self._read_queued(documents, *values)

    def _read_queued(self, documents: str, *values: int) -> Iterator[Queued]:
        rows = self._db.execute(
            "SELECT q.n, d.id, q.received, d.key, d.size, f.path, p.file, p.flags"
            f" FROM {documents} q JOIN document d ON d.id = q.document"
            " LEFT JOIN place p ON p.document = q.document LEFT JOIN folder f ON f.id = p.folder"
            " ORDER BY q.n, p.gone, p.id",
            values,
        )
        for _, group in itertools.groupby(rows, key=lambda row: row[0]):
            places = list(group)
            _, document, received, key, size = places[0][:5]
            there = tuple(place[5:] for place in places if place[5] is not None)
            yield Queued(document, received, key, size, there)

    def touch(self, keys: Iterable[bytes]) -> None:
        """Ask the index to look at these documents again."""
        with self.transaction():
            self._touch(keys)

    def _touch(self, keys: Iterable[bytes]) -> None:
        self._db.executemany(
            "INSERT INTO change (document) SELECT id FROM document WHERE key = ?", ((key,) for key in keys)
        )

    def _select(self, kind: type[_Row], rest: str, *values: object) -> list[_Row]:
        rows = self._rows(f"SELECT {', '.join(kind.__struct_fields__)} FROM {rest}", *values)
        return [kind(*row) for row in rows]


def glob_folder(pattern: str, name: str) -> bool:
    """Whether a folder name fits a glob, letters of either case alike; `*` crosses hierarchy levels.

    `[` is a letter as any other: folders are called `[Gmail]/Sent`.
    """
    return _glob(pattern).match(name.casefold()) is not None


@functools.lru_cache(maxsize=4096)
def has_label(pattern: str, labels: str | None) -> bool:
    r"""Whether one of the labels, a line each, fits a glob or is below one that does, as of folders.

    `inbox` fits Gmail's own `\Inbox`, too.
    """
    names = labels.split("\n") if labels else ()
    return any(
        glob_folder(glob, each)
        for name in names
        for each in (name, name.removeprefix("\\"))
        for glob in (pattern, f"{pattern}/*")
    )


@functools.lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern.casefold().replace("[", "[[]")))
