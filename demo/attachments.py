"""The files that come with the sample letters, made here so that no binary has to be kept."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

Rectangle = tuple[int, int, int, int, int]  # left, top, width, height, colour (index into PALETTE)

PALETTE = ((250, 246, 235), (60, 72, 88), (160, 168, 176), (70, 130, 90), (200, 90, 60))

DRAWINGS: dict[str, tuple[Rectangle, ...]] = {
    "Grundriss Küche.png": (
        (4, 4, 112, 3, 1),
        (4, 73, 112, 3, 1),
        (4, 4, 3, 72, 1),
        (113, 4, 3, 40, 1),
        (10, 9, 60, 14, 3),
        (74, 9, 18, 18, 2),
        (48, 44, 26, 16, 4),
    ),
    "snow-cave.png": ((0, 30, 120, 50, 2), (10, 50, 70, 12, 0), (70, 42, 34, 24, 0), (84, 54, 12, 8, 1)),
    "全家照.png": (
        (18, 34, 16, 36, 1),
        (22, 22, 9, 11, 4),
        (86, 34, 16, 36, 3),
        (90, 22, 9, 11, 4),
        (44, 18, 32, 54, 2),
        (50, 4, 20, 16, 4),
    ),
    "المنارة.png": (
        (52, 16, 16, 54, 4),
        (48, 10, 24, 6, 1),
        (52, 2, 16, 8, 0),
        (0, 70, 120, 10, 3),
        (52, 34, 16, 8, 0),
    ),
}

PAGES: dict[str, tuple[str, ...]] = {
    "statement-2020.pdf": ("Electricity statement 2020", "1,914 kWh", "Credit: 41.20 EUR"),
    "Angebot Küche Weber.pdf": (
        "Angebot 2022-0031",
        "Küche Weber, Arbeitsplatte Eiche geölt",
        "8.940,00 EUR",
    ),
    "Rechnung 2022-0417.pdf": ("Rechnung 2022-0417", "Zahlbar innerhalb von 14 Tagen", "8.940,00 EUR"),
    "図面第三版.pdf": ("Drawing, third edition", "Pendulum: 994 mm, was 996 mm", "Scale 1:2"),
}

TEXTS: dict[str, str] = {
    "gear-table.txt": (
        "chainring  sprocket  ratio\n"
        "       44        28   1.57\n"
        "       38        28   1.36\n"
        "       30        28   1.07\n"
    ),
    "saturn.txt": (
        "Tie a stone to a string and swing it round your head (outside, please).\n"
        "The string pulls the stone inwards all the time, and still it never arrives.\n"
        "For Saturn the sun holds the string. If it let go, Saturn would leave in a straight line.\n"
    ),
    "新地址.txt": "新家：柳树街十二号，三单元五零二室。\n地铁二号线，柳树街站，B口出来右转。\n",
    "Расписание мостов.txt": "Дворцовый  1:10 - 2:50\nТроицкий   1:20 - 4:50\nЛитейный   1:40 - 4:45\n",
}

# Summary, start and end in UTC.
EVENTS: dict[str, tuple[str, str, str]] = {
    "rehearsal.ics": ("Choir rehearsal", "20250206T183000Z", "20250206T203000Z"),
    "展示会.ics": ("秋の展示会 打ち合わせ", "20230912T050000Z", "20230912T060000Z"),
}

KEEPERS_LETTER = """\
From: The Keeper <keeper@lighthouse.example.org>
To: The Trinity Board <board@example.org>
Subject: The lamp, the oil and the winter
Date: Mon, 08 Nov 1897 20:00:00 +0000
Message-ID: <1897-11-08@lighthouse.example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Sirs, the oyl is low and the wicks are of the poor kind. We kept the lamp lit
seventeen nights by burning what was in the lantern of the boat. The lamp does
not ask who is at sea.
"""


def content(kind: str, filename: str) -> tuple[str, bytes]:
    """Content type and bytes of an attachment of this kind; KeyError for a file nobody has made."""
    makers: dict[str, tuple[str, Callable[[], bytes]]] = {
        "pdf": ("application/pdf", lambda: pdf(PAGES[filename])),
        "png": ("image/png", lambda: png(DRAWINGS[filename])),
        "txt": ("text/plain; charset=utf-8", lambda: crlf(TEXTS[filename])),
        "ics": ("text/calendar; charset=utf-8; method=REQUEST", lambda: calendar(*EVENTS[filename])),
        "eml": ("message/rfc822", lambda: crlf(KEEPERS_LETTER)),
    }
    content_type, make = makers[kind]
    return content_type, make()


def crlf(text: str) -> bytes:
    """UTF-8 with the line ends of the wire."""
    return text.replace("\n", "\r\n").encode()


def pdf(lines: tuple[str, ...]) -> bytes:
    """One A5 page of PDF 1.4 with these lines, which must be Latin-1, in Helvetica."""
    shown = b" T* ".join(b"(%s) Tj" % line.encode("latin-1") for line in lines)
    stream = b"BT /F1 16 Tf 22 TL 40 520 Td %s ET" % shown
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 595] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    )
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return bytes(
        out + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
        + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    )  # fmt: skip


def png(rectangles: tuple[Rectangle, ...], width: int = 120, height: int = 80) -> bytes:
    """A picture of rectangles, later ones over earlier ones.

    Its pixels are stored and not deflated, so that every zlib makes the same bytes.
    """
    rows = [bytearray(width) for _ in range(height)]
    for left, top, wide, high, colour in rectangles:
        for row in rows[top : top + high]:
            row[left : left + wide] = bytes([colour]) * len(row[left : left + wide])
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 0)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", bytes(value for colour in PALETTE for value in colour)),
        (b"IDAT", pixels),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(name, data) for name, data in chunks)


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def calendar(summary: str, start: str, end: str) -> bytes:
    """An invitation (RFC 5546, METHOD:REQUEST) to the mailbox's owner."""
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//example.org//sample//EN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        f"UID:{start}@example.org",
        f"DTSTAMP:{start}",
        f"DTSTART:{start}",
        f"DTEND:{end}",
        f"SUMMARY:{summary}",
        "ORGANIZER:mailto:calendar@example.org",
        "ATTENDEE;RSVP=TRUE:mailto:demo@example.org",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    )
    return "\r\n".join(lines).encode()
