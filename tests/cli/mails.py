"""The messages in the archive that the tests of the command line look at."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.servers.dovecot import User

# What must never reach a terminal as it is: an escape sequence that sets colours, one that sets the
# window's title, the same in one byte of C1, and letters that turn the direction of the line.
HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b1m\u202eexe.txt\u2066\u200f"


@dataclass(frozen=True)
class Letter:
    """One message, the folder it is in and its flags there."""

    raw: bytes
    folder: str = "INBOX"
    flags: Sequence[str] = ()
    date: datetime = datetime(2024, 6, 1, tzinfo=UTC)


def word(text: str) -> str:
    """A header's encoded word (RFC 2047)."""
    return f"=?utf-8?b?{b64encode(text.encode()).decode()}?="


def mail(
    subject: str,
    text: str | bytes = "Nothing new.\n",
    *,
    day: str = "1 Jan 2024 12:00:00 +0000",
    sender: str = "Alice Example <alice@example.org>",
    kind: str = "text/plain; charset=utf-8",
    headers: Sequence[str] = (),
) -> bytes:
    """A message on the wire."""
    body = text.encode() if isinstance(text, str) else text
    lines = [
        f"From: {sender}",
        "To: Bob Example <bob@example.org>",
        f"Date: {day}",
        f"Subject: {subject}",
        *headers,
        "MIME-Version: 1.0",
        f"Content-Type: {kind}",
        "Content-Transfer-Encoding: 8bit",
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def part(name: str, content: str, kind: str = "application/octet-stream") -> str:
    """An attachment, its name percent-encoded (RFC 2231)."""
    coded = "".join(f"%{byte:02X}" for byte in name.encode())
    return (
        f"--frontier\nContent-Type: {kind}\n"
        f"Content-Disposition: attachment; filename*=utf-8''{coded}\n\n{content}\n"
    )


ATTACHED = (
    ("report.txt", "the first report"),
    ("report.txt", "the second report"),
    ("../../../escape.txt", "climbing"),
    ("/etc/passwd", "absolute"),
    (HOSTILE, "steering"),
    (".hidden", "dotted"),
    ("発表.pdf", "wide"),
)
PARTS = mail(
    "Seven attachments",
    "--frontier\nContent-Type: text/plain\n\nSee the attachments.\n"
    + "".join(part(name, content) for name, content in ATTACHED)
    + "--frontier--\n",
    day="6 Mar 2024 12:00:00 +0000",
    kind="multipart/mixed; boundary=frontier",
)
INVOICE = mail(
    "Invoice for March",
    "Dear Bob,\nthe invoice for March is 120 euros.\nAlice\n",
    day="1 Mar 2024 09:00:00 +0000",
)
TWICE = mail("Kept in two folders", "One message, two places.\n", day="2 Mar 2024 12:00:00 +0000")
GONE = mail("Deleted on the server", "The archive still has it.\n", day="3 Mar 2024 12:00:00 +0000")
PAGE = mail(
    "Only a page",
    f"<html><body><p>Welcome to the <b>garden</b> club</p><script>alert(1)</script>{HOSTILE}</body></html>\n",
    day="4 Mar 2024 12:00:00 +0000",
    kind="text/html; charset=utf-8",
)
STEERING = mail(
    word(f"Look {HOSTILE}"),
    f"The steering text: {HOSTILE}\nlast line\n",
    day="5 Mar 2024 12:00:00 +0000",
    sender=f"{word('Mallory ' + HOSTILE)} <mallory@example.org>",
    headers=[f"X-Steering: {word(HOSTILE)}"],
)
MARKUP = mail(
    "[bold]Not markup[/nope] :smile:",
    sender='"[/] Tagger" <tag@example.org>',
    day="7 Mar 2024 12:00:00 +0000",
)
CHINESE = mail(
    word("项目会议纪要"),
    "下次会议在星期三，请准备发票和预算。\n",
    day="8 Mar 2024 12:00:00 +0000",
    sender=f"{word('王小明')} <wang@example.org>",
)
NEWS = tuple(
    mail(
        f"News number {number}",
        f"Gazette of day {number}.\n",
        day=f"{number} Feb 2024 12:00:00 +0000",
        headers=["List-Id: <news.example.org>"],
    )
    for number in range(1, 26)
)
GONE_UID = 3
LIBRARY: tuple[Letter, ...] = (
    Letter(INVOICE, flags=("\\Seen", "\\Flagged")),
    Letter(TWICE, flags=("\\Seen",)),
    Letter(GONE, flags=("\\Seen",)),
    Letter(PAGE),
    Letter(STEERING),
    Letter(PARTS, flags=("\\Seen",)),
    Letter(MARKUP),
    Letter(CHINESE, "仕事/会議"),
    Letter(TWICE, "Kept", ("\\Seen",)),
    *(Letter(raw, "Lists/News", ("\\Seen",)) for raw in NEWS),
)


def deliver(user: User) -> None:
    """Put the library into a mailbox."""
    user.create(*sorted({letter.folder for letter in LIBRARY} - {"INBOX"}))
    for letter in LIBRARY:
        user.save(letter.raw, letter.folder, date=letter.date, flags=letter.flags)
