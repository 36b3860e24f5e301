"""From a message to the texts of its attachments: known already, or read now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec

from archiver.attachments.cache import Cache, Entry, digest_of
from archiver.attachments.kinds import kind_of, kind_said
from archiver.attachments.process import Outcome, Process, Task, Work, read_document
from archiver.message import Attachment, contents

# Of one message: characters of all texts, seconds until no further attachment is begun, attachments.
_CHARACTERS = 4_000_000
_SECONDS = 120.0
_MOST = 200
# Raised when `formats` reads a document in another way.
_FORMATS = 1
_BUSY = "there are too many that take long"


def reader_version() -> str:
    """Of all that reads documents here: another one may read what this one could not."""
    from importlib.metadata import version

    return f"{_FORMATS} kreuzberg-{version('kreuzberg')}"


class Reading(msgspec.Struct, frozen=True):
    """What may be spent on an attachment: bytes it has, seconds, bytes of memory, characters of its text.

    `known`: only what was read before counts, nothing is read now.
    """

    size: int
    known: bool = False
    seconds: float = 20.0
    memory: int = 512 << 20
    characters: int = 1_000_000
    work: Work = read_document


class Unread(msgspec.Struct, frozen=True):
    """An attachment whose text is not in the index, and why; `part` is its number in the message `key`."""

    key: bytes
    part: str
    reason: str


class Tally(msgspec.Struct, frozen=True):
    """What became of attachments: how many were read, how many had been read before, which could not be.

    `lost`: what was known was damaged, and thrown away. `broken`: why no attachment can be read here.
    """

    read: int = 0
    known: int = 0
    unread: tuple[Unread, ...] = ()
    lost: bool = False
    broken: str = ""

    def plus(self, other: Tally) -> Tally:
        return Tally(
            self.read + other.read,
            self.known + other.known,
            self.unread + other.unread,
            self.lost or other.lost,
            self.broken or other.broken,
        )


class Texts:
    """Reads attachments of the archive at `root`; opens and starts only what is needed. Close it."""

    def __init__(self, root: str, reading: Reading) -> None:
        self._root = root
        self._reading = reading
        self._process = Process(reading.work)
        self._tally = Tally()

    @cached_property
    def _cache(self) -> Cache:
        return Cache(self._root)

    @cached_property
    def _version(self) -> str:
        return "" if self._reading.known else reader_version()

    def of(self, key: bytes, raw: bytes, attachments: Sequence[Attachment]) -> tuple[str, ...]:
        """The texts of a message's attachments, in their order, where there are any."""
        room, end = _CHARACTERS, time.monotonic() + _SECONDS
        texts = []
        for part, kind, data in self._documents(raw, attachments):
            entry = self._entry(kind, data, late=time.monotonic() > end)
            if entry.reason:
                self._count(Tally(unread=(Unread(key, part, entry.reason),)))
            if text := entry.text[:room].strip():
                room -= len(text)
                texts.append(text)
        return tuple(texts)

    def named(self, raw: bytes, attachments: Sequence[Attachment]) -> Iterator[tuple[str, str]]:
        """Name and text of each attachment that was read before."""
        names = {each.part: each.filename for each in attachments}
        for part, kind, data in self._documents(raw, attachments):
            if known := self._cache.get(digest_of(data), kind):
                yield names[part], known.text

    def _documents(self, raw: bytes, attachments: Sequence[Attachment]) -> Iterator[tuple[str, str, bytes]]:
        """Part, kind and bytes of each that can be read."""
        said = {
            each.part: kind
            for each in attachments
            if 0 < each.size <= self._reading.size and (kind := kind_said(each.content_type, each.filename))
        }
        wanted = list(said)[:_MOST]
        for part, data in contents(raw, wanted) if wanted else ():
            if kind := kind_of(said[part], data):
                yield part, kind, data

    def _entry(self, kind: str, data: bytes, *, late: bool) -> Entry:
        digest = digest_of(data)
        if known := self._cache.get(digest, kind, self._version):
            self._count(Tally(known=1))
            return known
        if self._reading.known or self._tally.broken:
            return Entry("")
        if late:
            return Entry("", _BUSY)
        outcome = self._read(kind, data)
        if not outcome.usable:
            self._count(Tally(broken=outcome.reason))
            return Entry("")
        entry = Entry(outcome.text, outcome.reason)
        self._cache.put(digest, kind, self._version, entry)
        self._count(Tally(read=1))
        return entry

    def _read(self, kind: str, data: bytes) -> Outcome:
        limits = self._reading
        return self._process.read(Task(kind, data, limits.seconds, limits.memory, limits.characters))

    def _count(self, tally: Tally) -> None:
        self._tally = self._tally.plus(tally)

    def taken(self) -> Tally:
        """What was done since this was asked last."""
        lost = "_cache" in self.__dict__ and self._cache.thrown_away
        tally, self._tally = self._tally.plus(Tally(lost=lost)), Tally(broken=self._tally.broken)
        return tally

    def close(self) -> None:
        self._process.close()
        if "_cache" in self.__dict__:
            self._cache.close()

    def __enter__(self) -> Texts:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
