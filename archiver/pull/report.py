"""What a pull tells: progress while it runs, reports when it is done."""

from __future__ import annotations

from typing import Protocol

import msgspec


class FolderReport(msgspec.Struct, kw_only=True):
    """What a pull did in one folder; counts of messages, `bytes` as on the wire.

    `linked` and `claimed` of the `stored` needed no new file, `spared` were not even fetched: their
    contents are kept already under the names the server gave them. `documents` were never seen before.
    `waiting` UIDs failed and are tried again later; `unlisted` messages the server counts but does not
    show (Yahoo shows about 10,000 of a folder). `renamed` is the folder's name before the server renamed it.
    """

    account: str
    folder: str
    stored: int = 0
    bytes: int = 0
    documents: int = 0
    spared: int = 0
    linked: int = 0
    claimed: int = 0
    adopted: int = 0
    flags: int = 0
    gone: int = 0
    failed: int = 0
    waiting: int = 0
    unlisted: int = 0
    new_epoch: bool = False
    renamed: str = ""
    damaged: list[str] = msgspec.field(default_factory=list)
    error: str = ""

    def happened(self) -> bool:
        """Whether there is anything to tell."""
        return self != FolderReport(account=self.account, folder=self.folder)

    def add(self, part: FolderReport) -> None:
        """Count what a share of the same folder did, too."""
        for field in ("stored", "bytes", "documents", "spared", "linked", "claimed", "failed"):
            setattr(self, field, getattr(self, field) + getattr(part, field))


class AccountReport(msgspec.Struct, kw_only=True):
    """What a pull did in one account; `folders` has those in which something happened."""

    account: str
    seconds: float = 0.0
    checked: int = 0
    other_mailbox: bool = False
    folders: list[FolderReport] = msgspec.field(default_factory=list)

    def total(self, field: str) -> int:
        return sum(getattr(report, field) for report in self.folders)

    @property
    def complete(self) -> bool:
        """Whether nothing is left that this run should have brought home."""
        return not any(r.error or r.failed or r.waiting or r.damaged for r in self.folders)


class Progress(Protocol):
    """Told how far a pull is; called from the thread of each connection."""

    def expect(self, account: str, folder: str, messages: int) -> None: ...
    def stored(self, account: str, messages: int, size: int) -> None: ...


class Silent:
    """Progress for nobody."""

    def expect(self, account: str, folder: str, messages: int) -> None: ...
    def stored(self, account: str, messages: int, size: int) -> None: ...
