"""From a key to the bytes: whichever copy of a document still holds what its key says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

import msgspec

from archiver.errors import DamagedError, NotFoundError, StoreError
from archiver.store.layout import mail_root
from archiver.store.ledger import Ledger
from archiver.store.maildir import Finder, Name, disk_errors, key_of, parse_name, read_file, to_wire
from archiver.store.records import Spot

_HINT = "archiver verify --repair fetches it again if the server still has it"
_PIECE = 1 << 18


class Reader:
    """Reads stored messages through one ledger; remembers directory listings, so keep it for many reads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._finder = Finder()
        self._mail = mail_root(ledger.root)

    def path(self, spot: Spot) -> str | None:
        """Where the file of a place is now, under whatever flags; None when it is gone from disk."""
        return self.find(os.path.join(self._mail, spot.path), spot.file, spot.flags)

    def find(self, folder: str, base: str, flags: str) -> str | None:
        return self._finder.path(folder, base, flags)

    def paths(self, key: bytes) -> list[str]:
        return [path for spot in self._ledger.spots(key) if (path := self.path(spot))]

    def wire(self, key: bytes) -> bytes:
        """The message as the server sent it, proven by its key.

        NotFoundError when no file is left, DamagedError when none holds those bytes any more.
        """
        return read_wire(key, self.paths(key))


def read_start(key: bytes, paths: Sequence[str], limit: int) -> tuple[bytes, int]:
    """The first `limit` bytes of a message, as in its file, and its size on the wire; proven by its key.

    A message of any size is read in small pieces; a smaller one whole, as `read_wire`.
    """
    for path in paths:
        name = parse_name(os.path.basename(path))
        if name and name[0].size > limit and (size := _matches(path, name[0], key)):
            with disk_errors("read the archive"), open(path, "rb") as file:
                return file.read(limit), size
    wire = read_wire(key, paths)
    return wire, len(wire)


def proves(path: str, key: bytes) -> bool:
    """Whether a file holds the message of this key; read in small pieces, whatever its size."""
    parsed = parse_name(os.path.basename(path))
    if not parsed:
        return False
    name = parsed[0]
    # Where the name has lost W=, either reading may be the one.
    lost = [msgspec.structs.replace(name, wire=0)] if name.wire is None else []
    return any(_matches(path, each, key) for each in (name, *lost))


def _matches(path: str, name: Name, key: bytes) -> int:
    """The wire size of a large file whose bytes are the key's; 0 when they are not, or it cannot be read."""
    digest = hashlib.sha256()
    size = 0
    try:
        with open(path, "rb") as file:
            while piece := file.read(_PIECE):
                if name.wire is not None:
                    piece = piece.replace(b"\n", b"\r\n")
                digest.update(piece)
                size += len(piece)
    except OSError:
        return 0
    return size if digest.digest() == key else 0


class Pieces:
    """The wire bytes of a large message, read in small pieces each time they are gone through.

    The last piece comes only when all of them are what the key says: else DamagedError in its place.
    """

    def __init__(self, path: str, key: bytes, crlf: bool) -> None:
        self._path = path
        self._key = key
        self._crlf = crlf

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        held = b""
        with disk_errors("read the archive"), open(self._path, "rb") as file:
            while piece := file.read(_PIECE):
                if held:
                    yield held
                held = piece.replace(b"\n", b"\r\n") if self._crlf else piece
                digest.update(held)
        if digest.digest() != self._key:
            raise _damaged(self._key, self._path)
        yield held


def open_wire(key: bytes, size: int, paths: Sequence[str], large: int) -> bytes | Pieces:
    """The wire bytes of a message of `size` bytes, proven by its key; from `large` on in pieces.

    Errors as `Reader.wire`.
    """
    if size >= large:
        for path in paths:
            name = parse_name(os.path.basename(path))
            if name and _matches(path, name[0], key) == size:
                return Pieces(path, key, name[0].wire is not None)
    return read_wire(key, paths)


def read_wire(key: bytes, paths: Sequence[str]) -> bytes:
    """The wire bytes of `key` from whichever of the files has them; errors as `Reader.wire`.

    A file that was renamed since it was looked up is found again; one that cannot be read is passed over
    as long as another can.
    """
    unreadable: StoreError | None = None
    damaged = ""
    for path in paths:
        name = parse_name(os.path.basename(path))
        try:
            with disk_errors("read the archive"):
                data = read_file(path)
        except StoreError as exc:
            unreadable = exc
            continue
        if data is None:
            continue
        wire = to_wire(data, name[0]) if name else data
        if key_of(wire) == key:
            return wire
        damaged = path
    if unreadable:
        raise unreadable
    if not damaged:
        raise NotFoundError(f"the file of message {key.hex()[:12]} is gone from the archive", hint=_HINT)
    raise _damaged(key, damaged)


def _damaged(key: bytes, path: str) -> DamagedError:
    return DamagedError(f"the file of message {key.hex()[:12]} is damaged: {path}", hint=_HINT)
