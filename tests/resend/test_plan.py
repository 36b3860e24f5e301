"""Parcels into the outbox and out of it: limits, what was sent before, what is tried again and when."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import SmtpServer
from archiver.errors import RepeatError, UsageError
from archiver.resend import DAY, LAST_TRY, Job, Parcel, Recipe, deliver, enqueue, mailboxes, next_try, split
from archiver.resend.plan import stored
from archiver.smtp import Mailbox, connect
from archiver.store import user as module
from archiver.store.user import User
from tests.servers.smtp import Offer, Script, Sink

NOW = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
ME = Mailbox("Me", "me@example.org")
WIRE = b"From: a@example.org\r\nSubject: x\r\n\r\ntext\r\n"
KEY = hashlib.sha256(WIRE).digest()


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with User(str(tmp_path)) as opened:
        yield opened


def server_at(sink: Sink | None, **more: object) -> SmtpServer:
    port = sink.port if sink else 25
    return SmtpServer(host="127.0.0.1", port=port, security="none", from_=ME.address, **more)  # type: ignore[arg-type]


def parcel(*to: str, **more: object) -> Parcel:
    recipe = Recipe(from_=ME, to=mailboxes(to), date=NOW, **more)  # type: ignore[arg-type]
    return Parcel((KEY,), recipe)


def queued(user: User, *parcels: Parcel, at: datetime = NOW, **more: object) -> list[Job]:
    options = {"server": server_at(None), **more}
    server = options.pop("server")
    assert isinstance(server, SmtpServer)
    return enqueue(parcels, server, "s", user, at, lambda key: WIRE, **options)  # type: ignore[arg-type]


def statuses(user: User) -> list[str]:
    return [to.status for entry in reversed(user.outbox()) for to in entry.recipients]


class TestLimits:
    def test_recipients_go_so_many_at_a_time_in_one_message(self, user: User) -> None:
        to = [f"u{number}@example.org" for number in range(7)]
        with Sink() as sink:
            server = server_at(sink, recipients_per_message=3)
            jobs = queued(user, parcel(*to), server=server)
            report = deliver(jobs, lambda: connect(server, None), user, lambda: NOW)
            assert [len(got.rcpt_tos) for got in sink.messages] == [3, 3, 1]
            assert len({got.data for got in sink.messages}) == 1
        assert (report.asked, report.count("sent"), report.exit_code) == (7, 7, 0)

    def test_messages_a_minute(self, user: User) -> None:
        clock = [NOW]
        sent: list[datetime] = []

        def pause(seconds: float) -> None:
            clock[0] += timedelta(seconds=seconds)

        with Sink() as sink:
            server = server_at(sink)
            keys = [bytes([number]) * 32 for number in range(5)]
            recipe = parcel("you@example.org").recipe
            jobs = queued(user, *(Parcel((key,), recipe) for key in keys))
            deliver(
                jobs,
                lambda: connect(server, None),
                user,
                lambda: clock[0],
                via="s",
                per_minute=2,
                pause=pause,
                done=lambda report: sent.append(clock[0]),
            )
            assert len(sink.messages) == 5
            # Nobody waits on an open line.
            assert sink.connections == 3
        for first, third in zip(sent, sent[2:], strict=False):
            assert third - first >= timedelta(minutes=1)
        assert user.sent_since("s", int(clock[0].timestamp()) - 60) != []

    def test_neighbours_together_up_to_a_size(self) -> None:
        assert [*split([5, 5, 1, 20, 3], int, 10)] == [[5, 5], [1], [20], [3]]

    @given(st.lists(st.integers(0, 30)), st.integers(1, 40))
    def test_nothing_is_lost_in_splitting(self, sizes: list[int], limit: int) -> None:
        groups = [*split(sizes, int, limit)]
        assert [each for group in groups for each in group] == sizes
        assert all(sum(group) <= limit or len(group) == 1 for group in groups)


class TestRepeats:
    @pytest.mark.parametrize("address", ["you@example.org", "You@EXAMPLE.org"])
    def test_the_same_to_the_same_is_asked_about(self, user: User, address: str) -> None:
        queued(user, parcel("you@example.org", "they@example.org"))
        with pytest.raises(RepeatError, match=f"{KEY.hex()[:8]} to you@example.org is queued already"):
            queued(user, parcel("we@example.org", address))
        assert len(statuses(user)) == 2
        queued(user, parcel(address), again=True)
        queued(user, parcel("we@example.org"))

    def test_in_whatever_form(self, user: User) -> None:
        queued(user, parcel("you@example.org"))
        other = Recipe(form="file", from_=ME, to=mailboxes(["you@example.org"]), date=NOW)
        with pytest.raises(RepeatError):
            queued(user, Parcel((b"k" * 32, KEY), other))

    @pytest.mark.parametrize(("script", "repeats"), [(Script(), True), (Script(dot="554 no"), False)])
    def test_within_a_day_of_what_may_have_arrived(self, user: User, script: Script, repeats: bool) -> None:
        with Sink(script=script) as sink:
            jobs = queued(user, parcel("you@example.org"))
            deliver(jobs, lambda: connect(server_at(sink), None), user, lambda: NOW)
        if repeats:
            with pytest.raises(RepeatError, match="is sent already"):
                queued(user, parcel("you@example.org"), at=NOW + timedelta(seconds=DAY))
        queued(user, parcel("you@example.org"), at=NOW + timedelta(seconds=DAY + 1))


class TestTryingAgain:
    def test_delays_grow_up_to_a_limit_and_end(self) -> None:
        delays = [(next_try(0, tries) or 0) // 60 for tries in range(1, LAST_TRY)]
        assert delays[:7] == [5, 10, 20, 40, 80, 160, 240] and set(delays[6:]) == {240}
        assert 4.5 < sum(delays) / 1440 < 5.5
        assert next_try(0, LAST_TRY) is None

    def later(self, user: User, sink: Sink, at: datetime) -> None:
        due = [stored(entry, lambda key: WIRE) for entry in user.due(int(at.timestamp()))]
        deliver(due, lambda: connect(server_at(sink), None), user, lambda: at)

    def test_the_same_bytes_go_out_to_those_deferred(self, user: User) -> None:
        with Sink(script=Script(rcpt={"they@example.org": "450 later"})) as sink:
            jobs = queued(user, parcel("you@example.org", "they@example.org"))
            report = deliver(jobs, lambda: connect(server_at(sink), None), user, lambda: NOW)
            due = NOW + timedelta(minutes=5)
            assert report.messages[0].due == user.next_due() == int(due.timestamp())
            sink.play()
            self.later(user, sink, due - timedelta(seconds=1))
            assert len(sink.messages) == 1
            self.later(user, sink, due)
            first, second = sink.messages
            assert (first.rcpt_tos, second.rcpt_tos) == (("you@example.org",), ("they@example.org",))
            assert first.data == second.data
        assert statuses(user) == ["sent", "sent"] and user.next_due() is None

    @pytest.mark.parametrize("reachable", [True, False])
    def test_at_the_end_it_has_failed(self, user: User, reachable: bool) -> None:
        at = NOW
        with Sink(script=Script(mail="450 later") if reachable else Script(banner="421 busy")) as sink:
            queued(user, parcel("you@example.org"), due=True)
            for _ in range(LAST_TRY):
                assert statuses(user)[0] in ("queued", "deferred")
                self.later(user, sink, at)
                at += timedelta(hours=4)
        (recipient,) = user.outbox()[0].recipients
        assert recipient.status == "failed" and recipient.tries == LAST_TRY
        assert recipient.reply.startswith(f"given up after {LAST_TRY} tries: ")

    def test_what_was_queued_before_there_were_recipes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = str(tmp_path / "old")
        with monkeypatch.context() as patch:
            patch.setattr(module, "_MIGRATIONS", module._MIGRATIONS[:1])
            User(root).close()
        with sqlite3.connect(f"{root}/user.sqlite3") as db:
            db.execute(
                "INSERT INTO message VALUES (1, ?, '<1@example.org>', 's', 'me@example.org', 5, ?)",
                (KEY, b"Resent-From: me@example.org\r\n"),
            )
            db.execute("INSERT INTO recipient VALUES (1, 0, 'you@example.org', 'unknown', 0, '', 5)")
        db.close()
        with User(root) as user, Sink() as sink:
            assert user.due(10**10) == []
            assert user.retry(1, 10) == 1
            self.later(user, sink, NOW)
            assert sink.messages[0].data == b"Resent-From: me@example.org\r\n" + WIRE
            assert statuses(user) == ["sent"]


class TestDecisions:
    def test_cancelled_is_never_sent(self, user: User) -> None:
        jobs = queued(user, parcel("you@example.org", "they@example.org"), due=True)
        assert user.cancel(jobs[0].id, 10, ["YOU@example.org"]) == 1
        with Sink() as sink:
            deliver(jobs, lambda: connect(server_at(sink), None), user, lambda: NOW)
            assert [got.rcpt_tos for got in sink.messages] == [("they@example.org",)]
        assert statuses(user) == ["failed", "sent"]
        assert user.cancel(jobs[0].id, 10) == 0

    def test_cancelled_while_others_are_sent(self, user: User) -> None:
        recipe = parcel("you@example.org").recipe
        jobs = queued(user, *(Parcel((bytes([n]) * 32,), recipe) for n in range(6)))

        def done(report: object) -> None:
            user.cancel(jobs[5].id, 10)

        with Sink() as sink:
            deliver(jobs, lambda: connect(server_at(sink), None), user, lambda: NOW, done=done)
            assert len(sink.messages) == 5
        assert statuses(user) == ["sent"] * 5 + ["failed"]


tricks = st.sampled_from(["\r\n", "\n", "\r", "\0", "\r\nRCPT TO:<evil@example.org>", "\n.\r\nQUIT"])


@given(st.text(max_size=10), tricks, st.text(max_size=10), st.booleans())
def test_no_line_break_in_an_address_comes_as_far_as_the_outbox(
    before: str, trick: str, after: str, named: bool
) -> None:
    address = f"{before}x{trick}x{after}"
    for bad in (address, f"{address}@example.org", f"a@example.org{trick}x", f"{address} <a@example.org>"):
        with pytest.raises(UsageError):
            mailboxes([Mailbox("x", bad)] if named else [bad])


# What the page says of messages that are refused first: row by row, as it happens.

LETTERS = "Subject: x\r\n\r\nGrüße\r\n".encode()
REFUSED: dict[str, tuple[Offer, bytes, str, tuple[str, ...]]] = {
    "a bare CR": (Offer(), b"a\rb\r\n", "you@example.org", ()),
    "a bare LF": (Offer(), b"a\nb\r\n", "you@example.org", ()),
    "a NUL": (Offer(), b"a\0b\r\n", "you@example.org", ()),
    "a line over 998 octets": (Offer(), b"x" * 999 + b"\r\n", "you@example.org", ()),
    "8-bit bytes, and the server no 8BITMIME": (Offer(eight_bit=False), LETTERS, "you@example.org", ()),
    "more octets than the server takes": (Offer(size=100), WIRE, "you@example.org", ()),
    "a recipient with letters beyond ASCII, and the server no SMTPUTF8": (
        Offer(utf8=False),
        WIRE,
        "jürgen@example.org",
        (),
    ),
    "wishes about reports, and the server no DSN": (Offer(), WIRE, "you@example.org", ("NEVER",)),
}


def refusals() -> dict[str, str]:
    page = Path(__file__).parents[2] / "docs" / "sending.md"
    table = page.read_text("utf-8").partition("| the message has |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {what: advice.replace("`", "") for what, _, advice in cells}


def test_the_page_tells_all_refusals() -> None:
    assert refusals().keys() == REFUSED.keys()


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_comes_before_mail_from(what: str, user: User) -> None:
    offer, wire, to, notify = REFUSED[what]
    fetch: Callable[[bytes], bytes] = lambda key: wire  # noqa: E731
    with Sink(offer=offer) as sink:
        server = server_at(sink)
        one = parcel(to, notify=notify)
        jobs = enqueue([one], server, "s", user, NOW, fetch)
        report = deliver(jobs, lambda: connect(server, None), user, lambda: NOW)
        assert sink.commands == []
    assert report.messages[0].outcomes[0].status == "failed"
    assert refusals()[what] in (report.messages[0].hint or ""), report.messages[0].hint
