"""When a message that is imported was received: what INTERNALDATE would have been."""

from __future__ import annotations

import calendar
import re
from typing import TypeGuard

from archiver.message.dates import parse_date

# A clock that was never set shows an earlier year.
_EARLIEST = 315_532_800
_DAY = 86_400
_HEADER = 1 << 18
_RECEIVED = re.compile(rb"(?im)^received:((?:[^\n]*\n[ \t])*[^\n]*)")
_DATE = re.compile(rb"(?im)^date:((?:[^\n]*\n[ \t])*[^\n]*)")
# Of nearly every `From ` line, and in no time zone that it tells.
_ASCTIME = re.compile(
    rb"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-3]\d) ([0-2]\d):([0-5]\d):([0-6]\d) ([12]\d{3})\s*\Z"
)
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_BLANK = re.compile(rb"\n\r?\n")


def received(start: bytes, envelope: bytes, otherwise: int, now: float) -> int:
    """Unix seconds: those of the `From ` line, else of the newest Received field, else of the Date field.

    `start` is the beginning of the message, its header at least. What lies before 1980 or after tomorrow is
    passed over; `otherwise` is taken where there is nothing else.
    """
    if envelope:
        moment = _enveloped(envelope)
        if _sane(moment, now):
            return moment
    blank = _BLANK.search(start, 0, _HEADER)
    head = start[: blank.start() if blank else _HEADER]
    for field, after in ((_RECEIVED, b";"), (_DATE, b"")):
        if found := field.search(head):
            text = found[1].rpartition(after)[2] if after else found[1]
            moment = parse_date(" ".join(text.decode("latin-1").split()))
            if _sane(moment, now):
                return moment
    return otherwise


def _enveloped(line: bytes) -> int | None:
    """When a `From ` line says that its message came, as if in UTC where it tells no zone."""
    usual = _ASCTIME.search(line, max(len(line) - 30, 0))
    if usual and usual[1] in _MONTHS:
        day, hour, minute, second, year = map(int, usual.group(2, 3, 4, 5, 6))
        return calendar.timegm((year, _MONTHS.index(usual[1]) + 1, day, hour, minute, second))
    return parse_date(line.decode("latin-1").rstrip())


def _sane(moment: int | None, now: float) -> TypeGuard[int]:
    return moment is not None and _EARLIEST <= moment <= now + _DAY
