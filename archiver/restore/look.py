"""Look on the server for messages that were sent without an answer: by their UIDs' order, else by content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence

from archiver.errors import NotFoundError, StoreError
from archiver.imap import Connection, Fetched, Spooled
from archiver.restore import plan
from archiver.store.maildir import key_of
from archiver.store.restored import RestoreRecords, Sent


def look_for(
    connection: Connection,
    records: RestoreRecords,
    target: int,
    confirmed: Sequence[Sent],
    original: Callable[[bytes], bytes],
    now: int,
) -> int:
    """Give each message sent without a UID the one it has in the selected mailbox, or forget it was sent.

    `confirmed` are those of them that the server took, in order. `original` gives the bytes of a key. The
    number of those that are there.
    """
    sent, above = records.unanswered(target)
    if not sent:
        return 0
    connection.refresh()
    taken = records.restored(target).values()
    listed = [message for message in connection.dated(above) if message.uid not in set(taken)]
    uids = plan.in_order(confirmed, listed) if len(confirmed) == len(sent) else None
    if uids is None:
        likely, unlikely = plan.candidates(sent, listed, taken)
        uids = plan.match(
            sent, _contents(connection, likely), lambda message: _likeness(original, message.key)
        )
        if left := [message for message in sent if message.key not in uids]:
            # With another date, only the very bytes tell that it is the message that was sent.
            uids |= plan.match(left, _contents(connection, unlikely), lambda message: b"")
    records.found(target, uids, [message.key for message in sent if message.key not in uids], now)
    return len(uids)


def _contents(connection: Connection, uids: Sequence[int]) -> Iterator[tuple[int, bytes, bytes]]:
    """UID, key and likeness of each message; a large one has no likeness."""
    if not uids:
        return
    for message in connection.fetch(uids, _hashed):
        if not isinstance(message, Fetched):
            continue  # what is not handed out cannot be known again
        wire = message.wire
        if isinstance(wire, Spooled):
            os.unlink(wire.path)
            yield message.uid, wire.key, b""
        else:
            yield message.uid, key_of(wire), plan.likeness(wire)


def _hashed(pieces: Iterator[bytes]) -> Spooled:
    """The key of a large message; nothing of it is kept but an empty file, for who expects one."""
    digest = hashlib.sha256()
    size = 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    descriptor, path = tempfile.mkstemp(prefix="archiver-")
    os.close(descriptor)
    return Spooled(path, size, digest.digest(), False)


def _likeness(original: Callable[[bytes], bytes], key: bytes) -> bytes:
    try:
        return plan.likeness(original(key))
    except (StoreError, NotFoundError):
        return b""
