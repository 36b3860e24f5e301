"""The tests' own servers do what the tests believe of them."""

from __future__ import annotations

import contextlib
import imaplib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

from tests.cli.home import until
from tests.servers import dovecot as dovecots
from tests.servers.cyrus import Cyrus
from tests.servers.cyrus import User as CyrusUser
from tests.servers.dovecot import Dovecot, RefusedError, User
from tests.servers.proxy import Proxy
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import ScriptedServer, before, bye, cut, edit, late, reply, stall
from tests.servers.tls import Authority

HELLO = b"From: a@example.org\r\nSubject: hello\r\n\r\nHello\r\n"
NOON = datetime(2021, 3, 4, 12, 0, 5, tzinfo=UTC)

Client = Callable[..., IMAPClient]
Scripted = Callable[..., ScriptedServer]


@pytest.fixture
def connect() -> Iterator[Client]:
    """Connect and log in: `connect(port, user="user", context=...)`; closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(
            port: int, user: str | None = "user", context: ssl.SSLContext | None = None
        ) -> IMAPClient:
            client = IMAPClient("127.0.0.1", port, ssl=bool(context), ssl_context=context, timeout=10)
            client.normalise_times = False
            stack.callback(hang_up, client)
            if user:
                client.login(user, "secret")
            return client

        yield connect


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.ca_file)


def hang_up(client: IMAPClient) -> None:
    with contextlib.suppress(OSError):
        client.shutdown()


def nobody_listens(port: int) -> bool:
    """Whether the port is free; found without connecting, which keeps a Cyrus that is ending from its end."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class TestDovecot:
    def test_delivers_over_tls_what_was_saved(
        self, mailbox: User, trust: ssl.SSLContext, connect: Client
    ) -> None:
        uid = mailbox.save(HELLO, date=NOON, flags=["\\Seen", "$Label1"])
        client = connect(mailbox.server.tls_port, mailbox.name, trust)
        client.select_folder("INBOX", readonly=True)
        (found,) = client.fetch([uid], ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"]).values()
        assert found[b"BODY[]"] == HELLO
        assert found[b"INTERNALDATE"] == NOON
        assert set(found[b"FLAGS"]) - {b"\\Recent"} == {b"\\Seen", b"$Label1"}

    def test_speaks_starttls(self, mailbox: User, trust: ssl.SSLContext, connect: Client) -> None:
        client = connect(mailbox.server.port, None)
        client.starttls(trust)
        client.login(mailbox.name, "secret")
        assert client.has_capability("CONDSTORE")

    def test_refuses_a_wrong_password(self, mailbox: User, connect: Client) -> None:
        with pytest.raises(LoginError):
            connect(mailbox.server.port, None).login(mailbox.name, "wrong")

    def test_gives_each_test_a_user_of_its_own(self, dovecot: Dovecot, mailbox: User) -> None:
        mailbox.save(HELLO)
        assert dovecot.new_user().uids() == []

    def test_flags_moves_copies_and_expunges(self, mailbox: User) -> None:
        for _ in range(4):
            mailbox.save(HELLO)
        mailbox.create("Archive")
        mailbox.move("INBOX", "1", "Archive")
        mailbox.copy("INBOX", "2", "Archive")
        mailbox.expunge("INBOX", "3")
        mailbox.add_flags("INBOX", "2,4", "\\Seen")
        mailbox.remove_flags("INBOX", "2", "\\Seen")
        assert mailbox.uids() == [2, 4]
        assert mailbox.uids("Archive") == [1, 2]
        assert mailbox.status()["unseen"] == 1

    def test_makes_renames_and_deletes_folders(self, mailbox: User) -> None:
        mailbox.create("Entwürfe & mehr/日本.2024", "Old")
        mailbox.save(HELLO, "Entwürfe & mehr/日本.2024")
        mailbox.rename("Entwürfe & mehr", "下書き")
        mailbox.delete("Old")
        assert mailbox.uids("下書き/日本.2024") == [1]
        assert set(mailbox.folders()) == {"INBOX", "下書き", "下書き/日本.2024"}

    def test_changes_uidvalidity_keeping_the_uids(self, mailbox: User) -> None:
        mailbox.save(HELLO)
        mailbox.set_uidvalidity("INBOX", 4711)
        assert mailbox.status()["uidvalidity"] == 4711
        assert mailbox.uids() == [1]

    def test_renumbers_keeping_uidvalidity(self, mailbox: User) -> None:
        for _ in range(2):
            mailbox.save(HELLO)
        was = mailbox.status()["uidvalidity"]
        mailbox.renumber()
        assert mailbox.uids() == [3, 4]
        assert mailbox.status()["uidvalidity"] == was

    def test_imports_a_maildir_with_dates_and_flags(self, mailbox: User, connect: Client) -> None:
        source = mailbox.server.directory / f"import-{mailbox.name}"
        for name in ("cur", "new", "tmp"):
            (source / name).mkdir(parents=True)
        (source / "cur" / "1:2,FS").write_bytes(HELLO)
        os.utime(source / "cur" / "1:2,FS", (NOON.timestamp(), NOON.timestamp()))
        mailbox.import_maildir(source)
        client = connect(mailbox.server.port, mailbox.name)
        client.select_folder("INBOX", readonly=True)
        (found,) = client.fetch([1], ["FLAGS", "INTERNALDATE"]).values()
        assert found[b"INTERNALDATE"] == NOON
        assert set(found[b"FLAGS"]) - {b"\\Recent"} == {b"\\Flagged", b"\\Seen"}

    def test_kicks_a_session(self, mailbox: User, connect: Client) -> None:
        client = connect(mailbox.server.port, mailbox.name)
        with pytest.raises((IMAPClientError, OSError)):
            for _ in range(100):
                mailbox.kick()  # which finds nobody as long as the server has not noted who came
                client.noop()

    def test_can_be_over_quota(self, dovecot: Dovecot) -> None:
        small = dovecot.new_user(fields="userdb_quota_rule=*:storage=20K")
        with pytest.raises(RefusedError, match="OVERQUOTA"):
            small.save(HELLO + b"x" * 30_000)

    def test_can_refuse_and_delay_logins(self, dovecot: Dovecot, connect: Client) -> None:
        closed = dovecot.new_user(fields="nologin=y reason=Closed")
        with pytest.raises(LoginError, match="Closed"):
            connect(dovecot.port, closed.name)
        slow = dovecot.new_user(fields=f"delay_until={int(time.time()) + 2}")
        started = time.monotonic()
        connect(dovecot.port, slow.name)
        assert time.monotonic() - started > 0.5

    def test_hides_capabilities(self, start_dovecot: Callable[..., Dovecot], connect: Client) -> None:
        server = start_dovecot(capability="IMAP4rev1 IDLE")
        client = connect(server.port, server.new_user().name)
        assert set(client.capabilities()) == {b"IMAP4REV1", b"IDLE"}

    def test_stops_at_once_with_a_session_open(
        self, start_dovecot: Callable[..., Dovecot], connect: Client
    ) -> None:
        server = start_dovecot()
        client = connect(server.port, server.new_user().name)
        server.stop()
        with pytest.raises((IMAPClientError, OSError)):
            client.noop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
        assert not server.directory.exists()

    def test_dies_with_the_process_that_started_it(self, dovecot: Dovecot, tmp_path: Path) -> None:
        program = (
            "from tests.servers import dovecot; import os, signal\n"
            "server = dovecot.start(); print(server.directory, server.port, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert child.returncode == -signal.SIGKILL, child.stderr
        directory, port = child.stdout.split()
        dovecots.remove(Path(directory))
        until(lambda: nobody_listens(int(port)))


class TestCyrus:
    def test_delivers_over_tls_what_was_saved(
        self, cyrus_mailbox: CyrusUser, trust: ssl.SSLContext, connect: Client
    ) -> None:
        uid = cyrus_mailbox.save(HELLO, date=NOON, flags=["\\Seen", "$Label1"])
        client = connect(cyrus_mailbox.server.tls_port, cyrus_mailbox.name, trust)
        client.select_folder("INBOX", readonly=True)
        (found,) = client.fetch([uid], ["FLAGS", "INTERNALDATE", "EMAILID", "BODY.PEEK[]"]).values()
        assert found[b"BODY[]"] == HELLO
        assert found[b"INTERNALDATE"] == NOON
        assert set(found[b"FLAGS"]) - {b"\\Recent"} == {b"\\Seen", b"$Label1"}
        assert found[b"EMAILID"]

    def test_speaks_starttls_and_has_no_notify(
        self, cyrus_mailbox: CyrusUser, trust: ssl.SSLContext, connect: Client
    ) -> None:
        client = connect(cyrus_mailbox.server.port, None)
        client.starttls(trust)
        client.login(cyrus_mailbox.name, "secret")
        assert client.has_capability("OBJECTID") and client.has_capability("IDLE")
        assert not client.has_capability("NOTIFY")

    def test_refuses_a_wrong_password_at_once(self, cyrus_mailbox: CyrusUser, connect: Client) -> None:
        started = time.monotonic()
        with pytest.raises(LoginError):
            connect(cyrus_mailbox.server.port, None).login(cyrus_mailbox.name, "wrong")
        assert time.monotonic() - started < 1

    def test_gives_each_test_a_user_of_its_own(self, cyrus: Cyrus, cyrus_mailbox: CyrusUser) -> None:
        cyrus_mailbox.save(HELLO)
        assert cyrus.new_user().uids() == []

    def test_flags_moves_and_expunges(self, cyrus_mailbox: CyrusUser) -> None:
        for _ in range(4):
            cyrus_mailbox.save(HELLO)
        cyrus_mailbox.create("Archive")
        cyrus_mailbox.move("INBOX", "1", "Archive")
        cyrus_mailbox.expunge("INBOX", "3")
        cyrus_mailbox.add_flags("INBOX", "2,4", "\\Seen")
        cyrus_mailbox.remove_flags("INBOX", "2", "\\Seen")
        assert cyrus_mailbox.uids() == [2, 4]
        assert cyrus_mailbox.uids("Archive") == [1]
        assert cyrus_mailbox.status()["unseen"] == 1

    def test_makes_renames_and_deletes_folders(self, cyrus_mailbox: CyrusUser) -> None:
        cyrus_mailbox.create("Entwürfe & mehr", "Entwürfe & mehr/日本", "Old")
        cyrus_mailbox.save(HELLO, "Entwürfe & mehr/日本")
        cyrus_mailbox.rename("Entwürfe & mehr", "下書き")
        cyrus_mailbox.delete("Old")
        assert cyrus_mailbox.uids("下書き/日本") == [1]
        assert len(cyrus_mailbox.folders()) == 3

    def test_a_folder_made_again_has_another_uidvalidity(self, cyrus_mailbox: CyrusUser) -> None:
        cyrus_mailbox.create("Work")
        before = cyrus_mailbox.status("Work")["uidvalidity"]
        cyrus_mailbox.delete("Work")
        cyrus_mailbox.create("Work")
        assert cyrus_mailbox.status("Work")["uidvalidity"] > before

    def test_refuses_what_is_no_message(self, cyrus_mailbox: CyrusUser) -> None:
        with pytest.raises(RefusedError, match="NUL"):
            cyrus_mailbox.save(b"Subject: x\r\n\r\n\0\r\n")

    def test_dies_with_the_process_that_started_it(self, cyrus: Cyrus) -> None:
        program = (
            "from tests.servers import cyrus; from tests.servers.tls import Certificate\n"
            "import os, pathlib, signal, sys\n"
            "server = cyrus.start(Certificate(*map(pathlib.Path, sys.argv[1:]), ''))\n"
            "print(server.directory, server.port, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        paths = map(str, (cyrus.certificate.certificate, cyrus.certificate.key))
        arguments = [sys.executable, "-c", program, *paths]
        child = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert child.returncode == -signal.SIGKILL, child.stderr
        directory, port = child.stdout.split()
        until(lambda: nobody_listens(int(port)))
        dovecots.remove(Path(directory))


class TestPymap:
    def test_holds_what_it_was_given(self, start_pymap: Callable[..., Pymap], connect: Client) -> None:
        server = start_pymap({"INBOX": [Mail(HELLO, ["\\Seen"], NOON)], "Listen/日本": [Mail(HELLO)] * 3})
        client = connect(server.port)
        assert "Listen/日本" in [name for _, _, name in client.list_folders()]
        assert client.select_folder("Listen/日本", readonly=True)[b"EXISTS"] == 3
        client.select_folder("INBOX", readonly=True)
        (found,) = client.fetch([101], ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"]).values()
        assert found[b"BODY[]"] == HELLO
        assert found[b"INTERNALDATE"] == NOON
        assert b"\\Seen" in found[b"FLAGS"]

    def test_speaks_tls_and_takes_new_mail(
        self, start_pymap: Callable[..., Pymap], trust: ssl.SSLContext, connect: Client
    ) -> None:
        server = start_pymap({}, encrypted=True)
        client = connect(server.port, context=trust)
        server.append("INBOX", Mail(HELLO))
        server.set_uidvalidity("INBOX", 4711)
        chosen = client.select_folder("INBOX")
        assert (chosen[b"EXISTS"], chosen[b"UIDVALIDITY"]) == (1, 4711)


class TestScripted:
    def test_is_an_honest_mailbox(self, scripted: Scripted, connect: Client) -> None:
        server = scripted()
        server.folder().add(HELLO, flags=["\\Seen"], date=NOON, extra={"X-GM-MSGID": "12"})
        server.folder().add(HELLO, uid=7)
        server.folder('Entwürfe "2"')
        client = connect(server.port)
        assert [name for _, _, name in client.list_folders()] == ["INBOX", 'Entwürfe "2"']
        assert client.folder_status("INBOX", ["MESSAGES", "UIDNEXT"]) == {b"MESSAGES": 2, b"UIDNEXT": 8}
        assert client.select_folder("INBOX", readonly=True)[b"UIDVALIDITY"] == 1
        assert client.search(["UID", "2:*"]) == [7]
        found = client.fetch([1], ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "X-GM-MSGID", "BODY.PEEK[]"])[1]
        assert (found[b"BODY[]"], found[b"RFC822.SIZE"], found[b"X-GM-MSGID"]) == (HELLO, len(HELLO), 12)
        assert (found[b"INTERNALDATE"], found[b"FLAGS"]) == (NOON, (b"\\Seen",))
        assert client.fetch([7], ["BODY.PEEK[]<6.15>"])[7][b"BODY[]<6>"] == b"a@example.org\r\n"
        client.logout()
        assert server.names()[-2:] == ["UID FETCH", "LOGOUT"]
        assert server.commands[-2].words() == ["7", ["BODY.PEEK[]<6.15>"]]

    def test_does_not_mark_as_seen_when_examined(self, scripted: Scripted, connect: Client) -> None:
        server = scripted()
        mail = server.folder().add(HELLO)
        client = connect(server.port)
        for readonly in (True, False):
            client.select_folder("INBOX", readonly=readonly)
            client.fetch([1], ["BODY[]"])
            assert ("\\Seen" in mail.flags) is not readonly

    @pytest.mark.parametrize("security", ["tls", "starttls"])
    def test_encrypts(
        self, scripted: Scripted, trust: ssl.SSLContext, connect: Client, security: str
    ) -> None:
        server = scripted(security)
        client = connect(server.port, None, trust if security == "tls" else None)
        if security == "starttls":
            client.starttls(trust)
        client.login("user", "secret")
        assert server.commands[-1].encrypted

    def test_refuses_wrong_passwords_and_commands_out_of_order(
        self, scripted: Scripted, connect: Client
    ) -> None:
        client = connect(scripted().port, None)
        with pytest.raises(LoginError, match="AUTHENTICATIONFAILED"):
            client.login("user", "wrong")
        with pytest.raises((IMAPClientError, imaplib.IMAP4.error)):
            client.list_folders()

    def test_reads_literals(self, scripted: Scripted) -> None:
        server = scripted()
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
            raw.makefile("rb") as lines,
        ):
            lines.readline()
            raw.sendall(b"1 LOGIN {4}\r\n")
            assert lines.readline().startswith(b"+ ")
            raw.sendall(b"user {6+}\r\nsecret\r\n")
            assert lines.readline().startswith(b"1 OK")
        assert server.commands[0].words() == ["user", "secret"]

    def test_answers_as_it_was_told_as_often_as_told(self, scripted: Scripted, connect: Client) -> None:
        server = scripted()
        server.on("EXAMINE", reply("{tag} NO [ALERT] Unsafe Login"), times=1)
        client = connect(server.port)
        with pytest.raises(IMAPClientError, match="Unsafe Login"):
            client.select_folder("INBOX", readonly=True)
        assert client.select_folder("INBOX", readonly=True)[b"EXISTS"] == 0

    def test_lies_where_the_condition_holds(self, scripted: Scripted, connect: Client) -> None:
        server = scripted()
        server.folder().add(HELLO)
        server.on("UID FETCH", reply("{tag} OK done"), when=lambda command: "BODY" in command.arguments)
        server.on("UID FETCH", before("* 2 EXISTS", "* 1 FETCH (FLAGS (\\Answered))"))
        server.on("CAPABILITY", edit(lambda answer: answer.replace(b"ID", b"XLIE")))
        client = connect(server.port)
        client.select_folder("INBOX", readonly=True)
        assert client.fetch([1], ["BODY.PEEK[]"]) == {}
        assert client.fetch([1], ["RFC822.SIZE"])[1][b"RFC822.SIZE"] == len(HELLO)
        assert b"XLIE" in client._imap.capability()[1][0].split()

    def test_drops_the_line_inside_a_literal(self, scripted: Scripted) -> None:
        server = scripted()
        server.folder().add(HELLO)
        server.on("UID FETCH", cut(after=60))
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
            raw.makefile("rb") as lines,
        ):
            raw.sendall(b"1 LOGIN user secret\r\n2 EXAMINE INBOX\r\n3 UID FETCH 1 BODY.PEEK[]\r\n")
            received = lines.read()
        part = received.partition(b"* 1 FETCH")
        assert len(part[1] + part[2]) == 60
        assert b"{%d}\r\n" % len(HELLO) in part[2]
        assert not received.endswith(HELLO[-10:])

    def test_falls_silent(self, scripted: Scripted) -> None:
        server = scripted()
        server.on("NOOP", stall(after=3))
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as raw,
            raw.makefile("rb") as lines,
        ):
            lines.readline()
            raw.sendall(b"1 NOOP\r\n")
            with pytest.raises(TimeoutError):
                lines.readline()
        assert server.names() == ["NOOP"]

    def test_says_bye_and_greets_as_told(self, scripted: Scripted, connect: Client) -> None:
        server = scripted()
        server.on("GREETING", bye("* BYE [THROTTLED] too many connections"), times=1)
        with pytest.raises(imaplib.IMAP4.error, match="THROTTLED"):
            connect(server.port)
        server.on("GREETING", reply("* PREAUTH welcome"))
        assert connect(server.port, None).folder_exists("INBOX")

    def test_answers_late(self, scripted: Scripted, connect: Client) -> None:
        server = scripted()
        server.on("NOOP", late(0.1))
        client = connect(server.port)
        started = time.monotonic()
        client.noop()
        assert time.monotonic() - started >= 0.1


class TestProxy:
    def test_delays_each_way_and_counts(
        self, scripted: Scripted, start_proxy: Callable[..., Proxy], connect: Client
    ) -> None:
        server = scripted()
        proxy = start_proxy(("127.0.0.1", server.port), delay=0.03)
        client = connect(proxy.port)
        trips, started = proxy.round_trips, time.monotonic()
        for _ in range(3):
            client.noop()
        assert 0.18 <= time.monotonic() - started < 1
        assert proxy.round_trips - trips == 3

    def test_shares_its_rate_among_connections(
        self, scripted: Scripted, start_proxy: Callable[..., Proxy], connect: Client
    ) -> None:
        server = scripted()
        server.folder().add(HELLO + b"x" * 100_000)
        proxy = start_proxy(("127.0.0.1", server.port), rate=1_000_000)
        clients = [connect(proxy.port) for _ in range(2)]
        for client in clients:
            client.select_folder("INBOX", readonly=True)
        started = time.monotonic()
        for client in clients:
            client._imap.send(b"x UID FETCH 1 BODY.PEEK[]\r\n")
        for client in clients:
            while not client._imap.readline().startswith(b"x OK"):
                pass
        assert 0.19 <= time.monotonic() - started < 1
        assert proxy.bytes_down > 200_000 > proxy.bytes_up

    def test_passes_on_the_end_of_a_connection(
        self, scripted: Scripted, start_proxy: Callable[..., Proxy], connect: Client
    ) -> None:
        server = scripted()
        proxy = start_proxy(("127.0.0.1", server.port))
        connect(proxy.port).logout()
        client = connect(proxy.port)
        proxy.cut()
        with pytest.raises((IMAPClientError, OSError)):
            client.noop()
