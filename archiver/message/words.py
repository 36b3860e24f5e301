"""Header values -> text for people: raw 8-bit bytes, RFC 2047 encoded words, broken ones too."""

from __future__ import annotations

import binascii
import re

from archiver.message.charset import decode_text
from archiver.message.transfer import decode_base64

_START = re.compile(r"=\?([^\s?=]{0,60})\?([bBqQ])\?")
_UNENDED = {"b": re.compile(r"[A-Za-z0-9+/]*={0,2}"), "q": re.compile(r"[^?]*")}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_BLANKS = re.compile("  +")

# Base64 that is cut between words is put together only while it is short.
_MAX_CUT = 1_000

_Word = tuple[str, str, str]  # charset, "b" or "q", encoded text


def decode_value(value: str, hint: str = "") -> str:
    """A field value decoded, on one line, without control characters.

    `value` is as `header_block` gives it; `hint` the charset to try for raw bytes that are not UTF-8.
    """
    if "=?" not in value and value.isascii() and value.isprintable():
        return value
    return without_controls(decode_words(raw_text(value, hint)))


def decode_phrase(value: str, hint: str = "") -> str:
    """`decode_value` with runs of blanks made one: for subjects and names."""
    value = decode_value(value, hint)
    return (_BLANKS.sub(" ", value) if "  " in value else value).strip()


def without_controls(value: str) -> str:
    """Each run of control characters made one blank."""
    return value if value.isprintable() else _CONTROL.sub(" ", value)


def raw_text(value: str, hint: str = "") -> str:
    """Raw bytes in a value made characters; encoded words stay as they are."""
    if value.isascii():
        if "\x1b" not in value:
            return value
    elif "\x1b" not in value:
        try:
            value.encode("utf-8")
            return value
        except UnicodeEncodeError:
            pass  # lone surrogates: bytes that are not UTF-8
    return decode_text(value.encode("utf-8", "surrogateescape"), hint=hint)


def decode_words(text: str) -> str:
    """Encoded words made characters (RFC 2047); linear in the length of `text`.

    Tolerated: words inside quotes or other text, blanks and raw characters in a word, a missing end,
    characters split between words, unknown charsets and damaged base64.
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    run: list[_Word] = []
    position, end = 0, -1
    while start := _START.search(text, position):
        body = start.end()
        if end < body:
            end = text.find("?=", body)
        stop, after = _word_end(text, start, end)
        gap = text[position : start.start()]
        if gap.strip() or not run:
            out += (_decode_run(run), gap)
            run = []
        run.append((start[1].lower(), start[2].lower(), text[body:stop]))
        position = after
        if end < 0:
            break
    out += (_decode_run(run), text[position:])
    return "".join(out)


def _word_end(text: str, start: re.Match[str], end: int) -> tuple[int, int]:
    """Where the text of the word stops and what follows it begins."""
    if end < 0:
        rest = _UNENDED[start[2].lower()].match(text, start.end())
        stop = rest.end() if rest else len(text)
        return stop, stop
    another = text.find("=?", start.end(), end)
    if another >= 0 and _START.match(text, another):
        return another, another
    return end, end + 2


def _decode_run(run: list[_Word]) -> str:
    """Neighbouring words. Bytes of one charset are joined first: mailers split characters between words."""
    out: list[str] = []
    pending: list[bytes] = []
    for index, (charset, encoding, text) in enumerate(run):
        following = run[index + 1] if index + 1 < len(run) else (None, "", "")
        cut = len(text) % 4 and len(text) < _MAX_CUT and not text.endswith("=")
        if encoding == "b" and following[:2] == (charset, "b") and cut:
            run[index + 1] = (charset, "b", text + following[2])
            continue
        pending.append(_decode_bytes(encoding, text))
        if following[0] != charset:
            out.append(decode_text(b"".join(pending), charset))
            pending = []
    return "".join(out)


def _decode_bytes(encoding: str, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    if encoding == "b":
        return decode_base64(data)
    return binascii.a2b_qp(data, header=True)
