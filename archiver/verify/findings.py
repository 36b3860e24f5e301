"""What can differ, what would mend it, and the report that lists it."""

from __future__ import annotations

from typing import Literal

import msgspec

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
