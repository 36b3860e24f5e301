"""Templates of a line for each hit: `{date} {from:20} {subject}`.

A name in braces stands for its value, on one line and without anything that could steer a terminal.
`{name:N}` takes N columns, cut or filled up with spaces. `{{` and `}}` are braces, `\\t` a tab, `\\n` a new
line, `\\\\` a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import msgspec

from archiver.cli.hits import folders
from archiver.cli.text import moment, one_line, pad, printable, size
from archiver.errors import QueryError

if TYPE_CHECKING:
    from archiver.archive.reports import Row

WIDEST = 1000
_ESCAPES = {"{{": "{", "}}": "}", "\\t": "\t", "\\n": "\n", "\\\\": "\\"}
_piece = re.compile(r"\{\{|\}\}|\\[\s\S]?|[{}]|[^{}\\]+")
_name = re.compile(r"\{([a-z]*)(?::([0-9]*))?\}")


class Slot(msgspec.Struct, frozen=True):
    """A value by its name, in so many columns; 0 for as many as it has."""

    name: str
    width: int = 0


class Hit(msgspec.Struct, frozen=True):
    """What the names stand for: a row, the path of its file, the part of its text that matched."""

    row: Row
    path: str = ""
    snippet: str = ""


def _sender(row: Row) -> tuple[str, str]:
    """The first sender's name, or address where there is none, and address."""
    name, bracket, rest = row.hit.sender.partition("<")
    address = rest.partition(">")[0] if bracket else name.partition(",")[0].strip()
    return name.strip(' "') if bracket and name.strip(' "') else address, address


NAMES: dict[str, tuple[str, Callable[[Hit], str]]] = {
    "id": ("what show, attachments and resend take", lambda hit: hit.row.id),
    "key": ("SHA-256 of its bytes", lambda hit: hit.row.hit.key.hex()),
    "date": ("local date and time", lambda hit: moment(hit.row.hit.date)),
    "time": ("the same in Unix seconds", lambda hit: str(hit.row.hit.date)),
    "from": ("senders, names and addresses", lambda hit: hit.row.hit.sender),
    "name": ("the first sender's name, else address", lambda hit: _sender(hit.row)[0]),
    "address": ("the first sender's address", lambda hit: _sender(hit.row)[1]),
    "subject": ("the subject", lambda hit: hit.row.hit.subject),
    "size": ("its size, as people read it", lambda hit: size(hit.row.hit.size)),
    "bytes": ("its size in bytes", lambda hit: str(hit.row.hit.size)),
    "attachment": ("+ when it has any", lambda hit: "+" if hit.row.hit.has_attachment else ""),
    "folders": ("where it is", lambda hit: folders(hit.row)),
    "flags": (
        "letters of Maildir, of all places",
        lambda hit: "".join(sorted({letter for spot in hit.row.spots for letter in spot.flags})),
    ),
    "labels": (
        "Gmail's labels",
        lambda hit: ", ".join(dict.fromkeys(name for spot in hit.row.spots for name in spot.label_names)),
    ),
    "tags": ("your own tags", lambda hit: " ".join(hit.row.tags)),
    "path": ("one of its files", lambda hit: hit.path),
    "snippet": ("the part of the text that matched", lambda hit: hit.snippet),
}


def parse(text: str) -> tuple[str | Slot, ...]:
    """Literal text and slots in turn; QueryError at a mistake."""
    parts: list[str | Slot] = []
    at = 0
    while at < len(text):
        found = _piece.match(text, at)
        assert found
        piece = found[0]
        if piece in _ESCAPES:
            parts.append(_ESCAPES[piece])
        elif piece == "{":
            found = _name.match(text, at) or _fail(text, at, "expected a name and } after {")
            parts.append(_slot(text, found))
        elif piece == "}":
            _fail(text, at, "a } without {", "}} stands for the character itself")
        elif piece.startswith("\\"):
            _fail(text, at, "no such escape", "\\t, \\n and \\\\ are known")
        else:
            parts.append(printable(piece))
        at = found.end()
    return tuple(parts)


def _slot(text: str, found: re.Match[str]) -> Slot:
    name, width = found[1], found[2]
    if name not in NAMES:
        from difflib import get_close_matches

        near = get_close_matches(name, NAMES, 1)
        hint = f"did you mean {{{near[0]}}}?" if near else f"known: {', '.join(NAMES)}"
        _fail(text, found.start(1), f"nothing is called {{{name}}}", hint)
    if width is None:
        return Slot(name)
    # Of very many digits `int` makes no number.
    if not 1 <= int(width[:9] or 0) <= WIDEST:
        _fail(text, found.start(2), f"expected a number of columns, 1 to {WIDEST}")
    return Slot(name, int(width))


def _fail(text: str, at: int, message: str, hint: str | None = None) -> NoReturn:
    raise QueryError(f"--format: {message}", text, at, hint=hint)


def wants(parts: Sequence[str | Slot], name: str) -> bool:
    return any(isinstance(part, Slot) and part.name == name for part in parts)


def render(parts: Sequence[str | Slot], hit: Hit) -> str:
    """The line of a hit."""
    return "".join(part if isinstance(part, str) else _value(part, hit) for part in parts)


def _value(slot: Slot, hit: Hit) -> str:
    value = NAMES[slot.name][1](hit)
    if slot.width:
        return pad(one_line(value, slot.width), slot.width)
    # Two spaces in a file's name are two.
    return printable(value) if slot.name == "path" else one_line(value, 1 << 20)
