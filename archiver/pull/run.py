"""Pull one account: folder by folder, plan, then fetch -> file -> ledger."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from archiver.config import Account
from archiver.errors import ArchiverError, FolderError, InterruptedRun, ServerError, StoreError
from archiver.imap import Connection, Failed, Mailbox, Selected, Status
from archiver.pull import plan
from archiver.pull.filing import Fault, Filing, clean
from archiver.store.durable import Syncer
from archiver.store.layout import FolderFile, claim_folder, mail_root, read_folder_file
from archiver.store.ledger import Ledger, glob_folder
from archiver.store.maildir import Finder, disk_errors
from archiver.store.rebuild import adopt
from archiver.store.records import Folder


class FolderReport(msgspec.Struct, kw_only=True):
    """What a pull did in one folder; counts of messages, `bytes` as on the wire.

    `linked` and `claimed` of the `stored` needed no new file; `documents` were never seen before.
    `waiting` UIDs failed and are tried again later; `unlisted` messages the server counts but does not
    show (Yahoo shows about 10,000 of a folder).
    """

    account: str
    folder: str
    stored: int = 0
    bytes: int = 0
    documents: int = 0
    linked: int = 0
    claimed: int = 0
    adopted: int = 0
    flags: int = 0
    gone: int = 0
    failed: int = 0
    waiting: int = 0
    unlisted: int = 0
    new_epoch: bool = False
    damaged: list[str] = msgspec.field(default_factory=list)
    error: str = ""


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
    """Told how far a pull is; called from the pulling thread."""

    def expect(self, account: str, folder: str, messages: int) -> None: ...
    def stored(self, account: str, messages: int, size: int) -> None: ...


class Silent:
    """Progress for nobody."""

    def expect(self, account: str, folder: str, messages: int) -> None: ...
    def stored(self, account: str, messages: int, size: int) -> None: ...


def no_fault(step: str) -> None:
    """The fault point of every day: nothing happens."""


def never() -> bool:
    return False


def pull(
    account: Account,
    connection: Connection,
    ledger: Ledger,
    *,
    only: Sequence[str] = (),
    progress: Progress | None = None,
    stop: Callable[[], bool] = never,
    now: Callable[[], float] = time.time,
    fault: Fault = no_fault,
) -> AccountReport:
    """Bring the archive of `account` up to date; the caller holds the account's lock.

    `only` limits it to folders that fit one of these globs. `stop` is asked between messages: when it
    says so, what is in hand is made durable and InterruptedRun raised. A folder that cannot be read and a
    message that cannot be fetched are in the report and do not stop the others; an error of the whole
    connection is raised, with everything before it kept.
    """
    begun = time.monotonic()
    report = AccountReport(account=account.name)
    report.other_mailbox = ledger.identify(account.name, account.imap.host, account.imap.user)
    recovered = dict(_recover(ledger, account.name))
    mailboxes = connection.list_folders()
    if mailboxes:
        ledger.set_listed(account.name, [m.raw for m in mailboxes])
    chosen = plan.choose(mailboxes, account.folders)
    if only:
        chosen = [m for m in chosen if any(glob_folder(pattern, m.name) for pattern in only)]
        if not chosen:
            raise FolderError(
                f"no folder like {', '.join(only)}",
                account=account.name,
                hint="archiver check --connect lists the folders",
            )
    statuses = connection.status(chosen)
    with Syncer() as syncer:
        task = _Pull(account, connection, ledger, progress or Silent(), stop, now, fault, syncer)
        for mailbox in chosen:
            begin = recovered.pop(mailbox.raw, None)
            begin = begin or FolderReport(account=account.name, folder=mailbox.name)
            done = task.folder(mailbox, statuses[mailbox.raw], begin)
            report.checked += 1
            if done is not None:
                report.folders.append(done)
    report.folders += (left for left in recovered.values() if left.adopted or left.damaged)
    report.seconds = time.monotonic() - begun
    return report


def _recover(ledger: Ledger, account: str) -> Iterator[tuple[str, FolderReport]]:
    """After an unclean end: drop unfinished files, know the finished ones; reports by raw name.

    In every folder left open, be it gone from the server or excluded by now: what is stored is stored.
    """
    for folder in ledger.folders(account):
        if folder.open:
            clean(ledger, folder)
            adopted = adopt(ledger, folder)
            ledger.close_folder(folder.id, folder.error)
            report = FolderReport(account=account, folder=folder.name)
            report.adopted, report.damaged = adopted.messages, list(adopted.damaged)
            yield folder.raw, report


class _Pull:
    """The arguments of one pull, so that its steps need not pass them along."""

    def __init__(
        self,
        account: Account,
        connection: Connection,
        ledger: Ledger,
        progress: Progress,
        stop: Callable[[], bool],
        now: Callable[[], float],
        fault: Fault,
        syncer: Syncer,
    ) -> None:
        self.account = account
        self.connection = connection
        self.ledger = ledger
        self.progress = progress
        self.stop = stop
        self.now = now
        self.fault = fault
        self.syncer = syncer
        self.folders = {folder.raw: folder for folder in ledger.folders(account.name)}

    def folder(
        self, mailbox: Mailbox, status: Status | FolderError, report: FolderReport
    ) -> FolderReport | None:
        """One folder brought up to date, its report completed; None when nothing had to be asked."""
        if self.stop():
            raise InterruptedRun()
        if isinstance(status, FolderError):
            report.error = status.message
            return report
        folder = self._known(mailbox)
        failures = self.ledger.failures(folder)
        report.waiting = len(failures)
        if plan.is_unchanged(folder, status, failures.values(), self.now(), self.account.flags_every):
            return report if failures else None
        if read_folder_file(os.path.join(mail_root(self.ledger.root), folder.path)) is None:
            self._claim_directory(mailbox)  # somebody removed it
        known = self.ledger.known(folder)
        try:
            selected = self.connection.examine(mailbox)
            if self._is_new_epoch(folder, selected, max(known, default=0)):
                report.new_epoch = folder.epoch > 0
                self.ledger.new_epoch(folder.id, selected.uidvalidity or 0)
                folder, known = self.ledger.folder(folder.id), {}
        except FolderError as exc:
            report.error = exc.message
            self.ledger.close_folder(folder.id, exc.message)
            return report
        self.ledger.open_folder(folder.id)
        self.fault("opened")
        try:
            self._update(folder, selected, known, report)
        except ArchiverError as exc:
            exc.account, exc.folder = exc.account or self.account.name, exc.folder or mailbox.name
            if not isinstance(exc, StoreError):
                # After an error of the disk, files may be in place that the ledger does not know.
                self.ledger.close_folder(folder.id, exc.message)
            raise
        return report

    def _known(self, mailbox: Mailbox) -> Folder:
        folder = self.folders.get(mailbox.raw)
        if folder is None:
            path = self._claim_directory(mailbox)
            folder = self.ledger.add_folder(self.account.name, mailbox.raw, mailbox.name, path)
        return folder

    def _claim_directory(self, mailbox: Mailbox) -> str:
        described = FolderFile(mailbox.raw, mailbox.name, mailbox.delimiter)
        with disk_errors("create a folder of the archive"):
            path = claim_folder(self.ledger.root, self.account.name, described)
        self.fault("created")
        return path

    def _is_new_epoch(self, folder: Folder, selected: Selected, highest: int) -> bool:
        if not selected.uidvalidity:
            raise FolderError(
                "the server gives no UIDVALIDITY: its UIDs cannot be relied on, so nothing is pulled",
                folder=folder.name,
            )
        return plan.is_new_epoch(folder, selected, highest)

    def _update(
        self,
        folder: Folder,
        selected: Selected,
        known: dict[int, tuple[str, str, int]],
        report: FolderReport,
    ) -> None:
        now = self.now()
        server = {m.uid: m.flags for m in self.connection.list_uids(folder.cursor + 1)}
        failures = self.ledger.failures(folder)
        live = sum(not gone for _, _, gone in known.values()) + len(failures)
        everything = plan.needs_all(folder, selected, live, len(server), now, self.account.flags_every)
        if everything and folder.cursor:
            server.update((m.uid, m.flags) for m in self.connection.list_uids(1, folder.cursor))
        elif folder.cursor and selected.modseq is not None and selected.modseq != folder.modseq:
            changed = self.connection.list_uids(1, folder.cursor, since=folder.modseq)
            server.update((m.uid, m.flags) for m in changed)
        complete = everything and len(server) >= selected.exists
        report.unlisted = selected.exists - len(server) if everything and not complete else 0
        work = plan.compare(server, known, failures, now, complete=complete)
        due = [uid for uid, failure in failures.items() if failure.due <= now and uid not in server]
        if complete:
            self.ledger.forget_failures(folder, [uid for uid in failures if uid not in server])
            due = []
        self._note(folder, work, known, report)
        self._fetch(folder, sorted({*work.fetch, *due}), report)
        self.fault("fetched")
        report.waiting = len(self.ledger.failures(folder))
        self.ledger.settle(
            folder,
            cursor=max([folder.cursor, (selected.uidnext or 1) - 1, *server]),
            # A listing shorter than EXISTS settles nothing: compare again next time.
            uidnext=None if everything and not complete else selected.uidnext,
            messages=selected.exists,
            modseq=selected.modseq,
            flags_at=now if everything else folder.flags_at,
        )

    def _note(
        self,
        folder: Folder,
        work: plan.Differences,
        known: dict[int, tuple[str, str, int]],
        report: FolderReport,
    ) -> None:
        """Write changed flags into file names and ledger, and mark what is gone."""
        path = os.path.join(mail_root(self.ledger.root), folder.path)
        finder = Finder()
        moved = {uid: letters for uid, letters, _ in work.flags if letters != known[uid][0]}
        with disk_errors("rename a message"):
            for place in self.ledger.places(folder, moved):
                target = os.path.join(path, "cur", f"{place.file}:2,{moved[place.uid]}")
                source = finder.path(path, place.file, place.flags)
                if source and source != target:
                    os.rename(source, target)
        self.fault("renamed")
        self.ledger.set_flags(folder, work.flags)
        self.ledger.set_gone(folder, work.gone, int(self.now()))
        report.flags, report.gone = len(work.flags), len(work.gone)

    def _fetch(self, folder: Folder, uids: Sequence[int], report: FolderReport) -> None:
        if not uids:
            return
        self.progress.expect(self.account.name, folder.name, len(uids))
        filing = Filing(self.ledger, folder, self.syncer, self.now(), self.fault)
        try:
            self._fetch_into(folder, uids, filing, report)
            filing.flush()
        finally:
            filing.close()
            report.stored, report.bytes, report.documents = filing.stored, filing.bytes, filing.documents
            report.linked, report.claimed = filing.linked, filing.claimed

    def _fetch_into(self, folder: Folder, uids: Sequence[int], filing: Filing, report: FolderReport) -> None:
        try:
            for message in self.connection.fetch(uids):
                if isinstance(message, Failed):
                    self.ledger.fail(folder, message.uid, message.reason, self.now())
                    report.failed += 1
                    continue
                filing.add(message)
                self.progress.stored(self.account.name, 1, len(message.wire))
                if self.stop():
                    raise InterruptedRun()
        except InterruptedRun:
            self.connection.abandon()
            filing.flush()
            raise
        except ServerError:
            # What did arrive is kept, and not fetched again.
            filing.flush()
            raise
