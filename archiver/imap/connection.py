"""One logged-in connection. Reads only: EXAMINE and BODY.PEEK[] change nothing on the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from archiver.config import ImapServer
from archiver.errors import FolderError, LoginError, ServerError, TlsError
from archiver.imap import tls
from archiver.imap.errors import bye, refusal, translate
from archiver.imap.names import quoted, readable
from archiver.imap.types import Failed, Fetched, Listed, Mailbox, Selected, Status
from archiver.imap.wire import Line, fetch_items, flags_of, internal_date, read_line, uid_set

_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]", re.IGNORECASE)
_EXISTS = re.compile(rb"\* +(\d+) +EXISTS", re.IGNORECASE)
_STATUS_ITEMS = re.compile(rb"(MESSAGES|UIDNEXT|UIDVALIDITY|HIGHESTMODSEQ) +(\d+)", re.IGNORECASE)
_SPECIAL = re.compile(r"\\(all|archive|drafts|flagged|junk|sent|trash|important)", re.IGNORECASE)
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
            client.folder_encode = False
            _secure(client, server, context)
            _log_in(client, server, password())
            connection = Connection(client, name)
            connection.introduce()
        yield connection
        connection.log_out()
    finally:
        _hang_up(client)


def _hang_up(client: Any) -> None:
    try:
        client.shutdown()
    except OSError:
        pass  # it is closed already, which is all that was wanted


def _secure(client: Any, server: ImapServer, context: Any) -> None:
    """Encrypt before anything is said; a line that cannot be is given up (CVE-2020-37248)."""
    if server.security == "starttls":
        if client._imap.state != "NONAUTH":
            raise TlsError(f"{server.host} greets with PREAUTH, before encryption", hint="use security: tls")
        if not client.has_capability("STARTTLS"):
            raise TlsError(
                f"{server.host} does not offer STARTTLS", hint="use security: tls if the server has port 993"
            )
        client.starttls(context)
    if server.security != "none":
        tls.check(server, client.socket().getpeercert(binary_form=True))


def _log_in(client: Any, server: ImapServer, password: str) -> None:
    if client._imap.state == "AUTH":
        raise LoginError(f"{server.host} greets with PREAUTH: whose mailbox this is cannot be known")
    plain = client.has_capability("AUTH=PLAIN")
    if not plain and client.has_capability("LOGINDISABLED"):
        raise LoginError(f"{server.host} allows no login here", hint="use security: tls or starttls")
    import imaplib

    try:
        if plain:
            client.plain_login(server.user, password)
        else:
            client.login(quoted(server.user).decode("latin-1"), password)
    except imaplib.IMAP4.abort:
        raise
    except (imaplib.IMAP4.error, UnicodeError) as exc:
        # Not chained: what was sent stands in some of these exceptions.
        text = str(exc) if isinstance(exc, imaplib.IMAP4.error) else "it takes no letters beyond ASCII"
        raise refusal(text, f"{server.host}:{server.port}", login=True) from None


class Connection:
    """What a pull needs of a server. One folder at a time is examined; not for use by several threads."""

    def __init__(self, client: Any, server: str) -> None:
        self._client = client
        self._server = server
        self._tags = 0
        self.identity = ""

    @property
    def capabilities(self) -> tuple[str, ...]:
        with translate(self._server):
            return tuple(sorted(c.decode("latin-1").upper() for c in self._client.capabilities()))

    def has(self, capability: str) -> bool:
        return capability in self.capabilities

    def introduce(self) -> None:
        """Send ID (RFC 2971) where it is known: some servers let nobody in without."""
        if not self.has("ID"):
            return
        from archiver import __version__

        answer = self._client.id_({"name": "archiver", "version": __version__, "vendor": "archiver"})
        words = [v.decode("utf-8", "replace") for v in _flat(answer) if isinstance(v, bytes)]
        pairs = dict(zip((w.lower() for w in words[::2]), words[1::2], strict=False))
        self.identity = " ".join(filter(None, (pairs.get("name"), pairs.get("version"))))[:100]

    def list_folders(self) -> list[Mailbox]:
        """Every mailbox of the personal namespace (RFC 2342), selectable or not."""
        with translate(self._server):
            foreign = self._foreign_prefixes()
            found = [self._mailbox(*row) for row in self._client.list_folders()]
        unique = {mailbox.raw: mailbox for mailbox in found}
        return [m for m in unique.values() if not m.raw.startswith(foreign)]

    def _foreign_prefixes(self) -> tuple[str, ...]:
        if not self.has("NAMESPACE"):
            return ()
        spaces = self._client.namespace()
        prefixes = [bytes(prefix).decode("latin-1") for space in spaces[1:] for prefix, _ in space or ()]
        return tuple(prefix for prefix in prefixes if prefix)

    def _mailbox(self, flags: Iterable[bytes], delimiter: bytes | None, raw: bytes | str) -> Mailbox:
        name = raw.decode("latin-1") if isinstance(raw, bytes) else raw
        words = [flag.decode("latin-1") for flag in flags]
        lower = {word.lower() for word in words}
        separator = delimiter.decode("latin-1") if delimiter else None
        return Mailbox(
            raw=name,
            # One separator for people, whatever this server's is: the same globs fit everywhere.
            name="/".join(readable(name).split(separator)) if separator else readable(name),
            delimiter=separator,
            special=tuple(word for word in words if _SPECIAL.fullmatch(word)),
            selectable=not lower & {"\\noselect", "\\nonexistent"},
        )

    def status(self, mailboxes: Sequence[Mailbox]) -> dict[str, Status | FolderError]:
        """STATUS of each mailbox by raw name, asked for in bunches; a refused one has its error."""
        items = b"(MESSAGES UIDNEXT UIDVALIDITY%b)" % (b" HIGHESTMODSEQ" if self.has("CONDSTORE") else b"")
        result: dict[str, Status | FolderError] = {}
        with translate(self._server):
            for start in range(0, len(mailboxes), _PIPELINE):
                bunch = mailboxes[start : start + _PIPELINE]
                tags = [self._send(b"STATUS %b %b" % (quoted(m.raw), items)) for m in bunch]
                for mailbox, tag in zip(bunch, tags, strict=True):
                    result[mailbox.raw] = self._status(mailbox, tag)
        return result

    def _status(self, mailbox: Mailbox, tag: bytes) -> Status | FolderError:
        values: dict[bytes, int] = {}
        for line in self._answer(tag):
            if line.text[:9].upper() == b"* STATUS ":
                values = {k.upper(): int(v) for k, v in _STATUS_ITEMS.findall(line.text)}
        if not self._ok(line):
            return FolderError(f"STATUS refused: {_words(line)}", folder=mailbox.name)
        get = values.get
        return Status(get(b"MESSAGES"), get(b"UIDNEXT"), get(b"UIDVALIDITY"), get(b"HIGHESTMODSEQ"))

    def examine(self, mailbox: Mailbox) -> Selected:
        """Open a mailbox for reading (EXAMINE). FolderError when the server will not."""
        condstore = b" (CONDSTORE)" if self.has("CONDSTORE") else b""
        codes: dict[bytes, int] = {}
        exists = 0
        with translate(self._server):
            tag = self._send(b"EXAMINE %b%b" % (quoted(mailbox.raw), condstore))
            for line in self._answer(tag):
                if match := _EXISTS.match(line.text):
                    exists = int(match[1])
                codes.update((k.upper(), int(v)) for k, v in _CODE.findall(line.text))
            if not self._ok(line):
                failure = refusal(_words(line), self._server)
                if failure.transient:
                    raise failure
                raise FolderError(f"cannot be opened: {_words(line)}", folder=mailbox.name)
        return Selected(exists, codes.get(b"UIDVALIDITY"), codes.get(b"UIDNEXT"), codes.get(b"HIGHESTMODSEQ"))

    def list_uids(self, first: int, last: int | None = None, since: int | None = None) -> Iterator[Listed]:
        """UID and flags of messages with first <= UID <= last in the examined mailbox.

        With `since` (a mod-sequence, RFC 7162, 3.1.4.1) only those changed after it. FETCH, not SEARCH:
        an answer of a line a message has no length limit. `n:*` names the last message even when its UID
        is below n (RFC 9051, 9), so what was not asked for is dropped.
        """
        changed = b" (CHANGEDSINCE %d)" % since if since is not None else b""
        end = b"%d" % last if last is not None else b"*"
        with translate(self._server):
            tag = self._send(b"UID FETCH %d:%b (UID FLAGS)%b" % (first, end, changed))
            for line in self._answer(tag):
                items = fetch_items(line)
                uid = _number(items, b"UID")
                if items and uid and first <= uid and (last is None or uid <= last) and b"FLAGS" in items:
                    yield Listed(uid, flags_of(items[b"FLAGS"]))
            if not self._ok(line):
                raise refusal(_words(line), self._server)

    def fetch(self, uids: Sequence[int]) -> Iterator[Fetched | Failed]:
        """Whole messages of the examined mailbox, as they arrive, ascending `uids` asked for at once.

        Matched by UID: items come in any order and among answers nobody asked for. What the server leaves
        out, or answers with NO, is asked for one by one; what it then still has and does not hand out is
        Failed. What was expunged meanwhile is neither.
        """
        missing = dict.fromkeys(uids)
        refused = ""
        with translate(self._server):
            for part in uid_set(list(uids)):
                tag = self._send(
                    b"UID FETCH %b (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])" % part.encode()
                )
                for line in self._answer(tag):
                    message = _message(line)
                    if message and message.uid in missing:
                        del missing[message.uid]
                        yield message
                if not self._ok(line):
                    refused = _words(line)
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
            with translate(self._server):
                tag = self._send(b"UID FETCH %d (UID FLAGS INTERNALDATE BODY.PEEK[])" % uid)
                for line in self._answer(tag):
                    message = _message(line)
                    if message and message.uid == uid:
                        found = message
                reason = "" if self._ok(line) else _words(line)
            yield found or Failed(uid, reason or refused or "the server sends no content")

    def _listed(self, part: str) -> Iterator[Listed]:
        with translate(self._server):
            tag = self._send(b"UID FETCH %b (UID FLAGS)" % part.encode())
            for line in self._answer(tag):
                items = fetch_items(line)
                if items and (uid := _number(items, b"UID")):
                    yield Listed(uid, flags_of(items.get(b"FLAGS")))

    def log_out(self) -> None:
        """Say good-bye; what goes wrong with that no longer matters."""
        try:
            with translate(self._server):
                self._client.logout()
        except ServerError:
            pass

    def abandon(self) -> None:
        """Close the line at once, in the middle of whatever the server is sending."""
        _hang_up(self._client)

    def _send(self, command: bytes) -> bytes:
        self._tags += 1
        tag = b"A%d" % self._tags
        self._client._imap.send(tag + b" " + command + b"\r\n")
        return tag

    def _answer(self, tag: bytes) -> Iterator[Line]:
        """Lines up to and with the tagged one."""
        stream = self._client._imap
        end = tag + b" "
        while True:
            line = read_line(stream)
            yield line
            if line.text.startswith(end):
                return
            if line.text[:6].upper() == b"* BYE ":
                raise bye(line.text[6:].decode("utf-8", "replace"), self._server)

    def _ok(self, tagged: Line) -> bool:
        return tagged.text.split(b" ", 2)[1][:2].upper() == b"OK"


def _words(tagged: Line) -> str:
    """A tagged answer without its tag."""
    return tagged.text.split(b" ", 1)[1].decode("utf-8", "replace").strip()[:200]


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


def _flat(value: Any) -> Iterator[Any]:
    for item in value if isinstance(value, (tuple, list)) else ():
        yield from _flat(item) if isinstance(item, (tuple, list)) else (item,)
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield item
