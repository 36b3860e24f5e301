"""The facade without a server: what every verb starts from, and what it says meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from archiver.archive import Archive, look
from archiver.config import Account, Config, Duration, Folders, ImapServer, SecretSource, SmtpServer
from archiver.config.structs import IndexSettings
from archiver.errors import (
    ConnectError,
    DiskFullError,
    InterruptedRun,
    NotFoundError,
    QueryError,
    StoreError,
    UsageError,
)
from archiver.indexer import IndexReport, bulk, feed
from archiver.pull import AccountReport
from archiver.search.index import Total
from archiver.store.ledger import Ledger
from archiver.store.locks import lock
from archiver.store.maildir import key_of
from archiver.workers import worker_count
from tests.store.tree import Backup, Tree, message

SECRET = SecretSource(literal="Xq7hunter2")
NOBODY = ImapServer(host="imap.example.org", user="me", password=SECRET)
WITH_FILES = b"""\
From: a@example.org\r
Subject: files\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
\r
see below\r
--b\r
Content-Type: application/octet-stream; name="report.txt"\r
Content-Disposition: attachment; filename="report.txt"\r
\r
one\r
--b\r
Content-Disposition: attachment; filename="report.txt"\r
\r
two\r
--b\r
Content-Disposition: attachment; filename="../../escape.sh"\r
\r
three\r
--b\r
Content-Disposition: attachment\r
Content-Type: application/octet-stream\r
\r
four\r
--b--\r
"""


def account(name: str, port: int = 1) -> Account:
    server = ImapServer(
        host="127.0.0.1", user="me", password=SECRET, port=port, security="none", connect_timeout=Duration(2)
    )
    return Account(name=name, imap=server, folders=Folders())


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(str(tmp_path / "archive"))
    made.file(made.folder(), [message(n) for n in range(1, 6)])
    made.file(made.folder("Lists/a"), [message(5), message(6)], flags="S", received=1_700_000_000)
    made.ledger.rebuilt()
    yield made
    made.ledger.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def archive(tree: Tree, said: list[str]) -> Archive:
    made = Archive(
        Config(archive=tree.root, accounts={name: account(name) for name in ("work", "home")}),
        say=said.append,
    )
    made.reindex()
    return made


def test_search_knows_places_ids_and_what_is_not_indexed_yet(archive: Archive, tree: Tree) -> None:
    results = archive.search("subject:number folder:lists")
    assert (results.total, results.behind.pending) == (Total(2, exact=True), 0)
    assert {row.hit.key for row in results.rows} == {key_of(message(5)), key_of(message(6))}
    by_key = {row.hit.key: row for row in results.rows}
    assert [spot.folder for spot in by_key[key_of(message(5))].spots] == ["INBOX", "Lists/a"]
    for row in results.rows:
        assert archive.resolve(row.id) == row.hit.key
        assert archive.wire(row.hit.key) in (message(5), message(6))
    tree.file(tree.folder(), [message(7)], first=7)
    assert archive.search("word7").behind.pending == 1
    assert archive.search_keys("word1 OR word2") == [key_of(message(n)) for n in (1, 2)]
    with pytest.raises(QueryError):
        archive.search("form:x")


def test_indexing_notes_the_numbers_that_searches_need(
    archive: Archive, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.search.whoosh.numbers.WORTH_NOTING", 2)
    archive.reindex()
    assert len(list(Path(tree.root, "index").glob("*.numbers"))) == 1
    monkeypatch.setattr(Ledger, "numbers", None)
    assert archive.search("subject:number folder:lists").total.count == 2


def test_a_ledger_put_back_from_a_backup_answers_with_numbers_of_its_own(
    archive: Archive, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pulled into, but not indexed yet."""
    monkeypatch.setattr("archiver.search.whoosh.numbers.WORTH_NOTING", 2)
    backup = Backup(tree)
    paths = tree.file(tree.folder(), [message(7), message(8)], first=7)
    archive.reindex(anew=True)
    assert len(list(Path(tree.root, "index").glob("*.numbers"))) == 1
    backup.put_back()
    Path(paths[0]).unlink()
    tree.file(tree.folder("Lists/a"), [message(8)], first=3)
    tree.file(tree.folder("Other"), [message(9)])
    assert set(archive.search_keys("folder:lists")) == {key_of(message(n)) for n in (5, 6, 8)}
    assert archive.search("folder:other").behind.pending
    assert archive.stats().folders["work/Lists/a"] == 3
    assert not archive.stats().folders.get("work/Other")


def test_an_index_stemmed_in_another_way_answers_as_it_was_built(
    archive: Archive, tree: Tree, said: list[str]
) -> None:
    config = replace(archive.config, index=IndexSettings(stemming="english"))
    changed = Archive(config, say=said.append)
    results = changed.search("subject:numbers")
    assert (results.total.count, results.behind.pending) == (0, 0)
    assert said == ["the index was built with stemming: off; archiver sync makes it english"]
    changed.reindex()
    for each in (changed, archive):
        assert each.search("subject:numbers").total.count == 6
    assert changed.count("subject:numbers").count == len(changed.search_keys("subject:numbers")) == 6
    assert said[1:] == ["the index was built with stemming: english; archiver sync makes it off"]


def test_an_archive_that_does_not_exist_yet(tmp_path: Path) -> None:
    said: list[str] = []
    archive = Archive(Config(archive=str(tmp_path / "new" / "archive")), say=said.append)
    with archive.ledger(make=True):
        assert said == [f"there is no archive at {archive.root} yet: it is made"]
    assert (archive.search("anything").total.count, archive.status().documents) == (0, 0)
    assert stat.S_IMODE((tmp_path / "new" / "archive").stat().st_mode) == 0o700
    assert archive.verify().found.findings == []
    assert len(said) == 1


@pytest.mark.parametrize(
    "look",
    [
        lambda archive: archive.search("anything"),
        lambda archive: archive.count("anything"),
        lambda archive: archive.status(),
        lambda archive: archive.resolve("12345678"),
        lambda archive: archive.outbox(),
        lambda archive: archive.mailboxes(),
        lambda archive: archive.reindex(),
        lambda archive: archive.verify(),
    ],
)
def test_who_looks_at_one_that_is_not_there_makes_none(
    tmp_path: Path, look: Callable[[Archive], object]
) -> None:
    """A disk that is not mounted."""
    for root in (tmp_path / "mounted" / "archive", tmp_path):
        with pytest.raises(NotFoundError, match="there is no archive at"):
            look(Archive(Config(archive=str(root))))
    assert not list(tmp_path.iterdir())


def test_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot open the archive"):
        Archive(Config(archive=str(tmp_path / "file" / "archive"))).ledger(make=True).__enter__()


class TestLedgerLost:
    def test_rebuilt_by_itself_and_said(self, archive: Archive, tree: Tree, said: list[str]) -> None:
        tree.lose_ledger()
        rotten = next(Path(tree.root, "mail/work/INBOX/cur").glob("*U=2:2,"))
        rotten.write_bytes(b"rot")
        assert archive.search("word3").total.count == 1
        assert said == [
            "the ledger is missing: rebuilding it from the mail",
            "the ledger knows 6 messages again",
            f"damaged, not taken in: {rotten}",
        ]
        said.clear()
        assert archive.search("word3").total.count == 1
        assert said == []

    def test_a_folder_without_its_name_is_taken_in_and_said(
        self, archive: Archive, tree: Tree, said: list[str]
    ) -> None:
        tree.lose_ledger()
        for described in Path(tree.root, "mail").rglob(".folder.json"):
            described.unlink()
        assert archive.search("word3").total.count == 1
        assert "no readable .folder.json, named after its directory: work/INBOX" in said

    def test_by_one_of_many_that_start_at_once(self, archive: Archive, tree: Tree, said: list[str]) -> None:
        tree.lose_ledger()
        counts: list[int] = []

        def run() -> None:
            with archive.ledger() as ledger:
                counts.append(ledger.document_count())

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [6] * 4
        assert said.count("the ledger knows 7 messages again") == 1

    def test_an_interrupted_one_is_taken_up(
        self, archive: Archive, tree: Tree, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree.lose_ledger()

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("archiver.store.rebuild.adopt", die)
            archive.search("x")
        assert archive.search("word3").total.count == 1
        assert "the ledger knows 7 messages again" in said


class TestSync:
    @pytest.fixture
    def closed_port(self) -> int:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return int(listener.getsockname()[1])

    def test_names_that_are_none(self, archive: Archive) -> None:
        with pytest.raises(NotFoundError, match="no account wrok") as caught:
            archive.sync(["wrok"])
        assert "work, home" in str(caught.value.hint)
        with pytest.raises(UsageError, match="no account in the configuration"):
            Archive(Config(archive=archive.root)).sync()

    def test_an_account_that_fails_leaves_the_others_alone(self, tree: Tree, closed_port: int) -> None:
        accounts = {name: account(name, closed_port) for name in ("work", "home")}
        archive = Archive(Config(archive=tree.root, accounts=accounts))
        report = archive.sync()
        assert set(report.errors) == {"work", "home"}
        for name, error in report.errors.items():
            assert isinstance(error, ConnectError) and error.account == name
        assert report.index is not None and report.index.added == 6
        status = {each.name: each for each in archive.status().accounts}
        assert status["work"].error and status["work"].finished and status["work"].succeeded is None
        assert "Xq7hunter2" not in repr(report) + repr(status)

    def test_who_must_wait_says_for_whom(self, archive: Archive, said: list[str]) -> None:
        with contention(archive, "account-work"):
            archive.stop = lambda: bool(said)
            with pytest.raises(InterruptedRun):
                archive.sync(["work"])
        assert said == [f"waiting for account-work, in use by PID {os.getpid()}, another run"]

    def test_searching_waits_for_nobody(self, archive: Archive, said: list[str]) -> None:
        with contention(archive, "account-work"), contention(archive, "index"), contention(archive, "daemon"):
            assert archive.search("word3").total.count == 1
            status = archive.status()
        assert said == []
        assert status.daemon == f"PID {os.getpid()}, another run"


@contextmanager
def contention(archive: Archive, name: str) -> Iterator[None]:
    with lock(archive.root, name, "another run", wait=False):
        yield


class TestAttachments:
    @pytest.fixture
    def key(self, archive: Archive, tree: Tree) -> bytes:
        tree.file(tree.folder("Files"), [WITH_FILES])
        return key_of(WITH_FILES)

    def test_under_safe_names_and_nothing_overwritten(
        self, archive: Archive, key: bytes, tmp_path: Path
    ) -> None:
        target = tmp_path / "saved"
        (tmp_path / "precious").write_text("mine")
        target.mkdir()
        (target / "report.txt").write_text("mine")
        (target / "report-2.txt").symlink_to(tmp_path / "precious")
        paths = [Path(path) for path in archive.save_attachments(key, str(target))]
        assert [path.parent for path in paths] == [target] * 4
        assert [path.read_text().strip() for path in paths] == ["one", "two", "three", "four"]
        assert [path.name for path in paths[:2]] == ["report-3.txt", "report-4.txt"]
        assert (target / "report.txt").read_text() == (tmp_path / "precious").read_text() == "mine"
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
        assert {path.name for path in tmp_path.iterdir()} == {"archive", "precious", "saved"}

    def test_no_half_of_one_is_left(self, archive: Archive, tree: Tree, tmp_path: Path) -> None:
        big = WITH_FILES.replace(b"one\r\n", b"x" * 60_000 + b"\r\n")
        tree.file(tree.folder("Files"), [big])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with archive.ledger():  # its shared memory is as large as it gets
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
            try:
                with pytest.raises(DiskFullError, match="cannot save an attachment"):
                    list(archive.save_attachments(key_of(big), str(tmp_path / "saved")))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert os.listdir(tmp_path / "saved") == []


class TestSendingServers:
    def server(self, host: str) -> SmtpServer:
        return SmtpServer(host=host, from_="me@example.org")

    def test_the_first_or_the_named(self, tmp_path: Path) -> None:
        servers = {name: self.server(f"{name}.example.org") for name in ("first", "second")}
        archive = Archive(Config(archive=str(tmp_path), smtp=servers))
        assert archive.via(None) == ("first", servers["first"])
        assert archive.via("second") == ("second", servers["second"])
        with pytest.raises(NotFoundError, match="no sending server third") as caught:
            archive.via("third")
        assert "first, second" in str(caught.value.hint)

    def test_none(self, archive: Archive) -> None:
        with pytest.raises(UsageError, match="no sending server in the configuration"):
            archive.via(None)


class TestVerify:
    def test_repair_looks_again_and_says_what_a_server_should_have_given(
        self, archive: Archive, tree: Tree
    ) -> None:
        (path,) = Path(tree.root, "mail/work/INBOX/cur").glob("*U=2:2,")
        path.unlink()
        assert [f.kind for f in archive.verify().found.findings] == ["missing"]
        repaired = archive.verify(repair=True)
        assert repaired.sync is not None and set(repaired.sync.errors) == {"work"}
        assert repaired.left is not None
        tree.file(tree.folder(), [message(2)], first=2)
        archive.reindex()
        assert archive.verify(["work"]).found.findings == []

    def test_accounts_that_are_none(self, archive: Archive) -> None:
        with pytest.raises(NotFoundError):
            archive.verify(["nobody"])

    @pytest.mark.parametrize("worth", [1, 1 << 30])
    def test_processes_hash_where_there_is_enough_to_hash(
        self, archive: Archive, tree: Tree, monkeypatch: pytest.MonkeyPatch, worth: int
    ) -> None:
        """They are started before any lock is taken, and find what this one would have found."""
        (path,) = Path(tree.root, "mail/work/INBOX/cur").glob("*U=2:2,")
        path.write_bytes(b"rot")
        monkeypatch.setattr(look, "WORTH_HASHERS", worth)
        seen: list[tuple[str, int]] = []
        real = Archive.lock

        def note(self: Archive, name: str, purpose: str, **how: bool) -> AbstractContextManager[None]:
            seen.append((name, len(multiprocessing.active_children())))
            return real(self, name, purpose, **how)

        monkeypatch.setattr(Archive, "lock", note)
        assert [f.kind for f in archive.verify().found.findings if f.kind != "unindexed"] == ["damaged"]
        processes = worker_count(0) if worth == 1 else 0
        assert seen == [("account-home", processes), ("account-work", processes), ("index", processes)]
        assert not multiprocessing.active_children()

    def test_it_keeps_writers_out(self, archive: Archive, said: list[str]) -> None:
        for name in ("account-home", "account-work", "index"):
            said.clear()
            with contention(archive, name), pytest.raises(InterruptedRun):
                archive.stop = lambda: bool(said)
                archive.verify()
            assert said == [f"waiting for {name}, in use by PID {os.getpid()}, another run"]


def test_reindexing_counts_and_can_be_stopped_and_continued(tree: Tree) -> None:
    told: list[tuple[int, int]] = []
    stops: Callable[[], bool] = lambda: True  # noqa: E731
    archive = Archive(Config(archive=tree.root), stop=stops)
    with pytest.raises(InterruptedRun):
        archive.reindex(lambda done, total: told.append((done, total)))
    assert told == [(6, 6)]
    archive.stop = lambda: False
    assert archive.reindex().added == 6
    assert archive.search("word6").behind.pending == 0


class TestReindexing:
    """Of much mail: six documents are much, two a share."""

    @pytest.fixture
    def interrupted(self, archive: Archive, said: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
        """A reindex that was interrupted after so many documents."""
        monkeypatch.setattr(feed, "FEW", 3)
        monkeypatch.setattr(bulk, "SHARE", 2)
        held = 0

        def stop() -> bool:
            nonlocal held
            with archive.index() as index:
                held = index.count()
            return 0 < held < 6

        archive.stop = stop
        with pytest.raises(InterruptedRun):
            archive.reindex()
        archive.stop = lambda: False
        with archive.index() as index:
            held = index.count()
        assert said[-1].startswith(f"kept: {held} of 6 messages are indexed, all received since ")
        assert said[-1].endswith(" among them; archiver sync or reindex goes on from there")
        return held

    def test_interrupted_it_goes_on(self, archive: Archive, said: list[str], interrupted: int) -> None:
        assert 0 < len(archive.search("account:work").rows) == interrupted < 6
        told: list[tuple[int, int]] = []
        said.clear()
        report = archive.reindex(lambda done, total: told.append((done, total)))
        assert (report.added, told[-1]) == (6 - interrupted, (6, 6))
        assert said == [f"going on where the last run stopped: {interrupted} of 6 messages are indexed"]
        assert len(archive.search("account:work").rows) == 6

    def test_meanwhile_a_search_says_what_it_knows(self, archive: Archive, interrupted: int) -> None:
        results = archive.search("account:work")
        assert (len(results.rows), results.behind.pending) == (interrupted, 6 - interrupted)
        assert results.behind.since == min(spot.received for row in results.rows for spot in row.spots)
        assert results.behind.busy is None
        with lock(archive.root, "bulk", "reindex"):
            assert archive.search("account:work").behind.busy == f"PID {os.getpid()}, reindex"
            assert archive.status().pending == 6 - interrupted
        archive.reindex()
        results = archive.search("account:work")
        assert (results.behind.pending, results.behind.since, results.behind.busy) == (0, None, None)

    def test_a_sync_goes_on_with_it(self, archive: Archive, interrupted: int) -> None:
        with archive.ledger() as ledger:
            assert archive._drain(ledger).added == 6 - interrupted
        assert len(archive.search("account:work").rows) == 6

    def test_it_begins_anew_when_told_to(self, archive: Archive, said: list[str], interrupted: int) -> None:
        said.clear()
        assert archive.reindex(anew=True).added == 6
        assert said == []

    def test_a_whole_index_is_always_begun_anew(self, archive: Archive) -> None:
        assert archive.reindex().added == archive.reindex().added == 6

    def test_who_comes_meanwhile_says_so_and_leaves_it(
        self, archive: Archive, said: list[str], interrupted: int
    ) -> None:
        said.clear()
        with archive.ledger() as ledger, lock(archive.root, "bulk", "reindex"):
            report = archive._drain(ledger)
        assert (report.added, report.left) == (0, True)
        assert said == [f"much mail is being indexed by PID {os.getpid()}, reindex"]


def test_tidying_up(archive: Archive, tree: Tree) -> None:
    for number in range(10, 19):
        tree.file(tree.folder(), [message(number)], first=number)
        with archive.ledger() as ledger:
            archive._drain(ledger, tidy=False)
    segments = Path(tree.root, "index")
    before = len(list(segments.glob("*.seg")))
    archive.tidy_index()
    assert len(list(segments.glob("*.seg"))) <= before - 7
    assert len(archive.search("account:work").rows) == 15


def test_an_error_of_the_index_does_not_hide_the_pull(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive = Archive(Config(archive=str(tmp_path), accounts={"work": Account(imap=NOBODY, name="work")}))
    pulled = AccountReport(account="work")
    full = DiskFullError("no space left for the index")

    def drain(*_: object, **__: object) -> NoReturn:
        raise full

    monkeypatch.setattr(archive, "_pull", lambda *_: pulled)
    monkeypatch.setattr(archive, "_drain", drain)
    report = archive.sync()
    assert (report.accounts, report.index_error, report.index) == ([pulled], full, None)


def test_one_accounts_bug_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    accounts = {name: Account(imap=NOBODY, name=name) for name in ("broken", "work")}
    archive = Archive(Config(archive=str(tmp_path), accounts=accounts))
    drained: list[bool] = []

    def pull(account: Account, *_: object) -> AccountReport:
        if account.name == "broken":
            raise ZeroDivisionError
        return AccountReport(account=account.name)

    monkeypatch.setattr(archive, "_pull", pull)

    def drain(*_: object, **__: object) -> IndexReport:
        drained.append(True)
        return IndexReport()

    monkeypatch.setattr(archive, "_drain", drain)
    with pytest.raises(ZeroDivisionError):
        archive.sync()
    assert drained == [True]
