"""Hearing of changes: IDLE and NOTIFY on real servers, and on ones that repeat, refuse, fall silent, die."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from archiver.errors import ConnectionLostError, FolderError, UnavailableError
from archiver.imap import Connection, Mailbox
from archiver.imap import idle as module
from archiver.imap.idle import Heard, Idle, Listening, Notify, wait
from tests.conftest import AnyUser
from tests.imap.conftest import PASSWORD, Connect, ServerFor, log_in, server_for
from tests.servers.dovecot import Dovecot, User
from tests.servers.honest import Command
from tests.servers.idling import Idling
from tests.servers.scripted import ScriptedServer, Session, reply

__all__ = ["log_in", "server_for"]

Scripted = Callable[..., ScriptedServer]
MAIL = b"Subject: hello\r\n\r\nhello\r\n"
INBOX = Mailbox("INBOX", "INBOX", "/")
ARRIVED, OTHER = Heard("INBOX", True), Heard("INBOX", False)


@pytest.fixture
def wake() -> Iterator[int]:
    """A descriptor nothing ever comes from."""
    ours, theirs = os.pipe()
    yield ours
    os.close(ours)
    os.close(theirs)


def hears(listening: Listening, wake: int, seconds: float = 5) -> list[Heard]:
    """The next that is heard; nothing when the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert wait([listening], end - time.monotonic(), wake)
        if heard := listening.heard():
            return heard
    return []


def until(listening: Listening, wake: int, condition: Callable[[], object]) -> None:
    """Listen until this holds."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        wait([listening], 0.02, wake)
        listening.heard()


@pytest.fixture
def idling(scripted: Scripted) -> tuple[ScriptedServer, Idling]:
    server = scripted()
    server.folder().add(MAIL)
    return server, Idling(server)


@pytest.fixture
def notifying(scripted: Scripted) -> tuple[ScriptedServer, Idling]:
    server = scripted()
    server.account.late += ("CONDSTORE",)
    return server, Idling(server, "NOTIFY")


class TestIdleOnRealServers:
    @pytest.fixture
    def mailbox(self, any_mailbox: AnyUser) -> AnyUser:
        return any_mailbox

    @pytest.fixture(params=["none", "tls"])
    def connection(self, request: pytest.FixtureRequest, mailbox: AnyUser, log_in: Connect) -> Connection:
        changes = {"security": "tls", "port": mailbox.server.tls_port} if request.param == "tls" else {}
        return log_in(mailbox.server, user=mailbox.name, password=PASSWORD, **changes)

    def test_arrivals_flags_and_deletions(self, mailbox: AnyUser, connection: Connection, wake: int) -> None:
        mailbox.save(MAIL)
        connection.list_folders()
        idle = connection.idle(INBOX)
        mailbox.save(MAIL)
        assert hears(idle, wake) == [ARRIVED]
        mailbox.add_flags("INBOX", "1", "\\Seen")
        assert set(hears(idle, wake)) == {OTHER}
        mailbox.expunge("INBOX", "1")
        assert set(hears(idle, wake)) == {OTHER}
        mailbox.save(MAIL)
        while ARRIVED not in (heard := hears(idle, wake)):
            assert heard  # of the deletion still, which some tell in two parts

    def test_it_lets_go(self, mailbox: AnyUser, connection: Connection) -> None:
        connection.idle(INBOX).end()
        assert [m.name for m in connection.list_folders()] == ["INBOX"]

    def test_renewed_again_and_again(self, mailbox: AnyUser, connection: Connection, wake: int) -> None:
        idle = connection.idle(INBOX, renew=0.05)
        assert hears(idle, wake, 0.5) == []
        mailbox.save(MAIL)
        assert hears(idle, wake) == [ARRIVED]

    def test_a_server_that_goes_down(
        self, start_dovecot: Callable[..., Dovecot], log_in: Connect, wake: int
    ) -> None:
        server = start_dovecot()
        user = server.new_user()
        idle = log_in(server, user=user.name).idle(INBOX)
        user.kick()
        with pytest.raises(ConnectionLostError, match="closed the connection: Server shutting down"):
            hears(idle, wake)

    def test_compressed(
        self, start_dovecot: Callable[..., Dovecot], server_for: ServerFor, log_in: Connect, wake: int
    ) -> None:
        server = start_dovecot()
        user = server.new_user()
        idle = log_in(server, user=user.name, compress="on").idle(INBOX)
        user.save(MAIL)
        assert hears(idle, wake) == [ARRIVED]
        user.kick()
        with pytest.raises(ConnectionLostError):
            hears(idle, wake)


class TestNotifyOnDovecot:
    @pytest.fixture
    def notify(self, mailbox: User, log_in: Connect) -> Notify:
        mailbox.create("Work")
        connection = log_in(mailbox.server, user=mailbox.name)
        connection.list_folders()
        return connection.notify(renew=0.3)

    def test_arrivals_in_any_folder(self, mailbox: User, notify: Notify, wake: int) -> None:
        mailbox.save(MAIL, "Work")
        assert hears(notify, wake) == [Heard("Work", True)]
        mailbox.save(MAIL)
        assert hears(notify, wake) == [ARRIVED]

    def test_flags_and_deletions(self, mailbox: User, notify: Notify, wake: int) -> None:
        mailbox.save(MAIL)
        assert hears(notify, wake) == [ARRIVED]
        mailbox.add_flags("INBOX", "1", "\\Flagged")
        assert hears(notify, wake) == [OTHER]
        mailbox.expunge("INBOX", "1")
        assert hears(notify, wake) == [OTHER]

    def test_folders_that_are_made(self, mailbox: User, notify: Notify, wake: int) -> None:
        mailbox.create("Новая")
        (heard,) = hears(notify, wake)
        assert heard.raw is None and heard.mailbox is not None and heard.mailbox.name == "Новая"
        mailbox.save(MAIL, "Новая")
        assert [(h.raw, h.arrived) for h in hears(notify, wake)] == [(heard.mailbox.raw, True)]


class TestIdle:
    def test_what_is_no_change(
        self, idling: tuple[ScriptedServer, Idling], log_in: Connect, wake: int
    ) -> None:
        idle = log_in(idling[0]).idle(INBOX)
        idling[1].say(
            "* OK Still here", "* 1 EXISTS", "* 0 RECENT", "* FLAGS (\\Seen)", "* CAPABILITY IMAP4rev1"
        )
        assert hears(idle, wake, 0.3) == []
        idling[1].say("*  2 EXISTS")
        assert hears(idle, wake) == [ARRIVED]

    def test_the_count_follows_deletions(
        self, idling: tuple[ScriptedServer, Idling], log_in: Connect, wake: int
    ) -> None:
        idle = log_in(idling[0]).idle(INBOX)
        # Courier repeats the count after an EXPUNGE; the second time a message came instead.
        idling[1].say("* 1 EXPUNGE", "* 0 EXISTS", "* 1 EXISTS", "* VANISHED 7", "* 1 EXISTS")
        assert hears(idle, wake) == [OTHER, ARRIVED, OTHER, ARRIVED]

    def test_flags_count_where_they_can_be_asked_for(
        self, idling: tuple[ScriptedServer, Idling], log_in: Connect, wake: int
    ) -> None:
        server, pushed = idling
        idle = log_in(server).idle(INBOX)
        pushed.say("* 1 FETCH (FLAGS (\\Seen))")
        assert hears(idle, wake, 0.2) == []
        server.account.late += ("CONDSTORE",)
        idle = log_in(server).idle(INBOX)
        pushed.say("* 1 FETCH (FLAGS ())")
        assert hears(idle, wake) == [OTHER]

    def test_renewed_before_the_server_loses_patience(
        self, idling: tuple[ScriptedServer, Idling], log_in: Connect, wake: int
    ) -> None:
        server, pushed = idling
        idle = log_in(server).idle(INBOX, renew=0.1)
        until(idle, wake, lambda: pushed.begun >= 4)
        assert [name for name in server.names() if name in ("IDLE", "")][:7] == [
            "IDLE",
            "",
            "IDLE",
            "",
            "IDLE",
            "",
            "IDLE",
        ]
        assert module.RENEW < 29 * 60

    def test_begun_anew_after_a_change(
        self,
        idling: tuple[ScriptedServer, Idling],
        log_in: Connect,
        wake: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A hibernating Dovecot forgets to tell of what comes after the first message."""
        monkeypatch.setattr(module, "_BREATH", 0.1)
        server, pushed = idling
        idle = log_in(server).idle(INBOX)
        pushed.say("* 2 EXISTS")
        assert hears(idle, wake) == [ARRIVED]
        until(idle, wake, lambda: pushed.begun == 2)
        assert hears(idle, wake, 0.3) == [] and pushed.begun == 2

    @pytest.mark.parametrize("capability", ["IDLE", "NOTIFY"])
    def test_asked_soon_then_less_often(
        self,
        scripted: Scripted,
        log_in: Connect,
        wake: int,
        monkeypatch: pytest.MonkeyPatch,
        capability: str,
    ) -> None:
        """So what a server forgot to tell waits no longer than a few times what passed since the last."""
        monkeypatch.setattr(module, "_SOON", 0.05)
        monkeypatch.setattr(module, "_BREATH", 0.0)
        server = scripted()
        pushed = Idling(server, capability)
        connection = log_in(server)
        listening = connection.idle(INBOX) if capability == "IDLE" else connection.notify()
        asked = "" if capability == "IDLE" else "NOOP"
        begun = time.monotonic()
        moments: list[float] = []

        def times(count: int) -> bool:
            while len(moments) < server.names().count(asked):
                moments.append(time.monotonic() - begun)
            return len(moments) >= count

        until(listening, wake, lambda: times(3))
        assert moments[0] >= 0.05 and moments[1] >= 0.25 and moments[2] >= 1.05 and moments[2] < 2
        # Between the end of one IDLE and the next nobody would hear it.
        until(listening, wake, lambda: pushed.begun == (4 if capability == "IDLE" else 1))
        pushed.say("* 2 EXISTS" if capability == "IDLE" else "* STATUS INBOX (UIDNEXT 2)")
        until(listening, wake, lambda: times(5))
        assert moments[4] - moments[2] < 1

    def test_what_comes_with_the_end_is_heard(self, scripted: Scripted, log_in: Connect, wake: int) -> None:
        server = scripted()

        def end(session: Session, command: Command) -> bytes:
            tag = [each.tag for each in server.commands if each.name == "IDLE"][-1]
            return f"* 1 EXISTS\r\n{tag} OK done\r\n* 2 EXISTS\r\n".encode()

        server.on("", end, times=1)
        pushed = Idling(server)
        idle = log_in(server).idle(INBOX, renew=0.05)
        assert hears(idle, wake) == [ARRIVED, ARRIVED]
        until(idle, wake, lambda: pushed.begun == 2)

    @pytest.mark.parametrize(
        ("answer", "error", "words"),
        [
            ("{tag} NO not for you", FolderError, "IDLE refused: NO not for you"),
            ("{tag} BAD what?", FolderError, "IDLE refused: BAD what?"),
            ("{tag} NO [THROTTLED] slowly", UnavailableError, "slowly"),
            ("{tag} OK done already", FolderError, "ends IDLE as soon as it began"),
        ],
    )
    def test_refused(
        self,
        idling: tuple[ScriptedServer, Idling],
        log_in: Connect,
        answer: str,
        error: type[Exception],
        words: str,
    ) -> None:
        server, _ = idling
        server._rules.clear()
        server.on("IDLE", reply(answer))
        with pytest.raises(error, match=words.replace("?", r"\?")):
            log_in(server).idle(INBOX)

    def test_ended_by_the_server(
        self,
        idling: tuple[ScriptedServer, Idling],
        log_in: Connect,
        wake: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Some end it with an OK after half an hour: that is no error, unless it comes at once."""
        server, pushed = idling
        idle = log_in(server).idle(INBOX)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_AT_ONCE", 0.0)
            pushed.say(f"{server.commands[-1].tag} OK enough")
            until(idle, wake, lambda: pushed.begun == 2)
        pushed.say(f"{server.commands[-1].tag} OK enough")
        with pytest.raises(FolderError, match="as soon as it began"):
            hears(idle, wake)

    @pytest.mark.parametrize(
        ("line", "error"),
        [("* BYE idle for too long", ConnectionLostError), ("* BYE [UNAVAILABLE] restart", UnavailableError)],
    )
    def test_goodbye(
        self,
        idling: tuple[ScriptedServer, Idling],
        log_in: Connect,
        wake: int,
        line: str,
        error: type[Exception],
    ) -> None:
        idle = log_in(idling[0]).idle(INBOX)
        idling[1].say(line)
        with pytest.raises(error, match=line.split()[-1]):
            hears(idle, wake)

    def test_closed(self, idling: tuple[ScriptedServer, Idling], log_in: Connect, wake: int) -> None:
        idle = log_in(idling[0]).idle(INBOX)
        idling[1].hang_up()
        with pytest.raises(ConnectionLostError, match="closed the connection"):
            hears(idle, wake)

    @pytest.mark.parametrize("security", ["none", "tls"])
    def test_silence_is_found_by_asking(
        self, scripted: Scripted, log_in: Connect, wake: int, security: str
    ) -> None:
        server = scripted(security)
        pushed = Idling(server, ends=False)
        idle = log_in(server, security=security, read_timeout=0.3).idle(INBOX, renew=60)
        assert hears(idle, wake, 0.5) == []
        idle.check()
        asked = time.monotonic()
        # Alive is not enough: the answer has to come.
        threading.Timer(0.15, lambda: pushed.say("* OK Still here")).start()
        with pytest.raises(ConnectionLostError, match="fell silent"):
            hears(idle, wake)
        assert 0.3 <= time.monotonic() - asked < 1

    def test_silent_from_the_start(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.on("IDLE", lambda session, command: b"")
        with pytest.raises(ConnectionLostError, match="fell silent"):
            log_in(server, read_timeout=0.3).idle(INBOX)

    @pytest.mark.parametrize("security", ["none", "tls"])
    def test_half_a_line_holds_nobody_up(
        self, scripted: Scripted, log_in: Connect, wake: int, security: str
    ) -> None:
        server = scripted(security)
        pushed = Idling(server)
        idle = log_in(server, security=security).idle(INBOX)
        pushed.say(raw=b"* 2 EXI")
        begun = time.monotonic()
        assert hears(idle, wake, 0.3) == []
        assert time.monotonic() - begun < 1
        pushed.say(raw=b"STS\r\n* OK Sti")
        assert hears(idle, wake) == [ARRIVED]


class TestNotify:
    def test_a_server_that_knows_fewer_events(self, scripted: Scripted, log_in: Connect, wake: int) -> None:
        server = scripted()
        server.account.late += ("CONDSTORE",)
        server.on(
            "NOTIFY",
            reply("{tag} NO [BADEVENT (MessageNew MessageExpunge)] no such event"),
            when=lambda command: "FlagChange" in command.arguments,
        )
        pushed = Idling(server, "NOTIFY")
        notify = log_in(server).notify()
        pushed.say("* STATUS Work (UIDNEXT 3 MESSAGES 2)")
        assert hears(notify, wake) == [Heard("Work", True)]
        assert [c.arguments for c in server.commands if c.name == "NOTIFY"] == [
            "SET (personal (MessageNew MessageExpunge FlagChange MailboxName))",
            "SET (personal (MessageNew MessageExpunge))",
        ]

    @pytest.mark.parametrize(
        ("answer", "error"),
        [("NO no", FolderError), ("BAD no", FolderError), ("NO [OVERQUOTA] no", UnavailableError)],
    )
    def test_refused(self, scripted: Scripted, log_in: Connect, answer: str, error: type[Exception]) -> None:
        server = scripted()
        server.on("NOTIFY", reply(f"{{tag}} {answer}"))
        with pytest.raises(error):
            log_in(server).notify()

    def test_what_it_says(self, notifying: tuple[ScriptedServer, Idling], log_in: Connect, wake: int) -> None:
        server, pushed = notifying
        notify = log_in(server).notify()
        said = [
            ('* STATUS "a \\"b" (MESSAGES 1 UIDNEXT 2)', Heard('a "b', True)),
            ('* STATUS "a \\"b" (MESSAGES 0 UIDNEXT 2)', Heard('a "b', False)),
            ("* STATUS {5}\r\nA(c)d (UIDNEXT 9)", Heard("A(c)d", True)),
            ("* STATUS A(c)d (HIGHESTMODSEQ 77)", Heard("A(c)d", False)),
            ("* STATUS A(c)d (UIDNEXT 10 HIGHESTMODSEQ 78)", Heard("A(c)d", True)),
        ]
        for line, heard in said:
            pushed.say("* OK Still here", line)
            assert hears(notify, wake) == [heard]

    def test_an_overflow_may_have_been_anything(
        self,
        notifying: tuple[ScriptedServer, Idling],
        log_in: Connect,
        wake: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server, pushed = notifying
        notify = log_in(server).notify()
        with monkeypatch.context() as patch:
            patch.setattr(module, "_AT_ONCE", 0.0)
            pushed.say("* OK [NOTIFICATIONOVERFLOW] ...")
            assert hears(notify, wake) == [Heard(None, True)]
            pushed.wait_for(2)
            until(notify, wake, lambda: notify._on)
        pushed.say("* OK [notificationoverflow] again")
        with pytest.raises(FolderError, match="too many changes"):
            hears(notify, wake)

    def test_it_proves_the_line(
        self, notifying: tuple[ScriptedServer, Idling], log_in: Connect, wake: int
    ) -> None:
        server, _ = notifying
        notify = log_in(server).notify(renew=0.05)
        until(notify, wake, lambda: server.names().count("NOOP") >= 3)

    def test_silence(self, scripted: Scripted, log_in: Connect, wake: int) -> None:
        server = scripted()
        Idling(server, "NOTIFY", ends=False)
        notify = log_in(server, read_timeout=0.2).notify(renew=0.1)
        with pytest.raises(ConnectionLostError, match="fell silent"):
            hears(notify, wake)


class TestWaiting:
    def test_a_word_ends_it_at_once(self, idling: tuple[ScriptedServer, Idling], log_in: Connect) -> None:
        idle = log_in(idling[0]).idle(INBOX)
        ours, theirs = os.pipe()
        threading.Timer(0.2, lambda: os.write(theirs, b"x")).start()
        begun = time.monotonic()
        assert not wait([idle], 60, ours)
        assert 0.15 < time.monotonic() - begun < 1
        assert not wait([idle], 60, ours) and not wait([], 60, ours)
        os.close(ours)
        os.close(theirs)

    def test_no_longer_than_asked_or_than_anything_is_due(
        self, idling: tuple[ScriptedServer, Idling], log_in: Connect, wake: int
    ) -> None:
        idle = log_in(idling[0]).idle(INBOX, renew=0.2)
        begun = time.monotonic()
        assert wait([idle], 0.05, wake)
        assert 0.04 < time.monotonic() - begun < 0.15
        assert wait([idle], 60, wake)
        assert 0.15 < time.monotonic() - begun < 1

    def test_several_at_once(
        self,
        idling: tuple[ScriptedServer, Idling],
        notifying: tuple[ScriptedServer, Idling],
        log_in: Connect,
        wake: int,
    ) -> None:
        first: Idle = log_in(idling[0]).idle(INBOX)
        second = log_in(notifying[0]).notify()
        notifying[1].say("* STATUS Work (UIDNEXT 3)")
        assert wait([first, second], 5, wake)
        assert (first.heard(), second.heard()) == ([], [Heard("Work", True)])
