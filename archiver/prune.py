"""Delete from the server what is proven archived: the server's facts and ours -> what may go, then it goes.

Everything that decides is read in this very run: UIDVALIDITY, flags and INTERNALDATE over the connection
that deletes, the bytes of each message back from the disk. What is not proven stays; nothing in the archive
is touched but the ledger's word on where a message is.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from archiver.config import Account
from archiver.errors import ArchiverError, FolderError, InterruptedRun, UsageError
from archiver.imap import Connection, Listed, Mailbox, Opened
from archiver.store.hashing import check
from archiver.store.layout import mail_root
from archiver.store.ledger import Ledger
from archiver.store.pruned import PruneRecords
from archiver.store.reader import Reader
from archiver.store.records import Folder

# So many are proven, looked at once more, recorded and deleted together.
BATCH = 200
_AGE = re.compile(r"([1-9]\d{0,4})\s*([dwy])")

Reason = str
FLAGGED, NEWER, UNDATED, UNKNOWN = "flagged", "newer", "without a date", "not archived"
# Some servers count UIDs anew and keep UIDVALIDITY all the same.
REDATED = "with another date than archived"


class Deleted(msgspec.Struct, frozen=True):
    """A message that went from the server, or would go; `received` is its INTERNALDATE in Unix seconds."""

    uid: int
    key: bytes
    size: int
    received: int


class Unproven(msgspec.Struct, frozen=True):
    """A message that stays though it is old: its file is missing, unreadable or damaged."""

    uid: int
    key: bytes
    reason: str


class FolderPrune(msgspec.Struct, kw_only=True):
    """One folder. `kept` counts what stays by the reason; `error` is why nothing (more) went."""

    folder: str
    deleted: list[Deleted] = msgspec.field(default_factory=list)
    kept: dict[Reason, int] = msgspec.field(default_factory=dict)
    unproven: list[Unproven] = msgspec.field(default_factory=list)
    error: ArchiverError | None = None


class PruneReport(msgspec.Struct, kw_only=True):
    """A whole run; with `dry_run` nothing went, and `deleted` would have. `before` in Unix seconds."""

    account: str
    before: int
    dry_run: bool
    folders: list[FolderPrune] = msgspec.field(default_factory=list)
    error: ArchiverError | None = None

    @property
    def exit_code(self) -> int:
        """0 all that was to go went, 3 not all, or as the error that stopped everything."""
        errors = [exc for exc in (self.error, *(f.error for f in self.folders)) if exc]
        unproven = any(folder.unproven for folder in self.folders)
        if errors and not any(folder.deleted for folder in self.folders):
            return errors[0].exit_code
        return 3 if errors or unproven else 0


def days_ago(text: str, today: datetime.date) -> datetime.date:
    """The day an age such as `90d`, `26w` or `2y` before today. UsageError."""
    match = _AGE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"no age: {text!r}", hint="write 90d, 26w or 2y")
    number, unit = int(match[1]), match[2]
    try:
        if unit == "y":
            return _years_before(today, number)
        return today - datetime.timedelta(days=number * (7 if unit == "w" else 1))
    except (ValueError, OverflowError):
        raise UsageError(f"no mail is as old as {text}", hint="write 90d, 26w or 2y") from None


def _years_before(day: datetime.date, years: int) -> datetime.date:
    is_leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - years, day=28 if is_leap_day else day.day)


def sort_out(
    listed: Iterable[Listed], known: Mapping[int, bytes], before: int
) -> tuple[list[Listed], dict[Reason, int]]:
    """The messages that may go if they are proven, and how many stay for which reason."""
    wanted: list[Listed] = []
    kept: dict[Reason, int] = {}
    for message in listed:
        reason = _stays(message, known, before)
        if reason:
            kept[reason] = kept.get(reason, 0) + 1
        else:
            wanted.append(message)
    return wanted, kept


def _stays(message: Listed, known: Mapping[int, bytes], before: int) -> Reason:
    if message.uid not in known:
        return UNKNOWN
    if "\\flagged" in {flag.lower() for flag in message.flags}:
        return FLAGGED
    if message.received is None:
        return UNDATED
    return NEWER if message.received >= before else ""


def insist(connection: Connection, account: str) -> None:
    """UsageError where deleting means something else, or cannot be limited to the messages named."""
    if connection.has("X-GM-EXT-1"):
        raise UsageError(
            "Gmail is not pruned: what is deleted from a folder there only loses a label",
            account=account,
            hint="delete it in Gmail itself",
        )
    if not connection.has("UIDPLUS") and not connection.has("IMAP4REV2"):
        raise UsageError(
            "the server has no UIDPLUS: deleting could take along what others marked as deleted",
            account=account,
            hint="nothing was deleted; delete there by other means",
        )


def prune(
    account: Account,
    mailboxes: Sequence[Mailbox],
    connection: Connection,
    ledger: Ledger,
    records: PruneRecords | None,
    before: int,
    *,
    stop: Callable[[], bool] = lambda: False,
    now: Callable[[], float] = time.time,
    fault: Callable[[str], None] = lambda step: None,
) -> PruneReport:
    """Delete from these mailboxes what is older than `before` and proven.

    The caller holds the account's lock. Without `records` nothing is deleted: the report says what would
    be. A folder's error stops it alone.
    """
    insist(connection, account.name)
    report = PruneReport(account=account.name, before=before, dry_run=records is None)
    known = {folder.raw: folder for folder in ledger.folders(account.name)}
    for mailbox in mailboxes:
        each = FolderPrune(folder=mailbox.name)
        report.folders.append(each)
        folder = known.get(mailbox.raw)
        if folder is None or not folder.uidvalidity:
            continue  # nothing of it is archived
        try:
            _Pruning(account, connection, ledger, records, each, stop, now, fault).run(
                mailbox, folder, before
            )
        except FolderError as exc:
            exc.folder = exc.folder or mailbox.name
            each.error = exc
        except ArchiverError as exc:
            exc.account = exc.account or account.name
            report.error = exc
            break
    return report


class _Pruning:
    """One folder under way."""

    def __init__(
        self,
        account: Account,
        connection: Connection,
        ledger: Ledger,
        records: PruneRecords | None,
        report: FolderPrune,
        stop: Callable[[], bool],
        now: Callable[[], float],
        fault: Callable[[str], None],
    ) -> None:
        self._account = account
        self._connection = connection
        self._ledger = ledger
        self._records = records
        self._report = report
        self._stop = stop
        self._now = now
        self._fault = fault
        self._reader = Reader(ledger)

    def run(self, mailbox: Mailbox, folder: Folder, before: int) -> None:
        opened = self._open(mailbox)
        _insist_same(folder, opened, self._ledger)
        listed = self._connection.dated()
        self._settle_earlier(folder, listed)
        known = self._ledger.keys_by_uid(folder)
        wanted, self._report.kept = sort_out(listed, known, before)
        for start in range(0, len(wanted), BATCH):
            if self._stop():
                raise InterruptedRun()
            proven = list(self._proven(folder, wanted[start : start + BATCH], known))
            if self._records is None:
                self._report.deleted += proven
            elif proven:
                self._delete(self._records, folder, proven, before)

    def _open(self, mailbox: Mailbox) -> Opened:
        if self._records is not None:
            opened = self._connection.select(mailbox)
            if opened.read_only:
                raise FolderError("the server opens it for reading only")
            return opened
        # Looking changes nothing, not even which messages count as recent.
        selected = self._connection.examine(mailbox)
        return Opened(
            selected.exists,
            selected.uidvalidity,
            selected.uidnext,
            selected.mailboxid,
            True,
            frozenset(),
            False,
        )

    def _settle_earlier(self, folder: Folder, listed: Sequence[Listed]) -> None:
        """Of what a killed run was deleting, the messages that are gone went by its hand.

        The others lose the mark that it may have given them: this run may have reasons to keep them, and the
        next EXPUNGE of any program would take them.
        """
        if self._records is None:
            return
        begun = set(self._records.begun(self._account.imap.host, self._account.imap.user, folder))
        left = [message for message in listed if message.uid in begun]
        there = [message.uid for message in left]
        self._connection.unmark([message.uid for message in left if _is_marked(message)])
        self._note(self._records, folder, sorted(begun.difference(there)), there)

    def _proven(
        self, folder: Folder, messages: Sequence[Listed], known: Mapping[int, bytes]
    ) -> Iterator[Deleted]:
        """Those whose files hold, read back now, the bytes the server sent."""
        root = f"{mail_root(self._ledger.root)}/{folder.path}"
        places = {place.uid: place for place in self._ledger.places(folder, (m.uid for m in messages))}
        for message in messages:
            place, key = places.get(message.uid), known[message.uid]
            if place and place.received != message.received:
                self._keep(REDATED)
                continue
            path = self._reader.find(root, place.file, place.flags) if place else None
            _, files, size, wrong = check((0, [(path or "", key)]))
            self._fault("read")
            if wrong or not files:
                self._report.unproven.append(Unproven(message.uid, key, wrong[0][1] if wrong else "missing"))
            else:
                assert message.received is not None
                yield Deleted(message.uid, key, size, message.received)

    def _delete(self, records: PruneRecords, folder: Folder, proven: Sequence[Deleted], before: int) -> None:
        """Look once more, record, delete, see that they are gone, record that."""
        by_uid = {message.uid: message for message in proven}
        seen = self._connection.dated(uids=sorted(by_uid))
        wanted, kept = sort_out(seen, {uid: m.key for uid, m in by_uid.items()}, before)
        for reason, number in kept.items():
            self._keep(reason, number)
        uids = [message.uid for message in wanted]
        if not uids:
            return
        imap = self._account.imap
        records.about_to_delete(imap.host, imap.user, folder, [by_uid[uid] for uid in uids], int(self._now()))
        self._fault("recorded")
        left = self._expunge(wanted)
        gone = [uid for uid in uids if uid not in left]
        self._note(records, folder, gone, left)
        self._fault("known")
        self._report.deleted += (by_uid[uid] for uid in gone)
        if left:
            raise FolderError(f"{len(left)} messages are still there after the server said they are deleted")

    def _expunge(self, messages: Sequence[Listed]) -> list[int]:
        """Delete these; those that are still there, without the mark they did not have before."""
        uids = [message.uid for message in messages]
        marked = {message.uid for message in messages if _is_marked(message)}
        try:
            self._connection.expunge(uids)
        except FolderError:
            self._connection.unmark([uid for uid in uids if uid not in marked])
            raise
        self._fault("expunged")
        left = [message.uid for message in self._connection.dated(uids=uids)]
        self._connection.unmark([uid for uid in left if uid not in marked])
        return left

    def _keep(self, reason: Reason, number: int = 1) -> None:
        self._report.kept[reason] = self._report.kept.get(reason, 0) + number

    def _note(self, records: PruneRecords, folder: Folder, gone: Sequence[int], left: Sequence[int]) -> None:
        now = int(self._now())
        self._ledger.set_gone(folder, gone, now)
        imap = self._account.imap
        records.done(imap.host, imap.user, folder, gone, left, now)


def _is_marked(message: Listed) -> bool:
    return "\\deleted" in {flag.lower() for flag in message.flags}


def _insist_same(folder: Folder, opened: Opened, ledger: Ledger) -> None:
    """FolderError unless the UIDs that are archived mean these messages."""
    live, gone = ledger.uids(folder)
    highest = max((uids[-1] for uids in (live, gone) if uids), default=0)
    if not opened.uidvalidity:
        raise FolderError("the server gives no UIDVALIDITY: its UIDs cannot be relied on")
    if folder.is_over(opened.uidvalidity, opened.uidnext, highest, opened.mailboxid):
        raise FolderError(
            "its UIDs do not mean any more what they meant when it was archived",
            hint="archiver sync archives it anew; then prune",
        )
