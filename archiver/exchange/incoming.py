"""The messages of a source, one after the other: read from its files, each as it was on the wire."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, TypeVar

import msgspec

from archiver.errors import SourceError
from archiver.exchange import mbox, names
from archiver.exchange.dates import received
from archiver.exchange.sources import BROKEN, Item
from archiver.store.layout import FolderFile
from archiver.store.maildir import to_wire

_T = TypeVar("_T")

# No server takes a larger message; what is larger is no mail.
LARGEST = 1 << 28
_PIECE = 1 << 18
_MAX_FOLDER_FILE = 1 << 16

Form = Literal["wire", "lf", "native"]
"""How lines end: as on the wire; with LF for CRLF; or, where there is no CRLF, with LF."""


class Large(msgspec.Struct, frozen=True):
    """A message too large to hold: pieces, to be taken before the next message, and how its lines end."""

    pieces: Iterator[bytes]
    form: Form


class Incoming(msgspec.Struct, frozen=True):
    """A message: in which folder of the source (empty: the source itself) and where it was, for people.

    `digest`: the start of its key as the name of its file has it, empty where it has none.
    """

    folder: str
    where: str
    flags: str
    received: int
    wire: bytes | Large
    digest: str = ""


class Trouble(msgspec.Struct, frozen=True):
    """What could not be taken, and why."""

    where: str
    why: str


class Passed(msgspec.Struct, frozen=True):
    """A file that holds no mail."""

    where: str


Found = Incoming | Trouble | Passed


class Sorter:
    """Makes messages of files; remembers what the folders of the source say they are called."""

    def __init__(self, dialect: mbox.Dialect | None, now: float) -> None:
        """`dialect` of every mbox; None to find it out."""
        self._dialect = dialect
        self._now = now
        self._names: dict[tuple[str, ...], str] = {}

    def messages(self, item: Item) -> Iterator[Found]:
        """What a file of the source holds, in order."""
        try:
            placed = names.place(item.path) if item.path else names.Placed("mbox", ())
        except ValueError as exc:
            yield Trouble(item.path, str(exc))
            return
        if placed is None:
            return
        if item.trouble:
            yield Trouble(item.path, item.trouble)
            return
        read = {"folder": self._learn, "mbox": self._letters}.get(placed.kind, self._message)
        try:
            yield from read(placed, item)
        except SourceError as exc:
            yield Trouble(item.path, exc.message)

    def _learn(self, placed: names.Placed, item: Item) -> Iterator[Found]:
        with _reading(item) as file:
            data = file.read(_MAX_FOLDER_FILE)
        try:
            told = msgspec.json.decode(data, type=FolderFile)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return iter(())  # the directories' names tell
        self._names[placed.directories] = names.told_name(placed.directories, told)
        return iter(())

    def _folder(self, directories: tuple[str, ...]) -> str:
        name = self._names.get(directories)
        return names.folder_name(directories) if name is None else name

    def _message(self, placed: names.Placed, item: Item) -> Iterator[Found]:
        """A file that is one message."""
        folder = self._folder(placed.directories)
        with _reading(item) as file:
            data = file.read(mbox.LARGE + 1)
            if not data:
                yield Trouble(item.path, "it is empty")
                return
            moment = placed.received
            if moment is None:
                moment = received(data, b"", item.changed, self._now)
            wire: bytes | Large
            if len(data) > mbox.LARGE:
                form: Form = "wire" if placed.kind == "eml" else "native"
                if placed.name is not None:
                    form = "wire" if placed.name.wire is None else "lf"
                wire = Large(_bounded(itertools.chain([data], file.pieces())), form)
            elif placed.name is not None:
                wire = to_wire(data, placed.name)
            else:
                wire = data if placed.kind == "eml" else mbox.native(data)
            yield Incoming(folder, item.path, placed.flags, moment, wire, placed.digest)

    def _letters(self, placed: names.Placed, item: Item) -> Iterator[Found]:
        """The messages of an mbox; where the file is none it is passed over."""
        with _reading(item) as file:
            if file.peek(5) != b"From ":
                yield Passed(item.path)
                return
            folder = self._folder(placed.directories)
            dialect = self._dialect or _counted(item)
            for number, letter in enumerate(mbox.letters(file, dialect), 1):
                where = f"{item.path}, message {number}" if item.path else f"message {number}"
                yield from self._letter(folder, where, letter, item)

    def _letter(self, folder: str, where: str, letter: mbox.Letter, item: Item) -> Iterator[Found]:
        body = letter.body
        if isinstance(body, bytes):
            moment = received(body, letter.envelope, item.changed, self._now)
            yield Incoming(folder, where, "", moment, mbox.native(body))
            return
        start = next(body, b"")
        moment = received(start, letter.envelope, item.changed, self._now)
        yield Incoming(folder, where, "", moment, Large(_bounded(itertools.chain([start], body)), "native"))
        for _ in body:
            pass  # what nobody wanted, up to the next message


def _counted(item: Item) -> mbox.Dialect | None:
    """What the lengths in an mbox say it is, where it can be read twice."""
    if not item.again:
        return None
    with _reading(item) as file:
        return mbox.counted(file)


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > LARGEST:
            raise SourceError(f"it is larger than {LARGEST >> 20} MiB, which no server takes")
        yield piece


class _Reading:
    """A file of the source, read to as many bytes as are asked for; SourceError when it cannot be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = b""

    def peek(self, count: int) -> bytes:
        self._start = self.read(count)
        return self._start

    def read(self, count: int) -> bytes:
        pieces, self._start = [self._start], b""
        count -= len(pieces[0])
        while count > 0 and (piece := _translated(self._file.read, min(count, _PIECE))):
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE):
            yield piece

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def _reading(item: Item) -> _Reading:
    return _Reading(_translated(item.open))


def _translated(do: Callable[..., _T], *arguments: int) -> _T:
    try:
        return do(*arguments)
    except OSError as exc:
        raise SourceError(f"it cannot be read: {exc.strerror or 'it is damaged'}") from exc
    except BROKEN as exc:
        raise SourceError("it cannot be read: the archive is damaged") from exc
