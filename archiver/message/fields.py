"""The header block of a message or part: bytes -> fields, unfolded, not yet decoded (RFC 5322, 2.2).

Values are text in which bytes that are not UTF-8 stand as lone surrogates (`surrogateescape`), so
that nothing is lost before `words.py` finds out what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Postfix stops at 100 KiB, Exchange at 256 KiB: what is longer is an attack, not a header.
MAX_HEADER_BYTES = 1 << 19
MAX_FIELDS = 5_000
MAX_LINES = 100_000

Fields = list[tuple[str, str]]

# Controls and tabs become blanks, CR is dropped. ESC, SO and SI stay for now: raw ISO-2022 needs them.
_SHIFTS = (14, 15, 27)
_TIDY = bytes(32 if (c < 32 and c not in (10, *_SHIFTS)) or c == 127 else c for c in range(256))
_LINE = re.compile(r"^([!-9;-~]++): *(.*)$", re.MULTILINE)
# A name may hold raw bytes: the line is a field all the same, only a bad one.
_FIELD = re.compile(rb"([^\x00-\x20:\x7f]{1,200})[ \t]*:")
# Where one of these follows, a line that is no field is still inside the header.
_KNOWN_FIELD = re.compile(
    rb"(?im)^(?:received|from|to|cc|bcc|subject|date|message-id|mime-version|content-[a-z-]{4,30}|reply-to"
    rb"|sender|return-path|references|in-reply-to|x-[a-z0-9-]{1,60}|list-[a-z]{2,20}|user-agent"
    rb"|dkim-signature)[ \t]{0,20}:"
)


def header_block(data: bytes, start: int, end: int) -> tuple[Fields, int, bool]:
    """The fields of the header that begins at `start`, where its body begins, whether all values are plain.

    A plain value needs no decoding. Broken lines: an mbox `From ` line at the top is skipped, a line that
    is no field belongs to the field above it when known fields still follow, and begins the body when
    none does.
    """
    if data.startswith((b"\n", b"\r\n"), start, end):
        return [], start + 1 + (data[start] == 13), True
    stop, body = _blank_line(data, start, end)
    block = data[start : min(stop, start + MAX_HEADER_BYTES)]
    if block.isascii() and not any(shift in block for shift in _SHIFTS):
        text = block.translate(_TIDY, b"\r").decode("ascii").replace("\n ", " ")
        fields = _LINE.findall(text)
        if len(fields) == text.count("\n") + (not text.endswith("\n")):
            return fields[:MAX_FIELDS], body, "=?" not in text
    fields, offset = _broken_fields(block)
    return fields, body if offset < 0 else start + offset, False


def _blank_line(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the first blank line starts and ends. Looks for the line ends of the first line first."""
    first = data.find(b"\n", start, end)
    kinds = (b"\n\r\n", b"\n\n") if first > start and data[first - 1] == 13 else (b"\n\n", b"\n\r\n")
    stop, body = end, end
    for kind in kinds:
        at = data.find(kind, start, body)
        if at >= 0:
            stop, body = at, at + len(kind)
    return stop, body


def _broken_fields(block: bytes) -> tuple[Fields, int]:
    """The slow way; also the offset of the line that begins the body, -1 when the block is all header."""
    delimiter = block.find(b"\n--")  # of a multipart that follows without a blank line
    known = [
        match.start()
        for match in _KNOWN_FIELD.finditer(block, 0, delimiter if delimiter >= 0 else len(block))
    ]
    last_known = known[-1] if known else -1
    fields: list[tuple[str, list[bytes]]] = []
    for offset, line in _logical_lines(block, last_known):
        field = _FIELD.match(line)
        if field:
            fields.append((field[1].decode("ascii", "replace"), [line[field.end() :]]))
        elif not line:
            return _decoded(fields), block.find(b"\n", offset) + 1  # a blank line, with carriage returns
        elif offset == 0 and line.startswith((b"From ", b">From ")):
            continue
        elif offset > last_known:
            return _decoded(fields), offset
        elif fields:
            fields[-1][1].append(b" " + line)
    return _decoded(fields), -1


def _logical_lines(block: bytes, last_known: int) -> Iterator[tuple[int, bytes]]:
    """Unfolded lines and where they start. A line of blanks folds only above the last known field."""
    start, pieces, offset = 0, [b""], 0
    for physical in block.split(b"\n", MAX_LINES)[:MAX_LINES]:
        line = physical.rstrip(b"\r")
        if offset and line[:1] in (b" ", b"\t") and (offset < last_known or line.strip()):
            pieces.append(line)
        else:
            if offset:
                yield start, b"".join(pieces)
            start, pieces = offset, [line.rstrip()]
        offset += len(physical) + 1
    if pieces != [b""]:
        yield start, b"".join(pieces)


def _decoded(fields: list[tuple[str, list[bytes]]]) -> Fields:
    values = ((name, b"".join(pieces).translate(_TIDY)) for name, pieces in fields[:MAX_FIELDS])
    return [(name, value.decode("utf-8", "surrogateescape").strip()) for name, value in values]
