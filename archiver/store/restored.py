"""What was put into which mailbox of which server, and what may have been: a part of the user database.

A message is recorded as sent before its first byte goes out, with the lowest UID that it can get; after
the server's answer its UID is. One that has none belongs to a run that was stopped in between: whoever
goes on looks for it on the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from archiver.store.user import User


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A message about to be sent, or sent without an answer; `received` is the INTERNALDATE it was given."""

    key: bytes
    received: int


class RestoreRecords(User):
    """The user database, for who restores."""

    def target(self, host: str, user: str, raw: str, uidvalidity: int) -> int:
        """The number of a mailbox. Under another UIDVALIDITY than before, where each message is must be
        found anew: they count as sent without an answer."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO target (host, user, raw, uidvalidity) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (host, user, raw, uidvalidity),
            )
            number, before = self._db.execute(
                "SELECT id, uidvalidity FROM target WHERE host = ? AND user = ? AND raw = ?",
                (host, user, raw),
            ).fetchone()
            if before != uidvalidity:
                self._db.execute("UPDATE target SET uidvalidity = ? WHERE id = ?", (uidvalidity, number))
                self._db.execute("UPDATE restored SET uid = NULL, above = 1 WHERE target = ?", (number,))
        return int(number)

    def known_target(self, host: str, user: str, raw: str, uidvalidity: int) -> int | None:
        """The same without noting anything; None where nothing was restored, or it counts UIDs anew."""
        rows = self._rows(
            "SELECT id FROM target WHERE host = ? AND user = ? AND raw = ? AND uidvalidity = ?",
            *(host, user, raw, uidvalidity),
        )
        return int(rows[0][0]) if rows else None

    def restored(self, target: int) -> dict[bytes, int]:
        """The UID of each message that was put there."""
        return dict(self._rows("SELECT key, uid FROM restored WHERE target = ? AND uid IS NOT NULL", target))

    def unanswered(self, target: int) -> tuple[list[Sent], int]:
        """What was sent without an answer, and the lowest UID that any of it can have."""
        rows = self._rows(
            "SELECT key, received, above FROM restored WHERE target = ? AND uid IS NULL", target
        )
        sent = [Sent(key, received) for key, received, _ in rows]
        return sent, min((above for _, _, above in rows), default=1)

    def about_to_send(self, target: int, messages: Iterable[Sent], above: int, now: int) -> None:
        """Record, durably, that these are about to be sent, while the mailbox's next UID is `above`."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO restored (target, key, uid, above, received, updated)"
                " VALUES (?, ?, NULL, ?, ?, ?)",
                ((target, message.key, above, message.received, now) for message in messages),
            )

    def found(self, target: int, uids: Mapping[bytes, int], absent: Iterable[bytes], now: int) -> None:
        """Record the UIDs that messages have got; the `absent` are not there and may be sent again."""
        with self._transaction():
            self._db.executemany(
                "UPDATE restored SET uid = ?, updated = ? WHERE target = ? AND key = ?",
                ((uid, now, target, key) for key, uid in uids.items()),
            )
            self._db.executemany(
                "DELETE FROM restored WHERE target = ? AND key = ?", ((target, key) for key in absent)
            )
