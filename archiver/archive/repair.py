"""Carry out what `verify` planned. Nothing is deleted: what is wrong is set aside."""

from __future__ import annotations

import os
from collections.abc import Iterable

from archiver.errors import ArchiverError
from archiver.indexer import mended
from archiver.search.index import Index
from archiver.store import layout
from archiver.store.durable import Syncer
from archiver.store.ledger import Ledger
from archiver.store.maildir import Group, disk_errors, to_file
from archiver.store.reader import Reader, read_wire
from archiver.store.rebuild import adopt
from archiver.store.records import Folder, Spot
from archiver.verify import Finding
from archiver.verify.findings import BY_PULL


def repair(ledger: Ledger, index: Index, findings: Iterable[Finding]) -> set[str]:
    """Mend what can be mended here; the accounts to pull from again for the rest.

    The caller holds the locks of all accounts concerned and of the index, and drains afterwards.
    """
    findings = list(findings)
    with disk_errors("list the archive"):
        described = {path: (account, file) for account, path, file in layout.walk_folders(ledger.root)}
    for finding in findings:
        if finding.kind == "folder" and finding.path in described:
            account, file = described[finding.path]
            ledger.add_folder(account, file.raw, file.name, finding.path, file.mailboxid)
        if finding.kind == "nameless":
            _name(ledger, finding)
        if finding.kind in ("damaged", "double"):
            _quarantine(ledger.root, finding.path)
    folders = {folder.path: folder for folder in ledger.folders()}
    for path in sorted(
        {_folder_path(ledger.root, f) for f in findings if f.kind in ("unknown", "folder", "nameless")}
    ):
        if path not in folders:
            continue  # moved away meanwhile
        for damaged in adopt(ledger, folders[path]).damaged:
            _quarantine(ledger.root, damaged)
    reader = Reader(ledger)
    lost = [finding for finding in findings if finding.kind in ("missing", "damaged")]
    refetch = {finding.account for finding in lost if not _relink(ledger, reader, finding)}
    refetch |= _unsettle(ledger, [finding for finding in findings if finding.kind in BY_PULL])
    ledger.touch(
        bytes.fromhex(f.key) for f in findings if f.kind in ("unindexed", "missing", "damaged") and f.key
    )
    _mend_index(ledger, index, findings)
    return refetch


def relink(ledger: Ledger, findings: Iterable[Finding]) -> None:
    """Give places that still lack their files those that a pull brought back elsewhere; locks as above."""
    reader = Reader(ledger)
    for finding in findings:
        if finding.kind in ("missing", "damaged"):
            _relink(ledger, reader, finding)


def _unsettle(ledger: Ledger, findings: Iterable[Finding]) -> set[str]:
    """Let the next pull ask anew for everything in the folders concerned; whose they are.

    Two folders that read alike are both asked: that costs a listing and changes nothing.
    """
    names = {(finding.account, finding.folder) for finding in findings}
    for folder in ledger.folders():
        if (folder.account, folder.name) in names:
            ledger.unsettle(folder.id)
    return {account for account, _ in names}


def _folder_path(root: str, finding: Finding) -> str:
    """The folder that an unknown directory is, or an unknown file is in, relative to the mail root."""
    if finding.kind in ("folder", "nameless"):
        return finding.path
    return os.path.relpath(os.path.dirname(os.path.dirname(finding.path)), layout.mail_root(root))


def _name(ledger: Ledger, finding: Finding) -> None:
    """Let a directory say again what folder it is: what the ledger knows, else what its own name tells."""
    directory = os.path.join(layout.mail_root(ledger.root), finding.path)
    if not os.path.isdir(directory):
        return  # moved away meanwhile
    known = (folder for folder in ledger.folders(finding.account) if folder.path == finding.path)
    described = _describe(directory, finding.path, next(known, None))
    ledger.add_folder(finding.account, described.raw, described.name, finding.path, described.mailboxid)


def _describe(directory: str, path: str, folder: Folder | None) -> layout.FolderFile:
    """Write into a directory what folder it is: what the ledger knows, else what its path tells."""
    described = layout.guess_folder(path)
    if folder:
        described = layout.FolderFile(folder.raw, folder.name, described.delimiter, folder.mailboxid)
    with disk_errors("write the name of a folder"):
        layout.write_folder_file(directory, described)
    return described


def _mend_index(ledger: Ledger, index: Index, findings: Iterable[Finding]) -> None:
    """Keep what is sound of a damaged index, for a drain to fill; remove strays from a good one."""
    if any(finding.kind == "unindexed" and not finding.key for finding in findings):
        if not mended(ledger, index):
            index.clear()
        return
    stray = [bytes.fromhex(finding.key) for finding in findings if finding.kind == "stray"]
    state = index.state() if stray else None
    if state:
        index.apply((), stray, state)


def _quarantine(root: str, path: str) -> None:
    """Move a file to the same place below quarantine/, beside what was set aside there before."""
    wanted = os.path.join(layout.quarantine_root(root), os.path.relpath(path, layout.mail_root(root)))
    with disk_errors("set a file aside"):
        layout.make_directory(os.path.dirname(wanted))
        target, number = wanted, 1
        while os.path.lexists(target):
            number += 1
            target = f"{wanted}.{number}"
        try:
            os.rename(path, target)
        except FileNotFoundError:
            return  # renamed or removed by another program meanwhile; the next look shows it
        layout.sync_directory(os.path.dirname(target))
        layout.sync_directory(os.path.dirname(path))


def _relink(ledger: Ledger, reader: Reader, finding: Finding) -> bool:
    """Give a place its file again from another copy; else let a pull fetch it.

    A place whose message the server does not have (gone, of an earlier life of the folder, imported), and
    that has no other copy, stays as it is: it cannot be had any more, and verify goes on saying so.
    """
    spots = ledger.spots(bytes.fromhex(finding.key))
    lost = next((spot for spot in spots if spot.id == finding.place), None)
    if lost is None or reader.path(lost):
        return True
    for path in filter(None, map(reader.path, spots)):
        if _restore(ledger, lost, path):
            return True
    if lost.gone or not lost.current:
        return True
    ledger.want_again([lost.id])
    return False


def _restore(ledger: Ledger, lost: Spot, path: str) -> bool:
    """Let a place have the content of another's file, as a link where that can be; False if it is damaged."""
    try:
        wire = read_wire(lost.key, [path])
    except ArchiverError:
        return False
    name = f"{lost.file}:2,{lost.flags}"
    directory = os.path.join(layout.mail_root(ledger.root), lost.path)
    if layout.read_folder_file(directory) is None:
        _describe(directory, lost.path, ledger.folder(lost.folder_id))  # all of it was removed
    group = Group(directory)
    with disk_errors("restore a file"), Syncer() as syncer:
        try:
            linked = group.link(path, name)
        except OSError:
            linked = False  # whatever the reason: the proven bytes are at hand
        if not linked:
            group.add(name, to_file(wire)[0], lost.received)
        group.commit(syncer, lambda step: None)
    return True
