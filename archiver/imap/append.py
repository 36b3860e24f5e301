"""APPEND straight to the connection: many messages in one command, and the next ones while an answer is due.

MULTIAPPEND (RFC 3502) where the server has it, else a command for each message; the commands go out
together where literals need not be waited for (LITERAL+, RFC 7888), else one after the other.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from archiver.errors import ConnectionLostError, ProtocolError
from archiver.imap.errors import refusal, stops_all, translate
from archiver.imap.exchange import Exchange
from archiver.imap.names import quoted
from archiver.imap.types import Appended, Outgoing, Refused
from archiver.imap.wire import MAX_NUMBER, Line, checked

Outcome = Appended | Refused

_UIDS = re.compile(rb"\[APPENDUID ++(\d++) ++([0-9:,]++)\]", re.IGNORECASE)
_CODE = re.compile(r"(?:NO|BAD) \[([A-Z0-9-]+)", re.IGNORECASE)
# What may be sent at once, with LITERAL- (RFC 7888, 4) and with LITERAL+.
_SMALL, _ANY = 4096, 1 << 62
_AHEAD = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ATOM = re.compile(r"\\?[!#$&'+,./0-9:;<=>?@A-Z^_`a-z|~-]+\Z")

_Group = Sequence[Outgoing]


class Appending:
    """Messages on their way into one mailbox, in bunches: `send` them, then take what became of each.

    `window` says how many bunches may be under way at once. Within a bunch one message that the server
    does not take keeps no other back.
    """

    def __init__(self, exchange: Exchange, raw: str, has: Callable[[str], bool]) -> None:
        self._exchange = exchange
        self._mailbox = quoted(raw)
        self._together = has("MULTIAPPEND")
        self._at_once = _ANY if has("LITERAL+") else _SMALL if has("LITERAL-") or has("IMAP4REV2") else -1
        self._tells_uids = has("UIDPLUS") or has("IMAP4REV2")
        self._under_way: deque[list[tuple[_Group, bytes | Line]]] = deque()

    @property
    def window(self) -> int:
        """One where every literal is waited for, or UIDs must be looked for after each bunch."""
        return _AHEAD if self._at_once == _ANY and self._tells_uids else 1

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def send(self, bunch: Sequence[Outgoing]) -> None:
        """Let these messages go out. What they are read from may raise its own errors, which end the line."""
        groups: list[_Group] = [bunch] if self._together else [[message] for message in bunch]
        with translate(self._exchange.server):
            self._under_way.append(self._send_all(groups))

    def answer(self) -> list[Outcome]:
        """What became of each message of the oldest bunch that is under way, in their order.

        A command of several is refused as a whole (RFC 3502, 3), so its messages are then sent one by one.
        ConnectionLostError, UnavailableError: nobody knows what became of those under way.
        """
        outcomes: list[Outcome] = []
        with translate(self._exchange.server):
            for group, sent in self._under_way.popleft():
                outcome = self._outcome(group, sent)
                if isinstance(outcome, Refused) and len(group) > 1 and outcome.code != "TRYCREATE":
                    outcomes += self._one_by_one(group)
                else:
                    outcomes += [outcome] * len(group) if isinstance(outcome, Refused) else outcome
        return outcomes

    def _one_by_one(self, group: _Group) -> Iterator[Outcome]:
        # Answers come in the order of the commands: those of others that are under way come first.
        for bunch in self._under_way:
            bunch[:] = [(others, self._tagged(sent)) for others, sent in bunch]
        for one, sent in self._send_all([(message,) for message in group]):
            outcome = self._outcome(one, sent)
            yield outcome if isinstance(outcome, Refused) else outcome[0]

    def _send_all(self, groups: Sequence[_Group]) -> list[tuple[_Group, bytes | Line]]:
        """A command for each: its tag, or its last answer where that had to be waited for."""
        sent: list[tuple[_Group, bytes | Line]] = []
        for group in groups:
            if all(message.size <= self._at_once for message in group):
                sent.append((group, self._send(group)))
            else:
                # The answers to those before come before the server asks for the first literal.
                sent = [(earlier, self._tagged(tag)) for earlier, tag in sent]
                sent.append((group, self._step_by_step(group)))
        return sent

    def _send(self, group: _Group) -> bytes:
        try:
            return self._exchange.send_pieces(self._pieces(group))
        except OSError:
            self._listen()
            raise

    def _pieces(self, group: _Group) -> Iterator[bytes]:
        """A command with its literals, in pieces of some size: each is a packet or more."""
        held: list[bytes] = [b"APPEND %b" % self._mailbox]
        size = 0
        for message in group:
            held.append(b" %b {%d+}\r\n" % (_head(message), message.size))
            for piece in _literal(message):
                held.append(piece)
                size += len(piece)
                if size >= 1 << 18:
                    yield b"".join(held)
                    held, size = [], 0
        yield b"".join(held) + b"\r\n"

    def _step_by_step(self, group: _Group) -> Line:
        """Send each literal when the server asks for it (RFC 9051, 4.3)."""
        left = deque(group)
        begin = b"APPEND %b %b {%d}\r\n" % (self._mailbox, _head(group[0]), group[0].size)
        for line in self._exchange.answer(self._exchange.send_pieces([begin])):
            if not line.text.startswith(b"+"):
                continue
            if not left:
                raise ProtocolError(f"{self._exchange.server} asks for more than it is to get")
            for piece in _literal(left.popleft()):
                self._exchange.stream.send(piece)
            more = b" %b {%d}" % (_head(left[0]), left[0].size) if left else b""
            self._exchange.raw(more)
        return line

    def _listen(self) -> None:
        """Raise what the server said before it closed the line, if it said anything."""
        try:
            for _ in self._exchange.answer(b"nobody's"):
                pass
        except OSError:
            pass

    def _tagged(self, sent: bytes | Line) -> Line:
        if isinstance(sent, Line):
            return sent
        *_, line = self._exchange.answer(sent)
        return line

    def _outcome(self, group: _Group, sent: bytes | Line) -> Refused | list[Outcome]:
        line = self._tagged(sent)
        if self._exchange.ok(line):
            return list(_appended(line, len(group)))
        words = self._exchange.words(line)
        found = _CODE.match(words)
        code = found[1].upper() if found else ""
        # A mailbox that is full may have room for a smaller message, and refuses nothing else.
        if code != "OVERQUOTA" and stops_all(words):
            raise refusal(words, self._exchange.server)
        return Refused(code, words.partition(" ")[2])


def _literal(message: Outgoing) -> Iterable[bytes]:
    """The bytes of a message. ConnectionLostError, in the middle of them, when they are not so many.

    The command is then never ended, so the server takes nothing.
    """
    if isinstance(message.wire, bytes):
        yield message.wire
        return
    left = message.size
    for piece in message.wire:
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise ConnectionLostError("a message changed while it was sent", hint="the next run sends it again")


def _head(message: Outgoing) -> bytes:
    """Flags and date of a message. What is no flag (RFC 9051, 9) is left out: it could be a command."""
    flags = " ".join(flag for flag in message.flags if _ATOM.match(flag))
    return b'(%b) "%b"' % (flags.encode(), _date(message.received))


def _date(seconds: int) -> bytes:
    """Unix seconds as a date-time (RFC 9051, 9), UTC; what no four-digit year holds becomes its beginning."""
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        moment = _EPOCH
    month = _MONTHS[moment.month - 1]
    return f"{moment.day:02}-{month}-{moment.year:04} {moment:%H:%M:%S} +0000".encode()


def _appended(line: Line, count: int) -> Iterator[Outcome]:
    """One for each message; with UIDs where the server names as many as there are (RFC 4315, 3)."""
    found = _UIDS.search(line.text)
    uids = _numbers(found[2], count) if found else []
    if not found or len(uids) != count:
        return iter([Appended()] * count)
    uidvalidity = checked(found[1], MAX_NUMBER, "UIDVALIDITY {}")
    return (Appended(uidvalidity, uid) for uid in uids)


def _numbers(text: bytes, most: int) -> list[int]:
    """The numbers of a set in its order; more than `most` are none."""
    numbers: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        first = checked(low or b"0", MAX_NUMBER, "UID {}")
        last = checked(high or low or b"0", MAX_NUMBER, "UID {}")
        if last - first + len(numbers) >= most:
            return []
        numbers += range(first, last + 1)
    return numbers
