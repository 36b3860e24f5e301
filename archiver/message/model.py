"""What a message is once it has been read."""

from __future__ import annotations

import msgspec


class Address(msgspec.Struct, frozen=True, gc=False):
    """One mailbox of an address header, decoded. Either half may be empty, never both."""

    name: str
    address: str


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """One part that a reader would save to a file.

    `part` is the IMAP part number (RFC 3501, 6.4.5), with `.uu1`, `.uu2` appended for files
    uuencoded inside a text part, `.tnef1`, `.tnef2` for those inside a winmail.dat. `filename` is
    decoded but otherwise what the sender wrote: it may be empty or hostile and is not a path.
    `size` counts decoded bytes.
    """

    part: str
    filename: str
    content_type: str
    size: int


class Message(msgspec.Struct, frozen=True):
    """One message, decoded for people and for the index.

    `date` is the Date header in Unix seconds, None when it does not parse. `text` is what a person
    would read; `html` is the first text/html part as it was sent: not cleaned, not safe to show.
    `encrypted` and `signed` are what the message shows of itself (OpenPGP, S/MIME): nothing is
    verified. `calendar`: a calendar entry is in it, attached or as a form of its text. `headers` has every
    field, decoded and unfolded, in order.
    """

    subject: str
    from_: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    date: int | None
    text: str
    html: str
    attachments: tuple[Attachment, ...]
    encrypted: bool
    signed: bool
    calendar: bool
    headers: tuple[tuple[str, str], ...]
