"""Carry out what `verify` planned. Nothing is deleted: what is wrong is set aside."""

from __future__ import annotations

import os
from collections.abc import Iterable

from archiver.search.index import Index, IndexState
from archiver.store import layout
from archiver.store.ledger import Ledger
from archiver.store.maildir import Group, disk_errors
from archiver.store.reader import Reader
from archiver.store.rebuild import adopt
from archiver.verify import Finding


def repair(ledger: Ledger, index: Index, findings: Iterable[Finding]) -> set[str]:
    """Mend what can be mended here; the accounts to pull from again for the rest.

    The caller holds the locks of all accounts concerned and of the index, and drains afterwards.
    """
    findings = list(findings)
    folders = {(f.account, f.name): f for f in ledger.folders()}
    with disk_errors("list the archive"):
        described = {path: (account, file) for account, path, file in layout.walk_folders(ledger.root)}
    for finding in findings:
        if finding.kind == "folder":
            account, file = described[finding.path]
            added = ledger.add_folder(account, file.raw, file.name, finding.path)
            folders[added.account, added.name] = added
        if finding.kind == "damaged":
            _quarantine(ledger.root, finding.path)
    for key in {(f.account, f.folder) for f in findings if f.kind in ("unknown", "folder")}:
        adopt(ledger, folders[key])
    refetch = {f.account for f in findings if f.kind in ("missing", "damaged") and not _relink(ledger, f)}
    ledger.touch(
        bytes.fromhex(f.key) for f in findings if f.kind in ("unindexed", "missing", "damaged") and f.key
    )
    stray = [bytes.fromhex(f.key) for f in findings if f.kind == "stray"]
    state = index.state() if stray else None
    if state:
        index.apply((), stray, IndexState(state.ledger, state.change))
    return refetch


def _quarantine(root: str, path: str) -> None:
    """Move a file to the same place below quarantine/."""
    target = os.path.join(layout.quarantine_root(root), os.path.relpath(path, layout.mail_root(root)))
    with disk_errors("set a damaged file aside"):
        layout.make_directory(os.path.dirname(target))
        os.rename(path, target)
        layout.sync_directory(os.path.dirname(target))
        layout.sync_directory(os.path.dirname(path))


def _relink(ledger: Ledger, finding: Finding) -> bool:
    """Give a place its file again from another copy; else forget it, so that a pull fetches it.

    A place whose message is gone from the server, and that has no other copy, stays as it is: it cannot be
    had any more, and verify goes on saying so.
    """
    reader = Reader(ledger)
    key = bytes.fromhex(finding.key)
    spots = ledger.spots(key)
    lost = next(spot for spot in spots if spot.id == finding.place)
    folder = os.path.join(layout.mail_root(ledger.root), lost.path)
    for path in reader.paths(key):
        with disk_errors("link a message"):
            if Group(folder).link(path, f"{lost.file}:2,{lost.flags}"):
                layout.sync_directory(os.path.join(folder, "cur"))
                return True
    if not finding.gone:
        ledger.forget_places([finding.place])
    return finding.gone
