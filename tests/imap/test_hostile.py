"""Servers that never end: each is given up with an error that says why, after a bounded amount of memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.errors import ConnectionLostError, FolderError, ProtocolError, ServerError, TlsError
from archiver.imap import Connection, Fetched, Mailbox, Spooled, exchange, fetch, wire
from archiver.store.spool import spool
from tests.cli.conftest import home, pycache
from tests.cli.home import Home, Result, complains
from tests.imap.conftest import Connect
from tests.servers.honest import Command
from tests.servers.idling import Idling
from tests.servers.scripted import Action, HangUpError, ScriptedServer, Session, edit, endless, reply

__all__ = ["home", "pycache"]

Scripted = Callable[..., ScriptedServer]
INBOX = Mailbox("INBOX", "INBOX", "/")
MAIL = b"Subject: hello\r\n\r\nhello\r\n"
KIB, MIB = 1 << 10, 1 << 20


def lines(text: str) -> Callable[[int], bytes]:
    """Blocks of a thousand lines, `{}` in them the line's number."""
    line = f"{text}\r\n"
    if "{" not in text:
        block = line.encode() * 1000
        return lambda number: block
    return lambda number: "".join(map(line.format, range(number * 1000 + 1, number * 1000 + 1001))).encode()


def letters(number: int) -> bytes:
    return b"x" * (64 * KIB)


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    made = scripted()
    made.folder().add(MAIL)
    return made


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are soon reached."""
    monkeypatch.setattr(exchange, "_MOST_LINES", 2000)
    monkeypatch.setattr(exchange, "_MOST_BYTES", MIB)
    monkeypatch.setattr(fetch, "_MOST_HELD", MIB)
    monkeypatch.setattr(fetch, "_MOST_UNASKED", MIB)


ENDLESS: dict[str, Action] = {
    "words": endless(lines("* OK still here")),
    "counts": endless(lines("* {} EXISTS")),
    "nothing": endless(lines("")),
    "challenges": endless(lines("+ and now?")),
    "a line": endless(letters, b"* OK "),
    "a literal": endless(letters, b"* OK {999999999999}\r\n"),
    "a literal of a size that can be": endless(letters, b"* OK {%d}\r\n" % (1 << 30)),
    "literals": endless(lambda number: b"{65536}\r\n" + letters(number), b"* OK "),
    "answers with a literal": endless(lambda number: b"* OK {65536}\r\n" + letters(number) + b"\r\n"),
}
USED = ["GREETING", "CAPABILITY", "STARTTLS", "LOGIN", "AUTHENTICATE", "ID", "NAMESPACE", "LIST", "STATUS"]
USED += ["EXAMINE", "UID SEARCH", "UID FETCH", "BODY", "IDLE"]
# IDLE begins with a challenge.
CASES = [(command, what) for command in USED for what in ENDLESS if (command, what) != ("IDLE", "challenges")]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("command", "what"), CASES)
def test_it_says_without_end(scripted: Scripted, log_in: Connect, command: str, what: str) -> None:
    security = "starttls" if command == "STARTTLS" else "none"
    server = scripted(security)
    server.folder().add(MAIL)
    if command == "UID SEARCH":
        server.account.late += ("ESEARCH",)
    if command == "AUTHENTICATE":
        server.account.capabilities += ("AUTH=PLAIN",)
    if command == "BODY":
        server.on("UID FETCH", ENDLESS[what], when=asks_for_bodies)
    else:
        server.on(command, ENDLESS[what])
    with pytest.raises(ServerError) as caught:
        everything(log_in(server, security=security))
    assert isinstance(caught.value, ProtocolError | ConnectionLostError | TlsError), caught.value


def everything(connection: Connection) -> None:
    """All that a pull and a watch ask of a server."""
    connection.status(connection.list_folders())
    connection.examine(INBOX)
    list(connection.uids())
    list(connection.list_uids(1))
    list(connection.fetch([1]))
    connection.idle(INBOX)


def asks_for_bodies(command: Command) -> bool:
    return "BODY" in command.arguments


@pytest.mark.usefixtures("few")
class TestListing:
    """Of folders; of messages, one by one: as many as the server counts, and some more."""

    UIDS = staticmethod(lines("* 1 FETCH (UID {} FLAGS ())"))

    @pytest.mark.parametrize(
        ("command", "line"),
        [("LIST", '* LIST () "/" "Folder {}"'), ("NAMESPACE", '* NAMESPACE NIL (("Other {}/" "/")) NIL')],
    )
    def test_folders(self, server: ScriptedServer, log_in: Connect, command: str, line: str) -> None:
        server.on(command, endless(lines(line)))
        with pytest.raises(ProtocolError, match="more than 2,000 lines"):
            log_in(server).list_folders()

    def test_names_larger_than_any(self, server: ScriptedServer, log_in: Connect) -> None:
        server.on("LIST", endless(lambda number: b'* LIST () "/" "%d %b"\r\n' % (number, letters(number))))
        with pytest.raises(ProtocolError, match="more than 1,048,576 bytes"):
            log_in(server).list_folders()

    def test_more_than_it_counted(self, server: ScriptedServer, log_in: Connect) -> None:
        connection = log_in(server)
        connection.examine(INBOX)
        server.on("UID FETCH", endless(self.UIDS))
        with pytest.raises(ProtocolError, match="more than 2,002 lines"):
            list(connection.list_uids(1))

    def test_a_count_that_grows(self, server: ScriptedServer, log_in: Connect) -> None:
        """With EXAMINE, as with QRESYNC: the number it began with is its word."""
        server.on("EXAMINE", endless(lambda number: b"* %d EXISTS\r\n" % (number + 5) + self.UIDS(number)))
        with pytest.raises(ProtocolError, match="more than 2,010 lines"):
            log_in(server).examine(INBOX)

    def test_flags_larger_than_any(self, server: ScriptedServer, log_in: Connect) -> None:
        connection = log_in(server)
        connection.examine(INBOX)
        server.on("UID FETCH", endless(lambda n: b"* 1 FETCH (UID %d FLAGS (%b))\r\n" % (n + 1, letters(n))))
        with pytest.raises(ProtocolError, match=r"more than 1,049,576 bytes"):
            list(connection.list_uids(1))

    def test_as_many_as_it_counts(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        for _ in range(5000):
            server.folder().add(MAIL)
        connection = log_in(server)
        assert connection.examine(INBOX).exists == 5000
        assert len(list(connection.list_uids(1))) == 5000

    def test_refused_messages_are_as_many_as_were_asked_for(
        self, scripted: Scripted, log_in: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exchange, "_MOST_LINES", 10)
        server = scripted()
        for _ in range(300):
            server.folder().add(MAIL)
        server.on(
            "UID FETCH", reply("{tag} NO not now"), when=lambda c: ":" in c.text(0) and asks_for_bodies(c)
        )
        connection = log_in(server)
        connection.examine(INBOX)
        assert len(list(connection.fetch(range(1, 301)))) == 300

    @pytest.mark.parametrize("count", [20_000_001, 4_294_967_295])
    def test_more_than_can_be_compared(self, server: ScriptedServer, log_in: Connect, count: int) -> None:
        server.on("EXAMINE", edit(lambda answer: answer.replace(b"* 1 EXISTS", b"* %d EXISTS" % count)))
        with pytest.raises(FolderError, match=f"counts {count:,} messages"):
            log_in(server).examine(INBOX)


def bodies_first(answer: bytes) -> bytes:
    """An answer with the flags and dates of all messages behind the last of their bodies."""
    apart = re.compile(rb'\* (\d+) FETCH \((UID \d+) (FLAGS \(\) INTERNALDATE "[^"]*") ')
    rest = [b"* %b FETCH (%b %b)\r\n" % found for found in apart.findall(answer)]
    *bodies, end = apart.sub(rb"* \1 FETCH (\2 ", answer).splitlines(keepends=True)
    return b"".join([*bodies, *rest, end])


class TestMessages:
    """What is no part of a message that was asked for, and what waits for the rest of its message."""

    @pytest.fixture
    def tmp(self, tmp_path: Path) -> Path:
        (tmp_path / "tmp").mkdir()
        return tmp_path / "tmp"

    @pytest.fixture
    def receive(self, tmp: Path) -> Callable[[Iterator[bytes]], Spooled]:
        return lambda pieces: spool(str(tmp.parent), pieces)

    @pytest.fixture
    def inbox(self, server: ScriptedServer, log_in: Connect) -> Connection:
        connection = log_in(server)
        connection.examine(INBOX)
        return connection

    @pytest.mark.parametrize("uid", [1, 2])
    @pytest.mark.parametrize("size", [64 * KIB, wire.LARGE])
    def test_bodies_without_end(
        self,
        server: ScriptedServer,
        inbox: Connection,
        receive: Callable[[Iterator[bytes]], Spooled],
        tmp: Path,
        uid: int,
        size: int,
    ) -> None:
        """The one that was asked for again and again, or another one."""
        body = b"* 1 FETCH (UID %d FLAGS () INTERNALDATE NIL BODY[] {%d}\r\n" % (uid, size)
        server.on("UID FETCH", endless(lambda number: body + b"x" * size + b")\r\n"))
        got = []
        with pytest.raises(ProtocolError, match=r"more than 67,108,864 bytes that nobody asked for"):
            for message in inbox.fetch([1], receive):
                assert isinstance(message, Fetched)
                got.append(message.uid)
                if isinstance(message.wire, Spooled):
                    os.unlink(message.wire.path)
        assert got == [1] * (uid == 1)
        assert list(tmp.iterdir()) == []

    @pytest.mark.usefixtures("few")
    def test_bodies_that_wait_for_their_flags(self, scripted: Scripted, log_in: Connect) -> None:
        """All come in the end, though no more than so much of them waits at once."""
        server = scripted()
        mails = {server.folder().add(MAIL + b"x" * 100_000 + b"%d" % n).uid: n for n in range(40)}

        server.on("UID FETCH", edit(bodies_first), when=asks_for_bodies)
        connection = log_in(server)
        connection.examine(INBOX)
        got = [message for message in connection.fetch(sorted(mails)) if isinstance(message, Fetched)]
        assert {m.uid: m.wire for m in got} == {m.uid: m.raw for m in server.folder().mails}
        alone = [c for c in server.commands if asks_for_bodies(c) and ":" not in c.text(0)]
        assert 25 < len(alone) < 40

    @pytest.mark.parametrize("after", [wire.LARGE + 300, wire.LARGE])
    def test_a_large_one_whose_flags_never_come(
        self,
        server: ScriptedServer,
        inbox: Connection,
        receive: Callable[[Iterator[bytes]], Spooled],
        tmp: Path,
        after: int,
    ) -> None:
        """Nothing of it is left on the disk when the line is cut."""

        def half(session: Session, command: Command) -> bytes:
            answer = re.sub(rb' FLAGS \(\) INTERNALDATE "[^"]*"', b"", session.honest(command))
            session.send(answer[:after])
            raise HangUpError

        server.folder().mails[0].raw = b"x" * wire.LARGE
        server.on("UID FETCH", half)
        with pytest.raises(ConnectionLostError):
            list(inbox.fetch([1], receive))
        assert list(tmp.iterdir()) == []


def test_names_without_end(server: ScriptedServer, log_in: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of by NOTIFY, over as long as it likes."""
    notifying = Idling(server, "NOTIFY")
    notify = log_in(server).notify()
    monkeypatch.setattr(exchange, "_MOST_LINES", 100)
    heard: list[str | None] = []

    def hear(*said: str) -> None:
        notifying.say(*said)
        while not heard or heard[-1] != "end":
            heard.extend(each.raw for each in notify.heard())
        heard.clear()

    for number in range(100):
        hear(*(f'* STATUS "{n}" (UIDNEXT {number})' for n in range(90)), '* STATUS "end" (UIDNEXT 1)')
    with pytest.raises(ProtocolError, match="more than 100 lines"):
        hear(*(f'* LIST () "/" "new {n}"' for n in range(10)))


# Runs the program, and says how much memory it ever had (kB): the kernel's own number for a child that has
# ended also counts what its parent had.
MEASURED = """
import re, sys
from archiver.cli import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    print(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1])
sys.exit(code)
"""


class TestSync:
    """The real command, within the real bounds."""

    # Of which it needs half at any rate.
    MOST_MEMORY = 170 * MIB

    def attacked(self, home: Home, server: ScriptedServer) -> Result:
        """What a sync says; the memory it took at its height is bounded."""
        home.make_archive()
        home.account("work", server.port, read_timeout="20s")
        command = [sys.executable, "-c", MEASURED, "--config", str(home.config), "sync", "--no-index"]
        done = subprocess.run(command, env=home.environment(), capture_output=True, check=False)
        out, _, memory = done.stdout.rstrip().rpartition(b"\n")
        print(f"{int(memory) // KIB} MiB")
        assert int(memory) * KIB < self.MOST_MEMORY
        return Result(done.returncode, out, done.stderr.decode())

    def test_a_million_folders(self, home: Home, server: ScriptedServer) -> None:
        """None is made here before all are known."""
        folders = lines('* LIST () "/" "Folder {}"')

        def a_million(session: Session, command: Command) -> bytes:
            for number in range(1000):
                session.send(folders(number))
            return session.honest(command)

        server.on("LIST", a_million)
        complains(self.attacked(home, server), 1, "the server says more than 200,000 lines in one answer")
        assert not list(home.root.glob("mail/*/*"))

    def test_messages_without_end(self, home: Home, server: ScriptedServer) -> None:
        server.on("UID FETCH", endless(lines("* 1 FETCH (UID {0} FLAGS ($Keyword{0}))")))
        complains(self.attacked(home, server), 1, "INBOX", "the server says more than 200,002 lines")

    @pytest.mark.parametrize("size", [100_000, 3_000_000])
    @pytest.mark.parametrize(
        ("command", "begins"), [("EXAMINE", b"* VANISHED "), ("UID SEARCH", b'* ESEARCH (TAG "A9") UID ALL ')]
    )
    def test_ranges_without_end(
        self, home: Home, server: ScriptedServer, command: str, begins: bytes, size: int
    ) -> None:
        server.account.late += ("ESEARCH",)
        line = begins + b",".join([b"1"] * size) + b"\r\n"
        server.on(command, endless(lambda number: line))
        complains(self.attacked(home, server), 1, "more than 1,000,000 ranges of UIDs in one answer")

    def test_messages_that_nobody_asked_for(self, home: Home, server: ScriptedServer) -> None:
        size = 16 * MIB
        body = b"* 1 FETCH (UID 7 FLAGS () BODY[] {%d}\r\n%b)\r\n" % (size, b"x" * size)
        server.on("UID FETCH", endless(lambda number: body), when=asks_for_bodies)
        complains(self.attacked(home, server), 1, "more than 67,108,864 bytes that nobody asked for")
        assert not list(home.root.glob("mail/**/tmp/*"))

    def test_bodies_that_wait_for_their_flags(self, home: Home, server: ScriptedServer) -> None:
        for number in range(24):
            server.folder().add(b"%d" % number + b"x" * (7 * MIB))
        server.on("UID FETCH", edit(bodies_first), when=asks_for_bodies)
        result = self.attacked(home, server)
        assert (result.code, result.err) == (0, "")
        assert len(list(home.root.glob("mail/work/INBOX/cur/*"))) == 25
