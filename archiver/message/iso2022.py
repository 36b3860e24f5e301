"""ISO-2022 text as mail uses it (RFC 1468, 1554, 1557, 1922): escapes choose the character set.

One decoder for the Japanese, Korean and Chinese profiles, because mail mixes their sets and uses
vendor rows that Python's strict codecs refuse. Not there: CNS 11643 (Python has no table of it).
"""

from __future__ import annotations

import re
from itertools import islice

# ESC, up to two bytes that say which of G0, G1, G2 is meant, the set; or SO, SI, single shift two.
_ESCAPE = re.compile(rb"\x1b(?:(\$?[()*+,./-]?)([@-Z])|N)|\x0e|\x0f")
# Two a line in four megabytes of text; what is beyond is read in the last set.
_MAX_ESCAPES = 100_000
_HIGH = bytes(c | 0x80 if 0x21 <= c <= 0x7E else c for c in range(256))
_BROKEN = "\x80"  # a byte that cp932 leaves as it is and never gives for a pair
_G0 = (b"$", b"$(", b"(")
_G1 = (b"$)", b")", b"-")
_G2 = (b"$*", b"*", b".")

_DOUBLE = {
    b"@": "jis",
    b"A": "gb18030",
    b"B": "jis",
    b"C": "cp949",
    b"D": "jis0212",
    b"O": "jis0213",
    b"Q": "jis0213",
}
_SINGLE = {b"A": "latin_1", b"B": "ascii", b"F": "iso8859_7", b"H": "ascii", b"I": "kana", b"J": "ascii"}


def decode_iso2022(data: bytes) -> str | None:
    """The text, undecodable pairs as U+FFFD; None when no escape in it chooses a character set."""
    marks = list(islice(_ESCAPE.finditer(data), _MAX_ESCAPES))
    if not any(mark[1] for mark in marks):
        return None
    sets = ["ascii", "cp949", "latin_1"]
    shift = 0
    out = [_segment(data[: marks[0].start()], "ascii")]
    ends = [mark.start() for mark in marks[1:]] + [len(data)]
    for mark, end in zip(marks, ends, strict=True):
        segment = data[mark.end() : end]
        if mark[0] == b"\x1bN":
            out.append(_segment(segment[:1], sets[2]))
            segment = segment[1:]
        elif mark[0] in (b"\x0e", b"\x0f"):
            shift = int(mark[0] == b"\x0e")
        else:
            _designate(sets, mark[1], mark[2])
            shift = 0 if mark[1] in _G0 else shift
        out.append(_segment(segment, sets[shift]))
    return "".join(out)


def _designate(sets: list[str], which: bytes, final: bytes) -> None:
    table = _DOUBLE if which.startswith(b"$") else _SINGLE
    for index, intermediates in enumerate((_G0, _G1, _G2)):
        if which in intermediates:
            sets[index] = table.get(final, "ascii")


def _segment(data: bytes, charset: str) -> str:
    if charset == "ascii":
        return data.decode("utf-8", "replace")
    if charset == "jis":
        return _jis(data.translate(_HIGH))
    if charset == "jis0212":
        charset, data = "euc_jp", re.sub(rb"[!-~]{2}", lambda pair: b"\x8f" + pair[0], data)
    elif charset == "jis0213":
        charset = "euc_jis_2004"
    elif charset == "kana":
        charset = "cp932"
    return data.translate(_HIGH).decode(charset, "replace")


def _jis(euc: bytes) -> str:
    """JIS X 0208, with the vendor rows (circled digits, rare names) that Windows sends under its name."""
    try:
        return euc.decode("euc_jp")
    except UnicodeDecodeError:
        return _shift_jis(euc).decode("cp932", "replace").replace(_BROKEN, "\ufffd")


def _shift_jis(euc: bytes) -> bytes:
    out = bytearray()
    position = 0
    while position < len(euc):
        pair = euc[position : position + 2]
        if pair[0] < 0xA1 or len(pair) < 2 or pair[1] < 0xA1:
            out.append(pair[0] if pair[0] < 0x80 else ord(_BROKEN))
            position += 1
            continue
        row, cell = pair[0] - 0xA1, pair[1] - 0xA1
        out.append(row // 2 + (0x81 if row < 62 else 0xC1))
        out.append(cell + 0x9F if row % 2 else cell + (0x40 if cell < 63 else 0x41))
        position += 2
    return bytes(out)
