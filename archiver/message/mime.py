"""The tree of parts in a message (RFC 2045, 2046), found in place: nothing is copied or decoded.

Bounded and linear: a part is a stretch of the bytes it was found in, and each level of nesting
looks through a byte once. Broken structure never hides text: a multipart without its boundary is
read as text, a missing end is the end of what encloses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from archiver.message import cms
from archiver.message.fields import Fields, header_block
from archiver.message.params import parse_parameters
from archiver.message.transfer import decode_transfer

# Forwards of forwards nest perhaps ten deep; each level costs one more pass over its bytes.
MAX_DEPTH = 50
# More than any list digest has; a million empty parts are an attack on memory.
MAX_PARTS = 1_000
# Lines that look like delimiters but are none, over all levels.
_MAX_DELIMITERS = 100_000
# Encoded messages inside encoded messages, signed parts in signed parts: one real one must fit.
_MAX_DECODED = 64 << 20

_MESSAGE_TYPES = frozenset({"message/rfc822", "message/global", "message/news"})
_TYPE = re.compile(r"[a-z0-9][!-.0-~]{0,100}/[!-.0-~]{1,100}\Z")
_BEFORE_HEADER = re.compile(rb"(?:\xef\xbb\xbf|[ \t]*+[\r\n]){1,1000}+(?=[!-9;-~]{1,200}[ \t]*:)")
_LIKELY_BOUNDARY = re.compile(rb"\n--([^\s-][^\r\n]{1,200}+)\r*\n(?=content-)", re.IGNORECASE)


class Part(msgspec.Struct, frozen=True):
    """One node: `data[start:end]` is its body, still encoded.

    `number` is the IMAP part number (RFC 3501, 6.4.5); a multipart that is a whole message has that
    of the part the message is in ("" for the outermost). A message part has the message as its child,
    a part of S/MIME what it signs.
    """

    number: str
    type: str
    params: Mapping[str, str]
    disposition: str
    disposition_params: Mapping[str, str]
    encoding: str
    fields: Fields
    plain: bool  # no value in `fields` needs decoding
    data: bytes
    start: int
    end: int
    children: tuple[Part, ...] = ()

    @property
    def body(self) -> bytes:
        return self.data[self.start : self.end]

    @property
    def is_message(self) -> bool:
        return bool(self.children) and not self.is_multipart and self.type not in cms.TYPES

    @property
    def is_multipart(self) -> bool:
        return self.type.startswith("multipart/")

    def content(self) -> bytes:
        """The decoded content; of a multipart, its bytes as they are."""
        return self.body if self.is_multipart else decode_transfer(self.body, self.encoding)

    def walk(self) -> Iterator[Part]:
        """This part and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


class _Budget:
    """How many parts may still be made, lines compared with a boundary, bytes decoded to look inside."""

    __slots__ = ("bytes", "lines", "parts")

    def __init__(self) -> None:
        self.parts = MAX_PARTS
        self.lines = _MAX_DELIMITERS
        self.bytes = _MAX_DECODED


def read_structure(raw: bytes) -> Part:
    """The outermost part. LF, CRLF or a mixture; a message with only CR line ends is read as with LF."""
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")
    return _message(raw, 0, len(raw), "", 0, _Budget())


def _message(data: bytes, start: int, end: int, number: str, depth: int, budget: _Budget) -> Part:
    if before := _BEFORE_HEADER.match(data, start, end):
        start = before.end()
    return _part(data, start, end, number, depth, budget, whole=True)


def _part(
    data: bytes,
    start: int,
    end: int,
    number: str,
    depth: int,
    budget: _Budget,
    *,
    whole: bool = False,
    default: str = "text/plain",
) -> Part:
    budget.parts -= 1
    fields, start, plain = header_block(data, start, end)
    type_, params, disposition, disposition_params, encoding = _content_fields(fields, default)
    children: tuple[Part, ...] = ()
    if depth >= MAX_DEPTH or budget.parts <= 0:
        pass  # as deep or as many as we go: what is here stays one opaque part
    elif type_.startswith("multipart/"):
        boundary = params.get("boundary", "").encode("utf-8", "surrogateescape").rstrip()
        ranges = _ranges(data, boundary, start, end, budget) or _guessed(data, start, end, budget)
        inner = "message/rfc822" if type_ == "multipart/digest" else "text/plain"
        children = tuple(
            _part(data, first, last, _below(number, index), depth + 1, budget, default=inner)
            for index, (first, last) in enumerate(ranges, 1)
            if budget.parts > 0
        )
        type_ = type_ if children else "text/plain"
    elif type_ in _MESSAGE_TYPES or (type_ == "message/partial" and params.get("number", "1") == "1"):
        number, whole = _below(number, 1) if whole else number, False
        children = _inner(data, start, end, encoding, number, depth, budget)
    elif type_ in cms.TYPES and (signed := _signed(data[start:end], encoding, budget)):
        number, whole = _below(number, 1) if whole else number, False
        children = (_part(signed, 0, len(signed), _below(number, 1), depth + 1, budget),)
    if whole and not children:
        number = _below(number, 1)
    content = (type_, params, disposition, disposition_params, encoding)
    return Part(number, *content, fields, plain, data, start, end, children)


def _inner(
    data: bytes, start: int, end: int, encoding: str, number: str, depth: int, budget: _Budget
) -> tuple[Part, ...]:
    """The message in a message part. RFC 2046 forbids to encode it; some mailers do."""
    if encoding in ("base64", "quoted-printable"):
        budget.bytes -= end - start
        if budget.bytes < 0:
            return ()
        data = decode_transfer(data[start:end], encoding)
        start, end = 0, len(data)
    return (_message(data, start, end, number, depth + 1, budget),)


def _signed(encoded: bytes, encoding: str, budget: _Budget) -> bytes:
    """The part inside the data of S/MIME, when it is only signed."""
    budget.bytes -= len(encoded)
    return cms.signed_content(decode_transfer(encoded, encoding)) if budget.bytes >= 0 else b""


def _below(number: str, index: int) -> str:
    return f"{number}.{index}" if number else str(index)


_Content = tuple[str, Mapping[str, str], str, Mapping[str, str], str]


def _content_fields(fields: Fields, default: str) -> _Content:
    """Type, its parameters, disposition, its parameters, transfer encoding."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name[0] in "Cc" and (key := name.lower()).startswith("content-"):
            found.setdefault(key, value)
    type_, params = parse_parameters(found.get("content-type") or default)
    if not _TYPE.match(type_):
        type_ = "text/plain"
    disposition, disposition_params = parse_parameters(found.get("content-disposition", ""))
    encoding = found.get("content-transfer-encoding", "").partition(";")[0].strip("\"' \t").lower()
    return type_, params, disposition, disposition_params, encoding


def _ranges(data: bytes, boundary: bytes, start: int, end: int, budget: _Budget) -> list[tuple[int, int]]:
    """Start and end of what stands between the delimiter lines (RFC 2046, 5.1.1)."""
    if not boundary:
        return []
    delimiter = b"--" + boundary
    ranges: list[tuple[int, int]] = []
    first, position = -1, start
    while budget.lines > 0 and (at := data.find(delimiter, position, end)) >= 0:
        budget.lines -= 1
        position = at + len(delimiter)
        if at > start and data[at - 1] != 10:
            continue
        line_end = data.find(b"\n", position, end)
        line_end = end if line_end < 0 else line_end
        tail = data[position:line_end].strip()
        if tail not in (b"", b"--"):
            continue
        if 0 <= first < at:  # two delimiter lines in a row have nothing between them
            ranges.append((first, _without_line_end(data, first, at)))
        if len(ranges) >= budget.parts:
            return ranges
        first = -1 if tail else min(line_end + 1, end)
        position = line_end
    if first >= 0:
        ranges.append((first, end))
    return ranges


def _without_line_end(data: bytes, first: int, at: int) -> int:
    """The line end before a delimiter belongs to the delimiter."""
    last = at - 1
    if last > first and data[last - 1] == 13:
        last -= 1
    return max(first, last)


def _guessed(data: bytes, start: int, end: int, budget: _Budget) -> list[tuple[int, int]]:
    """With no usable boundary parameter: the first line that looks like a delimiter before a part."""
    likely = _LIKELY_BOUNDARY.search(data, max(0, start - 1), end)
    return _ranges(data, likely[1].rstrip(), start, end, budget) if likely else []
