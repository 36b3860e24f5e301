"""What mail is exported to: an mbox, a .zip of .eml files, a tree of those, or Maildirs."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Literal, Protocol

from archiver.errors import UsageError
from archiver.exchange import mbox, names
from archiver.exchange.beside import new_directory, new_file
from archiver.store.durable import Syncer
from archiver.store.layout import FOLDER_FILE, FolderFile, dump_folder_file, sync_directory
from archiver.store.maildir import Name, parse_name, to_file
from archiver.store.records import Spot

Format = Literal["mbox", "maildir", "eml", "zip"]
FORMATS: tuple[Format, ...] = ("mbox", "maildir", "eml", "zip")
# So many files are made durable together.
_GROUP = 500


class Target(Protocol):
    """Takes messages, each with the place it is of; `directory` is that of its folder, empty for none."""

    def folder(self, directory: str, described: FolderFile) -> None: ...
    def add(self, directory: str, spot: Spot, wire: bytes) -> bool:
        """Write a message; False when it will not come back byte for byte."""
        ...


def guess_format(path: str) -> Format:
    """The format that a path speaks of. UsageError where it speaks of none."""
    name = os.path.basename(path.rstrip("/")).lower()
    if name.endswith((".mbox", ".mbx")):
        return "mbox"
    if name.endswith(".zip"):
        return "zip"
    if name.endswith("maildir"):
        return "maildir"
    if name == "eml" or name.endswith(".eml"):
        return "eml"
    raise UsageError(f"{path} does not say in which format", hint=f"give one: --format {', '.join(FORMATS)}")


@contextmanager
def target(path: str, format: Format) -> Iterator[Target]:
    """Where to export to; what was added is at `path`, whole and durable, when the block ends well."""
    if format in ("mbox", "zip"):
        with new_file(path) as descriptor, os.fdopen(os.dup(descriptor), "wb", 1 << 20) as file:
            if format == "mbox":
                yield _Mbox(file)
                return
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                yield _Zip(archive)
        return
    with new_directory(path) as part, Syncer() as syncer:
        files = _Files(part, syncer)
        with files:
            yield _Maildir(files) if format == "maildir" else _Eml(files)


class _Mbox:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def folder(self, directory: str, described: FolderFile) -> None:
        """An mbox has no folders."""

    def add(self, directory: str, spot: Spot, wire: bytes) -> bool:
        block, same = mbox.render(wire, spot.received)
        self._file.write(block)
        return same


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def folder(self, directory: str, described: FolderFile) -> None:
        self._write(f"{directory}/{FOLDER_FILE}", 0, dump_folder_file(described))

    def add(self, directory: str, spot: Spot, wire: bytes) -> bool:
        name = names.eml_name(spot.received, spot.key.hex()[:32])
        self._write(f"{directory}/{name}" if directory else name, spot.received, wire)
        return True

    def _write(self, name: str, moment: int, data: bytes) -> None:
        info = zipfile.ZipInfo(name, _zip_date(moment))
        info.external_attr = 0o600 << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        self._archive.writestr(info, data)


def _zip_date(moment: int) -> tuple[int, int, int, int, int, int]:
    """As a .zip can have it, which begins with 1980; in UTC."""
    try:
        date = time.gmtime(moment)[:6]
    except (OverflowError, ValueError, OSError):
        date = (1980, 1, 1, 0, 0, 0)
    return max(min(date, (2107, 12, 31, 23, 59, 58)), (1980, 1, 1, 0, 0, 0))


class _Files:
    """Files below a new directory, made durable in groups, and their directories at the end."""

    def __init__(self, top: str, syncer: Syncer) -> None:
        self._top = top
        self._syncer = syncer
        self._made = {top}
        self._group: ExitStack | None = None
        self._sync: Callable[[list[str]], None]
        self._paths: list[str] = []

    def directory(self, relative: str) -> str:
        """Make a directory and those above it; its path."""
        path = os.path.join(self._top, relative) if relative else self._top
        while path not in self._made:
            os.makedirs(path, 0o700, exist_ok=True)
            self._made.update(_above(path, self._top))
        return path

    def write(self, path: str, data: bytes, moment: int | None) -> None:
        if self._group is None:
            self._group = ExitStack()
            self._sync = self._group.enter_context(self._syncer.group(self._top))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if moment is not None:
                os.utime(descriptor, (moment, moment))
        finally:
            os.close(descriptor)
        self._paths.append(path)
        if len(self._paths) == _GROUP:
            self.settle()

    def settle(self) -> None:
        if self._group is not None:
            with self._group:
                self._sync(self._paths)
            self._group, self._paths = None, []

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            if self._group is not None:
                self._group.close()
            return
        self.settle()
        for path in sorted(self._made, key=len, reverse=True):
            sync_directory(path)


def _above(path: str, top: str) -> Iterator[str]:
    while path != top:
        yield path
        path = os.path.dirname(path)


class _Eml:
    def __init__(self, files: _Files) -> None:
        self._files = files

    def folder(self, directory: str, described: FolderFile) -> None:
        path = os.path.join(self._files.directory(directory), FOLDER_FILE)
        self._files.write(path, dump_folder_file(described), None)

    def add(self, directory: str, spot: Spot, wire: bytes) -> bool:
        path = self._files.directory(directory)
        name = names.eml_name(spot.received, spot.key.hex()[:32])
        self._files.write(os.path.join(path, name), wire, spot.received)
        return True


class _Maildir(_Eml):
    def add(self, directory: str, spot: Spot, wire: bytes) -> bool:
        cur = self._files.directory(os.path.join(directory, "cur"))
        for part in ("new", "tmp"):
            self._files.directory(os.path.join(directory, part))
        data, wire_size = to_file(wire)
        parsed = parse_name(spot.file)
        uidvalidity, uid = (parsed[0].uidvalidity, parsed[0].uid) if parsed else (None, None)
        name = Name(spot.received, spot.key.hex()[:32], len(data), wire_size, uidvalidity, uid)
        self._files.write(os.path.join(cur, f"{name}:2,{spot.flags}"), data, spot.received)
        return True
