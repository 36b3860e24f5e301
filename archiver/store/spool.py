"""Messages too large to hold: written while they come, hashed on the way, compared piece by piece."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from archiver.store.maildir import SPOOL, disk_errors

if TYPE_CHECKING:
    from archiver.imap import Spooled

_PIECE = 1 << 18


def spool(folder: str, pieces: Iterator[bytes]) -> Spooled:
    """Write the pieces into `folder`'s tmp/; nothing is left there when they or the disk fail."""
    from archiver.imap import Spooled  # not for those who have nothing to do with a server

    digest = hashlib.sha256()
    size = lone = 0
    last = b""
    with disk_errors("store a large message"):
        descriptor, path = tempfile.mkstemp(prefix=SPOOL, dir=os.path.join(folder, "tmp"))
    try:
        with disk_errors("store a large message"), os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                lone += piece.count(b"\n") - piece.count(b"\r\n") - (last == b"\r" and piece[:1] == b"\n")
                last = piece[-1:] or last
    except BaseException:
        os.unlink(path)
        raise
    return Spooled(path, size, digest.digest(), lone == 0)


def to_file(spooled: Spooled) -> tuple[str, int, int | None]:
    """The file to store (this one, or a copy with LF for CRLF), its bytes, and W= where they differ."""
    if not spooled.crlf:
        return spooled.path, spooled.size, None
    path = spooled.path + "-lf"
    with disk_errors("store a large message"):
        with open(spooled.path, "rb") as source, open(path, "xb") as target:
            os.fchmod(target.fileno(), 0o600)
            for piece in _unfolded(source):
                target.write(piece)
            size = target.tell()
        os.unlink(spooled.path)
    return path, size, spooled.size


def _unfolded(source: BinaryIO) -> Iterator[bytes]:
    kept = b""
    while piece := source.read(_PIECE):
        piece = kept + piece
        # A CR at the end may belong to an LF that is yet to come.
        kept = b"\r" if piece.endswith(b"\r") else b""
        yield piece[: len(piece) - len(kept)].replace(b"\r\n", b"\n")
    yield kept


def copy(source: str, folder: str) -> str | None:
    """A copy of a message's file in `folder`'s tmp/, for where links fail; None when it is gone by now."""
    descriptor, path = tempfile.mkstemp(prefix=SPOOL, dir=os.path.join(folder, "tmp"))
    try:
        with os.fdopen(descriptor, "wb") as target, open(source, "rb") as file:
            shutil.copyfileobj(file, target, _PIECE)
    except FileNotFoundError:
        os.unlink(path)
        return None
    except BaseException:
        os.unlink(path)
        raise
    return path


def same_content(one: str, other: str) -> bool:
    """Whether two files hold the same bytes."""
    with open(one, "rb") as first, open(other, "rb") as second:
        while piece := first.read(_PIECE):
            if piece != second.read(_PIECE):
                return False
        return not second.read(1)
