"""Answers read straight off the connection, one logical line at a time (RFC 9051, 7 and 9).

IMAPClient's general parser costs more than everything else in a pull; a FETCH answer is a line, a literal
and a closing line, and is read as that. Tolerant where servers are loose, strict about lengths.
"""

from __future__ import annotations

import calendar
import datetime
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from archiver.errors import ConnectionLostError, ProtocolError
from archiver.imap.stream import longest_line
from archiver.imap.types import Receive, Spooled

_LITERAL = re.compile(rb"\{(\d++)\+?\}\r?\n\Z")
# What a server sends is read in one pass: nothing here goes back (possessive) or tries again further on.
_FETCH = re.compile(rb"\* ++\d++ ++FETCH ++\((.*)\)\Z", re.DOTALL | re.IGNORECASE)
# What nearly every answer to a FETCH of ours looks like; the others are taken apart item by item.
_USUAL = re.compile(
    rb'\* \d++ FETCH \((?:(?:UID (\d++)|FLAGS (\([^()"\0]*+\))|INTERNALDATE "([^"\\\0]*+)"'
    rb"|BODY\[\] \0(\d)\0|MODSEQ \(\d++\))(?: |\)\r\n\Z))++(?<=\n)"
)
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
# NUL marks where a literal stood; no line can hold one (RFC 9051, 9: CHAR is %x01-7F).
_NAME = re.compile(rb"\s*+([A-Za-z0-9.-]{1,40}+(?:\[[^\]]*+\](?:<\d++>)?+)?+)\s++")
_VALUE = re.compile(rb'\0\d{1,4}+\0|%b|\([^()"]*+\)|[^\s()"\0][^\s()]*+' % _STRING, re.DOTALL)
_STEP = re.compile(rb'[^()"]*+(?:(\()|(\))|%b)' % _STRING, re.DOTALL)
# First bytes of values that are not taken as they stand: a literal's mark, a string, perhaps NIL.
_SPECIAL = b'\0"Nn'
_TOKEN = re.compile(rb'\s*+(?:(\()|(\))|"((?:[^"\\]++|\\.)*+)"|\0(\d{1,4}+)\0|([^\s()"\0]++|\0))', re.DOTALL)
LARGE = 8 << 20
_PIECE = 1 << 18
# Larger than any message a provider takes; and what one line may hold besides the one that is spooled.
_MAX_LITERAL = 1 << 30
_MAX_LITERALS = 16
_MAX_HELD = 2 * LARGE
# The largest that RFC 9051 and RFC 7162 know: UIDs and counts, mod-sequences.
MAX_NUMBER = (1 << 32) - 1
MAX_MODSEQ = (1 << 63) - 1
# A line below this is not too long, whatever it is.
_SHORT = 1 << 16
_MONTHS = {m: i for i, m in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DATE = re.compile(rb'"?\s*(\d{1,2}-\w{3}-\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"?\Z')


Value = bytes | None | list["Value"]
"""A string or atom, NIL, or what stands in parentheses."""


class Line:
    """A logical line: its text with each literal replaced by NUL n NUL, and the literals.

    One that was too large to hold is empty among them, and is `spooled`.
    """

    __slots__ = ("literals", "spooled", "text")

    def __init__(self, text: bytes, literals: list[bytes], spooled: Spooled | None = None) -> None:
        self.text = text
        self.literals = literals
        self.spooled = spooled

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return len(self.text) + sum(map(len, self.literals))


class Stream(Protocol):
    def readline(self) -> bytes: ...
    def read(self, size: int) -> bytes: ...


def read_line(stream: Stream, receive: Receive | None = None) -> Line:
    """The next logical line, literals included. ConnectionLostError at the end of the stream.

    A literal of LARGE bytes or more is handed to `receive` as it comes.
    """
    line = _physical_line(stream)
    if not line.endswith((b"}\r\n", b"}\n")):
        return Line(line, [])
    text = [b""]
    literals: list[bytes] = []
    spooled: Spooled | None = None
    held = 0
    while match := _LITERAL.search(line):
        size = checked(match[1], _MAX_LITERAL, "a literal of {} bytes")
        text.append(b"%b\0%d\0" % (line[: match.start()], len(literals)))
        if receive is not None and size >= LARGE and spooled is None:
            spooled = receive(_pieces(stream, size))
            literals.append(b"")
        else:
            held += size
            _refuse_too_much(len(literals), held)
            literals.append(_exactly(stream, size))
        line = _physical_line(stream)
    return Line(b"".join(text) + line, literals, spooled)


def _refuse_too_much(literals: int, held: int) -> None:
    """ProtocolError for an answer with more literals, or more in them, than is to be held in memory."""
    if literals >= _MAX_LITERALS:
        raise ProtocolError(f"the server sends more than {_MAX_LITERALS} literals in one answer")
    if held > _MAX_HELD:
        raise ProtocolError(f"the server sends literals of {held} bytes in one answer")


def checked(digits: bytes, most: int, what: str) -> int:
    """A number that a server sent; ProtocolError when it is above `most`. `what` has {} for the number."""
    if len(digits) < 20 and int(digits) <= most:
        return int(digits)
    digits = digits.lstrip(b"0") or b"0"
    if len(digits) > 20 or int(digits) > most:
        raise ProtocolError(f"the server sends {what.format(digits[:30].decode())}, which cannot be")
    return int(digits)


def _pieces(stream: Stream, size: int) -> Iterator[bytes]:
    while size:
        piece = _exactly(stream, min(size, _PIECE))
        size -= len(piece)
        yield piece


def _physical_line(stream: Stream) -> bytes:
    line = stream.readline()
    if line.endswith(b"\n") and len(line) < _SHORT:
        return line
    if len(line) > longest_line(line):
        raise ProtocolError(f"the server sent a line of more than {longest_line(line)} bytes")
    if not line.endswith(b"\n"):
        raise ConnectionLostError("the server closed the connection", hint="the next run continues")
    return line


def _exactly(stream: Stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ConnectionLostError(
            f"the connection ended {size - len(data)} bytes before the end of a message",
            hint="the next run fetches it again",
        )
    return data


def fetch_items(line: Line) -> dict[bytes, bytes | None] | None:
    """The items of an untagged FETCH by upper-case name, NIL as None; None for any other line."""
    if usual := _USUAL.match(line.text):
        uid, flags, date, body = usual.groups()
        items: dict[bytes, bytes | None] = {b"UID": uid, b"FLAGS": flags, b"INTERNALDATE": date}
        if body:
            items[b"BODY[]"] = line.literals[int(body)]
        return {name: value for name, value in items.items() if value is not None}
    match = _FETCH.match(line.text.rstrip())
    if not match:
        return None
    text, at = match[1], 0
    items = {}
    while name := _NAME.match(text, at):
        found = _VALUE.match(text, name.end())
        at = found.end() if found else _closing(text, name.end())
        if not at:
            break
        value = text[name.end() : at]
        items[name[1].upper()] = _value(value, line.literals) if value[0] in _SPECIAL else value
    return items


def _closing(text: bytes, at: int) -> int:
    """Where what is in parentheses from `at` on ends; 0 when it does not, or is none."""
    depth = 0
    while match := _STEP.match(text, at):
        at = match.end()
        depth += bool(match[1]) - bool(match[2])
        if depth <= 0:
            return at if match[2] else 0
    return 0


def _value(value: bytes, literals: list[bytes]) -> bytes | None:
    if value[:1] == b"\0":
        return literals[int(value[1:-1])]
    if value[:1] == b'"':
        if b"\\" not in value:
            return value[1:-1]
        return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)
    return None if value.upper() == b"NIL" else value


def values(text: bytes, literals: list[bytes]) -> list[Value]:
    """The values in a text, nested as its parentheses are; one too many or too few does not matter.

    A quote that is not closed ends them.
    """
    open_lists: list[list[Value]] = [[]]
    at = 0
    while match := _TOKEN.match(text, at):
        at = match.end()
        opens, closes, string, literal, atom = match.groups()
        if opens:
            inner: list[Value] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif closes:
            del open_lists[max(len(open_lists) - 1, 1) :]
        elif string is not None:
            open_lists[-1].append(re.sub(rb"\\(.)", rb"\1", string, flags=re.DOTALL))
        elif literal is not None:
            open_lists[-1].append(literals[int(literal)])
        else:
            open_lists[-1].append(None if atom.upper() == b"NIL" else atom)
    return open_lists[0]


@functools.lru_cache(maxsize=4096)
def flags_of(value: bytes | None) -> frozenset[str]:
    r"""The flags in `(\Seen $Work)`; \Recent is not one that stays."""
    words = (value or b"").strip(b"()").decode("latin-1").split()
    return frozenset(word for word in words if word.lower() != "\\recent")


def internal_date(value: bytes | None) -> int | None:
    """INTERNALDATE in Unix seconds; None for dates that are none (`00-Jan-0000`)."""
    match = _DATE.match(value or b"")
    if not match:
        return None
    hour, minute, second, offset_hours, offset_minutes = map(int, match.group(2, 3, 4, 6, 7))
    midnight = _midnight(match[1])
    if midnight is None or hour > 23 or minute > 59:
        return None
    offset = offset_hours * 3600 + offset_minutes * 60
    if offset >= 86400:
        return None
    local = midnight + hour * 3600 + minute * 60 + min(second, 59)
    return local + offset if match[5] == b"-" else local - offset


@functools.lru_cache(maxsize=4096)
def _midnight(date: bytes) -> int | None:
    """The first second, UTC, of a `17-Jul-1996`; None when there is no such day."""
    day, month, year = date.split(b"-")
    try:
        return calendar.timegm((datetime.date(int(year), _MONTHS[month.lower()], int(day))).timetuple())
    except (ValueError, KeyError, OverflowError):
        return None


def number(items: dict[bytes, bytes | None] | None, name: bytes) -> int | None:
    """The number an item holds; None when it is not there or no number, ProtocolError above 2^32-1."""
    value = items.get(name) if items else None
    if not value or not value.isdigit():
        return None
    return checked(value, MAX_NUMBER, f"{name.decode()} {{}}")


def uid_set(uids: Sequence[int]) -> Iterator[bytes]:
    """Ascending UIDs as sequence sets such as `1:5,9`, each short enough for the strictest server."""
    part: list[bytes] = []
    length = 0
    for first, last in _runs(uids):
        text = b"%d" % first if first == last else b"%d:%d" % (first, last)
        if length + len(text) > 4000:
            yield b",".join(part)
            part, length = [], 0
        part.append(text)
        length += len(text) + 1
    if part:
        yield b",".join(part)


def _runs(uids: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = last = None
    for uid in uids:
        if last is not None and uid == last + 1:
            last = uid
            continue
        if start is not None and last is not None:
            yield start, last
        start = last = uid
    if start is not None and last is not None:
        yield start, last
