"""Microsoft's wrapping of a message, TNEF, as in winmail.dat ([MS-OXTNEF]): its files and its text.

Read tolerantly, in one pass: what is cut or unknown ends what is read there, and what was read before counts.
Not read: rich text (RTF), appointments and other properties.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from archiver.message.charset import readable
from archiver.message.html import html_to_text
from archiver.message.words import decode_phrase

TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef", "application/x-ms-tnef"})

# Outlook wraps a message inside a message once more.
_MAX_DEPTH = 10
_MAX_FILES = 1_000
_MAX_NAME = 2_048
# Attributes and properties, of all messages inside too: what Outlook writes has hundreds.
_MAX_STEPS = 100_000

_SIGNATURE = b"\x78\x9f\x3e\x22"
_HEADER = 6
_CHECKSUM = 2
_ATTRIBUTE = struct.Struct("<xII")
_LENGTH = struct.Struct("<I")
_TAG = struct.Struct("<HH")

# Attributes ([MS-OXTNEF], 2.1.3.2): of the message, then of the file that the last _NEW_FILE began.
_CODE_PAGE, _BODY, _PROPERTIES = 0x69007, 0x2800C, 0x69003
_NEW_FILE, _TITLE, _DATA, _FILE_PROPERTIES = 0x69002, 0x18010, 0x6800F, 0x69005
# Properties ([MS-OXPROPS]).
_TEXT, _HTML = 0x1000, 0x1013
_NAMES = (0x3707, 0x3704, 0x3001)  # the long one, the short one, what is shown; the first there is counts
_CONTENT = 0x3701
_NAMED = 0x8000  # from here on an identifier is followed by a name
_NAME_HEAD = 16  # bytes of a GUID
# Types of properties ([MS-OXCDATA], 2.11.1), those of fixed size with the bytes they take.
_STRING8, _UNICODE, _BINARY, _OBJECT = 0x1E, 0x1F, 0x102, 0x0D
_SIZES = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 20: 8, 64: 8, 72: 16}
_SEVERAL = 0x1000
_INTERFACE = 16  # bytes before the stream of a message inside


class TnefFile(msgspec.Struct, frozen=True):
    """One file: its content is `data[start:end]`."""

    name: str
    start: int
    end: int


class Tnef(msgspec.Struct, frozen=True):
    """What was found; texts and files of messages inside are among those of the outermost."""

    text: str
    files: tuple[TnefFile, ...]


def read_tnef(data: bytes) -> Tnef:
    """The text and the files in `data`; neither when it is no TNEF."""
    reader = _Reader(data)
    reader.message(0, len(data), 0)
    return Tnef("\n".join(filter(None, reader.texts)), tuple(reader.files))


class _Reader:
    """What has been found so far in the whole of the data."""

    __slots__ = ("data", "files", "steps", "texts")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.steps = iter(range(_MAX_STEPS))
        self.texts: list[str] = []
        self.files: list[TnefFile] = []

    def message(self, start: int, end: int, depth: int) -> None:
        """One stream: attributes of the message, then file by file."""
        if depth > _MAX_DEPTH or not self.data.startswith(_SIGNATURE, start, end):
            return
        charset = ""
        file = _File()
        for attribute, first, last in self.attributes(start + _HEADER, end):
            if attribute == _CODE_PAGE and last - first >= _LENGTH.size:
                charset = f"cp{_LENGTH.unpack_from(self.data, first)[0]}"
            elif attribute == _BODY:
                self.texts.append(readable(self.data[first:last].rstrip(b"\0"), charset))
            elif attribute == _PROPERTIES:
                self.body(first, last, charset)
            elif attribute == _NEW_FILE:
                self.ended(file, charset, depth)
                file = _File()
            elif attribute == _FILE_PROPERTIES:
                for found in self.properties(first, last):
                    file.note(self.data, *found)
            elif attribute == _TITLE:
                file.title = self.data[first : min(last, first + _MAX_NAME)]
            elif attribute == _DATA:
                file.content = first, last
        self.ended(file, charset, depth)

    def body(self, start: int, end: int, charset: str) -> None:
        """The text among a message's properties, else its HTML."""
        found = {
            identifier: _string(self.data[first:last], type_, charset)
            for identifier, type_, first, last in self.properties(start, end)
            if identifier in (_TEXT, _HTML)
        }
        self.texts.append(found.get(_TEXT) or html_to_text(found.get(_HTML, "")))

    def attributes(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(identifier, start, end) of each; the last may be cut."""
        while at + _ATTRIBUTE.size <= end and next(self.steps, None) is not None:
            identifier, length = _ATTRIBUTE.unpack_from(self.data, at)
            at += _ATTRIBUTE.size
            yield identifier, at, min(at + length, end)
            at += length + _CHECKSUM

    def properties(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(identifier, type, start, end) of each value in a list of properties, of several the first."""
        at += _LENGTH.size  # their number: the end of the list says as much
        while at + _TAG.size <= end:
            type_, identifier = _TAG.unpack_from(self.data, at)
            at += _TAG.size
            if identifier >= _NAMED:
                at = _after_name(self.data, at, end)
            values = 1
            if type_ & _SEVERAL or type_ not in _SIZES:
                values, at = _number(self.data, at, end)
            for index in range(values):
                first, last, at = _value(self.data, at, end, type_ & ~_SEVERAL)
                if first > end or next(self.steps, None) is None:
                    return
                if not index:
                    yield identifier, type_, first, min(last, end)

    def ended(self, file: _File, charset: str, depth: int) -> None:
        """Keep a file, or read the message it holds."""
        if file.inside is not None:
            self.message(*file.inside, depth + 1)
        elif file.content is not None and len(self.files) < _MAX_FILES:
            self.files.append(TnefFile(file.name(charset), *file.content))


class _File:
    """The file whose attributes are being read."""

    __slots__ = ("content", "inside", "names", "title")

    def __init__(self) -> None:
        self.title = b""
        self.names: dict[int, tuple[bytes, int]] = {}
        self.content: tuple[int, int] | None = None
        self.inside: tuple[int, int] | None = None

    def note(self, data: bytes, identifier: int, type_: int, start: int, end: int) -> None:
        """Take one property."""
        if identifier in _NAMES:
            self.names[identifier] = data[start : min(end, start + _MAX_NAME)], type_
        elif identifier == _CONTENT and type_ == _OBJECT:
            self.inside = start + _INTERFACE, end
        elif identifier == _CONTENT:
            self.content = self.content or (start, end)

    def name(self, charset: str) -> str:
        strings = (_string(*self.names[each], charset) for each in _NAMES if each in self.names)
        return decode_phrase(next(filter(None, strings), "") or _string(self.title, _STRING8, charset))


def _string(value: bytes, type_: int, charset: str) -> str:
    if type_ == _UNICODE:
        return readable(value[: len(value) & ~1], "utf-16le").rstrip("\0")
    return readable(value.rstrip(b"\0"), charset)


def _value(data: bytes, at: int, end: int, type_: int) -> tuple[int, int, int]:
    """Start and end of one value, and where the next thing begins: beyond the end when it cannot be told."""
    if type_ in _SIZES:
        return at, at + _SIZES[type_], at + _SIZES[type_]
    if type_ not in (_STRING8, _UNICODE, _BINARY, _OBJECT):
        return end + 1, end + 1, end + 1
    length, at = _number(data, at, end)
    return at, at + length, at + _padded(length)


def _after_name(data: bytes, at: int, end: int) -> int:
    """Where the value of a named property begins: after a GUID, a kind, and a number or a name."""
    kind, at = _number(data, at + _NAME_HEAD, end)
    length, at = _number(data, at, end)
    return at + _padded(length) if kind else at


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and where it ends; 0 and beyond the end when that is cut."""
    if at + _LENGTH.size > end:
        return 0, end + 1
    return _LENGTH.unpack_from(data, at)[0], at + _LENGTH.size


def _padded(length: int) -> int:
    return length + -length % 4
