"""Push: what is asked for is done, once; who listens, and says so; mail that arrives is here at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from archiver import schedule, watch
from archiver.archive import Archive
from archiver.archive.reports import Watching
from archiver.archive.status import note_watching, watching
from archiver.config import Config, load
from archiver.push import Demand, Listener
from archiver.schedule import Daemon
from archiver.watch import Pull, State
from tests.cli.home import Home, until
from tests.cli.mails import mail
from tests.servers.dovecot import HIBERNATING, Dovecot, User
from tests.servers.idling import Idling
from tests.servers.scripted import ScriptedServer, late, reply
from tests.test_schedule import Run, home, pycache, running, status

__all__ = ["home", "pycache"]

Scripted = Callable[..., ScriptedServer]
PUSH = {"push": True, "every": "1h"}
WITHOUT_NOTIFY = "IMAP4rev1 IDLE UIDPLUS LITERAL+ ENABLE CONDSTORE QRESYNC LIST-EXTENDED LIST-STATUS"


class Demands(RuleBasedStateMachine):
    """Any order of asking, beginning and ending, beside a model: what was asked since it was last begun."""

    def __init__(self) -> None:
        super().__init__()
        self.demand = Demand()
        self.asked: set[str] = set()
        self.everything = False
        self.calls_due = 0
        self.running = False

    @rule(folders=st.sets(st.sampled_from("abc"), max_size=2))
    def ask(self, folders: set[str]) -> None:
        self.asked |= folders
        self.everything |= not folders
        self.calls_due += self.demand.ask(tuple(folders))

    @rule()
    def begin(self) -> None:
        """By whom it was arranged for, or by a turn of the schedule that comes in between."""
        begun = self.demand.begin()
        self.calls_due = 0
        if self.running:
            assert begun is None
            return
        expected = () if self.everything else tuple(sorted(self.asked))
        assert begun == (expected if self.asked or self.everything else None)
        self.running = begun is not None
        self.asked, self.everything = set(), False

    @precondition(lambda self: self.running)
    @rule()
    def end(self) -> None:
        self.running = False
        self.calls_due += self.demand.end()

    @invariant()
    def somebody_will_see_to_it(self) -> None:
        wanted = bool(self.asked or self.everything)
        assert self.calls_due == (1 if wanted and not self.running else 0)


TestDemands = Demands.TestCase


def test_no_word_is_lost_between_threads() -> None:
    demand, at_work = Demand(), threading.Lock()
    seen: set[str] = set()
    work: list[threading.Thread] = []

    def pull() -> None:
        folders = demand.begin()
        if folders is None:
            return
        assert at_work.acquire(blocking=False), "two at once"
        seen.update(folders)
        at_work.release()
        if demand.end():
            arrange()

    def arrange() -> None:
        work.append(threading.Thread(target=pull))
        work[-1].start()

    def ask(who: int) -> None:
        for number in range(200):
            if demand.ask((f"{who}/{number}",)):
                arrange()

    askers = [threading.Thread(target=ask, args=[who]) for who in range(4)]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    while work:
        work.pop(0).join()
    assert len(seen) == 800


class TestListener:
    def test_it_says_nothing_after_its_stop(self) -> None:
        said: list[object] = []
        going_on = threading.Event()

        def events(wake: int) -> Iterator[Pull | State]:
            yield State("one")
            yield Pull(("a",))
            going_on.wait(10)
            yield State("two")
            assert os.read(wake, 1)

        listener = Listener(events, said.append, said.append, said.append)
        listener.start()
        until(lambda: len(said) == 2)
        listener.stop()
        going_on.set()
        listener.join(10)
        assert said == [State("one"), ("a",)]
        listener.stop()

    def test_a_bug_in_it_is_said(self) -> None:
        said: list[BaseException] = []

        def events(wake: int) -> Iterator[Pull | State]:
            yield Pull()
            raise ZeroDivisionError("x")

        listener = Listener(events, lambda folders: None, lambda state: None, said.append)
        listener.start()
        listener.join(10)
        assert [type(exc) for exc in said] == [ZeroDivisionError]


class TestNotes:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        states = {"a": Watching("IDLE on Entwürfe", 7.5), "b": Watching("connecting", 8.0)}
        note_watching(str(tmp_path), states)
        assert watching(str(tmp_path)) == states
        (path,) = tmp_path.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        note_watching(str(tmp_path), {})
        note_watching(str(tmp_path), {})
        assert watching(str(tmp_path)) == {} and not list(tmp_path.iterdir())

    @pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"\xff", b"[]"])
    def test_what_is_none_is_nothing(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "watch.json").write_bytes(content)
        assert watching(str(tmp_path)) == {}


def push(home: Home) -> Any:
    """What `status` says of the first account's push."""
    return status(home)["accounts"][0]["push"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long before connecting again."""
    monkeypatch.setattr(watch, "_FIRST_PAUSE", 0.05)


@pytest.fixture
def work(home: Home, mailbox: User) -> tuple[Home, User]:
    """A home and its mailbox with one message, pushed."""
    mailbox.save(mail("First"))
    home.mailbox(mailbox, schedule=PUSH)
    return home, mailbox


@pytest.fixture
def idle(home: Home, scripted: Scripted) -> tuple[Home, ScriptedServer, Idling]:
    """The same on a scripted server with IDLE."""
    server = scripted()
    pushed = Idling(server)
    server.folder().add(mail("First"))
    home.account("work", server.port, schedule=PUSH)
    return home, server, pushed


class TestArrivals:
    def test_in_every_folder(self, work: tuple[Home, User]) -> None:
        home, user = work
        user.create("Work [a*]?")
        with running(load(home.config)) as run:
            run.says("work: push, and every 1h, first on ")
            run.says("work: NOTIFY on 2 folders")
            run.says("work: 1 new")
            user.save(mail("Second"), "Work [a*]?")
            run.says("work: 1 new", 2)
            user.save(mail("Third"))
            run.says("work: 1 new", 3)
        assert len(home.good("search", "first OR second OR third", "--format", "keys").lines()) == 3

    def test_flags_too(self, work: tuple[Home, User], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "_SETTLE", 0.1)
        home, user = work
        home.good("sync")
        with running(load(home.config)) as run:
            run.says("work: nothing new")
            assert not home.good("search", "is:flagged", "--format", "keys").lines()
            user.add_flags("INBOX", "1", "\\Flagged")
            until(lambda: home.good("search", "is:flagged", "--format", "keys").lines())
        # No line for each change of a flag.
        assert sum("work: nothing new" in line for line in run.lines) == 1

    def test_only_the_folder_is_asked(self, idle: tuple[Home, ScriptedServer, Idling]) -> None:
        home, server, pushed = idle
        server.folder("Other").add(mail("Elsewhere"))
        home.account("work", server.port, schedule=PUSH, connections=2)
        home.good("sync")
        with running(load(home.config)) as run:
            run.says("work: IDLE on INBOX; polling 1 folder")
            run.says("work: nothing new")
            server.folder("Other").add(mail("Elsewhere too"))
            asked = len(server.commands)
            server.folder().add(mail("Second"))
            pushed.say("* 2 EXISTS")
            run.says("work: 1 new")
        examined = [c.text(0) for c in server.commands[asked:] if c.name == "EXAMINE"]
        assert set(examined) == {"INBOX"}

    def test_what_arrives_during_a_pull_is_pulled_after_it(
        self, idle: tuple[Home, ScriptedServer, Idling]
    ) -> None:
        home, server, pushed = idle
        with running(load(home.config)) as run:
            run.says("work: 1 new")
            pushed.wait_for(1)
            server._rules.insert(0, server_rule("LOGOUT", late(1.0)))
            server.on("UID FETCH", late(0.5), times=4)
            for number in range(2, 6):
                server.folder().add(mail(f"Number {number}"))
                pushed.say(f"* {number} EXISTS")
                time.sleep(0.2)
            until(lambda: total(home) == 5)
        assert home.good("verify", "--json").json()["found"]["places"] == 5

    def test_a_breath_between_two_logins(self, idle: tuple[Home, ScriptedServer, Idling]) -> None:
        home, server, pushed = idle
        with running(load(home.config)) as run:
            run.says("work: 1 new")
            begun, before = time.monotonic(), server.names().count("LOGIN")
            for number in range(2, 40):
                server.folder().add(mail(f"Number {number}"))
                pushed.say(f"* {number} EXISTS")
                time.sleep(0.05)
            until(lambda: total(home) == 39)
            passed = time.monotonic() - begun
        assert server.names().count("LOGIN") - before <= passed / schedule._BREATH + 2

    def test_connections_are_counted(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        Idling(server)
        for name in ("INBOX", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"):
            server.folder(name).add(mail(name))
        home.account("work", server.port, schedule=PUSH, connections=2)
        peak = [0]
        server.on("LIST", counted(server, peak))
        with running(load(home.config)) as run:
            run.says("work: IDLE on INBOX; polling 10 folders")
            run.says("work: 11 new")
        assert peak[0] <= 2


class TestPolling:
    def test_what_cannot_be_listened_to(self, home: Home, start_dovecot: Callable[..., Dovecot]) -> None:
        user = start_dovecot(capability=WITHOUT_NOTIFY).new_user()
        user.create("Other")
        home.mailbox(user, schedule={"push": True, "every": "10s"}, connections=2)
        with running(faster(load(home.config), 1.0)) as run:
            run.says("work: IDLE on INBOX; polling 1 folder")
            run.says("work: nothing new")
            user.save(mail("Here"), "Other")
            run.says("work: 1 new")

    def test_whoever_has_but_one_connection(self, idle: tuple[Home, ScriptedServer, Idling]) -> None:
        home, server, _ = idle
        home.account("work", server.port, schedule=PUSH, connections=1)
        with running(load(home.config)) as run:
            run.says("work: polling: to listen takes a second connection")
            run.says("work: 1 new")
        assert "IDLE" not in server.names()

    def test_a_server_that_tells_nothing(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.folder().add(mail("First"))
        home.account("work", server.port, schedule={"push": True, "every": "10s"})
        with running(faster(load(home.config), 0.5)) as run:
            run.says("work: polling: the server offers neither IDLE nor NOTIFY")
            run.says("work: 1 new")
            server.folder().add(mail("Second"))
            run.says("work: 1 new", 2)
            assert push(home)["text"].startswith("polling: ")


def faster(config: Config, seconds: float) -> Config:
    """Polled more often than a file may say."""
    from archiver.config import Duration, Schedule

    schedule = Schedule(push=True, every=Duration(seconds))
    accounts = {n: msgspec.structs.replace(a, schedule=schedule) for n, a in config.accounts.items()}
    return msgspec.structs.replace(config, accounts=accounts)


def total(home: Home) -> int:
    """How many messages the archive holds."""
    return int(status(home)["documents"])


@pytest.mark.usefixtures("quick")
class TestTrouble:
    def test_a_server_that_restarts(self, home: Home, start_dovecot: Callable[..., Dovecot]) -> None:
        server = start_dovecot()
        user = server.new_user()
        user.save(mail("First"))
        home.mailbox(user, schedule=PUSH)
        with running(load(home.config)) as run:
            run.says("work: 1 new")
            server.halt()
            run.says("refuses connections")
            until(lambda: "connecting again" in push(home)["text"])
            server.resume()
            user.save(mail("Second"))
            run.says("work: NOTIFY on 1 folder", 2)
            run.says("work: 1 new", 2)
            user.save(mail("Third"))
            run.says("work: 1 new", 3)

    def test_a_pull_that_fails_is_not_asked_for_again_and_again(
        self, idle: tuple[Home, ScriptedServer, Idling]
    ) -> None:
        home, server, pushed = idle
        with running(load(home.config), delay=lambda failures, suggested: 2.0) as run:
            run.says("work: 1 new")
            pushed.wait_for(1)
            server._rules.insert(0, server_rule("LOGIN", reply("{tag} NO [LIMIT] too many"), 1))
            server.folder().add(mail("Second"))
            pushed.say("* 2 EXISTS")
            run.says("work: trying again in 2 s")
            logins = server.names().count("LOGIN")
            for number in range(3, 10):
                pushed.say(f"* {number} EXISTS")
                time.sleep(0.1)
            assert server.names().count("LOGIN") == logins
            run.says("work: 1 new", 2)

    def test_coming_back_is_worth_trying(self, idle: tuple[Home, ScriptedServer, Idling]) -> None:
        home, server, pushed = idle
        home.good("sync")
        with running(load(home.config), delay=lambda failures, suggested: 600.0) as run:
            run.says("work: nothing new")
            server._rules.insert(0, server_rule("LIST", reply("{tag} NO [UNAVAILABLE] soon"), 1))
            server.folder().add(mail("Second"))
            pushed.say("* 2 EXISTS")
            run.says("work: trying again in ")
            pushed.hang_up()
            run.says("work: IDLE on INBOX", 2)
            run.says("work: 1 new")

    def test_patience_that_was_asked_for_is_kept(self, idle: tuple[Home, ScriptedServer, Idling]) -> None:
        home, server, pushed = idle
        with running(load(home.config)) as run:
            run.says("work: 1 new")
            pushed.wait_for(1)
            refusal = "{tag} NO [UNAVAILABLE] Suggested Backoff Time: 900000 milliseconds"
            server._rules.insert(0, server_rule("LIST", reply(refusal), 1))
            pushed.say("* 2 EXISTS")
            run.says("work: trying again in ")
            before = server.names().count("LOGIN")
            pushed.hang_up()
            run.says("work: IDLE on INBOX", 2)
            time.sleep(0.3)
            assert server.names().count("LOGIN") == before + 1

    def test_a_bug_while_listening_ends_nothing(
        self, work: tuple[Home, User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: Archive, name: str, wake: int) -> Iterator[Pull]:
            yield Pull()
            raise ZeroDivisionError("secret mail")

        home, _ = work
        monkeypatch.setattr(Archive, "watch", broken)
        with running(load(home.config), debug=True) as run:
            run.says("work: internal error (ZeroDivisionError) while listening")
            run.says("work: 1 new")
            until(lambda: push(home)["text"] == "polling: internal error (ZeroDivisionError)")
            run.says("in broken")

    def test_a_note_that_cannot_be_written(self, work: tuple[Home, User]) -> None:
        home, _ = work
        (home.root / "watch.json").mkdir(parents=True)
        with running(load(home.config)) as run:
            run.says("what is listened to cannot be noted: ")
            run.says("work: 1 new")


class TestStatus:
    def test_what_is_listened_to_since_when(self, work: tuple[Home, User]) -> None:
        home, _ = work
        with running(load(home.config)) as run:
            run.says("work: 1 new")
            found = push(home)
            assert found["text"] == "NOTIFY on 1 folder" and abs(found["since"] - time.time()) < 30
            assert "\n  push       NOTIFY on 1 folder, since " in home.good("status").out
        assert push(home) is None and "push" not in home.good("status").out

    def test_a_killed_daemon_listens_no_more(self, work: tuple[Home, User]) -> None:
        home, _ = work
        with home.spawn("run") as process:
            until(lambda: home.root.is_dir() and watching(str(home.root)).get("work"))
            process.kill()
            process.communicate()
        assert watching(str(home.root)) and push(home) is None

    @pytest.mark.usefixtures("quick")
    def test_since_it_listens_no_more(self, home: Home) -> None:
        home.account("work", 1, schedule=PUSH)
        with running(load(home.config)) as run:
            run.says("connecting again in ", 1)
            since = push(home)["since"]
            run.says("connecting again in ", 3)
            assert push(home)["since"] == since


class TestReload:
    def test_push_switched_on_and_off(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.mailbox(user, schedule={"every": "1h"})
        with running(load(home.config)) as run:
            run.says("work: 1 new")
            home.mailbox(user, schedule=PUSH)
            run.files = load(home.config)
            run.daemon.reload()
            run.says("work: NOTIFY on 1 folder")
            user.save(mail("Second"))
            run.says("work: 1 new", 2)
            home.mailbox(user, schedule={"every": "1h"})
            run.files = load(home.config)
            run.daemon.reload()
            run.says("configuration read again", 2)
            assert push(home) is None
            user.save(mail("Third"))
            time.sleep(1)
        assert sum("1 new" in line for line in run.lines) == 2

    def test_who_did_not_change_goes_on(
        self, idle: tuple[Home, ScriptedServer, Idling], scripted: Scripted
    ) -> None:
        home, _, pushed = idle
        other = scripted()
        theirs = Idling(other)
        home.account("other", other.port, schedule=PUSH)
        with running(load(home.config)) as run:
            run.says("work: IDLE on INBOX")
            run.says("other: IDLE on INBOX")
            home.account("other", other.port, schedule=PUSH, folders={"exclude": ["x"]})
            run.files = load(home.config)
            run.daemon.reload()
            run.says("configuration read again")
            theirs.wait_for(2)
            del home.settings["accounts"]["other"]
            home.write()
            run.files = load(home.config)
            run.daemon.reload()
            run.says("configuration read again", 2)
            until(lambda: other.names()[-1] == "LOGOUT")
            assert pushed.begun == 1
            assert set(watching(str(home.root))) == {"work"}

    def test_a_refused_configuration_changes_nothing(self, work: tuple[Home, User]) -> None:
        home, user = work
        with running(load(home.config)) as run:
            run.says("work: 1 new")
            run.files = msgspec.structs.replace(run.files, archive=str(home.path / "elsewhere"))
            run.daemon.reload()
            run.says("the configuration stays as it was")
            user.save(mail("Second"))
            run.says("work: 1 new", 2)


class TestStopping:
    def test_within_a_second_whatever_the_server_does(
        self, home: Home, scripted: Scripted, idle: tuple[Home, ScriptedServer, Idling]
    ) -> None:
        stuck = scripted()
        stuck.on("LIST", late(20), when=lambda command: command.connection == 0)
        home.account("stuck", stuck.port, schedule={"push": True, "cron": "0 0 29 2 *"}, read_timeout="30s")
        run = Run(load(home.config))
        run.says("work: 1 new")
        until(lambda: "LIST" in stuck.names())
        begun = time.monotonic()
        run.stop()
        assert time.monotonic() - begun < 2


def server_rule(name: str, action: Any, times: int | None = None) -> Any:
    """A rule that goes before those there are."""
    from tests.servers.scripted import Rule

    return Rule(name, action, times, None)


def counted(server: ScriptedServer, peak: list[int]) -> Any:
    """The honest answer; the most sessions that were ever open."""

    def act(session: Any, command: Any) -> bytes:
        alive = sum(thread.is_alive() for _, thread in server._sessions)
        peak[0] = max(peak[0], alive)
        answer: bytes = session.honest(command)
        return answer

    return act


class TestProcess:
    """`archiver run` as a service manager sees it, and the mail it is for."""

    @contextmanager
    def service(self, home: Home) -> Iterator[subprocess.Popen[bytes]]:
        with (home.path / "log").open("wb") as file, home.spawn("run", stderr=file) as process:
            try:
                yield process
            finally:
                process.kill()

    def log(self, home: Home) -> str:
        return (home.path / "log").read_text()

    def holds(self, home: Home, files: int) -> None:
        """Wait until so many messages are on disk."""
        until(lambda: sum(1 for path in (home.root / "mail").rglob("cur/*")) == files, seconds=10)

    def test_mail_is_here_at_once(self, work: tuple[Home, User]) -> None:
        home, user = work
        with self.service(home) as process:
            until(lambda: "work: 1 new" in self.log(home))
            for number in range(2, 6):
                user.save(mail(f"Number {number}"))
                self.holds(home, number)
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            assert process.wait(20) == 0
            assert time.monotonic() - begun < 1
        assert self.log(home).splitlines()[-1].endswith(" stopped")
        assert home.good("verify", "--json").json()["found"]["places"] == 5
        assert status(home)["accounts"][0]["push"] is None

    def test_a_server_killed_and_started_again(
        self, home: Home, start_dovecot: Callable[..., Dovecot]
    ) -> None:
        server = start_dovecot(capability=WITHOUT_NOTIFY)
        user = server.new_user()
        user.save(mail("First"))
        home.mailbox(user, schedule=PUSH)
        with self.service(home):
            until(lambda: "work: 1 new" in self.log(home))
            server.halt()
            until(lambda: "work: connecting again in " in self.log(home))
            server.resume()
            user.save(mail("Second"))
            self.holds(home, 2)
            until(lambda: self.log(home).count("work: IDLE on INBOX") == 2)
            user.save(mail("Third"))
            self.holds(home, 3)

    def test_a_server_that_hears_badly_after_a_word(
        self, home: Home, start_dovecot: Callable[..., Dovecot]
    ) -> None:
        """A Dovecot that hibernates tells of no mail that comes right after the one it told of, and loses
        a word in the moment it falls asleep: asked again soon, it says all of it.
        """
        server = start_dovecot(capability=WITHOUT_NOTIFY, settings=HIBERNATING)
        user = server.new_user()
        home.mailbox(user, schedule=PUSH)
        with self.service(home):
            until(lambda: "work: IDLE on INBOX" in self.log(home))
            for number in range(0, 4, 2):
                time.sleep(2)
                user.save(mail(f"Number {number}"))
                self.holds(home, number + 1)
                user.save(mail(f"Number {number + 1}"))
                self.holds(home, number + 2)

    def test_hangup_follows_the_configuration(self, work: tuple[Home, User]) -> None:
        home, user = work
        user.create("Work")
        home.mailbox(user, schedule=PUSH, folders={"exclude": ["Work"]})
        with self.service(home) as process:
            until(lambda: "work: NOTIFY on 1 folder" in self.log(home))
            home.mailbox(user, schedule="push")
            process.send_signal(signal.SIGHUP)
            until(lambda: "work: NOTIFY on 2 folders" in self.log(home))
            user.save(mail("Second"), "Work")
            self.holds(home, 2)
            assert "push       NOTIFY on 2 folders, since " in home.run("status").out


def test_daemons_without_push_hold_no_connection(home: Home, scripted: Scripted) -> None:
    server = scripted()
    Idling(server)
    home.account("work", server.port, schedule={"every": "1h"})
    with running(load(home.config)) as run:
        run.says("work: nothing new")
        until(lambda: server.names()[-1] == "LOGOUT")
        assert isinstance(run.daemon, Daemon) and "IDLE" not in server.names()
    assert not (home.root / "watch.json").exists()
