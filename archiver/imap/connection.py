"""One logged-in connection. Reads only: EXAMINE and BODY.PEEK[] change nothing on the server.

imapclient makes the connection and does STARTTLS; what follows is asked and read here, line by line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from archiver.config import ImapServer
from archiver.errors import FolderError, ServerError
from archiver.imap import listing, tls
from archiver.imap.errors import translate
from archiver.imap.exchange import Exchange
from archiver.imap.login import introduce, log_in, secure
from archiver.imap.names import quoted
from archiver.imap.stream import Stream
from archiver.imap.types import Failed, Fetched, Listed, Mailbox, Selected, Status
from archiver.imap.wire import Line, fetch_items, flags_of, internal_date, uid_set

_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]", re.IGNORECASE)
_EXISTS = re.compile(rb"\* +(\d+) +EXISTS", re.IGNORECASE)
_STATUS_ITEMS = re.compile(rb"(MESSAGES|UIDNEXT|UIDVALIDITY|HIGHESTMODSEQ) +(\d+)", re.IGNORECASE)
_FETCH = b"UID FETCH %b (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"
BATCH_MESSAGES = 500
BATCH_BYTES = 16 << 20
# The next batch is asked for while this one arrives, so that no round trip passes in silence.
_COMMANDS_AHEAD = 2
_FIRST_GUESS = 1 << 15
# STATUS commands under way at once; their answers must fit what the sockets buffer while we still send.
_PIPELINE = 50


@contextmanager
def connect(server: ImapServer, password: Callable[[], str]) -> Iterator[Connection]:
    """A logged-in connection, closed at the end. `password` is asked for only once the line is trusted.

    Raises ConnectError, TlsError, LoginError, UnavailableError, or ConnectionLostError.
    """
    import imapclient

    name = f"{server.host}:{server.port}"
    with translate(name):
        timeout = imapclient.SocketTimeout(connect=server.connect_timeout, read=server.read_timeout)
        context = None if server.security == "none" else tls.context(server)
        client = imapclient.IMAPClient(
            server.host, server.port, ssl=server.security == "tls", ssl_context=context, timeout=timeout
        )
    try:
        with translate(name):
            secure(client, server, context)
            exchange = Exchange(Stream(client.socket()), name)
            capabilities = log_in(client, exchange, server.user, password())
            identity = introduce(exchange) if "ID" in capabilities else ""
        connection = Connection(client, exchange, capabilities, identity)
        yield connection
        connection.log_out()
    finally:
        _hang_up(client)


def _hang_up(client: Any) -> None:
    try:
        client.shutdown()
    except OSError:
        pass  # it is closed already, which is all that was wanted


class Connection:
    """What a pull needs of a server. One folder at a time is examined; not for use by several threads."""

    def __init__(self, client: Any, exchange: Exchange, capabilities: tuple[str, ...], identity: str) -> None:
        self._client = client
        self._exchange = exchange
        self.capabilities = capabilities
        self.identity = identity

    def has(self, capability: str) -> bool:
        return capability in self.capabilities

    def list_folders(self) -> list[Mailbox]:
        """Every mailbox of the personal namespace (RFC 2342), selectable or not."""
        # Some servers name special uses only when asked (RFC 6154, 2).
        asked = self.has("SPECIAL-USE") and self.has("LIST-EXTENDED")
        found: dict[str, Mailbox] = {}
        with translate(self._exchange.server):
            foreign = self._foreign_prefixes()
            for line in self._exchange.ask(b'LIST "" "*"' + b" RETURN (SPECIAL-USE)" * asked):
                if mailbox := listing.mailbox(line):
                    found[mailbox.raw] = mailbox
            self._exchange.insist(line)
        return [m for m in found.values() if not m.raw.startswith(foreign)]

    def _foreign_prefixes(self) -> tuple[str, ...]:
        if not self.has("NAMESPACE"):
            return ()
        answer = list(self._exchange.ask(b"NAMESPACE"))
        return tuple(prefix for line in answer for prefix in listing.foreign_prefixes(line))

    def status(self, mailboxes: Sequence[Mailbox]) -> dict[str, Status | FolderError]:
        """STATUS of each mailbox by raw name, asked for in bunches; a refused one has its error."""
        items = b"(MESSAGES UIDNEXT UIDVALIDITY%b)" % (b" HIGHESTMODSEQ" if self.has("CONDSTORE") else b"")
        result: dict[str, Status | FolderError] = {}
        with translate(self._exchange.server):
            for start in range(0, len(mailboxes), _PIPELINE):
                bunch = mailboxes[start : start + _PIPELINE]
                tags = [self._exchange.send(b"STATUS %b %b" % (quoted(m.raw), items)) for m in bunch]
                for mailbox, tag in zip(bunch, tags, strict=True):
                    result[mailbox.raw] = self._status(mailbox, tag)
        return result

    def _status(self, mailbox: Mailbox, tag: bytes) -> Status | FolderError:
        values: dict[bytes, int] = {}
        for line in self._exchange.answer(tag):
            if line.text[:9].upper() == b"* STATUS ":
                values = {k.upper(): int(v) for k, v in _STATUS_ITEMS.findall(line.text)}
        if not self._exchange.ok(line):
            self._exchange.go_on_after(line)
            return FolderError(f"STATUS refused: {self._exchange.words(line)}", folder=mailbox.name)
        get = values.get
        return Status(get(b"MESSAGES"), get(b"UIDNEXT"), get(b"UIDVALIDITY"), get(b"HIGHESTMODSEQ"))

    def examine(self, mailbox: Mailbox) -> Selected:
        """Open a mailbox for reading (EXAMINE). FolderError when the server will not."""
        condstore = b" (CONDSTORE)" if self.has("CONDSTORE") else b""
        codes: dict[bytes, int] = {}
        exists = 0
        with translate(self._exchange.server):
            for line in self._exchange.ask(b"EXAMINE %b%b" % (quoted(mailbox.raw), condstore)):
                if match := _EXISTS.match(line.text):
                    exists = int(match[1])
                codes.update((k.upper(), int(v)) for k, v in _CODE.findall(line.text))
            if not self._exchange.ok(line):
                self._exchange.go_on_after(line)
                raise FolderError(f"cannot be opened: {self._exchange.words(line)}", folder=mailbox.name)
        return Selected(exists, codes.get(b"UIDVALIDITY"), codes.get(b"UIDNEXT"), codes.get(b"HIGHESTMODSEQ"))

    def list_uids(self, first: int, last: int | None = None, since: int | None = None) -> Iterator[Listed]:
        """UID and flags of messages with first <= UID <= last in the examined mailbox.

        With `since` (a mod-sequence, RFC 7162, 3.1.4.1) only those changed after it. FETCH, not SEARCH:
        an answer of a line a message has no length limit. `n:*` names the last message even when its UID
        is below n (RFC 9051, 9), so what was not asked for is dropped.
        """
        changed = b" (CHANGEDSINCE %d)" % since if since is not None else b""
        end = b"%d" % last if last is not None else b"*"
        with translate(self._exchange.server):
            for line in self._exchange.ask(b"UID FETCH %d:%b (UID FLAGS)%b" % (first, end, changed)):
                items = fetch_items(line)
                uid = _number(items, b"UID")
                if items and uid and first <= uid and (last is None or uid <= last) and b"FLAGS" in items:
                    yield Listed(uid, flags_of(items[b"FLAGS"]))
            self._exchange.insist(line)

    def fetch(self, uids: Sequence[int]) -> Iterator[Fetched | Failed]:
        """Whole messages of the examined mailbox, as they arrive, ascending `uids` asked for at once.

        Matched by UID: items come in any order and among answers nobody asked for. What the server leaves
        out, or answers with NO, is asked for one by one; what it then still has and does not hand out is
        Failed. What was expunged meanwhile is neither.
        """
        missing = dict.fromkeys(uids)
        refused = ""
        ahead: deque[bytes] = deque()
        size = _Sizes()
        left = list(uids)
        with translate(self._exchange.server):
            while left or ahead:
                while left and len(ahead) < _COMMANDS_AHEAD:
                    step = size.batch()
                    batch, left = left[:step], left[step:]
                    ahead.extend(self._exchange.send_all([_FETCH % part for part in uid_set(batch)]))
                for line in self._exchange.answer(ahead.popleft()):
                    message = _message(line)
                    if message and message.uid in missing:
                        del missing[message.uid]
                        size.note(len(message.wire))
                        yield message
                self._exchange.go_on_after(line)
                if not self._exchange.ok(line):
                    refused = self._exchange.words(line)
        if missing:
            yield from self._one_by_one(list(missing), refused)

    def _one_by_one(self, uids: list[int], refused: str) -> Iterator[Fetched | Failed]:
        there: set[int] = set()
        for part in uid_set(uids):
            there.update(listed.uid for listed in self._listed(part))
        for uid in uids:
            if uid not in there:
                continue
            found: Fetched | None = None
            with translate(self._exchange.server):
                for line in self._exchange.ask(_FETCH % str(uid).encode()):
                    message = _message(line)
                    if message and message.uid == uid:
                        found = message
                self._exchange.go_on_after(line)
                reason = "" if self._exchange.ok(line) else self._exchange.words(line)
            yield found or Failed(uid, reason or refused or "the server sends no content")

    def _listed(self, part: bytes) -> Iterator[Listed]:
        with translate(self._exchange.server):
            for line in self._exchange.ask(b"UID FETCH %b (UID FLAGS)" % part):
                items = fetch_items(line)
                if items and (uid := _number(items, b"UID")):
                    yield Listed(uid, flags_of(items.get(b"FLAGS")))
            self._exchange.insist(line)

    def log_out(self) -> None:
        """Say good-bye; nobody waits for the answer, and what goes wrong with it no longer matters."""
        try:
            with translate(self._exchange.server):
                self._exchange.send(b"LOGOUT")
        except ServerError:
            pass

    def abandon(self) -> None:
        """Close the line at once, in the middle of whatever the server is sending."""
        _hang_up(self._client)


class _Sizes:
    """How many messages to ask for at once: about BATCH_BYTES, judged by those that have come."""

    def __init__(self) -> None:
        self._messages = 1
        self._bytes = _FIRST_GUESS

    def note(self, size: int) -> None:
        self._messages += 1
        self._bytes += size

    def batch(self) -> int:
        return max(1, min(BATCH_MESSAGES, BATCH_BYTES * self._messages // self._bytes))


def _number(items: dict[bytes, bytes | None] | None, name: bytes) -> int | None:
    value = items.get(name) if items else None
    return int(value) if value and value.isdigit() else None


def _message(line: Line) -> Fetched | None:
    """The message in a FETCH answer; None without UID or body; an empty body is none (Exchange)."""
    items = fetch_items(line)
    uid = _number(items, b"UID")
    if not items or not uid:
        return None
    wire = items.get(b"BODY[]")
    if not wire:
        return None
    return Fetched(uid, flags_of(items.get(b"FLAGS")), internal_date(items.get(b"INTERNALDATE")), wire)
