"""Bytes of a declared, wrongly declared or undeclared charset -> text.

Mail lies about its charset, so what is declared is only one witness. The order: stateful seven-bit
sets when declared or when their escapes are there, UTF-8 when it decodes strictly, the declared
charset, and last a guess from the bytes.
"""

from __future__ import annotations

import re

from archiver.message.charset_names import ISO2022, codec_for
from archiver.message.guess import guess
from archiver.message.iso2022 import decode_iso2022

# Codecs that know more of what is sent under a name; tried in order before anything is replaced.
_WIDER = {
    "big5": ("cp950", "big5hkscs"),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
    "cp932": ("cp932", "shift_jis_2004"),
}
_WIDE = ("utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be")
_STATEFUL = frozenset({ISO2022, "utf_7", "hz", *_WIDE})
# What is declared by a sender who does not know: believed only when the bytes show nothing else.
VAGUE = frozenset({"", "ascii", "cp1252", "utf_8", "utf_7", "hz", ISO2022, *_WIDE})
# Short text in these is often valid UTF-8 by chance, as two-byte sequences; never as three-byte ones.
_TWO_BYTE = frozenset({"gb18030", "big5", "cp949", "cp932", "euc_jp", "johab", "cp874", "shift_jis_2004"})

_UNFIT = re.compile("[\x80-\x9f\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HARMLESS = bytes(set(range(256)) - {*range(9), *range(11, 32), 127} | {13})
_C1 = re.compile(rb"\xc2[\x80-\x9f]")


def decode_text(data: bytes, declared: str = "", *, hint: str = "") -> str:
    """The text in `data`, undecodable bytes as U+FFFD. Never raises; what it returns encodes to UTF-8.

    `declared` is the charset the mail names; `hint` one to try when that is missing or vague, such
    as the body's for raw bytes in a header.
    """
    codec = codec_for(declared)
    if codec in _STATEFUL and (text := _stateful(data, codec)) is not None:
        return _fit(text)
    if b"\x1b" in data and (text := decode_iso2022(data)) is not None:
        return _fit(text)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _fit(_foreign(data, codec, codec_for(hint)))
    if codec in _TWO_BYTE and not text.isascii() and max(text) < "\u0800":
        return _fit(_strictly(data, codec) or text)
    return text.removeprefix("\ufeff")


def readable(data: bytes, declared: str = "", *, hint: str = "") -> str:
    """Like `decode_text`, with LF line ends and without control characters: fit to show and to index."""
    text = decode_text(data, declared, hint=hint)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if data.translate(None, _HARMLESS):
        text = _CONTROLS.sub("", text)
    if not text.isascii() and _C1.search(data):
        text = _UNFIT.sub("", text)
    return text


def _fit(text: str) -> str:
    """Without controls that UTF-7 can hide, lone surrogates it lets through, and C1: bytes not decoded."""
    text = _CONTROLS.sub("", text)
    return text if text.isascii() else _UNFIT.sub("\ufffd", text).removeprefix("\ufeff")


def _stateful(data: bytes, codec: str) -> str | None:
    if codec == ISO2022:
        return decode_iso2022(data)
    if codec in _WIDE and b"\0" not in data and _strictly(data, "utf_8") is not None:
        return None  # called UTF-16 and sent as UTF-8: real UTF-16 has a zero byte or is not UTF-8
    text = _strictly(data, codec)
    if text is None and (codec in _WIDE or data.isascii()):
        text = data.decode(codec, "replace")
    return text


def _foreign(data: bytes, codec: str, hint: str) -> str:
    """The text of bytes that are not UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf_16", "replace")
    if codec not in VAGUE:
        return _declared(data, codec)
    if (text := _damaged_utf8(data)) is not None:
        return text
    if hint not in VAGUE and (text := _strictly(data, hint)) is not None:
        return text
    codec = guess(data, 20 if codec == "cp1252" else 4) or "cp1252"
    return _strictly(data, codec) or data.decode(codec, "replace")


def _declared(data: bytes, codec: str) -> str:
    if (text := _strictly(data, codec)) is not None:
        return text
    text = data.decode(codec, "replace")
    if text.count("\ufffd") * 10 < _beyond_ascii(text):
        return text
    return _damaged_utf8(data) or _strictly(data, guess(data) or codec) or text


def _damaged_utf8(data: bytes) -> str | None:
    """UTF-8 that was cut or spoilt in places; None when most of it is something else."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return text if _beyond_ascii(text) - bad >= 4 * bad else None


def _beyond_ascii(text: str) -> int:
    return len(text) - len(text.encode("ascii", "ignore"))


def _strictly(data: bytes, codec: str) -> str | None:
    for candidate in _WIDER.get(codec, (codec,)):
        try:
            return data.decode(candidate)
        except UnicodeDecodeError:
            continue
    return None
