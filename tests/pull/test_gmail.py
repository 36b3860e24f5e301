"""Gmail (LESSONS 13 to 15): each message downloaded once whatever its labels, and limits that end a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from archiver.config import Folders
from archiver.errors import ServerError, UnavailableError
from archiver.imap import Connection, connect
from archiver.pull import Budget
from archiver.store.ledger import Ledger
from archiver.store.maildir import key_of
from tests.imap.conftest import PASSWORD
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, Scripted, mail
from tests.pull.steps import lose_ledger
from tests.servers.gmail import ALL, Gmail
from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, Session, bye, reply


@pytest.fixture(params=[True, False], ids=["condstore", "no condstore"])
def gmail(scripted: Scripted, request: pytest.FixtureRequest) -> Gmail:
    return Gmail(scripted(), condstore=request.param)


@pytest.fixture
def archive(gmail: Gmail, archive_of: ArchiveOf) -> Archive:
    made = archive_of(gmail.server)
    made.flags_every = 0
    return made


def filled(gmail: Gmail, number: int = 9) -> Counter[str]:
    """Messages with none, one or two labels; how often each should be downloaded."""
    labels = (("\\Inbox", "Büro & Co"), ("\\Sent", "\\Important"), (), ("Lists/日本",))
    return Counter(gmail.deliver(mail(n), *labels[n % 4]) for n in range(number))


def labelled(archive: Archive, label: str) -> set[bytes]:
    with Ledger(archive.root) as ledger:
        return ledger.keys("has_label(?, labels)", (label,))


def keys(*numbers: int) -> set[bytes]:
    return {key_of(mail(number)) for number in numbers}


class TestOnce:
    """13 and 15: the labels are folders, and localised."""

    def test_each_message_is_downloaded_once(self, gmail: Gmail, archive: Archive) -> None:
        once = filled(gmail)
        report = archive.sync()
        assert gmail.downloads() == once
        copies = len(gmail.messages()) - len(once)
        assert (report.total("stored"), report.total("spared")) == (len(gmail.messages()), copies)
        assert report.total("linked") == copies
        assert report.total("bytes") == sum(len(mail(n)) for n in range(9))
        checks.converged(archive.root, gmail.messages())
        assert len({path.stat().st_ino for path in checks.files(archive.root)}) == len(once)
        assert archive.sync().total("stored") == 0

    def test_later_ones_too(self, gmail: Gmail, archive: Archive) -> None:
        filled(gmail)
        archive.sync()
        gmail.server.commands.clear()
        once = Counter([gmail.deliver(mail(20), "\\Inbox", "New"), gmail.deliver(mail(21), "New")])
        report = archive.sync()
        assert gmail.downloads() == once
        assert report.total("spared") == 3
        checks.converged(archive.root, gmail.messages())

    def test_a_label_that_is_given_later_costs_no_download(self, gmail: Gmail, archive: Archive) -> None:
        msgid = gmail.deliver(mail(1), "\\Inbox")
        archive.sync()
        gmail.server.commands.clear()
        gmail.label(msgid, "Steuer", "\\Important")
        report = archive.sync()
        assert gmail.downloads() == {}
        assert (report.total("spared"), report.total("gone"), report.total("bytes")) == (1, 1, 0)
        checks.converged(archive.root, gmail.messages())

    def test_by_several_connections(self, gmail: Gmail, archive: Archive, few_a_share: None) -> None:
        once = filled(gmail, 40)
        report = archive.sync(hire=hire(archive), connections=4)
        assert gmail.downloads() == once
        assert report.complete
        checks.converged(archive.root, gmail.messages())

    def test_all_mail_is_brought_up_to_date_first(self, gmail: Gmail, archive: Archive) -> None:
        filled(gmail)
        archive.sync()
        first = next(c for c in gmail.server.commands if c.name == "EXAMINE")
        assert first.text(0) == "[Gmail]/Alle Nachrichten"

    def test_without_all_mail_the_labels_still_share(self, gmail: Gmail, archive: Archive) -> None:
        archive.folders = Folders(exclude=("\\All",))
        once = Counter([gmail.deliver(mail(1), "\\Inbox", "A", "B"), gmail.deliver(mail(2), "B")])
        archive.sync()
        assert gmail.downloads() == once
        wanted = {place: wire for place, wire in gmail.messages().items() if place[0] != ALL}
        checks.converged(archive.root, wanted)

    def test_a_lost_ledger_asks_for_names_and_labels_again(self, gmail: Gmail, archive: Archive) -> None:
        filled(gmail)
        old = gmail.deliver(mail(20))
        archive.sync()
        lose_ledger(archive)
        assert labelled(archive, "*") == set()
        gmail.server.commands.clear()
        msgid = gmail.deliver(mail(30))
        archive.sync()
        assert gmail.downloads() == {msgid: 1}
        assert labelled(archive, "Büro*") == keys(0, 4, 8)
        gmail.server.commands.clear()
        gmail.label(old, "Later")
        assert archive.sync().total("spared") == 1
        assert gmail.downloads() == {}, "the name of what was known from the files is known again"

    def test_the_days_bytes_are_not_spent_on_what_is_not_downloaded(
        self, gmail: Gmail, archive: Archive
    ) -> None:
        once = filled(gmail)
        budget = Budget(limit=sum(len(mail(n)) for n in range(len(once))) + 1)
        assert archive.sync(budget=budget).complete
        assert budget.spent == sum(len(mail(n)) for n in range(len(once)))
        checks.converged(archive.root, gmail.messages())


class TestLabels:
    def test_are_found_by_name(self, gmail: Gmail, archive: Archive) -> None:
        filled(gmail)
        archive.sync()
        assert labelled(archive, "büro & co") == keys(0, 4, 8)
        assert labelled(archive, "lists") == keys(3, 7)
        assert labelled(archive, "inbox") == labelled(archive, "\\Inbox") == keys(0, 4, 8)
        assert labelled(archive, "IMPORTANT") == keys(1, 5)
        assert labelled(archive, "nowhere") == set()

    def test_of_one_place(self, gmail: Gmail, archive: Archive) -> None:
        """In the folder of a label Gmail does not name it."""
        gmail.deliver(mail(1), "\\Inbox", "Work")
        archive.sync()
        assert {spot.folder: spot.label_names for spot in checks.spots(archive.root)} == {
            ALL: ("Work", "\\Inbox"),
            "INBOX": ("Work",),
            "Work": ("\\Inbox",),
        }

    def test_follow_the_server_without_the_index_noticing(self, gmail: Gmail, archive: Archive) -> None:
        msgid = gmail.deliver(mail(1), "\\Inbox")
        gmail.deliver(mail(2), "\\Inbox")
        archive.sync()
        with Ledger(archive.root) as ledger:
            change = ledger.last_change()
        gmail.label(msgid, "\\Inbox", "\\Important")
        report = archive.sync()
        assert report.total("flags") == 2, "in All Mail and INBOX"
        assert labelled(archive, "important") == keys(1)
        gmail.label(msgid, "\\Inbox")
        archive.sync()
        assert labelled(archive, "important") == set()
        assert labelled(archive, "inbox") == keys(1, 2)
        with Ledger(archive.root) as ledger:
            assert ledger.last_change() == change

    def test_come_with_what_changed_since(self, scripted: Scripted, archive_of: ArchiveOf) -> None:
        gmail = Gmail(scripted())
        msgid = gmail.deliver(mail(1), "\\Inbox")
        archive = archive_of(gmail.server)
        archive.sync()
        gmail.server.commands.clear()
        gmail.label(msgid, "\\Inbox", "Neu")
        archive.sync(only=["INBOX"])
        asked = [c.arguments for c in gmail.server.commands if c.name == "UID FETCH"]
        assert asked[1:] == ["1:1 (UID FLAGS X-GM-LABELS) (CHANGEDSINCE 102)"]
        assert labelled(archive, "neu") == keys(1)


@pytest.fixture
def few_a_share(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders are shared from ten messages on, in shares of five, however near the server is."""
    monkeypatch.setattr("archiver.pull.worker._SHARE", 5)
    monkeypatch.setattr("archiver.pull.worker._NEAR", 0.0)
    yield


def hire(archive: Archive) -> Callable[[], AbstractContextManager[Connection]]:
    return lambda: connect(archive.imap, lambda: PASSWORD)


def asks_for_bodies(command: Command) -> bool:
    return command.name == "UID FETCH" and "BODY" in command.arguments


def some_then(answer: Callable[[Session, Command], bytes]) -> Callable[[Session, Command], bytes]:
    """The first two messages that were asked for, then this."""

    def act(session: Session, command: Command) -> bytes:
        honest = session.honest(command)
        ends = [match.end() for match in re.finditer(rb"text\r\n\)\r\n", honest)]
        session.send(honest[: ends[1]])
        return answer(session, command)

    return act


class TestLimits:
    """14: what was brought home until a limit was met stays, and the next run goes on from there."""

    @pytest.mark.parametrize(
        "answer",
        [
            reply("{tag} NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)"),
            reply("{tag} NO [THROTTLED]"),
            bye("* BYE [THROTTLED] too much"),
            bye("* BYE [OVERQUOTA] Account exceeded command or bandwidth limits."),
        ],
        ids=["NO OVERQUOTA", "NO THROTTLED", "BYE THROTTLED", "BYE OVERQUOTA"],
    )
    def test_in_the_middle_of_a_download(
        self, gmail: Gmail, archive: Archive, answer: Callable[[Session, Command], bytes]
    ) -> None:
        once = filled(gmail)
        gmail.server.on("UID FETCH", some_then(answer), when=asks_for_bodies, times=1)
        with pytest.raises(UnavailableError) as caught:
            archive.sync()
        assert (caught.value.exit_code, caught.value.transient) == (75, True)
        with Ledger(archive.root) as ledger:
            assert ledger.all_failures() == [], "it is the server that cannot, not the messages"
        assert len(checks.live(archive.root)) == 2
        gmail.server.commands.clear()
        assert archive.sync().complete
        assert gmail.downloads() == Counter(list(once)[2:])
        checks.converged(archive.root, gmail.messages())

    @pytest.mark.parametrize("command", ["LIST", "EXAMINE", "UID FETCH", "LOGIN"])
    @pytest.mark.parametrize("code", ["OVERQUOTA", "THROTTLED"])
    def test_before_anything_came(self, gmail: Gmail, archive: Archive, command: str, code: str) -> None:
        once = filled(gmail)
        gmail.server.on(command, reply(f"{{tag}} NO [{code}] (Failure)"), times=1)
        with pytest.raises(UnavailableError, match=code):
            archive.sync()
        assert archive.sync().complete
        assert gmail.downloads() == once
        checks.converged(archive.root, gmail.messages())

    def test_too_many_connections_at_the_first(self, gmail: Gmail, archive: Archive) -> None:
        filled(gmail)
        too_many(gmail.server, since=0, times=1)
        with pytest.raises(UnavailableError, match="simultaneous"):
            archive.sync()
        assert archive.sync().complete
        checks.converged(archive.root, gmail.messages())

    @pytest.mark.parametrize("allowed", [1, 2, 3])
    def test_too_many_connections(
        self, gmail: Gmail, archive: Archive, few_a_share: None, allowed: int
    ) -> None:
        """Those that are let in do the work of those that are not."""
        once = filled(gmail, 40)
        too_many(gmail.server, since=allowed)
        assert archive.sync(hire=hire(archive), connections=4).complete
        assert gmail.downloads() == once
        checks.converged(archive.root, gmail.messages())

    def test_a_helper_is_thrown_out(self, gmail: Gmail, archive: Archive, few_a_share: None) -> None:
        filled(gmail, 40)
        gmail.server.on(
            "UID FETCH",
            some_then(bye("* BYE Too many simultaneous connections.")),
            when=lambda command: asks_for_bodies(command) and command.connection > 0,
            times=1,
        )
        assert archive.sync(hire=hire(archive), connections=4).complete
        checks.converged(archive.root, gmail.messages())

    def test_everybody_is_thrown_out(self, gmail: Gmail, archive: Archive, few_a_share: None) -> None:
        filled(gmail, 40)
        gmail.server.on("UID FETCH", some_then(bye("* BYE")), when=asks_for_bodies, times=3)
        for _ in range(3):
            try:
                archive.sync(hire=hire(archive), connections=2)
            except ServerError as error:
                assert error.transient
        assert archive.sync(hire=hire(archive), connections=2).complete
        checks.converged(archive.root, gmail.messages())


def too_many(server: ScriptedServer, since: int, times: int | None = None) -> None:
    """Refuse every login but those of the first so many connections, as Gmail does."""
    server.on(
        "LOGIN",
        reply("{tag} NO [ALERT] Too many simultaneous connections. (Failure)"),
        when=lambda command: command.connection >= since,
        times=times,
    )
