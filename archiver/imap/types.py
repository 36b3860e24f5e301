"""What the server says, as frozen structs in IMAP's own words (RFC 9051)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from archiver.config.structs import Namespace


class Mailbox(msgspec.Struct, frozen=True):
    r"""A line of LIST. `raw` is the name on the wire, each byte one character; `name` is readable, its
    levels separated by `/` whatever the server's `delimiter` is.

    `special` holds special uses such as `\\Junk` (RFC 6154); `namespace` says whose it is (RFC 2342).
    """

    raw: str
    name: str
    delimiter: str | None
    special: tuple[str, ...] = ()
    selectable: bool = True
    namespace: Namespace = "personal"


class Status(msgspec.Struct, frozen=True):
    """STATUS of a mailbox; what the server left out is None.

    `mailboxid` (RFC 8474, 4.3) is a hint, which not every server has right: EXAMINE tells it for certain.
    """

    messages: int | None
    uidnext: int | None
    uidvalidity: int | None
    modseq: int | None
    mailboxid: str | None = None


class Listed(msgspec.Struct, frozen=True, gc=False):
    r"""A message's UID and flags; `\\Recent` is left out.

    `labels` are Gmail's, None on other servers. `content` is the server's name for the bytes: messages of
    one account that share it have the same. It, and `received` as in `Fetched`, come where they were asked
    for and the server tells.
    """

    uid: int
    flags: frozenset[str]
    labels: frozenset[str] | None = None
    content: str | None = None
    received: int | None = None


class Selected(msgspec.Struct, frozen=True):
    """What EXAMINE answered. `modseq` is None where the mailbox keeps none (RFC 7162, 3.1.2).

    `mailboxid` stays when the mailbox is renamed (RFC 8474, 4); None on servers that have none.
    `changed` are the messages new or changed since the mod-sequence asked about, `vanished` the ranges of
    UIDs gone since; None when the server was not asked or does not tell.
    """

    exists: int
    uidvalidity: int | None
    uidnext: int | None
    modseq: int | None
    changed: tuple[Listed, ...] | None = None
    vanished: tuple[tuple[int, int], ...] = ()
    mailboxid: str | None = None


class Spooled(msgspec.Struct, frozen=True):
    """The bytes of a message too large to hold, written to a file while they came.

    `key` is their SHA-256; `crlf` whether every LF follows a CR.
    """

    path: str
    size: int
    key: bytes
    crlf: bool


Receive = Callable[[Iterator[bytes]], Spooled]
"""Takes the bytes of a large message piece by piece."""


class Fetched(msgspec.Struct, frozen=True, gc=False):
    """A whole message. `received` is INTERNALDATE in Unix seconds, None when the server's makes no sense."""

    uid: int
    flags: frozenset[str]
    received: int | None
    wire: bytes | Spooled

    @property
    def size(self) -> int:
        return self.wire.size if isinstance(self.wire, Spooled) else len(self.wire)


class Failed(msgspec.Struct, frozen=True):
    """A message the server has and does not hand out, and why (no content in it)."""

    uid: int
    reason: str


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message to be put into a mailbox: its bytes, or pieces of them as they are read, `size` in all.

    `flags` are IMAP's words (`\\Seen`, `$Label1`); `received` becomes INTERNALDATE, in Unix seconds.
    """

    wire: bytes | Iterable[bytes]
    size: int
    flags: tuple[str, ...]
    received: int


class Appended(msgspec.Struct, frozen=True):
    """The server has the message. Both are None where it does not tell the UID (RFC 4315)."""

    uidvalidity: int | None = None
    uid: int | None = None


class Refused(msgspec.Struct, frozen=True):
    """The server does not take the message: a response code such as `OVERQUOTA`, if any, and its words."""

    code: str
    reason: str


class Opened(msgspec.Struct, frozen=True):
    """What SELECT answered. `keywords` says whether any keyword can be set, `flags` which can in any case."""

    exists: int
    uidvalidity: int | None
    uidnext: int | None
    mailboxid: str | None
    read_only: bool
    flags: frozenset[str]
    keywords: bool
