"""Store against ledger against index: what differs, and what would mend it. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from archiver.errors import DamagedError, InterruptedRun
from archiver.search.index import Index
from archiver.store.layout import guess_folder, mail_root, walk_folders
from archiver.store.ledger import Ledger
from archiver.store.maildir import Name, disk_errors, files, fits, key_of, read_file, to_wire
from archiver.store.rebuild import nameless
from archiver.store.records import Folder, Place

Kind = Literal[
    "missing",
    "damaged",
    "unreadable",
    "double",
    "unknown",
    "folder",
    "nameless",
    "copy",
    "unindexed",
    "stray",
    "failed",
]
# What `verify --repair` does about each.
REMEDIES: dict[Kind, str] = {
    "missing": "link it from another copy, else fetch it again with the next sync",
    "damaged": "set the file aside in quarantine, then as missing",
    "unreadable": "nothing: see to the disk, or to who may read the file, and verify again",
    "double": "set the second file of the message aside in quarantine",
    "unknown": "take the file into the ledger, or set it aside in quarantine when it is damaged",
    "folder": "take the folder into the ledger",
    "nameless": "write its .folder.json again, from the ledger or its directory's name, and take it in",
    "copy": "nothing: move one of the two directories away",
    "unindexed": "index it",
    "stray": "remove it from the index",
    "failed": "the next sync tries again when it is due",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `place` is the ledger's row id, `key` in hex; what does not apply is empty."""

    kind: Kind
    account: str = ""
    folder: str = ""
    uid: int = 0
    key: str = ""
    path: str = ""
    place: int = 0
    gone: bool = False
    detail: str = ""

    @property
    def harmless(self) -> bool:
        """Whether no archived message is lacking because of it."""
        return self.kind in ("double", "copy", "stray", "failed")


class VerifyReport(msgspec.Struct, kw_only=True):
    """What was compared and what differs."""

    folders: int = 0
    places: int = 0
    files: int = 0
    bytes: int = 0
    documents: int = 0
    indexed: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)


def verify(
    ledger: Ledger,
    index: Index,
    accounts: tuple[str, ...] = (),
    *,
    advance: Callable[[int, int], None] = lambda files, size: None,
    stop: Callable[[], bool] = lambda: False,
) -> VerifyReport:
    """Compare every place with its file, every file's hash with its name, every document with the index.

    `accounts` limits the first two. The caller holds the locks that keep others from writing. `advance`
    is told files and bytes as they are read.
    """
    report = VerifyReport()
    known = [f for f in ledger.folders() if not accounts or f.account in accounts]
    for folder in known:
        _folder(ledger, folder, report, advance, stop)
    paths = {(folder.account, folder.raw): folder.path for folder in ledger.folders()}
    with disk_errors("list the archive"):
        on_disk = list(walk_folders(ledger.root))
        lost = nameless(ledger.root)
    names = {folder.path: folder.name for folder in known}
    report.findings += [
        Finding(
            kind="nameless",
            account=account,
            folder=names.get(path) or guess_folder(path).name,
            path=path,
            detail=f"{path} does not say what folder it is",
        )
        for account, path in lost
        if not accounts or account in accounts
    ]
    for account, path, described in on_disk:
        if path not in paths.values() and (not accounts or account in accounts):
            first = paths.get((account, described.raw), "")
            report.findings.append(
                Finding(
                    kind="copy" if first else "folder",
                    account=account,
                    folder=described.name,
                    path=path,
                    detail=f"{path} says that it is the folder in {first}" if first else "",
                )
            )
    for folder in known:
        for failure in ledger.failures(folder).values():
            detail = f"{failure.reason} (tried {failure.tries} times)"
            report.findings.append(
                Finding(
                    kind="failed", account=folder.account, folder=folder.name, uid=failure.uid, detail=detail
                )
            )
    _index(ledger, index, report)
    return report


def _folder(
    ledger: Ledger,
    folder: Folder,
    report: VerifyReport,
    advance: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> None:
    places = {place.file: place for place in ledger.all_places(folder.id)}
    with disk_errors("list the archive"):
        found, doubles = _listing(os.path.join(mail_root(ledger.root), folder.path), places)
    report.folders += 1
    report.places += len(places)
    keys = ledger.folder_keys(folder.id)
    known = [(places[base], *found[base]) for base in sorted(found.keys() & places.keys())]
    lost: list[tuple[Kind, Place, str]] = [
        ("missing", places[base], base) for base in sorted(places.keys() - found.keys())
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for (place, _, file), (size, result) in zip(known, pool.map(_hash, known), strict=True):
            if stop():
                pool.shutdown(cancel_futures=True)
                raise InterruptedRun()
            report.files += 1
            report.bytes += size
            advance(report.files, report.bytes)
            if isinstance(result, OSError):
                lost.append(("unreadable", place, file))
            elif result is None:
                lost.append(("missing", place, place.file))
            elif result != keys[place.document]:
                lost.append(("damaged", place, file))
    report.findings += [_lost(kind, folder, place, keys[place.document], path) for kind, place, path in lost]
    unknown = [found[base][1] for base in sorted(found.keys() - places.keys())]
    report.findings += [_file("unknown", folder, path) for path in unknown]
    report.findings += [_file("double", folder, path) for path in doubles]


def _file(kind: Kind, folder: Folder, path: str) -> Finding:
    return Finding(kind=kind, account=folder.account, folder=folder.name, path=path)


def _listing(directory: str, places: dict[str, Place]) -> tuple[dict[str, tuple[Name, str]], list[str]]:
    """Our files by base, and second files of one base: those that are damaged, or have other flags."""
    found: dict[str, tuple[Name, str]] = {}
    doubles: list[str] = []
    for name, _, file in files(directory):
        base = str(name)
        if base not in found:
            found[base] = name, file
            continue
        place = places.get(base)
        expected = f"{base}:2,{place.flags if place else ''}"
        wholes = {each: _is_whole(each, name) for each in (found[base][1], file)}
        first, second = sorted(wholes, key=lambda each: (not wholes[each], not each.endswith(expected), each))
        found[base] = name, first
        if wholes[second] is not None:
            doubles.append(second)
    return found, doubles


def _is_whole(path: str, name: Name) -> bool | None:
    """Whether a file has the bytes its name speaks of; None when it could not be read."""
    try:
        data = read_file(path)
    except OSError:
        return None
    return data is not None and fits(to_wire(data, name), name)


def _lost(kind: Kind, folder: Folder, place: Place, key: bytes, path: str) -> Finding:
    return Finding(
        kind=kind,
        account=folder.account,
        folder=folder.name,
        uid=max(place.uid, 0),
        key=key.hex(),
        path=path,
        place=place.id,
        gone=bool(place.gone),
    )


def _hash(item: tuple[Place, Name, str]) -> tuple[int, bytes | OSError | None]:
    """Size and key of a file's wire bytes; the key is empty when they are not what the name says, None when
    the file went away meanwhile. What could not be read is not known to be wrong: the error."""
    _, name, file = item
    try:
        data = read_file(file)
    except OSError as exc:
        return 0, exc
    if data is None:
        return 0, None
    wire = to_wire(data, name)
    return len(data), key_of(wire) if fits(wire, name) else b""


def _index(ledger: Ledger, index: Index, report: VerifyReport) -> None:
    known = ledger.keys("1")
    report.documents = len(known)
    try:
        present = index.keys() if index.state() else set()
        index.verify()
    except DamagedError as exc:
        report.findings.append(Finding(kind="unindexed", detail=f"the index is damaged: {exc.message}"))
        return
    report.indexed = len(present)
    report.findings += list(_differences(known, present))


def _differences(known: set[bytes], present: set[bytes]) -> Iterator[Finding]:
    for key in sorted(known - present):
        yield Finding(kind="unindexed", key=key.hex())
    for key in sorted(present - known):
        yield Finding(kind="stray", key=key.hex())
