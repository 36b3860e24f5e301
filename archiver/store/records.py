"""The rows of the ledger: its schema and the frozen structs its answers come in."""

from __future__ import annotations

import msgspec

VERSION = 4
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE account (
    name TEXT PRIMARY KEY, host TEXT NOT NULL, user TEXT NOT NULL,
    started REAL, finished REAL, succeeded REAL, error TEXT, next_run REAL) WITHOUT ROWID;
CREATE TABLE folder (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, raw TEXT NOT NULL, name TEXT NOT NULL,
    path TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL DEFAULT 0, uidvalidity INTEGER NOT NULL DEFAULT 0,
    cursor INTEGER NOT NULL DEFAULT 0, uidnext INTEGER, messages INTEGER, modseq INTEGER,
    flags_at REAL NOT NULL DEFAULT 0, open INTEGER NOT NULL DEFAULT 0, listed INTEGER NOT NULL DEFAULT 1,
    error TEXT, mailboxid TEXT, UNIQUE (account, raw));
CREATE TABLE document (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE place (
    id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, epoch INTEGER NOT NULL, uid INTEGER NOT NULL,
    document INTEGER NOT NULL, received INTEGER NOT NULL, file TEXT NOT NULL,
    flags TEXT NOT NULL, keywords TEXT NOT NULL, gone INTEGER NOT NULL DEFAULT 0,
    content TEXT, labels TEXT,
    UNIQUE (folder, epoch, uid));
CREATE INDEX place_document ON place (document);
CREATE INDEX place_content ON place (content) WHERE content IS NOT NULL;
CREATE TABLE failed (
    folder INTEGER NOT NULL, epoch INTEGER NOT NULL, uid INTEGER NOT NULL,
    reason TEXT NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL,
    PRIMARY KEY (folder, epoch, uid)) WITHOUT ROWID;
CREATE TABLE change (
    number INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL,
    mark INTEGER NOT NULL DEFAULT (random()));
CREATE VIEW spot AS
    SELECT p.id, d.key, d.size, f.account, f.name AS folder, f.path, p.file, p.flags, p.gone, p.received,
           p.uid, p.folder AS folder_id, p.epoch = f.epoch AS current, p.labels
    FROM place p JOIN folder f ON f.id = p.folder JOIN document d ON d.id = p.document;
"""
State = tuple[str, str, int, str | None]
"""What changes about a place: flag letters, keywords, gone, labels."""

# The epoch of what was imported: places that no server is ever asked about.
IMPORTED = -1
# A failed UID is tried again after these waits, in seconds; the last one repeats.
RETRY_AFTER = (0, 3600, 6 * 3600, 86400, 7 * 86400)


class Folder(msgspec.Struct, frozen=True):
    """What is known of a folder. `cursor`: every UID at or below is settled. `uidvalidity` 0: never read.

    `open` is 1 while a run writes into it: found so at the start, the last run ended uncleanly. `mailboxid`
    is the server's own name for it, which stays when it is renamed.
    """

    id: int
    account: str
    raw: str
    name: str
    path: str
    epoch: int
    uidvalidity: int
    cursor: int
    uidnext: int | None
    messages: int | None
    modseq: int | None
    flags_at: float
    open: int
    listed: int
    error: str | None
    mailboxid: str | None = None

    def is_another(self, mailboxid: str | None) -> bool:
        """Whether this MAILBOXID is another mailbox's, as far as both are known."""
        return mailboxid is not None and self.mailboxid is not None and mailboxid != self.mailboxid

    def is_over(
        self, uidvalidity: int | None, uidnext: int | None, highest: int, mailboxid: str | None = None
    ) -> bool:
        """Whether UIDs no longer mean what they meant: another UIDVALIDITY or mailbox, or counted anew.

        `highest` is the highest UID known of the present epoch: a run that was cut short, or a ledger made
        from the files, knows more than its cursor says.
        """
        if uidvalidity != self.uidvalidity or self.is_another(mailboxid):
            return True
        return uidnext is not None and uidnext <= max(self.cursor, highest)


class Place(msgspec.Struct, frozen=True):
    """One message on the server and its file. `gone`: Unix time it was found gone, 0 when it is there.

    `content` is the server's name for its bytes, `labels` has a line for each label; None where the server
    told none, or was not asked since the ledger was rebuilt.

    Epoch 0 holds what was found on disk and belongs to no epoch we know, -1 what was imported; their
    `uid` is a negative number.
    """

    id: int
    folder: int
    epoch: int
    uid: int
    document: int
    received: int
    file: str
    flags: str
    keywords: str
    gone: int
    content: str | None
    labels: str | None


class Spot(msgspec.Struct, frozen=True):
    """A place with the words a person knows it by; `current`: of the folder's present epoch."""

    id: int
    key: bytes
    size: int
    account: str
    folder: str
    path: str
    file: str
    flags: str
    gone: int
    received: int
    uid: int
    folder_id: int
    current: int
    labels: str | None

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self.labels.split("\n")) if self.labels else ()


class Origin(msgspec.Struct, frozen=True, gc=False):
    """A place as one puts it back: what it holds, where it was, its file, and what the server knew of it."""

    key: bytes
    size: int
    account: str
    folder: str
    path: str
    file: str
    flags: str
    keywords: str
    gone: int
    received: int


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What the ledger knows of a place's file: as `Place`, with the content's key and bytes on the wire."""

    id: int
    uid: int
    file: str
    flags: str
    gone: int
    key: bytes
    size: int


class Queued(msgspec.Struct, frozen=True):
    """A document that waits for the index: its number, INTERNALDATE of its oldest place, key, size.

    `places` has the folder (below the mail root), file and flags of each, those on the server first.
    """

    document: int
    received: int
    key: bytes
    size: int
    places: tuple[tuple[str, str, str], ...]


class Failure(msgspec.Struct, frozen=True):
    """A UID that could not be stored, why, how often it was tried, and when it is due again (Unix time)."""

    folder: int
    epoch: int
    uid: int
    reason: str
    tries: int
    due: float


class AccountRow(msgspec.Struct, frozen=True):
    """An account's identity and its last run, times in Unix seconds."""

    name: str
    host: str
    user: str
    started: float | None
    finished: float | None
    succeeded: float | None
    error: str | None
    next_run: float | None


class NewPlace(msgspec.Struct, frozen=True, gc=False):
    """A stored message about to be known; `content` and `labels` as in `Place`."""

    uid: int
    key: bytes
    size: int
    received: int
    file: str
    flags: str
    keywords: str
    content: str | None = None
    labels: str | None = None


class Content(msgspec.Struct, frozen=True):
    """A document a server has a name for: its key, bytes on the wire, and the base of a file's name.

    `received` has the INTERNALDATEs of its places that are called so.
    """

    key: bytes
    size: int
    file: str
    received: frozenset[int]
