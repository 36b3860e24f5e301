"""What can differ, what would mend it, and the reports that list it."""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.errors import ArchiverError

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
    "unfetched",
    "unpulled",
    "renumbered",
    "refused",
    "expunged",
    "unlisted",
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
    "failed": "try again now; else the next sync does, when it is due",
    "unfetched": "fetch them, as the next sync does",
    "unpulled": "pull the folder, as the next sync does",
    "renumbered": "pull the folder anew, as the next sync does; what is kept stays",
    "refused": "nothing: see what the server says, and verify again",
    "expunged": "nothing is lost: mark them gone, as the next sync does",
    "unlisted": "nothing: the server does not say which they are",
}
# Those that are not mended by looking at the archive, but by a pull that compares all UIDs of the folder.
BY_PULL: frozenset[Kind] = frozenset(("failed", "unfetched", "unpulled", "renumbered", "expunged"))


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `place` is the ledger's row id, `key` in hex; what does not apply is empty.

    Where it is about several `messages` of a folder, `uids` is their sequence set (`1:5,9`), if it is known.
    """

    kind: Kind
    account: str = ""
    folder: str = ""
    uid: int = 0
    key: str = ""
    path: str = ""
    place: int = 0
    gone: bool = False
    uids: str = ""
    messages: int = 0
    detail: str = ""

    @property
    def harmless(self) -> bool:
        """Whether no message is lacking because of it: none that was archived, none that should be."""
        if self.kind == "failed":
            return self.gone
        if self.kind == "renumbered":
            return not self.messages
        return self.kind in ("double", "copy", "stray", "expunged", "unlisted")


class Asked(msgspec.Struct, kw_only=True):
    """With how many folders of servers, and messages in them, the ledger was compared.

    `accounts` is how many were to be compared, `errors` has those of them that could not, or not to the end.
    """

    accounts: int = 0
    folders: int = 0
    messages: int = 0
    errors: dict[str, ArchiverError] = msgspec.field(default_factory=dict)


class Compared(msgspec.Struct, kw_only=True):
    """What asking servers came to; of folders in `judged` (ids) it says which failed UIDs matter."""

    asked: Asked = msgspec.field(default_factory=Asked)
    findings: list[Finding] = msgspec.field(default_factory=list)
    judged: set[int] = msgspec.field(default_factory=set)

    def add(self, part: Compared) -> None:
        """Count what was asked for another account, too."""
        self.asked = Asked(
            accounts=self.asked.accounts + part.asked.accounts,
            folders=self.asked.folders + part.asked.folders,
            messages=self.asked.messages + part.asked.messages,
            errors={**self.asked.errors, **part.asked.errors},
        )
        self.findings += part.findings
        self.judged |= part.judged


class VerifyReport(msgspec.Struct, kw_only=True):
    """What was compared and what differs; `server` is None when no server was to be asked."""

    folders: int = 0
    places: int = 0
    files: int = 0
    bytes: int = 0
    documents: int = 0
    indexed: int = 0
    server: Asked | None = None
    findings: list[Finding] = msgspec.field(default_factory=list)
