"""What a restore did."""

from __future__ import annotations

from typing import Protocol

import msgspec

from archiver.errors import ArchiverError


class Failure(msgspec.Struct, frozen=True):
    """A message that was not put back, and why (no content in it)."""

    key: bytes
    reason: str
    hint: str | None = None


class FolderReport(msgspec.Struct, kw_only=True):
    """One folder: messages put into it now, there already, not taken, left when the run ended.

    `error` is why nothing (more) could be put into it.
    """

    folder: str
    created: bool = False
    restored: int = 0
    bytes: int = 0
    there: int = 0
    failed: list[Failure] = msgspec.field(default_factory=list)
    left: int = 0
    error: ArchiverError | None = None


class RestoreReport(msgspec.Struct, kw_only=True):
    """A whole run. `error` is why it ended before its last message, if it did."""

    account: str
    folders: list[FolderReport] = msgspec.field(default_factory=list)
    seconds: float = 0.0
    error: ArchiverError | None = None

    @property
    def restored(self) -> int:
        return sum(folder.restored for folder in self.folders)

    @property
    def missing(self) -> int:
        """How many messages are not there that should be."""
        return sum(len(folder.failed) + folder.left for folder in self.folders)

    @property
    def exit_code(self) -> int:
        """0 all are there, 3 some; else as the error that stopped all of them, 1 without one."""
        if not self.missing and self.error is None:
            return 0
        if self.restored or any(folder.there for folder in self.folders):
            return 3
        errors = [self.error, *(folder.error for folder in self.folders)]
        return next((error.exit_code for error in errors if error), 1)


class Progress(Protocol):
    """Told how far a restore is."""

    def expect(self, account: str, folder: str, messages: int) -> None: ...
    def stored(self, account: str, messages: int, size: int) -> None: ...


class Silent:
    """Progress for nobody."""

    def expect(self, account: str, folder: str, messages: int) -> None: ...
    def stored(self, account: str, messages: int, size: int) -> None: ...
