"""What a server calls contents and mailboxes, wherever they are: Gmail's X-GM-EXT-1, OBJECTID (RFC 8474)."""

from __future__ import annotations

import functools
import re
from collections.abc import Container, Mapping

from archiver.imap.names import readable
from archiver.imap.wire import values

_MSGID = re.compile(rb"([1-9]\d{0,19})\Z")
_EMAILID = re.compile(rb"\(([A-Za-z0-9_-]{1,255})\)\Z")
_MAILBOXID = re.compile(rb"\bMAILBOXID ++\(([A-Za-z0-9_-]{1,255}+)\)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def naming_items(capabilities: Container[str]) -> bytes:
    """What to ask for to know a message again by its content; nothing where the server names none."""
    for capability, item in (("X-GM-EXT-1", b"X-GM-MSGID"), ("OBJECTID", b"EMAILID")):
        if capability in capabilities:
            return b" %b RFC822.SIZE INTERNALDATE" % item
    return b""


def label_item(capabilities: Container[str]) -> bytes:
    return b" X-GM-LABELS" if "X-GM-EXT-1" in capabilities else b""


def content_name(items: Mapping[bytes, bytes | None]) -> str | None:
    """The name of a message's content in a FETCH answer; None where there is none to rely on.

    The size the server states is a part of it: should it ever give one id to several contents, they are
    hardly of one size, and are then not taken for each other.
    """
    size = items.get(b"RFC822.SIZE") or b""
    if not size.isdigit() or len(size) > 20:
        return None
    for kind, item, form in (("gm", b"X-GM-MSGID", _MSGID), ("id", b"EMAILID", _EMAILID)):
        if match := form.match(items.get(item) or b""):
            return f"{kind}:{match[1].decode()}:{size.decode()}"
    return None


def mailboxid(text: bytes) -> str | None:
    """The MAILBOXID in a response code of EXAMINE, or among the items of STATUS; None where there is none."""
    match = _MAILBOXID.search(text)
    return match[1].decode() if match else None


def labels_of(items: Mapping[bytes, bytes | None], literals: list[bytes]) -> frozenset[str] | None:
    r"""The labels in a FETCH answer, readable, system labels such as `\Inbox` by that name; None without any.

    Shared between messages that have the same.
    """
    if b"X-GM-LABELS" not in items:
        return None
    value = items[b"X-GM-LABELS"] or b""
    return _labels(value) if b"\0" not in value else _decoded(value, literals)


@functools.lru_cache(maxsize=4096)
def _labels(value: bytes) -> frozenset[str]:
    return _decoded(value, [])


def _decoded(value: bytes, literals: list[bytes]) -> frozenset[str]:
    (listed,) = values(value, literals)[:1] or [None]
    names = [name for name in listed if isinstance(name, bytes)] if isinstance(listed, list) else []
    return frozenset(_CONTROL.sub("\ufffd", readable(name.decode("latin-1"))) for name in names)
