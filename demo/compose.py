"""Letters, and the messages made of them.

The letters are text files in `letters/`: blocks divided by `====`, each with header lines, an empty
line and the body; the first block of a file holds what its letters share. They are turned into
messages as mail programs of the last decades would have sent them, in the charset and the transfer
encoding that the block asks for.

    from, to, cc, bcc, date, subject, list-id      as in the message; `to` is the owner unless given
    folder, also     where it lies; `also` is a second folder holding the same bytes
    charset          default us-ascii
    encoding         7bit, 8bit (the default where it must be), qp, base64
    html             "only": the body is HTML; "also": the body in both forms
    flags            of seen, answered, flagged, draft
    id, answers      names by which letters of a thread refer to each other
    attach           kind (of attachments.py) and filename; may be there several times
"""

from __future__ import annotations

import base64
import quopri
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.header import Header
from email.utils import encode_rfc2231, format_datetime, getaddresses
from html import escape
from pathlib import Path

from demo.attachments import content

OWNER = "demo@example.org"


@dataclass(frozen=True)
class Letter:
    """A block of a letters file: its header lines, what is attached (kind, filename), and its body."""

    name: str
    fields: Mapping[str, str]
    attachments: tuple[tuple[str, str], ...]
    body: str

    @property
    def charset(self) -> str:
        """The charset as it is written into the message."""
        return self.fields.get("charset", "us-ascii")

    @property
    def date(self) -> datetime:
        """When it was written."""
        return datetime.strptime(self.fields["date"], "%Y-%m-%d %H:%M:%S %z")

    @property
    def message_id(self) -> str:
        """Made of its name and its sender's domain."""
        sender = getaddresses([self.fields["from"]])[0][1]
        return f"<{self.name}.{self.date:%Y%m%d}@{sender.rpartition('@')[2]}>"

    @property
    def received(self) -> datetime:
        """Some seconds after it was written, the same number each time."""
        return self.date + timedelta(seconds=2 + zlib.crc32(self.name.encode()) % 90)


def read_letters(directory: Path) -> list[Letter]:
    """All letters, ordered by date."""
    found = [letter for path in sorted(directory.glob("*.txt")) for letter in _read_file(path)]
    return sorted(found, key=lambda letter: (letter.date, letter.name))


def _read_file(path: Path) -> Iterator[Letter]:
    shared, *blocks = path.read_text("utf-8").split("====\n")
    defaults = dict(_header_lines(shared))
    for number, block in enumerate(blocks, 1):
        head, _, body = block.partition("\n\n")
        lines = list(_header_lines(head))
        attached = [value.split(" ", 1) for name, value in lines if name == "attach"]
        fields = {**defaults, **dict(lines)}
        yield Letter(
            name=fields.get("id", f"{path.stem}-{number}"),
            fields=fields,
            attachments=tuple((kind, filename) for kind, filename in attached),
            body=body.rstrip("\n") + "\n",
        )


def _header_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"not a header line: {line!r}")
        yield name, value.strip()


def message(letter: Letter, others: Mapping[str, Letter]) -> bytes:
    """The letter as bytes; `others` are the letters that it may answer, by name."""
    head = [line for line in _head(letter, others) if line]
    return "\r\n".join(head).encode("ascii") + b"\r\n" + _content(letter)


def _head(letter: Letter, others: Mapping[str, Letter]) -> Iterator[str]:
    get = letter.fields.get
    if get("folder") not in ("Sent", "Drafts"):
        yield _received_line(letter)
    yield _address_line("From", letter.fields["from"], letter.charset)
    yield _address_line("To", get("to", f"Alex Weber <{OWNER}>"), letter.charset)
    yield _address_line("Cc", get("cc", ""), letter.charset)
    yield _address_line("Bcc", get("bcc", ""), letter.charset)
    yield f"Subject: {_encoded(letter.fields['subject'], letter.charset, 9)}"
    yield f"Date: {format_datetime(letter.date)}"
    yield f"Message-ID: {letter.message_id}"
    yield from _thread_lines(letter, others)
    if list_id := get("list-id"):
        yield f"List-Id: {list_id}"
        yield f"List-Unsubscribe: <mailto:leave@{list_id.rpartition('<')[2].rstrip('>')}>"
        yield "Precedence: list"
    yield "MIME-Version: 1.0"


def _received_line(letter: Letter) -> str:
    host = letter.message_id.rpartition("@")[2].rstrip(">")
    number = zlib.crc32(host.encode()) % 250 + 1
    return (
        f"Received: from mail.{host} (mail.{host} [192.0.2.{number}])\r\n"
        f"\tby mx.example.org with ESMTPS; {format_datetime(letter.received)}"
    )


def _thread_lines(letter: Letter, others: Mapping[str, Letter]) -> Iterator[str]:
    ancestors: list[Letter] = []
    while name := (ancestors[-1] if ancestors else letter).fields.get("answers"):
        ancestors.append(others[name])
    if ancestors:
        yield f"In-Reply-To: {ancestors[0].message_id}"
        yield "References: " + "\r\n ".join(one.message_id for one in reversed(ancestors))


def _address_line(name: str, value: str, charset: str) -> str:
    """The header with each display name encoded, or "" when there is nobody."""
    people = [
        f"{_phrase(person, charset)} <{address}>" if person else address
        for person, address in getaddresses([value])
    ]
    return f"{name}: " + ",\r\n ".join(people) if people else ""


def _phrase(name: str, charset: str) -> str:
    """A display name: encoded if it must be, quoted if it has a character of RFC 5322's specials."""
    if not name.isascii():
        return _encoded(name, charset, 20)
    return f'"{name}"' if any(char in '()<>[]:;@\\,."' for char in name) else name


def _encoded(text: str, charset: str, used: int) -> str:
    """Encoded words (RFC 2047) when the text is not ASCII; `used` columns of the first line are taken.

    A name that the letter's charset cannot write is written in UTF-8, as mail programs do.
    """
    if text.isascii():
        return text
    try:
        text.encode(charset)
    except (UnicodeEncodeError, LookupError):
        charset = "utf-8"
    return Header(text, charset, maxlinelen=74, header_name="x" * used).encode(linesep="\r\n")


def _content(letter: Letter) -> bytes:
    """Content headers, the empty line, and the content: one part, or several."""
    text = _body_part(letter)
    if not letter.attachments:
        return text
    parts = [text, *(_attachment(letter, kind, filename) for kind, filename in letter.attachments)]
    return _multipart("mixed", f"={letter.name}=", parts)


def _body_part(letter: Letter) -> bytes:
    form = letter.fields.get("html")
    if form == "only":
        return _text_part(letter, "html", letter.body)
    plain = _text_part(letter, "plain", letter.body)
    if form == "also":
        return _multipart(
            "alternative", f"=alt-{letter.name}=", [plain, _text_part(letter, "html", _html(letter))]
        )
    return plain


def _html(letter: Letter) -> str:
    """The body as a newsletter's HTML twin."""
    paragraphs = "\n".join(f"<p>{escape(part)}</p>" for part in letter.body.strip().split("\n\n"))
    return f"<html><body>\n<h2>{escape(letter.fields['subject'])}</h2>\n{paragraphs}\n</body></html>\n"


def _text_part(letter: Letter, subtype: str, text: str) -> bytes:
    names = {"qp": "quoted-printable"}
    encoding = letter.fields.get("encoding", "7bit" if text.isascii() else "8bit")
    head = (
        f"Content-Type: text/{subtype}; charset={letter.charset}\r\n"
        f"Content-Transfer-Encoding: {names.get(encoding, encoding)}\r\n\r\n"
    )
    return head.encode("ascii") + _transfer(text, letter.charset, encoding)


def _transfer(text: str, charset: str, encoding: str) -> bytes:
    """The text on the wire, with CRLF."""
    codec = {"windows-874": "cp874"}.get(charset, charset)  # Python knows it by this name only
    data = text.encode(codec)
    if encoding == "qp":
        data = quopri.encodestring(data)
    elif encoding == "base64":
        data = base64.encodebytes(text.replace("\n", "\r\n").encode(codec))
    return data.replace(b"\n", b"\r\n")


def _multipart(subtype: str, boundary: str, parts: list[bytes]) -> bytes:
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode("ascii")
    line = f"--{boundary}".encode("ascii")
    return head + b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"


def _attachment(letter: Letter, kind: str, filename: str) -> bytes:
    content_type, data = content(kind, filename)
    whole = kind == "eml"  # RFC 2046, 5.2.1: message/rfc822 is never encoded
    head = (
        f"Content-Type: {content_type}{_parameter('name', filename, letter.charset)}\r\n"
        f"Content-Disposition: attachment{_parameter('filename', filename, letter.charset)}\r\n"
        f"Content-Transfer-Encoding: {'7bit' if whole else 'base64'}\r\n\r\n"
    )
    wire = data if whole else base64.encodebytes(data).replace(b"\n", b"\r\n")
    return head.encode("ascii") + wire


def _parameter(name: str, value: str, charset: str) -> str:
    """A MIME parameter: plain, by RFC 2231, or as older mail programs with that charset wrote it."""
    if value.isascii():
        return f';\r\n {name}="{value}"'
    if charset in ("iso-2022-jp", "koi8-r", "windows-1251"):
        return f';\r\n {name}="{_encoded(value, charset, 20)}"'
    return f";\r\n {name}*={encode_rfc2231(value, 'utf-8')}"
