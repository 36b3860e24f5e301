"""What changes mailboxes besides APPEND: SELECT for writing, CREATE, and deleting messages by their UIDs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec.structs import replace

from archiver.errors import FolderError, UsageError
from archiver.imap.exchange import Bounds, Exchange
from archiver.imap.fetch import listed_in
from archiver.imap.names import quoted, wire_name
from archiver.imap.objects import mailboxid
from archiver.imap.types import Listed, Mailbox, Opened
from archiver.imap.wire import MAX_NUMBER, checked, flags_of, uid_set, values

_NUMBER = re.compile(rb"\[(UIDVALIDITY|UIDNEXT) ++(\d++)\]", re.IGNORECASE)
_EXISTS = re.compile(rb"\* ++(\d++) ++EXISTS", re.IGNORECASE)
_PERMANENT = re.compile(rb"\[PERMANENTFLAGS ++(\([^)]*+\))", re.IGNORECASE)
_READ_ONLY = re.compile(rb"\[READ-ONLY\]", re.IGNORECASE)
_LIMIT = re.compile(rb"APPENDLIMIT ++(\d++)", re.IGNORECASE)
_NAMESPACE = re.compile(rb"\* ++NAMESPACE ++(.*)", re.IGNORECASE | re.DOTALL)
_DELIMITER = re.compile(rb'\) ++"\\?([^\r\n])"', re.IGNORECASE)
_EXISTS_ALREADY = re.compile(r"\[ALREADYEXISTS\]|already exists", re.IGNORECASE)


def select(exchange: Exchange, mailbox: Mailbox) -> Opened:
    """Open a mailbox for writing. FolderError when the server will not."""
    codes: dict[bytes, int] = {}
    exists = 0
    name: str | None = None
    permanent: frozenset[str] | None = None
    for line in exchange.ask(b"SELECT " + quoted(mailbox.raw)):
        if match := _EXISTS.match(line.text):
            exists = checked(match[1], MAX_NUMBER, "EXISTS {}")
        for code, digits in _NUMBER.findall(line.text):
            codes[code.upper()] = checked(digits, MAX_NUMBER, f"{code.decode()} {{}}")
        if match := _PERMANENT.search(line.text):
            permanent = flags_of(match[1])
        name = mailboxid(line.text) or name
    if not exchange.ok(line):
        exchange.go_on_after(line)
        raise FolderError(f"cannot be opened: {exchange.words(line)}", folder=mailbox.name)
    # Without PERMANENTFLAGS all can be set (RFC 9051, 6.3.2).
    flags = frozenset({"\\*"}) if permanent is None else permanent
    return Opened(
        exists,
        codes.get(b"UIDVALIDITY"),
        codes.get(b"UIDNEXT"),
        name,
        _READ_ONLY.search(line.text) is not None,
        flags,
        "\\*" in flags,
    )


def personal(exchange: Exchange) -> tuple[str, str | None]:
    """How names of one's own mailboxes begin, and what stands between their levels (RFC 2342, 5)."""
    prefix, delimiter = "", None
    for line in exchange.ask(b"NAMESPACE"):
        if match := _NAMESPACE.match(line.text):
            own, *_ = values(match[1], line.literals) or [None]
            first = own[0] if isinstance(own, list) and own else None
            if isinstance(first, list) and len(first) >= 2:
                prefix, delimiter = (_text(value) for value in first[:2])
    exchange.go_on_after(line)
    return prefix or "", delimiter or None


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else ""


def delimiter(exchange: Exchange) -> str | None:
    """What stands between the levels of a name (RFC 9051, 6.3.9); None where there are none."""
    found: str | None = None
    for line in exchange.ask(b'LIST "" ""'):
        if line.text[:7].upper() == b"* LIST " and (match := _DELIMITER.search(line.text)):
            found = match[1].decode("latin-1")
    exchange.go_on_after(line)
    return found


def mailbox_named(name: str, prefix: str, delimiter: str | None) -> Mailbox:
    """The mailbox that a readable name, levels separated by `/`, would be on this server.

    What this server separates levels with becomes `_` within one. UsageError for a name that cannot be sent.
    """
    levels = [level for level in name.split("/") if level]
    if not levels:
        raise UsageError("a folder needs a name")
    if levels[0].upper() == "INBOX":
        levels[0] = "INBOX"
    if delimiter is None and len(levels) > 1:
        levels = ["_".join(levels)]
    inner = delimiter or "/"
    raw = inner.join(wire_name(level.replace(inner, "_")) for level in levels)
    if levels != ["INBOX"] and prefix and not raw.startswith(prefix):
        raw = prefix + raw
    return Mailbox(raw=raw, name="/".join(levels), delimiter=delimiter)


def create(exchange: Exchange, mailbox: Mailbox) -> None:
    """Make a mailbox, and subscribe to it as most programs show only such. FolderError when refused."""
    *_, line = exchange.ask(b"CREATE " + quoted(mailbox.raw))
    if not exchange.ok(line) and not _EXISTS_ALREADY.search(exchange.words(line)):
        exchange.go_on_after(line)
        raise FolderError(f"cannot be created: {exchange.words(line)}", folder=mailbox.name)
    *_, line = exchange.ask(b"SUBSCRIBE " + quoted(mailbox.raw))
    exchange.go_on_after(line)


def append_limit(exchange: Exchange, mailbox: Mailbox, capabilities: Sequence[str]) -> int | None:
    """How large a message may be (RFC 7889): one limit for all, or this mailbox's; None: nobody says."""
    for capability in capabilities:
        _, equals, digits = capability.partition("APPENDLIMIT=")
        if equals and digits.isdigit():
            return int(digits)
    if "APPENDLIMIT" not in capabilities:
        return None
    limit: int | None = None
    for line in exchange.ask(b"STATUS %b (APPENDLIMIT)" % quoted(mailbox.raw)):
        if line.text[:9].upper() == b"* STATUS " and (match := _LIMIT.search(line.text)):
            limit = checked(match[1], MAX_NUMBER, "APPENDLIMIT {}")
    exchange.go_on_after(line)
    return limit


def dated(exchange: Exchange, uids: bytes, exists: int) -> list[Listed]:
    """UID, flags and INTERNALDATE of messages of the selected mailbox, by UID. ServerError for a NO."""
    found: dict[int, Listed] = {}
    for line in exchange.ask(b"UID FETCH %b (UID FLAGS INTERNALDATE)" % uids, bounds=Bounds(exists)):
        if listed := listed_in(line):
            before = found.get(listed.uid)
            # A FETCH that nobody asked for, of flags that have just changed, has no date.
            if before and listed.received is None:
                listed = replace(before, flags=listed.flags)
            found[listed.uid] = listed
    exchange.insist(line)
    return [found[uid] for uid in sorted(found)]


def expunge(exchange: Exchange, uids: Sequence[int]) -> None:
    r"""Delete these messages (ascending) of the selected mailbox, and no others (UID EXPUNGE, RFC 4315, 2.1).

    Never EXPUNGE, which takes along what somebody else marked \Deleted. FolderError when refused; they may
    be marked by then.
    """
    for command in (b"UID STORE %b +FLAGS.SILENT (\\Deleted)", b"UID EXPUNGE %b"):
        for part in uid_set(uids):
            _change(exchange, command % part, len(uids))


def unmark(exchange: Exchange, uids: Sequence[int]) -> None:
    r"""Take \Deleted off these messages (ascending) of the selected mailbox. FolderError when refused."""
    for part in uid_set(uids):
        _change(exchange, b"UID STORE %b -FLAGS.SILENT (\\Deleted)" % part, len(uids))


def _change(exchange: Exchange, command: bytes, messages: int) -> None:
    *_, line = exchange.ask(command, bounds=Bounds(messages))
    if not exchange.ok(line):
        exchange.go_on_after(line)
        raise FolderError(f"nothing can be deleted: {exchange.words(line)}")
