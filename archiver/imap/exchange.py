"""Commands and their answers on one line: what is said is tagged, what is heard is read up to the tag."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from archiver.errors import ProtocolError
from archiver.imap.errors import bye, refusal, stops_all
from archiver.imap.stream import Stream
from archiver.imap.types import Receive
from archiver.imap.wire import Line, read_line

# What there may be in an answer besides messages: the list of a hundred thousand folders is less.
_MOST_LINES = 200_000
_MOST_BYTES = 64 << 20
# A line of flags; servers repeat some when flags change meanwhile.
_LINES_A_MESSAGE = 2
_BYTES_A_MESSAGE = 1000
# No mailbox known to us has a tenth of it.
MOST_MESSAGES = 20_000_000


class Bounds:
    """How much one answer may be, so that one without end has an end.

    `messages` are those it may tell of, one by one, as far as the server counted them. With `bodies`
    literals are whole messages, which are not kept here and do not count.
    """

    def __init__(self, messages: int = 0, *, bodies: bool = False) -> None:
        self.messages = messages
        self._bodies = bodies
        self._lines = 0
        self._bytes = 0

    def count(self, line: Line) -> None:
        """ProtocolError when there was too much with this line."""
        self._lines += 1
        self._bytes += len(line.text) if self._bodies else line.size
        if self._lines > _MOST_LINES or self._bytes > _MOST_BYTES:
            messages = min(self.messages, MOST_MESSAGES)
            _insist(self._lines, _MOST_LINES + messages * _LINES_A_MESSAGE, "lines")
            _insist(self._bytes, _MOST_BYTES + messages * _BYTES_A_MESSAGE, "bytes")


def _insist(said: int, most: int, what: str) -> None:
    if said > most:
        raise ProtocolError(f"the server says more than {most:,} {what} in one answer")


class Exchange:
    """One session's commands, sent as they are given: who makes them keeps CR, LF and NUL out.

    `hidden` are words that no error may repeat, though a server does.
    """

    def __init__(self, stream: Stream, server: str) -> None:
        """`server` is host:port, for errors."""
        self.stream = stream
        self._tags = 0
        self.server = server
        # Seconds from a command to the end of its answer, the least so far of those that had the line alone.
        self.round_trip = float("inf")
        self._sent: float | None = None
        self._waiting = 0
        self.hidden: tuple[str, ...] = ()

    def send(self, command: bytes) -> bytes:
        """Send a command and not wait; its tag."""
        return self.send_all([command])[0]

    def send_all(self, commands: Sequence[bytes]) -> list[bytes]:
        """Send several commands at once, to be answered one after the other; their tags."""
        tags = [b"A%d" % (self._tags + i + 1) for i in range(len(commands))]
        self._tags += len(commands)
        self._sent = None if self._waiting else time.monotonic()
        self._waiting += len(commands)
        self.raw(b"\r\n".join(tag + b" " + command for tag, command in zip(tags, commands, strict=True)))
        return tags

    def send_pieces(self, pieces: Iterable[bytes]) -> bytes:
        """Send a command that comes in pieces, literals and last line end included; its tag."""
        self._tags += 1
        self._sent = None  # what it takes to send it is no round trip
        self._waiting += 1
        tag = b"A%d" % self._tags
        self.stream.send(tag + b" ")
        for piece in pieces:
            self.stream.send(piece)
        return tag

    def raw(self, line: bytes) -> None:
        """Send a line that continues a command."""
        self.stream.send(line + b"\r\n")

    def compress(self) -> None:
        """COMPRESS=DEFLATE (RFC 4978), while no command is under way; a server that says NO is left alone."""
        *_, line = self.ask(b"COMPRESS DEFLATE")
        if self.ok(line):
            self.stream.compress()

    def answer(
        self, tag: bytes, receive: Receive | None = None, bounds: Bounds | None = None
    ) -> Iterator[Line]:
        """Lines up to and with the tagged one; large literals go to `receive`."""
        end = tag + b" "
        bounds = bounds or Bounds()
        while True:
            line = read_line(self.stream, receive)
            bounds.count(line)
            if line.text.startswith(end):
                self._end()
                yield line
                return
            yield line
            if line.text[:6].upper() == b"* BYE ":
                raise bye(self._said(line.text[6:]), self.server)

    def _end(self) -> None:
        self._waiting -= 1
        if self._sent is not None:
            self.round_trip = min(self.round_trip, time.monotonic() - self._sent)
            self._sent = None

    def ask(
        self, command: bytes, receive: Receive | None = None, bounds: Bounds | None = None
    ) -> Iterator[Line]:
        """Send a command; the lines of its answer."""
        yield from self.answer(self.send(command), receive, bounds)

    def ok(self, tagged: Line) -> bool:
        return tagged.text.split(None, 2)[1][:2].upper() == b"OK"

    def words(self, tagged: Line) -> str:
        """A tagged answer without its tag."""
        return self._said(tagged.text.split(b" ", 1)[1]).strip()[:200]

    def said(self, text: str) -> str:
        """A server's words without what is hidden."""
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return text

    def insist(self, tagged: Line) -> None:
        """Nothing after an OK; after NO or BAD the error that it means."""
        if not self.ok(tagged):
            raise refusal(self.words(tagged), self.server)

    def go_on_after(self, tagged: Line) -> None:
        """Nothing after an OK, or a refusal of one thing; UnavailableError after a refusal of everything."""
        if not self.ok(tagged) and stops_all(self.words(tagged)):
            raise refusal(self.words(tagged), self.server)

    def _said(self, text: bytes) -> str:
        return self.said(text.decode("utf-8", "replace"))
