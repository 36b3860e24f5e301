"""The facade: one method for each verb. Command line, daemon and web call nothing else.

What a verb needs is imported inside its method: `archiver search` must not pay for IMAP.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from archiver.archive.ids import resolve
from archiver.archive.reports import AccountCheck, Repaired, StatusReport, SyncReport
from archiver.config import Account, Config, SmtpServer
from archiver.errors import ArchiverError, DamagedError, InterruptedRun, NotFoundError, UsageError
from archiver.store import layout
from archiver.store.ledger import Ledger
from archiver.store.locks import holder, lock
from archiver.store.maildir import disk_errors
from archiver.store.records import Spot

if TYPE_CHECKING:
    from concurrent.futures import Future

    from archiver.archive.accounts import Mailbox
    from archiver.archive.explain import Explained
    from archiver.archive.passages import Passage
    from archiver.archive.reports import (
        Counted,
        Imported,
        People,
        Results,
        Stats,
        Tagged,
        ThreadReport,
        ThreadResults,
    )
    from archiver.archive.restore import Selection
    from archiver.archive.sending import Order as Sending
    from archiver.archive.sending import Plan, Preview
    from archiver.exchange import Dialect, ExportReport, Format, ImportReport, Wanted
    from archiver.imap import Connection
    from archiver.indexer import IndexReport
    from archiver.message import Message
    from archiver.prune import PruneReport
    from archiver.pull import AccountReport, Progress
    from archiver.resend import MessageReport, Parcel, Report
    from archiver.restore import Progress as RestoreProgress
    from archiver.restore import RestoreReport
    from archiver.search.index import Index, Order
    from archiver.search.people import Role
    from archiver.search.tree import Node
    from archiver.smtp import Session
    from archiver.store.tags import Change
    from archiver.store.user import OutboxMessage, User
    from archiver.watch import Pull, State

# During a pull, the index is fed whenever so many documents wait for it.
_INDEX_DURING_PULL = 2000
# Who holds this lock builds the index from much mail; others add to it meanwhile.
BULK = "bulk"
# More documents than these take a while to index.
_LONG = 10_000


class Archive:
    """An archive as its configuration describes it.

    `say` gets notices of one line (waiting for whom, rebuilding what); `stop` is asked between batches of
    long work, which then ends with InterruptedRun, everything done so far kept.
    """

    def __init__(
        self,
        config: Config,
        *,
        say: Callable[[str], None] = lambda text: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config = config
        self.root = config.archive
        self.say = say
        self.stop = stop

    # What every verb starts from

    @contextmanager
    def ledger(self, *, make: bool = False) -> Iterator[Ledger]:
        """The ledger, rebuilt from the mail first where it was lost.

        Without `make`, NotFoundError where there is no archive: who looks at one whose disk is not mounted
        must not find it empty.
        """
        with disk_errors("open the archive"):
            there = layout.is_archive(self.root)
        if not there:
            if not make:
                raise NotFoundError(
                    f"there is no archive at {self.root}",
                    hint="archiver sync makes it; if it was made already, is its disk mounted?",
                )
            self.say(f"there is no archive at {self.root} yet: it is made")
        with Ledger(self.root) as ledger:
            if ledger.fresh:
                self._rebuild(ledger)
            yield ledger

    def _rebuild(self, ledger: Ledger) -> None:
        from archiver.store.rebuild import nameless, rebuild

        with self.lock("rebuild", "rebuilding the ledger"):
            if not ledger.fresh:
                return  # whom we waited for did it
            with disk_errors("list the archive"):
                empty = not any(layout.walk_folders(self.root)) and not nameless(self.root)
            if empty:
                ledger.rebuilt()
                return
            self.say("the ledger is missing: rebuilding it from the mail")
            adopted = rebuild(ledger)
            ledger.rebuilt()
        self.say(f"the ledger knows {adopted.messages} messages again")
        for path in adopted.damaged:
            self.say(f"damaged, not taken in: {path}")
        for path in adopted.nameless:
            self.say(f"no readable {layout.FOLDER_FILE}, named after its directory: {path}")

    def lock(self, name: str, purpose: str, *, reading: bool = False) -> AbstractContextManager[None]:
        """One of the archive's locks; who has to wait for it says for whom. `reading`: see `locks.lock`."""

        def waiting(holder: str) -> None:
            self.say(f"waiting for {name}, in use by {holder}")

        return lock(self.root, name, purpose, waiting=waiting, stop=self.stop, reading=reading)

    @contextmanager
    def index(self) -> Iterator[Index]:
        """The search index, which is made at its first commit."""
        from archiver.search.index import open_index

        index = open_index(layout.index_path(self.root))
        try:
            yield index
        finally:
            index.close()

    def account(self, name: str) -> Account:
        try:
            return self.config.accounts[name]
        except KeyError:
            known = ", ".join(self.config.accounts) or "none"
            raise NotFoundError(
                f"no account {name}", hint=f"accounts in the configuration: {known}"
            ) from None

    def connect(
        self, account: Account, stop: Callable[[], bool] | None = None
    ) -> AbstractContextManager[Connection]:
        """A connection to an account's server; the password or the token is fetched anew each time."""
        from archiver.credentials import secret
        from archiver.imap import connect

        key = "token" if account.imap.token else "password"
        return connect(
            account.imap, lambda: secret(account.imap.secret, f"accounts.{account.name}.imap.{key}"), stop
        )

    # check

    def check(self) -> Iterator[AccountCheck]:
        """Log in to every account and look at its folders; changes nothing anywhere."""
        from archiver.pull.plan import choose

        for account in self.config.accounts.values():
            check = AccountCheck(account=account.name)
            try:
                with self.connect(account) as connection:
                    check.server, check.capabilities = connection.identity, connection.capabilities
                    mailboxes = connection.list_folders(account.folders.namespaces)
                    chosen = {m.raw for m in choose(mailboxes, account.folders)}
                    open_ones = [m for m in mailboxes if m.selectable]
                    statuses = connection.status(open_ones)
                    check.folders = [(m.name, _count(statuses[m.raw]), m.raw in chosen) for m in open_ones]
            except ArchiverError as exc:
                check.error = exc
            yield check

    def missing(self) -> str | None:
        """What is not installed and would be of use, and how to install it."""
        from archiver.archive.attachments import missing

        return missing(self.config.index)

    def check_smtp(self) -> Iterator[tuple[str, ArchiverError | None]]:
        """Log in to every sending server; sends nothing."""
        for name, server in self.config.smtp.items():
            try:
                with self.smtp_session(name, server):
                    pass
                yield name, None
            except ArchiverError as exc:
                yield name, exc

    # sync

    def sync(
        self,
        names: Sequence[str] = (),
        *,
        folders: Sequence[str] = (),
        index: bool = True,
        tidy: bool = True,
        progress: Progress | None = None,
        indexed: Callable[[int, int], None] = lambda done, total: None,
        taken: int = 0,
    ) -> SyncReport:
        """Pull the accounts, all at once, a thread each, and index what came, while pulling and after.

        Without `tidy` the index is left to `tidy_index`. `taken` of each account's connections are in use
        by somebody else. One account's error does not touch the others. InterruptedRun when `stop` said so.
        """
        from concurrent.futures import ThreadPoolExecutor, wait

        accounts = [self.account(name) for name in names] or list(self.config.accounts.values())
        if not accounts:
            raise UsageError("no account in the configuration", hint="add one under accounts:")
        accounts = [_without(account, taken) for account in accounts]
        report = SyncReport()
        drained: list[IndexReport] = []
        with self.ledger(make=True) as ledger:
            before = ledger.last_change()
            with ThreadPoolExecutor(len(accounts), thread_name_prefix="pull") as pool:
                futures = {a.name: pool.submit(self._pull, a, folders, progress) for a in accounts}
                running = set(futures.values())
                while running:
                    running = wait(running, timeout=2).not_done
                    if running and index and ledger.last_change() - before >= _INDEX_DURING_PULL:
                        drained += self._drain_quietly(ledger, tidy)
                        before = ledger.last_change()
            ended = [_gather(name, future, report) for name, future in futures.items()]
            for stopped in ended:
                if isinstance(stopped, InterruptedRun):
                    raise stopped
            if report.errors and self.stop():
                raise InterruptedRun()  # whatever a server said, or did not say, after that
            if index:
                self._conclude_index(ledger, drained, indexed, report, tidy)
            for bug in ended:
                if bug is not None:
                    raise bug
        return report

    def _conclude_index(
        self,
        ledger: Ledger,
        drained: list[IndexReport],
        indexed: Callable[[int, int], None],
        report: SyncReport,
        tidy: bool,
    ) -> None:
        """Index the rest; an error of the index must not hide how the pulls went."""
        try:
            drained.append(self._drain(ledger, indexed, tidy=tidy))
        except InterruptedRun:
            raise
        except ArchiverError as exc:
            report.index_error = exc
        if drained:
            report.index = functools.reduce(type(drained[0]).plus, drained)

    def _pull(self, account: Account, folders: Sequence[str], progress: Progress | None) -> AccountReport:
        from archiver.archive.turn import take_turn

        with self.lock(f"account-{account.name}", "sync"), Ledger(self.root) as ledger:
            return take_turn(
                account,
                ledger,
                lambda: self.connect(account, self.stop),
                only=folders,
                progress=progress,
                say=self.say,
                stop=self.stop,
            )

    def watch(self, name: str, wake: int) -> Iterator[Pull | State]:
        """Say which folders of an account to pull, until the descriptor `wake` is readable; pulls nothing.

        All of the account's connections but one may be used for it; who has only one does not listen.
        """
        from archiver.pull.plan import choose
        from archiver.watch import watch

        account = self.account(name)
        return watch(
            lambda: self.connect(account),
            lambda mailboxes: choose(list(mailboxes), account.folders),
            wake,
            lines=account.imap.connections - 1,
            namespaces=account.folders.namespaces,
        )

    # account

    def mailboxes(self) -> list[Mailbox]:
        """Whose mailbox each account is, and was before."""
        from archiver.archive.accounts import mailboxes

        with self.ledger() as ledger:
            return mailboxes(self.config, ledger)

    def same_mailbox(self, name: str) -> Mailbox:
        """Take an account's host and user for the mailbox that was pulled so far; how it was before."""
        from archiver.archive.accounts import mailbox

        account = self.account(name)
        with self.ledger() as ledger, self.lock(f"account-{name}", "account same"):
            before = mailbox(name, account, ledger)
            if before.state == "other":
                ledger.same_mailbox(name, before.host, before.user)
            return before

    # The index

    def _drain(
        self,
        ledger: Ledger,
        advance: Callable[[int, int], None] = lambda done, total: None,
        *,
        tidy: bool = True,
        bulk_lock: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> IndexReport:
        from archiver.archive.attachments import notices, reading
        from archiver.archive.progress import told_how_far
        from archiver.indexer import drain

        with self.index() as index, told_how_far(ledger, index, self.say):
            report = drain(
                ledger,
                index,
                lambda: self.lock("index", "indexing"),
                bulk_lock=bulk_lock or (lambda: lock(self.root, BULK, "indexing", wait=False)),
                workers=self.config.index.workers,
                memory=self.config.index.memory,
                stemming=self.config.index.stemming,
                attachments=reading(self.config.index),
                tidy=tidy,
                advance=advance,
                stop=self.stop,
            )
        if report.rebuilt:
            self.say(f"the index was brought in line with the mail: {report.rebuilt}")
        for notice in notices(self.config.index, report.attachments):
            self.say(notice)
        if report.left:
            self.say(f"much mail is being indexed by {holder(self.root, BULK) or 'another run'}")
        return report

    def _drain_quietly(self, ledger: Ledger, tidy: bool) -> list[IndexReport]:
        """During a pull: a failure, or a Ctrl-C, will be met again by the drain that follows."""
        try:
            return [self._drain(ledger, tidy=tidy)]
        except ArchiverError:
            return []

    def reindex(
        self, advance: Callable[[int, int], None] = lambda done, total: None, *, anew: bool = False
    ) -> IndexReport:
        """Throw the index away and build it anew from the mail, newest first.

        Where that was begun and interrupted it goes on, unless it is to begin `anew`.
        """
        with self.ledger() as ledger, self.lock(BULK, "reindex"):
            with self.lock("index", "reindex"), self.index() as index:
                done = 0 if anew else _begun(ledger, index)
                if not done:
                    index.clear()
            total = ledger.document_count()
            if done:
                self.say(f"going on where the last run stopped: {done:,} of {total:,} messages are indexed")
            elif total > _LONG:
                self.say("a search finds what is indexed so far; the newest mail comes first")
            return self._drain(ledger, advance, bulk_lock=nullcontext)

    def tidy_index(self) -> None:
        """Merge what the index is made of, so that a search reads little; readers and writers go on."""
        from archiver.indexer import tidy_up

        with self.ledger() as ledger, self.index() as index:
            tidy_up(ledger, index, lambda: self.lock("index", "tidying up the index"), self.stop)

    # search

    def search(self, text: str, *, order: Order = "newest", offset: int = 0, limit: int = 20) -> Results:
        """The page of hits for a query; QueryError when it is wrong."""
        from archiver.archive.find import search

        return search(self, text, order, offset, limit)

    def search_threads(
        self, text: str, *, order: Order = "newest", offset: int = 0, limit: int = 20
    ) -> ThreadResults:
        """The page of conversations in which a query finds something."""
        from archiver.archive.threads import search_threads

        return search_threads(self, text, order, offset, limit)

    def thread(self, text: str) -> ThreadReport:
        """The conversation of a message, by an id or its Message-ID; NotFoundError when there is none."""
        from archiver.archive.threads import thread

        return thread(self, text)

    def explain(self, text: str) -> tuple[Explained, ...]:
        """How a query is understood, line by line, and how many messages each part of it finds."""
        from archiver.archive.explain import explain

        return explain(self, text)

    def count(self, text: str) -> Counted:
        """How many messages a query finds, counted."""
        from archiver.archive.find import count

        return count(self, text)

    def search_keys(self, text: str) -> list[bytes]:
        """The keys of every message a query finds, oldest first."""
        from archiver.archive.find import search_keys

        return search_keys(self, text)

    # stats, addresses

    def stats(self, query: str = "") -> Stats:
        """Counts by month, sender, folder, list and size of what a query finds, or of everything."""
        from archiver.archive.figures import stats

        return stats(self, query)

    def addresses(self, query: str, roles: Sequence[Role], match: str = "") -> People:
        """The people of what a query finds, or of everything."""
        from archiver.archive.figures import addresses

        return addresses(self, query, roles, match)

    # tag

    def tag(self, query: str, change: Change, *, dry_run: bool = False) -> Tagged:
        """Change the tags of every message a query finds, all or none."""
        from archiver.archive.tags import tag

        return tag(self, query, change, dry_run=dry_run)

    def tag_counts(self) -> dict[str, int]:
        """Every tag, and how many messages have it."""
        from archiver.archive.tags import counts

        return counts(self)

    def tags_of(self, key: bytes) -> tuple[str, ...]:
        """The tags of one message, as far as they can be read."""
        from archiver.archive.find import shown_tags

        return shown_tags(self, [key]).get(key, ())

    def export_tags(self) -> Iterator[str]:
        """All tags, as lines of text; NotFoundError where there is no database of them."""
        from archiver.archive.tags import dump

        return dump(self)

    def import_tags(self, lines: Iterable[str], source: str, *, dry_run: bool = False) -> Imported:
        """Change tags as lines of `export_tags` say, all or none; `source` is what errors name."""
        from archiver.archive.tags import load

        return load(self, lines, source, dry_run=dry_run)

    # show

    def resolve(self, text: str) -> bytes:
        """The key that an id, the first digits of a key, stands for; NotFoundError when it is not one."""
        with self.ledger() as ledger:
            return resolve(ledger, text)

    def resolve_all(self, texts: Sequence[str]) -> list[bytes]:
        """The same for many ids."""
        with self.ledger() as ledger:
            return [resolve(ledger, text) for text in texts]

    def wire(self, key: bytes) -> bytes:
        """A message as the server sent it."""
        from archiver.store.reader import Reader

        with self.ledger() as ledger:
            return Reader(ledger).wire(key)

    def spots(self, key: bytes) -> list[Spot]:
        from archiver.archive.find import spots

        with self.ledger() as ledger:
            return [*spots(ledger, key)]

    def paths(self, keys: Sequence[bytes]) -> Iterator[str]:
        """The file of each message, one where it has several."""
        from archiver.store.reader import Reader

        with self.ledger() as ledger:
            reader = Reader(ledger)
            for key in keys:
                yield from reader.paths(key)[:1]

    def message(self, key: bytes) -> Message:
        from archiver.message import parse

        return parse(self.wire(key))

    def passages(self, keys: Sequence[bytes], tree: Node) -> Iterator[Passage]:
        """Where in each message a query found something; empty where it cannot be read."""
        from archiver.archive.passages import passages

        return passages(self, keys, tree)

    def save_attachments(self, key: bytes, directory: str) -> Iterator[str]:
        """Write every attachment into `directory`, under safe names, nothing overwritten; their paths."""
        from archiver.message import attachment_bytes, parse, safe_filename

        wire = self.wire(key)
        with disk_errors("save attachments"):
            os.makedirs(directory, exist_ok=True)
        for attachment in parse(wire).attachments:
            name = safe_filename(attachment.filename, f"part-{attachment.part}")
            content = attachment_bytes(wire, attachment.part)
            with disk_errors("save an attachment"):
                path = _write_new(directory, name, content)
            yield path

    # resend

    def via(self, name: str | None) -> tuple[str, SmtpServer]:
        """The sending server of that name, or the first one of the configuration."""
        if not self.config.smtp:
            raise UsageError("no sending server in the configuration", hint="add one under smtp:")
        name = name or next(iter(self.config.smtp))
        if name not in self.config.smtp:
            raise NotFoundError(
                f"no sending server {name}", hint=f"in the configuration: {', '.join(self.config.smtp)}"
            )
        return name, self.config.smtp[name]

    def plan_sending(self, keys: Sequence[bytes], order: Sending, via: str | None = None) -> Plan:
        """What an order would send, and what to ask about first; writes and sends nothing."""
        from archiver.archive.sending import plan

        return plan(self, keys, order, self.via(via)[1])

    def preview(self, parcels: Sequence[Parcel]) -> Iterator[Preview]:
        """Each message of a plan as it would go out."""
        from archiver.archive.sending import preview

        return preview(self, parcels)

    def send(
        self,
        parcels: Sequence[Parcel],
        via: str | None = None,
        *,
        again: bool = False,
        queue: bool = False,
        done: Callable[[MessageReport], None] = lambda report: None,
    ) -> Report:
        """Send a plan through the outbox, or only put it there; every recipient's outcome is in the report.

        RepeatError unless `again` where the same went to the same recipient within a day.
        """
        from archiver.archive.sending import send

        return send(self, parcels, via, again=again, queue=queue, done=done)

    def send_due(self, done: Callable[[MessageReport], None] = lambda report: None) -> Report:
        """Send what is due in the outbox."""
        from archiver.archive.sending import send_stored

        return send_stored(self, lambda user, now: user.due(now), done)

    def send_again(
        self, ids: Sequence[int], done: Callable[[MessageReport], None] = lambda report: None
    ) -> Report:
        """Send what is queued or deferred of these messages of the outbox, now."""
        from archiver.archive.sending import send_stored

        return send_stored(self, lambda user, now: [user.message(id) for id in ids], done)

    @contextmanager
    def smtp_session(self, name: str, server: SmtpServer) -> Iterator[Session]:
        from archiver.credentials import secret
        from archiver.smtp import connect

        source, key = server.secret, "token" if server.token else "password"
        fetch = (lambda: secret(source, f"smtp.{name}.{key}")) if source else None
        with connect(server, fetch) as session:
            yield session

    @contextmanager
    def _outbox(self) -> Iterator[tuple[User, int]]:
        """The user database, what dead senders left in it seen to, and what time it is."""
        from archiver.store.user import User

        with self.ledger():
            pass  # there is an archive
        with User(self.root) as user:
            now = int(datetime.now().timestamp())
            user.orphans(now)
            yield user, now

    def outbox(self, *, open_only: bool = False) -> list[OutboxMessage]:
        """What was sent, or was meant to be, newest first."""
        if not os.path.exists(layout.user_path(self.root)):
            with self.ledger():
                return []
        with self._outbox() as (user, _):
            return user.outbox(open_only=open_only)

    def outbox_message(self, id: int) -> OutboxMessage:
        """One message of the outbox; NotFoundError."""
        with self._outbox() as (user, _):
            return user.message(id)

    def retry(self, id: int, only: Sequence[str] = ()) -> int:
        """Let a message's recipients, or those named, get it again though nobody knows whether they have it.

        How many that are; the daemon sends it, or `send_again`.
        """
        with self._outbox() as (user, now):
            user.message(id)
            return user.retry(id, now, only)

    def cancel(self, id: int, only: Sequence[str] = ()) -> int:
        """Never send what is left of a message of the outbox; how many recipients that are."""
        with self._outbox() as (user, now):
            user.message(id)
            return user.cancel(id, now, only)

    # restore

    def restore_count(self, selection: Selection) -> int:
        """How many messages a selection means. NotFoundError where there are none."""
        from archiver.archive.restore import chosen

        with self.ledger() as ledger:
            return len({origin.key for origin in chosen(ledger, selection)})

    def restore(
        self, selection: Selection, account: str, where: Callable[[str], str], progress: RestoreProgress
    ) -> RestoreReport:
        """Put messages into an account's mailbox; `where` gives the folder for what was in one."""
        from archiver.archive.restore import restore

        return restore(self, selection, account, where, progress)

    def restore_preview(
        self, selection: Selection, account: str, where: Callable[[str], str]
    ) -> RestoreReport:
        """What `restore` would put where; changes nothing anywhere."""
        from archiver.archive.restore import preview

        return preview(self, selection, account, where)

    # export and import

    def export(
        self,
        wanted: Wanted,
        path: str,
        format: Format,
        *,
        expect: Callable[[int], None] = lambda messages: None,
        advance: Callable[[int, int], None] = lambda messages, size: None,
    ) -> ExportReport:
        """Write messages to a new file or directory; what could not be read is in the report."""
        from archiver.archive.carry import give

        return give(self, wanted, path, format, expect, advance)

    def import_(
        self,
        source: str,
        account: str,
        *,
        folder: str | None = None,
        dialect: Dialect | None = None,
        advance: Callable[[int, int], None] = lambda messages, size: None,
    ) -> ImportReport:
        """Take mail of other programs into an account; the index is left to `feed_index`."""
        from archiver.archive.carry import take

        return take(self, source, account, folder, dialect, advance)

    def feed_index(self, advance: Callable[[int, int], None] = lambda done, total: None) -> IndexReport:
        """Index what is not indexed yet."""
        with self.ledger() as ledger:
            return self._drain(ledger, advance)

    # prune

    def prune(
        self, account: str, older_than: str, folder: str | None = None, *, delete: bool = False
    ) -> PruneReport:
        """Delete old mail that is proven archived from its server; without `delete` say what would go."""
        from archiver.archive.prune import prune
        from archiver.prune import days_ago

        day = days_ago(older_than, datetime.now().date())
        before = int(datetime.combine(day, datetime.min.time()).timestamp())
        return prune(self, account, before, folder, delete=delete)

    def pruned(self, key: bytes) -> dict[tuple[str, str, int], int]:
        """When a message was pruned from its places: (account, folder, UID) -> Unix seconds."""
        from archiver.archive.prune import pruned

        return pruned(self.root, key)

    # verify

    def verify(
        self,
        names: Sequence[str] = (),
        *,
        repair: bool = False,
        server: bool = False,
        advance: Callable[[int, int], None] = lambda files, size: None,
    ) -> Repaired:
        """Compare store, ledger and index, and with `server` the ledger with what the accounts' servers have.

        With `repair`, do what `verify.REMEDIES` says and look again.
        """
        from archiver.archive.look import Look

        look = Look(self, names, server=server)
        refetch: set[str] = set()
        found = look.once(advance, refetch if repair else None)
        if not repair or not found.findings:
            return Repaired(found=found)
        wanted = sorted(refetch & set(self.config.accounts))
        sync = self.sync(wanted, index=False) if wanted else None
        if sync:
            look.relink(found.findings)
        with self.ledger() as ledger:
            self._drain(ledger)
        return Repaired(found=found, sync=sync, left=look.once())

    # status

    def status(self) -> StatusReport:
        """Counts, last and next runs."""
        from archiver.archive.find import indexed
        from archiver.archive.status import status

        with self.ledger() as ledger, self.index() as index:
            return status(self.config, ledger, indexed(ledger, index))


def _gather(name: str, future: Future[AccountReport], report: SyncReport) -> BaseException | None:
    """Put an account's outcome into the report; what has no place there is given back."""
    error = future.exception()
    if error is None:
        report.accounts.append(future.result())
    elif isinstance(error, ArchiverError) and not isinstance(error, InterruptedRun):
        report.errors[name] = error
    else:
        return error
    return None


def _begun(ledger: Ledger, index: Index) -> int:
    """How many documents of a build from nothing are indexed; 0 when none was interrupted."""
    from archiver.search.places import fed_from

    try:
        state = index.state()
    except DamagedError:
        return 0
    if state is None or state.bulk is None or state.change or not fed_from(ledger, state):
        return 0
    return state.bulk.done


def _without(account: Account, taken: int) -> Account:
    """The account with so many connections fewer, at least one."""
    left = max(account.imap.connections - taken, 1)
    return replace(account, imap=replace(account.imap, connections=left)) if taken else account


def _count(status: object) -> int | None:
    return getattr(status, "messages", None)


def _write_new(directory: str, name: str, content: bytes) -> str:
    """Write a file that was not there, numbered if its name is taken; follows no link."""
    stem, dot, ending = name.rpartition(".") if "." in name else (name, "", "")
    for number in range(1, 10_000):
        tried = name if number == 1 else f"{stem}-{number}{dot}{ending}"
        path = os.path.join(directory, tried)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
        except OSError:
            os.unlink(path)  # part of an attachment could be taken for all of it
            raise
        return path
    raise UsageError(f"{directory} holds thousands of files named {name}", hint="save into another directory")
