from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from archiver.config import Duration, SecretSource, SmtpServer
from archiver.errors import (
    ArchiverError,
    ConfigError,
    ConnectError,
    ConnectionLostError,
    CredentialError,
    LoginError,
    ProtocolError,
    RefusedError,
    TlsError,
    UnavailableError,
    UsageError,
)
from archiver.smtp import connect
from tests.servers.smtp import DROP, STALL, Offer, Script, Sink, failing
from tests.servers.tls import Authority, Certificate, self_signed
from tests.smtp.conftest import ServerFor

ACCOUNT = Offer(user="me@example.org", password="pässword, with a space")
MESSAGE = b"Subject: x\r\n\r\ntext\r\n"


@contextmanager
def talker(*lines: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says these lines, one after each thing it hears; its port, and what it heard."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            connection.settimeout(10)
            for line in lines:
                connection.sendall(line)
                received = connection.recv(65536)
                if not received:
                    return
                heard.append(received)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        thread.join(10)
        listener.close()


def plain(port: int, **changes: object) -> SmtpServer:
    values = {"host": "127.0.0.1", "port": port, "security": "none", "from_": "me@example.org"}
    return SmtpServer(**{**values, "read_timeout": Duration(2), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_every_mode_and_every_login(
    security: str, mechanism: str, certificate: Certificate, server_for: ServerFor
) -> None:
    offer = Offer(user="me@example.org", password=ACCOUNT.password, mechanisms=(mechanism,))
    with Sink(security, certificate.context(), offer) as sink:
        with connect(server_for(sink), ACCOUNT.password) as session:
            assert session.alive
            assert "8bitmime" in session.capabilities
            session.send("me@example.org", ["you@example.org"], MESSAGE)
        assert sink.mechanisms == [mechanism]
        assert [received.data for received in sink.messages] == [MESSAGE]


def test_no_login_without_a_user(server_for: ServerFor) -> None:
    with Sink() as sink:
        with connect(server_for(sink), None) as session:
            session.send("me@example.org", ["you@example.org"], MESSAGE)
        assert sink.mechanisms == []


@pytest.mark.parametrize(
    ("security", "first"), [("tls", "PLAIN"), ("starttls", "PLAIN"), ("none", "CRAM-MD5")]
)
def test_in_clear_the_password_itself_is_the_last_choice(
    security: str, first: str, certificate: Certificate, server_for: ServerFor
) -> None:
    offer = Offer(user="me", password="pw", mechanisms=("CRAM-MD5", "LOGIN", "PLAIN"))
    with Sink(security, certificate.context(), offer) as sink, connect(server_for(sink), "pw"):
        pass
    assert sink.mechanisms == [first]


def test_a_mechanism_the_server_does_not_really_have_gives_way_to_the_next(server_for: ServerFor) -> None:
    lines = (
        b"220 x\r\n",
        b"250-x\r\n250 AUTH CRAM-MD5 PLAIN\r\n",
        b"504 unknown\r\n",
        b"235 ok\r\n",
        b"221 x\r\n",
    )
    with talker(*lines) as (port, heard), connect(plain(port, user="me"), "pw"):
        pass
    assert [line.split(b" ")[:2] for line in heard[1:3]] == [[b"AUTH", b"CRAM-MD5\r\n"], [b"AUTH", b"PLAIN"]]


def test_a_wrong_password_is_tried_once(certificate: Certificate, server_for: ServerFor) -> None:
    offer = Offer(user="me@example.org", password="right", mechanisms=("PLAIN", "LOGIN", "CRAM-MD5"))
    with Sink("tls", certificate.context(), offer) as sink:
        with pytest.raises(LoginError) as caught, connect(server_for(sink), "wrong-password"):
            pytest.fail("logged in")
        assert sink.mechanisms == ["PLAIN"]
    assert "535" in str(caught.value)
    assert caught.value.hint and "password" in caught.value.hint
    assert "wrong-password" not in str(caught.value)


@pytest.mark.parametrize(
    "echo", [b"wrong-password", b"d3JvbmctcGFzc3dvcmQ=", b"AG1lAHdyb25nLXBhc3N3b3Jk", b"D3JVBMCTCGFZC3DV"]
)
def test_a_server_that_repeats_the_password_is_not_repeated(echo: bytes) -> None:
    lines = (b"220 x\r\n", b"250-x\r\n250 AUTH PLAIN\r\n", b"535 unknown: " + echo + b"\r\n")
    with (
        talker(*lines) as (port, _),
        pytest.raises(LoginError) as caught,
        connect(plain(port, user="me"), "wrong-password"),
    ):
        pytest.fail("logged in")
    assert echo.decode() not in str(caught.value)


class TestTokens:
    TOKEN, STALE = "ya29.good-hunter2_token~+/==", "ya29.stale-hunter2_token~+/=="

    def offer(self, *mechanisms: str) -> Offer:
        return Offer(user="me@example.org", mechanisms=mechanisms, tokens=(self.TOKEN,))

    @pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
    def test_a_token_lets_us_in(
        self, mechanism: str, certificate: Certificate, server_for: ServerFor
    ) -> None:
        with Sink("tls", certificate.context(), self.offer("PLAIN", mechanism)) as sink:
            with connect(server_for(sink, token=SecretSource(literal="x")), self.TOKEN) as session:
                session.send("me@example.org", ["you@example.org"], MESSAGE)
            assert sink.mechanisms == [mechanism] and len(sink.messages) == 1

    @pytest.mark.parametrize(("mechanism", "answer"), [("OAUTHBEARER", b"\1"), ("XOAUTH2", b"")])
    def test_one_that_has_expired_is_fetched_once_more(
        self, mechanism: str, answer: bytes, server_for: ServerFor
    ) -> None:
        given = iter([self.STALE, self.TOKEN])
        with Sink(offer=self.offer(mechanism)) as sink:
            with connect(server_for(sink, token=SecretSource(literal="x")), lambda: next(given)) as session:
                assert session.alive
            assert sink.mechanisms == [mechanism] * 2 and sink.after_refusal == [answer]

    def test_the_same_again_is_not_tried(self, server_for: ServerFor) -> None:
        with Sink(offer=self.offer("XOAUTH2")) as sink:
            server = server_for(sink, token=SecretSource(literal="x"))
            with pytest.raises(LoginError) as caught, connect(server, lambda: self.STALE):
                pytest.fail("logged in")
            assert sink.mechanisms == ["XOAUTH2"]
        assert "(status invalid_token)" in str(caught.value) and self.STALE not in str(caught.value)
        assert "get a new one" in (caught.value.hint or "")

    def test_a_server_that_takes_none_is_not_told_it(self, server_for: ServerFor) -> None:
        with Sink(offer=Offer(user="me@example.org")) as sink:
            server = server_for(sink, token=SecretSource(literal="x"))
            with pytest.raises(LoginError, match="takes no tokens"), connect(server, pytest.fail):
                pytest.fail("logged in")
            assert sink.mechanisms == []

    def test_a_server_that_wants_one_says_so(self, server_for: ServerFor) -> None:
        with (
            Sink(offer=self.offer("XOAUTH2")) as sink,
            pytest.raises(LoginError) as caught,
            connect(server_for(sink), "pw"),
        ):
            pytest.fail("logged in")
        assert caught.value.hint == "use token: instead"


def test_a_challenge_without_end_ends(server_for: ServerFor) -> None:
    lines = (b"220 x\r\n", b"250-x\r\n250 AUTH PLAIN\r\n", b"334 more\r\n", b"334 more\r\n")
    with talker(*lines) as (port, heard), pytest.raises(LoginError), connect(plain(port, user="me"), "pw"):
        pytest.fail("logged in")
    assert heard[-1] == b"*\r\n"


@pytest.mark.parametrize("offered", [b"250 x\r\n", b"250-x\r\n250 AUTH GSSAPI NTLM\r\n"])
def test_no_login_that_both_know(offered: bytes) -> None:
    with (
        talker(b"220 x\r\n", offered) as (port, heard),
        pytest.raises(LoginError) as caught,
        connect(plain(port, user="me"), "pw"),
    ):
        pytest.fail("logged in")
    assert caught.value.hint
    assert not any(b"AUTH" in line for line in heard)


def test_a_login_that_is_not_possible_now_may_be_tried_again(server_for: ServerFor) -> None:
    with (
        Sink(offer=ACCOUNT, script=Script(auth="454 4.7.0 later")) as sink,
        pytest.raises(UnavailableError),
        connect(server_for(sink), ACCOUNT.password),
    ):
        pytest.fail("logged in")


def test_a_user_needs_a_password(server_for: ServerFor) -> None:
    with Sink(offer=ACCOUNT) as sink:
        with pytest.raises(UsageError), connect(server_for(sink), None):
            pytest.fail("connected")
        assert sink.connections == 0


def test_a_nul_would_end_the_user_name_early(server_for: ServerFor) -> None:
    with Sink(offer=ACCOUNT) as sink:
        with pytest.raises(CredentialError), connect(server_for(sink), "a\0b"):
            pytest.fail("logged in")
        assert sink.mechanisms == []


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_certificates_nobody_should_trust(
    security: str, authority: Authority, certificate: Certificate, server_for: ServerFor, tmp_path: Path
) -> None:
    other_name = authority.server("elsewhere.example.org")
    bad = {
        "expired": (authority.expired(), {}, "clock"),
        "self-signed": (self_signed(tmp_path), {}, "ca_file"),
        "another name": (other_name, {}, "host"),
        "authority not known": (certificate, {"ca_file": None}, "fingerprint"),
    }
    for name, (shown, changes, advice) in bad.items():
        with Sink(security, shown.context(), ACCOUNT) as sink:
            with pytest.raises(TlsError) as caught, connect(server_for(sink, **changes), ACCOUNT.password):
                pytest.fail(name)
            assert advice in (caught.value.hint or ""), name
            assert not caught.value.transient
            assert sink.mechanisms == []


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_fingerprint_replaces_authority_name_and_date(
    security: str, authority: Authority, server_for: ServerFor, tmp_path: Path
) -> None:
    for shown in (self_signed(tmp_path), authority.expired(), authority.server("elsewhere.example.org")):
        pairs = [shown.fingerprint[i : i + 2].upper() for i in range(0, 64, 2)]
        for written in (shown.fingerprint, ":".join(pairs)):
            with Sink(security, shown.context(), ACCOUNT) as sink:
                server = server_for(sink, ca_file=None, fingerprint=written)
                with connect(server, ACCOUNT.password) as session:
                    assert session.alive


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_another_certificate_than_the_fingerprint_never_sees_the_password(
    security: str, certificate: Certificate, server_for: ServerFor, tmp_path: Path
) -> None:
    with Sink(security, certificate.context(), ACCOUNT) as sink:
        server = server_for(sink, fingerprint=self_signed(tmp_path).fingerprint)
        with pytest.raises(TlsError) as caught, connect(server, ACCOUNT.password):
            pytest.fail("connected")
        assert certificate.fingerprint in caught.value.message
        assert sink.mechanisms == []


def test_a_ca_file_without_a_certificate(server_for: ServerFor, tmp_path: Path) -> None:
    server = {"security": "tls", "ca_file": str(tmp_path / "missing.pem")}
    with Sink() as sink, pytest.raises(ConfigError), connect(server_for(sink, **server), None):
        pytest.fail("connected")


def test_without_starttls_nothing_goes_on(certificate: Certificate, server_for: ServerFor) -> None:
    offer = Offer(user="me", password="pw", starttls=False)
    with Sink("starttls", certificate.context(), offer) as sink:
        with pytest.raises(TlsError) as caught, connect(server_for(sink), "pw"):
            pytest.fail("connected")
        assert caught.value.hint
        assert sink.mechanisms == []


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("454 later", UnavailableError),
        ("502 no", TlsError),
        ("250 fine", ProtocolError),
        (DROP, ConnectError),
    ],
)
def test_starttls_refused(
    action: str, expected: type[ArchiverError], certificate: Certificate, server_for: ServerFor
) -> None:
    with Sink("starttls", certificate.context(), ACCOUNT, Script(starttls=action)) as sink:
        with pytest.raises(expected), connect(server_for(sink), ACCOUNT.password):
            pytest.fail("connected")
        assert sink.mechanisms == []


def test_what_is_said_before_tls_is_forgotten() -> None:
    injected = b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n"
    with (
        talker(b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", injected) as (port, heard),
        pytest.raises(ArchiverError),
        connect(plain(port, security="starttls", user="me"), "pw"),
    ):
        pytest.fail("connected")
    assert not any(b"AUTH" in line or b"EHLO" in line.upper() for line in heard[2:])


def test_tls_to_a_port_that_speaks_none(server_for: ServerFor) -> None:
    with Sink() as sink, pytest.raises(TlsError) as caught, connect(server_for(sink, security="tls"), None):
        pytest.fail("connected")
    assert "starttls" in (caught.value.hint or "")


@pytest.mark.parametrize("stage", ["banner", "ehlo"])
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("421 busy", UnavailableError),
        ("554 go away", RefusedError),
        ("hello there", ProtocolError),
        (DROP, ConnectError),
        (STALL, ConnectError),
    ],
)
def test_a_server_that_does_not_begin_well(
    stage: str, action: str, expected: type[ArchiverError], certificate: Certificate, server_for: ServerFor
) -> None:
    with Sink("tls", certificate.context(), script=failing(stage, action)) as sink:
        began = time.monotonic()
        with pytest.raises(expected) as caught, connect(server_for(sink, read_timeout=Duration(0.3)), None):
            pytest.fail("connected")
        assert time.monotonic() - began < 3
    assert "127.0.0.1" in caught.value.message


def test_a_server_older_than_ehlo_gets_helo() -> None:
    lines = (b"220 x\r\n", b"502 what?\r\n", b"250 x\r\n", b"221 bye\r\n")
    with talker(*lines) as (port, heard), connect(plain(port), None) as session:
        assert session.capabilities == {}
    assert heard[1].lower().startswith(b"helo ")


def test_our_own_name_is_an_address_literal_and_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda *args: pytest.fail("looked up"))
    with talker(b"220 x\r\n", b"250 x\r\n", b"221 x\r\n") as (port, heard), connect(plain(port), None):
        pass
    assert heard[0] == b"ehlo [127.0.0.1]\r\n"


@pytest.mark.parametrize("reply", [b"250-more\r\n" * 100_000, b"250 " + b"x" * 100_000])
def test_a_reply_without_end_is_cut(reply: bytes) -> None:
    with talker(b"220 x\r\n", reply) as (port, _), pytest.raises(ProtocolError), connect(plain(port), None):
        pytest.fail("connected")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectError) as caught, connect(plain(port), None):
        pytest.fail("connected")
    assert caught.value.hint
    assert caught.value.exit_code == 75


@pytest.mark.parametrize(("host", "expected"), [("nowhere.invalid", ConnectError), ("a..b", ConfigError)])
def test_a_host_that_is_none(host: str, expected: type[ArchiverError]) -> None:
    with pytest.raises(expected) as caught, connect(plain(25, host=host), None):
        pytest.fail("connected")
    assert host in caught.value.message


def test_what_the_body_raises_is_left_alone(server_for: ServerFor) -> None:
    with Sink() as sink, pytest.raises(OSError, match="mine"), connect(server_for(sink), None):
        raise OSError("mine")


@pytest.mark.parametrize("action", [DROP, STALL, "500 no"])
def test_the_answer_to_quit_changes_nothing(
    action: str, server_for: ServerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.smtp.connection._QUIT_SECONDS", 0.3)
    with Sink(script=Script(quit=action)) as sink:
        with connect(server_for(sink), None) as session:
            session.send("me@example.org", ["you@example.org"], MESSAGE)
        assert len(sink.messages) == 1


def test_a_lost_connection_at_login_is_transient(server_for: ServerFor) -> None:
    with (
        Sink(offer=ACCOUNT, script=Script(auth=DROP)) as sink,
        pytest.raises(ConnectionLostError),
        connect(server_for(sink), ACCOUNT.password),
    ):
        pytest.fail("connected")
