"""Messages as files: names that follow from the message, durable delivery, finding them again.

A name is `<received>.<32 hex of key>.archiver,S=<bytes>[,W=<wire bytes>],V=<uidvalidity>,U=<uid>:2,<flags>`;
`received` is INTERNALDATE in Unix seconds. The part before `:2,` (the base) never changes but by a claim;
other programs change the flags behind it.
"""

from __future__ import annotations

import errno
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import DiskFullError, StoreError
from archiver.store.layout import make_directory, sync_directory, sync_file

if TYPE_CHECKING:
    from archiver.store.durable import Syncer

_FLAGS = r"(?::2,(?P<flags>[A-Za-z]*))?\Z"
_NAME = re.compile(
    r"(?P<received>-?\d{1,19})\.(?P<digest>[0-9a-f]{32})\.archiver"
    r",S=(?P<size>\d{1,19})(?:,W=(?P<wire>\d{1,19}))?(?:,V=(?P<uidvalidity>\d{1,10}),U=(?P<uid>\d{1,10}))?"
    + _FLAGS,
    re.ASCII,
)
_TAIL = re.compile(_FLAGS, re.ASCII)
# How files begin that messages too large to hold are written to while they come.
SPOOL = "archiver-spool-"
# RFC 9051, 2.3.2 -> the letters of the Maildir convention.
_LETTERS = {"\\draft": "D", "\\flagged": "F", "\\answered": "R", "\\seen": "S", "\\deleted": "T"}


class Name(msgspec.Struct, frozen=True, gc=False):
    """The base of a file name, taken apart. `wire` is None when the file holds the wire bytes as they are."""

    received: int
    digest: str
    size: int
    wire: int | None
    uidvalidity: int | None
    uid: int | None

    def __str__(self) -> str:
        wire = f",W={self.wire}" if self.wire is not None else ""
        place = f",V={self.uidvalidity},U={self.uid}" if self.uid is not None else ""
        return f"{self.received}.{self.digest}.archiver,S={self.size}{wire}{place}"


def parse_name(file_name: str) -> tuple[Name, str] | None:
    """A file name as (base, flag letters); None when it is not one of ours."""
    match = _NAME.match(file_name)
    if not match:
        return None
    wire, uidvalidity, uid = (
        int(match[group]) if match[group] else None for group in ("wire", "uidvalidity", "uid")
    )
    name = Name(int(match["received"]), match["digest"], int(match["size"]), wire, uidvalidity, uid)
    if str(name) != file_name.partition(":")[0]:
        return None  # written otherwise (a leading zero), so not by us
    return name, match["flags"] or ""


def is_tail(text: str) -> bool:
    """Whether this may follow the base in a name of ours: flags, or nothing."""
    return _TAIL.match(text) is not None


def key_of(wire: bytes) -> bytes:
    """The identity of a message: SHA-256 of its bytes as the server sent them."""
    import hashlib

    return hashlib.sha256(wire).digest()


@functools.lru_cache(maxsize=4096)
def letters(flags: frozenset[str]) -> str:
    r"""IMAP system flags as Maildir letters, sorted; `\Recent` and keywords have none."""
    return "".join(sorted(_LETTERS[f] for f in {f.lower() for f in flags} & _LETTERS.keys()))


def to_file(wire: bytes) -> tuple[bytes, int | None]:
    """The bytes to store, and W= when they differ from the wire: LF for CRLF if no LF stands alone."""
    # One byte is found much faster than a pair, and hardly any message has a CR alone.
    data = wire.replace(b"\r", b"")
    if data.replace(b"\n", b"\r\n") == wire:
        return data, len(wire)
    data = wire.replace(b"\r\n", b"\n")
    if data.count(b"\n") != len(wire) - len(data):
        return wire, None
    return data, len(wire)


def to_wire(data: bytes, name: Name) -> bytes:
    """The bytes the server sent, from a file's; where the name has lost W=, whichever reading fits it."""
    crlf = data.replace(b"\n", b"\r\n")
    if name.wire is not None:
        return crlf
    return crlf if not fits(data, name) and fits(crlf, name) else data


def fits(wire: bytes, name: Name) -> bool:
    """Whether these are the bytes the name speaks of, as far as half a SHA-256 tells (that is: surely)."""
    return key_of(wire).hex().startswith(name.digest)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Translate the file system's errors into ours; `what` says what was being done."""
    try:
        yield
    except OSError as exc:
        where = f" ({exc.filename})" if exc.filename else ""
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFullError(
                f"cannot {what}: {exc.strerror}{where}",
                hint="make room; the next run continues where this one stopped",
            ) from exc
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(
                f"cannot {what}: {exc.strerror}{where}", hint="check who owns the archive and its permissions"
            ) from exc
        raise StoreError(f"cannot {what}: {exc.strerror}{where}") from exc


class Group:
    """Files of one folder that become durable together.

    `write` puts each into tmp/; `settle` makes their content durable, moves all to cur/ and fsyncs that:
    when it returns, every one of them survives a power cut. Before, none is in cur/. The two may be called
    from different threads, one after the other. What a killed process leaves in tmp/ is removed by `sweep`.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._new: list[tuple[str, bytes | str, int]] = []
        self._moves: list[tuple[str, str]] = []
        self._given: list[str] = []
        self._syncing = ExitStack()
        self._sync: Callable[[Sequence[str]], None]

    def add(self, file_name: str, data: bytes | str, received: int) -> None:
        """Let cur/`file_name` hold `data` after `settle`, its mtime at `received` (Unix seconds).

        `data` may be the path of a file in tmp/ that is moved there.
        """
        self._new.append((file_name, data, received))

    def link(self, source: str, file_name: str) -> bool:
        """Let cur/`file_name` be the same file as `source`; False when the file system will not have it.

        A file of that name with other content is left to `add`, which replaces it.
        """
        target = os.path.join(self.folder, "cur", file_name)
        try:
            os.link(source, target)
        except FileExistsError:
            return os.path.samefile(source, target) or _content(source) == _content(target)
        except OSError as exc:
            if exc.errno in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOENT):
                return False
            raise
        return True

    def commit(self, syncer: Syncer, step: Callable[[str], None]) -> None:
        """Make the group durable; `step` hears the name of each step done."""
        self.write(syncer, step)
        self.settle(step)

    def write(self, syncer: Syncer, step: Callable[[str], None]) -> None:
        """Write every file, and hold its bytes no longer; none is durable yet."""
        cur, tmp = (os.path.join(self.folder, sub) for sub in ("cur", "tmp"))
        # Programs that copy trees leave empty directories behind.
        make_directory(cur)
        make_directory(tmp)
        try:
            self._sync = self._syncing.enter_context(syncer.group(tmp))
            for file_name, data, received in self._new:
                path = data if isinstance(data, str) else f"{tmp}/{file_name.partition(':')[0]}"
                self._moves.append((path, f"{cur}/{file_name}"))
                if isinstance(data, str):
                    self._given.append(path)
                _write(path, data, received)
                step("written")
        except BaseException:
            self._drop()
            raise
        self._new.clear()

    def settle(self, step: Callable[[str], None]) -> None:
        """Make what was written durable, under its final names."""
        moves = self._moves
        try:
            for path in self._given:
                # Written before the group was begun, which alone is what a syncfs would answer for.
                sync_file(path)
            with self._syncing:
                self._sync([path for path, _ in moves])
            step("synced")
            while moves:
                os.rename(*moves[-1])
                moves.pop()
        except BaseException:
            self._drop()
            raise
        step("moved")
        sync_directory(os.path.join(self.folder, "cur"))

    def _drop(self) -> None:
        self._syncing.close()
        for path, _ in self._moves:
            if os.path.exists(path):
                os.unlink(path)


def _write(path: str, data: bytes | str, received: int) -> None:
    """A dated file with these bytes, not yet durable; given its path, it is there and only dated."""
    create = 0 if isinstance(data, str) else os.O_CREAT | os.O_TRUNC
    descriptor = os.open(path, os.O_WRONLY | create | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data if isinstance(data, bytes) else b"")
        while view:
            view = view[os.write(descriptor, view) :]
        os.utime(descriptor, (received, received))
    finally:
        os.close(descriptor)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def sweep(folder: str) -> None:
    """Remove our unfinished files from tmp/; the caller holds the account's lock, so nobody writes them."""
    try:
        entries = os.scandir(os.path.join(folder, "tmp"))
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if parse_name(entry.name) or entry.name.startswith(SPOOL):
                os.unlink(entry.path)


def files(folder: str) -> Iterator[tuple[Name, str, str]]:
    """Our files in a folder: base, flag letters, path. Those of other programs are passed over."""
    for sub in ("cur", "new"):
        try:
            entries = os.scandir(os.path.join(folder, sub))
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if parsed := parse_name(entry.name):
                    yield *parsed, entry.path


class Finder:
    """Finds files again after other programs renamed them; remembers a listing while it is unchanged."""

    def __init__(self) -> None:
        self._listings: dict[str, tuple[int, dict[str, str]]] = {}

    def path(self, folder: str, base: str, flags: str) -> str | None:
        """Where the file with this base is now; `flags` are tried first. None when it is gone."""
        hint = os.path.join(folder, "cur", f"{base}:2,{flags}")
        if os.path.exists(hint):
            return hint
        # What a listing has and is there is right, though the directory changed since (we rename files, too).
        found = self._listings[folder][1].get(base) if folder in self._listings else None
        if found is None or not os.path.exists(found):
            found = self._listing(folder).get(base)
        if found and not os.path.exists(found):
            # Renamed again within one tick of the clock that dates directories.
            del self._listings[folder]
            found = self._listing(folder).get(base)
        return found

    def _listing(self, folder: str) -> dict[str, str]:
        stamp = sum(_changed(os.path.join(folder, sub)) for sub in ("cur", "new"))
        known = self._listings.get(folder)
        if known is None or known[0] != stamp:
            known = stamp, {str(name): path for name, _, path in files(folder)}
            self._listings[folder] = known
        return known[1]


def read_file(path: str) -> bytes | None:
    """What a file of ours holds, under whatever flags it is by now; None when it is gone."""
    for _ in range(2):
        try:
            return _content(path)
        except FileNotFoundError:
            folder, base = os.path.dirname(os.path.dirname(path)), os.path.basename(path).partition(":")[0]
            found = Finder().path(folder, base, "")
            if found is None:
                return None
            path = found
    return None


def _changed(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except FileNotFoundError:
        return 0
