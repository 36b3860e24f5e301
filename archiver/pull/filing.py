"""From arrived bytes to known messages: files in groups, each durable before the ledger hears of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from archiver.imap import Fetched
from archiver.message import parse
from archiver.pull.plan import BATCH_BYTES, BATCH_MESSAGES, keywords
from archiver.store.layout import mail_root
from archiver.store.ledger import Ledger
from archiver.store.maildir import Group, Name, disk_errors, key_of, letters, sweep, sync_pool, to_file
from archiver.store.reader import Reader
from archiver.store.records import Folder, NewPlace

Fault = Callable[[str], None]


class Filing:
    """Files the messages of one folder. While one group is being made durable the next one is gathered.

    Order, which is promise 1: files written and fsynced, moved to cur/, cur/ fsynced, then one ledger
    transaction. `fault` is called with a name between every two steps; tests die there.
    """

    def __init__(self, ledger: Ledger, folder: Folder, now: float, fault: Fault) -> None:
        self._ledger = ledger
        self._folder = folder
        self._now = now
        self._fault = fault
        self._path = os.path.join(mail_root(ledger.root), folder.path)
        self._reader = Reader(ledger)
        self._syncs = sync_pool()
        self._mover = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._claims = folder.epoch > 1 or bool(ledger.earlier_count(folder))
        self._start_group()
        self._committing: tuple[Future[None], list[NewPlace], list[int]] | None = None
        self._pending: set[bytes] = set()
        self.stored = 0
        self.bytes = 0
        self.linked = 0
        self.claimed = 0
        self.documents = 0

    def _start_group(self) -> None:
        self._group = Group(self._path)
        self._places: list[NewPlace] = []
        self._claimed: list[int] = []
        self._size = 0

    def add(self, message: Fetched) -> None:
        """Take a message; every BATCH_MESSAGES or BATCH_BYTES the group is handed to the disk."""
        key = key_of(message.wire)
        if key in self._pending:
            # Its twin is not in cur/ yet; wait for it, so that a link can be made.
            self.flush()
        received = self._received(message)
        data, wire_size = to_file(message.wire)
        name = Name(received, key.hex()[:32], len(data), wire_size, self._folder.uidvalidity, message.uid)
        flags = letters(message.flags)
        file_name = f"{name}:2,{flags}"
        with disk_errors("store a message"):
            if not (self._claim(key, data, file_name) or self._link(key, data, file_name)):
                self._group.write(file_name, data, received)
        self._fault("written")
        self._pending.add(key)
        self._places.append(
            NewPlace(message.uid, key, len(message.wire), received, str(name), flags, keywords(message.flags))
        )
        self._size += len(data)
        if len(self._places) >= BATCH_MESSAGES or self._size >= BATCH_BYTES:
            self._commit()

    def _received(self, message: Fetched) -> int:
        """INTERNALDATE, or where the server has none worth the name the Date header, or now."""
        if message.received is not None:
            return message.received
        date = parse(message.wire).date
        return date if date is not None else int(self._now)

    def _claim(self, key: bytes, data: bytes, file_name: str) -> bool:
        """Rename a file of an earlier epoch with this content to the new V and U."""
        if not self._claims:
            return False
        for place in self._ledger.claimable(self._folder, key):
            path = self._reader.find(self._path, place.file, place.flags)
            if path and _holds(path, data):
                os.rename(path, os.path.join(self._path, "cur", file_name))
                self._fault("claimed")
                self._claimed.append(place.id)
                self.claimed += 1
                return True
        return False

    def _link(self, key: bytes, data: bytes, file_name: str) -> bool:
        """Let the new name be another name of a file with this content."""
        for path in self._reader.paths(key):
            if _holds(path, data) and self._group.link(path, file_name):
                self._fault("linked")
                self.linked += 1
                return True
        return False

    def _commit(self) -> None:
        self._settle()
        group = self._group
        self._committing = (
            self._mover.submit(self._make_durable, group),
            self._places,
            self._claimed,
        )
        self._start_group()

    def _make_durable(self, group: Group) -> None:
        with disk_errors("store messages"):
            group.commit(self._syncs, self._fault)

    def _settle(self) -> None:
        """Wait for the group on its way to the disk, and let the ledger know its messages."""
        if self._committing is None:
            return
        future, places, claimed = self._committing
        self._committing = None
        future.result()
        self._fault("durable")
        self.documents += self._ledger.add_places(self._folder, places, claimed)
        self._fault("known")
        self.stored += len(places)
        self.bytes += sum(place.size for place in places)
        self._pending.difference_update(place.key for place in places)

    def flush(self) -> None:
        """Everything taken so far is durable and known when this returns."""
        if self._places:
            self._commit()
        self._settle()

    def close(self) -> None:
        """Stop; what was not flushed is dropped, and fetched again by the next run."""
        self._mover.shutdown(wait=True)
        self._syncs.shutdown(wait=True)
        self._group.discard()


def _holds(path: str, data: bytes) -> bool:
    """Whether a file still has this content: a damaged one must not become a message's only copy."""
    try:
        if os.path.getsize(path) != len(data):
            return False
        with open(path, "rb") as file:
            return file.read() == data
    except FileNotFoundError:
        return False


def clean(ledger: Ledger, folder: Folder) -> None:
    """Remove what a killed run left unfinished in the folder's tmp/."""
    with disk_errors("tidy the archive"):
        sweep(os.path.join(mail_root(ledger.root), folder.path))
