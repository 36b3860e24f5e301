"""What the verbs answer, as structs that print, and that `--json` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from archiver.errors import ArchiverError
from archiver.store.records import Spot

if TYPE_CHECKING:
    from archiver.indexer import IndexReport
    from archiver.pull import AccountReport
    from archiver.search.index import Hit, Total
    from archiver.search.tree import Node
    from archiver.verify import VerifyReport


class AccountCheck(msgspec.Struct, kw_only=True):
    """What logging in showed; `error` when it failed."""

    account: str
    server: str = ""
    capabilities: tuple[str, ...] = ()
    folders: list[tuple[str, int | None, bool]] = msgspec.field(default_factory=list)
    error: ArchiverError | None = None


class SyncReport(msgspec.Struct, kw_only=True):
    """What a sync did: a report or an error for each account, and the index's report."""

    accounts: list[AccountReport] = msgspec.field(default_factory=list)
    errors: dict[str, ArchiverError] = msgspec.field(default_factory=dict)
    index: IndexReport | None = None
    index_error: ArchiverError | None = None


class Row(msgspec.Struct, frozen=True):
    """A hit with its short id, the places where the message is or was, and its tags."""

    id: str
    hit: Hit
    spots: tuple[Spot, ...]
    tags: tuple[str, ...] = ()

    @property
    def unread(self) -> bool:
        """A copy on the server was not read."""
        return any(not spot.gone and "S" not in spot.flags for spot in self.spots)

    @property
    def gone(self) -> bool:
        """No copy is on the server any more."""
        return bool(self.spots) and all(spot.gone for spot in self.spots)


class Behind(msgspec.Struct, frozen=True):
    """What a search cannot find yet: about how many messages are `pending`, not indexed.

    `since`: those were received before that (Unix seconds), when that is known; `busy`: who indexes them now.
    """

    pending: int = 0
    since: int | None = None
    busy: str | None = None


class Results(msgspec.Struct, frozen=True):
    """A page of hits, how many there are, the tree that was asked."""

    total: Total
    rows: tuple[Row, ...]
    tree: Node
    behind: Behind


class ThreadRow(msgspec.Struct, frozen=True):
    """A conversation of which something was found: the first message found, how many were, of how many."""

    row: Row
    matched: int
    messages: int
    senders: tuple[str, ...]


class ThreadResults(msgspec.Struct, frozen=True):
    """A page of conversations; `more`: others follow."""

    rows: tuple[ThreadRow, ...]
    more: bool
    behind: Behind


class ThreadLine(msgspec.Struct, frozen=True):
    """A line of a conversation drawn as a tree, `depth` levels in; `row` None for a message that is not here.

    `missing`: so many more are not here between it and the one above it. `guessed`: only its subject says
    that it answers that one. `asked`: it was asked for. `turns`: its subject is about something else.
    """

    depth: int
    row: Row | None
    missing: int
    guessed: bool
    asked: bool
    turns: bool


class ThreadReport(msgspec.Struct, frozen=True):
    """A conversation of so many messages; `whole`: it has no more than could be looked at."""

    lines: tuple[ThreadLine, ...]
    messages: int
    whole: bool
    behind: Behind


class Counted(msgspec.Struct, frozen=True):
    """How many messages a query finds."""

    count: int
    behind: Behind


class Person(msgspec.Struct, frozen=True):
    """An address, "" for who has none, the name it goes by most often, and in how many messages it is."""

    address: str
    name: str
    count: int


class People(msgspec.Struct, frozen=True):
    """The people of messages, those in most of them first."""

    people: list[Person]
    behind: Behind


class Stats(msgspec.Struct, frozen=True):
    """What messages are together; bytes on the wire, dates in Unix seconds.

    How many there are in each month (`2024-03`, local time), which are in order; of each sender, in each
    folder, of each list, those with most first; and of each class of sizes (`figures.SIZES`).
    """

    messages: int
    bytes: int
    oldest: int | None
    newest: int | None
    months: dict[str, int]
    senders: list[Person]
    folders: dict[str, int]
    lists: list[Person]
    sizes: tuple[int, ...]
    behind: Behind


class Tagged(msgspec.Struct, frozen=True):
    """What tagging did: how many messages a query found, and how many of them have other tags now."""

    matched: int
    changed: int
    behind: Behind


class Imported(msgspec.Struct, frozen=True):
    """What reading tags did: messages named, those with other tags now, those the archive does not have."""

    messages: int
    changed: int
    unknown: int


class FolderStatus(msgspec.Struct, frozen=True):
    """A folder's counts; `bytes` on the wire, gone messages included."""

    name: str
    messages: int
    gone: int
    bytes: int
    error: str | None


class Watching(msgspec.Struct, frozen=True):
    """What is done to hear of new mail at once, in words, and since when (Unix seconds)."""

    text: str
    since: float


class AccountStatus(msgspec.Struct, frozen=True):
    """An account as the ledger knows it; times in Unix seconds, None for never.

    `push` is what the daemon does to hear of new mail, None when it does not listen.
    """

    name: str
    configured: bool
    started: float | None
    finished: float | None
    succeeded: float | None
    error: str | None
    next_run: float | None
    push: Watching | None
    failed: int
    folders: tuple[FolderStatus, ...]


class StatusReport(msgspec.Struct, frozen=True):
    """The archive at a glance. `daemon` says who runs the schedule, None when nobody does."""

    archive: str
    daemon: str | None
    documents: int
    pending: int
    accounts: tuple[AccountStatus, ...]


class Repaired(msgspec.Struct, kw_only=True):
    """What `verify` found and, with repair, what a second look found afterwards and the sync between."""

    found: VerifyReport
    sync: SyncReport | None = None
    left: VerifyReport | None = None
