from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.config import Duration, ImapServer
from archiver.config.structs import Namespace
from archiver.errors import (
    ArchiverError,
    ConfigError,
    ConnectError,
    ConnectionLostError,
    FolderError,
    LoginError,
    ProtocolError,
    TlsError,
    UnavailableError,
    UsageError,
)
from archiver.imap import Connection, Fetched, Mailbox, connect
from tests.conftest import AnyUser
from tests.imap.conftest import PASSWORD, Connect, ServerFor
from tests.servers import cyrus
from tests.servers.dovecot import Dovecot, RefusedError, User, free_ports
from tests.servers.honest import Command
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import ScriptedServer, Session, bye, cut, edit, reply, stall
from tests.servers.tls import Authority, Certificate, self_signed

HELLO = b"From: a@example.org\r\nSubject: hello\r\n\r\nHello\r\n"
WRONG = "correct horse battery"
INBOX = Mailbox("INBOX", "INBOX", "/")
Scripted = Callable[..., ScriptedServer]


def failure(server: ImapServer, password: str = PASSWORD) -> ArchiverError:
    """The error that connecting ends with; it must not tell the password, in whatever form."""
    asked: list[bool] = []

    def tell() -> str:
        asked.append(True)
        return password

    with pytest.raises(ArchiverError) as caught, connect(server, tell) as connection:
        list(connection.list_folders())
    error = caught.value
    assert_silent(error, password)
    if isinstance(error, TlsError):
        assert not asked, "a line nobody can trust must not even make us ask for the password"
    return error


def assert_silent(error: ArchiverError, password: str) -> None:
    seen = "".join(traceback.format_exception(error)) + repr(error) + str(error) + (error.hint or "")
    for form in (password, repr(password)[1:-1], base64.b64encode(password.encode()).decode()):
        assert form not in seen
    assert "\n" not in str(error)


@contextlib.contextmanager
def saying(data: bytes) -> Iterator[int]:
    """A port where every connection hears `data` and then the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


class TestLogin:
    @pytest.mark.parametrize("security", ["tls", "starttls", "none"])
    def test_to_real_servers(self, any_mailbox: AnyUser, log_in: Connect, security: str) -> None:
        any_mailbox.save(HELLO)
        server = any_mailbox.server
        port = server.tls_port if security == "tls" else server.port
        connection = log_in(server, security=security, port=port, user=any_mailbox.name)
        assert connection.has("CONDSTORE")
        assert connection.identity.split()[0] in ("Dovecot", "Cyrus")
        assert connection.examine(INBOX).exists == 1
        assert fetched(connection, 1) == [HELLO]

    @pytest.mark.parametrize("security", ["tls", "none"])
    def test_to_pymap(self, start_pymap: Callable[..., Pymap], log_in: Connect, security: str) -> None:
        server = start_pymap({"INBOX": [Mail(HELLO)]}, encrypted=security == "tls")
        connection = log_in(server, security=security)
        selected = connection.examine(INBOX)
        assert (selected.exists, selected.modseq) == (1, None)
        assert fetched(connection, 101) == [HELLO]

    @pytest.mark.parametrize("security", ["tls", "starttls", "none"])
    def test_to_a_server_that_knows_only_login(
        self, scripted: Scripted, log_in: Connect, security: str
    ) -> None:
        server = scripted(security)
        log_in(server, security=security)
        (login,) = (command for command in server.commands if command.name == "LOGIN")
        assert login.words() == ["user", PASSWORD]
        assert login.encrypted == (security != "none")

    @pytest.mark.parametrize("password", ["pässwörd €", 'quo"ted \\ one', " spaces "])
    def test_any_password_in_plain(self, dovecot: Dovecot, log_in: Connect, password: str) -> None:
        user = dovecot.add_user(f"odd{abs(hash(password))}", password)
        assert log_in(dovecot, user=user.name, password=password).has("IMAP4REV1")

    @pytest.mark.parametrize("security", ["tls", "starttls", "none"])
    def test_an_address_in_brackets(self, scripted: Scripted, log_in: Connect, security: str) -> None:
        assert log_in(scripted(security), security=security, host="[127.0.0.1]").has("IMAP4REV1")

    def test_any_user_and_password_by_login(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.account.user, server.account.password = 'a "b" \\ c', 'quo"ted \\ one'
        log_in(server, user=server.account.user, password=server.account.password)
        assert server.names()[-1] == "ID"

    def test_capabilities_from_before_starttls_are_not_believed(
        self, scripted: Scripted, log_in: Connect
    ) -> None:
        """Somebody on the line may have added to them what sends the password another way."""
        server = scripted("starttls")
        server.on(
            "GREETING", edit(lambda line: line.replace(b"IMAP4rev1", b"IMAP4rev1 AUTH=PLAIN XEVIL")), times=1
        )
        connection = log_in(server, security="starttls")
        assert not connection.has("XEVIL")
        assert "AUTHENTICATE" not in server.names()

    def test_sends_id_after_login_where_it_is_known(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        connection = log_in(server)
        assert server.names().index("ID") > server.names().index("LOGIN")
        (command,) = (each for each in server.commands if each.name == "ID")
        assert {"name", "version", "vendor"} <= {w for w in command.words()[0] if isinstance(w, str)}
        assert connection.identity == "scripted"

    def test_sends_no_id_where_it_is_unknown(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.account.capabilities = ("IMAP4rev1",)
        assert log_in(server).identity == ""
        assert "ID" not in server.names()

    @pytest.mark.parametrize("answer", ["{tag} NO not now", "{tag} BAD what", "{tag} OK done"])
    def test_a_server_that_dislikes_id_is_used_all_the_same(
        self, scripted: Scripted, log_in: Connect, answer: str
    ) -> None:
        server = scripted()
        server.on("ID", reply(answer))
        assert log_in(server).examine(INBOX).exists == 0

    def test_says_good_bye(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted()
        with connect(server_for(server), lambda: PASSWORD):
            pass
        # Nobody waited for the server to hear it.
        give_up = time.monotonic() + 5
        while server.names()[-1] != "LOGOUT" and time.monotonic() < give_up:
            time.sleep(0.01)
        assert server.names()[-1] == "LOGOUT"

    def test_what_goes_wrong_with_good_bye_does_not_matter(
        self, scripted: Scripted, server_for: ServerFor
    ) -> None:
        server = scripted()
        server.on("LOGOUT", cut())
        with connect(server_for(server), lambda: PASSWORD) as connection:
            connection.list_folders()

    def test_an_abandoned_line_is_closed_at_once(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted()
        with connect(server_for(server), lambda: PASSWORD) as connection:
            connection.abandon()
            with pytest.raises(ConnectionLostError):
                connection.examine(INBOX)
        assert "LOGOUT" not in server.names()


class TestRefusedLogin:
    def test_by_real_servers(self, any_mailbox: AnyUser, server_for: ServerFor) -> None:
        error = failure(server_for(any_mailbox.server, user=any_mailbox.name), WRONG)
        assert isinstance(error, LoginError)
        assert error.exit_code == 1
        assert "check user and password" in (error.hint or "")
        assert str(any_mailbox.server.port) in error.message

    def test_by_pymap(self, start_pymap: Callable[..., Pymap], server_for: ServerFor) -> None:
        assert isinstance(failure(server_for(start_pymap({"INBOX": []})), WRONG), LoginError)

    def test_by_a_server_that_knows_only_login(self, scripted: Scripted, server_for: ServerFor) -> None:
        error = failure(server_for(scripted()), WRONG)
        assert isinstance(error, LoginError)
        assert "AUTHENTICATIONFAILED" in error.message

    def test_for_now(self, dovecot: Dovecot, server_for: ServerFor) -> None:
        closed = dovecot.new_user(fields="nologin=y reason=Closed")
        error = failure(server_for(dovecot, user=closed.name))
        assert isinstance(error, LoginError)
        assert "Closed" in error.message

    def test_login_disabled(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted()
        server.account.capabilities = ("IMAP4rev1", "LOGINDISABLED")
        error = failure(server_for(server))
        assert isinstance(error, LoginError)
        assert error.hint == "use security: tls or starttls"
        assert "LOGIN" not in server.names()

    @pytest.mark.parametrize("end", ["{tag} NO", "{tag} BAD", "* BYE"])
    @pytest.mark.parametrize("plain", [False, True])
    def test_by_a_server_that_repeats_what_it_heard(
        self, scripted: Scripted, server_for: ServerFor, end: str, plain: bool
    ) -> None:
        server = scripted()

        def repeat(session: Session, command: Command) -> bytes:
            return reply(f"{end} cannot do {command.name} {command.arguments}")(session, command)

        def challenge(session: Session, command: Command) -> bytes:
            session.send(b"+ \r\n")
            line = session._input.readline().strip().decode()
            words = base64.b64decode(line).decode().replace("\0", " ")
            return reply(f"{end} cannot do {line} {words}")(session, command)

        server.on("LOGIN", repeat)
        server.on("AUTHENTICATE", challenge)
        if plain:
            server.account.capabilities = ("IMAP4rev1", "AUTH=PLAIN")
        error = failure(server_for(server), WRONG)
        assert "cannot do" in error.message
        whole = base64.b64encode(f"\0user\0{WRONG}".encode()).decode()
        assert whole not in "".join(traceback.format_exception(error))


class TestTls:
    @pytest.fixture
    def tls_server(self) -> Iterator[Callable[..., ScriptedServer]]:
        with contextlib.ExitStack() as stack:

            def start(certificate: Certificate, starttls: bool = False) -> ScriptedServer:
                server = ScriptedServer(context=certificate.context(), starttls=starttls)
                return stack.enter_context(server)

            yield start

    @pytest.mark.parametrize("security", ["tls", "starttls"])
    @pytest.mark.parametrize(
        ("kind", "reason"),
        [("expired", "expired"), ("self-signed", "self.signed"), ("wrong name", "mismatch|not valid for")],
    )
    def test_a_certificate_nobody_should_trust(
        self,
        tls_server: Callable[..., ScriptedServer],
        server_for: ServerFor,
        authority: Authority,
        tmp_path: Path,
        security: str,
        kind: str,
        reason: str,
    ) -> None:
        certificates: dict[str, Callable[[], Certificate]] = {
            "expired": authority.expired,
            "self-signed": lambda: self_signed(tmp_path),
            "wrong name": lambda: authority.server("other.example.org"),
        }
        server = tls_server(certificates[kind](), security == "starttls")
        error = failure(server_for(server, security=security))
        assert isinstance(error, TlsError)
        assert error.exit_code == 1
        assert re.search(reason, error.message)
        assert "fingerprint" in (error.hint or "")
        assert set(server.names()) <= {"CAPABILITY", "STARTTLS"}

    def test_an_authority_nobody_told_us_of(self, scripted: Scripted, server_for: ServerFor) -> None:
        error = failure(server_for(scripted("tls"), security="tls", ca_file=None))
        assert isinstance(error, TlsError)
        assert "ca_file" in (error.hint or "")

    @pytest.mark.parametrize("security", ["tls", "starttls"])
    def test_the_right_fingerprint_replaces_authority_and_name(
        self, tls_server: Callable[..., ScriptedServer], log_in: Connect, tmp_path: Path, security: str
    ) -> None:
        made = self_signed(tmp_path)
        pairs = [made.fingerprint[i : i + 2].upper() for i in range(0, 64, 2)]
        server = tls_server(made, security == "starttls")
        log_in(server, security=security, fingerprint=":".join(pairs))
        assert "LOGIN" in server.names()

    @pytest.mark.parametrize("security", ["tls", "starttls"])
    def test_another_fingerprint_is_refused(
        self,
        tls_server: Callable[..., ScriptedServer],
        server_for: ServerFor,
        certificate: Certificate,
        security: str,
    ) -> None:
        server = tls_server(certificate, security == "starttls")
        error = failure(server_for(server, security=security, fingerprint="ab" * 32))
        assert isinstance(error, TlsError)
        assert certificate.fingerprint in error.message
        assert "renewed" in (error.hint or "")
        assert "LOGIN" not in server.names()

    def test_a_ca_file_that_is_none(self, scripted: Scripted, server_for: ServerFor, tmp_path: Path) -> None:
        server = scripted("tls")
        error = failure(server_for(server, security="tls", ca_file=str(tmp_path / "ca.pem")))
        assert isinstance(error, ConfigError)
        assert server.names() == []

    def test_starttls_that_is_not_offered(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted("none")
        error = failure(server_for(server, security="starttls"))
        assert isinstance(error, TlsError)
        assert "does not offer STARTTLS" in error.message
        assert "security: tls" in (error.hint or "")
        assert "LOGIN" not in server.names()

    def test_starttls_that_was_stripped_by_somebody_on_the_line(
        self, scripted: Scripted, server_for: ServerFor
    ) -> None:
        server = scripted("starttls")
        server.on("GREETING", edit(lambda line: line.replace(b" STARTTLS", b"")))
        server.on("CAPABILITY", edit(lambda line: line.replace(b" STARTTLS", b"")))
        assert isinstance(failure(server_for(server, security="starttls")), TlsError)
        assert "LOGIN" not in server.names()

    @pytest.mark.parametrize("answer", ["{tag} NO", "{tag} BAD"])
    def test_starttls_that_is_refused(self, scripted: Scripted, server_for: ServerFor, answer: str) -> None:
        server = scripted("starttls")
        server.on("STARTTLS", reply(f"{answer} TLS is out of order"))
        error = failure(server_for(server, security="starttls"))
        assert isinstance(error, TlsError)
        assert "LOGIN" not in server.names()

    def test_what_came_with_the_answer_to_starttls_is_thrown_away(
        self, scripted: Scripted, log_in: Connect
    ) -> None:
        """Answers put in before the handshake, in clear, must not be taken for encrypted ones."""
        server = scripted("starttls")

        def inject(session: Session, command: Command) -> bytes:
            return session.honest(command) + b"* CAPABILITY IMAP4rev1 XEVIL\r\n"

        server.on("STARTTLS", inject)
        with contextlib.suppress(ArchiverError):
            assert not log_in(server, security="starttls").has("XEVIL")

    def test_preauth_before_starttls(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted("starttls")
        server.on("GREETING", reply("* PREAUTH welcome"))
        error = failure(server_for(server, security="starttls"))
        assert isinstance(error, TlsError)
        assert "PREAUTH" in error.message
        assert not {"LOGIN", "LIST"} & set(server.names())

    def test_preauth_says_not_whose_mailbox_it_is(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted("tls")
        server.on("GREETING", reply("* PREAUTH welcome"))
        error = failure(server_for(server, security="tls"))
        assert isinstance(error, LoginError)
        assert "PREAUTH" in error.message

    def test_tls_to_a_port_that_speaks_in_clear(self, scripted: Scripted, server_for: ServerFor) -> None:
        with saying(b"* OK ready\r\n") as port:
            error = failure(server_for(scripted(), port=port, security="tls"))
        assert isinstance(error, TlsError)
        assert "port and security" in (error.hint or "")


class TestNoConnection:
    def test_unknown_host(self, scripted: Scripted, server_for: ServerFor) -> None:
        error = failure(server_for(scripted(), host="no-such-host.invalid"))
        assert isinstance(error, ConnectError)
        assert (error.exit_code, error.transient) == (75, True)
        assert "no-such-host.invalid" in error.message
        assert "check the name" in (error.hint or "")

    def test_refused_port(self, scripted: Scripted, server_for: ServerFor) -> None:
        (port,) = free_ports(1)
        error = failure(server_for(scripted(), port=port))
        assert isinstance(error, ConnectError)
        assert str(port) in error.message
        assert "check host and port" in (error.hint or "")

    @pytest.mark.parametrize(
        "greeting", [b"", b"\r\n", b"* ", b"220 smtp.example.org ESMTP\r\n", b"\x16\x03\x01\x02\x00", b"* OK"]
    )
    def test_a_port_where_something_else_answers(
        self, scripted: Scripted, server_for: ServerFor, greeting: bytes
    ) -> None:
        with saying(greeting) as port:
            error = failure(server_for(scripted(), port=port, read_timeout=Duration(1)))
        assert isinstance(error, (ConnectionLostError, ProtocolError))

    def test_tls_that_ends_in_the_handshake(self, scripted: Scripted, server_for: ServerFor) -> None:
        with saying(b"") as port:
            error = failure(server_for(scripted(), port=port, security="tls"))
        assert isinstance(error, ConnectionLostError)

    def test_a_server_that_is_full(self, scripted: Scripted, server_for: ServerFor) -> None:
        server = scripted()
        server.on("GREETING", bye("* BYE [LIMIT] too many connections from your address"))
        error = failure(server_for(server))
        assert isinstance(error, UnavailableError)
        assert "too many connections" in error.message


QUICK = {"connect_timeout": Duration(0.2), "read_timeout": Duration(0.2)}


class TestSilence:
    @pytest.mark.parametrize("security", ["tls", "starttls", "none"])
    def test_on_connect(self, scripted: Scripted, server_for: ServerFor, security: str) -> None:
        server = scripted("none" if security == "tls" else security)
        server.on("GREETING", stall())
        error = failure(server_for(server, security=security, **QUICK))
        assert isinstance(error, ConnectionLostError)
        assert error.exit_code == 75
        assert "silent" in error.message
        assert "timeout" in (error.hint or "")

    @pytest.mark.parametrize("command", ["CAPABILITY", "LOGIN", "ID", "NAMESPACE", "LIST", "STARTTLS"])
    def test_at_a_command(self, scripted: Scripted, server_for: ServerFor, command: str) -> None:
        server = scripted("starttls")
        server.on(command, stall(after=3))
        error = failure(server_for(server, security="starttls", **QUICK))
        assert isinstance(error, ConnectionLostError)
        assert "silent" in error.message

    @pytest.mark.parametrize("after", [0, 30, 120])
    def test_in_a_message(self, scripted: Scripted, log_in: Connect, after: int) -> None:
        server = scripted()
        server.folder().add(HELLO * 10)
        server.on("UID FETCH", stall(after))
        connection = log_in(server, **QUICK)
        connection.examine(INBOX)
        with pytest.raises(ConnectionLostError, match="silent"):
            list(connection.fetch([1]))

    @pytest.mark.parametrize("command", ["LOGIN", "ID", "NAMESPACE", "LIST"])
    def test_the_end_at_a_command(self, scripted: Scripted, server_for: ServerFor, command: str) -> None:
        server = scripted()
        server.on(command, cut(after=3))
        error = failure(server_for(server))
        assert isinstance(error, ConnectionLostError)
        assert error.transient

    def test_bye_in_the_middle(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.on("UID FETCH", bye("* BYE [UNAVAILABLE] maintenance"))
        connection = log_in(server)
        connection.examine(INBOX)
        with pytest.raises(UnavailableError, match="maintenance"):
            list(connection.fetch([1]))


NONSENSE: dict[str, list[str | bytes]] = {
    "no text": ["{tag} OK"],
    "no text, no": ["{tag} NO"],
    "bad": ["{tag} BAD [CLIENTBUG] what"],
    "nothing": [],
    "noise": [b"\x00\xff\xfe{7"],
    "untagged": ["*", "* ", "* OK", "{tag} OK done"],
    "other tag": ["ZZ99 OK done", "{tag} OK done"],
    "brackets": [
        "* LIST (\\X",
        '* LIST () "/"',
        "* STATUS INBOX (MESSAGES",
        "* 1 FETCH (UID",
        "{tag} OK done",
    ],
    "words": [
        "* LIST what is this",
        "* STATUS INBOX MESSAGES many",
        "* NAMESPACE ((",
        "* ID (",
        "* X EXISTS",
        "{tag} OK done",
    ],
    "numbers": [
        "* 99999999999999999999999 EXISTS",
        "* OK [UIDVALIDITY 99999999999999999999999]",
        "* OK [UIDNEXT 99999999999999999999999]",
        "* 1 FETCH (UID 99999999999999999999999 FLAGS ())",
        "* STATUS INBOX (MESSAGES 99999999999999999999999)",
        "{tag} OK done",
    ],
    "capability": ["* CAPABILITY", "* CAPABILITY \xff", "{tag} OK [CAPABILITY"],
    "huge line": ["* LIST () " + "x" * 2_000_000, "{tag} OK done"],
    "huge literal": ["* 1 FETCH (UID 1 BODY[] {99999999999}", "{tag} OK done"],
}


USED = ["GREETING", "CAPABILITY", "LOGIN", "ID", "NAMESPACE", "LIST", "STATUS", "EXAMINE", "FETCH", "LOGOUT"]


@pytest.mark.parametrize("command", USED)
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_no_answer_of_a_server_makes_a_foreign_error(
    scripted: Scripted, server_for: ServerFor, command: str, nonsense: str
) -> None:
    """Whatever is said where, the end is a result or an error of ours."""
    server = scripted()
    server.folder().add(HELLO)

    def say(session: Session, asked: Command) -> bytes:
        session.send(reply(*NONSENSE[nonsense])(session, asked))
        if not any(isinstance(line, str) and "{tag}" in line for line in NONSENSE[nonsense]):
            return bye()(session, asked)
        return b""

    server.on("UID FETCH" if command == "FETCH" else command, say)
    try:
        with connect(server_for(server, read_timeout=Duration(0.3)), lambda: PASSWORD) as connection:
            mailboxes = connection.list_folders()
            connection.status([*mailboxes, INBOX])
            connection.examine(INBOX)
            list(connection.list_uids(1))
            list(connection.fetch([1]))
    except ArchiverError as error:
        assert_silent(error, PASSWORD)


CONTROL = ["\r\nA1 DELETE INBOX", "\n", "\r", "\0"]


class TestInjection:
    """CR, LF and NUL never reach a command (CVE-2025-15366)."""

    @pytest.mark.parametrize("control", CONTROL, ids=repr)
    @pytest.mark.parametrize("plain", [False, True])
    def test_from_a_user_or_a_password(
        self, scripted: Scripted, server_for: ServerFor, control: str, plain: bool
    ) -> None:
        server = scripted()
        if plain:
            server.account.capabilities = ("IMAP4rev1", "AUTH=PLAIN")
        for settings, password in ((server_for(server, user=f"me{control}"), PASSWORD),):
            assert isinstance(failure(settings, password), UsageError)
        error = failure(server_for(server), f"{WRONG}{control}")
        assert isinstance(error, ArchiverError)
        assert WRONG not in "".join(traceback.format_exception(error))
        assert not {"LOGIN", "AUTHENTICATE", "DELETE"} & set(server.names())

    @pytest.mark.parametrize("control", CONTROL, ids=repr)
    def test_from_a_folder_name(self, scripted: Scripted, log_in: Connect, control: str) -> None:
        server = scripted()
        connection = log_in(server)
        before = len(server.commands)
        hostile = Mailbox(f"INBOX{control}", "x", "/")
        with pytest.raises(UsageError):
            connection.examine(hostile)
        with pytest.raises(UsageError):
            connection.status([INBOX, hostile])
        assert connection.examine(INBOX).exists == 0, "the connection is still in step"
        assert all(control not in command.arguments for command in server.commands[before:])


class TestFolders:
    def test_names_of_every_kind_come_and_go(self, any_mailbox: AnyUser, log_in: Connect) -> None:
        mailbox = any_mailbox
        names = [
            "Projekte/Küche",
            "仕事/会議",
            "Архив/2024",
            "007",
            "2024",
            "a b",
            "R&D",
            "NIL",
            "100%",
            "#hash",
            "(paren)",
            "{5}",
            "inbox copy",
        ]
        for name in list(names):
            try:
                mailbox.create(name)
            except RefusedError:
                assert isinstance(mailbox, cyrus.User) and name in ("100%", "{5}"), name
                names.remove(name)
                continue
            mailbox.save(HELLO, name)
        connection = log_in(mailbox.server, user=mailbox.name)
        found = {m.name: m for m in connection.list_folders()}
        assert set(names) <= set(found)
        statuses = connection.status([found[name] for name in names])
        assert [statuses[found[name].raw].messages for name in names] == [1] * len(names)  # type: ignore[union-attr]
        for name in names:
            assert connection.examine(found[name]).exists == 1

    def test_a_refused_status_is_that_folders_alone(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.folder("Gone")
        server.folder("Work").add(HELLO)
        server.on("STATUS", reply("{tag} NO [NOPERM] no"), when=lambda c: c.text(0) == "Gone")
        connection = log_in(server)
        statuses = connection.status(connection.list_folders())
        assert isinstance(statuses["Gone"], FolderError)
        assert statuses["Work"].messages == 1  # type: ignore[union-attr]

    def test_many_statuses_are_asked_for_at_once(self, mailbox: User, log_in: Connect) -> None:
        names = [f"Folder {n:03}" for n in range(130)]
        mailbox.create(*names)
        connection = log_in(mailbox.server, user=mailbox.name)
        mailboxes = connection.list_folders()
        statuses = connection.status(mailboxes)
        assert len(statuses) == len(mailboxes) == 131
        assert {s.messages for s in statuses.values()} == {0}  # type: ignore[union-attr]

    def test_a_list_that_nobody_understands_is_an_error_not_a_folder_less(
        self, scripted: Scripted, log_in: Connect
    ) -> None:
        server = scripted()
        server.on("LIST", reply('* LIST () "/" "INBOX"', "* LIST what", "{tag} OK done"))
        with pytest.raises(ProtocolError, match="lists a folder"):
            log_in(server).list_folders()

    @pytest.fixture
    def foreign(self, scripted: Scripted) -> ScriptedServer:
        server = scripted()
        for name in ("Mine", "Shared/Everybody", "#news.a", "Users/other", "Users"):
            server.folder(name)
        spaces = '(("" "/")) (("Users/" "/")) (("Shared/" "/") ("#news." "."))'
        server.on("NAMESPACE", reply(f"* NAMESPACE {spaces}", "{tag} OK done"))
        # As Courier does it: these only by name.
        without = edit(lambda answer: re.sub(rb"\* LIST [^\r]*#news[^\r]*\r\n", b"", answer))
        server.on("LIST", without, when=lambda command: command.text(1) == "*")
        return server

    def test_folders_of_others_are_left_out(self, foreign: ScriptedServer, log_in: Connect) -> None:
        connection = log_in(foreign)
        assert [m.name for m in connection.list_folders()] == ["INBOX", "Mine", "Users"]
        assert foreign.names().count("LIST") == 1
        assert [connection.sees(raw) for raw in ("Mine", "Users/gone", "#news.b")] == [True, False, False]

    @pytest.mark.parametrize(
        ("namespaces", "names"),
        [
            (["personal", "others"], {"INBOX", "Mine", "Users", "Users/other"}),
            (["shared"], {"Shared/Everybody", "#news.a"}),
            (["shared", "others"], {"Shared/Everybody", "#news.a", "Users/other"}),
        ],
    )
    def test_unless_they_are_asked_for(
        self, foreign: ScriptedServer, log_in: Connect, namespaces: list[Namespace], names: set[str]
    ) -> None:
        connection = log_in(foreign)
        listed = connection.list_folders(namespaces)
        assert {m.name for m in listed} == names
        assert len(listed) == len(names)
        whose = {"Users/other": "others", "Shared/Everybody": "shared", "#news.a": "shared"}
        assert {m.name: m.namespace for m in listed} == {name: whose.get(name, "personal") for name in names}
        assert connection.sees("Mine") == ("personal" in namespaces)
        assert connection.sees("#news.b") == ("shared" in namespaces)

    def test_and_though_the_server_would_not_list_them(
        self, foreign: ScriptedServer, log_in: Connect
    ) -> None:
        foreign.on("LIST", reply("{tag} NO not by name"), when=lambda command: "Users" in command.arguments)
        listed = log_in(foreign).list_folders(["personal", "others"])
        assert {m.name for m in listed} == {"INBOX", "Mine", "Users", "Users/other"}

    def test_with_their_status(self, foreign: ScriptedServer, log_in: Connect) -> None:
        foreign.account.late = (*foreign.account.late, "LIST-STATUS")
        foreign.folder("#news.a").add(b"x")
        connection = log_in(foreign)
        (news,) = (m for m in connection.list_folders(["shared"]) if m.raw == "#news.a")
        assert connection.status([news])["#news.a"].messages == 1  # type: ignore[union-attr]
        assert "STATUS" not in foreign.names()

    def test_a_hostile_prefix_is_not_sent(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        spaces = b'* NAMESPACE NIL NIL (({15}\r\nx\r\nA9 DELETE x/ "/")("Shared/" "/"))'
        server.on("NAMESPACE", reply(spaces, "{tag} OK done"))
        assert [m.name for m in log_in(server).list_folders(["personal", "shared"])] == ["INBOX"]
        assert [command.text(1) for command in server.commands if command.name == "LIST"] == ["*", "Shared/*"]
        assert "DELETE" not in server.names()

    def test_another_delimiter_is_shown_as_a_slash(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.on(
            "LIST",
            reply(
                r'* LIST (\HasChildren) "." "INBOX"',
                r'* LIST () "." "INBOX.Lists.a/b"',
                r'* LIST () NIL "Flat.one"',
                r'* LIST (\NoSelect) "." "Container"',
                "{tag} OK done",
            ),
        )
        found = {m.raw: m for m in log_in(server).list_folders()}
        assert found["INBOX.Lists.a/b"].name == "INBOX/Lists/a/b"
        assert (found["Flat.one"].name, found["Flat.one"].delimiter) == ("Flat.one", None)
        assert not found["Container"].selectable

    @pytest.mark.parametrize("name", ['quo"ted', "back\\slash", "in {3}", "NIL", "007"])
    def test_names_that_must_be_quoted(self, scripted: Scripted, log_in: Connect, name: str) -> None:
        server = scripted()
        server.folder(name).add(HELLO)
        connection = log_in(server)
        (found,) = (m for m in connection.list_folders() if m.name == name)
        assert connection.examine(found).exists == 1
        assert connection.status([found])[found.raw].messages == 1  # type: ignore[union-attr]

    def test_special_uses_are_asked_for(self, start_dovecot: Callable[..., Dovecot], log_in: Connect) -> None:
        server = start_dovecot(
            settings="namespace inbox {\n mailbox Spam {\n special_use = \\Junk\n auto = create\n }\n}"
        )
        connection = log_in(server, user=server.new_user().name)
        assert {m.name: m.special for m in connection.list_folders()} == {"INBOX": (), "Spam": ("\\Junk",)}

    def test_special_uses_are_not_asked_for_where_nobody_knows_them(
        self, scripted: Scripted, log_in: Connect
    ) -> None:
        server = scripted()
        server.account.folders["INBOX"].attributes = ("\\Sent",)
        assert [m.special for m in log_in(server).list_folders()] == [("\\Sent",)]
        assert server.commands[-1].arguments == '"" "*"'

    def test_a_name_sent_as_a_literal(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.on("LIST", reply('* LIST (\\Junk) "/" {9}', 'a "b"\\ c)', "{tag} OK done"))
        (found,) = log_in(server).list_folders()
        assert found.raw == 'a "b"\\ c)'
        assert found.special == ("\\Junk",)


def fetched(connection: Connection, *uids: int) -> list[bytes]:
    found = [m.wire for m in connection.fetch(uids) if isinstance(m, Fetched)]
    return [wire for wire in found if isinstance(wire, bytes)]
