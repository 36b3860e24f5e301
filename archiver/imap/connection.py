"""One logged-in connection. What a pull asks for, EXAMINE and BODY.PEEK[], changes nothing on the server.

What does change something stands together, under "For who writes"; a pull calls none of it.

imapclient makes the connection and does STARTTLS; what follows is asked and read here, line by line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from msgspec.structs import replace

from archiver import trust
from archiver.config import ImapServer
from archiver.config.structs import PERSONAL, Namespace, is_loopback
from archiver.errors import FolderError, LoginError, ServerError
from archiver.imap import listing, writing
from archiver.imap.append import Appending
from archiver.imap.errors import translate
from archiver.imap.exchange import MOST_MESSAGES, Bounds, Exchange
from archiver.imap.fetch import fetch, found_in, listed_in, vanished_in
from archiver.imap.heeding import heeding
from archiver.imap.idle import RENEW, Idle, Notify
from archiver.imap.login import introduce, log_in, secure
from archiver.imap.names import quoted
from archiver.imap.objects import label_item, mailboxid, naming_items
from archiver.imap.stream import Stream
from archiver.imap.types import Failed, Fetched, Listed, Mailbox, Opened, Receive, Selected, Status
from archiver.imap.wire import MAX_MODSEQ, MAX_NUMBER, Line, checked, uid_set

_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]", re.IGNORECASE)
_EXISTS = re.compile(rb"\* +(\d+) +EXISTS", re.IGNORECASE)
_STATUS_ITEMS = re.compile(rb"(MESSAGES|UIDNEXT|UIDVALIDITY|HIGHESTMODSEQ) +(\d+)", re.IGNORECASE)
# STATUS commands under way at once; their answers must fit what the sockets buffer while we still send.
_PIPELINE = 50
_BREAKS = set("\r\n\0")


@contextmanager
def connect(
    server: ImapServer, credential: Callable[[], str], stop: Callable[[], bool] | None = None
) -> Iterator[Connection]:
    """A logged-in connection, closed at the end. `credential` gives the password or token.

    It is asked only once the line is trusted; and once more, on a new line, for another token when the
    first is refused: they last an hour or so. Raises ConnectError, TlsError, LoginError, UnavailableError,
    or ConnectionLostError; InterruptedRun when `stop` says so while the server is silent.
    """
    told: list[str] = []

    def ask() -> str:
        told.append(credential())
        return told[0]

    with ExitStack() as stack:
        try:
            connection = stack.enter_context(_logged_in(server, ask, stop))
        except LoginError:
            if not server.token or not told or (fresh := credential()) == told[0]:
                raise
            connection = stack.enter_context(_logged_in(server, lambda: fresh, stop))
        yield connection


@contextmanager
def _logged_in(
    server: ImapServer, credential: Callable[[], str], stop: Callable[[], bool] | None
) -> Iterator[Connection]:
    name = f"{server.host}:{server.port}"
    with translate(name):
        client = heeding(lambda: _secured(server), stop, _hang_up) if stop else _secured(server)
    try:
        with translate(name):
            exchange = Exchange(Stream(client.socket(), stop), name)
            capabilities = log_in(client, exchange, server, credential)
            identity = introduce(exchange) if "ID" in capabilities else ""
            compress = server.compress if "COMPRESS=DEFLATE" in capabilities else "off"
            if compress == "on":
                exchange.compress()
        connection = Connection(client, exchange, capabilities, identity)
        # To this machine itself nothing is gained, whatever it measures.
        connection.may_compress = compress == "auto" and not is_loopback(server.host)
        yield connection
        connection.log_out()
    finally:
        _hang_up(client)


def _secured(server: ImapServer) -> Any:
    """A line that may be trusted, before the login."""
    from archiver.imap.greeting import meet

    context = None if server.security == "none" else trust.context(server)
    client = meet(server, context)
    try:
        secure(client, server, context)
    except BaseException:
        _hang_up(client)
        raise
    return client


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
        self.tells_changes = False
        self._statuses: dict[str, Status] = {}
        self._exists = 0
        self.may_compress = False
        self._labels = label_item(capabilities)
        self._naming = naming_items(capabilities)
        self._foreign: dict[Namespace, tuple[str, ...]] = {}
        self._namespaces: frozenset[Namespace] = frozenset()
        self._own: tuple[str, str | None] | None = None

    @property
    def round_trip(self) -> float:
        """Seconds from a command to its answer, of the quickest so far."""
        return self._exchange.round_trip

    def has(self, capability: str) -> bool:
        return capability in self.capabilities

    @property
    def names_contents(self) -> bool:
        """Whether the server says of a message what it calls its content, the same in every mailbox."""
        return bool(self._naming)

    def list_folders(self, namespaces: Collection[Namespace] = PERSONAL) -> list[Mailbox]:
        """Every mailbox of these namespaces (RFC 2342), selectable or not; one's own in one round trip.

        Where the server has LIST-STATUS (RFC 5819) the answer to `status` comes along.
        """
        commands = [self._list_command("*")]
        if self.has("NAMESPACE"):
            commands.insert(0, b"NAMESPACE")
        if self.has("QRESYNC") and not self._labels:  # what it tells with EXAMINE has no labels
            commands.insert(0, b"ENABLE QRESYNC")
        self._namespaces = frozenset(namespaces)
        found: dict[str, Mailbox] = {}
        with translate(self._exchange.server):
            self._exchange.insist(self._note_listed(commands, found))
            wanted = [p for space in namespaces for p in self._foreign.get(space, ()) if not set(p) & _BREAKS]
            # Not every server lists these among the others; one that lists none of them may say NO.
            for start in range(0, len(wanted), _PIPELINE):
                bunch = [self._list_command(prefix + "*") for prefix in wanted[start : start + _PIPELINE]]
                self._exchange.go_on_after(self._note_listed(bunch, found))
        told = (replace(m, namespace=listing.namespace_of(m.raw, self._foreign)) for m in found.values())
        return [mailbox for mailbox in told if mailbox.namespace in self._namespaces]

    def sees(self, raw: str) -> bool:
        """Whether a mailbox of this name, if there is one, is among those that were listed."""
        return listing.namespace_of(raw, self._foreign) in self._namespaces

    def _note_listed(self, commands: Sequence[bytes], found: dict[str, Mailbox]) -> Line:
        """The last answer to commands; what is told on the way is noted, mailboxes in `found`."""
        for tag in self._exchange.send_all(commands):
            for line in self._exchange.answer(tag):
                self.tells_changes |= (
                    line.text[:10].upper() == b"* ENABLED " and b"QRESYNC" in line.text.upper()
                )
                self._foreign.update(listing.foreign_prefixes(line))
                if mailbox := listing.mailbox(line):
                    found[mailbox.raw] = mailbox
                elif name := listing.status_name(line):
                    self._statuses[name] = _status_in(line)
        return line

    def _list_command(self, pattern: str) -> bytes:
        return b'LIST "" %b%b' % (quoted(pattern), self._list_options())

    def _list_options(self) -> bytes:
        options = []
        # Some servers name special uses only when asked (RFC 6154, 2).
        if self.has("SPECIAL-USE") and self.has("LIST-EXTENDED"):
            options.append(b"SPECIAL-USE")
        if self.has("LIST-STATUS"):
            options.append(b"STATUS " + self._status_items())
        return b" RETURN (%b)" % b" ".join(options) if options else b""

    def _status_items(self) -> bytes:
        more = b" HIGHESTMODSEQ" if self.has("CONDSTORE") else b""
        # Cyrus 3.6 tells memory it has freed, line ends and all; EXAMINE has it right.
        more += b" MAILBOXID" if self.has("OBJECTID") and "cyrus" not in self.identity.lower() else b""
        return b"(MESSAGES UIDNEXT UIDVALIDITY%b)" % more

    def status(self, mailboxes: Sequence[Mailbox]) -> dict[str, Status | FolderError]:
        """STATUS of each mailbox by raw name; a refused one has its error.

        What came with the list is not asked again; the rest is asked for in bunches.
        """
        result: dict[str, Status | FolderError] = {}
        wanted = []
        for mailbox in mailboxes:
            known = self._statuses.pop(mailbox.raw, None)
            if known is None:
                wanted.append(mailbox)
            else:
                result[mailbox.raw] = known
        with translate(self._exchange.server):
            for start in range(0, len(wanted), _PIPELINE):
                bunch = wanted[start : start + _PIPELINE]
                items = self._status_items()
                tags = self._exchange.send_all([b"STATUS %b %b" % (quoted(m.raw), items) for m in bunch])
                for mailbox, tag in zip(bunch, tags, strict=True):
                    result[mailbox.raw] = self._status(mailbox, tag)
        return result

    def _status(self, mailbox: Mailbox, tag: bytes) -> Status | FolderError:
        status = Status(None, None, None, None)
        for line in self._exchange.answer(tag):
            if line.text[:9].upper() == b"* STATUS ":
                status = _status_in(line)
        if not self._exchange.ok(line):
            self._exchange.go_on_after(line)
            return FolderError(f"STATUS refused: {self._exchange.words(line)}", folder=mailbox.name)
        return status

    def examine(self, mailbox: Mailbox, known: tuple[int, int] | None = None) -> Selected:
        """Open a mailbox for reading (EXAMINE). FolderError when the server will not.

        Given the UIDVALIDITY and the mod-sequence of the last time, a server with QRESYNC (RFC 7162, 3.2.5)
        says in the same answer what changed and what vanished since.
        """
        asks = self.tells_changes and known is not None
        option = b" (CONDSTORE)" if self.has("CONDSTORE") else b""
        if known is not None and asks:
            option = b" (QRESYNC (%d %d))" % known
        codes: dict[bytes, int] = {}
        exists = 0
        changed: list[Listed] = []
        vanished: list[tuple[int, int]] = []
        bounds = Bounds()
        name: str | None = None
        with translate(self._exchange.server):
            for line in self._exchange.ask(b"EXAMINE %b%b" % (quoted(mailbox.raw), option), bounds=bounds):
                if match := _EXISTS.match(line.text):
                    self._exists = exists = checked(match[1], MAX_NUMBER, "EXISTS {}")
                    # The first word counts: one that grows with every line would set no bounds.
                    bounds.messages = bounds.messages or exists
                elif listed := listed_in(line):
                    changed.append(listed)
                vanished += vanished_in(line, len(vanished))
                codes.update(_numbers(_CODE, line.text))
                if line.text[:6].upper() == b"* OK [":
                    name = mailboxid(line.text) or name
            if not self._exchange.ok(line):
                self._exchange.go_on_after(line)
                raise FolderError(f"cannot be opened: {self._exchange.words(line)}", folder=mailbox.name)
        if exists > MOST_MESSAGES:
            raise FolderError(
                f"the server counts {exists:,} messages; up to {MOST_MESSAGES:,} can be compared",
                folder=mailbox.name,
            )
        same = known is not None and codes.get(b"UIDVALIDITY") == known[0]
        return Selected(
            exists,
            codes.get(b"UIDVALIDITY"),
            codes.get(b"UIDNEXT"),
            codes.get(b"HIGHESTMODSEQ"),
            tuple(changed) if asks and same else None,
            tuple(vanished),
            name,
        )

    def uids(self, first: int = 1) -> Iterator[int]:
        """UIDs from `first` on in the examined mailbox: ranges in one line where the server has ESEARCH.

        What it says then is believed only as far as it can be: servers have ignored what a search is for.
        """
        spans = self._search(first) if self.has("ESEARCH") else None
        if spans is None:
            yield from (listed.uid for listed in self.list_uids(first))
            return
        for low, high in spans:
            yield from range(max(low, first), high + 1)

    def _search(self, first: int) -> list[tuple[int, int]] | None:
        """Ascending ranges of UIDs (RFC 4731, 3.1); None when they cannot be relied on."""
        spans: list[tuple[int, int]] = []
        plain = False
        with translate(self._exchange.server):
            for line in self._exchange.ask(b"UID SEARCH RETURN (ALL) UID %d:*" % first):
                spans += ((min(span), max(span)) for span in found_in(line, len(spans)))
                plain |= line.text[:9].upper() == b"* SEARCH "
            self._exchange.go_on_after(line)
        if plain:
            return None  # it offers ESEARCH and answers as if it had none
        # Some may have come since the mailbox was opened.
        most = self._exists * 2 + 1000
        good = self._exchange.ok(line) and sum(high - low + 1 for low, high in spans) <= most
        return sorted(spans) if good else None

    def list_uids(
        self, first: int, last: int | None = None, since: int | None = None, *, named: bool = False
    ) -> Iterator[Listed]:
        """UID, flags and labels of messages with first <= UID <= last in the examined mailbox.

        With `since` (a mod-sequence, RFC 7162, 3.1.4.1) only those changed after it; `named` asks for the
        names of their contents as well. FETCH, not SEARCH: an answer of a line a message has no length
        limit. `n:*` names the last message even when its UID is below n (RFC 9051, 9), so what was not
        asked for is dropped.
        """
        changed = b" (CHANGEDSINCE %d)" % since if since is not None else b""
        end = b"%d" % last if last is not None else b"*"
        for listed in self._list(b"%d:%b" % (first, end), changed, named):
            if first <= listed.uid and (last is None or listed.uid <= last):
                yield listed

    def name(self, uids: Sequence[int]) -> Iterator[Listed]:
        """The same of these messages (ascending) and no others, their contents named."""
        wanted = frozenset(uids)
        for part in uid_set(uids):
            yield from (listed for listed in self._list(part, b"", True) if listed.uid in wanted)

    def _list(self, uids: bytes, changed: bytes, named: bool) -> Iterator[Listed]:
        extra = self._labels + (self._naming if named else b"")
        with translate(self._exchange.server):
            command = b"UID FETCH %b (UID FLAGS%b)%b" % (uids, extra, changed)
            for line in self._exchange.ask(command, bounds=Bounds(self._exists)):
                if listed := listed_in(line):
                    yield listed
            if extra:
                self._exchange.go_on_after(line)
            else:
                self._exchange.insist(line)
        if not self._exchange.ok(line):
            # It offers what it then will not tell: done without, from here on.
            self._labels = self._naming = b""
            yield from self._list(uids, changed, named)

    def fetch(self, uids: Sequence[int], receive: Receive | None = None) -> Iterator[Fetched | Failed]:
        """Whole messages of the examined mailbox, as they arrive; see `archiver.imap.fetch`."""
        with translate(self._exchange.server):
            yield from fetch(self._exchange, uids, receive, may_compress=self.may_compress)

    # For who writes

    def select(self, mailbox: Mailbox) -> Opened:
        """Open a mailbox for writing (SELECT). FolderError when the server will not."""
        with translate(self._exchange.server):
            opened = writing.select(self._exchange, mailbox)
        self._exists = opened.exists
        return opened

    def mailbox_named(self, name: str) -> Mailbox:
        """What a readable name, its levels separated by `/`, would be on this server, were it one's own."""
        with translate(self._exchange.server):
            if self._own is None:
                prefix, between = writing.personal(self._exchange) if self.has("NAMESPACE") else ("", None)
                self._own = prefix, between or writing.delimiter(self._exchange)
            return writing.mailbox_named(name, *self._own)

    def create(self, mailbox: Mailbox) -> None:
        """Make a mailbox and subscribe to it. FolderError when the server will not."""
        with translate(self._exchange.server):
            writing.create(self._exchange, mailbox)

    def append_limit(self, mailbox: Mailbox) -> int | None:
        """Bytes that a message may have here (RFC 7889); None where the server does not say."""
        with translate(self._exchange.server):
            return writing.append_limit(self._exchange, mailbox, self.capabilities)

    def appending(self, mailbox: Mailbox) -> Appending:
        """Messages on their way into a mailbox; see `archiver.imap.append`."""
        return Appending(self._exchange, mailbox.raw, self.has)

    def dated(self, first: int = 1, uids: Sequence[int] = ()) -> list[Listed]:
        """UID, flags, INTERNALDATE in the selected mailbox: from `first` on, or of these (ascending)."""
        with translate(self._exchange.server):
            parts = uid_set(uids) if uids else [b"%d:*" % first]
            found = [m for part in parts for m in writing.dated(self._exchange, part, self._exists)]
        wanted = frozenset(uids)
        return [m for m in found if (m.uid in wanted if wanted else m.uid >= first)]

    def refresh(self) -> None:
        """Let the server tell of what came into the selected mailbox meanwhile."""
        with translate(self._exchange.server):
            for line in self._exchange.ask(b"NOOP"):
                if match := _EXISTS.match(line.text):
                    self._exists = checked(match[1], MAX_NUMBER, "EXISTS {}")
            self._exchange.go_on_after(line)

    def unselect(self) -> None:
        """Leave the selected mailbox as it is (RFC 3691), where the server can.

        While messages are put into a selected one, it works out what to tell of each.
        """
        if self.has("UNSELECT"):
            with translate(self._exchange.server):
                *_, line = self._exchange.ask(b"UNSELECT")
                self._exchange.go_on_after(line)

    def expunge(self, uids: Sequence[int]) -> None:
        """Delete these messages of the selected mailbox from the server; see `archiver.imap.writing`."""
        with translate(self._exchange.server):
            writing.expunge(self._exchange, uids)

    def unmark(self, uids: Sequence[int]) -> None:
        r"""Take \Deleted off these messages of the selected mailbox again."""
        with translate(self._exchange.server):
            writing.unmark(self._exchange, uids)

    def idle(self, mailbox: Mailbox, renew: float = RENEW) -> Idle:
        """Examine a mailbox and hear of what changes there; begun. FolderError when the server will not."""
        exists = self.examine(mailbox).exists
        idle = Idle(self._exchange, mailbox.raw, exists, flags=self.has("CONDSTORE"), renew=renew)
        idle.begin()
        return idle

    def notify(self, renew: float = RENEW) -> Notify:
        """Hear of what changes in every mailbox; begun. FolderError when the server will not."""
        notify = Notify(self._exchange, flags=self.has("CONDSTORE"), renew=renew)
        notify.begin()
        return notify

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


def _status_in(line: Line) -> Status:
    items = listing.status_items(line)
    get = _numbers(_STATUS_ITEMS, items).get
    numbers = get(b"MESSAGES"), get(b"UIDNEXT"), get(b"UIDVALIDITY"), get(b"HIGHESTMODSEQ")
    return Status(*numbers, mailboxid(items))


def _numbers(what: re.Pattern[bytes], text: bytes) -> dict[bytes, int]:
    """The numbers a server gives by upper-case name; ProtocolError for one that cannot be."""
    found = {}
    for name, digits in what.findall(text):
        most = MAX_MODSEQ if name.upper() == b"HIGHESTMODSEQ" else MAX_NUMBER
        found[name.upper()] = checked(digits, most, f"{name.decode()} {{}}")
    return found
