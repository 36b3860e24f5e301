"""Pull one account: who is there, which folders changed, and workers that bring them up to date."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from archiver.config import Account
from archiver.errors import FolderError, NotFoundError, UsageError
from archiver.imap import Connection, Mailbox, Status
from archiver.pull import plan
from archiver.pull.budget import Budget
from archiver.pull.crew import Crew
from archiver.pull.renames import follow_renames
from archiver.pull.report import AccountReport, FolderReport, Progress, Silent
from archiver.pull.worker import Orders, Worker
from archiver.store.durable import Syncer
from archiver.store.filing import Fault
from archiver.store.ledger import Ledger, glob_folder
from archiver.store.rebuild import recover
from archiver.store.records import Folder

Job = Callable[[Worker], FolderReport]
# Connecting takes about as long as bringing so many folders up to date.
_FOLDERS_A_HELPER = 4


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
    hire: Callable[[], AbstractContextManager[Connection]] | None = None,
    connections: int = 1,
    report: AccountReport | None = None,
    budget: Budget | None = None,
) -> AccountReport:
    """Bring the archive of `account` up to date; the caller holds the account's lock.

    `only` limits it to folders that fit one of these globs. `stop` is asked between messages: when it
    says so, what is in hand is made durable and InterruptedRun raised. `hire` makes further connections,
    up to `connections` in all, when there is enough to do. A folder that cannot be read and a
    message that cannot be fetched are in the report and do not stop the others; an error of the whole
    connection is raised, with everything before it kept; a `report` of the caller's then has what was
    done, and counts on when it is given to the pull that goes on.
    """
    begun = time.monotonic()
    report = report or AccountReport(account=account.name)
    earlier = {each.folder: each for each in report.folders}
    report.other_mailbox |= ledger.identify(account.name, account.imap.host, account.imap.user)
    recovered = dict(_recover(ledger, account.name))
    mailboxes = connection.list_folders(account.folders.namespaces)
    chosen = plan.choose(mailboxes, account.folders)
    if any(m.selectable for m in mailboxes) and not chosen:
        raise UsageError(
            "none of the server's folders is pulled: the configuration leaves out all of them",
            account=account.name,
            hint="see folders: include and exclude; archiver check --connect lists what there is",
        )
    if only:
        chosen = [m for m in chosen if any(glob_folder(pattern, m.name) for pattern in only)]
        if not chosen:
            raise NotFoundError(
                f"no folder like {', '.join(only)} is pulled",
                account=account.name,
                hint="archiver check --connect lists them; a minus marks what the configuration leaves out",
            )
    statuses = connection.status(chosen)
    renamed = follow_renames(ledger, account.name, connection, mailboxes, statuses, fault)
    if mailboxes:
        unseen = [f.raw for f in ledger.folders(account.name) if f.listed and not connection.sees(f.raw)]
        ledger.set_listed(account.name, [*unseen, *(m.raw for m in mailboxes)])
    orders = Orders(account, progress or Silent(), stop, now, fault, budget or Budget())
    folders = {folder.raw: folder for folder in ledger.folders(account.name)}
    with (
        Syncer() as syncer,
        Crew(lambda: _hired(orders, hire, ledger.root), connections if hire else 1) as crew,
    ):
        captain = Worker(orders, connection, ledger, syncer, crew)
        first: list[Job] = []
        jobs: list[Job] = []
        reports: list[FolderReport] = []
        for mailbox in chosen:
            begin = recovered.pop(mailbox.raw, None) or earlier.get(mailbox.name)
            begin = begin or FolderReport(account=account.name, folder=mailbox.name)
            begin.renamed = renamed.get(mailbox.raw, begin.renamed)
            folder = folders.get(mailbox.raw)
            if folder is None and isinstance(statuses[mailbox.raw], Status):
                folder = captain.known_folder(mailbox)
            if folder is None or not captain.is_unchanged(folder, statuses[mailbox.raw], begin):
                job = functools.partial(_folder, mailbox, statuses[mailbox.raw], folder, begin)
                (first if _has_everything(mailbox, connection) else jobs).append(job)
                reports.append(begin)
            elif begin.waiting or begin.adopted or begin.damaged or begin.renamed:
                reports.append(begin)
        report.checked = len(chosen)
        try:
            # Alone, so that the folders after it find all its contents known by name: two connections at
            # work on two folders would both fetch what is new in both.
            crew.together(first, captain, helpers=0)
            crew.together(jobs, captain, helpers=len(jobs) // _FOLDERS_A_HELPER)
        except BaseException:
            reports = [each for each in reports if each.happened()]
            raise
        finally:
            report.folders += (each for each in reports if each is not earlier.get(each.folder))
            report.folders += (left for left in recovered.values() if left.adopted or left.damaged)
            report.seconds += time.monotonic() - begun
    return report


def _has_everything(mailbox: Mailbox, connection: Connection) -> bool:
    """Whether this is Gmail's All Mail, which holds once more whatever has a label."""
    return connection.has("X-GM-EXT-1") and "\\all" in {use.lower() for use in mailbox.special}


def _recover(ledger: Ledger, account: str) -> Iterator[tuple[str, FolderReport]]:
    """After an unclean end: drop unfinished files, know the finished ones; reports by raw name.

    In every folder left open, be it gone from the server or excluded by now: what is stored is stored.
    """
    for folder in ledger.folders(account):
        if folder.open:
            adopted = recover(ledger, folder)
            report = FolderReport(account=account, folder=folder.name)
            report.adopted, report.damaged = adopted.messages, list(adopted.damaged)
            yield folder.raw, report


@contextmanager
def _hired(
    orders: Orders, hire: Callable[[], AbstractContextManager[Connection]] | None, root: str
) -> Iterator[Worker]:
    """A helper: a connection, a ledger and a syncer of its own, made in its own thread."""
    assert hire is not None
    with hire() as connection, Ledger(root) as ledger, Syncer() as syncer:
        yield Worker(orders, connection, ledger, syncer, None)


def _folder(
    mailbox: Mailbox,
    status: Status | FolderError,
    folder: Folder | None,
    report: FolderReport,
    worker: Worker,
) -> FolderReport:
    if folder is not None:
        # Another connection may have begun this and been lost; what it did counts.
        folder = worker.ledger.folder(folder.id)
    return worker.folder(mailbox, status, folder, report)
