"""A recipe and the bytes of its originals -> the bytes that go out. The same from the same."""

from __future__ import annotations

import email.utils
import re
from base64 import encodebytes
from collections.abc import Sequence

from archiver.message import parse
from archiver.resend.block import mailbox_list, resent_block, unstructured
from archiver.resend.header import without
from archiver.resend.recipe import Recipe
from archiver.smtp import check_bytes

_MAX_LINE = 78
_TITLE = 60


def compose(recipe: Recipe, message_id: str, originals: Sequence[bytes]) -> tuple[bytes, bytes]:
    """What goes before the first original's bytes, and the rest; together the message.

    UnsendableError where an original cannot be attached as a message. All else that a server might object to
    is for the session to check, which knows the server.
    """
    if recipe.new:
        return _new_message(recipe, message_id, originals)
    (wire,) = originals
    data = without(wire, bcc=recipe.drop_bcc, delivered=recipe.drop_delivered)
    if recipe.form == "original":
        return b"", data
    block = resent_block(recipe.from_, recipe.to, message_id, recipe.date, data[:1000], recipe.cc)
    return block, data


def attached_size(recipe: Recipe, wire: bytes) -> int:
    """About how many bytes an original takes in a new message."""
    return 500 + (len(wire) if recipe.form == "attachment" else len(wire) * 78 // 57)


def _new_message(recipe: Recipe, message_id: str, originals: Sequence[bytes]) -> tuple[bytes, bytes]:
    attach = _as_message if recipe.form == "attachment" else _as_file
    # RFC 2046, 5.1.1: must not be found in what it separates; the rest of a Message-ID is random.
    line = b"\r\n--" + _boundary(message_id, originals)
    head = _head(recipe, message_id, line, any(not wire.isascii() for wire in originals))
    names = _names(originals)
    parts = [attach(wire, name) for wire, name in zip(originals, names, strict=True)]
    block = b"%b%b\r\n%b%b\r\n" % (head, line[2:], _text_part(recipe.note), line)
    rest = (line + b"\r\n").join(parts) + line + b"--\r\n"
    return block, rest


def _boundary(message_id: str, originals: Sequence[bytes]) -> bytes:
    boundary = b"=_" + re.sub(r"[^0-9a-zA-Z]", "", message_id.partition("@")[0]).encode()
    while any(b"--" + boundary in wire for wire in originals):
        boundary += b"_"
    return boundary


def _head(recipe: Recipe, message_id: str, line: bytes, eight_bit: bool) -> bytes:
    to = mailbox_list(recipe.to) if recipe.to else "undisclosed-recipients:;"
    encoding = "8bit" if eight_bit and recipe.form == "attachment" else "7bit"
    return (
        f"Date: {email.utils.format_datetime(recipe.date)}\r\n"
        f"From: {mailbox_list([recipe.from_])}\r\n"
        f"To: {to}\r\n"
        + (f"Cc: {mailbox_list(recipe.cc)}\r\n" if recipe.cc else "")
        + f"Subject: {unstructured(recipe.subject)}\r\n"
        f"Message-ID: {message_id}\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="{line[4:].decode("ascii")}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode()


def _text_part(note: str) -> bytes:
    lines = note.splitlines()
    text = "".join(f"{line}\r\n" for line in lines)
    if text.isascii() and all(len(line) <= _MAX_LINE and _harmless(line) for line in lines):
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + text.encode()
    return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + _base64(
        text.encode()
    )


def _harmless(line: str) -> bool:
    return line.replace("\t", "").isprintable()


def _as_message(wire: bytes, name: str) -> bytes:
    """RFC 2046, 5.2.1: as it is, so only where it can pass as it is."""
    check_bytes(wire)
    encoding = b"7bit" if wire.isascii() else b"8bit"
    return (
        b"Content-Type: message/rfc822\r\n"
        b"Content-Transfer-Encoding: %b\r\n"
        b'Content-Disposition: attachment; filename="%b"\r\n\r\n%b' % (encoding, name.encode(), wire)
    )


def _as_file(wire: bytes, name: str) -> bytes:
    return (
        b"Content-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="%b"\r\n\r\n%b' % (name.encode(), _base64(wire))
    )


def _base64(data: bytes) -> bytes:
    return encodebytes(data).replace(b"\n", b"\r\n") if data else b""


def _names(originals: Sequence[bytes]) -> list[str]:
    """A file name for each, of its subject's plain letters, numbered where there are several."""
    width = len(str(len(originals)))
    titles = [_title(wire) for wire in originals]
    if len(originals) == 1:
        return [f"{titles[0]}.eml"]
    return [f"{number:0{width}}-{title}.eml" for number, title in enumerate(titles, 1)]


def _title(wire: bytes) -> str:
    words = re.findall(r"[A-Za-z0-9]+", parse(wire[: 1 << 16]).subject)
    return "-".join(words)[:_TITLE].strip("-") or "message"
