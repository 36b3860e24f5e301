"""What a restore meets: messages nobody takes, full mailboxes, folders that go, lines that break."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.archive import Archive
from archiver.archive.restore import Selection
from archiver.config import load
from archiver.errors import InterruptedRun
from archiver.restore import Silent, plan, same_folders
from tests.cli.home import Home, complains
from tests.pull.conftest import Scripted, mail
from tests.restore.test_restore import MIGRATE, content
from tests.servers.cyrus import User as CyrusUser
from tests.servers.dovecot import Dovecot, User
from tests.servers.honest import Command
from tests.servers.pymap import Pymap
from tests.servers.scripted import HangUpError, ScriptedServer, Session, bye, cut, reply

COUNT = 8


@pytest.fixture
def old(home: Home, mailbox: User) -> Home:
    """A home with the archive of `old`: messages 0 to 7 in INBOX, 20 in Work."""
    for number in range(COUNT):
        mailbox.save(mail(number))
    mailbox.create("Work")
    mailbox.save(mail(20), "Work")
    home.mailbox(mailbox, "old")
    home.good("sync", "old")
    return home


@pytest.fixture
def server(old: Home, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """Where `new` is, with MULTIAPPEND; three messages go together, and no wait lasts long."""
    monkeypatch.setattr(plan, "BUNCH_MESSAGES", 3)
    made = scripted()
    made.account.late = (*made.account.late, "MULTIAPPEND")
    made.folder("Work")
    old.account("new", made.port, read_timeout="1s")
    return made


def held(server: ScriptedServer, folder: str = "INBOX") -> list[bytes]:
    return sorted(each.raw for each in server.folder(folder).mails)


def everything(server: ScriptedServer) -> bool:
    return (held(server), held(server, "Work")) == (sorted(map(mail, range(COUNT))), [mail(20)])


def holds(*numbers: int) -> Callable[[Command], bool]:
    """Whether a command has one of these messages in it."""
    return lambda command: any(f"message {number}\r" in command.arguments for number in numbers)


def file_of(home: Home, number: int) -> Path:
    """The archived file of a message."""
    return next(
        path
        for path in (home.root / "mail" / "old" / "INBOX" / "cur").iterdir()
        if f"message {number}\n".encode() in path.read_bytes()
    )


class TestMessages:
    def test_one_refused_keeps_no_other_back(self, old: Home, server: ScriptedServer) -> None:
        server.on("APPEND", reply("{tag} NO [CANNOT] not this one"), when=holds(4))
        result = old.call(*MIGRATE)
        complains(result, 3, "8 of 9 messages are there", "tries the others again")
        assert "the server says: [CANNOT] not this one" in result.out
        assert held(server) == sorted(mail(n) for n in range(COUNT) if n != 4)
        assert held(server, "Work") == [mail(20)]

    def test_and_it_is_tried_again(self, old: Home, server: ScriptedServer) -> None:
        server.on("APPEND", reply("{tag} NO [CANNOT] not now"), when=holds(4), times=2)
        old.call(*MIGRATE)
        old.good(*MIGRATE)
        assert everything(server)

    def test_too_large_by_its_own_word(self, old: Home, server: ScriptedServer) -> None:
        server.account.late = (*server.account.late, f"APPENDLIMIT={len(mail(1)) - 1}")
        result = old.call(*MIGRATE)
        complains(result, 1, "0 of 9 messages are there")
        assert f"too large: it has {len(mail(1))} bytes, the server takes {len(mail(1)) - 1}" in result.out
        assert "APPEND" not in server.names()

    def test_too_large_for_one_mailbox(self, old: Home, server: ScriptedServer) -> None:
        server.account.late = (*server.account.late, "APPENDLIMIT")
        server.folder("Work").extra["APPENDLIMIT"] = "10"
        complains(old.call(*MIGRATE), 3, "8 of 9 messages are there")
        assert held(server, "Work") == []

    @pytest.mark.parametrize("harm", ["missing", "damaged"])
    def test_a_file_that_is_not_what_was_archived(self, old: Home, server: ScriptedServer, harm: str) -> None:
        path = file_of(old, 3)
        path.unlink() if harm == "missing" else path.write_bytes(b"something else")
        result = old.call(*MIGRATE)
        complains(result, 3, "8 of 9 messages are there")
        assert "archiver verify --repair" in result.out
        assert mail(3) not in held(server) and len(held(server)) == COUNT - 1

    def test_nul_bytes(self, home: Home, scripted: Scripted) -> None:
        source, target = scripted(), scripted()
        source.folder().add(b"Subject: nul\r\n\r\na\0b\r\n")
        source.folder().add(mail(1))
        home.account("old", source.port)
        home.account("new", target.port)
        home.good("sync", "old")
        result = home.call(*MIGRATE)
        complains(result, 3, "1 of 2 messages are there")
        assert "it has NUL bytes" in result.out
        assert held(target) == [mail(1)]

    def test_what_one_server_takes_and_another_does_not(
        self, home: Home, scripted: Scripted, cyrus_mailbox: CyrusUser
    ) -> None:
        """Cyrus refuses bare line feeds, in one command with others all of them."""
        source = scripted()
        for raw in (mail(1), b"Subject: bare\r\n\r\na\nb\r\n", mail(2)):
            source.folder().add(raw)
        home.account("old", source.port)
        home.mailbox(cyrus_mailbox, "new")
        home.good("sync", "old")
        result = home.call(*MIGRATE)
        complains(result, 3, "2 of 3 messages are there")
        assert "the server says: " in result.out
        assert [each[0] for each in content(cyrus_mailbox)["INBOX"]] == [mail(1), mail(2)]

    def test_a_large_one_goes_in_pieces(self, home: Home, dovecot: Dovecot, mailbox: User) -> None:
        large = mail(1, "x" * 76 + "\r\n" + "y" * 9_000_000)
        mailbox.save(large)
        mailbox.save(mail(2))
        home.mailbox(mailbox, "old")
        home.good("sync", "old")
        new = dovecot.new_user()
        home.mailbox(new, "new")
        home.good(*MIGRATE)
        home.good("sync", "new")
        home.good("verify", "--server")
        assert new.status()["messages"] == 2

    def test_keywords_that_are_not_kept(self, home: Home, mailbox: User, scripted: Scripted) -> None:
        mailbox.save(mail(1), flags=("\\Seen", "\\Draft", "$Later"))
        home.mailbox(mailbox, "old")
        home.good("sync", "old")
        target = scripted()
        target.folder().extra["PERMANENTFLAGS"] = r"(\Seen \Flagged)"
        home.account("new", target.port)
        home.good(*MIGRATE)
        assert target.folder().mails[0].flags == ("\\Seen",)


class TestMailboxes:
    def test_a_full_one(self, home: Home, dovecot: Dovecot, mailbox: User) -> None:
        """Small ones may still go in; when nothing does any more the run ends, and says what to do."""
        for number in range(40):
            mailbox.save(mail(number, "x" * 2000))
        home.mailbox(mailbox, "old")
        home.good("sync", "old")
        new = dovecot.new_user(fields="userdb_quota_rule=*:storage=20K")
        home.mailbox(new, "new")
        result = home.call(*MIGRATE)
        there = new.status()["messages"]
        assert 0 < there < 12
        complains(result, 3, f"{there} of 40 messages are there", "the mailbox is full", "make room")
        assert result.out.count("[OVERQUOTA]") == 20 and "more; --json lists all" in result.out

    def test_deleted_while_it_is_filled(self, old: Home, server: ScriptedServer) -> None:
        """[TRYCREATE]: it is made again, and all of it goes there."""

        def vanish(session: Session, command: Command) -> bytes:
            server.account.folders.pop("Work")
            return session.honest(command)

        server.on("APPEND", vanish, when=holds(20), times=1)
        old.good(*MIGRATE)
        assert everything(server)

    def test_deleted_again_and_again(self, old: Home, server: ScriptedServer) -> None:
        server.on("APPEND", reply("{tag} NO [TRYCREATE] none"), when=holds(20))
        complains(old.call(*MIGRATE), 3, "8 of 9", "Work", "gone as soon as it is created")

    def test_for_reading_only(self, old: Home, server: ScriptedServer) -> None:
        def read_only(session: Session, command: Command) -> bytes:
            return session.honest(command).replace(b"READ-WRITE", b"READ-ONLY")

        server.on("SELECT", read_only, when=lambda command: "Work" in command.arguments)
        complains(old.call(*MIGRATE), 3, "8 of 9", "new/Work: the server opens it for reading only")

    @pytest.mark.parametrize("code", ["NOPERM", "READ-ONLY"])
    def test_where_nothing_may_be_put(self, old: Home, server: ScriptedServer, code: str) -> None:
        refused = reply(f"{{tag}} NO [{code}] not here")
        server.on("APPEND", refused, when=lambda command: not holds(20)(command))
        complains(old.call(*MIGRATE), 3, "1 of 9", f"INBOX: nothing can be put into it: [{code}] not here")
        assert held(server, "Work") == [mail(20)]

    def test_one_that_cannot_be_created(self, old: Home, server: ScriptedServer) -> None:
        server.account.folders.pop("Work")
        server.on("CREATE", reply("{tag} NO [CANNOT] no such names here"))
        complains(old.call(*MIGRATE), 3, "8 of 9", "new/Work: cannot be created", "no such names here")

    def test_without_uidvalidity(self, old: Home, server: ScriptedServer) -> None:
        server.folder("Work").uidvalidity = None
        complains(old.call(*MIGRATE), 3, "8 of 9", "gives no UIDVALIDITY")
        assert held(server, "Work") == []


class TestLines:
    def test_lost_in_the_middle_of_a_message(
        self, old: Home, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server hangs up while it is sent to; another line goes on, and nothing comes twice."""
        receive = Session._receive
        cut_off: list[int] = []

        def hang_up(session: Session) -> Command | None:
            if "APPEND" in server.names() and not cut_off:
                cut_off.append(session.number)
                session._input.read(300)
                raise HangUpError
            return receive(session)

        monkeypatch.setattr(Session, "_receive", hang_up)
        old.good(*MIGRATE)
        assert everything(server) and cut_off

    @pytest.mark.parametrize("after", [0, 5])
    def test_lost_before_an_answer(self, old: Home, server: ScriptedServer, after: int) -> None:
        """The server has the messages and could not say so: they are found, not sent again."""
        server.on("APPEND", cut(after), times=1)
        result = old.good(*MIGRATE)
        assert everything(server)
        assert result.lines()[0].startswith("new/INBOX: 8 messages put back")

    def test_the_server_says_bye(self, old: Home, server: ScriptedServer) -> None:
        server.on("APPEND", bye("* BYE going down for a while, try again later"), when=holds(5))
        complains(old.call(*MIGRATE), 3, "going down for a while", "tries the others again")
        server._rules.clear()
        old.good(*MIGRATE)
        assert everything(server)

    def test_one_message_that_breaks_it(self, old: Home, server: ScriptedServer) -> None:
        """Less and less goes together until it is found; the others go on."""
        server.on("APPEND", bye(), when=holds(4))
        result = old.call(*MIGRATE)
        complains(result, 3, "8 of 9 messages are there")
        assert "the line to the server breaks when it is sent" in result.out
        assert held(server) == sorted(mail(n) for n in range(COUNT) if n != 4)

    def test_a_server_that_always_hangs_up(self, old: Home, server: ScriptedServer) -> None:
        server.on("SELECT", bye())
        complains(old.call(*MIGRATE), 75, "closed the connection")
        assert server.names().count("SELECT") == 5

    def test_nobody_there(self, old: Home) -> None:
        old.account("new", 1)
        complains(old.call(*MIGRATE), 75, "refuses connections")

    def test_a_wrong_password(self, old: Home, server: ScriptedServer) -> None:
        old.account("new", server.port, password="wrong")
        complains(old.call(*MIGRATE), 1, "refused the login")

    def test_throttled(self, old: Home, server: ScriptedServer) -> None:
        server.on("APPEND", reply("{tag} NO [THROTTLED] slower"), when=holds(5))
        complains(old.call(*MIGRATE), 3, "[THROTTLED] slower")
        assert held(server, "Work") == []

    def test_asked_to_stop(self, old: Home, server: ScriptedServer) -> None:
        """What is under way is brought to its end; the same command goes on."""
        appends: list[Command] = []

        def counted(session: Session, command: Command) -> bytes:
            appends.append(command)
            return session.honest(command)

        server.on("APPEND", counted)
        archive = Archive(load(old.config), stop=lambda: bool(appends))
        report = archive.restore(Selection(account="old"), "new", same_folders(""), Silent())
        assert report.exit_code == 3 and isinstance(report.error, InterruptedRun)
        assert 0 < report.restored < COUNT and report.restored == len(held(server))
        old.good(*MIGRATE)
        assert everything(server)

    def test_through_pymap(self, old: Home, start_pymap: Callable[..., Pymap]) -> None:
        server = start_pymap({"INBOX": []})
        old.account("new", server.port, server.user, password=server.password)
        old.good(*MIGRATE)
        assert all("there already" in line for line in old.good(*MIGRATE).lines())
        old.good("sync", "new")
        old.good("verify", "--server")


def test_a_server_that_rewrites_what_it_is_given(home: Home, scripted: Scripted) -> None:
    """Its answer is lost, and the messages look different: their Message-IDs and dates tell."""
    source, target = scripted(), scripted()
    for number in range(4):
        source.folder().add(b"Message-ID: <%d@example.org>\r\n" % number + mail(number))
    home.account("old", source.port)
    home.account("new", target.port)
    home.good("sync", "old")

    def rewrite(session: Session, command: Command) -> bytes:
        session.honest(command)
        target.folder().mails[-1].raw = b"X-Scanned: yes\r\n" + target.folder().mails[-1].raw
        if len(target.folder().mails) == 3:
            raise HangUpError
        return b""

    target.on("APPEND", rewrite, times=3)
    home.good(*MIGRATE)
    ids = [each.raw.partition(b"Message-ID: ")[2][:15] for each in target.folder().mails]
    assert ids == [b"<%d@example.org>" % number for number in range(4)]


def test_a_server_that_keeps_no_dates(home: Home, scripted: Scripted) -> None:
    """Its answer is lost, and the dates tell nothing: the bytes do, and nothing comes twice."""
    source, target = scripted(), scripted()
    for number in range(4):
        source.folder().add(mail(number))
    home.account("old", source.port)
    home.account("new", target.port)
    home.good("sync", "old")

    def undated(session: Session, command: Command) -> bytes:
        session.honest(command)
        target.folder().mails[-1].date = datetime(2024, 5, 6, tzinfo=UTC)
        if len(target.folder().mails) == 3:
            raise HangUpError
        return b""

    target.on("APPEND", undated, times=3)
    home.good(*MIGRATE)
    assert held(target) == sorted(map(mail, range(4)))


def test_a_server_that_counts_uids_anew_under_one_uidvalidity(home: Home, scripted: Scripted) -> None:
    """It lost its mail, and what came since has the UIDs of what is to be put back."""
    server = scripted()
    for number in range(4):
        server.folder().add(mail(number))
    home.account("work", server.port)
    home.good("sync")
    server.folder().mails.clear()
    server.folder().uidnext = 1
    server.folder().add(mail(50))
    back = ("restore", "--account", "work", "--to", "work", "--same-folders", "--with-gone", "--yes")
    complains(home.call(*back), 1, "do not mean any more what they meant", "archiver sync")
    complains(home.call(*back, "--dry-run"), 1, "do not mean any more what they meant", "archiver sync")
    assert held(server) == [mail(50)]
    home.good("sync")
    home.good(*back)
    assert held(server) == sorted(map(mail, (0, 1, 2, 3, 50)))
