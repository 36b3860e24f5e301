"""Store against ledger against index: what differs, and what would mend it. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from archiver.errors import DamagedError, InterruptedRun
from archiver.search.index import Index
from archiver.store.layout import mail_root, walk_folders
from archiver.store.ledger import Ledger
from archiver.store.maildir import Name, disk_errors, files, fits, key_of, to_wire
from archiver.store.records import Folder, Place

Kind = Literal["missing", "damaged", "unknown", "folder", "unindexed", "stray", "failed"]
# What `verify --repair` does about each.
REMEDIES: dict[Kind, str] = {
    "missing": "link it from another copy, else fetch it again with the next sync",
    "damaged": "set the file aside in quarantine, then as missing",
    "unknown": "take the file into the ledger",
    "folder": "take the folder into the ledger",
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
        return self.kind in ("stray", "failed")


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
    paths = {folder.path for folder in ledger.folders()}
    with disk_errors("list the archive"):
        on_disk = list(walk_folders(ledger.root))
    for account, path, described in on_disk:
        if path not in paths and (not accounts or account in accounts):
            finding = Finding(kind="folder", account=account, folder=described.name, path=path)
            report.findings.append(finding)
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
    path = os.path.join(mail_root(ledger.root), folder.path)
    with disk_errors("list the archive"):
        found = {str(name): (name, file) for name, _, file in files(path)}
    places = {place.file: place for place in ledger.all_places(folder.id)}
    report.folders += 1
    report.places += len(places)
    keys = ledger.folder_keys(folder.id)
    for base in sorted(places.keys() - found.keys()):
        place = places[base]
        report.findings.append(_lost("missing", folder, place, keys[place.document], base))
    for base in sorted(found.keys() - places.keys()):
        report.findings.append(
            Finding(kind="unknown", account=folder.account, folder=folder.name, path=found[base][1])
        )
    known = [(places[base], *found[base]) for base in sorted(found.keys() & places.keys())]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for (place, _, file), (size, key) in zip(known, pool.map(_hash, known), strict=True):
            if stop():
                pool.shutdown(cancel_futures=True)
                raise InterruptedRun()
            report.files += 1
            report.bytes += size
            advance(report.files, report.bytes)
            if key != keys[place.document]:
                report.findings.append(_lost("damaged", folder, place, keys[place.document], file))


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


def _hash(item: tuple[Place, Name, str]) -> tuple[int, bytes]:
    """Size and key of a file's wire bytes; an unreadable one has the key of nothing."""
    _, name, file = item
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except OSError:
        return 0, b""
    wire = to_wire(data, name)
    return len(data), key_of(wire) if fits(wire, name) else b""


def _index(ledger: Ledger, index: Index, report: VerifyReport) -> None:
    known = ledger.keys("1")
    report.documents = len(known)
    try:
        present = index.keys() if index.state() else set()
    except DamagedError as exc:
        report.findings.append(Finding(kind="unindexed", detail=exc.message))
        return
    report.indexed = len(present)
    report.findings += list(_differences(known, present))


def _differences(known: set[bytes], present: set[bytes]) -> Iterator[Finding]:
    for key in sorted(known - present):
        yield Finding(kind="unindexed", key=key.hex())
    for key in sorted(present - known):
        yield Finding(kind="stray", key=key.hex())
