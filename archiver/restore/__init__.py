"""Stored bytes -> IMAP APPEND: put messages back into a mailbox, or into another one."""

from archiver.restore.plan import Item, lay_out, same_folders
from archiver.restore.report import Failure, FolderReport, Progress, RestoreReport, Silent
from archiver.restore.run import Source, Target, Wire, preview, restore

__all__ = [
    "Failure",
    "FolderReport",
    "Item",
    "Progress",
    "RestoreReport",
    "Silent",
    "Source",
    "Target",
    "Wire",
    "lay_out",
    "preview",
    "restore",
    "same_folders",
]
