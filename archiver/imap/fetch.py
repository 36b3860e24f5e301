"""Whole messages off the examined mailbox, as they arrive, the next batch asked for while one comes in."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from archiver.errors import ProtocolError
from archiver.imap.exchange import Bounds, Exchange
from archiver.imap.objects import content_name, labels_of
from archiver.imap.stream import Stream
from archiver.imap.types import Failed, Fetched, Listed, Receive, Spooled
from archiver.imap.wire import (
    MAX_NUMBER,
    Line,
    checked,
    fetch_items,
    flags_of,
    internal_date,
    number,
    uid_set,
)

BATCH_MESSAGES = 500
BATCH_BYTES = 16 << 20
_FETCH = b"UID FETCH %b (UID FLAGS INTERNALDATE BODY.PEEK[])"
_VANISHED = re.compile(rb"\* ++VANISHED ++(?:\(EARLIER\) ++)?([0-9:,]++)\s*+\Z", re.IGNORECASE)
# The usual answer up to its message, items in any order.
_HEAD = re.compile(
    rb"\* \d{1,10}+ FETCH \("
    rb'(?:(?:UID ([1-9]\d{0,9}+)|FLAGS (\([^()"\r\n\0]*+\))|INTERNALDATE "([^"\\\r\n\0]*+)") ){3}'
    rb"BODY\[\] \{(\d{1,6})\}\r\n"
)
_FOUND = re.compile(rb"\* ++ESEARCH\b.*? ALL ++([0-9:,]++)", re.IGNORECASE)
# While one batch arrives the next is asked for, so that no round trip passes in silence.
_COMMANDS_AHEAD = 2
_FIRST_GUESS = 1 << 15
# A line slower than this (bytes a second) gains by compression; a faster one waits for the server's deflate.
_WORTH_COMPRESSING = 10 << 20
_ENOUGH_TO_JUDGE = 1 << 20
# What may wait at once for the rest of its message, and what may come that is no part of any.
_MOST_HELD = 64 << 20
_MOST_UNASKED = 64 << 20
# Each stands for a gap between UIDs, and is a hundred bytes here.
_MOST_RANGES = 1_000_000


def fetch(
    exchange: Exchange, uids: Sequence[int], receive: Receive | None = None, *, may_compress: bool = False
) -> Iterator[Fetched | Failed]:
    """Whole messages for ascending `uids`.

    Matched by UID: items come in any order and among answers nobody asked for. What the server leaves
    out, or answers with NO, is asked for one by one; what it then still has and does not hand out is
    Failed. What was expunged meanwhile is neither. With `may_compress` the line is measured on the first
    messages, and compressed from there on when it is slow. What is too large to hold goes to `receive`.
    """
    asked: dict[int, None] = {}
    missing: list[int] = []
    refused = ""
    ahead: deque[tuple[bytes, Sequence[int]]] = deque()
    pace = _Pace()
    start = 0
    while start < len(uids) or ahead:
        if may_compress and not ahead and pace.is_slow():
            exchange.compress()
            may_compress = False
        # Compression begins between two commands: while that is open, nothing is asked for ahead.
        while start < len(uids) and len(ahead) < (1 if may_compress and not pace.judged else _COMMANDS_AHEAD):
            batch = uids[start : start + pace.batch()]
            start += len(batch)
            asked.update(dict.fromkeys(batch))
            *earlier, last = exchange.send_all([_FETCH % part for part in uid_set(batch)])
            ahead += [*((tag, ()) for tag in earlier), (last, batch)]
        tag, batch = ahead.popleft()
        with _Parts(asked) as parts:
            for line in exchange.answer(tag, receive, Bounds(bodies=True)):
                message = parts.add(line)
                while message:
                    del asked[message.uid]
                    pace.note(message.size)
                    yield message
                    message = parts.whole(exchange.stream)
            for message in parts.rest():
                del asked[message.uid]
                yield message
        exchange.go_on_after(line)
        if not exchange.ok(line):
            refused = exchange.words(line)
        # With the last command of a batch.
        left = [uid for uid in batch if uid in asked]
        missing += left
        for uid in left:
            del asked[uid]
    if missing:
        yield from _one_by_one(exchange, missing, refused, receive)


def _one_by_one(
    exchange: Exchange, uids: list[int], refused: str, receive: Receive | None
) -> Iterator[Fetched | Failed]:
    there: dict[int, frozenset[str]] = {}
    for part in uid_set(uids):
        for line in exchange.ask(b"UID FETCH %b (UID FLAGS)" % part, bounds=Bounds(len(uids))):
            if listed := listed_in(line):
                there[listed.uid] = listed.flags
        exchange.insist(line)
    for uid in uids:
        if uid not in there:
            continue
        wanted = {uid: None}
        with _Parts(wanted, there[uid]) as parts:
            for line in exchange.ask(_FETCH % str(uid).encode(), receive, Bounds(bodies=True)):
                if message := parts.add(line):
                    # At once: whatever the server says or does next, this one has come.
                    wanted.clear()
                    yield message
            for message in parts.rest():
                wanted.clear()
                yield message
        exchange.go_on_after(line)
        if wanted:
            reason = "" if exchange.ok(line) else exchange.words(line)
            yield Failed(uid, reason or refused or "the server sends no content")


def listed_in(line: Line) -> Listed | None:
    """UID and flags in a FETCH answer, and labels and a name if it has them; None for any other line."""
    items = fetch_items(line)
    uid = number(items, b"UID")
    if items is None or not uid or b"FLAGS" not in items:
        return None
    flags = flags_of(items[b"FLAGS"])
    if len(items) == 2:
        return Listed(uid, flags)
    labels, received = labels_of(items, line.literals), internal_date(items.get(b"INTERNALDATE"))
    return Listed(uid, flags, labels, content_name(items), received)


def vanished_in(line: Line, before: int = 0) -> list[tuple[int, int]]:
    """The ranges of UIDs in a VANISHED answer (RFC 7162, 3.2.10); none for any other line.

    ProtocolError for more than any mailbox has, with the `before` that the same answer had.
    """
    return _spans(_VANISHED.match(line.text), before)


def found_in(line: Line, before: int = 0) -> list[tuple[int, int]]:
    """The same in an answer to SEARCH RETURN (ALL) (RFC 4731, 3.1)."""
    return _spans(_FOUND.match(line.text), before)


def _spans(match: re.Match[bytes] | None, before: int) -> list[tuple[int, int]]:
    if not match:
        return []
    if before + match[1].count(b",") >= _MOST_RANGES:
        raise ProtocolError(f"the server names more than {_MOST_RANGES:,} ranges of UIDs in one answer")
    spans = (part.partition(b":") for part in match[1].split(b","))
    return [(_uid(first), _uid(last or first)) for first, _, last in spans]


def _uid(digits: bytes) -> int:
    return checked(digits, MAX_NUMBER, "UID {}")


class _Parts:
    """What the answers to one command say of each message: some servers send its items in several.

    At the end of its context what is left of them is forgotten.
    """

    def __init__(self, wanted: Mapping[int, None], flags: frozenset[str] | None = None) -> None:
        """`flags` are for messages that come without any; None: those are as good as missing."""
        self._wanted = wanted
        self._flags = flags
        self._items: dict[int, dict[bytes, bytes | None]] = {}
        self._spooled: dict[int, Spooled] = {}
        self._held = 0
        self._unasked = 0

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *exc: object) -> None:
        for spooled in self._spooled.values():
            _drop(spooled)

    def add(self, line: Line) -> Fetched | None:
        """The message that is whole with this line; an empty body is none (Exchange)."""
        items = fetch_items(line)
        uid = number(items, b"UID")
        wanted = items and uid in self._wanted and not (line.spooled and items.get(b"BODY[]") != b"")
        if not items or not uid or not wanted:
            self._pass_over(line)
            return None
        if line.spooled:
            _drop(self._spooled.get(uid))
            self._spooled[uid] = line.spooled
        before = self._items.get(uid)
        items = {**before, **items} if before else items
        if b"INTERNALDATE" in items and b"FLAGS" in items and (message := self._message(uid, items)):
            self._items.pop(uid, None)
            return message
        self._items[uid] = items
        self._held += line.size
        if self._held > _MOST_HELD:
            # It is asked for again, alone.
            del self._items[uid]
            _drop(self._spooled.pop(uid, None))
        return None

    def whole(self, stream: Stream) -> Fetched | None:
        """The next message if all of it has come, in the usual form: nearly all do, and this is quick."""
        while found := stream.whole(_HEAD, b")\r\n"):
            match, wire = found
            uid, flags, date = match.group(1, 2, 3)
            if uid and flags and date and wire and int(uid) in self._wanted:
                return Fetched(int(uid), flags_of(flags), internal_date(date), wire)
            self._leave(match.end() - match.start() + len(wire))
        return None

    def _pass_over(self, line: Line) -> None:
        """Nobody asked for it."""
        _drop(line.spooled)
        self._leave(line.size + (line.spooled.size if line.spooled else 0))

    def _leave(self, size: int) -> None:
        self._unasked += size
        if self._unasked > _MOST_UNASKED:
            raise ProtocolError(f"the server sends more than {_MOST_UNASKED:,} bytes that nobody asked for")

    def rest(self) -> Iterator[Fetched]:
        """At the end of the answer: those that came without a date; what lacks more is dropped."""
        for uid, items in self._items.items():
            if uid not in self._wanted:
                continue  # it came once more, and whole
            if (b"FLAGS" in items or self._flags is not None) and (message := self._message(uid, items)):
                yield message

    def _message(self, uid: int, items: dict[bytes, bytes | None]) -> Fetched | None:
        wire = self._spooled.pop(uid, None) or items.get(b"BODY[]")
        if not wire:
            return None
        flags = flags_of(items[b"FLAGS"]) if b"FLAGS" in items else self._flags or frozenset()
        return Fetched(uid, flags, internal_date(items.get(b"INTERNALDATE")), wire)


def _drop(spooled: Spooled | None) -> None:
    if spooled:
        os.unlink(spooled.path)


class _Pace:
    """How large the messages are and how fast they come, judged by those that have come."""

    def __init__(self) -> None:
        self._messages = 1
        self._bytes = _FIRST_GUESS
        self._begun = 0.0

    def note(self, size: int) -> None:
        if not self._begun:
            # From the first message's end on, so that the round trip before it does not count.
            self._begun = time.monotonic()
        else:
            self._bytes += size
            self._messages += 1

    def batch(self) -> int:
        """Messages to ask for at once, about BATCH_BYTES; few while the line is being judged."""
        limit = BATCH_BYTES if self.judged else _ENOUGH_TO_JUDGE * 2
        return max(1, min(BATCH_MESSAGES, limit * self._messages // self._bytes))

    @property
    def judged(self) -> bool:
        return self._bytes > _ENOUGH_TO_JUDGE

    def is_slow(self) -> bool:
        seconds = time.monotonic() - self._begun
        return self.judged and self._bytes < _WORTH_COMPRESSING * seconds
