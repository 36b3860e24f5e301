"""Export: messages out of the archive, each proven by its key, into one new file or directory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from archiver.errors import ArchiverError, InterruptedRun, NotFoundError, StoreError
from archiver.exchange.beside import insist_free
from archiver.exchange.targets import FORMATS, Format, Target, guess_format, target
from archiver.store.layout import FolderFile, mail_root, read_folder_file
from archiver.store.ledger import Ledger, glob_folder
from archiver.store.reader import Reader, read_wire
from archiver.store.records import Folder, Spot

__all__ = ["FORMATS", "ExportReport", "Format", "Wanted", "give", "guess_format"]

_MANY = 500
# So many of those that will differ, or could not be read, are told by id; all are counted.
_TOLD = 1000


class Wanted(msgspec.Struct, frozen=True):
    """What to export: these messages, or everything in the folders that fit the globs, of one account or all.

    `flat`: all of it in one place, each message once, and not below the names of accounts and folders.
    """

    keys: Sequence[bytes] | None = None
    account: str | None = None
    folders: tuple[str, ...] = ()
    flat: bool = False


class Unread(msgspec.Struct, frozen=True):
    """A message that could not be exported, and why."""

    key: str
    why: str


class ExportReport(msgspec.Struct, kw_only=True):
    """What an export did. `altered`: keys of messages that an mbox gives back with other line ends."""

    path: str
    format: Format
    messages: int = 0
    bytes: int = 0
    folders: int = 0
    differing: int = 0
    altered: list[str] = msgspec.field(default_factory=list)
    failed: int = 0
    failures: list[Unread] = msgspec.field(default_factory=list)
    seconds: float = 0.0


def give(
    ledger: Ledger,
    wanted: Wanted,
    path: str,
    format: Format,
    *,
    advance: Callable[[int, int], None] = lambda messages, size: None,
    expect: Callable[[int], None] = lambda messages: None,
    stop: Callable[[], bool] = lambda: False,
) -> ExportReport:
    """Export to `path`, which is there when all of it is, and not before; nothing is overwritten.

    `expect` is told how many messages at most there are to be, `advance` each message and its bytes. A
    message of which no file has its bytes is in the report, and the others go on. InterruptedRun when
    `stop` says so: nothing is left then.
    """
    begun = time.monotonic()
    insist_free(path)
    folders = _folders(ledger, wanted)
    expect(len(wanted.keys) if wanted.keys is not None else sum(ledger.place_count(f.id) for f in folders))
    report = ExportReport(path=path, format=format)
    reader = Reader(ledger)
    with target(path, format) as out:
        placed = (
            _flat(ledger, wanted, folders)
            if wanted.flat or format == "mbox"
            else _tree(ledger, wanted, folders, out, report)
        )
        for directory, spot in placed:
            if stop():
                raise InterruptedRun("interrupted: nothing is left of the export")
            try:
                wire = _read(reader, spot)
            except ArchiverError as exc:
                report.failed += 1
                report.failures += [Unread(spot.key.hex(), exc.message)][: _TOLD - len(report.failures)]
                continue
            if not out.add(directory, spot, wire):
                report.differing += 1
                report.altered += [spot.key.hex()][: _TOLD - len(report.altered)]
            report.messages += 1
            report.bytes += len(wire)
            advance(1, len(wire))
        if not report.messages:
            raise _nothing(report)
    report.seconds = time.monotonic() - begun
    return report


def _nothing(report: ExportReport) -> ArchiverError:
    if report.failures:
        return StoreError(
            f"none of {report.failed:,} messages can be read; the first: {report.failures[0].why}",
            hint="archiver verify --repair fetches them again if the server still has them",
        )
    return NotFoundError(
        "there is nothing to export", hint="archiver search and archiver status show what there is"
    )


def _folders(ledger: Ledger, wanted: Wanted) -> list[Folder]:
    """The folders to export, in order; NotFoundError when there are none."""
    if wanted.keys is not None:
        return ledger.folders()
    folders = ledger.folders(wanted.account)
    if not folders:
        known = ", ".join(dict.fromkeys(f.account for f in ledger.folders())) or "none"
        raise NotFoundError(f"no mail of an account {wanted.account}", hint=f"accounts with mail: {known}")
    globs = wanted.folders or ("*",)
    found = [f for f in folders if any(glob_folder(glob, f.name) for glob in globs)]
    if not found:
        raise NotFoundError(f"no folder like {', '.join(globs)}", hint="archiver status --folders lists them")
    return found


Placed = tuple[str, Spot]
"""The directory, in what is exported to, of a message's folder; and one of its places."""


def _flat(ledger: Ledger, wanted: Wanted, folders: Sequence[Folder]) -> Iterator[Placed]:
    """Each message once, all in one place."""
    seen: set[bytes] = set()
    for spot in _spots(ledger, wanted, folders):
        if spot.key not in seen:
            seen.add(spot.key)
            yield "", spot


def _tree(
    ledger: Ledger, wanted: Wanted, folders: Sequence[Folder], out: Target, report: ExportReport
) -> Iterator[Placed]:
    """Each message once for each folder, below directories as the archive has them."""
    by_id = {folder.id: folder for folder in folders}
    seen: dict[int, set[bytes]] = {}
    for spot in _spots(ledger, wanted, folders):
        folder = by_id[spot.folder_id]
        # The account is no level where it was named.
        directory = folder.path.partition("/")[2] if wanted.account else folder.path
        if folder.id not in seen:
            out.folder(directory, _described(ledger.root, folder))
            report.folders += 1
            if wanted.keys is None:
                seen.clear()  # folders come one after the other
        known = seen.setdefault(folder.id, set())
        if spot.key not in known:
            known.add(spot.key)
            yield directory, spot


def _spots(ledger: Ledger, wanted: Wanted, folders: Sequence[Folder]) -> Iterator[Spot]:
    if wanted.keys is None:
        for folder in folders:
            yield from ledger.spots_of_folder(folder.id)
        return
    for start in range(0, len(wanted.keys), _MANY):
        some = wanted.keys[start : start + _MANY]
        first: dict[bytes, Spot] = {}
        for spot in ledger.spots_of(some):
            first.setdefault(spot.key, spot)
        yield from (first[key] for key in some if key in first)


def _described(root: str, folder: Folder) -> FolderFile:
    found = read_folder_file(os.path.join(mail_root(root), folder.path))
    return FolderFile(folder.raw, folder.name, found.delimiter if found else "/", folder.mailboxid)


def _read(reader: Reader, spot: Spot) -> bytes:
    """The wire bytes of a place, from its own file or any other that has them."""
    path = reader.path(spot)
    if path is not None:
        try:
            return read_wire(spot.key, [path])
        except ArchiverError:
            pass  # another copy may be whole; else its error is told
    return reader.wire(spot.key)
