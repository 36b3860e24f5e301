"""Bad input: one line that says what, below it what to do, the right exit code, nothing lost."""

from __future__ import annotations

import os
import re
import resource
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.home import PASSWORD, Home, complains, fails
from tests.cli.mails import mail
from tests.servers.dovecot import User
from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, cut, reply, stall
from tests.servers.tls import Authority, Certificate, self_signed

LOGINS = {"LOGIN", "AUTHENTICATE"}
Scripted = Callable[..., ScriptedServer]


@pytest.fixture
def trusting(home: Home, authority: Authority) -> Callable[..., Home]:
    """A home whose account is on an encrypted server."""

    def configure(server: ScriptedServer, security: str = "tls", **more: Any) -> Home:
        ca_file = {} if "fingerprint" in more else {"ca_file": str(authority.ca_file)}
        home.account("work", server.port, security=security, **{**ca_file, **more})
        return home

    return configure


@pytest.fixture
def shown() -> Iterator[Callable[[Certificate], ScriptedServer]]:
    """Start a TLS server that shows the given certificate."""
    with ExitStack() as stack:
        yield lambda certificate: stack.enter_context(ScriptedServer(context=certificate.context()))


class TestConnecting:
    def test_wrong_password(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox, password=PASSWORD)
        fails(home, ["sync"], 1, "work", "refused the login", "check user and password")
        complains(home.run("check", "--connect"), 1, "refused the login")

    def test_a_password_that_cannot_be_had(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox, password={"env": "NO_SUCH_VARIABLE"})
        fails(home, ["sync"], 1, "accounts.work.imap.password", "NO_SUCH_VARIABLE is not set", "export")

    def test_a_password_command_that_prints_and_fails(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox, password={"command": f"echo {PASSWORD[:4]}''{PASSWORD[4:]}; exit 3"})
        fails(home, ["sync"], 1, "exit code 3", "by hand")

    def test_unknown_host(self, home: Home) -> None:
        home.account("work", 993, host="nowhere.invalid", security="tls")
        fails(home, ["sync"], 75, "unknown host", "nowhere.invalid", "check the name")

    def test_nobody_listens(self, home: Home) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            home.account("work", listener.getsockname()[1])
        fails(home, ["sync"], 75, "refuses connections", "check host and port")

    def test_expired_certificate(
        self, trusting: Callable[..., Home], shown: Callable[..., ScriptedServer], authority: Authority
    ) -> None:
        server = shown(authority.expired())
        fails(trusting(server), ["sync"], 1, "certificate has expired")
        assert server.names() == []

    def test_self_signed_certificate(
        self, home: Home, shown: Callable[..., ScriptedServer], tmp_path: Path
    ) -> None:
        server = shown(self_signed(tmp_path))
        home.account("work", server.port, security="tls")
        fails(home, ["sync"], 1, "self-signed certificate", "ca_file or fingerprint")
        assert server.names() == []

    def test_certificate_of_another_name(
        self, trusting: Callable[..., Home], shown: Callable[..., ScriptedServer], authority: Authority
    ) -> None:
        server = shown(authority.server("mail.example.org"))
        fails(trusting(server), ["sync"], 1, "certificate", "not valid for")

    def test_another_fingerprint(
        self, trusting: Callable[..., Home], shown: Callable[..., ScriptedServer], certificate: Certificate
    ) -> None:
        server = shown(certificate)
        home = trusting(server, fingerprint="ab" * 32)
        fails(home, ["sync"], 1, "fingerprint", certificate.fingerprint)
        assert not LOGINS & set(server.names())

    def test_starttls_not_offered(self, trusting: Callable[..., Home], scripted: Scripted) -> None:
        server = scripted("none")
        fails(trusting(server, "starttls"), ["sync"], 1, "does not offer STARTTLS", "security: tls")
        assert not LOGINS & set(server.names())

    def test_tls_on_a_port_that_speaks_plain(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox, security="tls")
        fails(home, ["sync"], 1, "no encrypted connection", "check port and security")

    def test_nobody_takes_the_connection(self, home: Home) -> None:
        """A full queue of connections: the server's machine is there, and the server hangs."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
            address = listener.getsockname()
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
            home.account("work", address[1], connect_timeout="0.3s")
            complains(home.call("sync"), 75, "work", "try again")

    @pytest.mark.parametrize("command", ["GREETING", "LOGIN", "LIST", "EXAMINE", "UID FETCH"])
    def test_a_server_that_falls_silent(self, home: Home, scripted: Scripted, command: str) -> None:
        server = scripted()
        server.folder().add(mail("Late"))
        server.on(command, stall(), times=2)
        home.account("work", server.port, connect_timeout="0.3s", read_timeout="0.3s")
        patience = "connect_timeout" if command == "GREETING" else "read_timeout"
        fails(home, ["sync"], 75, "fell silent", patience)
        home.good("sync")
        assert home.good("search", "late", "--format", "keys").lines()

    def test_one_account_of_two(self, home: Home, mailbox: User) -> None:
        mailbox.save(mail("Arrived"))
        home.mailbox(mailbox)
        home.account("other", mailbox.server.port, "nobody", password=PASSWORD)
        result = home.call("sync")
        assert result.code == 3
        said = [line for line in result.err.splitlines() if line.startswith("archiver: ")]
        assert len(said) == 2 and "other" in said[0] and "refused the login" in said[0]
        assert said[1] == "archiver: 1 of 2 accounts could not be pulled"
        assert home.good("search", "arrived", "--format", "keys").lines()


class TestPulling:
    @pytest.mark.parametrize("at", [40, 2_000, 30_000])
    def test_the_line_drops_in_the_middle_of_a_literal(self, home: Home, scripted: Scripted, at: int) -> None:
        server = scripted()
        for number in range(5):
            server.folder().add(mail(f"Number {number}", "text\n" * 2000))
        server.on("UID FETCH", cut(after=at), times=1, when=whole_messages)
        home.account("work", server.port)
        complains(home.call("sync"), 75, "work/INBOX", "connection")
        home.good("sync")
        assert home.good("verify", "--json").json()["found"]["places"] == 5

    def test_a_message_the_server_does_not_hand_out(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        for number in (1, 2, 3):
            server.folder().add(mail(f"Number {number}"))
        server.on(
            "UID FETCH", reply("{tag} NO broken"), when=lambda c: whole_messages(c) and "2" in c.text(0)
        )
        server.on(
            "UID FETCH", reply("{tag} NO broken"), when=lambda c: c.arguments.startswith("1:3 "), times=1
        )
        home.account("work", server.port)
        complains(home.call("sync"), 3, "not everything came home: work", "archiver status")
        assert len(home.good("search", "number", "--format", "keys").lines()) == 2
        assert "1 message the server did not hand out" in home.good("status").out

    def test_no_space_left(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        for number, lines in enumerate((10, 10, 90_000, 10)):
            server.folder().add(mail(f"Number {number}", "text\n" * lines))
        home.account("work", server.port)
        result = home.run("sync", preexec_fn=lambda: limit_files(200_000))
        complains(result, 75, "File too large", "make room")
        home.good("sync")
        assert home.good("verify", "--json").json()["found"]["places"] == 4
        assert not [path for path in home.root.rglob("tmp/*") if path.is_file()]

    @pytest.mark.parametrize("size", [0, 10_000, 60_000])
    def test_no_space_for_the_ledger_or_the_index(self, home: Home, scripted: Scripted, size: int) -> None:
        server = scripted()
        for number in range(30):
            server.folder().add(mail(f"Number {number}", "different words every time " * number))
        home.account("work", server.port)
        result = home.run("sync", preexec_fn=lambda: limit_files(size))
        complains(result, 75, "make room")
        home.good("sync")
        assert home.good("verify", "--json").json()["found"]["indexed"] == 30

    def test_a_folder_that_does_not_exist(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox)
        fails(home, ["sync", "--folder", "Nowhere"], 2, "work: no folder like Nowhere", "check --connect")

    def test_an_account_that_does_not_exist(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox)
        fails(home, ["sync", "wrok"], 2, "no account wrok", "accounts in the configuration: work")

    def test_no_account_at_all(self, home: Home) -> None:
        fails(home, ["sync"], 2, "no account in the configuration", "accounts:")


def whole_messages(command: Command) -> bool:
    return "BODY.PEEK[]" in command.arguments


def limit_files(size: int) -> None:
    """Let no file of this process grow beyond `size` bytes: the disk is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class TestArchive:
    def test_a_file_in_the_way_of_the_root(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox)
        home.root.write_text("mine")
        for verb in ("sync", "status", "outbox"):
            fails(home, [verb], 1, str(home.root), "Not a directory")
        assert home.root.read_text() == "mine"

    def test_a_root_that_cannot_be_made(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox)
        # Nobody makes directories there, root neither.
        home.settings["archive"] = "/sys/archive"
        home.write()
        fails(home, ["sync"], 1, "/sys/archive", "permissions")

    def test_ledger_deleted(self, own_library: Home) -> None:
        before = own_library.good("search", "invoice", "--json").json()
        for path in own_library.root.glob("ledger.sqlite3*"):
            path.unlink()
        result = own_library.good("search", "invoice", "--json")
        assert "the ledger is missing: rebuilding it from the mail" in result.err
        assert result.json()["hits"] == before["hits"]
        assert "rebuilding" not in own_library.good("sync").err
        own_library.good("verify")

    @pytest.mark.parametrize("content", [b"this is no database\n" * 100, os.urandom(5000)])
    def test_ledger_not_a_database(self, own_library: Home, content: bytes) -> None:
        for path in own_library.root.glob("ledger.sqlite3*"):
            path.unlink()
        ledger = own_library.root / "ledger.sqlite3"
        ledger.write_bytes(content)
        for arguments in (["search", "invoice"], ["status"], ["sync"]):
            fails(own_library, arguments, 1, str(ledger), "move it away; the next sync rebuilds it")
        assert ledger.read_bytes() == content
        ledger.rename(own_library.path / "moved-away")
        own_library.good("sync")
        own_library.good("verify")

    def test_ledger_of_a_later_version(self, own_library: Home) -> None:
        with closing(sqlite3.connect(own_library.root / "ledger.sqlite3")) as database:
            database.execute("PRAGMA user_version = 99")
        fails(own_library, ["search", "invoice"], 1, "format 99", "move it away")

    def test_user_database_not_a_database(self, own_library: Home) -> None:
        path = own_library.root / "user.sqlite3"
        path.write_bytes(b"this is no database\n" * 100)
        fails(own_library, ["outbox"], 1, str(path), "from a backup")
        assert path.read_bytes() == b"this is no database\n" * 100


def truncate(index: Path) -> None:
    for path in index.glob("*.seg"):
        os.truncate(path, path.stat().st_size // 2)


def lose(index: Path) -> None:
    for path in index.glob("*.seg"):
        path.unlink()


def age(index: Path) -> None:
    for path in index.glob("archiver-*.json"):
        path.write_bytes(re.sub(rb'"format":\d+', b'"format":0', path.read_bytes()))


def scribble(index: Path) -> None:
    for path in index.glob("archiver-*.json"):
        path.write_bytes(b"{")


def open_up(index: Path) -> None:
    index.chmod(0o777)


class TestIndex:
    @pytest.mark.parametrize("damage", [truncate, lose, age, scribble])
    def test_damaged_or_of_another_version(self, own_library: Home, damage: Callable[[Path], None]) -> None:
        damage(own_library.root / "index")
        fails(own_library, ["search", "invoice"], 1, "index", "run `archiver sync`")
        result = own_library.good("sync")
        assert "the index was brought in line with the mail: " in result.err
        assert "indexed 33 messages" in result.out
        assert len(own_library.good("search", "invoice", "--format", "keys").lines()) == 1
        own_library.good("verify")

    @pytest.mark.parametrize("damage", [truncate, lose, age, scribble])
    def test_reindex_mends_it_too(self, own_library: Home, damage: Callable[[Path], None]) -> None:
        damage(own_library.root / "index")
        assert own_library.good("reindex").out == "indexed 33 messages\n"
        own_library.good("verify")

    def test_writable_by_others(self, own_library: Home) -> None:
        open_up(own_library.root / "index")
        fails(own_library, ["search", "invoice"], 1, "may have been written by somebody else", "delete it")

    def test_deleted(self, own_library: Home) -> None:
        for path in (own_library.root / "index").iterdir():
            path.unlink()
        result = own_library.good("search", "invoice")
        assert "33 messages not indexed yet: archiver sync or reindex does it" in result.err
        own_library.good("reindex")
        assert own_library.good("search", "invoice", "--format", "keys").lines()

    def test_status_works_all_the_same(self, own_library: Home) -> None:
        truncate(own_library.root / "index")
        assert own_library.good("status", "--json").json()["pending"] == 33


class TestConfiguration:
    def test_missing(self, home: Home) -> None:
        home.config.unlink()
        fails(home, ["status"], 2, f"cannot read {home.config}", "No such file", "--config")

    def test_nowhere(self, home: Home) -> None:
        home.config.unlink()
        result = home.run("status", bare=True, env={"XDG_CONFIG_HOME": str(home.path / "xdg")})
        complains(result, 2, "neither ./config.yaml nor", "xdg/archiver/config.yaml", "docs/configuration.md")

    def test_found_here_or_by_its_variable(self, home: Home) -> None:
        home.make_archive()
        assert home.run("status", bare=True).code == 0
        elsewhere = home.config.rename(home.path / "elsewhere.yaml")
        complains(home.run("status", bare=True), 2, "no configuration")
        assert home.run("status", bare=True, env={"ARCHIVER_CONFIG": str(elsewhere)}).code == 0

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("archive: [\n", 2, "is not YAML"),
            ("archive: a\n\taccounts: {}\n", 2, "is not YAML"),
            ("just text\n", 1, "expected a mapping"),
            ("", 1, "archive is missing"),
            ("archive: 3\n", 1, "expected text"),
            ("archive: a\naccounts: [work]\n", 2, "expected a mapping"),
            ("archive: a\nacounts: {}\n", 2, "did you mean accounts?"),
            ("archive: a\nindex:\n  workers: many\n", 3, "expected a whole number"),
        ],
    )
    def test_what_is_wrong_and_where(self, home: Home, text: str, line: int, words: str) -> None:
        home.write(text)
        fails(home, ["search", "x"], 2, f"{home.config}:{line}: ", words)

    def test_all_problems_at_once(self, home: Home) -> None:
        home.write(
            "archive: a\naccounts:\n  work:\n    imap:\n      host: imap.example.org\n      pasword: "
            f"{PASSWORD}\n      user: me\n      port: {PASSWORD}\n      security: ssl\n    schedule: often\n"
        )
        result = fails(home, ["check"], 2, "did you mean password?", "expected one of tls, starttls, none")
        where = [line.split(": ")[0].strip() for line in result.err.splitlines()[1:-1]]
        assert where == [f"{home.config}:{line}" for line in (4, 6, 8, 9, 10)]

    def test_not_text(self, home: Home) -> None:
        home.config.write_bytes(b"archive: \xff\xfe\n")
        fails(home, ["status"], 2, "is not UTF-8 text (byte 9)")

    def test_a_directory(self, home: Home) -> None:
        home.config.unlink()
        home.config.mkdir()
        fails(home, ["status"], 2, "Is a directory")

    def test_a_password_others_can_read_is_a_warning(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox)
        home.config.chmod(0o644)
        result = home.good("check")
        assert result.err.startswith("warning: ") and "chmod 600" in result.err
        assert mailbox.password not in result.err


class TestIds:
    @pytest.mark.parametrize("verb", ["show", "attachments"])
    def test_of_no_message(self, library: Home, verb: str) -> None:
        fails(library, [verb, "00000000"], 2, "no message has the id 00000000", "archiver search")

    @pytest.mark.parametrize("text", ["xyz", "123", "../..", "1" * 65, "", "１２３４"])
    def test_that_are_none(self, library: Home, text: str) -> None:
        fails(library, ["show", text], 2, "is no id", "first column")

    def test_of_several_messages(self, home: Home, scripted: Scripted) -> None:
        first, second, digits = alike()
        server = scripted()
        server.folder().add(first)
        server.folder().add(second)
        home.account("work", server.port)
        home.good("sync")
        fails(home, ["show", digits], 2, f"several messages have the id {digits}", "more digits")
        home.good("show", digits.upper() + home.good("search", "alike", "--format", "keys").out[4:9])


def alike() -> tuple[bytes, bytes, str]:
    """Two messages whose keys begin with the same four digits."""
    from hashlib import sha256

    seen: dict[str, bytes] = {}
    for number in range(5000):
        raw = mail(f"Alike {number}")
        digits = sha256(raw).hexdigest()[:4]
        if digits in seen:
            return seen[digits], raw, digits
        seen[digits] = raw
    raise AssertionError


class TestQueries:
    @pytest.mark.parametrize(
        ("query", "caret", "words"),
        [
            ("", 0, "the query is empty"),
            ("(open", 0, "never closed"),
            ("closed)", 6, "never opened"),
            ('say "hello', 4, "quotation mark"),
            ("form:alice", 0, "did you mean from:?"),
            ("invoice AND", 8, "nothing follows AND"),
            ("a before:2024-13-01 b", 9, "2024-13-01"),
            ("larger:big", 7, "as in larger:5M"),
            ("is:unraed", 3, "did you mean unread?"),
            ("發票 会议 form:x", 10, "did you mean from:?"),
            ("ｆｕｌｌ form:x", 9, "did you mean from:?"),
            ("e\u0301te\u0301 form:x", 4, "did you mean from:?"),
            ("한국어 (x", 7, "never closed"),
        ],
    )
    def test_a_caret_stands_below_the_mistake(
        self, library: Home, query: str, caret: int, words: str
    ) -> None:
        result = fails(library, ["search", "--", query], 2, words)
        assert result.err.splitlines()[1:3] == [f"  {query}", "  " + " " * caret + "^"]
        assert result.out == ""

    def test_in_a_long_query_it_still_does(self, library: Home) -> None:
        query = "wörter " * 50 + "form:x" + " more" * 50
        shown, caret = fails(library, ["search", query], 2, "did you mean from:?").err.splitlines()[1:3]
        assert len(shown) <= 78 and shown[caret.index("^") :].startswith("form:x")

    def test_that_would_steer_the_terminal(self, library: Home) -> None:
        shown, caret = fails(library, ["search", "\x1b[31mred\x07\u202e form:x"], 2).err.splitlines()[1:3]
        assert shown[caret.index("^") :] == "form:x"

    def test_too_long_or_too_deep(self, library: Home) -> None:
        fails(library, ["search", "x" * 20_000], 2, "longer than")
        fails(library, ["search", "(" * 200 + "x" + ")" * 200], 2, "levels")
