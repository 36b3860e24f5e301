"""What the server calls by a name that is known is linked, not fetched; and only when a file proves it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.errors import InterruptedRun
from archiver.store.ledger import Ledger
from tests.pull import checks
from tests.pull.conftest import HOUR, Archive, ArchiveOf, mail, only, small_groups
from tests.pull.steps import NOON, facts, fetches, lose_ledger, mended
from tests.servers.cyrus import User
from tests.servers.fake import EPOCH, FakeConnection, FakeServer
from tests.servers.pymap import Mail, Pymap
from tests.store.tree import forget


class DeathError(BaseException):
    """The process ends here, as far as the pull can tell."""


@pytest.fixture
def server() -> FakeServer:
    """Four messages in INBOX, and two of them once more in Work."""
    made = FakeServer(naming=True)
    for number in (1, 2, 3, 4):
        made.folder().add(mail(number))
    for number in (2, 3):
        made.folder("Work").add(mail(number), {"\\Seen"})
    return made


def pulled(archive: Archive, server: FakeServer) -> FakeConnection:
    connection = server.connect()
    assert archive.pull(connection).complete
    return connection


class TestLinked:
    def test_from_another_folder(self, archive: Archive, server: FakeServer) -> None:
        report = archive.pull(server.connect())
        (inbox, work) = report.folders
        assert (inbox.stored, inbox.spared, inbox.bytes) == (4, 0, 4 * len(mail(1)))
        assert (work.stored, work.spared, work.linked, work.bytes, work.documents) == (2, 2, 2, 0, 0)
        checks.converged(archive.root, server.messages())
        assert len({path.stat().st_ino for path in checks.files(archive.root)}) == 4
        assert sorted(checks.flags(archive.root).values()) == ["", "", "", "", "S", "S"]

    def test_what_is_new_costs_no_question_of_its_own(self, archive: Archive, server: FakeServer) -> None:
        connection = pulled(archive, server)
        assert "name" not in {call[0] for call in connection.asked}
        server.folder("Work").add(mail(4))
        connection = pulled(archive, server)
        assert [call[0] for call in connection.asked] == ["list_folders", "status", "examine"] + [
            "list_uids"
        ] * 2

    def test_twins_in_one_listing(self, archive: Archive) -> None:
        server = FakeServer(naming=True)
        for number in (1, 2, 1, 1, 3, 2):
            server.folder().add(mail(number))
        connection = server.connect()
        report = only(archive.pull(connection))
        assert fetches(connection.asked) == [1, 2, 5]
        assert (report.stored, report.spared, report.documents) == (6, 3, 3)
        checks.converged(archive.root, server.messages())

    def test_a_twin_of_one_that_is_refused_is_asked_for_itself(self, archive: Archive) -> None:
        server = FakeServer(naming=True)
        for number in (1, 1):
            server.folder().add(mail(number))
        server.folder().mails[1].refused = "NO"
        report = only(archive.pull(server.connect()))
        assert (report.stored, report.failed, report.waiting) == (1, 1, 1)
        checks.converged(archive.root, {("INBOX", 2): mail(1)})
        archive.now += 8 * 24 * HOUR
        connection = pulled(archive, server)
        assert fetches(connection.asked) == [], "what is kept by now need not be handed out"
        checks.converged(archive.root, server.messages())

    def test_told_with_examine(self, archive: Archive) -> None:
        """QRESYNC's answer names nothing: asked once, for what is new."""
        server = FakeServer(qresync=True, naming=True)
        for number in (1, 2):
            server.folder().add(mail(number))
        server.folder("Work").add(mail(3))
        pulled(archive, server)
        server.folder("Work").add(mail(1))
        server.folder("Work").add(mail(4))
        connection = pulled(archive, server)
        assert [call for call in connection.asked if call[0] == "name"] == [("name", "Work", 2, 3)]
        assert fetches(connection.asked) == [3]
        checks.converged(archive.root, server.messages())
        server.folder().add(mail(4))
        assert fetches(pulled(archive, server).asked) == []

    def test_a_message_moved(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        server.folder("Fresh").add(server.folder().expunge(1).wire)
        assert fetches(pulled(archive, server).asked) == []
        checks.converged(archive.root, server.messages())

    def test_a_name_that_was_given_to_another_content(self, archive: Archive) -> None:
        """A server that was set up anew numbers its contents from the start."""
        server = FakeServer(naming=True)
        server.folder().add(mail(1), content="id:a:99")
        pulled(archive, server)
        server.folder().renumber(77)
        server.folder().mails.clear()
        server.folder().add(mail(2), received=EPOCH + 1, content="id:a:99")
        assert fetches(pulled(archive, server).asked) == [2]
        checks.converged(archive.root, server.messages())

    def test_and_gone_since_long(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        server.folder().expunge(1)
        pulled(archive, server)
        server.folder().add(mail(1))
        assert fetches(pulled(archive, server).asked) == []
        checks.converged(archive.root, server.messages())

    def test_with_a_large_one(self, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
        """In pieces, whatever its size: what would read it whole is not called."""
        server = FakeServer(naming=True)
        large = mail(1, "x\r\n" * 300_000)
        server.folder().add(large)
        server.folder("Work").add(large)
        monkeypatch.setattr("archiver.store.reader.read_file", None)
        assert archive.pull(server.connect()).total("spared") == 1
        monkeypatch.undo()
        checks.converged(archive.root, server.messages())

    @pytest.mark.parametrize("wire", [b"Subject: x\n\nlf\n", b"Subject: x\r\n\nmixed\n", b"\r\n", b"\0\xff"])
    def test_every_byte(self, archive: Archive, wire: bytes) -> None:
        server = FakeServer(naming=True)
        server.folder().add(wire)
        server.folder("Work").add(wire)
        assert archive.pull(server.connect()).total("spared") == 1
        checks.converged(archive.root, server.messages())

    def test_on_pymap(self, start_pymap: Callable[..., Pymap], archive_of: ArchiveOf) -> None:
        """EMAILID, from a real server."""
        folders = {"INBOX": [1, 2, 1], "Lists/dev": [2, 3], "Küche": [3, 1]}
        server = start_pymap({name: [Mail(mail(n)) for n in each] for name, each in folders.items()})
        archive = archive_of(server)
        report = archive.sync()
        assert (report.total("stored"), report.total("spared"), report.total("documents")) == (7, 4, 3)
        assert report.total("bytes") == 3 * len(mail(1))
        server.append("Küche", Mail(mail(2)), Mail(mail(4)))
        report = archive.sync()
        assert (report.total("stored"), report.total("spared")) == (2, 1)
        messages = {
            (name, 101 + i): mail(n) for name, each in folders.items() for i, n in enumerate(each)
        } | {("Küche", 103): mail(2), ("Küche", 104): mail(4)}
        checks.converged(archive.root, messages)

    def test_on_cyrus(self, cyrus_mailbox: User, archive_of: ArchiveOf) -> None:
        archive = archive_of(cyrus_mailbox.server, user=cyrus_mailbox.name)
        cyrus_mailbox.create("A", "B")
        for number in (1, 2, 3):
            cyrus_mailbox.save(mail(number), date=NOON)
        cyrus_mailbox.copy("INBOX", "1:2", "A")
        report = archive.sync()
        assert (report.total("stored"), report.total("spared")) == (5, 2)
        assert report.total("bytes") == 3 * len(mail(1))
        cyrus_mailbox.move("INBOX", "3", "B")
        cyrus_mailbox.copy("A", "1:2", "B")
        report = archive.sync()
        assert (report.total("stored"), report.total("spared"), report.total("gone")) == (3, 3, 1)
        messages = {
            ("INBOX", 1): 1,
            ("INBOX", 2): 2,
            ("A", 1): 1,
            ("A", 2): 2,
            ("B", 1): 3,
            ("B", 2): 1,
            ("B", 3): 2,
        }
        checks.converged(archive.root, {place: mail(number) for place, number in messages.items()})


class TestFetched:
    """As any other, where the name is not enough."""

    def test_what_no_file_proves(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        damage(archive, "INBOX", 1)
        server.folder("Fresh").add(mail(1))
        server.folder("Fresh").add(mail(4))
        connection = server.connect()
        report = only(archive.pull(connection), "Fresh")
        assert fetches(connection.asked) == [1]
        assert (report.stored, report.spared, report.documents) == (2, 1, 0)
        checks.readable(archive.root, mail(1))
        mended(archive)
        checks.converged(archive.root, server.messages())

    def test_what_has_no_file(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        for path in checks.files(archive.root):
            path.unlink()
        server.folder("Fresh").add(mail(1))
        connection = pulled(archive, server)
        assert fetches(connection.asked) == [1]
        checks.readable(archive.root, mail(1))

    def test_not_where_another_file_is_whole(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        damage(archive, "INBOX", 3)
        server.folder("Fresh").add(mail(3))
        assert fetches(pulled(archive, server).asked) == []
        (new,) = checks.files_in(archive.root, "work/Fresh")
        assert new.samefile(file_of(archive, "Work", 2))

    def test_copied_where_links_fail(
        self, archive: Archive, server: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(source: str, target: str) -> None:
            raise OSError(31, "Too many links")

        monkeypatch.setattr(os, "link", refuse)
        report = archive.pull(server.connect())
        assert (report.total("spared"), report.total("linked")) == (2, 0)
        checks.converged(archive.root, server.messages())
        assert all(path.stat().st_nlink == 1 for path in checks.files(archive.root))
        assert all(path.stat().st_mode & 0o077 == 0 for path in checks.files(archive.root))

    def test_what_has_no_date(self, archive: Archive) -> None:
        """The Date header counts then, and is in the message."""
        server = FakeServer(naming=True)
        server.folder().add(mail(1), received=None)
        server.folder("Work").add(mail(1), received=None)
        assert archive.pull(server.connect()).total("spared") == 0
        checks.converged(archive.root, server.messages())

    def test_of_another_account(self, tmp_path: Path, server: FakeServer) -> None:
        """Names are one account's own."""
        archive = Archive(tmp_path / "archive")
        pulled(archive, server)
        other = FakeServer(naming=True)
        other.folder().add(mail(9), content=server.folder().mails[1].content)
        archive.imap = type(archive.imap)(
            host="imap.example.net", user="me", security="tls", password=archive.imap.password
        )
        connection = other.connect()
        report = archive.pull(connection)
        assert report.other_mailbox
        assert fetches(connection.asked) == [1]
        checks.converged(archive.root, other.messages())
        checks.readable(archive.root, mail(1))


class TestEpochs:
    @pytest.mark.parametrize("uidvalidity", [1, 2])
    def test_files_are_claimed_without_fetching(self, archive: Archive, uidvalidity: int) -> None:
        server = FakeServer(naming=True)
        for number in (1, 2, 1, 3):
            server.folder().add(mail(number))
        pulled(archive, server)
        inodes = sorted(path.stat().st_ino for path in checks.files(archive.root))
        server.folder().expunge(1)
        server.folder().expunge(2)
        server.folder().add(mail(4))
        server.folder().renumber(uidvalidity)
        connection = server.connect()
        report = only(archive.pull(connection))
        assert fetches(connection.asked) == [3]
        assert (report.new_epoch, report.claimed, report.spared, report.linked) == (True, 2, 2, 0)
        checks.converged(archive.root, server.messages())
        after = checks.files(archive.root)
        assert set(inodes) <= {path.stat().st_ino for path in after} and len(after) == 5

    def test_a_damaged_file_is_not_claimed(self, archive: Archive) -> None:
        server = FakeServer(naming=True)
        server.folder().add(mail(1))
        pulled(archive, server)
        path = damage(archive, "INBOX", 1)
        server.folder().renumber(7)
        connection = pulled(archive, server)
        assert fetches(connection.asked) == [1]
        assert checks.live(archive.root) == server.messages()
        assert path.exists()

    @pytest.mark.parametrize("lost", [True, False])
    def test_counted_anew_and_the_file_of_that_name_is_no_good(self, archive: Archive, lost: bool) -> None:
        server = FakeServer(naming=True)
        for number in (1, 2):
            server.folder().add(mail(number))
        pulled(archive, server)
        path = next(path for path in checks.files(archive.root) if ",U=1:" in path.name)
        path.unlink() if lost else path.write_bytes(b"x" * path.stat().st_size)
        server.folder().expunge(2)
        server.folder().renumber(server.folder().uidvalidity)
        assert fetches(pulled(archive, server).asked) == [1]
        checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == 2

    def test_a_damaged_file_of_that_name_stays_known_until_there_is_a_good_one(
        self, archive: Archive
    ) -> None:
        server = FakeServer(naming=True)
        for number in (1, 2):
            server.folder().add(mail(number))
        pulled(archive, server)
        damage(archive, "INBOX", 1)
        server.folder().expunge(2)
        server.folder().renumber(server.folder().uidvalidity)
        server.folder().mails[1].refused = "NO"
        archive.pull(server.connect())
        assert [finding.kind for finding in checks.findings(archive.root)] == ["damaged"]
        server.folder().mails[1].refused = ""
        archive.now += 8 * 24 * HOUR
        pulled(archive, server)
        checks.converged(archive.root, server.messages())


class TestLostLedger:
    def test_names_are_asked_again(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        before = facts(archive)
        lose_ledger(archive)
        assert fetches(pulled(archive, server).asked) == []
        assert facts(archive) == before
        server.folder("Fresh").add(mail(1))
        assert fetches(pulled(archive, server).asked) == []

    def test_also_of_files_taken_in_below_the_cursor(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        with Ledger(archive.root) as ledger:
            (inbox,) = (f for f in ledger.folders() if f.name == "INBOX")
            forget(ledger, ledger.places(inbox, [1])[0].id)
            ledger.open_folder(inbox.id)
        pulled(archive, server)
        server.folder("Fresh").add(mail(1))
        assert fetches(pulled(archive, server).asked) == []
        checks.converged(archive.root, server.messages())


class TestInterrupted:
    def test_stopped(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        for number in (1, 2, 3, 4):
            server.folder("Fresh").add(mail(number))
        with small_groups(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("archiver.pull.plan.BATCH_MESSAGES", 2)
            asked = iter([False, True])
            with pytest.raises(InterruptedRun):
                archive.pull(server.connect(), stop=lambda: next(asked, True))
        assert len(checks.files_in(archive.root, "work/Fresh")) == 2
        assert checks.findings(archive.root) == []
        assert fetches(pulled(archive, server).asked) == []
        checks.converged(archive.root, server.messages())

    @pytest.mark.parametrize("step", ["linked", "claimed", "synced", "moved", "durable", "known", "named"])
    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.parametrize("rebuilt", [False, True])
    def test_killed_at(
        self, archive: Archive, server: FakeServer, step: str, number: int, rebuilt: bool
    ) -> None:
        """And, should the ledger be lost with it, known again from the files."""
        pulled(archive, server)
        server.folder().renumber(8)
        for each in (1, 4, 1, 5):
            server.folder("Work").add(mail(each))
        lose_ledger(archive)
        died = False
        with small_groups():
            try:
                archive.pull(server.connect(), fault=dies(step, number))
            except DeathError:
                died = True
        assert died or (step, number) == ("named", 2)
        if rebuilt:
            lose_ledger(archive)
        pulled(archive, server)
        checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == len(server.messages())


def file_of(archive: Archive, folder: str, uid: int) -> Path:
    (path,) = (p for p in checks.files_in(archive.root, f"work/{folder}") if f",U={uid}:" in p.name)
    return path


def damage(archive: Archive, folder: str, uid: int) -> Path:
    """Let a file rot, and only it of those that share its content."""
    path = file_of(archive, folder, uid)
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(b"x" * size)
    return path


def dies(step: str, number: int) -> Callable[[str], None]:
    left = number

    def fault(name: str) -> None:
        nonlocal left
        left -= name == step
        if left == 0:
            raise DeathError(name)

    return fault
