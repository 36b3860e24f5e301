"""From bytes to known messages: files in groups, each durable before the ledger hears of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from archiver.store import spool
from archiver.store.durable import Syncer
from archiver.store.layout import mail_root, make_directory
from archiver.store.ledger import Ledger
from archiver.store.maildir import Group, disk_errors
from archiver.store.reader import Reader, proves
from archiver.store.records import Folder, NewPlace, Place

BATCH_MESSAGES = 500
BATCH_BYTES = 32 << 20

Fault = Callable[[str], None]


class Arrived(msgspec.Struct, frozen=True):
    """A message on its way into a group: its bytes, or the file in tmp/ that has them, and the name it gets.

    Without `data` it was not fetched, and some file of the archive should hold it.
    """

    place: NewPlace
    file_name: str
    data: bytes | str | None


class _Group(msgspec.Struct, frozen=True):
    """A group on its way to the disk; `bytes` were fetched for it, `spared` of its messages were not."""

    future: Future[None]
    places: list[NewPlace]
    claimed: list[int]
    bytes: int
    spared: int


class Filing:
    """Files the messages of one folder. While one group is being made durable the next one is gathered.

    Order, which is promise 1: files written and fsynced, moved to cur/, cur/ fsynced, then one ledger
    transaction. `fault` is called with a name between every two steps; tests die there.
    """

    def __init__(self, ledger: Ledger, folder: Folder, syncer: Syncer, fault: Fault) -> None:
        self._ledger = ledger
        self._folder = folder
        self._fault = fault
        self._path = os.path.join(mail_root(ledger.root), folder.path)
        with disk_errors("create a folder of the archive"):
            # Programs that copy trees leave empty directories behind.
            for sub in ("cur", "tmp"):
                make_directory(os.path.join(self._path, sub))
        self._reader = Reader(ledger)
        self._syncer = syncer
        self._mover = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._claims = ledger.earlier_count(folder) > 0
        self._gathered: list[Arrived] = []
        self._size = 0
        self._pending: set[bytes] = set()
        self._committing: _Group | None = None
        # UIDs of messages taken as known of which no file is left that proves it.
        self.unproven: list[int] = []
        self.stored = 0
        self.bytes = 0
        self.spared = 0
        self.linked = 0
        self.claimed = 0
        self.documents = 0

    def put(self, arrived: Arrived) -> None:
        """Take a message; every BATCH_MESSAGES or BATCH_BYTES the group is handed to the disk."""
        key = arrived.place.key
        if key in self._pending:
            # Its twin is not in cur/ yet; wait for it, so that a link can be made.
            self.flush()
        self._gathered.append(arrived)
        self._size += len(arrived.data) if isinstance(arrived.data, bytes) else 0
        self._pending.add(key)
        if len(self._gathered) >= BATCH_MESSAGES or self._size >= BATCH_BYTES:
            self._commit()

    def _commit(self) -> None:
        """Hand what was gathered to the disk. The group before it has become durable meanwhile, and known."""
        gathered, self._gathered, self._size = self._gathered, [], 0
        known = self._ledger.known_keys([arrived.place.key for arrived in gathered])
        group = Group(self._path)
        claimed: list[int] = []
        try:
            with disk_errors("store a message"):
                stored = [a for a in gathered if self._store(a, a.place.key in known, group, claimed)]
                # Here and not on the other thread: two that take turns at every file are slower than one.
                group.write(self._syncer, self._fault)
        finally:
            self._settle()
        fetched = [arrived.place.size for arrived in stored if arrived.data is not None]
        self._committing = _Group(
            self._mover.submit(self._make_durable, group),
            [arrived.place for arrived in stored],
            claimed,
            sum(fetched),
            len(stored) - len(fetched),
        )

    def _store(self, arrived: Arrived, known: bool, group: Group, claimed: list[int]) -> bool:
        """Let the group have a file of this message; False when it was not fetched and there is none."""
        if known and (self._claim(arrived, claimed) or self._link(arrived, group)):
            if isinstance(arrived.data, str):
                os.unlink(arrived.data)
        elif arrived.data is not None:
            group.add(arrived.file_name, arrived.data, arrived.place.received)
        else:
            self.unproven.append(arrived.place.uid)
            return False
        return True

    def _claim(self, arrived: Arrived, claimed: list[int]) -> bool:
        """Rename a file of an earlier epoch with this content to the new V and U."""
        if not self._claims:
            return False
        places = self._ledger.claimable(self._folder, arrived.place.key)
        # Where UIDs were counted anew under one UIDVALIDITY, an earlier place may have the name already.
        for place in sorted(places, key=lambda place: place.file != arrived.place.file):
            good = self._take(place, arrived)
            if good:
                self._fault("claimed")
                self.claimed += 1
            if good or (place.file == arrived.place.file and arrived.data is not None):
                claimed.append(place.id)
                return good
        return False

    def _take(self, place: Place, arrived: Arrived) -> bool:
        """Rename the file of a place if it has this content, once more if others rename it meanwhile."""

        def find() -> str | None:
            path = self._reader.find(self._path, place.file, place.flags)
            return path if path is not None and _holds(path, arrived) else None

        return move(find, os.path.join(self._path, "cur", arrived.file_name))

    def _link(self, arrived: Arrived, group: Group) -> bool:
        """Let the new name be another name of a file with this content, or of a copy where links fail."""
        for path in self._reader.paths(arrived.place.key):
            if not _holds(path, arrived):
                continue
            if group.link(path, arrived.file_name):
                self._fault("linked")
                self.linked += 1
                return True
            if arrived.data is None and (copied := spool.copy(path, self._path)):
                group.add(arrived.file_name, copied, arrived.place.received)
                return True
        return False

    def _make_durable(self, group: Group) -> None:
        with disk_errors("store messages"):
            group.settle(self._fault)

    def _settle(self) -> None:
        """Wait for the group on its way to the disk, and let the ledger know its messages."""
        if self._committing is None:
            return
        group, self._committing = self._committing, None
        group.future.result()
        self._fault("durable")
        self.documents += self._ledger.add_places(self._folder, group.places, group.claimed)
        self._fault("known")
        self.stored += len(group.places)
        self.bytes += group.bytes
        self.spared += group.spared
        self._pending.difference_update(place.key for place in group.places)

    def awaits(self, key: bytes) -> bool:
        """Whether a message of this key was taken and is not known yet."""
        return key in self._pending

    def flush(self) -> None:
        """Everything taken so far is durable and known when this returns."""
        if self._gathered:
            self._commit()
        self._settle()

    def close(self) -> None:
        """Stop; what was not flushed is dropped, and fetched again by the next run."""
        self._mover.shutdown(wait=True)
        for arrived in self._gathered:
            if isinstance(arrived.data, str):
                os.unlink(arrived.data)


def _holds(path: str, arrived: Arrived) -> bool:
    """Whether a file still has this content: a damaged one must not become a message's only copy."""
    data = arrived.data
    if data is None:
        return proves(path, arrived.place.key)
    try:
        if isinstance(data, str):
            return spool.same_content(path, data)
        if os.path.getsize(path) != len(data):
            return False
        with open(path, "rb") as file:
            return file.read() == data
    except FileNotFoundError:
        return False


def move(find: Callable[[], str | None], target: str) -> bool:
    """Rename what `find` finds, once more if others renamed it meanwhile; False when it is gone."""
    for _ in range(2):
        source = find()
        if source is None or source == target:
            return source is not None
        try:
            os.rename(source, target)
        except FileNotFoundError:
            continue
        return True
    return False
