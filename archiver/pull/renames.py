"""Folders that the server renamed: known by their MAILBOXIDs (RFC 8474), and nothing is fetched again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from archiver.errors import FolderError
from archiver.imap import Connection, Mailbox, Status
from archiver.pull import plan
from archiver.store.filing import Fault
from archiver.store.layout import FolderFile
from archiver.store.ledger import Ledger
from archiver.store.moving import forget_doubles, forget_empty, give_way, move_folder
from archiver.store.records import Folder


def follow_renames(
    ledger: Ledger,
    account: str,
    connection: Connection,
    mailboxes: Sequence[Mailbox],
    statuses: Mapping[str, Status | FolderError],
    fault: Fault,
) -> dict[str, str]:
    """Let folders and their directories have the names the server has for them now: raw names, old names.

    `statuses` are of the mailboxes that are pulled. The others follow as well: none is to be taken for gone.
    """
    if not connection.has("OBJECTID"):
        return {}
    forget_doubles(ledger, ledger.folders(account))
    folders = [folder for folder in ledger.folders(account) if connection.sees(folder.raw)]
    there = {mailbox.raw: mailbox for mailbox in mailboxes if mailbox.selectable}
    confirmed = _confirm(connection, folders, there, plan.suspects(folders, there, statuses))
    renamed = plan.renames(folders, there, confirmed)
    moving = {folder.id for folder in renamed.values()}
    for raw, folder in renamed.items():
        _rename(ledger, folder, there[raw], moving, fault)
    return {raw: folder.name for raw, folder in renamed.items()}


def _confirm(
    connection: Connection, folders: Sequence[Folder], there: Mapping[str, Mailbox], suspects: Sequence[str]
) -> dict[str, str | None]:
    """What EXAMINE tells of the suspects, and of those that had before what a suspect has now."""
    owners = {folder.mailboxid: folder.raw for folder in folders}
    confirmed: dict[str, str | None] = {}
    left = list(suspects)
    while left:
        raw = left.pop()
        try:
            confirmed[raw] = connection.examine(there[raw]).mailboxid
        except FolderError:
            confirmed[raw] = None
        before = owners.get(confirmed[raw] or "")
        if before and before in there and before not in confirmed and before not in left:
            left.append(before)
    return confirmed


def _rename(ledger: Ledger, folder: Folder, mailbox: Mailbox, moving: Set[int], fault: Fault) -> None:
    for other in ledger.folders(folder.account):
        if other.raw == mailbox.raw and other.id != folder.id:
            if ledger.is_empty(other.id) and other.id not in moving:
                forget_empty(ledger, other)
            else:
                give_way(ledger, other, fault)
    described = FolderFile(mailbox.raw, mailbox.name, mailbox.delimiter, folder.mailboxid)
    # It may have given way itself, to one of those before it.
    move_folder(ledger, ledger.folder(folder.id), described, fault)
