"""Content-transfer-encodings undone, damage tolerated (RFC 2045, section 6); uuencode too."""

from __future__ import annotations

import binascii
import re
from itertools import islice

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_ALPHABET = bytes(set(range(256)) - set(_ALPHABET))
_BLANKS = b" \t\r\n"
# Far more than any mail has; what is beyond is decoded as well as it can be, in bounded time.
_MAX_PIECES = 1_000
_MAX_UU_LINES = 1_000_000
# A list server's footer after the data, or other prose: base64 has no words and no rulers.
_PROSE = re.compile(rb"(?m)^(?:--|__|[^\n]*[A-Za-z,.:] [A-Za-z(])")
_UU_BEGIN = re.compile(rb"(?m)^begin [^\n]*$")
_UU_LINE = re.compile(rb"[^\r\n]+")
_SOFT_BREAK = re.compile(rb"=[ \t]+(\r?\n|\Z)")
UUENCODED = frozenset({"x-uuencode", "uuencode", "x-uue", "uue"})


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """The content behind a Content-Transfer-Encoding (lower case); unknown ones change nothing."""
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        return decode_quoted_printable(data)
    if encoding in UUENCODED:
        return decode_uu(data)
    return data


def decoded_size(data: bytes, encoding: str) -> int:
    """`len(decode_transfer(data, encoding))`, counted without decoding where that is the same."""
    if encoding == "base64":
        letters = len(data) - len(data.translate(None, _ALPHABET))
        filled = data.rstrip(b"= \t\r\n")
        if filled.find(b"=") < 0 and not _foreign_to_base64(data):
            return letters * 6 // 8
    return len(decode_transfer(data, encoding))


def decode_base64(data: bytes) -> bytes:
    """Base64 of any line length; bytes outside the alphabet are skipped, a cut end keeps what is whole.

    Pieces with their own padding set one after another are all decoded. What follows the data as
    prose (a footer added on the way) is left out.
    """
    if _foreign_to_base64(data) and (prose := _PROSE.search(data)):
        data = data[: prose.start()]
    out = []
    for piece in data.split(b"=", _MAX_PIECES):
        letters = piece.translate(None, _NOT_ALPHABET)
        if len(letters) % 4 == 1:
            letters = letters[:-1]
        out.append(binascii.a2b_base64(letters + b"=" * (-len(letters) % 4)))
    return b"".join(out)


def _foreign_to_base64(data: bytes) -> bool:
    return bool(data.translate(None, _ALPHABET + b"=" + _BLANKS))


def decode_quoted_printable(data: bytes) -> bytes:
    """Quoted-printable; `=` before anything but two hex digits stays as it is."""
    if b"= " in data or b"=\t" in data:
        data = _SOFT_BREAK.sub(rb"=\1", data)
    return binascii.a2b_qp(data)


def decode_uu(data: bytes) -> bytes:
    """What stands between `begin` and `end`, or everything when there is no `begin`; without bad lines."""
    begin = _UU_BEGIN.search(data)
    out = []
    for line in islice(_UU_LINE.finditer(data, begin.end() if begin else 0), _MAX_UU_LINES):
        if line[0].rstrip() == b"end":
            break
        out.append(_uu_line(line[0]))
    return b"".join(out)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        pass
    # Some encoders leave rubbish at the end of a line: trust the length at its start.
    length = ((line[0] - 32) & 63) * 4 + 5
    try:
        return binascii.a2b_uu(line[: length // 3])
    except binascii.Error:
        return b""
