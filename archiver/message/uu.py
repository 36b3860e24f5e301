"""Files that are uuencoded in the middle of a text, as mail had them before MIME."""

from __future__ import annotations

import re
from itertools import islice

import msgspec

from archiver.message.transfer import decode_uu

_MAX_FILES = 1_000
_BEGIN = re.compile(rb"(?m)^begin [0-7]{3,4} ([^\r\n]{1,255})\r*\n")


class UuFile(msgspec.Struct, frozen=True):
    """One file: `data[start:end]` is all of it, from `begin` to `end`."""

    name: bytes
    start: int
    end: int


def find_uu(data: bytes) -> list[UuFile]:
    """Files in a text, in order. Only blocks whose first line has the length it says it has."""
    files: list[UuFile] = []
    position = 0
    for begin in islice(_BEGIN.finditer(data), _MAX_FILES):
        if begin.start() < position:
            continue
        position = _end(data, begin.end())
        if position > begin.end():
            files.append(UuFile(begin[1].strip(), begin.start(), position))
    return files


def uu_content(data: bytes, file: UuFile) -> bytes:
    return decode_uu(data[file.start : file.end])


def without_uu(data: bytes, files: list[UuFile]) -> bytes:
    """The text around the files."""
    out, position = [], 0
    for file in files:
        out.append(data[position : file.start])
        position = file.end
    return b"".join((*out, data[position:]))


def _end(data: bytes, position: int) -> int:
    """Where the block that begins at `position` stops; `position` itself when it is none."""
    while position < len(data):
        line_end = data.find(b"\n", position)
        line_end = len(data) if line_end < 0 else line_end
        line = data[position:line_end].rstrip(b"\r")
        if line.rstrip() == b"end":
            return line_end
        if not _is_uu(line):
            return position
        position = min(line_end + 1, len(data))
    return position


def _is_uu(line: bytes) -> bool:
    """Whether a line holds as many characters as its first says. Mailers strip blanks or add a checksum."""
    if not line or line == b"`":
        return line == b"`"
    if not 32 <= line[0] <= 96 or len(line) > 70:
        return False
    needed = ((line[0] - 32 & 63) + 2) // 3 * 4
    return needed - 8 <= len(line) - 1 <= needed + 2 and needed > 0
