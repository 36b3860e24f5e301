"""The schedule: when it runs, what it does when a run fails, how it starts, stops and changes its mind."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.archive import Archive
from archiver.config import Config, Duration, Schedule, load
from archiver.errors import ConnectError, DiskFullError, LockedError, UsageError
from archiver.schedule import Daemon, retry_delay, trigger
from tests.cli.home import PASSWORD, Home, complains, until
from tests.cli.mails import mail
from tests.servers.dovecot import User
from tests.servers.scripted import ScriptedServer, bye, late, reply
from tests.servers.smtp import Sink

Scripted = Callable[..., ScriptedServer]
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = Duration(7 * 86400)


def fires(cron: str, count: int, start: datetime = MONDAY) -> list[str]:
    """The first times from `start` on."""
    made, found = trigger(Schedule(cron=cron), start.tzinfo), []
    moment = start
    for _ in range(count):
        moment = made.get_next_fire_time(None, moment)
        found.append(f"{moment:%m-%d %a %H:%M}")
        moment += timedelta(seconds=1)
    return found


class TestCron:
    @pytest.mark.parametrize(
        ("cron", "times"),
        [
            ("0 3 * * *", ["01-01 Mon 03:00", "01-02 Tue 03:00"]),
            ("*/20 12 * * *", ["01-01 Mon 12:00", "01-01 Mon 12:20", "01-01 Mon 12:40", "01-02 Tue 12:00"]),
            ("5/25 0 1 * *", ["01-01 Mon 00:05", "01-01 Mon 00:30", "01-01 Mon 00:55", "02-01 Thu 00:05"]),
            (
                "0 0-4/2,23 * * *",
                ["01-01 Mon 00:00", "01-01 Mon 02:00", "01-01 Mon 04:00", "01-01 Mon 23:00"],
            ),
            ("0 0 * * 0", ["01-07 Sun 00:00", "01-14 Sun 00:00"]),
            ("0 0 * * 7", ["01-07 Sun 00:00", "01-14 Sun 00:00"]),
            ("0 0 * * 1", ["01-01 Mon 00:00", "01-08 Mon 00:00"]),
            ("0 0 * * 6", ["01-06 Sat 00:00", "01-13 Sat 00:00"]),
            ("0 0 * * 5-7", ["01-05 Fri 00:00", "01-06 Sat 00:00", "01-07 Sun 00:00", "01-12 Fri 00:00"]),
            ("0 0 * * sun,Wed", ["01-03 Wed 00:00", "01-07 Sun 00:00", "01-10 Wed 00:00"]),
            ("0 0 1 feb,MAR *", ["02-01 Thu 00:00", "03-01 Fri 00:00", "02-01 Sat 00:00"]),
            ("0 0 29 2 *", ["02-29 Thu 00:00", "02-29 Tue 00:00"]),
            # Both days restricted: either is enough. One begins with a star: both must fit.
            ("0 0 13 * fri", ["01-05 Fri 00:00", "01-12 Fri 00:00", "01-13 Sat 00:00", "01-19 Fri 00:00"]),
            ("0 0 */10 * mon", ["01-01 Mon 00:00", "03-11 Mon 00:00"]),
            ("0 0 13 * */5", ["09-13 Fri 00:00", "10-13 Sun 00:00", "12-13 Fri 00:00"]),
        ],
    )
    def test_as_in_crontab(self, cron: str, times: list[str]) -> None:
        assert fires(cron, len(times)) == times

    def test_a_day_that_never_comes(self) -> None:
        assert trigger(Schedule(cron="0 0 30 2 *"), UTC).get_next_fire_time(None, MONDAY) is None

    def test_local_time_goes_on_over_daylight_saving(self) -> None:
        berlin = ZoneInfo("Europe/Berlin")
        found = fires("30 3 * * *", 3, datetime(2024, 3, 30, tzinfo=berlin))
        assert found == ["03-30 Sat 03:30", "03-31 Sun 03:30", "04-01 Mon 03:30"]

    day_fields = st.sampled_from(["*", "*/3", "1", "1,15,31", "10-20/4", "28-31"])
    week_fields = st.sampled_from(["*", "*/2", "0", "7", "1-5", "sat,sun", "2-7/3"])

    @settings(max_examples=25)
    @given(day_fields, st.sampled_from(["*", "2", "jan-mar", "*/5"]), week_fields)
    def test_every_day_of_a_year(self, day: str, month: str, weekday: str) -> None:
        made = trigger(Schedule(cron=f"0 4 {day} {month} {weekday}"), UTC)
        moment: datetime | None = MONDAY
        found = set()
        while (moment := made.get_next_fire_time(None, moment)) and moment.year == 2024:
            found.add(moment.date())
            moment += timedelta(seconds=1)
        assert found == {each for each in year(2024) if due(each, day, month, weekday)}


def year(number: int) -> Iterator[date]:
    first = date(number, 1, 1)
    return (first + timedelta(days=n) for n in range((date(number + 1, 1, 1) - first).days))


def due(each: date, day: str, month: str, weekday: str) -> bool:
    """crontab(5) in its own words, for the fields above."""
    days, months, weekdays = values(day, 1, 31), values(month, 1, 12), values(weekday, 0, 7)
    of_month, of_week = each.day in days, each.isoweekday() % 7 in {number % 7 for number in weekdays}
    either = "*" not in day and "*" not in weekday
    return each.month in months and ((of_month or of_week) if either else (of_month and of_week))


def values(field: str, low: int, high: int) -> set[int]:
    names = {"sun": 0, "sat": 6, "jan": 1, "mar": 3}
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        ends = (
            [names[end] if end in names else int(end) for end in span.split("-")]
            if span != "*"
            else [low, high]
        )
        found |= set(range(ends[0], ends[-1] + 1, int(step or 1)))
    return found


class TestDelays:
    def test_they_double_up_to_an_hour(self) -> None:
        assert [retry_delay(failures) for failures in range(1, 9)] == [
            60,
            120,
            240,
            480,
            960,
            1920,
            3600,
            3600,
        ]
        assert retry_delay(10_000) == 3600

    def test_never_sooner_than_the_server_suggested(self) -> None:
        assert (retry_delay(1, 900), retry_delay(1, 5), retry_delay(9, 7200)) == (900, 60, 7200)

    def test_jitter_is_a_tenth_of_the_interval(self) -> None:
        made = trigger(Schedule(every=Duration(100)), UTC)
        waits = {(made.get_next_fire_time(MONDAY, MONDAY) - MONDAY).total_seconds() for _ in range(50)}
        assert 100 <= min(waits) < max(waits) <= 110
        made = trigger(Schedule(every=WEEK), UTC)
        assert made.get_next_fire_time(MONDAY, MONDAY) - MONDAY < timedelta(days=7, seconds=61)


class Run:
    """A daemon on a thread, and its log."""

    def __init__(self, config: Config, **options: Any) -> None:
        self.lines: list[str] = []
        self.files = config
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self.daemon = Daemon(config, lambda: self.files, self.lines.append, self.stopping.is_set, **options)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.daemon.run()
        except BaseException as exc:
            self.error = exc

    def says(self, words: str, times: int = 1) -> None:
        """Wait until so many lines of the log hold these words."""
        until(lambda: sum(words in line for line in self.lines) >= times or self.error)
        assert self.error is None and sum(words in line for line in self.lines) >= times, self.lines

    def stop(self) -> None:
        self.stopping.set()
        self.daemon.wake()
        self._thread.join(30)
        assert not self._thread.is_alive()


@contextmanager
def running(config: Config, **options: Any) -> Iterator[Run]:
    run = Run(config, **options)
    try:
        yield run
    finally:
        run.stop()


def every(home: Home, seconds: float, *names: str) -> Config:
    """The configuration with accounts scheduled more often than a file may say."""
    config = load(home.config)
    schedule = Schedule(every=Duration(seconds))
    accounts = {
        name: msgspec.structs.replace(account, schedule=schedule)
        if name in (names or config.accounts)
        else account
        for name, account in config.accounts.items()
    }
    return msgspec.structs.replace(config, accounts=accounts)


@pytest.fixture(scope="module")
def pycache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pycache")


@pytest.fixture
def home(tmp_path: Path, pycache: Path) -> Home:
    made = Home(tmp_path, pycache)
    made.write()
    return made


@pytest.fixture
def work(home: Home, mailbox: User) -> tuple[Home, User]:
    """A home and its mailbox with one message."""
    mailbox.save(mail("First"))
    home.mailbox(mailbox)
    return home, mailbox


def status(home: Home) -> Any:
    return home.good("status", "--json").json()


def next_run(home: Home) -> float:
    """When the first account runs next, Unix time; 0 when nobody knows."""
    return float(status(home)["accounts"][0]["next_run"] or 0)


class TestTurns:
    def test_the_first_at_once_then_again_and_again(self, work: tuple[Home, User]) -> None:
        home, user = work
        with running(every(home, 0.4)) as run:
            run.says("work: 1 new")
            user.save(mail("Second"))
            run.says("work: 1 new", 2)
            run.says("work: nothing new")
        assert len(home.good("search", "first OR second", "--format", "keys").lines()) == 2
        assert run.lines[-2:] == ["stopping", "stopped"]

    def test_not_before_its_time_after_a_restart(self, work: tuple[Home, User]) -> None:
        home, _ = work
        home.good("sync")
        with running(every(home, 3600)) as run:
            run.says("work: every 1h, first on ")
            until(lambda: next_run(home))
            assert 3590 < next_run(home) - status(home)["accounts"][0]["succeeded"] < 3601
        assert not [line for line in run.lines if "new" in line]

    def test_status_knows_the_next_run_and_who_does_it(self, work: tuple[Home, User]) -> None:
        home, _ = work
        with running(every(home, 3600)) as run:
            run.says("work: 1 new")
            until(lambda: 3500 < next_run(home) - time.time() < 3661)
            assert status(home)["daemon"].endswith(", run")
            shown = home.good("status").out
            assert "\nschedule  running (PID " in shown and "\n  next run   " in shown
        assert status(home)["daemon"] is None and status(home)["accounts"][0]["next_run"] is None
        assert "next run" not in home.good("status").out

    def test_a_cron_schedule_waits_for_its_moment(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.mailbox(user, schedule={"cron": "0 0 29 2 *"})
        with running(load(home.config)) as run:
            run.says("work: 0 0 29 2 *, first on 2028-02-29 00:00:00")
            until(lambda: datetime.fromtimestamp(next_run(home), UTC).date() == date(2028, 2, 29))

    def test_one_that_never_comes_is_said(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.mailbox(user, schedule={"cron": "0 0 30 2 *"})
        with running(load(home.config)) as run:
            run.says("work: 0 0 30 2 *, which never comes")

    def test_a_slow_run_is_not_overtaken(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.on("LIST", late(1.5), times=1)
        home.account("work", server.port)
        with running(every(home, 0.4)) as run:
            run.says("work: the last run still goes on, so this turn is skipped")
            run.says("work: nothing new", 2)
        names = [name for name in server.names() if name in ("LOGIN", "LOGOUT")]
        assert names[::2] == ["LOGIN"] * len(names[::2]) and names[1::2] == ["LOGOUT"] * len(names[1::2])

    def test_accounts_do_not_wait_for_each_other(self, home: Home, scripted: Scripted) -> None:
        slow, quick = scripted(), scripted()
        slow.on("LIST", late(1.5), times=1)
        home.account("slow", slow.port)
        home.account("quick", quick.port)
        with running(every(home, 0.4)) as run:
            run.says("quick: nothing new", 2)
            assert not any("slow: nothing new" in line for line in run.lines)

    def test_by_hand_meanwhile(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.folder().add(mail("First"))
        server.on("EXAMINE", late(1), times=1)
        home.account("work", server.port)
        with running(every(home, 3600)) as run:
            until(lambda: "EXAMINE" in server.names())
            result = home.good("sync")
            assert result.err == f"waiting for account-work, in use by {status(home)['daemon'][:-3]}sync\n"
            assert result.lines()[0].startswith("work: nothing new")
            run.says("work: 1 new")
            assert home.good("search", "first", "--format", "keys").lines()


class TestFailures:
    def test_a_passing_one_is_tried_again_and_later_each_time(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.folder().add(mail("Late"))
        server.on("GREETING", bye("* BYE [UNAVAILABLE] busy"), times=3)
        home.account("work", server.port)
        asked: list[tuple[int, float | None]] = []

        def delay(failures: int, suggested: float | None) -> float:
            asked.append((failures, suggested))
            return 0.05 * 2.0**failures

        with running(every(home, 3600), delay=delay) as run:
            run.says("work: trying again in")
            until(lambda: 0 < next_run(home) < time.time() + 60)
            run.says("work: 1 new")
            until(lambda: next_run(home) > time.time() + 3000)
            assert asked == [(1, None), (2, None), (3, None)]
            assert status(home)["accounts"][0]["error"] is None

    def test_patience_that_the_server_asks_for(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.on(
            "LOGIN", reply("{tag} NO [UNAVAILABLE] too busy, Suggested Backoff Time: 900000 milliseconds")
        )
        home.account("work", server.port)
        with running(every(home, 10)) as run:
            run.says("work: trying again in ")
            until(lambda: 880 < next_run(home) - time.time() < 1100)

    def test_a_lasting_one_waits_for_its_turn(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox, password=PASSWORD)
        with running(every(home, 3600)) as run:
            run.says("refused the login")
            until(lambda: next_run(home) > time.time() + 3000)
        assert not [line for line in run.lines if "trying again" in line or PASSWORD in line]

    def test_of_one_account_leaves_the_others(self, work: tuple[Home, User]) -> None:
        home, _ = work
        home.account("broken", 1)
        with running(every(home, 0.4)) as run:
            run.says("broken: 127.0.0.1:1 refuses connections", 2)
            run.says("work: nothing new", 2)

    def test_a_bug_is_logged_and_ends_nothing(
        self, work: tuple[Home, User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, user = work
        home.mailbox(user, "cursed")
        real = Archive.sync

        def sync(self: Archive, names: list[str], **more: Any) -> Any:
            if names == ["cursed"]:
                raise ZeroDivisionError("secret mail")
            return real(self, names, **more)

        monkeypatch.setattr(Archive, "sync", sync)
        with running(every(home, 0.4)) as run:
            run.says("cursed: internal error (ZeroDivisionError)", 2)
            run.says("work: nothing new", 2)
        assert not [line for line in run.lines if "secret mail" in line]
        with running(every(home, 0.4), debug=True) as run:
            run.says("in sync")

    def test_the_index_is_tidied_up_beside_the_pulls(
        self, work: tuple[Home, User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, user = work
        tidying, pulled = threading.Event(), threading.Event()

        def tidy(self: Archive) -> None:
            tidying.set()
            assert pulled.wait(20)

        monkeypatch.setattr(Archive, "tidy_index", tidy)
        with running(every(home, 0.4)) as run:
            run.says("work: 1 new")
            assert tidying.wait(20)
            user.save(mail("Another"))
            run.says("work: 1 new", 2)
            pulled.set()
        assert not [line for line in run.lines if "tidy" in line]

    def test_an_index_that_cannot_be_tidied_up(
        self, work: tuple[Home, User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def tidy(self: Archive) -> None:
            raise DiskFullError("no space left for the index")

        monkeypatch.setattr(Archive, "tidy_index", tidy)
        with running(every(work[0], 0.4)) as run:
            run.says("the index cannot be tidied up: no space left for the index")
            run.says("work: nothing new")

    @pytest.mark.parametrize("error", [ConnectError("gone"), ZeroDivisionError()])
    def test_a_run_that_ends_while_all_stops(
        self, work: tuple[Home, User], monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        begun = threading.Event()

        def sync(self: Archive, names: list[str], **more: Any) -> None:
            begun.set()
            run.says("stopping")
            time.sleep(0.1)
            raise error

        monkeypatch.setattr(Archive, "sync", sync)
        with running(every(work[0], 3600)) as run:
            assert begun.wait(20)
        assert run.lines[-1] == "stopped"

    def test_a_ledger_that_breaks_meanwhile(self, work: tuple[Home, User]) -> None:
        home, _ = work
        with running(every(home, 0.4)) as run:
            run.says("work: 1 new")
            for path in home.root.glob("ledger.sqlite3*"):
                path.unlink()
            (home.root / "ledger.sqlite3").write_bytes(b"no database" * 100)
            run.says("is damaged", 2)
            (home.root / "ledger.sqlite3").unlink()
            run.says("the ledger is missing: rebuilding it from the mail")
            run.says("work: nothing new")


class TestReload:
    def test_what_changed_is_taken_up(self, work: tuple[Home, User], scripted: Scripted) -> None:
        home, _ = work
        server = scripted()
        home.account("other", server.port)
        with running(every(home, 3600, "work")) as run:
            run.says("work: 1 new")
            run.files = every(home, 3600, "other")
            run.daemon.reload()
            run.says("configuration read again")
            run.says("other: nothing new")
            names = {account["name"]: account["next_run"] for account in status(home)["accounts"]}
            assert names["work"] is None and names["other"]

    def test_what_did_not_keeps_its_time(self, work: tuple[Home, User]) -> None:
        home, _ = work
        with running(every(home, 3600)) as run:
            run.says("work: 1 new")
            until(lambda: next_run(home) > time.time() + 3000)
            before = next_run(home)
            run.files = every(home, 3600)
            run.daemon.reload()
            run.says("configuration read again")
            assert next_run(home) == before
        assert sum(" new" in line for line in run.lines) == 1

    def test_a_moved_archive_is_refused(self, work: tuple[Home, User]) -> None:
        home, _ = work
        with running(every(home, 0.4)) as run:
            run.files = msgspec.structs.replace(run.files, archive=str(home.path / "elsewhere"))
            run.daemon.reload()
            run.says("the archive cannot be moved while running; the configuration stays as it was")
            run.says("work: nothing new")
        assert not (home.path / "elsewhere").exists()


class TestStarting:
    def test_one_for_each_archive(self, work: tuple[Home, User]) -> None:
        home, _ = work
        with running(every(home, 3600)) as run:
            run.says("work: 1 new")
            second = Run(every(home, 3600))
            second.stop()
            assert isinstance(second.error, LockedError)
            assert f"on schedule: {status(home)['daemon']}" in second.error.message
            run.says("work: ")
        with running(every(home, 3600)) as third:
            third.says("work: every 1h")

    def test_nothing_to_do(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox)
        run = Run(load(home.config))
        run.stop()
        assert isinstance(run.error, UsageError) and "no account has a schedule" in run.error.message


class TestOutbox:
    def test_what_is_queued_or_deferred_goes_out_when_it_is_due(
        self, work: tuple[Home, User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("archiver.schedule._OUTBOX_EVERY", 0.1)
        home, _ = work
        with Sink() as sink:
            home.smtp(sink.port)
            home.smtp(sink.port, "gone")
            home.good("sync")
            (id,) = [line.split()[0] for line in home.good("search", "first").lines()]
            home.good("resend", id, "--to", "you@example.org", "--queue")
            home.good("resend", id, "--to", "they@example.org", "--queue", "--via", "gone")
            del home.settings["smtp"]["gone"]
            home.write()
            sink.play(mail="451 later")
            with running(every(home, 3600)) as run:
                run.says("the outbox: 1 deferred, 1 failed (no sending server gone in the configuration)")
                assert sink.messages == []
                sink.play()
                with sqlite3.connect(f"{home.root}/user.sqlite3") as db:
                    db.execute("UPDATE recipient SET due = 1 WHERE due IS NOT NULL")
                db.close()
                run.says("the outbox: 1 sent")
            assert len(sink.messages) == 1
        statuses = [each["recipients"][0]["status"] for each in home.good("outbox", "--json").json()]
        assert statuses == ["failed", "sent"]


class TestProcess:
    """`archiver run` as a service manager sees it."""

    @pytest.fixture
    def service(self, work: tuple[Home, User]) -> Iterator[tuple[Home, subprocess.Popen[bytes]]]:
        home, user = work
        home.mailbox(user, schedule={"every": "10s"})
        with logged(home) as process:
            until(lambda: "work: 1 new" in log(home))
            yield home, process

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_stop_that_was_asked_for_is_a_good_end(
        self, service: tuple[Home, subprocess.Popen[bytes]], number: signal.Signals
    ) -> None:
        home, process = service
        process.send_signal(number)
        assert process.wait(20) == 0
        lines = log(home).splitlines()
        assert lines[0].endswith(f"configuration {home.config}, archive {home.root}")
        assert lines[-2].endswith(" stopping") and lines[-1].endswith(" stopped")
        assert status(home)["daemon"] is None

    def test_a_second_one_says_who_has_it(self, service: tuple[Home, subprocess.Popen[bytes]]) -> None:
        home, process = service
        result = home.run("run")
        assert result.code == 75
        said = result.err.splitlines()[1:]
        assert said == [
            f"archiver: another archiver has this archive on schedule: PID {process.pid}, run",
            "  stop that one first; it reads a changed configuration on SIGHUP",
        ]

    def test_hangup_reads_the_configuration_again(
        self, service: tuple[Home, subprocess.Popen[bytes]], scripted: Scripted
    ) -> None:
        home, process = service
        good = home.config.read_text()
        home.write(good.replace('"every": "10s"', '"every": "soon"'))
        process.send_signal(signal.SIGHUP)
        until(lambda: "the configuration stays as it was" in log(home))
        assert "expected a time span such as" in log(home)
        home.write(good)
        home.account("other", scripted().port, schedule={"every": "1h"})
        process.send_signal(signal.SIGHUP)
        until(lambda: "other: nothing new" in log(home))
        assert process.poll() is None

    def test_by_hand_meanwhile(
        self, service: tuple[Home, subprocess.Popen[bytes]], work: tuple[Home, User]
    ) -> None:
        home, process = service
        work[1].save(mail("Second"))
        assert home.run("sync").lines()[-1] == "indexed 1 message"
        assert home.run("search", "second", "--format", "keys").lines()
        shown = home.run("status").out
        assert f"schedule  running (PID {process.pid}, run)" in shown and "next run" in shown

    def test_stopped_in_the_middle_of_a_folder(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        for number in range(200):
            server.folder().add(mail(f"Number {number}"))
        server.on("UID FETCH", late(0.5), when=lambda command: "BODY.PEEK[]" in command.arguments)
        home.account("work", server.port, schedule={"every": "1h"})
        with logged(home) as process:
            until(lambda: "UID FETCH" in server.names())
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert "work: stopped after the batch in hand" in log(home)
        home.good("sync")
        assert home.good("verify", "--json").json()["found"]["places"] == 200

    def test_a_second_signal_does_not_wait(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.on("LOGIN", late(60))
        home.account("work", server.port, schedule={"every": "1h"}, read_timeout="60s")
        with logged(home) as process:
            until(lambda: "LOGIN" in server.names())
            process.send_signal(signal.SIGTERM)
            until(lambda: "once more to abort" in log(home))
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 143
        assert status(home)["daemon"] is None

    def test_a_machine_whose_zone_has_no_name(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.mailbox(user, schedule={"every": "1h"})
        with logged(home, env={"TZ": "ABC-5:30"}) as process:
            until(lambda: "TZ names no time zone; taking ABC without daylight saving" in log(home))
            until(lambda: "work: 1 new" in log(home))
            process.terminate()
            assert process.wait(20) == 0

    def test_no_schedule_is_a_usage_error(self, work: tuple[Home, User]) -> None:
        result = work[0].run("run")
        assert result.code == 2
        assert "archiver: no account has a schedule" in result.err and "every: 15m" in result.err

    def test_a_wrong_configuration_is_one_too(self, home: Home) -> None:
        home.write("archive: a\nacounts: {}\n")
        complains(home.run("run"), 2, "did you mean accounts?")


@contextmanager
def logged(home: Home, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`archiver run` with a file for its log; it is gone at the end, whatever happened."""
    with (home.path / "log").open("wb") as file, home.spawn("run", stderr=file, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def log(home: Home) -> str:
    return (home.path / "log").read_text()
