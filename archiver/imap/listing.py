"""Answers to LIST and NAMESPACE (RFC 9051, 7.3.1; RFC 2342): which mailboxes there are, and whose.

Not by imapclient: it turns a mailbox `007` into `7`, and a name with unquoted blanks shifts all that follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from archiver.config.structs import Namespace
from archiver.errors import ProtocolError
from archiver.imap.names import readable
from archiver.imap.types import Mailbox
from archiver.imap.wire import Line, Value, values

# Each in one pass, whatever a server sends (possessive); blanks at the end are taken off before or after.
_LIST = re.compile(
    rb'\* ++LIST ++\(([^)]*+)\) ++("(?:[^"\\]++|\\.)*+"|\S++) ++(.*+)\Z', re.IGNORECASE | re.DOTALL
)
_STATUS = re.compile(rb"\* ++STATUS ++(.*+)\Z", re.IGNORECASE | re.DOTALL)
# The last thing in parentheses; among the items of STATUS is one that has some of its own.
_ITEMS = re.compile(rb"\(((?:[^()]++|\([^()]*+\))*+)\)\Z")
_QUOTED = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_NAMESPACE = re.compile(rb"\* +NAMESPACE +(.*)", re.IGNORECASE | re.DOTALL)
_SPECIAL = re.compile(r"\\(all|archive|drafts|flagged|junk|sent|trash|important)", re.IGNORECASE)

_FOREIGN: tuple[Namespace, ...] = ("others", "shared")


def mailbox(line: Line) -> Mailbox | None:
    """The mailbox in a LIST answer; None for any other line. ProtocolError for a LIST that says none."""
    if line.text[:7].upper() != b"* LIST ":
        return None
    match = _LIST.match(line.text.rstrip(b"\r\n"))
    if not match:
        raise ProtocolError("the server lists a folder in a way that cannot be understood")
    words = match[1].decode("latin-1").split()
    raw = _name(match[3].rstrip(), line.literals).decode("latin-1")
    (delimiter,) = values(match[2], line.literals) or [None]
    separator = delimiter.decode("latin-1") if isinstance(delimiter, bytes) else None
    return Mailbox(
        raw=raw,
        # One separator for people, whatever this server's is: the same globs fit everywhere.
        name="/".join(readable(raw).split(separator)) if separator else readable(raw),
        delimiter=separator or None,
        special=tuple(word for word in words if _SPECIAL.fullmatch(word)),
        selectable=not {word.lower() for word in words} & {"\\noselect", "\\nonexistent"},
    )


def status_name(line: Line) -> str | None:
    """Whose STATUS an answer tells, by raw name; None for any other line."""
    text = line.text.rstrip()
    items = _ITEMS.search(text)
    match = _STATUS.match(text[: items.start()]) if items else None
    return _name(match[1].rstrip(), line.literals).decode("latin-1") if match else None


def status_items(line: Line) -> bytes:
    """The items of a STATUS answer, without their parentheses."""
    items = _ITEMS.search(line.text.rstrip())
    return items[1] if items else b""


def _name(text: bytes, literals: list[bytes]) -> bytes:
    """A mailbox name: quoted, a literal, or an atom; blanks that some server left unquoted belong to it."""
    if match := _QUOTED.match(text):
        return re.sub(rb"\\(.)", rb"\1", match[1], flags=re.DOTALL)
    return literals[int(text[1 : text.index(b"\0", 1)])] if text[:1] == b"\0" else text


def foreign_prefixes(line: Line) -> dict[Namespace, tuple[str, ...]]:
    """How names of others' and shared mailboxes begin, from a NAMESPACE answer; none for any other line."""
    match = _NAMESPACE.match(line.text)
    if not match:
        return {}
    _, *foreign = values(match[1], line.literals) or [None]
    return {
        namespace: tuple(prefix.decode("latin-1") for entry in space if (prefix := _first(entry)))
        for namespace, space in zip(_FOREIGN, foreign, strict=False)
        if isinstance(space, list)
    }


def namespace_of(raw: str, foreign: Mapping[Namespace, tuple[str, ...]]) -> Namespace:
    """Whose a mailbox is."""
    return next((space for space, prefixes in foreign.items() if raw.startswith(prefixes)), "personal")


def _first(entry: Value) -> bytes | None:
    head = entry[0] if isinstance(entry, list) and entry else None
    return head if isinstance(head, bytes) else None
