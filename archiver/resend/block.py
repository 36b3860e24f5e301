"""Header fields of ours: the Resent block, and what the head of a new message is made of."""

from __future__ import annotations

import email.utils
import re
import uuid
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime

from archiver.smtp import Mailbox

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_ENVELOPE_LINE = re.compile(rb">*From ")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]{1,60}")
_QUOTABLE_NAME = re.compile(r"[ -~]{1,60}")
_WORD_OCTETS = 42  # 56 in base64, 68 with =?utf-8?b? and ?=: under the 75 of RFC 2047, section 2


def resent_block(
    sender: Mailbox,
    recipients: Sequence[Mailbox],
    message_id: str,
    now: datetime,
    first: bytes = b"",
    cc: Sequence[Mailbox] = (),
) -> bytes:
    """The header fields that go before the message's own bytes, the newest block on top (RFC 5322, 3.6.6).

    `now` is aware; `message_id` has its angle brackets; `first` is the start of the message, its first line
    at least. Blind recipients are named nowhere. Ends with CRLF, so that a header follows or, where the
    message begins with a blank line, its body does. Two kinds of messages have no header that could follow,
    and are joined as Postfix does it: an mbox line (`From me@example.org Mon ...`) becomes the value of
    X-Mailbox-Line, and before text without any header comes the blank line that it lacks. In all cases the
    message's bytes are unchanged.
    """
    block = (
        f"Resent-Date: {email.utils.format_datetime(now)}\r\n"
        f"Resent-From: {mailbox_list([sender])}\r\n"
        + (f"Resent-To: {mailbox_list(recipients)}\r\n" if recipients else "")
        + (f"Resent-Cc: {mailbox_list(cc)}\r\n" if cc else "")
        + f"Resent-Message-ID: {message_id}\r\n"
    ).encode()
    if not first or first.startswith(b"\r\n") or _FIELD.match(first):
        return block
    return block + (b"X-Mailbox-Line: " if _ENVELOPE_LINE.match(first) else b"\r\n")


def new_message_id(sender: Mailbox) -> str:
    """A Message-ID never used before, in the sender's domain; ASCII."""
    domain = sender.address.rpartition("@")[2]
    try:
        right = domain.encode("idna").decode("ascii")
    except UnicodeError:
        right = "localhost.invalid"
    return f"<{uuid.uuid4()}@{right}>"


def mailbox_list(boxes: Sequence[Mailbox]) -> str:
    """Mailboxes as the value of a header field, folded (RFC 5322, 3.4)."""
    return ",\r\n ".join(map(_header_mailbox, boxes))


def unstructured(text: str) -> str:
    """One line of text as the value of a header field: as it is where that is safe, else encoded words.

    The caller has seen to it that it holds no line break.
    """
    if _QUOTABLE_NAME.fullmatch(text) and "=?" not in text and text == text.strip():
        return text
    return _encoded_words(text)


def _header_mailbox(value: Mailbox) -> str:
    if not value.name:
        return value.address
    # A space in front of < lets the line be folded there.
    name = _phrase(value.name)
    gap = "\r\n " if len(name) + len(value.address) > 60 else " "
    return f"{name}{gap}<{value.address}>"


def _phrase(name: str) -> str:
    """A display name as atoms, as a quoted string, or as encoded words (RFC 2047, section 5 (3))."""
    if _PLAIN_NAME.fullmatch(name) and "=?" not in name and name == " ".join(name.split()):
        return name
    if _QUOTABLE_NAME.fullmatch(name) and "=?" not in name:
        return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return _encoded_words(name)


def _encoded_words(text: str) -> str:
    return "\r\n ".join(f"=?utf-8?b?{b64encode(part).decode('ascii')}?=" for part in _octets(text))


def _octets(text: str) -> Iterable[bytes]:
    """The text in UTF-8, in pieces that end between characters."""
    piece = b""
    for char in text:
        encoded = char.encode()
        if len(piece) + len(encoded) > _WORD_OCTETS:
            yield piece
            piece = b""
        piece += encoded
    yield piece
