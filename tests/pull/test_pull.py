from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.config import Folders
from archiver.errors import ConnectionLostError, NotFoundError, UnavailableError
from archiver.store.ledger import Ledger
from archiver.store.maildir import key_of
from tests.conftest import AnyUser
from tests.pull import checks
from tests.pull.conftest import HOUR, Archive, ArchiveOf, Scripted, mail, only
from tests.pull.steps import delivered, fetches, loaded
from tests.servers.dovecot import User as DovecotUser
from tests.servers.fake import EPOCH, FakeServer
from tests.servers.honest import Command
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import ScriptedServer, reply


class TestNewMail:
    def test_from_real_servers(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        messages = delivered(any_mailbox, 1, 2)
        report = only(server_archive.sync())
        assert (report.stored, report.documents, report.new_epoch) == (2, 2, False)
        assert report.bytes == 2 * len(mail(1))
        checks.converged(server_archive.root, messages)
        messages |= delivered(any_mailbox, 3)
        assert only(server_archive.sync()).stored == 1
        checks.converged(server_archive.root, messages)

    def test_from_pymap(self, start_pymap: Callable[..., Pymap], archive_of: ArchiveOf) -> None:
        server = start_pymap({"INBOX": [Mail(mail(1))], "Lists/dev": [Mail(mail(2), ["\\Seen"])]})
        archive = archive_of(server)
        archive.sync()
        server.append("INBOX", Mail(mail(3)))
        assert only(archive.sync()).stored == 1
        messages = {("INBOX", 101): mail(1), ("INBOX", 102): mail(3), ("Lists/dev", 101): mail(2)}
        checks.converged(archive.root, messages)

    def test_only_what_is_new_is_asked_for(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        server.folder().add(mail(3))
        connection = server.connect()
        archive.pull(connection)
        assert fetches(connection.asked) == [3]
        assert ("list_uids", "INBOX", 3, None, None) in connection.asked

    def test_a_search_that_names_other_uids_than_there_are_hides_no_mail(
        self, scripted: Scripted, archive_of: ArchiveOf
    ) -> None:
        """Sequence numbers for UIDs: as many as there are messages, and none of them is one's."""
        server = scripted()
        server.account.late += ("ESEARCH",)
        server.folder().uidnext = 101
        for number in (1, 2):
            server.folder().add(mail(number))
        server.on("UID SEARCH", reply('* ESEARCH (TAG "{tag}") UID ALL 1:2', "{tag} OK done"))
        archive = archive_of(server)
        archive.sync()
        archive.sync()
        checks.converged(archive.root, {("INBOX", 101): mail(1), ("INBOX", 102): mail(2)})

    def test_a_search_that_does_not_find_what_is_new_delays_no_mail(
        self, scripted: Scripted, archive_of: ArchiveOf
    ) -> None:
        server = scripted()
        server.account.late += ("ESEARCH",)
        server.on("UID SEARCH", reply('* ESEARCH (TAG "{tag}") UID', "{tag} OK done"))
        archive = archive_of(server)
        for number in (1, 2):
            server.folder().add(mail(number))
            report = only(archive.sync())
            assert (report.stored, report.unlisted) == (1, 0)
        checks.converged(archive.root, {("INBOX", 1): mail(1), ("INBOX", 2): mail(2)})

    def test_nothing_is_asked_of_a_folder_in_which_nothing_happened(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        connection = server.connect()
        report = archive.pull(connection)
        assert [call[0] for call in connection.asked] == ["list_folders", "status"]
        assert (report.checked, report.folders, report.complete) == (1, [], True)

    @pytest.mark.parametrize(
        "wire",
        [
            b"Subject: x\r\n\r\ncrlf\r\n",
            b"Subject: x\n\nlf\n",
            b"Subject: x\r\n\nmixed\n",
            b"Subject: x\r\n\r\nlone cr \r here\r\n",
            b"Subject: x\r\n\r\nno end",
            b"\r",
            b"\0\xff\xfe",
            b"\r\n" * 3,
        ],
        ids=repr,
    )
    def test_every_byte_comes_back(self, archive: Archive, wire: bytes) -> None:
        server = FakeServer()
        server.folder().add(wire)
        archive.pull(server.connect())
        checks.converged(archive.root, {("INBOX", 1): wire})
        checks.readable(archive.root, wire)

    def test_files_are_private_and_dated(self, archive: Archive) -> None:
        server = FakeServer()
        server.folder().add(mail(1), {"\\Seen", "\\Flagged"}, received=EPOCH + 5)
        archive.pull(server.connect())
        (path,) = checks.files(archive.root)
        sizes = rf"S=\d+,W={len(mail(1))}"
        assert re.fullmatch(rf"{EPOCH + 5}\.[0-9a-f]{{32}}\.archiver,{sizes},V=1,U=1:2,FS", path.name)
        assert path.stat().st_mtime == EPOCH + 5
        for each in archive.path.rglob("*"):
            assert each.stat().st_mode & 0o077 == 0, each

    @pytest.mark.parametrize(
        ("wire", "received"),
        [(mail(1), EPOCH), (b"Subject: no date\r\n\r\n", 1_700_000_060)],
        ids=["the Date header", "now"],
    )
    def test_a_date_that_is_none_falls_back_to(self, archive: Archive, wire: bytes, received: int) -> None:
        """Row 19, Domino."""
        server = FakeServer()
        server.folder().add(wire, received=None)
        archive.pull(server.connect())
        (spot,) = checks.spots(archive.root)
        assert spot.received == received
        (path,) = checks.files(archive.root)
        assert path.name.startswith(f"{received}.")

    def test_many_groups(self, archive: Archive) -> None:
        server = loaded(*range(1234))
        assert only(archive.pull(server.connect())).stored == 1234
        checks.converged(archive.root, server.messages())

    def test_progress_is_told(self, archive: Archive) -> None:
        told: list[tuple[object, ...]] = []

        class Progress:
            def expect(self, *what: object) -> None:
                told.append(("expect", *what))

            def stored(self, *what: object) -> None:
                told.append(("stored", *what))

        archive.pull(loaded(1, 2).connect(), progress=Progress())
        size = len(mail(1))
        assert told == [("expect", "work", "INBOX", 2), *[("stored", "work", 1, size)] * 2]


class TestNothingChangesOnTheServer:
    def test_real_servers_notice_nothing(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        delivered(any_mailbox, 1, 2)
        before = any_mailbox.status()
        server_archive.sync()
        any_mailbox.add_flags("INBOX", "1", "\\Flagged")
        between = any_mailbox.status()
        server_archive.sync()
        assert any_mailbox.status() == between
        assert (before["unseen"], between["unseen"]) == (2, 2)

    def test_only_reading_commands_are_sent(self, scripted: Scripted, archive_of: ArchiveOf) -> None:
        server = scripted()
        inbox = server.folder()
        for number in range(3):
            inbox.add(mail(number))
        server.folder("Lists/dev").add(mail(1))
        archive = archive_of(server)
        archive.flags_every = 0
        archive.sync()
        inbox.mails[0].flags = ("\\Seen",)
        del inbox.mails[1]
        inbox.uidvalidity = 9
        archive.sync()
        session = {"CAPABILITY", "LOGIN", "ID", "LOGOUT"}
        assert set(server.names()) == session | {"NAMESPACE", "LIST", "STATUS", "EXAMINE", "UID FETCH"}
        for command in server.commands:
            if command.name == "UID FETCH":
                _, items = command.words()
                assert set(items) <= {"UID", "FLAGS", "INTERNALDATE", "BODY.PEEK[]"}


class TestFlags:
    def flags_of(self, archive: Archive) -> list[str]:
        return [flags for _, flags in sorted(checks.flags(archive.root).items())]

    def test_on_real_servers(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        messages = delivered(any_mailbox, 1, 2)
        server_archive.sync()
        any_mailbox.add_flags("INBOX", "1", "\\Seen", "\\Answered", "$Later")
        report = only(server_archive.sync())
        assert (report.stored, report.flags) == (0, 1)
        assert self.flags_of(server_archive) == ["RS", ""]
        any_mailbox.remove_flags("INBOX", "1", "\\Answered")
        server_archive.sync()
        assert self.flags_of(server_archive) == ["S", ""]
        checks.converged(server_archive.root, messages)

    def test_with_condstore_only_what_changed_is_listed(self, archive: Archive) -> None:
        server = loaded(1, 2, 3)
        archive.pull(server.connect())
        modseq = server.folder().modseq
        server.folder().flag(2, {"\\Seen", "$Work"})
        connection = server.connect()
        assert only(archive.pull(connection)).flags == 1
        assert ("list_uids", "INBOX", 1, 3, modseq) in connection.asked
        assert self.flags_of(archive) == ["", "S", ""]
        with Ledger(archive.root) as ledger:
            (folder,) = ledger.folders()
            assert ledger.known(folder)[2] == ("S", "$Work", 0, None)

    def test_without_condstore_they_are_compared_every_so_often(self, archive: Archive) -> None:
        server = loaded(1, 2, condstore=False)
        archive.flags_every = HOUR
        archive.pull(server.connect())
        server.folder().flag(2, {"\\Seen"})
        assert archive.pull(server.connect()).folders == []
        server.folder().add(mail(3))
        archive.pull(server.connect())
        assert self.flags_of(archive) == ["", "", ""]
        archive.now += HOUR
        assert only(archive.pull(server.connect())).flags == 1
        assert self.flags_of(archive) == ["", "S", ""]

    def test_a_run_cut_short_after_new_mail_still_brings_the_flags(self, archive: Archive) -> None:
        """A mod-sequence is kept only after everything up to it was applied."""
        server = loaded(1, 2)
        archive.pull(server.connect())
        server.folder().flag(1, {"\\Seen"})
        server.folder().add(mail(3))
        with pytest.raises(ConnectionLostError):
            archive.pull(server.connect(cut_after=0))
        archive.pull(server.connect())
        assert self.flags_of(archive) == ["S", "", ""]

    def test_another_programs_flags_are_neither_believed_nor_undone(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        (path,) = checks.files(archive.root)
        renamed = path.rename(path.with_name(path.name + "RS"))
        server.folder().add(mail(2))
        archive.pull(server.connect())
        assert renamed.exists()
        assert [spot.flags for spot in checks.spots(archive.root)] == ["", ""]
        checks.converged(archive.root, server.messages())
        server.folder().flag(1, {"\\Flagged"})
        archive.pull(server.connect())
        assert self.flags_of(archive) == ["F", ""]

    def test_a_file_moved_from_new_to_cur_and_back_is_found(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        (path,) = checks.files(archive.root)
        path.rename(path.parent.parent / "new" / path.name.partition(":")[0])
        server.folder().flag(1, {"\\Seen"})
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        assert self.flags_of(archive) == ["S"]


class TestGone:
    def gone(self, archive: Archive) -> set[tuple[str, int]]:
        return {(spot.folder, spot.uid) for spot in checks.spots(archive.root) if spot.gone}

    def test_expunged_on_real_servers(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        messages = delivered(any_mailbox, 1, 2, 3)
        server_archive.sync()
        any_mailbox.expunge("INBOX", "2")
        assert only(server_archive.sync()).gone == 1
        lost = messages.pop(("INBOX", 2))
        checks.converged(server_archive.root, messages)
        checks.readable(server_archive.root, lost)
        assert self.gone(server_archive) == {("INBOX", 2)}
        with Ledger(server_archive.root) as ledger:
            assert ledger.keys("gone > 0") == {key_of(lost)}
        assert server_archive.sync().folders == []

    @pytest.mark.parametrize("condstore", [True, False])
    def test_expunged_and_arrived_at_once(self, archive: Archive, condstore: bool) -> None:
        server = loaded(1, 2, 3, condstore=condstore)
        archive.pull(server.connect())
        server.folder().expunge(2)
        server.folder().add(mail(4))
        report = only(archive.pull(server.connect()))
        assert (report.stored, report.gone) == (1, 1)
        checks.converged(archive.root, server.messages())

    def test_moved_on_real_servers(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        messages = delivered(any_mailbox, 1, 2)
        server_archive.sync()
        any_mailbox.create("Archive/2021")
        any_mailbox.move("INBOX", "1", "Archive/2021")
        report = server_archive.sync()
        assert (report.total("gone"), report.total("linked"), report.total("documents")) == (1, 1, 0)
        messages["Archive/2021", 1] = messages.pop(("INBOX", 1))
        checks.converged(server_archive.root, messages)
        old, new = (path for path in checks.files(server_archive.root) if path.name.endswith(",U=1:2,"))
        assert old.samefile(new)

    def test_duplicates_in_one_folder_are_one_file_with_two_names(self, archive: Archive) -> None:
        server = loaded(1, 1, 2, 1)
        report = only(archive.pull(server.connect()))
        assert (report.stored, report.documents, report.linked) == (4, 2, 2)
        checks.converged(archive.root, server.messages())
        assert {path.stat().st_ino for path in checks.files(archive.root)}.__len__() == 2

    def test_where_links_fail_there_are_copies(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(source: str, target: str) -> None:
            raise OSError(31, "Too many links")

        monkeypatch.setattr(os, "link", refuse)
        server = loaded(1, 1)
        assert only(archive.pull(server.connect())).linked == 0
        checks.converged(archive.root, server.messages())

    def test_a_damaged_file_is_not_what_a_second_place_is_linked_to(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        (path,) = checks.files(archive.root)
        path.write_bytes(b"x" * path.stat().st_size)
        server.folder("Other").add(mail(1))
        archive.pull(server.connect())
        (found,) = (Path(f) for f in checks.files(archive.root) if "Other" in str(f))
        assert found.read_bytes() == mail(1).replace(b"\r\n", b"\n")

    def test_a_deleted_folder_on_real_servers(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        any_mailbox.create("Old")
        messages = delivered(any_mailbox, 1) | delivered(any_mailbox, 2, folder="Old")
        server_archive.sync()
        any_mailbox.delete("Old")
        server_archive.sync()
        lost = messages.pop(("Old", 1))
        assert self.gone(server_archive) == {("Old", 1)}
        checks.converged(server_archive.root, messages)
        checks.readable(server_archive.root, lost)

    def test_a_folder_that_is_there_again(self, archive: Archive) -> None:
        server = loaded(1)
        work = server.folder("Work")
        work.add(mail(2))
        archive.pull(server.connect())
        del server.folders["Work"]
        archive.pull(server.connect())
        assert self.gone(archive) == {("Work", 1)}
        server.folders["Work"] = work
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())

    def test_a_renamed_folder_on_real_servers(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        any_mailbox.create("Old/Näme")
        delivered(any_mailbox, 1, 2, folder="Old/Näme")
        server_archive.sync()
        any_mailbox.rename("Old/Näme", "New")
        report = server_archive.sync()
        checks.converged(server_archive.root, {("New", 1): mail(1), ("New", 2): mail(2)})
        if isinstance(any_mailbox, DovecotUser):
            assert (report.total("stored"), report.total("linked")) == (2, 2)
        else:
            assert {r.folder: r.renamed for r in report.folders} == {"New": "Old/Näme"}
            assert report.total("bytes") == 0

    def test_a_server_that_shows_fewer_than_it_counts(self, archive: Archive) -> None:
        """Row 4, Yahoo; what it does not show is not gone."""
        server = loaded(*range(1, 11))
        archive.pull(server.connect())
        server.folder().unlisted = 6
        server.folder().add(mail(11))
        report = only(archive.pull(server.connect()))
        assert (report.gone, report.stored, report.unlisted) == (0, 1, 0)
        server.folder().expunge(9)
        report = only(archive.pull(server.connect()))
        assert (report.gone, report.unlisted) == (0, 6)
        server.folder().unlisted = 0
        assert only(archive.pull(server.connect())).gone == 1
        checks.converged(archive.root, server.messages())

    def test_a_server_that_shows_fewer_from_the_start(self, archive: Archive) -> None:
        server = loaded(*range(1, 11))
        server.folder().unlisted = 4
        report = only(archive.pull(server.connect()))
        assert (report.stored, report.unlisted) == (6, 4)
        server.folder().unlisted = 0
        assert only(archive.pull(server.connect())).stored == 4
        checks.converged(archive.root, server.messages())

    def test_a_server_that_lists_no_folder_at_all(self, scripted: Scripted, archive_of: ArchiveOf) -> None:
        server = scripted()
        server.folder().add(mail(1))
        archive = archive_of(server)
        archive.sync()
        server.on("LIST", reply("{tag} OK done"))
        assert archive.sync().checked == 0
        checks.converged(archive.root, {("INBOX", 1): mail(1)})


class TestChosenFolders:
    @pytest.fixture
    def server(self) -> FakeServer:
        server = loaded(1)
        for name in ("Lists/dev", "Lists/users", "Müll", "Work"):
            server.folder(name).add(mail(2))
        server.folder("Müll").special = ("\\Junk",)
        return server

    def names(self, archive: Archive) -> set[str]:
        return {folder for folder, _ in checks.live(archive.root)}

    def test_all_of_them(self, archive: Archive, server: FakeServer) -> None:
        archive.pull(server.connect())
        assert self.names(archive) == {"INBOX", "Lists/dev", "Lists/users", "Müll", "Work"}

    def test_excluded_by_glob_and_special_use(self, archive: Archive, server: FakeServer) -> None:
        archive.folders = Folders(exclude=("\\Junk", "lists/*"))
        archive.pull(server.connect())
        assert self.names(archive) == {"INBOX", "Work"}

    def test_excluded_later_is_kept_and_not_gone(self, archive: Archive, server: FakeServer) -> None:
        archive.pull(server.connect())
        archive.folders = Folders(include=("INBOX",))
        server.folder("Work").add(mail(3))
        archive.pull(server.connect())
        assert self.names(archive) == {"INBOX", "Lists/dev", "Lists/users", "Müll", "Work"}
        assert len(checks.live(archive.root)) == 5

    def test_only_those_asked_for(self, archive: Archive, server: FakeServer) -> None:
        archive.pull(server.connect(), only=["lists/*", "Work"])
        assert self.names(archive) == {"Lists/dev", "Lists/users", "Work"}
        server.folder("Work").expunge(1)
        archive.pull(server.connect(), only=["Lists/*"])
        assert self.names(archive) == {"Lists/dev", "Lists/users", "Work"}

    def test_none_like_that(self, archive: Archive, server: FakeServer) -> None:
        with pytest.raises(NotFoundError, match="no folder like Nowhere") as caught:
            archive.pull(server.connect(), only=["Nowhere"])
        assert "check --connect" in (caught.value.hint or "")


class TestFailedMessages:
    def refuse(self, server: ScriptedServer, uid: int, times: int | None = None) -> None:
        def of_it(command: Command) -> bool:
            spans = re.findall(r"(\d+)(?::(\d+))?", command.text(0))
            return "BODY" in command.arguments and any(int(a) <= uid <= int(b or a) for a, b in spans)

        server.on("UID FETCH", reply("{tag} NO [UNAVAILABLE] Server error"), when=of_it, times=times)

    def test_are_recorded_and_tried_again_when_due(self, scripted: Scripted, archive_of: ArchiveOf) -> None:
        server = scripted()
        for number in range(1, 5):
            server.folder().add(mail(number))
        self.refuse(server, 3, times=4)  # each run asks twice: with the others, then alone
        archive = archive_of(server)
        run = archive.sync()
        report = only(run)
        assert (report.stored, report.failed, report.waiting, run.complete) == (3, 1, 1, False)
        messages = {("INBOX", n): mail(n) for n in (1, 2, 4)}
        checks.converged(archive.root, messages)
        with Ledger(archive.root) as ledger:
            (failure,) = ledger.all_failures()
        assert (failure.uid, failure.tries, failure.due <= archive.now) == (3, 1, True)
        assert "Server error" in failure.reason

        report = only(archive.sync())
        assert (report.failed, report.waiting) == (1, 1)
        asked = len(server.commands)
        run = archive.sync()
        assert (only(run).waiting, run.complete) == (1, False), "not due, not tried, but not forgotten"
        assert not any("BODY" in command.arguments for command in server.commands[asked:])

        archive.now += HOUR
        run = archive.sync()
        assert (only(run).stored, run.complete) == (1, True)
        checks.converged(archive.root, messages | {("INBOX", 3): mail(3)})
        assert archive.sync().folders == []

    @pytest.mark.parametrize("body", ["NIL", '""'])
    def test_an_empty_body_is_never_an_empty_file(
        self, scripted: Scripted, archive_of: ArchiveOf, body: str
    ) -> None:
        server = scripted()
        server.folder().add(mail(1))
        server.on(
            "UID FETCH",
            reply(f"* 1 FETCH (UID 1 FLAGS () BODY[] {body})", "{tag} OK done"),
            when=lambda command: "BODY" in command.arguments,
        )
        archive = archive_of(server)
        report = only(archive.sync())
        assert (report.stored, report.failed) == (0, 1)
        assert checks.files(archive.root) == []

    def test_a_failed_message_that_is_expunged_is_forgotten(self, archive: Archive) -> None:
        server = loaded(1, 2, 3)
        server.folder().mails[2].refused = "NO"
        assert not archive.pull(server.connect()).complete
        server.folder().expunge(2)
        assert archive.pull(server.connect()).complete
        assert archive.pull(server.connect()).folders == []
        with Ledger(archive.root) as ledger:
            assert ledger.all_failures() == []

    def test_failures_end_with_the_epoch(self, archive: Archive) -> None:
        server = loaded(1, 2, 3)
        server.folder().mails[2].refused = "NO"
        archive.pull(server.connect())
        server.folder().renumber(2)
        server.folder().mails[2].refused = ""
        assert archive.pull(server.connect()).complete
        checks.converged(archive.root, server.messages())

    def test_new_mail_comes_while_one_waits(self, archive: Archive) -> None:
        server = loaded(1, 2)
        server.folder().mails[1].refused = "NO"
        archive.pull(server.connect())
        archive.pull(server.connect())
        server.folder().add(mail(3))
        connection = server.connect()
        report = only(archive.pull(connection))
        assert (report.stored, report.waiting) == (1, 1)
        assert fetches(connection.asked) == [3]

    def test_a_folder_that_cannot_be_opened_stops_no_other(self, archive: Archive) -> None:
        server = loaded(1)
        server.folder().refused = "NO [NOPERM] not yours"
        server.folder("Work").add(mail(2))
        run = archive.pull(server.connect())
        assert [(r.folder, r.stored, bool(r.error)) for r in run.folders] == [
            ("INBOX", 0, True),
            ("Work", 1, False),
        ]
        assert not run.complete
        with Ledger(archive.root) as ledger:
            assert {f.name: f.error for f in ledger.folders()}["INBOX"]
        server.folder().refused = ""
        assert archive.pull(server.connect()).complete
        checks.converged(archive.root, server.messages())

    def test_a_refused_status_stops_no_other(self, scripted: Scripted, archive_of: ArchiveOf) -> None:
        server = scripted()
        server.folder().add(mail(1))
        server.folder("Work").add(mail(2))
        server.on("STATUS", reply("{tag} NO [NOPERM] no"), when=lambda c: c.text(0) == "INBOX")
        run = archive_of(server).sync()
        assert {r.folder: (r.stored, bool(r.error)) for r in run.folders} == {
            "INBOX": (0, True),
            "Work": (1, False),
        }

    def test_a_server_that_wants_a_pause_gets_one(self, scripted: Scripted, archive_of: ArchiveOf) -> None:
        """The messages have not failed: the server has, for now (Gmail's daily limit)."""
        server = scripted()
        for number in range(1, 4):
            server.folder().add(mail(number))
        server.on(
            "UID FETCH",
            reply("{tag} NO [OVERQUOTA] Account exceeded bandwidth limits"),
            when=lambda command: "BODY" in command.arguments,
        )
        archive = archive_of(server)
        with pytest.raises(UnavailableError, match="OVERQUOTA"):
            archive.sync()
        with Ledger(archive.root) as ledger:
            assert ledger.all_failures() == []
