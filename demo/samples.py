"""The sample mailbox: about two hundred messages, the same bytes each time.

Most are letters (see compose.py); a machine's reports and one malformed message are made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demo.compose import Letter, message, read_letters

EMPTY_FOLDERS = ("Odds & Ends/Empty",)
ODDS = "Odds & Ends"
BACKUPS = "Odds & Ends/Backups"
FLAGS = {"seen": "\\Seen", "answered": "\\Answered", "flagged": "\\Flagged", "draft": "\\Draft"}


@dataclass(frozen=True)
class Sample:
    """One message at one place: `received` is its INTERNALDATE, `flags` are IMAP's, `raw` has CRLF."""

    folder: str
    flags: frozenset[str]
    received: datetime
    raw: bytes


def mailbox() -> tuple[Sample, ...]:
    """Every message at every place, in the order in which the server numbers them."""
    letters = read_letters(Path(__file__).parent / "letters")
    by_name = {letter.name: letter for letter in letters}
    samples = [
        Sample(folder, _flags(letter), letter.received, raw)
        for letter in letters
        for raw in [message(letter, by_name)]
        for folder in _folders(letter)
    ]
    return (*samples, *backups(), malformed())


def folders(samples: Iterable[Sample]) -> tuple[str, ...]:
    """The names of all folders, INBOX first, the empty one included."""
    names = dict.fromkeys(["INBOX", *(sample.folder for sample in samples), *EMPTY_FOLDERS])
    return tuple(names)


def _folders(letter: Letter) -> list[str]:
    return [letter.fields[key] for key in ("folder", "also") if key in letter.fields]


def _flags(letter: Letter) -> frozenset[str]:
    return frozenset(FLAGS[word] for word in letter.fields.get("flags", "").split())


def backups() -> Iterator[Sample]:
    """Eighteen monthly reports of a machine; one is bad news."""
    for month in range(18):
        when = datetime(2024 + month // 12, month % 12 + 1, 1, 3, 40, tzinfo=UTC)
        letter = _report(when, files=400 + 137 * month % 311, failed=month == 10)
        yield Sample(BACKUPS, _flags(letter), letter.received, message(letter, {}))


def _report(when: datetime, files: int, failed: bool) -> Letter:
    fields = {
        "from": "Backup of nas <backup@nas.example.org>",
        "date": f"{when:%Y-%m-%d %H:%M:%S %z}",
        "subject": "Backup FAILED: no space left" if failed else f"Backup finished: {files} files",
        "flags": "flagged" if failed else "seen",
    }
    body = f"host: nas.example.org\nfiles: {files}\nresult: {'no space left' if failed else 'ok'}\n"
    return Letter(name=f"backup-{when:%Y-%m}", fields=fields, attachments=(), body=body)


def malformed() -> Sample:
    """One message as bad as real ones: no charset, no colon, no end of its parts, and a date that is none."""
    raw = (
        "From: Fax Gateway <fax@example.net\r\n"
        "To: undisclosed recipients\r\n"
        "This line has lost its colon\r\n"
        "Subject: Fax Ünreadable, page 3 of 2\r\n"
        "Date: Tomorrow, around noon\r\n"
        'Content-Type: multipart/mixed; boundary="never\r\n'
        "\r\n"
        "--never\r\n"
        "Content-Type: text/plain; charset=x-fax-8\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        "\r\n"
        "VGhlIGZheCBtYWNoaW5lIGhhcyBqYW1tZWQgYWdhaW4u!!\r\n"
        "--never\r\n"
        "Content-Type: application/octet-stream; name=\r\n"
        "\r\n"
        "here the paper ended"
    ).encode("latin-1")
    received = datetime(2022, 6, 13, 13, 13, 13, tzinfo=UTC)
    return Sample(ODDS, frozenset(), received, raw)
