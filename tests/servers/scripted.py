r"""A scripted IMAP server: an honest little mailbox whose every answer a test can bend.

    server = ScriptedServer()
    server.folder("INBOX").add(b"Subject: hello\r\n\r\nhello\r\n", flags=["\\Seen"])
    server.on("EXAMINE", reply("{tag} NO [ALERT] Unsafe Login"), times=1)     # then honest again
    server.on("UID FETCH", cut(after=200))                                    # dies in mid-literal
    with server:
        ...                                                                   # connect to server.port
    assert "STORE" not in server.names()

An override is a function (session, command) -> bytes to send; `session.honest(command)` is what would have
been sent. It may also raise HangUpError. Rules are asked in the order they were made and the first that
applies answers. The pseudo-command GREETING opens each connection. Every command is recorded, whatever
was answered.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Self

from tests.servers.honest import Account, Command, Conversation, Folder

HOST = "127.0.0.1"


class HangUpError(Exception):
    """The connection is to be dropped here and now."""


Action = Callable[["Session", Command], bytes]
Condition = Callable[[Command], bool]


@dataclass
class Rule:
    """Answers commands of one name ("*": any); `times` counts down, None is for ever."""

    name: str
    action: Action
    times: int | None
    when: Condition | None

    def applies(self, command: Command) -> bool:
        named = self.name in ("*", command.name) and self.times != 0
        return named and (self.when is None or self.when(command))


def reply(*lines: str | bytes) -> Action:
    """These lines and nothing else; `{tag}` stands for the command's tag, CRLF is added."""

    def act(session: Session, command: Command) -> bytes:
        raw = [line.encode() if isinstance(line, str) else line for line in lines]
        return b"".join(line.replace(b"{tag}", command.tag.encode()) + b"\r\n" for line in raw)

    return act


def before(*lines: str | bytes) -> Action:
    """These lines, then the honest answer: for unsolicited responses."""
    return lambda session, command: reply(*lines)(session, command) + session.honest(command)


def edit(change: Callable[[bytes], bytes]) -> Action:
    """The honest answer, changed."""
    return lambda session, command: change(session.honest(command))


def cut(after: int = 0) -> Action:
    """The first `after` bytes of the honest answer, then the connection is closed."""

    def act(session: Session, command: Command) -> bytes:
        session.send(session.honest(command)[:after])
        raise HangUpError

    return act


def bye(*lines: str | bytes) -> Action:
    """These lines, then the connection is closed."""

    def act(session: Session, command: Command) -> bytes:
        session.send(reply(*lines)(session, command))
        raise HangUpError

    return act


def stall(after: int = 0) -> Action:
    """The first `after` bytes of the honest answer, then silence until the server is closed."""

    def act(session: Session, command: Command) -> bytes:
        session.send(session.honest(command)[:after])
        session.server.closing.wait()
        raise HangUpError

    return act


def endless(block: Callable[[int], bytes], first: bytes = b"") -> Action:
    """`first`, then block(0), block(1), ... until the client hangs up."""

    def act(session: Session, command: Command) -> bytes:
        session.send(first)
        for number in itertools.count():
            session.send(block(number))
        raise AssertionError

    return act


def late(seconds: float) -> Action:
    """The honest answer after a pause."""

    def act(session: Session, command: Command) -> bytes:
        session.server.closing.wait(seconds)
        return session.honest(command)

    return act


class Session:
    """One connection, on a thread of its own."""

    def __init__(self, server: ScriptedServer, connection: socket.socket, number: int) -> None:
        self.server = server
        self.connection = connection
        self.number = number
        self.talk = Conversation(server.account, can_encrypt=server.context is not None and server.starttls)
        self._input: BinaryIO = connection.makefile("rb")

    def honest(self, command: Command) -> bytes:
        """What an honest server would send; the state of the session changes as if it were sent."""
        return self.talk.answer(command)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def ask(self, challenge: bytes) -> bytes:
        """Send a challenge (`+ ...`, as it is) and wait: the client's line in answer, without its end."""
        self.send(b"+ " + challenge + b"\r\n")
        return self._input.readline().rstrip(b"\r\n")

    def run(self) -> None:
        with contextlib.suppress(HangUpError, OSError):
            if self.server.context and not self.server.starttls:
                self._encrypt()
            self._answer(Command("*", "GREETING", "", self.number, self._encrypted))
            while not self.talk.ended and (command := self._receive()):
                self.server.commands.append(command)
                self._answer(command)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self._input.close()
        self.connection.close()

    @property
    def _encrypted(self) -> bool:
        return isinstance(self.connection, ssl.SSLSocket)

    def _answer(self, command: Command) -> None:
        data = self.server.action(command)(self, command)
        self.send(data)
        if data.startswith(b"* PREAUTH"):
            self.talk.authenticated = True
        if self.talk.upgrade:
            self.talk.upgrade = False
            self._encrypt()

    def _encrypt(self) -> None:
        assert self.server.context is not None
        self._input.close()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self._input = self.connection.makefile("rb")

    def _receive(self) -> Command | None:
        """The next command with its literals (RFC 3501, 4.3; RFC 7888), None at the end."""
        text = ""
        while line := self._input.readline():
            text += line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            literal = re.search(r"\{(\d+)(\+?)\}$", text)
            if literal is None:
                return self._command(text)
            if not literal[2]:
                self.send(b"+ go on\r\n")
            value = self._input.read(int(literal[1])).decode("utf-8", "surrogateescape")
            text = text[: literal.start()] + '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
        return None

    def _command(self, text: str) -> Command:
        tag, _, rest = text.partition(" ")
        name, _, arguments = rest.partition(" ")
        if name.upper() == "UID":
            second, _, arguments = arguments.partition(" ")
            name = f"UID {second}"
        return Command(tag, name.upper(), arguments, self.number, self._encrypted)


class ScriptedServer:
    """Listens on a free loopback port from the start; `with` it, or `start` and `close` it.

    context: the server's TLS context; from the first byte, or with `starttls` only when asked.
    """

    host = HOST

    def __init__(
        self, account: Account | None = None, *, context: ssl.SSLContext | None = None, starttls: bool = False
    ) -> None:
        self.account = account or Account()
        self.context = context
        self.starttls = starttls
        self.commands: list[Command] = []
        self.closing = threading.Event()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._sessions: list[tuple[Session, threading.Thread]] = []
        self._listener = socket.create_server((HOST, 0))
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def folder(self, name: str = "INBOX") -> Folder:
        """The folder of that name, made when it is not there."""
        return self.account.folders.setdefault(name, Folder(name))

    def on(
        self, name: str, action: Action, *, times: int | None = None, when: Condition | None = None
    ) -> None:
        """Answer commands called `name` with `action`, `times` times, where `when(command)` holds."""
        self._rules.append(Rule(name, action, times, when))

    def names(self) -> list[str]:
        """The commands received so far, in order, without their arguments."""
        return [command.name for command in self.commands]

    def action(self, command: Command) -> Action:
        """The rule that answers, used up by one; honest if there is none."""
        with self._lock:
            for rule in self._rules:
                if rule.applies(command):
                    rule.times = None if rule.times is None else rule.times - 1
                    return rule.action
        return Session.honest

    def start(self) -> Self:
        self._acceptor.start()
        return self

    def close(self) -> None:
        """End listening and every session."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for session, thread in self._sessions:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own: it would let the session read what is still encrypted as commands.
                socket.socket.shutdown(session.connection, socket.SHUT_RDWR)
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, connection, len(self._sessions))
            thread = threading.Thread(target=session.run, daemon=True)
            self._sessions.append((session, thread))
            thread.start()
