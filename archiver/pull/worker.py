"""One connection's part of a pull: folders brought up to date, shares of large ones fetched."""

from __future__ import annotations

import functools
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import msgspec

from archiver.config import Account
from archiver.errors import ArchiverError, FolderError, InterruptedRun, ServerError, StoreError
from archiver.imap import Connection, Failed, Listed, Mailbox, Selected, Status
from archiver.pull import plan
from archiver.pull.budget import Budget
from archiver.pull.crew import Crew
from archiver.pull.filing import Filing
from archiver.pull.listing import Listing, Names
from archiver.pull.report import FolderReport, Progress
from archiver.store.durable import Syncer
from archiver.store.filing import Fault, move
from archiver.store.layout import FolderFile, claim_folder, mail_root, read_folder_file, write_folder_file
from archiver.store.ledger import Ledger
from archiver.store.maildir import Finder, disk_errors
from archiver.store.records import Folder, State

# A folder is fetched in shares of so many messages when there are helpers to take some.
_SHARE = 1000
# Nearer than this (seconds of a round trip) one connection is as fast as this program, and more cost more.
_NEAR = 0.003
_UNTOLD: frozenset[str] = frozenset()


class Orders(msgspec.Struct, frozen=True):
    """What all workers of one pull have in common."""

    account: Account
    progress: Progress
    stop: Callable[[], bool]
    now: Callable[[], float]
    fault: Fault
    budget: Budget


class Worker:
    """Brings folders up to date over one connection; `crew` are those who can help with a large one."""

    def __init__(
        self,
        orders: Orders,
        connection: Connection,
        ledger: Ledger,
        syncer: Syncer,
        crew: Crew[Worker] | None,
    ) -> None:
        self.orders = orders
        self.connection = connection
        self.ledger = ledger
        self.syncer = syncer
        self.crew = crew
        self._examined = ""

    def is_unchanged(self, folder: Folder, status: Status | FolderError, report: FolderReport) -> bool:
        """Whether nothing has to be asked."""
        failures = self.ledger.failures(folder)
        report.waiting = len(failures)
        every = self.orders.account.flags_every
        return not isinstance(status, FolderError) and plan.is_unchanged(
            folder, status, failures.values(), self.orders.now(), every
        )

    def folder(
        self, mailbox: Mailbox, status: Status | FolderError, folder: Folder | None, report: FolderReport
    ) -> FolderReport:
        """One folder brought up to date, its report completed. `folder` is None where STATUS was refused."""
        if self.orders.stop():
            raise InterruptedRun()
        if isinstance(status, FolderError) or folder is None:
            report.error = status.message if isinstance(status, FolderError) else "not known"
            return report
        with disk_errors("read a folder of the archive"):
            described = read_folder_file(os.path.join(mail_root(self.ledger.root), folder.path))
        if described is None:
            self.claim_directory(mailbox, folder.mailboxid)  # somebody removed it
        known = self.ledger.known(folder)
        try:
            selected = self._open(mailbox, folder)
            if self._is_new_epoch(folder, selected, max(known, default=0)):
                report.new_epoch = folder.epoch > 0
                self.ledger.new_epoch(folder.id, selected.uidvalidity or 0)
                folder, known = self.ledger.folder(folder.id), {}
            if selected.mailboxid and selected.mailboxid != folder.mailboxid:
                folder = self._identify(mailbox, folder, selected.mailboxid)
        except FolderError as exc:
            report.error = exc.message
            self.ledger.close_folder(folder.id, exc.message)
            return report
        self.ledger.open_folder(folder.id)
        self.orders.fault("opened")
        try:
            self._update(mailbox, folder, selected, known, report)
        except ArchiverError as exc:
            exc.account, exc.folder = exc.account or folder.account, exc.folder or mailbox.name
            if not isinstance(exc, StoreError):
                # After an error of the disk, files may be in place that the ledger does not know.
                self.ledger.close_folder(folder.id, exc.message)
            raise
        return report

    def known_folder(self, mailbox: Mailbox) -> Folder:
        """The ledger's folder, its directory made: by one worker at a time, so that no two take the same."""
        path = self.claim_directory(mailbox)
        return self.ledger.add_folder(self.orders.account.name, mailbox.raw, mailbox.name, path)

    def claim_directory(self, mailbox: Mailbox, mailboxid: str | None = None) -> str:
        described = FolderFile(mailbox.raw, mailbox.name, mailbox.delimiter, mailboxid)
        with disk_errors("create a folder of the archive"):
            path = claim_folder(self.ledger.root, self.orders.account.name, described)
        self.orders.fault("created")
        return path

    def _identify(self, mailbox: Mailbox, folder: Folder, mailboxid: str) -> Folder:
        """Remember the name that stays, on the disk before the first message."""
        described = FolderFile(mailbox.raw, mailbox.name, mailbox.delimiter, mailboxid)
        with disk_errors("write the name of a folder"):
            write_folder_file(os.path.join(mail_root(self.ledger.root), folder.path), described)
        self.orders.fault("identified")
        self.ledger.set_mailboxid(folder.id, mailboxid)
        return self.ledger.folder(folder.id)

    def _open(self, mailbox: Mailbox, folder: Folder | None = None) -> Selected:
        """EXAMINE; with a folder that is up to date with a mod-sequence, asking what changed since."""
        self._examined = ""
        if (
            self.connection.tells_changes
            and folder
            and folder.uidnext is not None
            and folder.modseq is not None
        ):
            selected = self.connection.examine(mailbox, (folder.uidvalidity, folder.modseq))
        else:
            selected = self.connection.examine(mailbox)
        self._examined = mailbox.raw
        return selected

    def _is_new_epoch(self, folder: Folder, selected: Selected, highest: int) -> bool:
        if not selected.uidvalidity:
            raise FolderError(
                "the server gives no UIDVALIDITY: its UIDs cannot be relied on, so nothing is pulled",
                folder=folder.name,
            )
        return plan.is_new_epoch(folder, selected, highest)

    def _update(
        self,
        mailbox: Mailbox,
        folder: Folder,
        selected: Selected,
        known: dict[int, State],
        report: FolderReport,
    ) -> None:
        now = self.orders.now()
        failures = self.ledger.failures(folder)
        told = selected.changed is not None
        listing = Listing()
        server = listing.flags
        # What a server with QRESYNC told with EXAMINE holds what is new, too.
        listing.take(selected.changed or () if told else self._above(folder.cursor, max(known, default=0)))
        vanished = plan.within(known, selected.vanished)
        live = sum(not gone for _, _, gone, _ in known.values()) - len(vanished) + len(failures)
        new = sum(uid not in known and uid not in failures for uid in server)
        everything = plan.needs_all(folder, selected, live, new, now, self.orders.account.flags_every)
        if everything and (told or folder.cursor):
            named = self.connection.names_contents and self.ledger.has_unnamed(folder)
            listing.take(self.connection.list_uids(1, None if told else folder.cursor, named=named))
        elif not told and folder.cursor and selected.modseq is not None and selected.modseq != folder.modseq:
            listing.take(self.connection.list_uids(1, folder.cursor, since=folder.modseq))
        if everything and not told and len(server) < selected.exists:
            # Perhaps SEARCH did not find what is new; it may be told message by message.
            listing.take(self.connection.list_uids(folder.cursor + 1))
        complete = everything and len(server) >= selected.exists
        report.unlisted = selected.exists - len(server) if everything and not complete else 0
        work = plan.compare(
            server, known, failures, now, complete=complete, labels=listing.labels, vanished=vanished
        )
        due = [uid for uid, failure in failures.items() if plan.is_due(failure, now) and uid not in server]
        if complete:
            self.ledger.forget_failures(folder, [uid for uid in failures if uid not in server])
            due = []
        self._note(folder, work, known, report)
        self._name(folder, known, listing.names)
        self._bring(mailbox, folder, plan.ascending(chain(work.fetch, due)), listing, report)
        self.orders.fault("fetched")
        report.waiting = len(self.ledger.failures(folder))
        self.ledger.settle(
            folder,
            cursor=max(folder.cursor, (selected.uidnext or 1) - 1, max(server, default=0)),
            # A listing shorter than EXISTS settles nothing: compare again next time.
            uidnext=None if everything and not complete else selected.uidnext,
            # What was listed and was not there is not counted: either it went meanwhile, and so it is on the
            # server, or the list was wrong, and a count that differs makes the next run look again.
            messages=min(selected.exists, self.ledger.live_count(folder) + report.waiting),
            modseq=selected.modseq,
            flags_at=now if everything else folder.flags_at,
        )

    def _above(self, cursor: int, highest: int) -> Iterator[Listed]:
        """What is above the cursor; its flags come with the messages, unless some of it is known."""
        if self.connection.names_contents or highest > cursor:
            return self.connection.list_uids(cursor + 1, named=True)
        return (Listed(uid, _UNTOLD) for uid in self.connection.uids(cursor + 1))

    def _note(
        self,
        folder: Folder,
        work: plan.Differences,
        known: dict[int, State],
        report: FolderReport,
    ) -> None:
        """Write changed flags into file names and ledger, and mark what is gone."""
        path = os.path.join(mail_root(self.ledger.root), folder.path)
        finder = Finder()
        moved = {uid: letters for uid, letters, *_ in work.flags if letters != known[uid][0]}
        with disk_errors("rename a message"):
            for place in self.ledger.places(folder, moved):
                target = os.path.join(path, "cur", f"{place.file}:2,{moved[place.uid]}")
                move(functools.partial(finder.path, path, place.file, place.flags), target)
        self.orders.fault("renamed")
        self.ledger.set_flags(folder, work.flags)
        self.ledger.set_gone(folder, work.gone, int(self.orders.now()))
        report.flags += len(work.flags)
        report.gone += len(work.gone)

    def _name(self, folder: Folder, known: dict[int, State], names: Names) -> None:
        """Remember what the server calls the contents of known messages: the files do not tell."""
        if len(names) and known and self.ledger.has_unnamed(folder):
            found = ((uid, names.get(uid)) for uid in known)
            self.ledger.set_contents(folder, ((uid, named.content) for uid, named in found if named))
            self.orders.fault("named")

    def _bring(
        self, mailbox: Mailbox, folder: Folder, uids: Sequence[int], listing: Listing, report: FolderReport
    ) -> None:
        """File what is new, and fetch of it only what is not known by the name of its content."""
        if not uids:
            return
        self.orders.progress.expect(folder.account, folder.name, len(uids))
        report.failed = 0  # by a connection that was lost; they are tried again now
        if self.connection.names_contents and (unnamed := [uid for uid in uids if uid not in listing.names]):
            listing.take(self.connection.name(unnamed))
        first, again = plan.first_of_each(self._link(folder, uids, listing, report), listing.names)
        self._fetch(mailbox, folder, first, listing.names, report)
        self._fetch(mailbox, folder, self._link(folder, again, listing, report), listing.names, report)

    def _link(
        self, folder: Folder, uids: Sequence[int], listing: Listing, report: FolderReport
    ) -> Sequence[int]:
        """File those messages whose contents are kept under the names the server has for them; the others."""
        if not len(listing.names):
            return uids
        left = array("I")
        with self._filing(folder, report) as filing:
            for start in range(0, len(uids), plan.BATCH_MESSAGES):
                batch = [(uid, listing.names.get(uid)) for uid in uids[start : start + plan.BATCH_MESSAGES]]
                kept = self.ledger.named(folder.account, [named.content for _, named in batch if named])
                for uid, named in batch:
                    content = kept.get(named.content) if named else None
                    if named is None or content is None or named.received not in content.received:
                        left.append(uid)
                        continue
                    filing.know(uid, listing.flags[uid], named, content)
                    self.orders.progress.stored(folder.account, 1, 0)
                if self.orders.stop():
                    filing.flush()
                    raise InterruptedRun()
        return plan.ascending(chain(left, filing.unproven))

    def _fetch(
        self, mailbox: Mailbox, folder: Folder, uids: Sequence[int], names: Names, report: FolderReport
    ) -> None:
        """Fetch and file; a large folder in shares, for every connection that helps."""
        if not uids:
            return
        shares = [uids]
        if self._is_worth_sharing(folder, uids):
            shares = [uids[i : i + _SHARE] for i in range(0, len(uids), _SHARE)]
        parts = [FolderReport(account=folder.account, folder=folder.name) for _ in shares]
        jobs = [
            functools.partial(_fetch_share, mailbox, folder, share, names, part)
            for share, part in zip(shares, parts, strict=True)
        ]
        try:
            if self.crew is None or len(jobs) == 1:
                jobs[0](self)
            else:
                self.crew.together(jobs, self, helpers=len(jobs) - 1)
        finally:
            for part in parts:
                report.add(part)

    def _is_worth_sharing(self, folder: Folder, uids: Sequence[int]) -> bool:
        if self.crew is None or len(uids) < 2 * _SHARE or self.connection.round_trip < _NEAR:
            return False
        # Files of earlier epochs are claimed by renaming them: two at that would take them from each other.
        return not self.ledger.earlier_count(folder)

    def fetch_share(
        self, mailbox: Mailbox, folder: Folder, uids: Sequence[int], names: Names, report: FolderReport
    ) -> None:
        """Fetch these UIDs of a folder and file them; the folder is examined first where it is not.

        A report with something in it is of a connection that was lost: what it stored is not fetched again.
        """
        if report.stored:
            there = {place.uid for place in self.ledger.places(folder, uids)}
            uids = [uid for uid in uids if uid not in there]
        report.failed = 0
        if self._examined != folder.raw and self._open(mailbox).uidvalidity != folder.uidvalidity:
            raise FolderError("UIDVALIDITY changed during the pull", folder=folder.name)
        with self._filing(folder, report) as filing:
            self._fetch_into(folder, uids, names, filing, report)

    @contextmanager
    def _filing(self, folder: Folder, report: FolderReport) -> Iterator[Filing]:
        """A filing whose messages are all known at the end, and those that are known in the report."""
        filing = Filing(self.ledger, folder, self.syncer, self.orders.now(), self.orders.fault)
        try:
            yield filing
            filing.flush()
        finally:
            filing.close()
            report.stored += filing.stored
            report.bytes += filing.bytes
            report.documents += filing.documents
            report.spared += filing.spared
            report.linked += filing.linked
            report.claimed += filing.claimed

    def _fetch_into(
        self, folder: Folder, uids: Sequence[int], names: Names, filing: Filing, report: FolderReport
    ) -> None:
        try:
            self.orders.budget.insist()
            for message in self.connection.fetch(uids, filing.receive):
                if isinstance(message, Failed):
                    self.ledger.fail(folder, message.uid, message.reason, self.orders.now())
                    report.failed += 1
                    continue
                filing.add(message, names.get(message.uid))
                self.orders.progress.stored(folder.account, 1, message.size)
                self.orders.budget.spend(message.size)
                if self.orders.stop():
                    raise InterruptedRun()
                self.orders.budget.insist()
        except InterruptedRun:
            self.connection.abandon()
            filing.flush()
            raise
        except ServerError:
            # What did arrive is kept, and not fetched again.
            filing.flush()
            raise


def _fetch_share(
    mailbox: Mailbox,
    folder: Folder,
    uids: Sequence[int],
    names: Names,
    report: FolderReport,
    worker: Worker,
) -> None:
    worker.fetch_share(mailbox, folder, uids, names, report)
