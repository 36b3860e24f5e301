"""mbox: messages one after the other in one file, each below a `From ` line (RFC 4155, appendix A).

Written as mboxrd: a line of the message that begins with `From `, be it behind some `>`, gets one more `>`,
so that every line comes back. Read are mboxrd, mboxo (which puts a `>` before `From ` only) and mboxcl, where
Content-Length says how long a message is. Line ends are LF; what is in the file with CRLF stays so.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

Dialect = Literal["mboxrd", "mboxo", "mboxcl", "mboxcl2"]
DIALECTS: tuple[Dialect, ...] = ("mboxrd", "mboxo", "mboxcl", "mboxcl2")

# A message of more bytes is given in pieces.
LARGE = 8 << 20
_PIECE = 1 << 20
# Of a message in pieces so much is kept back, in which the next `From ` line may begin.
_TAIL = 4096
_HEADER = 1 << 18

_QUOTABLE = re.compile(rb"^>*From ", re.MULTILINE)
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_QUOTED_ONCE = re.compile(rb"^>(From )", re.MULTILINE)
_UNQUOTED = re.compile(rb"^From ", re.MULTILINE)
# As everybody writes it. A line without day and time counts where a header begins below it.
_DATED = re.compile(
    rb"(?i)From (?:[^\n]{1,400} )?(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? "
    rb"[^\n]{0,60}\d{1,2}:\d\d[^\n]{0,60}\Z"
)
_FIELD = re.compile(rb"(?:[!-9;-~]{1,100}[ \t]*:|>From )")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,15})[ \t]*\r?$")
_BLANK = re.compile(rb"\n\r?\n")
_RETURN_PATH = re.compile(rb"(?im)^return-path:[ \t]*<([!-;=?-~]{1,320})>")
_SENDER = re.compile(rb"(?im)^from:[^\n]*?([!-;=?-~]{1,64}@[0-9a-z.-]{1,255})")


class Stream(Protocol):
    """What an mbox is read from."""

    def read(self, count: int, /) -> bytes: ...


class Letter(msgspec.Struct, frozen=True):
    """A message of an mbox, its lines as they were before they were quoted: its bytes, or pieces of them.

    `envelope` is the `From ` line. Pieces must be taken before the next message is asked for.
    """

    envelope: bytes
    body: bytes | Iterator[bytes]


def render(wire: bytes, received: int) -> tuple[bytes, bool]:
    """A message as a piece of an mbox, its `From ` line dated in UTC; whether every byte will come back."""
    data, same = _plain(wire)
    block = _QUOTABLE.sub(rb">\g<0>", data) if b"From " in data else data
    end = b"" if data.endswith(b"\n") else b"\n"
    return b"".join((_envelope(data, received), block, end, b"\n")), same


def native(data: bytes) -> bytes:
    """The bytes on the wire of a message kept with LF; those of one that has a CRLF are taken as they are."""
    return data if b"\r\n" in data else data.replace(b"\n", b"\r\n")


def _plain(wire: bytes) -> tuple[bytes, bool]:
    """A message with LF, or as it is where that would not be undone; whether `native` gives it back."""
    # One byte is found much faster than a pair, and hardly any message has a CR alone.
    data = wire.replace(b"\r", b"")
    if data.replace(b"\n", b"\r\n") != wire:
        data = wire.replace(b"\r\n", b"\n")
        data = data if native(data) == wire else wire
        return data, data.endswith(b"\n") and native(data) == wire
    return data, data.endswith(b"\n")


def _envelope(data: bytes, received: int) -> bytes:
    end = data.find(b"\n\n", 0, _HEADER)
    head = data[: end if end >= 0 else _TAIL]
    sender = _RETURN_PATH.search(head) or _SENDER.search(head)
    try:
        moment = time.asctime(time.gmtime(received))
    except (OverflowError, ValueError, OSError):
        moment = time.asctime(time.gmtime(0))
    return b"From %s %s\n" % (sender[1] if sender else b"MAILER-DAEMON", moment.encode())


class _Window:
    """The part of a stream that is being looked at: `data` from `at` on."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.data = b""
        self.at = 0
        self.ended = False

    def more(self) -> bool:
        """Have another piece in `data`, which begins at 0 then; False at the end."""
        if self.ended:
            return False
        piece = self._stream.read(_PIECE)
        self.data = self.data[self.at :] + piece
        self.at = 0
        self.ended = not piece
        return bool(piece)

    def reach(self, count: int) -> bool:
        """Whether there are so many bytes ahead."""
        while len(self.data) - self.at < count:
            if not self.more():
                return False
        return True

    def line(self) -> bytes:
        """Take a line, with its end; of a very long one, a part."""
        end = self.data.find(b"\n", self.at)
        while end < 0 and len(self.data) - self.at < _TAIL and self.more():
            end = self.data.find(b"\n", self.at)
        return self.take(end + 1 if end >= 0 else len(self.data))

    def take(self, end: int) -> bytes:
        taken = self.data[self.at : end]
        self.at = end
        return taken


def letters(stream: Stream, dialect: Dialect | None = None) -> Iterator[Letter]:
    """The messages of an mbox that begins with a `From ` line.

    Without a `dialect` a message is unquoted as mboxrd, or as mboxo where it has a line that mboxrd would
    have quoted.
    """
    window = _Window(stream)
    while window.reach(1):
        envelope = window.line()
        if not envelope.strip():
            continue  # further blank lines between two messages
        if dialect in ("mboxcl", "mboxcl2") and (length := _length(window)) is not None:
            yield _counted(window, envelope, length, dialect)
        else:
            yield _delimited(window, envelope, dialect)


def counted(stream: Stream) -> Dialect | None:
    """Whether each message's Content-Length leads to the next one's `From ` line: mboxcl, or mboxcl2.

    mboxcl2 quotes nothing: some message has a line that the others would have quoted. With a message of
    more than LARGE bytes it is neither.
    """
    window = _Window(stream)
    found: Dialect | None = None
    while window.reach(1):
        if not window.line().startswith(b"From "):
            return None
        length = _length(window)
        if length is None or length > LARGE or not window.reach(length):
            return None
        body = window.take(window.at + length)
        window.reach(7)
        after = window.data[window.at : window.at + 7]
        window.at += len(after) - len(rest := after.removeprefix(b"\r").removeprefix(b"\n"))
        if not body.endswith(b"\n") or (rest and not rest.startswith(b"From ")):
            return None
        found = "mboxcl2" if found == "mboxcl2" or _UNQUOTED.search(body) else "mboxcl"
    return found


def _length(window: _Window) -> int | None:
    """Bytes of the message ahead, by its Content-Length; None when it has none."""
    while not (blank := _BLANK.search(window.data, window.at)):
        if len(window.data) - window.at > _HEADER or not window.more():
            return None
    length = _LENGTH.search(window.data, window.at, blank.start() + 1)
    return blank.end() - window.at + int(length[1]) if length else None


def _counted(window: _Window, envelope: bytes, length: int, dialect: Dialect) -> Letter:
    if length > LARGE:
        return Letter(envelope, _unquoted(_exactly(window, length), dialect))
    window.reach(length)
    return Letter(envelope, _unquote(window.take(min(window.at + length, len(window.data))), dialect))


def _exactly(window: _Window, length: int) -> Iterator[bytes]:
    while length and window.reach(1):
        piece = window.take(min(window.at + length, len(window.data)))
        length -= len(piece)
        yield piece


def _delimited(window: _Window, envelope: bytes, dialect: Dialect | None) -> Letter:
    begin = window.at
    while (end := _end(window, window.at, begin)) is None:
        # What was looked through need not be again, but for a `From ` line that was not whole.
        seen = max(len(window.data) - window.at - _TAIL, 0)
        if seen > LARGE:
            return Letter(envelope, _unquoted(_until_next(window), dialect))
        window.more()
        begin = window.at + seen
    body = window.take(end[0])
    window.at = end[1]
    return Letter(envelope, _unquote(body, dialect))


def _until_next(window: _Window) -> Iterator[bytes]:
    """The rest of a message in pieces that end with a line, but for a line that is longer than a piece."""
    whole = True
    while True:
        start = window.at if whole else window.data.find(b"\n", window.at) + 1 or len(window.data)
        if (end := _end(window, start, start)) is not None:
            yield window.take(end[0])
            window.at = end[1]
            return
        if (cut := len(window.data) - _TAIL) > window.at:
            line = window.data.rfind(b"\n", window.at, cut) + 1
            whole = line > window.at
            yield window.take(line if whole else cut)
        window.more()


def _end(window: _Window, start: int, begin: int) -> tuple[int, int] | None:
    """Where the message that starts at `start` ends, and where the next `From ` line begins.

    That is looked for from `begin` on. None: it takes more of the stream to say.
    """
    data = window.data
    at = begin - 1
    while (at := data.find(b"\nFrom ", at + 1)) >= 0:
        if not window.ended and len(data) - at < _TAIL:
            return None
        blank = _blank_before(data, start, at)
        if blank is not None and _is_envelope(data, at + 1):
            return blank, at + 1
    if not window.ended:
        return None
    blank = _blank_before(data, start, len(data) - 1) if data.endswith(b"\n") else None
    return (len(data) if blank is None else blank), len(data)


def _is_envelope(data: bytes, at: int) -> bool:
    """Whether the line at `at`, which begins with `From ` and follows a blank one, begins a message."""
    end = data.find(b"\n", at)
    line = data[at : end if end >= 0 else len(data)].rstrip()
    return bool(_DATED.match(line) or (end >= 0 and _FIELD.match(data, end + 1)))


def _blank_before(data: bytes, start: int, at: int) -> int | None:
    """Where the blank line begins that ends at `at`, an LF; None when the line is not blank."""
    if at == start or data[at - 1] == 10:
        return at
    if data[at - 1] == 13 and (at - 1 == start or data[at - 2] == 10):
        return at - 1
    return None


def _unquote(body: bytes, dialect: Dialect | None) -> bytes:
    if b">From " not in body or dialect == "mboxcl2":
        return body
    if dialect is None:
        dialect = "mboxo" if _UNQUOTED.search(body) else "mboxrd"
    return (_QUOTED_ONCE if dialect == "mboxo" else _QUOTED).sub(rb"\1", body)


def _unquoted(pieces: Iterator[bytes], dialect: Dialect | None) -> Iterator[bytes]:
    """The same of pieces, cut anew so that each begins with a line, but where one is very long."""
    kept, whole = b"", True
    for piece in itertools.chain(pieces, (b"",)):
        text = kept + piece
        cut = text.rfind(b"\n") + 1 if piece else len(text)
        if len(text) - cut > _TAIL:
            cut = len(text)
        kept, text = text[cut:], text[:cut]
        start = 0 if whole else text.find(b"\n") + 1 or len(text)
        if text:
            whole = text.endswith(b"\n")
            yield text[:start] + _unquote(text[start:], dialect)
