"""The loop of a restore: bunch by bunch, each recorded before it is sent, and again when it is there.

A line that breaks is made anew, with smaller bunches, until the one message is found that breaks it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from archiver.errors import (
    ArchiverError,
    ConnectionLostError,
    FolderError,
    InterruptedRun,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from archiver.imap import Appended, Connection, Mailbox, Opened, Outgoing, Refused
from archiver.restore import plan
from archiver.restore.look import look_for
from archiver.restore.plan import Item
from archiver.restore.report import Failure, FolderReport, Progress, RestoreReport, Silent
from archiver.store.restored import RestoreRecords, Sent

Wire = bytes | Iterable[bytes]

# Without a message that came through in between, the line may break so often.
_PATIENCE = 5
# Of a bunch that broke the line so many parts are tried one after the other.
_PARTS = 8
# So many messages in a row that a mailbox has no room for: it is full.
_FULL = 20
# What says that nothing at all can be put into a mailbox (RFC 5530, 3; RFC 3501, 7.1).
_CLOSED = ("NOPERM", "READ-ONLY", "NONEXISTENT", "TRYCREATE")


class Source(Protocol):
    """Where the bytes of messages come from. StoreError, NotFoundError."""

    def load(self, item: Item) -> Wire:
        """The bytes to send; of a large message in pieces, which can be gone through several times."""
        ...

    def original(self, key: bytes) -> bytes:
        """The bytes of a message that may have been sent by an earlier run."""
        ...


class Target(msgspec.Struct, frozen=True):
    """Whose mailbox is restored into, and what the ledger knows of it.

    `known` says which contents it has in a folder by raw name and UIDVALIDITY: UID -> key.
    """

    account: str
    host: str
    user: str
    known: Callable[[str, int], Mapping[int, bytes]]


def restore(
    folders: Mapping[str, Sequence[Item]],
    target: Target,
    connect: Callable[[], AbstractContextManager[Connection]],
    source: Source,
    records: RestoreRecords,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    now: Callable[[], float] = time.time,
    fault: Callable[[str], None] = lambda step: None,
) -> RestoreReport:
    """Put messages into folders of an account; the caller holds the lock on restoring into it.

    What `source` raises fails that one message alone. `fault` is called with
    a name between every two steps, for tests. What ended the run early is in the report, and raised only
    where the records cannot be written, since what cannot be recorded must not be sent.
    """
    begun = time.monotonic()
    run = _Run(folders, target, source, records, progress or Silent(), stop, now, fault)
    try:
        run.until_done(connect)
    except StoreError:
        raise
    except ArchiverError as exc:
        exc.account = exc.account or target.account
        run.report.error = exc
    for each in run.report.folders:
        each.left = len(folders[each.folder]) - each.restored - each.there - len(each.failed)
    run.report.seconds = time.monotonic() - begun
    return run.report


def preview(
    folders: Mapping[str, Sequence[Item]],
    target: Target,
    connection: Connection,
    records: RestoreRecords | None,
) -> RestoreReport:
    """What `restore` would do, `left` being what it would send; nothing is changed or recorded."""
    report = RestoreReport(account=target.account)
    mailboxes = _by_name(connection)
    for name, items in folders.items():
        each = FolderReport(folder=name)
        report.folders.append(each)
        mailbox = mailboxes.get(_folded(name))
        each.created = mailbox is None or not mailbox.selectable
        if mailbox is None or each.created:
            mailbox = connection.mailbox_named(name)
            each.left = len(items)
            continue
        selected = connection.examine(mailbox)
        uids = set(connection.uids())
        there: set[bytes] = set()
        if selected.uidvalidity:
            number = records and records.known_target(
                target.host, target.user, mailbox.raw, selected.uidvalidity
            )
            put = records.restored(number) if records and number else {}
            known = target.known(mailbox.raw, selected.uidvalidity)
            _insist_same(known, selected.uidnext)
            there = _there(put, known, uids)
        each.there = sum(item.key in there for item in items)
        each.left = len(items) - each.there
    return report


def _by_name(connection: Connection) -> dict[str, Mailbox]:
    return {_folded(mailbox.name): mailbox for mailbox in connection.list_folders()}


def _folded(name: str) -> str:
    return "INBOX" + name[5:] if name.upper() == "INBOX" or name.upper().startswith("INBOX/") else name


def _insist_same(known: Mapping[int, bytes], uidnext: int | None) -> None:
    """FolderError where UIDs were counted anew under one UIDVALIDITY: others have those that are known."""
    if known and uidnext is not None and uidnext <= max(known):
        raise FolderError(
            "its UIDs do not mean any more what they meant when it was archived",
            hint="archiver sync archives it anew; then restore",
        )


def _there(put: Mapping[bytes, int], known: Mapping[int, bytes], uids: set[int]) -> set[bytes]:
    """The contents a mailbox has, as far as records and ledger know, among the UIDs that are there now."""
    there = {key for key, uid in put.items() if uid in uids}
    there.update(key for uid, key in known.items() if uid in uids)
    return there


class _Run:
    """A restore under way, over one connection after the other."""

    def __init__(
        self,
        folders: Mapping[str, Sequence[Item]],
        target: Target,
        source: Source,
        records: RestoreRecords,
        progress: Progress,
        stop: Callable[[], bool],
        now: Callable[[], float],
        fault: Callable[[str], None],
    ) -> None:
        self.folders = folders
        self.target = target
        self.source = source
        self.records = records
        self.progress = progress
        self.stop = stop
        self.fault = fault
        self.report = RestoreReport(account=target.account)
        # How many messages go together; fewer after the line broke.
        self.together = plan.BUNCH_MESSAGES
        self._now = now
        self.visited: set[str] = set()
        # What was alone on its way when the line broke.
        self.breakers: set[bytes] = set()
        self._done: set[str] = set()
        self._reports = {name: FolderReport(folder=name) for name in folders}
        self.report.folders = list(self._reports.values())

    def now(self) -> int:
        return int(self._now())

    def until_done(self, connect: Callable[[], AbstractContextManager[Connection]]) -> None:
        losses = 0
        while True:
            before = self._outcomes()
            try:
                with connect() as connection:
                    self._all(connection)
                return
            except ConnectionLostError:
                losses = losses + 1 if self._outcomes() == before else 1
                if losses >= _PATIENCE or self.stop():
                    raise

    def _outcomes(self) -> int:
        return sum(each.restored + len(each.failed) for each in self.report.folders)

    def _all(self, connection: Connection) -> None:
        mailboxes = _by_name(connection)
        for name, items in self.folders.items():
            if name in self._done:
                continue
            try:
                self._folder(connection, mailboxes.get(_folded(name)), name, items)
            except FolderError as exc:
                exc.account, exc.folder = self.target.account, exc.folder or name
                self._reports[name].error = exc
            self._done.add(name)

    def _folder(
        self, connection: Connection, mailbox: Mailbox | None, name: str, items: Sequence[Item]
    ) -> None:
        report = self._reports[name]
        again = False
        while True:
            if mailbox is None or not mailbox.selectable or again:
                mailbox = mailbox or connection.mailbox_named(name)
                connection.create(mailbox)
                report.created = True
                self.fault("created")
            opened = connection.select(mailbox)
            try:
                _Filling(self, connection, mailbox, opened, report).fill(items)
                return
            except _GoneError:
                if again:
                    raise FolderError("it is gone as soon as it is created") from None
                again = True


class _GoneError(Exception):
    """The server says [TRYCREATE]: somebody deleted the mailbox."""


class _Filling:
    """Messages on their way into one mailbox over one connection."""

    def __init__(
        self, run: _Run, connection: Connection, mailbox: Mailbox, opened: Opened, report: FolderReport
    ) -> None:
        if opened.read_only:
            raise FolderError("the server opens it for reading only")
        if not opened.uidvalidity:
            raise FolderError("the server gives no UIDVALIDITY: what was put there could not be known again")
        self._run = run
        self._connection = connection
        self._opened = opened
        self._report = report
        self._mailbox = mailbox
        self._number = run.records.target(run.target.host, run.target.user, mailbox.raw, opened.uidvalidity)
        self._appending = connection.appending(mailbox)
        self._under_way: deque[list[tuple[Item, Sent]]] = deque()
        self._above = opened.uidnext or 1
        # In this order, by the server's word; where it does not tell their UIDs, these are to be found.
        self._confirmed: list[Sent] = []
        self._closed: Refused | None = None
        self._over_quota = 0

    def fill(self, items: Sequence[Item]) -> None:
        todo = self._todo(items)
        self._connection.unselect()
        try:
            for bunch in plan.bunches(self._sendable(todo), lambda: self._run.together):
                self._make_room()
                if self._run.stop() or self._closed or self._over_quota >= _FULL:
                    break
                self._send(bunch)
            while self._under_way:
                self._take()
        except ConnectionLostError:
            self._broken()
            raise
        if self._confirmed:
            self._connection.select(self._mailbox)
            self._find()
        self._conclude()

    def _todo(self, items: Sequence[Item]) -> list[Item]:
        """What is not there yet; what an earlier run, or line, sent without an answer is looked for first."""
        run, connection = self._run, self._connection
        assert self._opened.uidvalidity
        # At once: later it may know of messages that came after the mailbox was opened.
        known = run.target.known(self._mailbox.raw, self._opened.uidvalidity)
        _insist_same(known, self._opened.uidnext)
        self._find()
        uids = set(connection.uids())
        put = run.records.restored(self._number)
        there = _there(put, known, uids)
        failed = {failure.key for failure in self._report.failed}
        if lost := [key for key, uid in put.items() if uid not in uids]:
            run.records.found(self._number, {}, lost, run.now())  # deleted since then
        todo = [item for item in items if item.key not in there and item.key not in failed]
        if self._report.folder in run.visited:
            # An earlier line began it: what is there beyond what was counted came over that one.
            self._report.restored = len(items) - len(todo) - self._report.there - len(failed)
        else:
            run.visited.add(self._report.folder)
            self._report.there = len(items) - len(todo)
            run.progress.expect(run.target.account, self._report.folder, len(todo))
        return todo

    def _sendable(self, items: Iterable[Item]) -> Iterator[tuple[Item, int]]:
        limit = self._connection.append_limit(self._mailbox)
        for item in items:
            if limit is not None and item.size > limit:
                self._fail(item, f"too large: it has {item.size:,} bytes, the server takes {limit:,}")
            else:
                yield item, item.size

    def _make_room(self) -> None:
        window = self._appending.window if self._run.together == plan.BUNCH_MESSAGES else 1
        while len(self._under_way) >= window:
            self._take()

    def _send(self, items: Sequence[Item]) -> None:
        loaded = [(item, wire) for item in items if (wire := self._load(item)) is not None]
        if not loaded:
            return
        bunch = [(item, Sent(item.key, item.received)) for item, _ in loaded]
        run = self._run
        run.records.about_to_send(self._number, [sent for _, sent in bunch], self._above, run.now())
        run.fault("recorded")
        self._under_way.append(bunch)
        try:
            self._appending.send([self._outgoing(item, wire) for item, wire in loaded])
        except StoreError as exc:
            # Only a large message, which goes alone, is still read now; the line waits for the rest of it.
            self._fail(items[-1], exc.message, exc.hint)
            raise ConnectionLostError("the line was given up in the middle of a message") from exc
        run.fault("sent")

    def _outgoing(self, item: Item, wire: Wire) -> Outgoing:
        flags = plan.settable(item.flags, self._opened.flags, self._opened.keywords)
        return Outgoing(wire, item.size, flags, item.received)

    def _load(self, item: Item) -> Wire | None:
        try:
            wire = self._run.source.load(item)
            has_nul = b"\0" in wire if isinstance(wire, bytes) else any(b"\0" in piece for piece in wire)
        except (StoreError, NotFoundError) as exc:
            self._fail(item, exc.message, exc.hint)
            return None
        if has_nul:
            self._fail(item, "it has NUL bytes, which no APPEND may have (RFC 9051, 9)")
            return None
        return wire

    def _take(self) -> None:
        """The outcome of the oldest bunch, recorded."""
        outcomes = self._appending.answer()
        self._run.fault("answered")
        bunch = self._under_way.popleft()
        uids: dict[bytes, int] = {}
        absent: list[bytes] = []
        for (item, sent), outcome in zip(bunch, outcomes, strict=True):
            if isinstance(outcome, Appended):
                self._taken(item, sent, outcome, uids)
            else:
                absent.append(item.key)
                self._refused(item, outcome)
        self._run.records.found(self._number, uids, absent, self._run.now())
        self._run.fault("known")
        self._above = max([self._above, *(uid + 1 for uid in uids.values())])
        self._run.together = min(self._run.together * 2, plan.BUNCH_MESSAGES)
        size = sum(item.size for item, _ in bunch if item.key not in absent)
        self._run.progress.stored(self._run.target.account, len(bunch) - len(absent), size)

    def _taken(self, item: Item, sent: Sent, outcome: Appended, uids: dict[bytes, int]) -> None:
        self._over_quota = 0
        self._report.restored += 1
        self._report.bytes += item.size
        if outcome.uid and outcome.uidvalidity == self._opened.uidvalidity:
            uids[item.key] = outcome.uid
        else:
            self._confirmed.append(sent)

    def _refused(self, item: Item, outcome: Refused) -> None:
        if outcome.code in _CLOSED:
            self._closed = outcome
            return
        self._over_quota = self._over_quota + 1 if outcome.code == "OVERQUOTA" else 0
        self._fail(item, f"the server says: {outcome.reason}")

    def _fail(self, item: Item, reason: str, hint: str | None = None) -> None:
        self._report.failed.append(Failure(item.key, reason, hint))

    def _find(self) -> int:
        """Look for what was sent and has no UID yet; how many are there."""
        run = self._run
        return look_for(
            self._connection, run.records, self._number, self._confirmed, run.source.original, run.now()
        )

    def _broken(self) -> None:
        """Let less go together on the next line; a message that was alone twice is not tried again."""
        under_way = [item for bunch in self._under_way for item, _ in bunch]
        if len(under_way) == 1 and under_way[0].key in self._run.breakers:
            self._fail(under_way[0], "the line to the server breaks when it is sent")
        elif len(under_way) == 1:
            self._run.breakers.add(under_way[0].key)
        if under_way:
            self._run.together = max(1, len(under_way) // _PARTS)

    def _conclude(self) -> None:
        if self._closed and self._closed.code == "TRYCREATE":
            raise _GoneError
        if self._closed:
            raise FolderError(f"nothing can be put into it: {self._closed.reason}")
        if self._over_quota >= _FULL:
            raise UnavailableError(f"{self._report.folder}: the mailbox is full", hint="make room")
        if self._run.stop():
            raise InterruptedRun()
