"""`archiver resend` and `archiver outbox`, against a real SMTP server."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from archiver.message import parse
from archiver.resend import new_message_id, resent_block
from archiver.smtp import Mailbox
from tests.cli import mails
from tests.cli.home import PASSWORD, Home, complains, fails
from tests.servers.dovecot import User
from tests.servers.smtp import DROP, STALL, Offer, Sink
from tests.servers.tls import Authority, Certificate, self_signed

INVOICE = hashlib.sha256(mails.INVOICE).hexdigest()[:8]
PAGE = hashlib.sha256(mails.PAGE).hexdigest()[:8]
TO = ("--to", "carol@example.org")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture
def sending(own_library: Home, sink: Sink) -> Home:
    """An archive with mail and a server to send it."""
    own_library.smtp(sink.port)
    return own_library


@pytest.fixture
def encrypted(own_library: Home) -> Iterator[Callable[..., Sink]]:
    """Start a server with TLS and configure it."""
    with ExitStack() as stack:

        def start(certificate: Certificate, security: str = "tls", **more: Any) -> Sink:
            server = stack.enter_context(Sink(security, certificate.context(), Offer("me", PASSWORD)))
            own_library.smtp(server.port, security=security, **{"user": "me", "password": PASSWORD, **more})
            return server

        yield start


def outcomes(home: Home, *options: str) -> list[tuple[str, str]]:
    return [
        (recipient["address"], recipient["status"])
        for message in home.good("outbox", "--json", *options).json()
        for recipient in message["recipients"]
    ]


def block_size() -> int:
    """Of a Resent block from me to carol."""
    boxes = Mailbox("", "me@example.org"), [Mailbox("", "carol@example.org")]
    return len(resent_block(*boxes, new_message_id(boxes[0]), datetime.now().astimezone(), b"A: b"))


class TestSending:
    def test_byte_for_byte_behind_a_resent_block(self, sending: Home, sink: Sink) -> None:
        result = sending.good("resend", INVOICE, *TO)
        assert result.out.startswith(f"{INVOICE}  sent      carol@example.org")
        (received,) = sink.messages
        assert (received.mail_from, received.rcpt_tos) == ("me@example.org", ("carol@example.org",))
        assert received.data.endswith(mails.INVOICE)
        block = received.data[: -len(mails.INVOICE)].decode().splitlines()
        assert [line.partition(":")[0] for line in block] == [
            "Resent-Date",
            "Resent-From",
            "Resent-To",
            "Resent-Message-ID",
        ]

    def test_several_messages_to_several_recipients(self, sending: Home, sink: Sink) -> None:
        sending.good("resend", INVOICE, PAGE, INVOICE, *TO, "--to", "dave@example.org")
        assert [message.data[-60:] for message in sink.messages] == [mails.INVOICE[-60:], mails.PAGE[-60:]]
        assert {message.rcpt_tos for message in sink.messages} == {("carol@example.org", "dave@example.org")}
        assert sink.connections == 1

    def test_through_the_server_named(self, sending: Home, sink: Sink) -> None:
        with Sink() as other:
            sending.smtp(other.port, "other", **{"from": "Other <other@example.org>"})
            sending.good("resend", INVOICE, *TO, "--via", "other")
            assert [message.mail_from for message in other.messages] == ["other@example.org"]
        assert sink.messages == []

    def test_what_a_query_finds(self, sending: Home, sink: Sink) -> None:
        sending.good("resend", "--query", "gazette after:2024-02-20", "--yes", *TO)
        subjects = [message.data.split(b"Subject: ")[1].split(b"\r\n")[0] for message in sink.messages]
        assert subjects == [f"News number {number}".encode() for number in range(20, 26)]

    def test_a_query_and_nobody_to_ask(self, sending: Home, sink: Sink) -> None:
        words = ("6 messages would go to carol@example.org", "nobody can be asked", "--yes")
        fails(sending, ["resend", "--query", "gazette after:2024-02-20", *TO], 2, *words)
        assert sink.messages == [] and outcomes(sending) == []

    @pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("\x03", 130)])
    def test_a_query_and_a_person(self, sending: Home, sink: Sink, answer: str, code: int) -> None:
        question = "Send 1 message to carol@example.org? [y/N]: "
        result = sending.terminal("resend", "--query", "invoice", *TO, answers={question: answer})
        assert result[0] == code, result
        assert len(sink.messages) == (code == 0) and len(outcomes(sending)) == (code == 0)
        assert code != 1 or "archiver: nothing was sent: you said no" in result[1]

    def test_a_dry_run(self, sending: Home, sink: Sink) -> None:
        result = sending.good("resend", INVOICE, "--query", "subject:page", "--dry-run", *TO)
        assert result.lines() == [
            f"{INVOICE}  2024-03-01 09:00  {len(mails.INVOICE):>6} B  Invoice for March",
            f"    resent, {block_size() + len(mails.INVOICE):,} octets, to carol@example.org",
            f"{PAGE}  2024-03-04 12:00  {len(mails.PAGE):>6} B  Only a page",
            f"    resent, {block_size() + len(mails.PAGE):,} octets, to carol@example.org",
            "would send 2 messages as me@example.org via relay to carol@example.org",
        ]
        assert sink.connections == 0 and outcomes(sending) == []

    @pytest.mark.parametrize(("ids", "good", "code"), [((INVOICE, PAGE), 1, 3), ((INVOICE,), 0, 1)])
    def test_a_dry_run_counts_and_exits_as_the_real_one(
        self, sending: Home, ids: tuple[str, ...], good: int, code: int
    ) -> None:
        (path,) = sending.good("search", "invoice", "--format", "paths").lines()
        Path(path).unlink()
        result = sending.call("resend", *ids, *TO, "--dry-run")
        complains(result, code, f"1 of {len(ids)} message", "would be refused")
        plural = "" if good == 1 else "s"
        assert result.lines()[-1].startswith(f"would send {good} message{plural} as me@example.org")
        assert sending.good("resend", *ids, *TO, "--dry-run", "--queue").lines() == result.lines()
        assert sending.call("resend", *ids, *TO).code == code


class TestRefused:
    def test_a_recipient_among_accepted_ones(self, sending: Home, sink: Sink) -> None:
        sink.play(rcpt={"nobody@example.org": "550 5.1.1 no such user"})
        result = sending.call("resend", INVOICE, *TO, "--to", "nobody@example.org")
        complains(result, 3, "1 of 2 deliveries were taken by the server", "archiver outbox")
        assert result.lines() == [
            f"{INVOICE}  sent      carol@example.org (OK)" if "(OK)" in result.out else result.lines()[0],
            f"{INVOICE}  failed    nobody@example.org (5.1.1 no such user)",
        ]
        assert outcomes(sending) == [("carol@example.org", "sent"), ("nobody@example.org", "failed")]
        assert len(sink.messages) == 1

    @pytest.mark.parametrize("stage", ["mail", "data", "dot"])
    @pytest.mark.parametrize(
        ("answer", "code", "status"), [("451 later", 75, "deferred"), ("554 no", 1, "failed")]
    )
    def test_by_the_server(
        self, sending: Home, sink: Sink, stage: str, answer: str, code: int, status: str
    ) -> None:
        sink.play(**{stage: answer})
        arguments = ["resend", INVOICE, *TO, "--again"]
        fails(sending, arguments, code, "0 of 1 deliveries", answer[4:], "archiver outbox")
        assert outcomes(sending) == [("carol@example.org", status)] * 2
        assert sink.messages == []

    @pytest.mark.parametrize(("stage", "status"), [("mail", "deferred"), ("dot", "unknown")])
    def test_the_line_drops(self, sending: Home, sink: Sink, stage: str, status: str) -> None:
        sink.play(**{stage: DROP})
        result = sending.call("resend", INVOICE, *TO)
        complains(result, 75 if status == "deferred" else 1)
        assert outcomes(sending) == [("carol@example.org", status)]
        assert outcomes(sending, "--open") == [("carol@example.org", status)]

    def test_after_the_first_of_two(self, sending: Home, sink: Sink) -> None:
        sink.play(banner="421 busy", mail="421 busy", after=1)
        result = sending.call("resend", INVOICE, PAGE, *TO)
        complains(result, 3, "1 of 2 deliveries", "busy", "archiver outbox")
        assert sorted(status for _, status in outcomes(sending)) == ["deferred", "sent"]

    def test_the_server_falls_silent(self, sending: Home, sink: Sink) -> None:
        sending.smtp(sink.port, connect_timeout="0.3s", read_timeout="0.3s")
        sink.play(banner=STALL)
        fails(sending, ["resend", INVOICE, *TO, "--again"], 75, "no answer in time", "read_timeout")

    def test_nobody_listens(self, sending: Home) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sending.smtp(listener.getsockname()[1])
        fails(sending, ["resend", INVOICE, *TO, "--again"], 75, "cannot connect", "check host, port")
        assert {status for _, status in outcomes(sending)} == {"deferred"}

    def test_a_wrong_password(
        self,
        own_library: Home,
        encrypted: Callable[..., Sink],
        certificate: Certificate,
        authority: Authority,
    ) -> None:
        server = encrypted(certificate, ca_file=str(authority.ca_file), password=PASSWORD[::-1])
        fails(own_library, ["resend", INVOICE, *TO], 1, "login as me refused", "check user and password")
        assert PASSWORD[::-1] not in own_library.good("outbox").out and server.messages == []

    @pytest.mark.parametrize("security", ["tls", "starttls"])
    def test_a_certificate_nobody_vouches_for(
        self, own_library: Home, encrypted: Callable[..., Sink], security: str
    ) -> None:
        server = encrypted(self_signed(own_library.path), security)
        fails(own_library, ["resend", INVOICE, *TO], 1, "certificate refused", "ca_file")
        assert server.mechanisms == [] and server.messages == []

    def test_starttls_not_offered(self, sending: Home, sink: Sink) -> None:
        sending.smtp(sink.port, security="starttls")
        fails(sending, ["resend", INVOICE, *TO], 1, "does not offer STARTTLS", "never sent in clear")
        assert sink.commands == []


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["resend", INVOICE], "Missing option '--to'"),
            (["resend", *TO], "nothing to send"),
            (["resend", "ffffffff", *TO], "no message has the id ffffffff"),
            (["resend", "--query", "nowhere", *TO], "the query finds nothing to send"),
            (["resend", "--query", "form:x", *TO], "did you mean from:?"),
            (["resend", INVOICE, *TO, "--via", "other"], "no sending server other"),
            (["resend", INVOICE, "--to", "not an address"], "not an address"),
            (["resend", INVOICE, "--to", "a@example.org\r\nRCPT TO:<b@example.org>"], "address"),
        ],
    )
    def test_wrong(self, sending: Home, sink: Sink, arguments: list[str], words: str) -> None:
        complains(sending.call(*arguments), 2, words)
        assert sink.connections == 0 and outcomes(sending) == []

    def test_no_server_configured(self, own_library: Home) -> None:
        fails(own_library, ["resend", INVOICE, *TO], 2, "no sending server in the configuration", "smtp:")


class TestOutbox:
    def test_empty(self, library: Home) -> None:
        assert library.good("outbox").out == "" and library.good("outbox", "--json").json() == []

    def test_newest_first(self, sending: Home, sink: Sink) -> None:
        sending.good("resend", INVOICE, *TO)
        sink.play(rcpt={"nobody@example.org": "550 5.1.1 no\x1b[31m such user"})
        sending.call("resend", PAGE, *TO, "--to", "nobody@example.org")
        lines = sending.good("outbox").lines()
        assert [line.split()[3] for line in lines if not line.startswith(" ")] == [PAGE, INVOICE]
        assert "    failed    nobody@example.org (5.1.1 no [31m such user)" in lines
        assert sending.good("outbox", "--open").out == ""

    def test_json(self, sending: Home) -> None:
        sending.good("resend", INVOICE, *TO)
        (message,) = sending.good("outbox", "--json").json()
        (recipient,) = message.pop("recipients")
        names = ["outbox_id", "key", "originals", "as", "message_id", "via", "from", "created"]
        assert list(message) == names
        assert (message["key"], message["via"], message["from"]) == (
            hashlib.sha256(mails.INVOICE).hexdigest(),
            "relay",
            "me@example.org",
        )
        assert list(recipient) == ["address", "status", "code", "reply", "updated", "tries", "due"]
        assert (recipient["status"], recipient["code"]) == ("sent", 250)


class TestWays:
    @pytest.mark.parametrize("way", ["attachment", "file"])
    def test_in_a_message_of_ones_own(self, sending: Home, sink: Sink, way: str) -> None:
        template = sending.path / "template"
        template.write_text("Subject: $count from $from\n\nAs you asked:\n$subject\n")
        more = ("--as", way, "--template", str(template), "--cc", "dave@example.org")
        sending.good("resend", INVOICE, PAGE, *TO, *more)
        (received,) = sink.messages
        assert received.rcpt_tos == ("carol@example.org", "dave@example.org")
        read = parse(received.data)
        assert read.subject.startswith("2 from ") and "As you asked:\nInvoice for March" in read.text
        assert [each.content_type for each in read.attachments] == [
            {"attachment": "message/rfc822", "file": "application/octet-stream"}[way]
        ] * 2
        (entry,) = sending.good("outbox", "--json").json()
        assert entry["as"] == way and [key[:8] for key in entry["originals"]] == [INVOICE, PAGE]

    @pytest.mark.parametrize("option", ["--subject", "--note"])
    def test_a_name_that_stands_for_nothing(self, sending: Home, sink: Sink, option: str) -> None:
        arguments = ["resend", INVOICE, *TO, "--as", "file", option, "From ${frm}"]
        fails(sending, arguments, 2, "nothing is called $frm", "$subject, $from, $date, $count")
        assert outcomes(sending) == []
        sending.good("resend", INVOICE, *TO, "--as", "file", "--subject", "$5 or $$frm")
        assert parse(sink.messages[0].data).subject == "$5 or $frm"

    def test_several_up_to_a_size(self, sending: Home, sink: Sink) -> None:
        sending.good("resend", INVOICE, PAGE, *TO, "--as", "file", "--message-size", "1K", "--note", "x")
        assert [parse(got.data).subject for got in sink.messages] == [
            "Fwd: Invoice for March",
            "Fwd: Only a page",
        ]

    def test_as_it_was(self, sending: Home, sink: Sink) -> None:
        sending.good("resend", INVOICE, *TO, "--as", "original", "--bcc", "dave@example.org")
        assert sink.messages[0].data == mails.INVOICE
        assert sink.messages[0].rcpt_tos == ("carol@example.org", "dave@example.org")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--subject", "a\r\nBcc: b@example.org", "--as", "file"], "line break"),
            (["--subject", "a"], "--as attachment"),
            (["--as", "file", "--drop-bcc"], "stays as it is"),
            (["--notify", "never", "--notify", "delay"], "--notify never"),
            (["--wait", "soon"], "time span"),
            (["--message-size", "much"], "size"),
        ],
    )
    def test_what_does_not_go_together(
        self, sending: Home, sink: Sink, options: list[str], words: str
    ) -> None:
        complains(sending.call("resend", INVOICE, *TO, *options), 2, words)
        assert sink.connections == 0 and outcomes(sending) == []


class TestSelection:
    def test_what_a_search_prints(self, sending: Home, sink: Sink) -> None:
        listed = sending.path / "ids"
        listed.write_text(sending.good("search", "gazette after:2024-02-20").out)
        sending.good("resend", "--from-file", str(listed), *TO)
        assert len(sink.messages) == 6

    def test_more_than_ten_are_asked_about(self, sending: Home, sink: Sink) -> None:
        listed = sending.path / "ids"
        listed.write_text(sending.good("search", "gazette", "--limit", "11").out)
        arguments = ["resend", "--from-file", str(listed), *TO]
        fails(sending, arguments, 2, "11 messages would go to carol@example.org", "--yes")
        complains(sending.call(*arguments, "--limit", "10"), 2, "11 messages are selected; 10 are the most")
        assert sink.connections == 0
        sending.good(*arguments, "--yes")
        assert len(sink.messages) == 11


class TestTwice:
    def test_within_a_day_only_when_asked(self, sending: Home, sink: Sink) -> None:
        sending.good("resend", INVOICE, *TO)
        words = (f"message {INVOICE} to carol@example.org is sent already", "--again")
        fails(sending, ["resend", INVOICE, *TO], 2, *words)
        assert len(sink.messages) == 1
        sending.good("resend", INVOICE, *TO, "--again")
        assert len(sink.messages) == 2

    @pytest.mark.parametrize(("answer", "messages"), [("y\n", 2), ("n\n", 1)])
    def test_a_person_is_asked(self, sending: Home, sink: Sink, answer: str, messages: int) -> None:
        sending.good("resend", INVOICE, *TO)
        result = sending.terminal("resend", INVOICE, *TO, answers={"Send all the same? [y/N]: ": answer})
        assert len(sink.messages) == messages, result

    def test_an_unknown_one_is_sent_again_by_the_users_word_alone(self, sending: Home, sink: Sink) -> None:
        sink.play(dot=DROP)
        sending.call("resend", INVOICE, *TO)
        assert outcomes(sending) == [("carol@example.org", "unknown")]
        sink.play()
        sending.good("outbox", "retry", "1")
        assert outcomes(sending) == [("carol@example.org", "sent")]
        first, second = sink.messages
        assert first.data == second.data
        complains(sending.call("outbox", "retry", "1"), 1, "nobody is left")
        complains(sending.call("outbox", "retry", "7"), 2, "no message 7 in the outbox")

    def test_queued_and_cancelled(self, sending: Home, sink: Sink) -> None:
        sending.good("resend", INVOICE, *TO, "--to", "dave@example.org", "--queue")
        assert sink.connections == 0
        assert {status for _, status in outcomes(sending, "--open")} == {"queued"}
        sending.good("outbox", "cancel", "1", "--to", "dave@example.org")
        assert outcomes(sending)[1] == ("dave@example.org", "failed")
        shown = sending.good("outbox", "show", "1").out
        assert "as resent from me@example.org" in shown and "dave@example.org (cancelled)" in shown
        assert sending.good("outbox", "show", "1", "--json").json()["outbox_id"] == 1
        assert len(sending.good("outbox", "list").lines()) == 3


class TestWaiting:
    def test_what_is_deferred_is_tried_again_meanwhile(
        self, sending: Home, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def soon(now: int, tries: int) -> int:
            sink.play()
            return now + 1

        monkeypatch.setattr("archiver.resend.delivery.next_try", soon)
        sink.play(mail="451 later")
        result = sending.good("resend", INVOICE, *TO, "--wait", "1m")
        assert [line.split()[1] for line in result.lines()] == ["deferred", "sent"]
        assert "1 message deferred: trying again at " in result.err


class TestDeliveredBefore:
    """A message that says it was delivered to the recipient: his server would return it."""

    @pytest.fixture
    def looping(self, home: Home, mailbox: User, sink: Sink) -> tuple[Home, str]:
        mailbox.save(b"Delivered-To: Carol@example.org\r\nBcc: x@example.org\r\n" + mails.INVOICE)
        home.mailbox(mailbox)
        home.smtp(sink.port)
        home.good("sync")
        return home, home.good("search", "invoice").lines()[0].split()[0]

    def test_nobody_can_be_asked(self, looping: tuple[Home, str], sink: Sink) -> None:
        home, id = looping
        words = (f"message {id} was delivered to carol@example.org before", "--drop-delivered-to")
        fails(home, ["resend", id, *TO], 2, *words)
        assert sink.connections == 0 and outcomes(home) == []
        home.good("resend", id, "--to", "dave@example.org")
        assert sink.messages[0].data.count(b"Delivered-To") == 1

    def test_it_goes_without_that_line(self, looping: tuple[Home, str], sink: Sink) -> None:
        home, id = looping
        home.good("resend", id, *TO, "--drop-delivered-to")
        assert sink.messages[0].data.endswith(b"\r\nBcc: x@example.org\r\n" + mails.INVOICE)
        assert b"Delivered-To" not in sink.messages[0].data

    @pytest.mark.parametrize(("answer", "messages"), [("y\n", 1), ("n\n", 0)])
    def test_a_person_is_asked(
        self, looping: tuple[Home, str], sink: Sink, answer: str, messages: int
    ) -> None:
        home, id = looping
        question = "Send it without that Delivered-To line? [y/N]: "
        result = home.terminal("resend", id, *TO, columns=300, answers={question: answer})
        assert len(sink.messages) == messages, result

    def test_a_dry_run_tells(self, looping: tuple[Home, str], sink: Sink) -> None:
        home, id = looping
        said = home.good("resend", id, *TO, "--dry-run").err.splitlines()
        assert said == [
            f"{id} was delivered to carol@example.org before: --drop-delivered-to",
            f"{id} shows its blind recipients: --drop-bcc leaves them out",
        ]
        attached = home.good("resend", id, *TO, "--dry-run", "--as", "attachment")
        assert attached.err == "" and "attachment, " in attached.out
