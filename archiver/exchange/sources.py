"""Where mail comes from: a file, a directory, a .zip or a .tar, as a row of files that are only read.

Archives are hostile until read: nothing is unpacked to the disk, links and devices are passed over, and what
comes out of one is bounded.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

import msgspec

from archiver.errors import ArchiverError, NotFoundError, SourceError, StoreError, UsageError
from archiver.store.layout import FOLDER_FILE

# Mail is packed to a fifth; what comes out of an archive may be so many times as large, and this much.
MOST_TIMES = 200
MOST_ANYWAY = 1 << 28
# tarfile reads names and extensions of a header at once, whatever size it claims for them.
_MOST_AT_ONCE = 1 << 24
# zipfile unpacks whole pieces of what is not deflated, whatever comes out of them: up to 80 MB of this.
_PIECE = 4096
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PACKED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
KINDS = "an mbox, a Maildir, a tree of .eml files, or a .zip or .tar of those"
# Whatever the packers call it when what they unpack is not what it should be: a number that is none in a
# header, or a name in no encoding, comes out of them as it is.
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    ArithmeticError,
    RuntimeError,
)


class Item(msgspec.Struct, frozen=True):
    """A file of a source. `path` is relative to it, with `/`; empty where the source is this one file.

    `open` may be called more than once where `again` says so. `trouble`: why it cannot be read at all.
    """

    path: str
    size: int
    changed: int
    open: Callable[[], BinaryIO]
    again: bool = True
    trouble: str = ""


@contextmanager
def items(path: str) -> Iterator[Iterator[Item]]:
    """The files of a source, those that say what a folder is called before the others beside them.

    NotFoundError when there is no such source, UsageError when it holds no kind of mail, SourceError when
    it cannot be read. While they are taken, BROKEN may be raised: the rest of the archive cannot be read.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no {path}", hint=f"import takes {KINDS}") from None
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    if stat.S_ISDIR(found.st_mode):
        yield _directory(path)
    elif stat.S_ISREG(found.st_mode):
        with _opened(path) as file:
            yield _file(path, file, found)
    else:
        raise UsageError(f"{path} is neither a file nor a directory", hint=f"import takes {KINDS}")


def _unreadable(path: str, exc: OSError) -> StoreError:
    return StoreError(f"cannot read {path}: {exc.strerror}", hint="check its permissions")


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    with file:
        yield file


def _file(path: str, file: BinaryIO, found: os.stat_result) -> Iterator[Item]:
    """What is in a file: itself, or what it packs."""
    start = file.read(512)
    file.seek(0)
    if start.startswith(_ZIP):
        return _zip(path, file, found.st_size)
    unpack = next((unpack for magic, unpack in _PACKED.items() if start.startswith(magic)), None)
    if unpack or start[257:262] == b"ustar":
        return _tar(path, unpack(file) if unpack else file, found.st_size)
    if not start.strip():
        raise UsageError(f"{path} is empty", hint=f"import takes {KINDS}")
    name = "" if start.startswith(b"From ") else os.path.basename(path)
    if name and not (name.lower().endswith(".eml") or looks_like_mail(start)):
        raise UsageError(f"{path} holds no mail: it is no mbox and no message", hint=f"import takes {KINDS}")
    if name and not name.lower().endswith(".eml"):
        name = "message.eml"
    return iter([Item(name, found.st_size, int(found.st_mtime), lambda: open(path, "rb"))])


def looks_like_mail(start: bytes) -> bool:
    """Whether this begins with a header field."""
    name, colon, _ = start.partition(b"\n")[0].partition(b":")
    return bool(colon) and 0 < len(name.rstrip()) < 100 and all(33 <= byte <= 126 for byte in name.rstrip())


def _directory(top: str) -> Iterator[Item]:
    """Every regular file below a directory; no link is followed."""
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as exc:
            path = os.path.relpath(directory, top)
            if directory == top:
                raise _unreadable(top, exc) from exc
            yield Item(path, 0, 0, io.BytesIO, trouble=exc.strerror or "it cannot be read")
            continue
        waiting += [e.path for e in reversed(entries) if e.is_dir(follow_symlinks=False) and e.name != "tmp"]
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield _entry(entry, os.path.relpath(entry.path, top))


def _entry(entry: os.DirEntry[str], path: str) -> Item:
    try:
        if not entry.is_file(follow_symlinks=False):
            return Item(path, 0, 0, io.BytesIO, trouble="it is a link, or no file")
        found = entry.stat(follow_symlinks=False)
    except OSError as exc:  # other programs go on renaming while it is imported
        return Item(path, 0, 0, io.BytesIO, trouble=f"it cannot be read: {exc.strerror}")

    def opened() -> BinaryIO:
        # Whoever swaps it for a link, or for a pipe, meanwhile has an error for it.
        return os.fdopen(
            os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
        )

    return Item(path, found.st_size, int(found.st_mtime), opened)


class _Bounded(io.RawIOBase):
    """What comes out of an archive, until it is more than it may be."""

    def __init__(self, source: IO[bytes], allowance: list[int], at_once: int = _MOST_AT_ONCE) -> None:
        super().__init__()
        self._source = source
        self._allowance = allowance
        self._at_once = at_once
        self.last = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError("a header that is larger than any")
        data = self._source.read(min(size, self._at_once))
        self._allowance[0] -= len(data)
        if self._allowance[0] < 0:
            raise ArchiverError(
                f"more than {MOST_TIMES} times its size comes out of the archive: this is no mail",
                hint="unpack it yourself if you know it, and import the directory",
            )
        self.last = data
        return data

    def tell(self) -> int:
        return self._source.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        while (ahead := offset - self._source.tell()) > 0:
            if not self.read(min(ahead, 1 << 16)):
                break
        return self._source.tell()

    def close(self) -> None:
        self._source.close()
        super().close()


def _tar(path: str, file: IO[bytes], size: int) -> Iterator[Item]:
    allowance = [size * MOST_TIMES + MOST_ANYWAY]
    bounded = _Bounded(file, allowance)
    with tarfile.open(fileobj=bounded, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else it remembers each
            if not member.isdir():
                yield _member(archive, member)
        if not bounded.last or bounded.last.strip(b"\0"):
            # Which tarfile takes for an end as good as any.
            raise tarfile.ReadError("it ends too early")


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Item:
    path = member.name.removeprefix("./")
    if not member.isreg() or member.issparse():
        return Item(path, 0, 0, io.BytesIO, trouble="it is a link, or no file")

    def opened() -> BinaryIO:
        content = archive.extractfile(member)
        assert content is not None
        return content  # type: ignore[return-value]

    return Item(path, member.size, int(member.mtime), opened, again=False)


def _zip(path: str, file: BinaryIO, size: int) -> Iterator[Item]:
    allowance = [size * MOST_TIMES + MOST_ANYWAY]
    try:
        archive = zipfile.ZipFile(file)
    except (*BROKEN, OSError) as exc:
        raise SourceError(
            f"{path} is no whole .zip: its end is missing or damaged", hint="get it again"
        ) from exc
    members = sorted(archive.infolist(), key=lambda each: not each.filename.endswith(FOLDER_FILE))
    return (_zipped(archive, each, allowance) for each in members if not each.is_dir())


def _zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo, allowance: list[int]) -> Item:
    path = member.filename.removeprefix("./")
    if stat.S_ISLNK(member.external_attr >> 16):
        return Item(path, 0, 0, io.BytesIO, trouble="it is a link, or no file")
    if member.flag_bits & 1:
        return Item(path, 0, 0, io.BytesIO, trouble="it is encrypted")

    at_once = _MOST_AT_ONCE if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else _PIECE

    def opened() -> BinaryIO:
        return _Bounded(archive.open(member), allowance, at_once)  # type: ignore[return-value]

    return Item(path, member.file_size, _moment(member.date_time), opened)


def _moment(date: tuple[int, int, int, int, int, int]) -> int:
    """A .zip's date as Unix seconds, as if it was UTC."""
    import calendar

    try:
        return max(calendar.timegm((*date, 0, 0, 0)), 0)
    except (ValueError, OverflowError):
        return 0
