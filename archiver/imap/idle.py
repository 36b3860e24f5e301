"""Hear of changes as they happen: IDLE on one mailbox (RFC 2177), NOTIFY on all (RFC 5465).

Once begun, nothing here waits for a server but `wait`, and that for all of them at once: an answer that
is expected is one more thing that may come, and its absence is found when it is due.
"""

from __future__ import annotations

import re
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from archiver.errors import ConnectionLostError, FolderError, ServerError
from archiver.imap import listing
from archiver.imap.errors import bye, translate
from archiver.imap.exchange import Bounds, Exchange
from archiver.imap.fetch import vanished_in
from archiver.imap.types import Mailbox
from archiver.imap.wire import Line, read_line

# Servers may log out who says nothing for 30 minutes (RFC 9051, 5.4), so RFC 2177 wants IDLE renewed before.
RENEW = 25 * 60.0
# Being asked makes servers say what they forgot. So the first renewals come soon, after so many seconds, then
# after four times as long each; and again so after each change, for mail comes in bursts.
_SOON = 4.0
_SLOWER = 4.0
# After a change IDLE is ended and begun anew at once, but not more often than this.
_BREATH = 1.0
# A server that ends IDLE by itself sooner than this is not one to listen to.
_AT_ONCE = 10.0
_PROBE = 60
_NUMBER = re.compile(rb"\* +(\d+) +(EXISTS|EXPUNGE|FETCH)\b", re.IGNORECASE)
_UIDNEXT = re.compile(rb"\bUIDNEXT +(\d+)", re.IGNORECASE)
_EVENTS = (
    b"NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName))",
    b"NOTIFY SET (personal (MessageNew MessageExpunge))",
)


class Heard(msgspec.Struct, frozen=True):
    """A change in the mailbox of that raw name; None: in no one knows which, or in the list of them.

    `arrived`: it has new messages; else only flags changed, or messages went. `mailbox` is one that is
    new in the list, or changed its name.
    """

    raw: str | None
    arrived: bool
    mailbox: Mailbox | None = None


class Listening(ABC):
    """What IDLE and NOTIFY share: a command that is on, renewed when due, begun anew when it ended."""

    def __init__(self, exchange: Exchange, renew: float) -> None:
        self._exchange = exchange
        self._renew = renew
        self._patience = exchange.stream.timeout
        self._tag = b""
        self._on = False
        self._begun = 0.0
        self._interval = min(_SOON, renew)
        # When it has to be renewed or, while an answer is expected, when that is late (time.monotonic).
        self.due = 0.0

    def begin(self) -> None:
        """Make the server tell. FolderError when it will not, UnavailableError when it will do nothing."""
        with translate(self._exchange.server):
            self._exchange.stream.keep_alive(_PROBE)
            self._start()
            bounds = Bounds()
            while not self._on:
                line = read_line(self._exchange.stream)
                bounds.count(line)
                self._hear(line)

    def heard(self) -> list[Heard]:
        """What was said since the last time; renews when that is due.

        ConnectionLostError when the line is closed or an answer is late, FolderError when the server
        does not tell any longer.
        """
        with translate(self._exchange.server):
            open_ = self._exchange.stream.take()
            said = []
            while self._exchange.stream.holds_line():
                said.append(self._hear(read_line(self._exchange.stream)))
            if not open_:
                raise ConnectionLostError(f"{self._exchange.server} closed the connection")
            found = [heard for heard in said if heard]
            if found:
                self._interval = min(_SOON, self._renew)
                if self._on:
                    self.due = min(self.due, self._after_a_change())
            if time.monotonic() >= self.due:
                self._be_punctual()
        return found

    def check(self) -> None:
        """Have the line proven: after a time in which nobody looked at it."""
        if self._on:
            self.due = 0.0

    def end(self) -> None:
        """Let other commands follow; nobody waits for the answer, and what goes wrong no longer matters."""
        try:
            with translate(self._exchange.server):
                if self._on:
                    self._probe()
        except ServerError:
            pass

    def ready(self) -> bool:
        return self._exchange.stream.holds_line() or self._exchange.stream.holds_more()

    def fileno(self) -> int:
        return self._exchange.stream.fileno()

    def _hear(self, line: Line) -> Heard | None:
        if line.text[:6].upper() == b"* BYE ":
            raise bye(self._exchange.words(line)[4:], self._exchange.server)
        if line.text.startswith(self._tag + b" "):
            self._answered(line)
            return None
        return self._change(line)

    @abstractmethod
    def _start(self) -> None:
        """Send the command that makes the server tell."""

    @abstractmethod
    def _probe(self) -> None:
        """Send what a living server answers."""

    @abstractmethod
    def _answered(self, line: Line) -> None:
        """The tagged answer to what was sent last."""

    @abstractmethod
    def _change(self, line: Line) -> Heard | None:
        """What any other line says."""

    def _after_a_change(self) -> float:
        """When to renew because something was heard."""
        return time.monotonic() + self._interval

    def _expect(self) -> None:
        """From here on an answer has to come."""
        self._on = False
        self.due = time.monotonic() + self._patience

    def _is_on(self) -> None:
        self._on = True
        self.due = time.monotonic() + self._interval
        self._interval = min(self._interval * _SLOWER, self._renew)

    def _be_punctual(self) -> None:
        if not self._on:
            raise ConnectionLostError(f"{self._exchange.server} fell silent")
        self._expect()
        self._probe()

    def _refused(self, what: str, line: Line) -> FolderError:
        self._exchange.go_on_after(line)
        return FolderError(f"{what} refused: {self._exchange.words(line)}")


class Idle(Listening):
    """IDLE on the examined mailbox, of that raw name, which `exists` messages are in."""

    def __init__(self, exchange: Exchange, raw: str, exists: int, *, flags: bool, renew: float) -> None:
        """`flags`: flags that change are of interest."""
        super().__init__(exchange, renew)
        self._raw = raw
        self._exists = exists
        self._flags = flags
        self._ending = False

    def _start(self) -> None:
        self._ending = False
        self._begun = time.monotonic()
        self._expect()
        self._tag = self._exchange.send(b"IDLE")

    def _probe(self) -> None:
        self._ending = True
        self._exchange.raw(b"DONE")

    def _answered(self, line: Line) -> None:
        if self._ending:
            self._exchange.go_on_after(line)
        elif not self._exchange.ok(line):
            raise self._refused("IDLE", line)
        elif time.monotonic() < self._begun + _AT_ONCE:
            raise FolderError("the server ends IDLE as soon as it began")
        self._start()

    def _after_a_change(self) -> float:
        return max(time.monotonic(), self._begun + _BREATH)

    def _change(self, line: Line) -> Heard | None:
        if line.text.startswith(b"+"):
            if not self._ending:
                self._is_on()
            return None
        if vanished := vanished_in(line):
            self._exists -= sum(last - first + 1 for first, last in vanished)
            return Heard(self._raw, False)
        match = _NUMBER.match(line.text)
        if not match:
            return None  # "* OK Still here" and its like
        number, what = int(match[1]), match[2].upper()
        if what == b"EXISTS":
            before, self._exists = self._exists, number
            # Some servers repeat it with nothing changed.
            return Heard(self._raw, number > before) if number != before else None
        if what == b"EXPUNGE":
            self._exists -= 1
        return Heard(self._raw, False) if what == b"EXPUNGE" or self._flags else None


class Notify(Listening):
    """NOTIFY on every mailbox of the personal namespace, no mailbox being examined."""

    def __init__(self, exchange: Exchange, *, flags: bool, renew: float) -> None:
        """`flags`: flags that change are of interest, and the server can tell (RFC 5465, 5.3)."""
        super().__init__(exchange, renew)
        self._wanted = list(_EVENTS if flags else _EVENTS[1:])
        self._starting = True
        self._uidnext: dict[str, int] = {}
        self._names = Bounds()

    def _start(self) -> None:
        self._starting = True
        self._begun = time.monotonic()
        self._expect()
        self._tag = self._exchange.send(self._wanted[0])

    def _probe(self) -> None:
        self._tag = self._exchange.send(b"NOOP")

    def _answered(self, line: Line) -> None:
        if not self._starting:
            self._exchange.insist(line)
        elif not self._exchange.ok(line):
            refusal = self._refused("NOTIFY", line)
            if len(self._wanted) == 1:
                raise refusal
            # Not every server knows every event (RFC 5465, 8: BADEVENT).
            del self._wanted[0]
            self._start()
            return
        self._starting = False
        self._is_on()

    def _change(self, line: Line) -> Heard | None:
        if b"[NOTIFICATIONOVERFLOW]" in line.text.upper():
            if time.monotonic() < self._begun + _AT_ONCE:
                raise FolderError("the server has too many changes for NOTIFY")
            self._start()
            return Heard(None, True)
        if mailbox := listing.mailbox(line):
            self._meet(mailbox.raw, line)
            return Heard(None, True, mailbox)
        raw = listing.status_name(line)
        if raw is None:
            return None
        self._meet(raw, line)
        match = _UIDNEXT.search(line.text.rpartition(b"(")[2])
        uidnext = int(match[1]) if match else 0
        before = self._uidnext[raw]
        self._uidnext[raw] = max(uidnext, before)
        return Heard(raw, uidnext > before)

    def _meet(self, raw: str, line: Line) -> None:
        """Keep a name; ProtocolError when that are too many."""
        if raw not in self._uidnext:
            self._uidnext[raw] = 0
            self._names.count(line)


def wait(listening: Sequence[Listening], seconds: float, wake: int) -> bool:
    """Until one of them has something to hear or to do, at most so long; False when `wake` is readable.

    Wakes nobody up when a descriptor is none any more: `heard` finds that out.
    """
    due = min((each.due for each in listening), default=float("inf"))
    seconds = 0.0 if any(each.ready() for each in listening) else min(seconds, due - time.monotonic())
    poll = select.poll()
    for descriptor in (wake, *(each.fileno() for each in listening)):
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll(None if seconds == float("inf") else max(seconds, 0) * 1000)
    return wake not in (descriptor for descriptor, _ in ready)
