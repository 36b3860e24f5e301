"""Logging in with tokens, and what a server says when one is no longer good."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Callable
from itertools import chain, repeat

import pytest

from archiver.config import ImapServer, SecretSource
from archiver.errors import (
    ArchiverError,
    ConnectionLostError,
    CredentialError,
    ExpiredError,
    LoginError,
    ProtocolError,
    UnavailableError,
    UsageError,
)
from archiver.imap import Mailbox, connect
from archiver.imap.errors import bye, refusal
from tests.imap.conftest import PASSWORD, ServerFor
from tests.servers import scripted as plays
from tests.servers.bearer import Attempt, Gate
from tests.servers.dovecot import Dovecot, User
from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, Session, reply

TOKEN = "ya29.Xq7-hunter2_token~+/=="
STALE = "ya29.Xq7-stale-token"
SOURCE = SecretSource(literal="unused")
INBOX = Mailbox("INBOX", "INBOX", "/")
MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
Scripted = Callable[..., ScriptedServer]


class Tokens:
    """Gives these, one a call, the last for ever; counts."""

    def __init__(self, *tokens: str) -> None:
        self.calls = 0
        self._tokens = chain(tokens, repeat(tokens[-1]))

    def __call__(self) -> str:
        self.calls += 1
        return next(self._tokens)


@pytest.fixture
def bearing(
    scripted: Scripted, server_for: ServerFor
) -> Callable[..., tuple[ScriptedServer, Gate, ImapServer]]:
    """A server that takes tokens: `bearing("XOAUTH2", sasl_ir=True)` -> server, gate, configuration."""

    def start(
        *mechanisms: str, sasl_ir: bool = False, user: str = "user", first: plays.Action | None = None
    ) -> tuple[ScriptedServer, Gate, ImapServer]:
        server, gate = scripted(), Gate({TOKEN})
        if first:
            server.on("AUTHENTICATE", first, times=1)
        offered = [f"AUTH={name}" for name in (*mechanisms, "PLAIN")] + ["SASL-IR"] * sasl_ir
        server.account.capabilities = ("IMAP4rev1", *offered)
        server.on("AUTHENTICATE", gate)
        return server, gate, server_for(server, user=user, password=None, token=SOURCE)

    return start


Bearing = Callable[..., tuple[ScriptedServer, Gate, ImapServer]]


def refused(settings: ImapServer, tokens: Tokens) -> ArchiverError:
    """The error of a login; no token that was tried shows in it in any form."""
    with pytest.raises(ArchiverError) as caught, connect(settings, tokens):
        pytest.fail("logged in")
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error) + str(error.hint)
    for token in (TOKEN, STALE):
        assert token not in shown
        assert base64.b64encode(token.encode()).decode().rstrip("=") not in shown
    assert "\n" not in str(error)
    return error


class TestWords:
    @pytest.mark.parametrize("sasl_ir", [False, True])
    @pytest.mark.parametrize("mechanism", MECHANISMS)
    def test_what_is_said(self, bearing: Bearing, mechanism: str, sasl_ir: bool) -> None:
        _, gate, settings = bearing(mechanism, sasl_ir=sasl_ir)
        with connect(settings, Tokens(TOKEN)) as connection:
            assert connection.examine(INBOX).exists == 0
        said = {
            "XOAUTH2": f"user=user\1auth=Bearer {TOKEN}\1\1",
            "OAUTHBEARER": f"n,a=user,\1host=127.0.0.1\1port={settings.port}\1auth=Bearer {TOKEN}\1\1",
        }
        assert gate.heard == [Attempt(mechanism, said[mechanism].encode(), sasl_ir)]

    def test_the_standard_one_where_both_are_offered(self, bearing: Bearing) -> None:
        _, gate, settings = bearing("XOAUTH2", "OAUTHBEARER")
        with connect(settings, Tokens(TOKEN)):
            pass
        assert [attempt.mechanism for attempt in gate.heard] == ["OAUTHBEARER"]

    def test_commas_and_equal_signs_in_a_user(self, bearing: Bearing) -> None:
        _, gate, settings = bearing("OAUTHBEARER", user="a=b,c@example.org")
        with connect(settings, Tokens(TOKEN)):
            pass
        assert gate.heard[0].said.startswith(b"n,a=a=3Db=2Cc@example.org,\1")

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    @pytest.mark.parametrize("control", ["\r", "\n", "\0", "\1"])
    def test_nothing_is_smuggled_in(self, bearing: Bearing, mechanism: str, control: str) -> None:
        server, _, settings = bearing(mechanism)
        assert isinstance(refused(settings, Tokens(f"{TOKEN}{control}x")), UsageError)
        _, _, settings = bearing(mechanism, user=f"me{control}x")
        assert isinstance(refused(settings, Tokens(TOKEN)), UsageError)
        assert "AUTHENTICATE" not in server.names()


class TestRefused:
    @pytest.mark.parametrize("sasl_ir", [False, True])
    @pytest.mark.parametrize(("mechanism", "answer"), [("OAUTHBEARER", b"AQ=="), ("XOAUTH2", b"")])
    def test_the_challenge_is_answered_and_its_status_told(
        self, bearing: Bearing, mechanism: str, answer: bytes, sasl_ir: bool
    ) -> None:
        _, gate, settings = bearing(mechanism, sasl_ir=sasl_ir)
        error = refused(settings, Tokens(STALE))
        assert [attempt.after_refusal for attempt in gate.heard] == [answer]
        assert isinstance(error, LoginError)
        assert error.message.endswith(
            "refused the login: NO [AUTHENTICATIONFAILED] Invalid credentials"
            " (status invalid_token, scope https://mail.example.org/)"
        )
        assert "get a new one" in (error.hint or "")

    @pytest.mark.parametrize(
        "challenge",
        [
            *(
                b"",
                b"!",
                b"bm8ganNvbg==",
                b"/////w==",
                b"WyJhIl0=",
                b"MQ==",
                b"e30=",
                b"eyJzdGF0dXMiOm51bGx9",
            ),
            base64.b64encode(b"[" * 100_000),
            base64.b64encode(b'{"status": "\\u001b[31m\\r\\nA1 OK"}'),
        ],
        ids=lambda challenge: challenge[:20].decode(),
    )
    def test_any_challenge_is_borne(self, bearing: Bearing, challenge: bytes) -> None:
        _, gate, settings = bearing("XOAUTH2")
        gate.challenge = challenge
        error = refused(settings, Tokens(STALE))
        assert isinstance(error, LoginError)
        assert str(error).isprintable()

    def test_a_server_that_repeats_the_token(self, bearing: Bearing) -> None:
        _, gate, settings = bearing("XOAUTH2")
        gate.challenge = base64.b64encode(f'{{"status": "no {STALE}"}}'.encode())
        gate.refusal = f"{{tag}} NO what is {STALE}"
        assert "NO what is *** (status no ***)" in refused(settings, Tokens(STALE)).message

    def test_a_server_that_asks_for_ever(self, bearing: Bearing) -> None:
        def ask(session: Session, command: Command) -> bytes:
            while (answer := session.ask(b"")) != b"*":
                asked.append(answer)
            return reply("{tag} BAD cancelled")(session, command)

        asked: list[bytes] = []
        _, _, settings = bearing("XOAUTH2", first=ask)
        assert isinstance(refused(settings, Tokens(STALE)), LoginError)
        assert len(asked) == 2

    def test_another_token_is_fetched_once(self, bearing: Bearing) -> None:
        _, gate, settings = bearing("OAUTHBEARER")
        tokens = Tokens(STALE, TOKEN)
        with connect(settings, tokens) as connection:
            assert connection.examine(INBOX).exists == 0
        assert (tokens.calls, len(gate.heard)) == (2, 2)
        tokens = Tokens(STALE, "another", TOKEN)
        assert isinstance(refused(settings, tokens), LoginError)
        assert (tokens.calls, len(gate.heard)) == (2, 4)

    def test_the_same_again_is_not_tried_again(self, bearing: Bearing) -> None:
        _, gate, settings = bearing("OAUTHBEARER")
        tokens = Tokens(STALE)
        assert isinstance(refused(settings, tokens), LoginError)
        assert (tokens.calls, len(gate.heard)) == (2, 1)

    def test_said_by_a_good_bye(self, bearing: Bearing) -> None:
        first = plays.bye("* BYE [AUTHENTICATIONFAILED] Token expired")
        _, _, settings = bearing("XOAUTH2", first=first)
        with connect(settings, Tokens(STALE, TOKEN)) as connection:
            assert connection.examine(INBOX).exists == 0

    def test_refused_for_now_is_no_matter_of_the_token(self, bearing: Bearing) -> None:
        _, gate, settings = bearing("XOAUTH2")
        gate.refusal = "{tag} NO [UNAVAILABLE] try later"
        tokens = Tokens(STALE, TOKEN)
        assert isinstance(refused(settings, tokens), UnavailableError)
        assert tokens.calls == 1

    def test_a_token_that_cannot_be_had_the_second_time(self, bearing: Bearing) -> None:
        _, _, settings = bearing("XOAUTH2")
        tokens = Tokens(STALE)

        def give() -> str:
            if tokens.calls:
                raise CredentialError("the command failed")
            return tokens()

        with pytest.raises(CredentialError), connect(settings, give):
            pytest.fail("logged in")

    def test_a_password_is_tried_once(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted()
        passwords = Tokens("wrong", PASSWORD)
        assert isinstance(refused(server_for(server), passwords), LoginError)
        assert (passwords.calls, server.names().count("LOGIN")) == (1, 1)


class TestWhatIsOffered:
    def test_no_mechanism_for_tokens(self, bearing: Bearing) -> None:
        server, _, settings = bearing()
        tokens = Tokens(TOKEN)
        error = refused(settings, tokens)
        assert isinstance(error, LoginError)
        assert "takes no tokens" in error.message
        assert "password:" in (error.hint or "")
        assert tokens.calls == 0
        assert not {"LOGIN", "AUTHENTICATE"} & set(server.names())

    def test_only_tokens(self, bearing: Bearing, server_for: ServerFor) -> None:
        server, _, _ = bearing("XOAUTH2")
        server.account.capabilities = ("IMAP4rev1", "LOGINDISABLED", "AUTH=XOAUTH2")
        error = refused(server_for(server), Tokens(PASSWORD))
        assert isinstance(error, LoginError)
        assert error.hint == "use token: instead"

    @pytest.mark.parametrize("password", [PASSWORD, "pässwörd", "x"])
    def test_login_as_a_mechanism_where_the_command_is_disabled(
        self, scripted: Scripted, server_for: ServerFor, password: str
    ) -> None:
        server = scripted()
        server.account.capabilities = ("IMAP4rev1", "LOGINDISABLED", "AUTH=LOGIN", "SASL-IR")
        heard: list[bytes] = []

        def ask(session: Session, command: Command) -> bytes:
            heard.extend(session.ask(base64.b64encode(question)) for question in (b"Username:", b"Password:"))
            return reply(f"{{tag}} NO I heard {heard[1].decode()} and {password}")(session, command)

        server.on("AUTHENTICATE", ask)
        with pytest.raises(LoginError) as caught, connect(server_for(server), lambda: password):
            pytest.fail("logged in")
        assert [base64.b64decode(line).decode() for line in heard] == ["user", password]
        assert "NO I heard *** and ***" in caught.value.message
        assert [c.arguments for c in server.commands if c.name == "AUTHENTICATE"] == ["LOGIN"]


class TestDovecot:
    @pytest.fixture(params=[TOKEN, "t" * 5000], ids=["short", "long"])
    def user(self, start_dovecot: Callable[..., Dovecot], request: pytest.FixtureRequest) -> User:
        """A user whose password is the one and only token; nobody else's is."""
        settings = f"""\
auth_mechanisms = plain login xoauth2 oauthbearer
passdb {{
  driver = static
  mechanisms = xoauth2 oauthbearer
  args = password={request.param}
}}
"""
        made = start_dovecot(settings=settings).new_user()
        return User(made.server, made.name, request.param)

    @pytest.mark.parametrize("security", ["none", "tls"])
    def test_both_mechanisms(self, user: User, server_for: ServerFor, security: str) -> None:
        server = user.server
        port = server.tls_port if security == "tls" else server.port
        settings = server_for(
            server, port=port, security=security, user=user.name, password=None, token=SOURCE
        )
        with connect(settings, Tokens(STALE, user.password)) as connection:
            assert connection.examine(INBOX).exists == 0
        error = refused(settings, Tokens(STALE))
        assert isinstance(error, LoginError)
        assert "status invalid_token" in error.message

    def test_the_older_one(self, start_dovecot: Callable[..., Dovecot], server_for: ServerFor) -> None:
        settings = f"auth_mechanisms = xoauth2\npassdb {{\n driver = static\n args = password={TOKEN}\n}}\n"
        server = start_dovecot(settings=settings, capability="IMAP4rev1 AUTH=XOAUTH2")
        user = server.new_user()
        settings_ = server_for(server, user=user.name, password=None, token=SOURCE)
        with connect(settings_, Tokens(STALE, TOKEN)) as connection:
            assert connection.examine(INBOX).exists == 0
        assert "status 401" in refused(settings_, Tokens(STALE)).message


class TestExpired:
    @pytest.mark.parametrize(
        "text",
        [
            "Session expired, please login again.",
            "[AUTHENTICATIONFAILED] Invalid credentials",
            "[EXPIRED] that password is too old",
            "Session invalidated - AccessTokenExpired",
            "the token has expired",
            "[UNAVAILABLE] authentication expired",
            "Token was revoked",
            "please log in again",
        ],
    )
    def test_signs_in_the_middle_of_a_session(self, text: str) -> None:
        for error in (bye(text, "h:1"), refusal(f"NO {text}", "h:1")):
            assert type(error) is ExpiredError
            assert (error.exit_code, error.transient) == (75, True)
            assert text in error.message

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("[UNAVAILABLE] maintenance", UnavailableError),
            ("idle for too long", ConnectionLostError),
            ("Logging out", ConnectionLostError),
            ("", ConnectionLostError),
        ],
    )
    def test_other_ends(self, text: str, kind: type[ArchiverError]) -> None:
        assert type(bye(text, "h:1")) is kind

    @pytest.mark.parametrize("text", ["this message has expired", "no such token", "relogin"])
    def test_refusals_of_one_thing(self, text: str) -> None:
        assert type(refusal(f"NO {text}", "h:1")) is ProtocolError

    @pytest.mark.parametrize("name", ["EXAMINE", "UID FETCH", "STATUS", "LIST"])
    def test_whatever_was_asked_for(self, scripted: Scripted, server_for: ServerFor, name: str) -> None:
        """A NO that is about the session is not taken for one about a folder or a message."""
        server = scripted()
        server.folder().add(b"Subject: one\r\n\r\n")
        server.on(name, reply("{tag} NO [AUTHENTICATIONFAILED] Token expired"))
        with connect(server_for(server), lambda: PASSWORD) as connection, pytest.raises(ExpiredError):
            connection.list_folders()
            connection.status([INBOX])
            connection.examine(INBOX)
            list(connection.fetch([1]))
