"""From what a server sent to what the archive files: names, flags, dates."""

from __future__ import annotations

from collections.abc import Iterator

from archiver.imap import Fetched, Spooled
from archiver.pull.listing import Named
from archiver.pull.plan import keywords
from archiver.store import filing, spool
from archiver.store.durable import Syncer
from archiver.store.filing import Arrived, Fault
from archiver.store.ledger import Ledger
from archiver.store.maildir import Name, key_of, letters, parse_name, to_file
from archiver.store.records import Content, Folder, NewPlace


class Filing(filing.Filing):
    """Files the messages of one folder as its server has them."""

    def __init__(self, ledger: Ledger, folder: Folder, syncer: Syncer, now: float, fault: Fault) -> None:
        super().__init__(ledger, folder, syncer, fault)
        self._now = now

    def add(self, message: Fetched, named: Named | None = None) -> None:
        """Take a message that was fetched."""
        wire = message.wire
        data: bytes | str
        if isinstance(wire, bytes):
            key = key_of(wire)
            data, wire_size = to_file(wire)
            size = len(data)
        else:
            key = wire.key
            data, size, wire_size = spool.to_file(wire)
        received = self._received(message)
        name = Name(received, key.hex()[:32], size, wire_size, self._folder.uidvalidity, message.uid)
        self._put(name, key, message.size, message.flags, named, data)

    def know(self, uid: int, flags: frozenset[str], named: Named, content: Content) -> None:
        """Take a message that is not fetched: the server calls its content as one that is kept here.

        Only with INTERNALDATE. It counts when a file of the archive proves it, else it is `unproven`.
        """
        assert named.received is not None
        parsed = parse_name(content.file)
        assert parsed is not None
        size = parsed[0].size
        wire_size = content.size if content.size != size else None
        digest = content.key.hex()[:32]
        name = Name(named.received, digest, size, wire_size, self._folder.uidvalidity, uid)
        self._put(name, content.key, content.size, flags, named, None)

    def _put(
        self,
        name: Name,
        key: bytes,
        size: int,
        flags: frozenset[str],
        named: Named | None,
        data: bytes | str | None,
    ) -> None:
        assert name.uid is not None
        base, marks = str(name), letters(flags)
        content, labels = (named.content, named.labels) if named else (None, None)
        words = keywords(flags)
        place = NewPlace(name.uid, key, size, name.received, base, marks, words, content, labels)
        self.put(Arrived(place, f"{base}:2,{marks}", data))

    def _received(self, message: Fetched) -> int:
        """INTERNALDATE, or where the server has none worth the name the Date header, or now."""
        if message.received is not None:
            return message.received
        from archiver.message import parse  # hardly ever needed, and slow to import

        date = parse(_start(message.wire)).date
        return date if date is not None else int(self._now)

    def receive(self, pieces: Iterator[bytes]) -> Spooled:
        """Take a message too large to hold, as it comes."""
        return spool.spool(self._path, pieces)


def _start(wire: bytes | Spooled) -> bytes:
    if isinstance(wire, bytes):
        return wire
    with open(wire.path, "rb") as file:
        return file.read(1 << 16)
