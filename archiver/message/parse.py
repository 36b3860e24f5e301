"""Raw bytes of one message -> Message, and the content of one of its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from archiver.errors import NotFoundError
from archiver.message.addresses import parse_addresses
from archiver.message.body import read_body
from archiver.message.charset import VAGUE
from archiver.message.charset_names import codec_for
from archiver.message.dates import parse_date
from archiver.message.mime import Part, read_structure
from archiver.message.model import Message
from archiver.message.tnef import read_tnef
from archiver.message.uu import find_uu, uu_content
from archiver.message.words import decode_phrase, decode_value

_ADDRESSES = ("from", "to", "cc", "bcc")
_INSIDE = re.compile(r"(.*?)(?:\.(uu|tnef)([1-9][0-9]{0,3}))?\Z", re.DOTALL)
_WANTED = frozenset({*_ADDRESSES, "subject", "date"})


def parse(raw: bytes) -> Message:
    """The message in `raw`. Total: any bytes give a Message; bounded in depth, parts, text and time.

    Line ends may be LF, CRLF or mixed. Limits: `mime.MAX_DEPTH`, `mime.MAX_PARTS`,
    `fields.MAX_HEADER_BYTES`, `body.MAX_TEXT_BYTES`; what is beyond them is left out of the text, never
    an error. Of a field that may stand once the first counts; address fields are joined.
    """
    root = read_structure(raw)
    hint = _charset_hint(root)
    values: dict[str, list[str]] = {}
    for name, value in root.fields:
        if (key := name.lower()) in _WANTED:
            values.setdefault(key, []).append(value)
    first = {key: found[0] for key, found in values.items()}
    who = {key: parse_addresses(", ".join(values[key]), hint) for key in _ADDRESSES if key in values}
    body = read_body(root)
    return Message(
        subject=decode_phrase(first.get("subject", ""), hint),
        from_=who.get("from", ()),
        to=who.get("to", ()),
        cc=who.get("cc", ()),
        bcc=who.get("bcc", ()),
        date=parse_date(first.get("date", "")),
        text=body.text,
        html=body.html,
        attachments=body.attachments,
        encrypted="encrypted" in body.protection,
        signed="signed" in body.protection,
        calendar=body.calendar,
        headers=tuple(root.fields if root.plain else [(n, decode_value(v, hint)) for n, v in root.fields]),
    )


def attachment_bytes(raw: bytes, part: str) -> bytes:
    """The decoded content of the part with that number (`Attachment.part`, or any IMAP part number).

    Raises NotFoundError when the message has no such part. Text is not converted: its bytes are
    as they were sent.
    """
    number, inside, index = _INSIDE.match(part).groups()  # type: ignore[union-attr]
    for found in read_structure(raw).walk():
        if found.number == number and number:
            content = found.content()
            file = _file(content, inside, int(index)) if inside else content
            if file is not None:
                return file
            break
    raise NotFoundError(
        "the message has no such part", hint="`archiver attachments ID` lists the parts it has"
    )


def contents(raw: bytes, wanted: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The decoded content of several parts, by `Attachment.part`; what is not there is left out."""
    inside: dict[str, list[str]] = {}
    for part in wanted:
        inside.setdefault(_INSIDE.match(part)[1], []).append(part)  # type: ignore[index]
    for found in read_structure(raw).walk():
        parts = inside.pop(found.number, ())
        content = found.content() if parts else b""
        for part in parts:
            _, kind, index = _INSIDE.match(part).groups()  # type: ignore[union-attr]
            file = _file(content, kind, int(index)) if kind else content
            if file is not None:
                yield part, file


def _file(content: bytes, inside: str, index: int) -> bytes | None:
    """One of the files in a text with uuencoded files, or in TNEF."""
    if inside == "uu":
        uu = find_uu(content)[index - 1 : index]
        return uu_content(content, uu[0]) if uu else None
    tnef = read_tnef(content).files[index - 1 : index]
    return content[tnef[0].start : tnef[0].end] if tnef else None


def _charset_hint(root: Part) -> str:
    """The charset raw bytes in headers are most likely in: the first that says something of its parts'."""
    if root.plain or all([value.isascii() for _, value in root.fields]):
        return ""
    declared = (part.params.get("charset", "") for part in root.walk())
    return next((charset for charset in declared if codec_for(charset) not in VAGUE), "")
