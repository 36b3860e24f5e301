"""What was deleted from which server since it is archived: a part of the user database.

A message is recorded before it is deleted, and again when it was seen to be gone; what has only begun
belongs to a run that was stopped in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from archiver.store.records import Folder
from archiver.store.user import User

_MAILBOX = "host = ? AND user = ? AND raw = ? AND uidvalidity = ?"


class Going(Protocol):
    """A message about to be deleted; `size` in its file, `received` as INTERNALDATE in Unix seconds."""

    @property
    def uid(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def received(self) -> int: ...


class Pruned(msgspec.Struct, frozen=True):
    """A message that was deleted from a server; `done` in Unix seconds, None when it was only begun."""

    account: str
    folder: str
    uidvalidity: int
    uid: int
    key: bytes
    received: int
    begun: int
    done: int | None


class PruneRecords(User):
    """The user database, for who prunes."""

    def about_to_delete(
        self, host: str, user: str, folder: Folder, messages: Iterable[Going], now: int
    ) -> None:
        """Record, durably, that these messages are about to be deleted."""
        place = (folder.account, host, user, folder.name, folder.raw, folder.uidvalidity)
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO pruned (account, host, user, folder, raw, uidvalidity, uid, key,"
                " received, begun, done) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                [(*place, message.uid, message.key, message.received, now) for message in messages],
            )

    def begun(self, host: str, user: str, folder: Folder) -> list[int]:
        """UIDs of a mailbox that were about to be deleted when a run was stopped."""
        rows = self._rows(
            f"SELECT uid FROM pruned WHERE done IS NULL AND {_MAILBOX} ORDER BY uid",
            *(host, user, folder.raw, folder.uidvalidity),
        )
        return [uid for (uid,) in rows]

    def done(
        self, host: str, user: str, folder: Folder, gone: Iterable[int], left: Iterable[int], now: int
    ) -> None:
        """Record that messages are gone; those `left` are there, and were not deleted after all."""
        place = (host, user, folder.raw, folder.uidvalidity)
        with self._transaction():
            self._db.executemany(
                f"UPDATE pruned SET done = ? WHERE {_MAILBOX} AND uid = ?",
                ((now, *place, uid) for uid in gone),
            )
            self._db.executemany(
                f"DELETE FROM pruned WHERE done IS NULL AND {_MAILBOX} AND uid = ?",
                ((*place, uid) for uid in left),
            )

    def pruned(self, key: bytes | None = None) -> list[Pruned]:
        """What was deleted, or begun to be, oldest first; with `key` only places of that message."""
        columns = ", ".join(Pruned.__struct_fields__)
        rows = self._rows(
            f"SELECT {columns} FROM pruned WHERE ?1 IS NULL OR key = ?1 ORDER BY begun, rowid", key
        )
        return [Pruned(*row) for row in rows]
