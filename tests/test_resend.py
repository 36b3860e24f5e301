from __future__ import annotations

import email
import email.utils
import hashlib
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from email.header import decode_header, make_header
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import Duration, SmtpServer
from archiver.errors import (
    ConnectError,
    ConnectionLostError,
    DamagedError,
    InterruptedRun,
    LoginError,
    UsageError,
)
from archiver.resend import MessageReport, Report, new_message_id, resend, resent_block
from archiver.smtp import Mailbox, Session, connect
from archiver.store.user import User
from tests.servers.smtp import DROP, Offer, Received, Script, Sink
from tests.servers.tls import Authority, Certificate

ME, YOU, THEY = "me@example.org", "you@example.org", "they@example.org"
NOW = datetime(2024, 2, 29, 12, 30, 15, tzinfo=timezone(timedelta(hours=2)))
ID = "<1@example.org>"

Key = bytes
Wire = bytes | Callable[[], bytes]


def message(number: int) -> tuple[Key, bytes]:
    wire = f"From: a@example.org\r\nSubject: number {number}\r\n\r\n.text\r\nof {number}\r\n".encode()
    return hashlib.sha256(wire).digest(), wire


MESSAGES = [message(number) for number in range(5)]


def server_at(sink: Sink, **changes: object) -> SmtpServer:
    values: dict[str, object] = {
        "host": sink.host,
        "port": sink.port,
        "security": "none",
        "from_": f"Me <{ME}>",
    }
    return SmtpServer(**{**values, "read_timeout": Duration(1), **changes})  # type: ignore[arg-type]


def sessions(
    server: SmtpServer, password: str | None = None
) -> Callable[[], AbstractContextManager[Session]]:
    return lambda: connect(server, password)


def send(sink: Sink, user: User, *to: str, messages: list[tuple[Key, bytes]] = MESSAGES) -> Report:
    server = server_at(sink)
    return resend(messages, to or (YOU,), server, sessions(server), user, lambda: NOW, name="work")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with User(str(tmp_path)) as opened:
        yield opened


def kept(user: User) -> list[tuple[int, str, str, int]]:
    """The whole outbox: message, address, status, code."""
    return [
        (message.id, recipient.address, recipient.status, recipient.code)
        for message in reversed(user.outbox())
        for recipient in message.recipients
    ]


# The block


def test_the_block_of_an_ordinary_message() -> None:
    block = resent_block(
        Mailbox("Me", ME),
        [Mailbox("", YOU), Mailbox("They, them", THEY)],
        ID,
        NOW,
        b"From: a@example.org\r\n",
    )
    assert block == (
        b"Resent-Date: Thu, 29 Feb 2024 12:30:15 +0200\r\n"
        b"Resent-From: Me <me@example.org>\r\n"
        b"Resent-To: you@example.org,\r\n"
        b' "They, them" <they@example.org>\r\n'
        b"Resent-Message-ID: <1@example.org>\r\n"
    )


def test_names_of_every_kind_are_read_back() -> None:
    names = [
        "Me",
        "Me Myself",
        'say "hello" \\ there',
        "a.b",
        "two  spaces",
        "=?utf-8?q?not_encoded?=",
        "Jürgen Müller",
        "山田 太郎" * 20,
        "🙂" * 60,
        "long " * 39,
    ]
    to = [Mailbox(name, f"u{number}@example.org") for number, name in enumerate(names)]
    block = resent_block(Mailbox("Ærø", ME), to, ID, NOW, b"X: y\r\n")
    assert block.isascii()
    assert max(map(len, block.split(b"\r\n"))) <= 78
    read = email.message_from_bytes(block + b"\r\n")
    found = [
        (str(make_header(decode_header(name))), address)
        for name, address in email.utils.getaddresses([read["Resent-To"]])
    ]
    assert found == [(box.name, box.address) for box in to]
    assert str(make_header(decode_header(read["Resent-From"]))) == f"Ærø <{ME}>"


@given(
    st.lists(
        st.builds(
            Mailbox,
            st.text(max_size=80).filter(lambda name: name.isprintable()),
            st.sampled_from([YOU, THEY, f"{'a' * 64}@{'b' * 60}.example.org", "jürgen@example.org"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_no_name_makes_a_second_header_or_a_long_line(to: list[Mailbox]) -> None:
    block = resent_block(Mailbox("", ME), to, ID, NOW, b"X: y\r\n")
    fields = [line for line in block[:-2].split(b"\r\n") if line[:1] != b" "]
    assert [field.partition(b":")[0] for field in fields] == [
        b"Resent-Date",
        b"Resent-From",
        b"Resent-To",
        b"Resent-Message-ID",
    ]
    assert block.count(b"\r") == block.count(b"\n") == block.count(b"\r\n")
    assert max(map(len, block.split(b"\r\n"))) < 300


@pytest.mark.parametrize(
    ("wire", "joint", "subject", "body"),
    [
        (b"Subject: x\r\n\r\ntext\r\n", b"", "x", "text\r\n"),
        (b"\r\nonly a body\r\n", b"", None, "only a body\r\n"),
        (b"no header at all\r\n", b"\r\n", None, "no header at all\r\n"),
        (b"Dear you: it is late\r\n", b"\r\n", None, "Dear you: it is late\r\n"),
        (b" continued\r\nSubject: x\r\n\r\n", b"\r\n", None, " continued\r\nSubject: x\r\n\r\n"),
        (
            b"From me@example.org Mon Jan  1 00:00:00 2024\r\nSubject: x\r\n\r\ntext\r\n",
            b"X-Mailbox-Line: ",
            "x",
            "text\r\n",
        ),
        (
            b">From me@example.org Mon Jan  1\r\nSubject: x\r\n\r\ntext\r\n",
            b"X-Mailbox-Line: ",
            "x",
            "text\r\n",
        ),
        (b"", b"", None, ""),
    ],
)
def test_every_beginning_stays_readable(wire: bytes, joint: bytes, subject: str | None, body: str) -> None:
    plain = resent_block(Mailbox("", ME), [Mailbox("", YOU)], ID, NOW, b"Subject: x\r\n")
    block = resent_block(Mailbox("", ME), [Mailbox("", YOU)], ID, NOW, wire)
    assert block == plain + joint
    read = email.message_from_bytes(block + wire)
    assert read["Resent-To"] == YOU
    assert read["Resent-Message-ID"] == ID
    assert read["Subject"] == subject
    assert read.get_payload() == body


def test_a_header_field_in_the_old_syntax_is_one() -> None:
    # RFC 5322, 4.5: white space before the colon. A text with a colon somewhere is none.
    for first, joint in ((b"Subject : x\r\n", b""), (b"Dear you : x\r\n", b"\r\n"), (b": x\r\n", b"\r\n")):
        block = resent_block(Mailbox("", ME), [Mailbox("", YOU)], ID, NOW, first)
        assert block.endswith(b"Resent-Message-ID: <1@example.org>\r\n" + joint)


def test_the_newest_block_is_on_top(user: User) -> None:
    wire = resent_block(Mailbox("", THEY), [Mailbox("", ME)], "<old@example.org>", NOW) + MESSAGES[0][1]
    with Sink() as sink:
        send(sink, user, messages=[(b"k", wire)])
    read = email.message_from_bytes(sink.messages[0].data)
    assert read.get_all("Resent-From") == ["Me <me@example.org>", THEY]


@pytest.mark.parametrize("address", [ME, "jürgen@bücher.example", "me@[127.0.0.1]", f"me@{'ü' * 70}.example"])
def test_a_message_id_is_ascii_and_new(address: str) -> None:
    first, second = (new_message_id(Mailbox("", address)) for _ in range(2))
    assert first != second
    assert first.isascii()
    assert first.startswith("<") and first.endswith(">")


# The run


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_the_journey(security: str, authority: Authority, certificate: Certificate, user: User) -> None:
    offer = Offer(user="me", password="pw", size=10_000_000)
    with Sink(security, certificate.context(), offer) as sink:
        server = server_at(sink, security=security, ca_file=str(authority.ca_file), user="me")
        report = resend(MESSAGES, [YOU, f"They <{THEY}>"], server, sessions(server, "pw"), user, lambda: NOW)
    assert report.exit_code == 0
    assert report.error is None
    assert sink.connections == 1
    entries = list(reversed(user.outbox()))
    assert [entry.key for entry in entries] == [key for key, _ in MESSAGES]
    assert {(r.address, r.status) for entry in entries for r in entry.recipients} == {
        (YOU, "sent"),
        (THEY, "sent"),
    }
    assert sink.messages == [
        Received(ME, (YOU, THEY), entry.block + wire)
        for entry, (_, wire) in zip(entries, MESSAGES, strict=True)
    ]
    first = email.message_from_bytes(sink.messages[0].data)
    assert first["Resent-From"] == f"Me <{ME}>"
    assert first["Resent-Message-ID"] == entries[0].message_id == report.messages[0].message_id
    assert email.utils.parsedate_to_datetime(first["Resent-Date"]) == NOW


def test_bytes_may_be_fetched_when_they_are_needed(user: User) -> None:
    order: list[str] = []

    def fetching(number: int) -> Callable[[], bytes]:
        def fetch() -> bytes:
            order.append(f"fetched {number}")
            return MESSAGES[number][1]

        return fetch

    with Sink() as sink:
        server = server_at(sink)
        items = [(MESSAGES[number][0], fetching(number)) for number in range(4)]
        resend(
            items,
            [YOU],
            server,
            sessions(server),
            user,
            lambda: NOW,
            done=lambda report: order.append("sent"),
        )
    assert len(sink.messages) == 4
    assert [each for each in order if each != "sent"] == [f"fetched {number}" for number in range(4)]
    assert order.index("fetched 3") > order.index("sent")


def test_bytes_that_cannot_be_had_fail_alone(user: User) -> None:
    def damaged() -> bytes:
        raise DamagedError("the file is not what its name says \udcff", hint="archiver verify")

    with Sink() as sink:
        server = server_at(sink)
        items: list[tuple[bytes, Wire]] = [
            (b"a", damaged),
            (b"b", MESSAGES[0][1]),
            (b"c", damaged),
            (b"d", MESSAGES[1][1]),
            (b"e", damaged),
        ]
        report = resend(items, [YOU], server, sessions(server), user, lambda: NOW)
    statuses = [message.outcomes[0].status for message in report.messages]
    assert statuses == ["failed", "sent", "failed", "sent", "failed"]
    assert report.messages[0].hint == "archiver verify"
    assert "the file is not" in user.message(report.messages[0].id).recipients[0].reply
    assert len(sink.messages) == 2
    assert report.exit_code == 3


def test_an_unsendable_message_fails_alone_and_is_never_begun_at_the_server(user: User) -> None:
    bad = [
        (b"a", b"Subject: x\n\nlf\n"),
        (b"b", b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n"),
        (b"c", b"x\0\r\n"),
    ]
    with Sink() as sink:
        report = send(sink, user, messages=[*bad, MESSAGES[0]])
    assert [message.outcomes[0].status for message in report.messages] == ["failed"] * 3 + ["sent"]
    assert [message.outcomes[0].code for message in report.messages] == [0, 0, 0, 250]
    assert all(message.hint for message in report.messages[:3])
    assert len(sink.commands) == 2
    assert report.exit_code == 3


@pytest.mark.parametrize(
    ("script", "statuses", "exit_code"),
    [
        (Script(), ["sent", "sent"], 0),
        (Script(rcpt={THEY: "550 no"}), ["sent", "failed"], 3),
        (Script(rcpt={THEY: "450 later"}), ["sent", "deferred"], 3),
        (Script(rcpt={YOU: "550 no", THEY: "550 no"}), ["failed", "failed"], 1),
        (Script(rcpt={YOU: "550 no", THEY: "450 later"}), ["failed", "deferred"], 1),
        (Script(mail="451 later"), ["deferred", "deferred"], 75),
        (Script(mail="550 not you"), ["failed", "failed"], 1),
        (Script(dot="452 full"), ["deferred", "deferred"], 75),
        (Script(dot="554 spam"), ["failed", "failed"], 1),
        (Script(data=DROP), ["deferred", "deferred"], 75),
        (Script(dot=DROP), ["unknown", "unknown"], 1),
    ],
)
def test_the_exit_code_follows_from_the_outcomes(
    script: Script, statuses: list[str], exit_code: int, user: User
) -> None:
    with Sink(script=script) as sink:
        report = send(sink, user, YOU, THEY, messages=MESSAGES[:1])
    assert [outcome.status for outcome in report.messages[0].outcomes] == statuses
    assert [status for _, _, status, _ in kept(user)] == statuses
    assert report.exit_code == exit_code


def test_one_refused_message_does_not_stop_the_next(user: User) -> None:
    with Sink(script=Script(dot="554 no")) as sink:
        server = server_at(sink)

        def done(report: MessageReport) -> None:
            sink.play()

        report = resend(MESSAGES, [YOU], server, sessions(server), user, lambda: NOW, done=done)
    assert [message.outcomes[0].status for message in report.messages] == ["failed"] + ["sent"] * 4
    assert sink.connections == 1


@pytest.mark.parametrize("reports", [1, 2, 5])
def test_nobody_listens_any_more(reports: int, user: User) -> None:
    """Standard output is a pipe that was closed: no message is claimed that was not sent."""
    told: list[MessageReport] = []

    def done(report: MessageReport) -> None:
        told.append(report)
        if len(told) == reports:
            raise BrokenPipeError

    with Sink() as sink:
        server = server_at(sink)
        with pytest.raises(BrokenPipeError):
            resend(MESSAGES, [YOU, THEY], server, sessions(server), user, lambda: NOW, done=done)
        assert len(sink.messages) == reports
    assert [s for _, _, s, _ in kept(user)] == ["sent"] * 2 * reports + ["queued"] * 2 * (5 - reports)
    with user.sending("check", 0) as orphans:
        assert orphans == 0


def test_nobody_listens_while_the_next_is_fetched(user: User) -> None:
    """What fails before anything of the message under way was sent leaves it queued."""

    def gone() -> bytes:
        raise DamagedError("the file is damaged")

    def done(report: MessageReport) -> None:
        raise BrokenPipeError

    with Sink() as sink:
        server = server_at(sink)
        items: list[tuple[Key, Wire]] = [MESSAGES[0], (b"k", gone)]
        with pytest.raises(BrokenPipeError):
            resend(items, [YOU], server, sessions(server), user, lambda: NOW, done=done)
        assert sink.messages == []
    assert [status for _, _, status, _ in kept(user)] == ["queued", "failed"]


def test_stopped_while_it_waits_for_the_outbox(user: User, tmp_path: Path) -> None:
    waiting: list[str] = []
    with Sink() as sink, User(str(tmp_path)) as other, other.sending("resend", 0):
        server = server_at(sink)
        with pytest.raises(InterruptedRun):
            resend(
                MESSAGES,
                [YOU],
                server,
                sessions(server),
                user,
                lambda: NOW,
                stop=lambda: bool(waiting),
                waiting=waiting.append,
            )
        assert sink.connections == 0
    assert {status for _, _, status, _ in kept(user)} == {"queued"}


@pytest.mark.parametrize(
    ("stage", "status"), [("mail", "deferred"), ("data", "deferred"), ("dot", "unknown")]
)
def test_a_server_that_cuts_the_line_now_and_then_is_called_again(
    stage: str, status: str, user: User
) -> None:
    class CutsEveryThird(Sink):
        asked = 0

        def stage(self, name: str) -> str | None:
            if name != stage:
                return None
            self.asked += 1
            return DROP if self.asked % 3 == 0 else None

    with CutsEveryThird() as sink:
        report = send(sink, user)
    assert [message.outcomes[0].status for message in report.messages] == [
        "sent",
        "sent",
        status,
        "sent",
        "sent",
    ]
    assert sink.connections == 2
    assert report.error is None
    assert report.exit_code == 3


@pytest.mark.parametrize(("stage", "first"), [("mail", "deferred"), ("dot", "unknown")])
def test_a_server_that_cuts_every_line_is_left_alone(stage: str, first: str, user: User) -> None:
    with Sink(script=Script(mail=DROP) if stage == "mail" else Script(dot=DROP)) as sink:
        report = send(sink, user)
    assert [message.outcomes[0].status for message in report.messages] == [first] + ["deferred"] * 4
    assert sink.connections == 1
    assert isinstance(report.error, ConnectionLostError)
    assert [status for _, _, status, _ in kept(user)] == [first] + ["deferred"] * 4


def test_a_server_that_goes_away_leaves_the_rest_deferred(user: User) -> None:
    with Sink() as sink:
        server = server_at(sink)
        calls = iter([connect(server, None)])

        def once() -> AbstractContextManager[Session]:
            try:
                return next(calls)
            except StopIteration:
                raise ConnectError("gone", hint="later") from None

        def done(report: MessageReport) -> None:
            sink.play(mail=DROP)

        report = resend(MESSAGES, [YOU], server, once, user, lambda: NOW, done=done)
    assert [message.outcomes[0].status for message in report.messages] == ["sent"] + ["deferred"] * 4
    assert isinstance(report.error, ConnectError)
    assert report.exit_code == 3


def test_no_server_at_all(user: User) -> None:
    with Sink() as sink:
        server = server_at(sink)
    report = resend(MESSAGES, [YOU, THEY], server, sessions(server), user, lambda: NOW)
    assert isinstance(report.error, ConnectError)
    assert report.exit_code == 75
    assert {status for _, _, status, _ in kept(user)} == {"deferred"}


def test_a_wrong_password(user: User) -> None:
    with Sink(offer=Offer(user="me", password="right")) as sink:
        server = server_at(sink, user="me")
        report = resend(MESSAGES, [YOU], server, sessions(server, "wrong"), user, lambda: NOW)
    assert isinstance(report.error, LoginError)
    assert report.exit_code == 1
    assert report.count("failed") == 5
    assert {status for _, _, status, _ in kept(user)} == {"failed"}
    assert sink.mechanisms == ["PLAIN"]


@pytest.mark.parametrize(
    "bad", ["", "you", "you@example.org\r\nRCPT TO:<evil@example.org>", "a\0@example.org"]
)
def test_a_bad_address_stops_everything_before_it_begins(bad: str, user: User) -> None:
    with Sink() as sink:
        with pytest.raises(UsageError):
            send(sink, user, YOU, bad)
        server = server_at(sink, from_=bad or "me")
        with pytest.raises(UsageError):
            resend(MESSAGES, [YOU], server, sessions(server), user, lambda: NOW)
        with pytest.raises(UsageError):
            resend(MESSAGES, [], server_at(sink), sessions(server), user, lambda: NOW)
        with pytest.raises(UsageError):
            resend(MESSAGES, [Mailbox("x", bad)], server_at(sink), sessions(server), user, lambda: NOW)
    assert sink.connections == 0
    assert user.outbox() == []


def test_a_recipient_named_twice_gets_it_once(user: User) -> None:
    with Sink() as sink:
        report = send(
            sink, user, YOU, f"You <{YOU}>", "you@EXAMPLE.org", "You@example.org", messages=MESSAGES[:1]
        )
    assert sink.messages[0].rcpt_tos == (YOU, "You@example.org")
    assert report.asked == 2


def test_asked_to_stop_it_ends_between_two_messages(user: User) -> None:
    with Sink() as sink:
        server = server_at(sink)
        report = resend(
            MESSAGES, [YOU], server, sessions(server), user, lambda: NOW, stop=lambda: len(sink.messages) >= 2
        )
        assert len(sink.messages) == 2
    assert [len(message.outcomes) for message in report.messages] == [1, 1, 0, 0, 0]
    assert [status for _, _, status, _ in kept(user)] == ["sent"] * 2 + ["queued"] * 3
    assert report.exit_code == 3


def test_nothing_to_send_connects_nowhere(user: User) -> None:
    with Sink() as sink:
        assert send(sink, user, messages=[]).exit_code == 0
        assert sink.connections == 0


def test_the_intent_is_kept_before_the_server_is_called(user: User) -> None:
    seen: list[list[tuple[int, str, str, int]]] = []
    with Sink() as sink:
        server = server_at(sink)

        def look() -> AbstractContextManager[Session]:
            seen.append(kept(user))
            return connect(server, None)

        resend(MESSAGES, [YOU], server, look, user, lambda: NOW)
    assert [status for _, _, status, _ in seen[0]] == ["queued"] * 5


# Real mail, and mail that breaks parsers: beside the project, not part of it

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


def collected(name: str, every: int) -> Iterator[bytes]:
    path = CORPUS / f"{name}.tar.xz"
    if not path.exists():
        pytest.skip(f"NOT TESTED on real mail: {path} is not there")
    with tarfile.open(path) as archive:
        files = [member for member in archive if member.isfile()]
        for member in files[::every]:
            file = archive.extractfile(member)
            assert file is not None
            raw = file.read()
            yield raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("name", ["torture", "multilingual"])
def test_any_mail_arrives_byte_for_byte_or_is_refused_first(name: str, user: User) -> None:
    items = [*{hashlib.sha256(wire).digest(): wire for wire in collected(name, 4)}.items()]
    with Sink() as sink:
        report = send(sink, user, messages=items)
    arrived = iter(sink.messages)
    for ended, (_, wire) in zip(report.messages, items, strict=True):
        if ended.outcomes[0].status == "sent":
            whole = user.message(ended.id).block + wire
            assert next(arrived).data == whole + (b"" if whole.endswith(b"\r\n") else b"\r\n")
        else:
            assert ended.outcomes[0].code == 0
            assert ended.hint
    assert next(arrived, None) is None
    assert report.count("sent") > 0.9 * len(items)


# Killed at any instant

KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from archiver.config import SmtpServer
from archiver.resend import resend
from archiver.smtp import connect
from archiver.store.user import User

root, port, kill_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
steps = []

def fault(step):
    steps.append(step)
    if len(steps) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

server = SmtpServer(host="127.0.0.1", port=port, security="none", from_="me@example.org")
items = [(bytes([n]) * 32, b"Subject: %d\\r\\n\\r\\ntext\\r\\n" % n) for n in range(2)]
with User(root) as user:
    resend(items, ["you@example.org", "they@example.org"], server, lambda: connect(server, None), user,
           lambda: datetime.now(UTC), fault=fault, again=len(sys.argv) > 4)
print(len(steps))
"""


def run_killed_at(root: Path, sink: Sink, step: int) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", KILLED, str(root), str(sink.port), str(step)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


def test_killed_between_any_two_steps_nothing_is_lost_or_sent_twice(tmp_path: Path) -> None:
    with Sink() as sink:
        whole = run_killed_at(tmp_path / "whole", sink, 0)
        steps = int(whole.stdout)
        assert len(sink.messages) == 2
    assert steps > 20
    for step in range(1, steps + 1):
        root = tmp_path / str(step)
        with Sink() as sink:
            killed = run_killed_at(root, sink, step)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            check_after_kill(root, sink, step)


def check_after_kill(root: Path, sink: Sink, step: int) -> None:
    def arrived() -> Counter[tuple[str, str]]:
        return Counter(
            (str(email.message_from_bytes(got.data)["Resent-Message-ID"]), address)
            for got in sink.messages
            for address in got.rcpt_tos
        )

    with User(str(root)) as user:
        if step == 1:
            # Before the intent is written nothing has been promised.
            assert user.outbox() == [] and not sink.messages
            return
        with user.sending("check", 0):
            pass
        entries = user.outbox()
        assert len(entries) == 2
        before = arrived()
        for entry in entries:
            for recipient in entry.recipients:
                count = before[entry.message_id, recipient.address]
                assert count in {"sent": (1,), "queued": (0,), "unknown": (0, 1)}[recipient.status], step
        assert sum(r.status == "unknown" for entry in entries for r in entry.recipients) <= 2
        # What may be begun again is exactly what never was.
        with user.sending("again", 0):
            for entry in entries:
                again = user.begin(entry.id, b"", 0)
                assert all(before[entry.message_id, address] == 0 for address in again)
                assert len(again) == sum(r.status == "queued" for r in entry.recipients)


def test_two_at_once_take_turns(tmp_path: Path) -> None:
    with Sink() as sink:
        arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(sink.port), "0", "again"]
        running = [subprocess.Popen(arguments, stdout=subprocess.DEVNULL) for _ in range(3)]
        assert [process.wait(60) for process in running] == [0, 0, 0]
        assert len(sink.messages) == 6
    with User(str(tmp_path)) as user:
        assert Counter(status for _, _, status, _ in kept(user)) == {"sent": 12}


def test_of_two_who_would_send_the_same_at_once_one_does(tmp_path: Path) -> None:
    with Sink() as sink:
        arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(sink.port), "0"]
        running = [
            subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        said = [process.communicate(timeout=60)[1] for process in running]
        assert sorted(process.returncode for process in running) == [0, 1, 1]
        assert sum("RepeatError: message " in text for text in said) == 2
        assert len(sink.messages) == 2
