"""Import: the messages of a source become files and places, durable before they are known.

What was imported has no UID. Its file's name has neither V nor U, its place is of epoch -1, and no server is
ever asked about it. What its folder has already, by key, is passed over: so doing it again goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from archiver.errors import ArchiverError, InterruptedRun, SourceError, StoreError, UsageError
from archiver.exchange import names, sources
from archiver.exchange.incoming import Incoming, Large, Sorter, Trouble
from archiver.exchange.mbox import Dialect
from archiver.store import spool
from archiver.store.durable import Syncer
from archiver.store.filing import Arrived, Fault, Filing
from archiver.store.layout import FolderFile, claim_folder, mail_root, read_folder_file
from archiver.store.ledger import Ledger
from archiver.store.maildir import Name, disk_errors, key_of, sweep, to_file
from archiver.store.rebuild import recover
from archiver.store.records import IMPORTED, Folder, NewPlace

if TYPE_CHECKING:
    from archiver.imap import Spooled

# So many of what could not be taken are told by name; all are counted.
_TOLD = 1000
_PIECE = 1 << 18


class ImportReport(msgspec.Struct, kw_only=True):
    """What an import did: messages by folder, those that were there already, what could not be taken."""

    account: str
    source: str
    folders: dict[str, int] = msgspec.field(default_factory=dict)
    stored: int = 0
    known: int = 0
    bytes: int = 0
    linked: int = 0
    adopted: int = 0
    failed: int = 0
    failures: list[Trouble] = msgspec.field(default_factory=list)
    passed: int = 0
    passed_over: list[str] = msgspec.field(default_factory=list)
    seconds: float = 0.0

    def fail(self, trouble: Trouble) -> None:
        self.failed += 1
        if len(self.failures) < _TOLD:
            self.failures.append(trouble)

    def pass_over(self, where: str) -> None:
        self.passed += 1
        if len(self.passed_over) < _TOLD:
            self.passed_over.append(where)


def take(
    report: ImportReport,
    ledger: Ledger,
    *,
    folder: str | None = None,
    dialect: Dialect | None = None,
    advance: Callable[[int, int], None] = lambda messages, size: None,
    stop: Callable[[], bool] = lambda: False,
    now: Callable[[], float] = time.time,
    fault: Fault = lambda step: None,
) -> None:
    """Import the mail of a source into an account, both named in `report`, which counts along.

    The caller holds the account's lock.

    `folder`: where messages go that the source has in no folder, and below which its folders go. `advance`
    hears of messages and bytes so far. When `stop` says so, what is in hand is made durable, and
    InterruptedRun raised. UsageError when the source holds no mail.
    """
    begun = time.monotonic()
    source, account = report.source, report.account
    for known in ledger.folders(account):
        if known.open:
            report.adopted += recover(ledger, known).messages
    sorter = Sorter(dialect, now())
    try:
        with (
            sources.items(source) as items,
            Syncer() as syncer,
            _taker(ledger, report, syncer, fault) as taker,
        ):
            found = (each for item in _readable(items, report) for each in sorter.messages(item))
            for each in found:
                if isinstance(each, Incoming):
                    _file(taker, names.below(folder, each.folder), each, report)
                    advance(report.stored + report.known, report.bytes)
                elif isinstance(each, Trouble):
                    report.fail(each)
                else:
                    report.pass_over(each.where)
                if stop():
                    raise InterruptedRun()
    finally:
        report.seconds += time.monotonic() - begun
    if not (report.stored or report.known or report.failed):
        raise UsageError(f"{source} holds no mail", hint=f"import takes {sources.KINDS}")


class _Taker:
    """Files messages into the folders of an account, one folder at a time."""

    def __init__(self, ledger: Ledger, report: ImportReport, syncer: Syncer, fault: Fault) -> None:
        self._ledger = ledger
        self._report = report
        self._syncer = syncer
        self._fault = fault
        self._name = ""
        self._folder: Folder
        self._filing: Filing | None = None
        self._lowest = 0

    def take(self, name: str, message: Incoming) -> int | None:
        """File a message into the folder called so; its bytes on the wire, None when it is there already.

        SourceError when it cannot be read to its end, or is not what its file's name says.
        """
        if self._filing is None or name != self._name:
            self.leave()
            self._enter(name)
        assert self._filing is not None
        key, size, data, stored, wire = self._data(message.wire)
        if message.digest and not key.hex().startswith(message.digest):
            _drop(data)
            raise SourceError("its bytes are not those its name speaks of")
        if self._filing.awaits(key) or self._ledger.has_place(self._folder.id, key):
            _drop(data)
            return None
        self._lowest -= 1
        base = str(Name(message.received, key.hex()[:32], stored, wire, None, None))
        place = NewPlace(self._lowest, key, size, message.received, base, message.flags, "")
        self._filing.put(Arrived(place, f"{base}:2,{message.flags}", data))
        return size

    def _enter(self, name: str) -> None:
        folder = _folder(self._ledger, self._report.account, name)
        with disk_errors("tidy the archive"):
            # A ledger that was lost does not know that the last run was cut short.
            sweep(os.path.join(mail_root(self._ledger.root), folder.path))
        self._ledger.open_folder(folder.id)
        self._fault("opened")
        self._name = name
        self._folder = msgspec.structs.replace(folder, epoch=IMPORTED)
        self._lowest = self._ledger.lowest_uid(folder.id)
        self._filing = Filing(self._ledger, self._folder, self._syncer, self._fault)

    def _data(self, wire: bytes | Large) -> tuple[bytes, int, bytes | str, int, int | None]:
        """Key, bytes on the wire, what the file will hold, bytes of that, and W=."""
        if isinstance(wire, bytes):
            data, wire_size = to_file(wire)
            return key_of(wire), len(wire), data, len(data), wire_size
        spooled = _spooled(os.path.join(mail_root(self._ledger.root), self._folder.path), wire)
        return spooled.key, spooled.size, *spool.to_file(spooled)

    def leave(self) -> None:
        """Everything taken so far is durable and known when this returns."""
        if self._filing is None:
            return
        filing, self._filing = self._filing, None
        try:
            filing.flush()
        finally:
            filing.close()
            self._report.linked += filing.linked
        self._ledger.close_folder(self._folder.id, self._folder.error)

    def drop(self) -> None:
        """Stop after an error of the disk; the next run takes in what is in place and not known."""
        if self._filing is not None:
            self._filing.close()


@contextmanager
def _taker(ledger: Ledger, report: ImportReport, syncer: Syncer, fault: Fault) -> Iterator[_Taker]:
    taker = _Taker(ledger, report, syncer, fault)
    try:
        yield taker
    except StoreError:
        taker.drop()
        raise
    except ArchiverError:
        taker.leave()
        raise
    except BaseException:
        taker.drop()
        raise
    taker.leave()


def _folder(ledger: Ledger, account: str, name: str) -> Folder:
    """The account's folder of this name, its directory made."""
    folders = ledger.folders(account)
    top = mail_root(ledger.root)
    with disk_errors("create a folder of the archive"):
        files = {folder.id: read_folder_file(os.path.join(top, folder.path)) for folder in folders}
        known = next((folder for folder in folders if folder.name == name), None)
        if known is not None and files[known.id] is not None:
            return known
        delimiters = (file.delimiter for file in files.values() if file and file.delimiter)
        described = names.described(name, next(delimiters, "/"))
        if known is not None:
            described = FolderFile(known.raw, known.name, described.delimiter, known.mailboxid)
        path = claim_folder(ledger.root, account, described)
    return ledger.add_folder(account, described.raw, described.name, path, described.mailboxid)


def _spooled(folder: str, large: Large) -> Spooled:
    """A large message in a file in `folder`'s tmp/, as it was on the wire."""
    found: list[bool] = []
    spooled = spool.spool(folder, _watched(large.pieces, found))
    if large.form == "wire" or (large.form == "native" and found):
        return spooled
    try:
        with disk_errors("store a large message"), open(spooled.path, "rb") as file:
            return spool.spool(
                folder, (p.replace(b"\n", b"\r\n") for p in iter(lambda: file.read(_PIECE), b""))
            )
    finally:
        os.unlink(spooled.path)


def _watched(pieces: Iterator[bytes], found: list[bool]) -> Iterator[bytes]:
    """The pieces; something is in `found` when there was a CRLF."""
    last = b""
    for piece in pieces:
        if not found and b"\r\n" in last + piece:
            found.append(True)
        last = piece[-1:]
        yield piece


def _drop(data: bytes | str) -> None:
    if isinstance(data, str):
        os.unlink(data)


def _readable(items: Iterator[sources.Item], report: ImportReport) -> Iterator[sources.Item]:
    """The files of a source as far as it can be read."""
    try:
        yield from items
    except (*sources.BROKEN, OSError):
        report.fail(Trouble("", "the archive is damaged, or cut short: what follows cannot be read"))


def _file(taker: _Taker, folder: str, message: Incoming, report: ImportReport) -> None:
    try:
        size = taker.take(folder, message)
    except SourceError as exc:
        report.fail(Trouble(message.where, exc.message))
        return
    if size is None:
        report.known += 1
        return
    report.stored += 1
    report.bytes += size
    report.folders[folder] = report.folders.get(folder, 0) + 1
