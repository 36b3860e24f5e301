"""An original's header, field by field: whom it was delivered to, and copies without some fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"\r\n(?![ \t])")


def fields(wire: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Where each field starts and ends, CRLF included, and its name in lower case; "" for what is none.

    The header ends at the first blank line (RFC 5322, 2.1); without one it is the whole message.
    """
    start = 0
    while start < len(wire) and not wire.startswith(b"\r\n", start):
        found = _FOLD.search(wire, start)
        end = found.end() if found else len(wire)
        name = _NAME.match(wire, start, end)
        yield start, end, name[1].lower() if name else b""
        start = end


def delivered_to(wire: bytes) -> frozenset[str]:
    """Whom the message says that it was delivered to, in lower case."""
    return frozenset(_value(wire[start:end]) for start, end, name in fields(wire) if name == b"delivered-to")


def has_bcc(wire: bytes) -> bool:
    return any(name == b"bcc" for _, _, name in fields(wire))


def without(wire: bytes, *, bcc: bool = False, delivered: tuple[str, ...] = ()) -> bytes:
    """The message without its Bcc fields, and without the Delivered-To fields of these addresses."""
    if not bcc and not delivered:
        return wire
    unwanted = {address.lower() for address in delivered}

    def drop(name: bytes, field: bytes) -> bool:
        return (bcc and name == b"bcc") or (name == b"delivered-to" and _value(field) in unwanted)

    return _kept(wire, drop)


def _kept(wire: bytes, drop: Callable[[bytes, bytes], bool]) -> bytes:
    pieces, end = [], 0
    for start, end, name in fields(wire):
        field = wire[start:end]
        if not drop(name, field):
            pieces.append(field)
    return b"".join(pieces) + wire[end:]


def _value(field: bytes) -> str:
    """An address field with one address, as it is compared: no space, no brackets, no case."""
    text = field.partition(b":")[2].decode("utf-8", "replace")
    return "".join(text.split()).strip("<>").lower()
