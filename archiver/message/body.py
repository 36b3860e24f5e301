"""What a person reads of a message: its text, its first HTML part, the list of its attachments."""

from __future__ import annotations

import re

import msgspec

from archiver.message import cards, protection, tnef
from archiver.message.addresses import parse_addresses
from archiver.message.charset import readable
from archiver.message.fields import header_block
from archiver.message.filenames import attachment_name
from archiver.message.flowed import unflow
from archiver.message.html import html_to_text
from archiver.message.mime import Part
from archiver.message.model import Attachment
from archiver.message.transfer import decode_transfer, decoded_size
from archiver.message.uu import find_uu, uu_content, without_uu
from archiver.message.words import decode_phrase, decode_value

# Four million characters are a thousand pages: what is longer is a log or a dump, not prose.
MAX_TEXT_BYTES = 4 << 20
# Characters of a plain form that may be only a note.
_LONGEST_NOTE = 2_000
# Of subjects and senders of all messages inside.
_MAX_HEADINGS = 1 << 18

_REPORTS = frozenset(
    {"message/delivery-status", "message/disposition-notification", "message/feedback-report"}
)
_MARKUP = frozenset({"text/html", "text/enriched", "text/richtext", "application/xhtml+xml"})
# What mailers sent before RFC 3156: text in armour, or signed text.
_PGP = "application/pgp"
_READABLE = frozenset({*_REPORTS, *_MARKUP, *cards.TYPES, _PGP})
_HEADERS = "text/rfc822-headers"
# What may be TNEF.
_BINARIES = frozenset({*tnef.TYPES, "application/octet-stream"})
_UNREADABLE = frozenset({"text/rtf", "text/css", "text/javascript"})
_SIGNATURES = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_META_CHARSET = re.compile(rb"(?i)charset\s{0,5}=\s{0,5}[\"']?([a-z0-9_:.-]{1,40})")

# Kinds of text; of alternatives the lowest that says anything is read. What is wrapped repeats the others.
_PLAIN, _HTML, _CARD, _WRAPPED = range(4)
_Text = tuple[int, str]


class Body(msgspec.Struct, frozen=True):
    """What was read; `protection` is of the message itself, not of messages inside it."""

    text: str
    html: str
    attachments: tuple[Attachment, ...]
    protection: set[protection.Protection]
    calendar: bool


class _Reader:
    """What has been found so far, how many bytes of text may still be read, in how many messages we are."""

    __slots__ = ("attachments", "calendar", "heading_room", "html", "inside", "protection", "room")

    def __init__(self) -> None:
        self.attachments: list[Attachment] = []
        self.calendar = False
        self.html = ""
        self.protection: set[protection.Protection] = set()
        self.room = MAX_TEXT_BYTES
        self.heading_room = _MAX_HEADINGS
        self.inside = 0


def read_body(root: Part) -> Body:
    """Text, HTML and attachments. HTML is turned into text only where no plain text is beside it."""
    reader = _Reader()
    texts = _texts(reader, root, None)
    text = "\n".join(
        [html_to_text(text) if kind == _HTML else text for kind, text in texts if kind != _WRAPPED]
    )
    if not text or text.isspace():
        text = "\n".join([text for kind, text in texts if kind == _WRAPPED]) or text
    return Body(text, reader.html, tuple(reader.attachments), reader.protection, reader.calendar)


def _texts(reader: _Reader, part: Part, parent: Part | None) -> list[_Text]:
    if part.is_message:
        return _message_inside(reader, part)
    if part.type in protection.TYPES and not reader.inside and (said := protection.by_structure(part)):
        reader.protection.add(said)
    if not part.children:
        return _leaf(reader, part, parent)
    options = [_texts(reader, child, part) for child in part.children]
    if part.type == "multipart/alternative":
        return _chosen(options)
    return [text for option in options for text in option]


def _message_inside(reader: _Reader, part: Part) -> list[_Text]:
    reader.attachments.append(_attachment(part))
    heading = _heading(reader, part.children[0])
    reader.inside += 1
    texts = _texts(reader, part.children[0], None)
    reader.inside -= 1
    return [heading, *texts]


def _chosen(options: list[list[_Text]]) -> list[_Text]:
    """Of several forms of the same text the plainest that is not blank."""
    for wanted in (_PLAIN, _HTML, _CARD):
        for option in options:
            if any(kind == wanted and not text.isspace() and text for kind, text in option):
                return option + _fuller(option, options) if wanted == _PLAIN else option
    return []


def _fuller(plain: list[_Text], options: list[list[_Text]]) -> list[_Text]:
    """HTML that says much more than a short plain form: that is only a note on how to read the other."""
    said = sum(len(text) for _, text in plain)
    enough = 2 * said + 200
    if said > _LONGEST_NOTE:
        return []
    for kind, text in (text for option in options for text in option):
        if kind == _HTML and len(text) > enough and len(shown := html_to_text(text)) > enough:
            return [(_PLAIN, shown)]
    return []


def _heading(reader: _Reader, message: Part) -> _Text:
    """Subject and sender of a message inside."""
    charset = message.params.get("charset", "")
    lines = []
    for name, value in message.fields:
        key = name.lower()
        if key not in ("subject", "from"):
            continue
        value = value[: reader.heading_room]
        reader.heading_room -= len(value)
        if key == "subject":
            lines.append(decode_phrase(value, charset))
        else:
            senders = parse_addresses(value, charset)
            lines += [" ".join(filter(None, (sender.name, sender.address))) for sender in senders]
    return _PLAIN, "\n".join(lines)


def _leaf(reader: _Reader, part: Part, parent: Part | None) -> list[_Text]:
    if part.disposition == "attachment" and parent is not None:
        is_text = part.type in cards.TYPES  # one is as good as its text
    else:
        is_text = part.type not in _UNREADABLE and (part.type.startswith("text/") or part.type in _READABLE)
    if _is_listed(part, parent, is_text):
        reader.attachments.append(_attachment(part))
    if is_text:
        return _text(reader, part)
    return _wrapped(reader, part) if part.type in _BINARIES else []


def _is_listed(part: Part, parent: Part | None, is_text: bool) -> bool:
    """Whether a leaf is an attachment: all but what is read, drawn or checked as part of the message."""
    if is_text:
        if parent is None or parent.type == "multipart/alternative":
            return part.disposition == "attachment"
        return bool(part.disposition == "attachment" or _filename(part))
    if part.type in _SIGNATURES or part.type == "application/pgp-encrypted":
        return parent is None or parent.type not in ("multipart/signed", "multipart/encrypted")
    if part.type.startswith("image/") and part.disposition != "attachment":
        return parent is None or bool(_filename(part))
    return True


def _attachment(part: Part) -> Attachment:
    size = part.end - part.start if part.is_multipart else decoded_size(part.body, part.encoding)
    return Attachment(part.number, _filename(part), part.type, size)


def _filename(part: Part) -> str:
    if not part.params and not part.disposition_params:
        return ""
    return attachment_name(part.disposition_params, part.params)


def _text(reader: _Reader, part: Part) -> list[_Text]:
    data = decode_transfer(_within_room(reader, part), part.encoding)
    charset = part.params.get("charset", "")
    if part.type in _MARKUP:
        html = readable(data, charset, hint=_meta_charset(data))
        if part.type == "text/html":
            reader.html = reader.html or html
        _note_armour(reader, html, _HTML)
        return [(_HTML, html)]
    if part.type in cards.TYPES:
        reader.calendar |= part.type in cards.CALENDARS
        return [(_CARD, cards.card_text(readable(data, charset)))]
    if part.type == _HEADERS:
        return [(_PLAIN, _header_text(data, charset))]
    if b"begin " in data and (files := find_uu(data)):
        for index, file in enumerate(files, 1):
            name = decode_phrase(file.name.decode("utf-8", "surrogateescape"), charset)
            size = len(uu_content(data, file))
            reader.attachments.append(
                Attachment(f"{part.number}.uu{index}", name, "application/octet-stream", size)
            )
        data = without_uu(data, files)
    text = readable(data, charset)
    if part.params.get("format", "").lower() == "flowed" and " \n" in text:
        text = unflow(text, delete_space=part.params.get("delsp", "").lower() == "yes")
    _note_armour(reader, text, _PLAIN)
    return [(_PLAIN, text)]


def _header_text(data: bytes, charset: str) -> str:
    """The header of a message that was returned without its body."""
    fields, end, _ = header_block(data, 0, len(data))
    lines = [f"{name}: {decode_value(value, charset)}" for name, value in fields]
    return "\n".join([*lines, readable(data[end:], charset)])


def _wrapped(reader: _Reader, part: Part) -> list[_Text]:
    """The text of a TNEF part; its files are listed behind it."""
    if part.type not in tnef.TYPES and _filename(part).lower() != "winmail.dat":
        return []
    found = tnef.read_tnef(part.content())
    for index, file in enumerate(found.files, 1):
        number, size = f"{part.number}.tnef{index}", file.end - file.start
        reader.attachments.append(Attachment(number, file.name, "application/octet-stream", size))
    text = found.text[: reader.room]
    reader.room -= len(text)
    return [(_WRAPPED, text)] if text else []


def _note_armour(reader: _Reader, text: str, kind: int) -> None:
    if not reader.inside and "-----BEGIN PGP " in text:
        reader.protection |= protection.by_armour(html_to_text(text) if kind == _HTML else text)


def _within_room(reader: _Reader, part: Part) -> bytes:
    """The encoded text; what is too long is cut at a line end, and nothing is read after it."""
    if part.end - part.start <= reader.room:
        reader.room -= part.end - part.start
        return part.body
    end = part.start + reader.room
    reader.room = 0
    return part.data[part.start : part.data.rfind(b"\n", part.start, end) + 1 or end]


def _meta_charset(data: bytes) -> str:
    found = _META_CHARSET.search(data, 0, 2048)
    return found[1].decode("ascii") if found else ""
