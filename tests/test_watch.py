"""Which folders to pull: what a server's word becomes, how it is come back to, what ends it."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver import watch as module
from archiver.config import Folders, ImapServer
from archiver.errors import (
    ArchiverError,
    ConnectError,
    ConnectionLostError,
    CredentialError,
    LoginError,
    TlsError,
    UnavailableError,
)
from archiver.imap import Connection, Mailbox, connect
from archiver.pull.plan import choose
from archiver.watch import Pull, State, pause, watch
from tests.imap.conftest import PASSWORD, ServerFor, server_for
from tests.servers.dovecot import Dovecot, User
from tests.servers.idling import Idling
from tests.servers.scripted import ScriptedServer, bye, reply

__all__ = ["server_for"]

Scripted = Callable[..., ScriptedServer]
MAIL = b"Subject: hello\r\n\r\nhello\r\n"
EVERYTHING = Pull()


class Watching:
    """A watch on a thread of its own, and what it says."""

    def __init__(
        self,
        server: ImapServer,
        *,
        folders: Folders | None = None,
        connect: Callable[[], AbstractContextManager[Connection]] | None = None,
        pauses: Sequence[float] = (0.05,),
        **options: object,
    ) -> None:
        self.failures: list[tuple[int, ArchiverError]] = []
        self.connected = 0
        self._server = server
        self._folders = folders or Folders()
        self._pauses = pauses
        self._wake, self._awake = os.pipe()
        self._said: queue.Queue[Pull | State | None] = queue.Queue()
        events = watch(
            connect or self._connect,
            self._choose,
            self._wake,
            pause=self._pause,
            **options,  # type: ignore[arg-type]
        )
        self._thread = threading.Thread(target=self._run, args=[events])
        self._thread.start()

    def _connect(self) -> AbstractContextManager[Connection]:
        self.connected += 1
        return connect(self._server, lambda: PASSWORD)

    def _choose(self, mailboxes: Sequence[Mailbox]) -> list[Mailbox]:
        return choose(list(mailboxes), self._folders)

    def _pause(self, failures: int, error: ArchiverError) -> float:
        self.failures.append((failures, error))
        return self._pauses[min(len(self.failures), len(self._pauses)) - 1]

    def _run(self, events: Iterator[Pull | State]) -> None:
        for event in events:
            self._said.put(event)
        self._said.put(None)

    def next(self, seconds: float = 10) -> Pull | State | None:
        """What it says next; None when it ended."""
        return self._said.get(timeout=seconds)

    def says(self, *expected: Pull | State | str) -> None:
        """The next it says are these; a text stands for the State that begins so."""
        for each in expected:
            event = self.next()
            if isinstance(each, str):
                assert isinstance(event, State) and event.text.startswith(each), (event, each)
            else:
                assert event == each

    def is_silent(self, seconds: float = 0.3) -> bool:
        try:
            event = self.next(seconds)
        except queue.Empty:
            return True
        raise AssertionError(event)

    def stop(self) -> float:
        """Wake it; the seconds until it had ended."""
        begun = time.monotonic()
        os.write(self._awake, b"x")
        self._thread.join(20)
        assert not self._thread.is_alive()
        os.close(self._wake)
        os.close(self._awake)
        return time.monotonic() - begun


Start = Callable[..., Watching]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start to watch; stopped at the end, within a second."""
    monkeypatch.setattr(module, "_SETTLE", 0.1)
    started: list[Watching] = []

    def make(server: ImapServer, **options: object) -> Watching:
        started.append(Watching(server, **options))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for each in started:
        assert each.stop() < 1


@pytest.fixture
def of(server_for: ServerFor) -> Callable[[User], ImapServer]:
    return lambda user: server_for(user.server, user=user.name)


Of = Callable[[User], ImapServer]


class TestNotify:
    def test_every_chosen_folder(self, mailbox: User, of: Of, start: Start) -> None:
        mailbox.create("Work", "Junk", "Lists", "Lists/a")
        watching = start(of(mailbox), folders=Folders(exclude=("Junk", "Lists/*")))
        watching.says("connecting", State("NOTIFY on 3 folders", 1), EVERYTHING)
        mailbox.save(MAIL, "Junk")
        mailbox.save(MAIL, "Lists/a")
        mailbox.save(MAIL, "Work")
        watching.says(Pull(("Work",)))
        mailbox.save(MAIL)
        watching.says(Pull(("INBOX",)))
        assert watching.connected == 1 and watching.is_silent()

    def test_folders_made_meanwhile(self, mailbox: User, of: Of, start: Start) -> None:
        watching = start(of(mailbox), folders=Folders(exclude=("Lists/*",)))
        watching.says("connecting", State("NOTIFY on 1 folder", 1), EVERYTHING)
        mailbox.create("Entwürfe")
        watching.says(EVERYTHING)
        mailbox.create("Lists/b")
        watching.says(EVERYTHING)
        mailbox.save(MAIL, "Lists/b")
        mailbox.save(MAIL, "Entwürfe")
        watching.says(Pull(("Entwürfe",)))

    def test_folders_of_others_are_polled(
        self, scripted: Scripted, server_for: ServerFor, start: Start
    ) -> None:
        """NOTIFY hears of one's own only."""
        server = scripted()
        server.account.late += ("NOTIFY", "IDLE")
        server.folder("Public/News")
        server.on("NAMESPACE", reply('* NAMESPACE (("" "/")) NIL (("Public/" "/"))', "{tag} OK done"))
        server.on("NOTIFY", reply("{tag} OK done"))
        Idling(server)
        watching = start(server_for(server), namespaces=("personal", "shared"))
        watching.says("connecting", State("NOTIFY on 1 folder; polling 1 folder", 1), EVERYTHING)
        watching = start(server_for(server))
        watching.says("connecting", State("NOTIFY on 1 folder", 1), EVERYTHING)
        watching = start(server_for(server), namespaces=("shared",))
        watching.says("connecting", State("IDLE on Public/News", 1), EVERYTHING)

    def test_refused_after_all(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        server.account.late += ("NOTIFY",)
        server.on("NOTIFY", reply("{tag} NO not today"))
        pushed = Idling(server)
        watching = start(server_for(server))
        watching.says("connecting", State("IDLE on INBOX", 1), EVERYTHING)
        pushed.say("* 1 EXISTS")
        watching.says(Pull(("INBOX",)))


class TestIdle:
    @pytest.fixture
    def idle_only(self, start_dovecot: Callable[..., Dovecot]) -> User:
        server = start_dovecot(
            capability="IMAP4rev1 IDLE SPECIAL-USE LIST-EXTENDED LIST-STATUS CONDSTORE UIDPLUS"
        )
        user = server.new_user()
        user.create("Quiet", "Work")
        user.save(MAIL, "Work")
        return user

    def test_the_inbox_and_what_gets_the_most(self, idle_only: User, of: Of, start: Start) -> None:
        watching = start(of(idle_only), lines=2)
        watching.says("connecting", State("IDLE on INBOX, Work; polling 1 folder", 2), EVERYTHING)
        idle_only.save(MAIL, "Work")
        watching.says(Pull(("Work",)))
        idle_only.save(MAIL, "Quiet")
        idle_only.save(MAIL)
        watching.says(Pull(("INBOX",)))
        assert watching.connected == 2

    def test_one_connection_one_folder(self, idle_only: User, of: Of, start: Start) -> None:
        watching = start(of(idle_only), folders=Folders(include=("Work", "Quiet")))
        watching.says("connecting", State("IDLE on Work; polling 1 folder", 1), EVERYTHING)
        idle_only.save(MAIL, "Work")
        watching.says(Pull(("Work",)))

    def test_copies_and_junk_come_last(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        for name, use in (("Spam", "\\Junk"), ("Gone", "\\Trash"), ("Everything", "\\All"), ("Plain", "")):
            folder = server.folder(name)
            folder.attributes = (use,) if use else ()
            folder.uidnext = {"Spam": 900, "Gone": 800}.get(name, 5)
        Idling(server)
        watching = start(server_for(server), lines=4)
        watching.says("connecting", State("IDLE on INBOX, Everything, Plain, Gone; polling 1 folder", 4))

    def test_flags_settle_first(
        self, idle_only: User, of: Of, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_SETTLE", 1.5)
        for _ in range(3):
            idle_only.save(MAIL)
        watching = start(of(idle_only))
        watching.says("connecting", "IDLE", EVERYTHING)
        begun = time.monotonic()
        for uid in "123":
            idle_only.add_flags("INBOX", uid, "\\Seen")
        watching.says(Pull(("INBOX",)))
        assert time.monotonic() - begun > 1.4
        assert watching.is_silent()

    def test_as_many_connections_as_it_takes(
        self, scripted: Scripted, server_for: ServerFor, start: Start
    ) -> None:
        server = scripted()
        for name in "abc":
            server.folder(name)
        pushed = Idling(server)
        server.on("LOGIN", reply("{tag} NO [LIMIT] too many"), when=lambda command: command.connection >= 2)
        watching = start(server_for(server), lines=4)
        watching.says("connecting", State("IDLE on INBOX, a; polling 2 folders", 2), EVERYTHING)
        pushed.say("* 1 EXISTS")
        assert isinstance(watching.next(), Pull)

    def test_fewer_when_they_keep_dying(
        self, scripted: Scripted, server_for: ServerFor, start: Start
    ) -> None:
        server = scripted()
        server.folder("a")
        server.on(
            "IDLE", bye("+ idling", "* BYE one too many"), when=lambda command: command.connection % 2 == 1
        )
        Idling(server)
        watching = start(server_for(server), lines=2)
        watching.says("connecting")
        for _ in range(3):
            watching.says("IDLE on INBOX, a", EVERYTHING, "connecting again")
        watching.says(State("IDLE on INBOX; polling 1 folder", 1), EVERYTHING)
        assert watching.is_silent()

    def test_a_folder_it_will_not_open(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        server.folder("Work")
        server.on("EXAMINE", reply("{tag} NO [NOPERM] no"), when=lambda c: c.text(0) == "INBOX")
        pushed = Idling(server)
        watching = start(server_for(server))
        watching.says("connecting", State("IDLE on Work; polling 1 folder", 1), EVERYTHING)
        pushed.say("* 1 EXISTS")
        watching.says(Pull(("Work",)))


class TestPolling:
    def test_neither(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        watching = start(server_for(server))
        watching.says("connecting", State("polling: the server offers neither IDLE nor NOTIFY"))
        assert watching.is_silent()
        assert server.names()[-1] == "LOGOUT"

    def test_asked_again_some_day(
        self, scripted: Scripted, server_for: ServerFor, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_ASK_AGAIN", 0.1)
        server = scripted()
        watching = start(server_for(server))
        watching.says("connecting", "polling")
        Idling(server)
        while (event := watching.next()) == State("polling: the server offers neither IDLE nor NOTIFY"):
            pass
        assert event == State("IDLE on INBOX", 1)

    def test_idle_refused(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        for name in "abcdefgh":
            server.folder(name)
        server.account.late += ("IDLE",)
        server.on("IDLE", reply("{tag} NO not for you"))
        watching = start(server_for(server))
        watching.says("connecting", State("polling: IDLE refused: NO not for you"))
        assert server.names().count("IDLE") == 3

    def test_no_folder(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        Idling(server)
        watching = start(server_for(server), folders=Folders(include=("none",)))
        watching.says("connecting", State("polling: no folder is chosen"))


class TestComingBack:
    @pytest.fixture
    def idling(self, scripted: Scripted) -> tuple[ScriptedServer, Idling]:
        server = scripted()
        return server, Idling(server)

    def test_everything_after_each_loss(
        self, idling: tuple[ScriptedServer, Idling], server_for: ServerFor, start: Start
    ) -> None:
        server, pushed = idling
        watching = start(server_for(server), pauses=(0.01, 0.3))
        watching.says("connecting")
        for _ in range(2):
            watching.says(State("IDLE on INBOX", 1), EVERYTHING)
            pushed.hang_up()
            watching.says(f"connecting again in 0 s: {server.host}:{server.port} closed the connection")
        watching.says("IDLE on INBOX", EVERYTHING)
        pushed.say("* BYE [UNAVAILABLE] closing for a while")
        watching.says("connecting again", "IDLE", EVERYTHING)
        assert [count for count, _ in watching.failures] == [1, 2, 3]
        assert isinstance(watching.failures[-1][1], UnavailableError)

    def test_a_good_time_is_a_new_start(
        self,
        idling: tuple[ScriptedServer, Idling],
        server_for: ServerFor,
        start: Start,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "_STEADY", 0.0)
        server, pushed = idling
        watching = start(server_for(server))
        watching.says("connecting")
        for _ in range(3):
            watching.says("IDLE", EVERYTHING)
            pushed.hang_up()
            watching.says("connecting again")
        assert [count for count, _ in watching.failures] == [1, 1, 1]

    def test_a_server_started_again(
        self, start_dovecot: Callable[..., Dovecot], of: Of, start: Start
    ) -> None:
        server = start_dovecot()
        user = server.new_user()
        watching = start(of(user))
        watching.says("connecting", "NOTIFY", EVERYTHING)
        server.halt()
        watching.says("connecting again in 0 s: ")
        while (event := watching.next()) and isinstance(event, State) and "refuses connections" in event.text:
            if len(watching.failures) == 3:
                server.resume()
        assert event == State("NOTIFY on 1 folder", 1)
        watching.says(EVERYTHING)
        user.save(MAIL)
        watching.says(Pull(("INBOX",)))

    def test_a_line_that_is_dead(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        Idling(server, ends=False)
        watching = start(server_for(server, read_timeout=0.2), renew=0.2)
        watching.says(
            "connecting", "IDLE", EVERYTHING, "connecting again in 0 s: 127.0.0.1", "IDLE", EVERYTHING
        )
        assert isinstance(watching.failures[0][1], ConnectionLostError)

    def test_after_a_sleep_the_line_is_proven(
        self,
        idling: tuple[ScriptedServer, Idling],
        server_for: ServerFor,
        start: Start,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The connection may have been forgotten by all on the way, and nobody would ever say so."""
        monkeypatch.setattr(module, "_LOOK", 0.05)
        server, pushed = idling
        slept = [0.0]
        watching = start(server_for(server), wall=lambda: time.time() + slept[0])
        watching.says("connecting", "IDLE", EVERYTHING)
        assert watching.is_silent() and pushed.begun == 1
        slept[0] = 3600.0
        pushed.wait_for(2)
        assert watching.is_silent() and pushed.begun == 2

    def test_a_sleep_ends_a_pause(
        self,
        idling: tuple[ScriptedServer, Idling],
        server_for: ServerFor,
        start: Start,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "_LOOK", 0.05)
        server, pushed = idling
        slept = [0.0]
        watching = start(server_for(server), wall=lambda: time.time() + slept[0], pauses=(3600.0,))
        watching.says("connecting", "IDLE", EVERYTHING)
        pushed.hang_up()
        watching.says("connecting again in 3600 s: ")
        assert watching.is_silent()
        slept[0] = 7200.0
        watching.says("IDLE", EVERYTHING)

    def test_each_time_the_secret_is_asked_for_anew(
        self, idling: tuple[ScriptedServer, Idling], server_for: ServerFor, start: Start
    ) -> None:
        """An access token lives for an hour; the server hangs up when it is over."""
        server, pushed = idling
        server.account.password = "token 1"
        secrets = iter(("token 1", "token 1", "token 2"))
        watching = start(
            server_for(server), connect=lambda: connect(server_for(server), lambda: next(secrets))
        )
        watching.says("connecting", "IDLE", EVERYTHING)
        server.account.password = "token 2"
        pushed.say("* BYE session expired")
        watching.says("connecting again", "connecting again", "IDLE", EVERYTHING)
        assert isinstance(watching.failures[1][1], LoginError)


class TestStopping:
    """The fixture `start` checks that each stop takes less than a second."""

    @pytest.mark.parametrize("capability", ["IDLE", "NOTIFY"])
    def test_while_listening(
        self, scripted: Scripted, server_for: ServerFor, start: Start, capability: str
    ) -> None:
        server = scripted()
        Idling(server, capability)
        watching = Watching(server_for(server))
        watching.says("connecting", capability, EVERYTHING)
        assert watching.stop() < 0.5 and watching.next() is None
        deadline = time.monotonic() + 5
        while server.names()[-1] != "LOGOUT":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.names()[-2] == ("" if capability == "IDLE" else "NOOP")  # "": DONE

    def test_while_an_answer_is_late(self, scripted: Scripted, server_for: ServerFor, start: Start) -> None:
        server = scripted()
        pushed = Idling(server, ends=False)
        watching = start(server_for(server, read_timeout=30), renew=0.1)
        watching.says("connecting", "IDLE", EVERYTHING)
        pushed.wait_for(1)
        time.sleep(0.2)

    def test_in_a_pause(self, server_for: ServerFor, scripted: Scripted, start: Start) -> None:
        server = scripted()
        server.on("GREETING", bye("* BYE closed"))
        watching = start(server_for(server), pauses=(3600.0,))
        watching.says("connecting", "connecting again in 3600 s: ")


class TestPauses:
    transient = st.sampled_from([ConnectError("x"), ConnectionLostError("x"), UnavailableError("x")])
    lasting = st.sampled_from([TlsError("x"), LoginError("x")])

    @given(st.integers(1, 10_000), transient)
    def test_soon_at_first_then_later(self, failures: int, error: ArchiverError) -> None:
        base = min(2.0 * 2 ** min(failures - 1, 20), 300.0)
        assert base * 0.75 <= pause(failures, error) <= base * 1.25

    @given(st.integers(2, 10_000), lasting)
    def test_what_waiting_does_not_mend(self, failures: int, error: ArchiverError) -> None:
        assert 600 < pause(failures, error) < 1200

    def test_a_secret_that_may_be_stale_is_tried_again_soon(self) -> None:
        assert pause(1, LoginError("x")) < 3 and pause(3, CredentialError("x")) < 11
        assert pause(1, TlsError("x")) > 600

    @given(st.integers(1, 100), st.floats(0, 10_000))
    def test_never_sooner_than_suggested(self, failures: int, seconds: float) -> None:
        assert pause(failures, UnavailableError("x", wait=seconds)) >= seconds

    def test_not_all_at_the_same_moment(self) -> None:
        assert len({pause(3, ConnectError("x")) for _ in range(20)}) > 10
