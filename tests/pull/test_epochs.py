from __future__ import annotations

import pytest

from archiver.errors import ConnectionLostError
from archiver.store.layout import read_folder_file
from archiver.store.ledger import Ledger
from tests.conftest import AnyUser
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, Scripted, mail, only
from tests.pull.steps import delivered, facts, fetches, loaded, lose_ledger, mended
from tests.servers.dovecot import User


class TestEpochs:
    @pytest.mark.parametrize("uidvalidity", [0, None])
    def test_a_folder_without_uidvalidity_is_refused_and_the_others_go_on(
        self, scripted: Scripted, archive_of: ArchiveOf, uidvalidity: int | None
    ) -> None:
        """Row 18; and a run that says so must really not go on with that folder."""
        server = scripted()
        server.folder().add(mail(1))
        server.folder().uidvalidity = uidvalidity
        server.folder("Work").add(mail(2))
        archive = archive_of(server)
        run = archive.sync()
        assert not run.complete
        inbox, work = run.folders
        assert "UIDVALIDITY" in inbox.error
        assert (inbox.stored, work.stored) == (0, 1)
        checks.converged(archive.root, {("Work", 1): mail(2)})
        assert not any(
            command.name == "UID FETCH" for command in server.commands[: server.names().index("EXAMINE") + 2]
        )

    @pytest.mark.parametrize("uidvalidity", [0, None])
    def test_a_folder_that_lost_its_uidvalidity_loses_nothing(
        self, archive: Archive, uidvalidity: int | None
    ) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        server.folder().renumber(uidvalidity)
        server.folder().expunge(1)
        assert "UIDVALIDITY" in only(archive.pull(server.connect())).error
        checks.converged(archive.root, {("INBOX", 1): mail(1), ("INBOX", 2): mail(2)})

    def test_a_folder_of_another_host_without_uidvalidity_is_refused(
        self, scripted: Scripted, archive_of: ArchiveOf
    ) -> None:
        """Equal counts and no UIDVALIDITY on either side are no sameness."""
        server = scripted()
        server.folder().add(mail(1))
        archive = archive_of(server)
        archive.sync()
        server.folder().uidvalidity = 0
        archive.imap = archive_of(server, host="localhost").imap
        assert "UIDVALIDITY" in only(archive.sync()).error

    def test_a_new_uidvalidity_on_dovecot(self, mailbox: User, dovecot_archive: Archive) -> None:
        messages = delivered(mailbox, 1, 2, 3)
        dovecot_archive.sync()
        inodes = {path.stat().st_ino for path in checks.files(dovecot_archive.root)}
        mailbox.set_uidvalidity("INBOX", mailbox.status()["uidvalidity"] + 1000)
        report = only(dovecot_archive.sync())
        assert (report.new_epoch, report.stored, report.claimed, report.documents) == (True, 3, 3, 0)
        checks.converged(dovecot_archive.root, messages)
        after = checks.files(dovecot_archive.root)
        assert {path.stat().st_ino for path in after} == inodes
        assert len(after) == 3
        assert dovecot_archive.sync().folders == []

    def test_a_folder_deleted_and_made_again_on_real_servers(
        self, any_mailbox: AnyUser, server_archive: Archive
    ) -> None:
        any_mailbox.create("Work")
        delivered(any_mailbox, 1, 2, 3, folder="Work")
        server_archive.sync()
        any_mailbox.delete("Work")
        any_mailbox.create("Work")
        messages = delivered(any_mailbox, 3, 4, folder="Work")
        server_archive.sync()
        checks.converged(server_archive.root, messages)
        checks.readable(server_archive.root, *(mail(n) for n in (1, 2, 3, 4)))
        assert len(checks.files(server_archive.root)) == 4

    def test_renumbered_under_the_same_uidvalidity_on_dovecot(
        self, mailbox: User, dovecot_archive: Archive
    ) -> None:
        delivered(mailbox, 1, 2, 3)
        dovecot_archive.sync()
        before = mailbox.status()["uidvalidity"]
        mailbox.renumber()
        delivered(mailbox, 4)
        assert mailbox.status()["uidvalidity"] == before
        assert mailbox.uids() != [1, 2, 3, 4]
        dovecot_archive.sync()
        assert sorted(checks.live(dovecot_archive.root).values()) == [mail(n) for n in (1, 2, 3, 4)]
        assert {uid for _, uid in checks.live(dovecot_archive.root)} == set(mailbox.uids())
        assert checks.findings(dovecot_archive.root) == []

    @pytest.mark.parametrize("uidvalidity", [2, 1, 0xFFFFFFFF])
    def test_counted_anew(self, archive: Archive, uidvalidity: int) -> None:
        """UIDs mean other messages now; nothing is lost, nothing twice, and nothing taken for another."""
        server = loaded(1, 2, 3, 4, 5)
        archive.pull(server.connect())
        server.folder().expunge(1)
        server.folder().renumber(uidvalidity)
        report = only(archive.pull(server.connect()))
        assert (report.new_epoch, report.claimed, report.documents) == (True, 4, 0)
        checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == 5
        checks.readable(archive.root, mail(1))

    @pytest.mark.parametrize("uidvalidity", [2, 1])
    def test_counted_anew_with_twins(self, archive: Archive, uidvalidity: int) -> None:
        server = loaded(1, 2, 1, 1, 3, 1)
        archive.pull(server.connect())
        server.folder().expunge(1)
        server.folder().expunge(2)
        server.folder().renumber(uidvalidity)
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == 6

    def test_counted_anew_so_that_a_twins_name_is_taken(self, archive: Archive) -> None:
        """The new name of one file is the present name of another one with the same content."""
        server = loaded(1, 2, 1)
        archive.pull(server.connect())
        server.folder().mails = {3: server.folder().mails[1]}
        server.folder().uidnext = 3  # it was 4: a backup put back, badly
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == 3

    @pytest.mark.parametrize("lost", [True, False])
    def test_counted_anew_and_the_file_of_that_name_is_no_good(self, archive: Archive, lost: bool) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        path = next(path for path in checks.files(archive.root) if ",U=1:" in path.name)
        path.unlink() if lost else path.write_bytes(b"x" * path.stat().st_size)
        server.folder().expunge(2)
        server.folder().renumber(server.folder().uidvalidity)
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == 2

    def test_counted_anew_while_a_run_was_cut_short(self, archive: Archive) -> None:
        """The cursor has not moved; what is known above it must not stand for the new UIDs."""
        server = loaded(*range(10))
        with pytest.raises(ConnectionLostError):
            archive.pull(server.connect(cut_after=6))
        for uid in (1, 2, 3, 4, 5, 6):
            server.folder().expunge(uid)
        server.folder().renumber(server.folder().uidvalidity)
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())

    def test_counted_anew_and_the_ledger_lost(self, archive: Archive) -> None:
        server = loaded(*range(10))
        archive.pull(server.connect())
        for uid in range(1, 8):
            server.folder().expunge(uid)
        server.folder().renumber(server.folder().uidvalidity)
        lose_ledger(archive)
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        for number in range(10, 18):
            server.folder().add(mail(number))
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        checks.readable(archive.root, *(mail(n) for n in range(18)))

    def test_a_message_rendered_differently_is_stored_again(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        server.folder().mails[2].wire = mail(2, "rendered otherwise")
        server.folder().renumber(7)
        report = only(archive.pull(server.connect()))
        assert (report.claimed, report.documents) == (1, 1)
        checks.converged(archive.root, server.messages())
        checks.readable(archive.root, mail(2), mail(2, "rendered otherwise"))

    def test_nobody_claims_keeps_its_old_name(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        (old,) = (path for path in checks.files(archive.root) if ",U=2:" in path.name)
        server.folder().expunge(2)
        server.folder().renumber(7)
        archive.pull(server.connect())
        assert old.exists()

    def test_another_host_or_user_under_the_same_name(self, mailbox: User, archive_of: ArchiveOf) -> None:
        messages = delivered(mailbox, 1, 2)
        archive = archive_of(mailbox.server, user=mailbox.name)
        archive.sync()
        other = mailbox.server.new_user()
        theirs = delivered(other, 2, 3)
        archive.imap = archive_of(other.server, user=other.name).imap
        run = archive.sync()
        assert run.other_mailbox
        checks.converged(archive.root, theirs)
        checks.readable(archive.root, *messages.values())
        assert not archive.sync().other_mailbox

    def test_a_lost_ledger_is_equal_again_after_one_pull(self, archive: Archive) -> None:
        server = loaded(1, 2, 2, 3)
        server.folder("Work").add(mail(3), {"\\Seen", "$Keyword"})
        archive.pull(server.connect())
        server.folder().expunge(2)
        server.folder().renumber(5)
        server.folder("Work").expunge(server.folder("Work").add(mail(4)))
        archive.pull(server.connect())
        before = facts(archive)
        lose_ledger(archive)
        connection = server.connect()
        archive.pull(connection)
        assert fetches(connection.asked) == []
        assert facts(archive) == before
        checks.converged(archive.root, server.messages())


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("name", ["INBOX", "Lists/a: b"])
def test_a_folder_whose_name_was_guessed_takes_the_true_one(
    archive: Archive, name: str, repaired: bool
) -> None:
    server = loaded()
    for number in (1, 2):
        server.folder(name).add(mail(number))
    archive.pull(server.connect())
    with Ledger(archive.root) as ledger:
        (known,) = (folder for folder in ledger.folders() if folder.name == name)
    described = archive.path / "mail" / known.path / ".folder.json"
    described.unlink()
    lose_ledger(archive)
    if repaired:
        mended(archive)
    server.folder(name).add(mail(3))
    connection = server.connect()
    archive.pull(connection)
    assert fetches(connection.asked) == [3]
    with Ledger(archive.root) as ledger:
        (again,) = (folder for folder in ledger.folders() if folder.path == known.path)
        assert (again.raw, again.name, again.listed) == (known.raw, known.name, 1)
        assert {uid: gone for uid, (_, _, gone, _) in ledger.known(again).items()} == {1: 0, 2: 0, 3: 0}
    found = read_folder_file(str(described.parent))
    assert found is not None and (found.raw, found.name) == (known.raw, known.name)
