"""`archiver prune`: what may go from a server, and above all what may not."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from archiver.archive import Archive
from archiver.archive.prune import prune
from archiver.config import load
from archiver.errors import UsageError
from archiver.imap import Listed
from archiver.prune import FLAGGED, NEWER, UNDATED, UNKNOWN, days_ago, sort_out
from archiver.store.pruned import PruneRecords
from tests.cli.home import Home, complains
from tests.conftest import AnyUser
from tests.pull.conftest import Scripted, mail
from tests.servers.dovecot import Dovecot, User
from tests.servers.gmail import Gmail
from tests.servers.honest import Command
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import HangUpError, Session, cut, reply

OLD = datetime(2015, 6, 1, 12, 0, tzinfo=UTC)
NEW = datetime.now(UTC) - timedelta(days=3)
LOOK = ("prune", "work", "--older-than", "2y")
DELETE = (*LOOK, "--yes-delete-from-server")


def delivered(user: AnyUser, *, old: int = 6) -> None:
    for number in range(1, old + 1):
        user.save(mail(number), date=OLD + timedelta(days=number), flags=("\\Seen",))


@pytest.fixture
def pruned_home(home: Home, any_mailbox: AnyUser) -> tuple[Home, AnyUser]:
    """UIDs 1 to 6 old, 7 old and flagged, 8 new, all archived; 9 old and not archived."""
    delivered(any_mailbox)
    any_mailbox.save(mail(7), date=OLD, flags=("\\Flagged",))
    any_mailbox.save(mail(8), date=NEW)
    home.mailbox(any_mailbox)
    home.good("sync")
    any_mailbox.save(mail(9), date=OLD)
    return home, any_mailbox


@pytest.fixture
def plain(home: Home, mailbox: User) -> tuple[Home, User]:
    """Six old messages, archived."""
    delivered(mailbox)
    home.mailbox(mailbox)
    home.good("sync")
    return home, mailbox


def files(home: Home) -> dict[str, Path]:
    """The archived files by UID."""
    return {
        path.name.partition(",U=")[2].partition(":")[0]: path
        for path in (home.root / "mail" / "work" / "INBOX" / "cur").iterdir()
    }


def test_only_what_is_old_archived_and_not_flagged_goes(pruned_home: tuple[Home, AnyUser]) -> None:
    home, user = pruned_home
    kept = files(home)
    result = home.good(*DELETE)
    assert user.uids() == [7, 8, 9]
    assert result.lines()[-1].startswith("work/INBOX: deleted 6 messages (")
    assert result.lines()[-1].endswith("; kept 1 flagged, 1 newer, 1 not archived")
    assert [line.split()[3].rstrip(",") for line in result.lines()[:6]] == ["1", "2", "3", "4", "5", "6"]
    assert files(home) == kept and all(path.exists() for path in kept.values())


def test_the_archive_knows_and_the_next_sync_and_verify_are_content(
    pruned_home: tuple[Home, AnyUser],
) -> None:
    home, user = pruned_home
    home.good(*DELETE)
    user.expunge("INBOX", "9")
    home.good("verify", "--server")
    report = home.good("sync", "--json").json()
    assert report["errors"] == {}
    assert home.good("count", "subject:message").out.strip() == "8"
    assert home.good("count", "is:gone").out.strip() == "6"
    home.good("verify", "--server")


def test_a_look_changes_nothing(pruned_home: tuple[Home, AnyUser]) -> None:
    home, user = pruned_home
    result = home.good(*LOOK)
    assert result.lines()[-1] == "nothing was deleted; --yes-delete-from-server does it"
    assert "work/INBOX: would delete 6 messages" in result.out
    assert user.uids() == list(range(1, 10))
    assert not (home.root / "user.sqlite3").exists()


def test_a_message_says_why_it_is_gone(plain: tuple[Home, User]) -> None:
    home, user = plain
    user.expunge("INBOX", "1")
    home.good("sync")
    home.good(*DELETE)
    keys = [key for key in home.good("search", "is:gone", "--format", "keys").out.split()]
    shown = [home.good("show", key).out for key in keys]
    assert all("gone from the server since" in text for text in shown)
    assert sum("by archiver prune" in text for text in shown) == 5


def test_what_went_is_on_record(pruned_home: tuple[Home, AnyUser]) -> None:
    home, user = pruned_home
    uidvalidity = user.status()["uidvalidity"]
    home.good(*DELETE)
    with PruneRecords(str(home.root)) as records:
        found = records.pruned()
    assert [(p.account, p.folder, p.uidvalidity, p.uid) for p in found] == [
        ("work", "INBOX", uidvalidity, uid) for uid in range(1, 7)
    ]
    assert all(p.done and p.done >= p.begun for p in found)
    assert [p.received for p in found] == [int((OLD + timedelta(days=n)).timestamp()) for n in range(1, 7)]


def lose(path: Path) -> None:
    path.unlink()


def rot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def replace_by_another(path: Path) -> None:
    """What another message's file holds, under this one's name."""
    other = next(each for each in sorted(path.parent.iterdir()) if each != path)
    path.write_bytes(other.read_bytes())


def replace_by_good_looking(path: Path) -> None:
    """Another message under a name that fits it: only the ledger knows that it is not this one."""
    other = next(each for each in sorted(path.parent.iterdir()) if each != path)
    name = other.name.partition(",V=")[0] + ",V=" + path.name.partition(",V=")[2]
    path.unlink()
    (path.parent / name).write_bytes(other.read_bytes())


def hide(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("harm", [lose, rot, truncate, replace_by_another, replace_by_good_looking, hide])
def test_what_is_not_proven_stays(plain: tuple[Home, User], harm: Callable[[Path], None]) -> None:
    home, user = plain
    harm(files(home)["3"])
    result = home.call(*DELETE)
    assert user.uids() == [3]
    complains(result, 3, "not all that is old enough could go", "verify --repair")
    assert "UID 3 stays: its file is " in result.out
    with PruneRecords(str(home.root)) as records:
        assert [p.uid for p in records.pruned()] == [1, 2, 4, 5, 6]


def test_a_lost_file_is_fetched_again_and_then_it_goes(plain: tuple[Home, User]) -> None:
    home, user = plain
    lose(files(home)["3"])
    home.call(*DELETE)
    home.call("verify", "--repair")
    home.good(*DELETE)
    assert user.uids() == []
    home.good("verify", "--server")


def test_renamed_by_another_program_it_is_proven(plain: tuple[Home, User]) -> None:
    home, user = plain
    path = files(home)["3"]
    path.rename(path.with_name(path.name.partition(":")[0] + ":2,FS"))
    home.good(*DELETE)
    assert user.uids() == []


def test_a_large_message_is_proven(home: Home, mailbox: User) -> None:
    mailbox.save(mail(1, "x" * 3_000_000), date=OLD)
    home.mailbox(mailbox)
    home.good("sync")
    home.good(*DELETE)
    assert mailbox.uids() == []


def test_only_folders_like_this(plain: tuple[Home, User]) -> None:
    home, user = plain
    user.create("Lists/a", "Lists/b")
    user.save(mail(20), "Lists/a", date=OLD)
    user.save(mail(21), "Lists/b", date=OLD)
    home.good("sync")
    home.good(*DELETE, "--folder", "*/a")
    assert (user.uids("Lists/a"), user.uids("Lists/b"), len(user.uids())) == ([], [1], 6)
    complains(home.call(*DELETE, "--folder", "Nothing"), 2, "no folder like Nothing is pulled")


def test_not_folders_that_are_not_pulled(home: Home, mailbox: User) -> None:
    delivered(mailbox)
    mailbox.create("Kept")
    mailbox.save(mail(1), "Kept", date=OLD)
    home.mailbox(mailbox, folders={"exclude": ["Kept"]})
    home.good("sync")
    home.good(*DELETE)
    assert (mailbox.uids(), mailbox.uids("Kept")) == ([], [1])


@pytest.mark.parametrize("renumber", ["uidvalidity", "uids"])
def test_uids_that_mean_something_else(plain: tuple[Home, User], renumber: str) -> None:
    home, user = plain
    if renumber == "uidvalidity":
        user.set_uidvalidity("INBOX", user.status()["uidvalidity"] + 1)
    else:
        user.expunge("INBOX", "1:6")
        path = user.server.doveadm("mailbox", "path", "-u", user.name, "INBOX").strip()
        validity = user.status()["uidvalidity"]
        for each in Path(path).glob("dovecot*"):
            each.unlink()
        user.save(mail(50), date=OLD)
        user.set_uidvalidity("INBOX", validity)
    before = user.uids()
    complains(home.call(*DELETE), 1, "do not mean any more what they meant", "archiver sync")
    assert user.uids() == before


def test_what_was_pulled_from_another_mailbox(plain: tuple[Home, User], dovecot: Dovecot) -> None:
    home, _ = plain
    other = dovecot.new_user()
    delivered(other)
    home.mailbox(other)
    complains(home.call(*DELETE), 2, "pulled from another mailbox")
    assert len(other.uids()) == 6


def test_before_the_first_sync(home: Home, mailbox: User, dovecot: Dovecot) -> None:
    delivered(mailbox)
    home.mailbox(mailbox)
    complains(home.call(*DELETE), 2, "there is no archive")
    home.mailbox(dovecot.new_user(), "other")
    home.good("sync", "other")
    complains(home.call(*DELETE), 2, "nothing of this mailbox is archived", "archiver sync work")
    assert len(mailbox.uids()) == 6


def test_not_without_uidplus(home: Home, start_dovecot: Callable[..., Dovecot]) -> None:
    user = start_dovecot(capability="IMAP4rev1 LITERAL+ IDLE").new_user()
    delivered(user)
    home.mailbox(user)
    home.good("sync")
    complains(home.call(*DELETE), 2, "no UIDPLUS")
    assert len(user.uids()) == 6


def test_not_on_gmail(home: Home, scripted: Scripted) -> None:
    gmail = Gmail(scripted())
    gmail.deliver(mail(1), "\\Inbox")
    home.account("work", gmail.server.port)
    home.good("sync")
    complains(home.call(*DELETE), 2, "Gmail is not pruned")
    complains(home.call(*LOOK), 2, "Gmail is not pruned")
    assert not {"SELECT", "UID STORE", "UID EXPUNGE", "EXPUNGE"} & set(gmail.server.names())


def test_on_pymap(home: Home, start_pymap: Callable[..., Pymap]) -> None:
    server = start_pymap({"INBOX": [Mail(mail(1), date=OLD), Mail(mail(2), date=NEW)]})
    home.account("work", server.port, server.user, password=server.password)
    home.good("sync")
    assert "deleted 1 message" in home.good(*DELETE).out
    home.good("verify", "--server")
    assert home.good("count", "is:gone").out.strip() == "1"


def nth(number: int) -> Callable[[Command], bool]:
    """Whether a command is the one of this number, of those asked about."""
    asked = itertools.count(1)
    return lambda command: next(asked) == number


class TestServers:
    """What real ones rarely do."""

    @pytest.fixture
    def scripted_home(self, home: Home, scripted: Scripted) -> Home:
        self.server = scripted()
        for number in range(1, 5):
            self.server.folder().add(mail(number), date=OLD)
        home.account("work", self.server.port)
        home.good("sync")
        return home

    def uids(self) -> list[int]:
        return [each.uid for each in self.server.folder().mails]

    def test_never_a_bare_expunge(self, scripted_home: Home) -> None:
        """What others marked as deleted stays."""
        self.server.folder().add(mail(9), date=NEW, flags=["\\Deleted"])
        scripted_home.good(*DELETE)
        assert self.uids() == [5]
        assert "EXPUNGE" not in self.server.names() and "CLOSE" not in self.server.names()

    def test_flagged_at_the_last_moment(self, scripted_home: Home) -> None:
        """Between the listing and the second look somebody flags one, and somebody else deletes one."""

        def meanwhile(session: Session, command: Command) -> bytes:
            folder = self.server.folder()
            folder.mails[1].flags = ("\\FLAGGED",)
            folder.mails.pop(2)
            return session.honest(command)

        self.server.on("UID FETCH", meanwhile, when=nth(2))
        result = scripted_home.good(*DELETE)
        assert self.uids() == [2]
        assert "deleted 2 messages" in result.out and "kept 1 flagged" in result.out

    def test_an_expunge_refused(self, scripted_home: Home) -> None:
        """The mark is taken off again, but from what was marked before."""
        self.server.folder().mails[0].flags = ("\\Deleted",)
        self.server.on("UID EXPUNGE", reply("{tag} NO [NOPERM] not yours"))
        complains(scripted_home.call(*DELETE), 1, "INBOX: nothing can be deleted: NO [NOPERM] not yours")
        assert [each.flags for each in self.server.folder().mails] == [("\\Deleted",), (), (), ()]
        scripted_home.good("verify", "--server")
        with PruneRecords(str(scripted_home.root)) as records:
            assert all(p.done is None for p in records.pruned())

    def test_an_expunge_that_does_nothing(self, scripted_home: Home) -> None:
        self.server.on("UID EXPUNGE", reply("{tag} OK done"))
        complains(scripted_home.call(*DELETE), 1, "4 messages are still there")
        assert [each.flags for each in self.server.folder().mails] == [()] * 4
        assert scripted_home.good("count", "is:gone").out.strip() == "0"
        with PruneRecords(str(scripted_home.root)) as records:
            assert records.pruned() == []

    def test_a_mailbox_for_reading_only(self, scripted_home: Home) -> None:
        self.server.on("SELECT", lambda session, command: session.honest(command).replace(b"WRITE", b"ONLY"))
        complains(scripted_home.call(*DELETE), 1, "for reading only")
        assert len(self.uids()) == 4

    def test_messages_without_a_date(self, scripted_home: Home) -> None:
        self.server.folder().mails[2].extra["INTERNALDATE"] = '"00-Jan-0000 00:00:00 +0000"'
        assert "kept 1 without a date" in scripted_home.good(*DELETE).out
        assert self.uids() == [3]

    def test_uids_counted_anew_under_one_uidvalidity(self, scripted_home: Home) -> None:
        """As many messages came since, so that only their dates show that they are others."""
        for each in self.server.folder().mails[:3]:
            each.raw, each.date = mail(each.uid + 10), OLD + timedelta(days=each.uid)
        assert "kept 3 with another date than archived" in scripted_home.good(*DELETE).out
        assert self.uids() == [1, 2, 3]

    def test_flagged_while_it_is_looked_at(self, scripted_home: Home) -> None:
        """Told by the way, after the flags that were asked for."""

        def meanwhile(session: Session, command: Command) -> bytes:
            self.server.folder().mails[1].flags = ("\\Flagged",)
            told, tag, end = session.honest(command).rpartition(command.tag.encode())
            return told.replace(b"\\Flagged", b"") + b"* 2 FETCH (UID 2 FLAGS (\\Flagged))\r\n" + tag + end

        self.server.on("UID FETCH", meanwhile, when=nth(2))
        assert "kept 1 flagged" in scripted_home.good(*DELETE).out
        assert self.uids() == [2]

    def test_what_a_broken_run_marked_is_not_left_marked(self, scripted_home: Home) -> None:
        def hang_up(session: Session, command: Command) -> bytes:
            raise HangUpError

        self.server.on("UID EXPUNGE", hang_up, times=1)
        complains(scripted_home.call(*DELETE), 75, "closed the connection")
        assert [each.flags for each in self.server.folder().mails] == [("\\Deleted",)] * 4
        self.server.folder().mails[1].flags = ("\\Deleted", "\\Flagged")
        scripted_home.good(*DELETE)
        assert [(each.uid, each.flags) for each in self.server.folder().mails] == [(2, ("\\Flagged",))]

    def test_a_line_that_breaks_in_between(self, scripted_home: Home) -> None:
        """What was deleted by then is found out by the next run, and known as pruned."""
        self.server.on("UID EXPUNGE", cut(), times=1)
        complains(scripted_home.call(*DELETE), 75, "closed the connection")
        assert self.uids() == []
        scripted_home.good(*DELETE)
        with PruneRecords(str(scripted_home.root)) as records:
            assert [(p.uid, p.done is not None) for p in records.pruned()] == [(n, True) for n in range(1, 5)]
        scripted_home.good("verify", "--server")


class KilledError(Exception):
    """In the place of kill -9."""


@pytest.mark.parametrize("step", ["read", "recorded", "expunged", "known"])
def test_killed_between_any_two_steps(plain: tuple[Home, User], step: str) -> None:
    """The next run goes on; nothing went that is not proven, and what went is on record, once."""
    home, user = plain
    (home.root / "mail" / "work" / "INBOX" / "cur" / files(home)["4"].name).unlink()

    def fault(name: str) -> None:
        if name == step:
            raise KilledError

    archive = Archive(load(home.config))
    with pytest.raises(KilledError):
        prune(archive, "work", int(NEW.timestamp()), delete=True, fault=fault)
    assert 4 in user.uids()
    home.call(*DELETE)
    assert user.uids() == [4]
    with PruneRecords(str(home.root)) as records:
        assert [(p.uid, p.done is not None) for p in records.pruned()] == [(n, True) for n in (1, 2, 3, 5, 6)]
    home.call("verify", "--repair")
    home.good("verify", "--server")


def test_the_record_is_durable_before_anything_is_deleted(plain: tuple[Home, User]) -> None:
    home, user = plain
    seen: list[tuple[int, int]] = []

    def fault(name: str) -> None:
        if name in ("recorded", "expunged"):
            with sqlite3.connect(home.root / "user.sqlite3") as db:
                (rows,) = db.execute("SELECT count(*) FROM pruned").fetchone()
            db.close()
            seen.append((rows, len(user.uids())))

    prune(Archive(load(home.config)), "work", int(NEW.timestamp()), delete=True, fault=fault)
    assert seen == [(6, 6), (6, 0)]


class TestPlan:
    def test_what_may_go(self) -> None:
        listed = [
            Listed(1, frozenset(), received=99),
            Listed(2, frozenset(), received=100),
            Listed(3, frozenset({"\\Flagged"}), received=1),
            Listed(4, frozenset(), received=None),
            Listed(5, frozenset(), received=1),
        ]
        wanted, kept = sort_out(listed, {n: b"k" for n in (1, 2, 3, 4)}, 100)
        assert [message.uid for message in wanted] == [1]
        assert kept == {NEWER: 1, FLAGGED: 1, UNDATED: 1, UNKNOWN: 1}

    @pytest.mark.parametrize(
        ("age", "today", "expected"),
        [
            ("1d", date(2024, 3, 1), date(2024, 2, 29)),
            ("2w", date(2024, 3, 1), date(2024, 2, 16)),
            ("2y", date(2024, 3, 1), date(2022, 3, 1)),
            ("1y", date(2024, 2, 29), date(2023, 2, 28)),
            (" 10 y ", date(2024, 2, 29), date(2014, 2, 28)),
        ],
    )
    def test_ages(self, age: str, today: date, expected: date) -> None:
        assert days_ago(age, today) == expected

    @pytest.mark.parametrize("age", ["", "2", "y", "0d", "-1y", "2m", "1.5y", "3000y", "99999y"])
    def test_no_ages(self, age: str) -> None:
        with pytest.raises(UsageError) as caught:
            days_ago(age, date(2024, 3, 1))
        assert caught.value.hint
