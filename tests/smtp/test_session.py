from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.config import Duration
from archiver.errors import ArchiverError, UnsendableError, UsageError
from archiver.smtp import Dsn, Outcome, Session, connect
from archiver.smtp.session import check_bytes
from tests.servers.smtp import DROP, STALL, Offer, Script, Sink, failing
from tests.servers.tls import Certificate
from tests.smtp.conftest import ServerFor

ME, YOU, THEY = "me@example.org", "you@example.org", "they@example.org"
MESSAGE = b"Subject: x\r\n\r\ntext\r\n"


def statuses(outcomes: tuple[Outcome, ...]) -> list[tuple[str, str, int]]:
    return [(outcome.address, outcome.status, outcome.code) for outcome in outcomes]


@pytest.fixture
def open_sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def session(open_sink: Sink, server_for: ServerFor) -> Iterator[Session]:
    with connect(server_for(open_sink), None) as opened:
        yield opened


@pytest.mark.parametrize(
    "data",
    [
        MESSAGE,
        b"",
        b"\r\n",
        b".\r\n",
        b"..\r\n",
        b".first\r\n.second\r\n..third\r\n.\r\nlast\r\n",
        b"Subject: x\r\n\r\n" + bytes(set(range(1, 256)) - {10, 13}) + b"\r\n",
        b"Subject: x\r\n\r\n" + b"x" * 998 + b"\r\n",
        b"." + b"x" * 997 + b"\r\n",
        b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 300_000,
    ],
)
def test_bytes_arrive_as_they_are(data: bytes, certificate: Certificate, server_for: ServerFor) -> None:
    with Sink("tls", certificate.context()) as sink, connect(server_for(sink), None) as session:
        outcomes = session.send(ME, [YOU], data)
    assert statuses(outcomes) == [(YOU, "sent", 250)]
    assert [tuple(received) for received in sink.messages] == [(ME, (YOU,), data)]


def test_a_last_line_without_end_gets_one(open_sink: Sink, session: Session) -> None:
    for data in (b"Subject: x\r\n\r\ntext", b".", b"a\r\n."):
        session.send(ME, [YOU], data)
        assert open_sink.messages[-1].data == data + b"\r\n"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=30).map(lambda b: b.translate(None, b"\r\n\0")), max_size=8))
def test_whatever_the_lines_they_arrive(open_sink: Sink, session: Session, lines: list[bytes]) -> None:
    data = b"".join(line + b"\r\n" for line in lines)
    session.send(ME, [YOU], data)
    assert open_sink.messages[-1].data == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"Subject: x\r\n\r\na\nb\r\n", "not CRLF"),
        (b"Subject: x\r\n\r\na\rb\r\n", "not CRLF"),
        (b"Subject: x\n\ntext\n", "not CRLF"),
        (b"Subject: x\r\n\r\n\n.\r\nMAIL FROM:<evil@example.org>\r\n", "not CRLF"),
        (b"\r\r\n", "not CRLF"),
        (b"\n\r", "not CRLF"),
        (b"Subject: x\r\n\r\na\0b\r\n", "NUL"),
        (b"Subject: x\r\n\r\n" + b"x" * 999 + b"\r\n", "999 octets"),
        (b"Subject: x\r\n\r\n" + b"x" * 1204, "1,204 octets"),
    ],
)
def test_what_no_server_may_get_is_refused_first(
    data: bytes, says: str, open_sink: Sink, session: Session
) -> None:
    with pytest.raises(UnsendableError, match=says) as caught:
        session.send(ME, [YOU], data)
    assert caught.value.hint
    assert open_sink.commands == []
    assert session.alive


@given(
    st.binary(max_size=60),
    st.sampled_from([b"\r", b"\n", b"\0", b"\n.\r\n", b"\r.\r", b"\n.\n"]),
    st.binary(max_size=60),
)
def test_a_second_message_cannot_be_smuggled_in(before: bytes, trick: bytes, after: bytes) -> None:
    data = before + b"x" + trick + b"x" + after
    with pytest.raises(UnsendableError):
        check_bytes(data)


def test_what_the_server_does_not_take_is_refused_first(server_for: ServerFor) -> None:
    eight_bit = "Subject: x\r\n\r\nGrüße\r\n".encode()
    cases: list[tuple[Offer, str, bytes, str]] = [
        (Offer(eight_bit=False), YOU, eight_bit, "8BITMIME"),
        (Offer(utf8=False), "jürgen@example.org", MESSAGE, "SMTPUTF8"),
        (Offer(eight_bit=False), "jürgen@example.org", MESSAGE, "8BITMIME"),
        (Offer(size=1000), YOU, b"x" * 70 + b"\r\n" * 500, "1,070 octets; .* takes 1,000"),
    ]
    for offer, recipient, data, says in cases:
        with Sink(offer=offer) as sink, connect(server_for(sink), None) as session:
            with pytest.raises(UnsendableError, match=says) as caught:
                session.send(ME, [recipient], data)
            assert caught.value.hint
            assert statuses(session.send(ME, [YOU], MESSAGE)) == [(YOU, "sent", 250)]
        assert len(sink.commands) == 2


def test_options_are_asked_for_when_needed(server_for: ServerFor) -> None:
    with Sink(offer=Offer(size=10_000)) as sink, connect(server_for(sink), None) as session:
        session.send(ME, [YOU], MESSAGE)
        session.send(ME, [YOU], "Subject: x\r\n\r\nGrüße\r\n".encode())
        session.send(ME, ["jürgen@bücher.example"], MESSAGE)
    assert sink.commands == [
        "FROM:<me@example.org> SIZE=20",
        "TO:<you@example.org>",
        "FROM:<me@example.org> SIZE=23 BODY=8BITMIME",
        "TO:<you@example.org>",
        "FROM:<me@example.org> SIZE=20 BODY=8BITMIME SMTPUTF8",
        "TO:<jürgen@bücher.example>",
    ]


class TestReports:
    def test_they_are_asked_for(self, server_for: ServerFor) -> None:
        with Sink(offer=Offer(dsn=True)) as sink, connect(server_for(sink), None) as session:
            session.send(ME, [YOU], MESSAGE, dsn=Dsn(("SUCCESS", "DELAY"), "<a+b=c d@example.org>"))
            assert len(sink.messages) == 1
        assert sink.commands == [
            "FROM:<me@example.org> RET=HDRS ENVID=<a+2Bb+3Dc+20d@example.org>",
            "TO:<you@example.org> NOTIFY=SUCCESS,DELAY",
        ]

    def test_a_server_without_them_is_not_asked(self, server_for: ServerFor) -> None:
        with Sink() as sink, connect(server_for(sink), None) as session:
            with pytest.raises(UnsendableError, match="DSN") as caught:
                session.send(ME, [YOU], MESSAGE, dsn=Dsn(("NEVER",)))
            assert sink.commands == [] and "--notify" in (caught.value.hint or "")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    address=st.one_of(
        st.text(alphabet=st.sampled_from('ab.@<>"\\ \t\r\n\0:;'), max_size=20),
        st.text(max_size=20),
        st.sampled_from(["\r\nRCPT TO:<evil@example.org>", "> SIZE=1\r\nDATA", "\nQUIT", "\0"]).map(
            lambda trick: f"you{trick}@example.org"
        ),
        st.emails(),
    ),
    as_sender=st.booleans(),
)
def test_no_address_says_more_than_one_command(
    open_sink: Sink, session: Session, address: str, as_sender: bool
) -> None:
    open_sink.commands.clear()
    taken = len(open_sink.messages)
    sender, recipient = (address, YOU) if as_sender else (ME, address)
    try:
        session.send(sender, [recipient], MESSAGE)
    except UsageError:
        assert open_sink.commands == []
        assert len(open_sink.messages) == taken
    else:
        # Refused or not, the server saw this address and nothing besides.
        assert open_sink.commands[0].startswith(f"FROM:<{sender}>")
        assert open_sink.commands[1:] in ([f"TO:<{recipient}>"], [])
        assert len(open_sink.messages) <= taken + 1
    assert session.alive


@pytest.mark.parametrize(
    ("rcpt", "expected"),
    [
        ({THEY: "550 5.1.1 unknown"}, [(YOU, "sent", 250), (THEY, "failed", 550)]),
        ({THEY: "450 4.2.0 greylisted"}, [(YOU, "sent", 250), (THEY, "deferred", 450)]),
        ({YOU: "550 no", THEY: "450 later"}, [(YOU, "failed", 550), (THEY, "deferred", 450)]),
        ({YOU: "550 no", THEY: "550 no"}, [(YOU, "failed", 550), (THEY, "failed", 550)]),
        ({YOU: "251 forwarded", THEY: "252 perhaps"}, None),
    ],
)
def test_every_recipient_has_an_outcome_of_its_own(
    rcpt: dict[str, str], expected: list[tuple[str, str, int]] | None, server_for: ServerFor
) -> None:
    with Sink(script=Script(rcpt=rcpt)) as sink, connect(server_for(sink), None) as session:
        outcomes = session.send(ME, [YOU, THEY], MESSAGE)
        if expected is None:
            # Accepted in other words; the sink itself then knows no recipient and refuses DATA.
            assert statuses(outcomes) == [(YOU, "failed", 503), (THEY, "failed", 503)]
        else:
            assert statuses(outcomes) == expected
            sent = tuple(address for address, status, _ in expected if status == "sent")
            assert [received.rcpt_tos for received in sink.messages] == ([sent] if sent else [])
        sink.play()
        assert statuses(session.send(ME, [THEY], MESSAGE)) == [(THEY, "sent", 250)]


@pytest.mark.parametrize("stage", ["mail", "data", "dot"])
@pytest.mark.parametrize(("reply", "status"), [("451 4.3.0 later", "deferred"), ("554 5.7.1 no", "failed")])
def test_a_refused_message_concerns_everybody_and_the_session_lives(
    stage: str, reply: str, status: str, server_for: ServerFor
) -> None:
    with Sink(script=failing(stage, reply)) as sink, connect(server_for(sink), None) as session:
        outcomes = session.send(ME, [YOU, THEY], MESSAGE)
        assert [(o.status, o.code, o.reply) for o in outcomes] == [(status, int(reply[:3]), reply[4:])] * 2
        assert sink.messages == []
        sink.play()
        session.send(ME, [YOU], MESSAGE)
    assert len(sink.messages) == 1


@pytest.mark.parametrize("stage", ["mail", "data", "dot"])
def test_after_421_the_session_is_over(stage: str, server_for: ServerFor) -> None:
    with (
        Sink(script=failing(stage, "421 4.3.2 closing")) as sink,
        connect(server_for(sink), None) as session,
    ):
        assert statuses(session.send(ME, [YOU], MESSAGE)) == [(YOU, "deferred", 421)]
        assert not session.alive
        assert [o.status for o in session.send(ME, [YOU], MESSAGE)] == ["deferred"]


def test_after_421_to_a_recipient_nobody_gets_the_message(server_for: ServerFor) -> None:
    script = Script(rcpt={YOU: "550 no", THEY: "421 closing"})
    with Sink(script=script) as sink, connect(server_for(sink), None) as session:
        outcomes = session.send(ME, ["a@example.org", YOU, THEY, "b@example.org"], MESSAGE)
        assert [outcome.status for outcome in outcomes] == ["deferred", "failed", "deferred", "deferred"]
        assert not session.alive
    assert sink.messages == []


@pytest.mark.parametrize("action", [DROP, STALL, "what?"])
@pytest.mark.parametrize("stage", ["mail", "data", "body", "dot"])
def test_a_line_that_dies_before_the_dot_is_safe_and_after_it_is_unknown(
    stage: str, action: str, certificate: Certificate, server_for: ServerFor
) -> None:
    if (stage, action) == ("body", "what?"):
        action = DROP
    script = failing(stage, action)
    with Sink("starttls", certificate.context(), script=script) as sink:
        server = server_for(sink, read_timeout=Duration(0.1 if stage == "dot" else 0.4))
        with connect(server, None) as session:
            # More than the buffers between us hold, so that a stalled reader is noticed.
            data = b"x" * 70 + (b"\r\n" + b"y" * 70) * 400_000 + b"\r\n" if stage == "body" else MESSAGE
            began = time.monotonic()
            outcomes = session.send(ME, [YOU, THEY], data)
            assert time.monotonic() - began < 5
            assert not session.alive
    expected = "unknown" if stage == "dot" else "deferred"
    assert statuses(outcomes) == [(YOU, expected, 0), (THEY, expected, 0)]
    assert outcomes[0].reply
    assert len(sink.messages) == (stage == "dot" and action != "what?")


def test_the_final_answer_may_take_longer_than_others(server_for: ServerFor) -> None:
    class Slow(Sink):
        def stage(self, name: str) -> str | None:
            if name == "dot":
                time.sleep(0.6)
            return super().stage(name)

    with Slow() as sink, connect(server_for(sink, read_timeout=Duration(0.2)), None) as session:
        assert statuses(session.send(ME, [YOU], MESSAGE)) == [(YOU, "sent", 250)]


def test_a_recipient_refused_before_the_line_died_stays_refused(server_for: ServerFor) -> None:
    script = Script(rcpt={THEY: "550 no"}, dot=DROP)
    with Sink(script=script) as sink, connect(server_for(sink), None) as session:
        outcomes = session.send(ME, [YOU, THEY], MESSAGE)
    assert statuses(outcomes) == [(YOU, "unknown", 0), (THEY, "failed", 550)]


def test_a_recipient_named_twice_is_asked_for_once(open_sink: Sink, session: Session) -> None:
    assert statuses(session.send(ME, [YOU, YOU], MESSAGE)) == [(YOU, "sent", 250)]
    assert open_sink.messages[0].rcpt_tos == (YOU,)


def test_a_reply_is_kept_as_one_harmless_line(server_for: ServerFor) -> None:
    reply = "550-first\r\n550 \x1b[31msecond " + "x" * 400
    with Sink(script=Script(rcpt={YOU: reply})) as sink, connect(server_for(sink), None) as session:
        outcome = session.send(ME, [YOU], MESSAGE)[0]
    assert outcome.reply.startswith("first [31msecond xxx")
    assert outcome.reply.isprintable()
    assert len(outcome.reply) == 300


def test_an_exception_in_the_middle_never_completes_a_message(server_for: ServerFor) -> None:
    def broken(step: str) -> None:
        if step == "body":
            raise KeyboardInterrupt

    with Sink() as sink, pytest.raises(KeyboardInterrupt), connect(server_for(sink), None) as session:
        session.send(ME, [YOU], MESSAGE, broken)
    assert sink.messages == []


def test_every_step_is_named(session: Session) -> None:
    steps: list[str] = []
    session.send(ME, [YOU, THEY], MESSAGE, steps.append)
    assert steps == ["mail", "rcpt", "rcpt", "data", "body", "dot", "answered"]


def test_no_error_holds_the_mail(server_for: ServerFor) -> None:
    with Sink(offer=Offer(size=100)) as sink, connect(server_for(sink), None) as session:
        for data in (b"secret\n", b"secret\0", b"secret" * 200, b"secret\r\n" * 100):
            with pytest.raises(ArchiverError) as caught:
                session.send(ME, [YOU], data)
            assert "secret" not in str(caught.value) + str(caught.value.hint)
