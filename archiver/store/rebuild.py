"""The ledger from the tree: adopt files that the ledger lacks, or all of them when it was lost.

What only the server knows (keywords, modseq, gone, failed) is not made up: cursors start at nothing and
the next pull compares every UID.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator

import msgspec

from archiver.store.layout import FolderFile, guess_folder, mail_root, sync_directory, walk, walk_folders
from archiver.store.ledger import Ledger
from archiver.store.maildir import Name, disk_errors, files, fits, key_of, read_file, sweep, to_wire
from archiver.store.records import Folder, NewPlace

_BATCH = 500


class Adopted(msgspec.Struct, frozen=True):
    """What was taken into the ledger; `damaged` are paths whose bytes are not those their name speaks of,
    `nameless` directories, relative to the mail root, that do not say what folder they are."""

    messages: int = 0
    damaged: tuple[str, ...] = ()
    nameless: tuple[str, ...] = ()


def rebuild(ledger: Ledger, advance: Callable[[str, int], None] = lambda folder, count: None) -> Adopted:
    """Fill an empty ledger from the tree; `advance(folder name, files)` tells how far it is.

    Safe to repeat after a kill: what is known already is passed over.
    """
    total = 0
    damaged: list[str] = []
    with disk_errors("list the archive"):
        folders = list(walk_folders(ledger.root))
        lost = nameless(ledger.root)
    known = {
        folder.path: FolderFile(folder.raw, folder.name, None, folder.mailboxid)
        for folder in ledger.folders()
    }
    folders += [(account, path, known.get(path) or guess_folder(path)) for account, path in lost]
    for account, relative, described in folders:
        folder = ledger.add_folder(account, described.raw, described.name, relative, described.mailboxid)
        adopted = adopt(ledger, folder)
        total += adopted.messages
        damaged += adopted.damaged
        advance(f"{account}/{described.name}", adopted.messages)
    return Adopted(total, tuple(damaged), tuple(path for _, path in lost))


def nameless(root: str) -> list[tuple[str, str]]:
    """Directories that hold files of ours and do not say what folder they are: account, path below mail."""
    top = mail_root(root)
    return [
        (account, path)
        for account, path, described in walk(root)
        if described is None and any(files(os.path.join(top, path)))
    ]


def adopt(ledger: Ledger, folder: Folder) -> Adopted:
    """Let the ledger know each file of a folder that it lacks, by V and U.

    An empty ledger takes the newest UIDVALIDITY among the files for the present epoch. Files of another
    one, and several of one UID, are an earlier epoch's: there to be claimed, not believed.
    """
    path = os.path.join(mail_root(ledger.root), folder.path)
    with disk_errors("list the archive"):
        found = {str(name): (name, flags, file) for name, flags, file in files(path)}
    places = ledger.all_places(folder.id)
    lacking = [found[base] for base in found.keys() - {p.file for p in places}]
    if not lacking:
        return Adopted()
    with disk_errors("make the archive durable"):
        for directory in {os.path.dirname(file) for _, _, file in lacking}:
            # Whoever moved them there may have been killed before these names were durable.
            sync_directory(directory)
    if not folder.uidvalidity and not places:
        folder = _first_epoch(ledger, folder, [name for name, _, _ in lacking])
    moved = defaultdict(list)
    for place in places:
        if place.file not in found and 0 <= place.epoch < folder.epoch:
            moved[_digest(place.file)].append(place.id)
    counts: dict[tuple[int | None, int | None], int] = defaultdict(int)
    for name, _, _ in found.values():
        counts[name.uidvalidity, name.uid] += 1
    damaged: list[str] = []
    adopted = 0
    for batch in _batches(sorted(lacking, key=lambda item: (item[0].uid or 0, str(item[0])))):
        present: list[NewPlace] = []
        earlier: list[NewPlace] = []
        claimed: list[int] = []
        for name, flags, file in batch:
            with disk_errors("read the archive"):
                data = read_file(file)
            if data is None:
                continue
            wire = to_wire(data, name)
            if not fits(wire, name):
                damaged.append(file)
                continue
            key = key_of(wire)
            sure = name.uidvalidity == folder.uidvalidity and counts[name.uidvalidity, name.uid] == 1
            if sure and moved[name.digest]:
                # A claim renamed this file and was killed before the ledger knew.
                claimed.append(moved[name.digest].pop())
            (present if sure else earlier).append(_place(name, key, len(wire), flags))
        ledger.add_places(folder, present, claimed)
        ledger.add_earlier(folder, earlier)
        adopted += len(present) + len(earlier)
    return Adopted(adopted, tuple(damaged))


def recover(ledger: Ledger, folder: Folder) -> Adopted:
    """After an unclean end, in a folder left open: drop unfinished files, know the finished ones."""
    with disk_errors("tidy the archive"):
        sweep(os.path.join(mail_root(ledger.root), folder.path))
    adopted = adopt(ledger, folder)
    ledger.close_folder(folder.id, folder.error)
    return adopted


def _first_epoch(ledger: Ledger, folder: Folder, names: list[Name]) -> Folder:
    newest = max((name.uidvalidity or 0 for name in names), default=0)
    if not newest:
        return folder  # all of it was imported
    ledger.new_epoch(folder.id, newest)
    return ledger.folder(folder.id)


def _digest(base: str) -> str:
    return base.split(".", 2)[1]


def _place(name: Name, key: bytes, size: int, flags: str) -> NewPlace:
    return NewPlace(name.uid or 0, key, size, name.received, str(name), flags, "")


def _batches(items: list[tuple[Name, str, str]]) -> Iterator[list[tuple[Name, str, str]]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
