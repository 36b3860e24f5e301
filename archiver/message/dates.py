"""The Date header and its many wrong forms -> Unix seconds (RFC 5322, 3.3 and 4.3)."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from archiver.message.model import Message

_EARLIEST = 315_532_800  # 1980-01-01: before it, clocks were not set
_DAY = 86_400
_UNIX_EPOCH = date(1970, 1, 1).toordinal()

# The first three letters: English, and what German, French, Spanish and Portuguese programs write instead.
_MONTH_NAMES = (
    "jan ene|feb fev|mar mrz|apr abr avr|may mai|jun|jul|aug ago|sep set|oct okt out|nov|dec dez dic"
)
_MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES.split("|"), 1) for name in names.split()}

# By minutes east of Greenwich. Ambiguous names as most mail means them.
_ZONES_EAST = {
    -600: "hst",
    -540: "akst",
    -480: "pst akdt",
    -420: "mst pdt",
    -360: "cst mdt",
    -300: "est cdt",
    -240: "edt ast",
    -210: "nst",
    -180: "adt brt",
    -150: "ndt",
    0: "ut utc gmt z wet",
    60: "west bst cet met mez",
    120: "cest mest mesz eet sast",
    180: "eest msk",
    240: "msd",
    300: "pkt",
    330: "ist",
    480: "hkt sgt awst",
    540: "jst kst",
    570: "acst",
    600: "aest",
    660: "aedt",
    720: "nzst",
    780: "nzdt",
}
_ZONES = {name: minutes for minutes, names in _ZONES_EAST.items() for name in names.split()}

_USUAL = re.compile(
    r"(\d{1,2}) ([A-Za-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) (?:([+-]\d{4})|([A-Z]{1,5}))(?: ?\([^()]*\))?\Z"
)
_COMMENT = re.compile(r"\([^()]*\)")
_ZONE = r"(?:[A-Za-z]{0,4}\s?[+-]\d{1,2}:?\d{0,2}|[A-Za-z]{1,5})"
_TIME = (
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{1,2})(?:[:.](?P<second>\d{1,2})(?:[.,]\d{1,9})?)?"
    r"(?:\s?(?P<half>[AaPp])\.?[Mm]\b\.?)?"
)
_DAY_MONTH = r"(?P<day>\d{1,2})[\s.-]{0,3}(?P<month>[A-Za-z]{3,9})"
_MONTH_DAY = r"(?P<month>[A-Za-z]{3,9})\s{1,3}(?P<day>\d{1,2})"
_FORMS = (
    rf"{_DAY_MONTH}[\s.,-]{{0,3}}(?P<year>\d{{2,4}})[\s,]{{1,3}}{_TIME}\s{{0,3}}(?P<zone>{_ZONE})?",
    rf"{_MONTH_DAY}\s{{1,3}}{_TIME}\s{{1,3}}(?:(?P<early>{_ZONE})\s{{1,3}})?(?P<year>\d{{4}})\s{{0,3}}(?P<zone>{_ZONE})?",
    rf"{_MONTH_DAY},?\s{{1,3}}(?P<year>\d{{4}})[\s,]{{1,3}}{_TIME}\s{{0,3}}(?P<zone>{_ZONE})?",
    rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}})[\sT]{{1,2}}{_TIME}\s{{0,3}}(?P<zone>{_ZONE})?",
)


def parse_date(value: str) -> int | None:
    """Unix seconds, or None when no day and time can be read. Unknown zones count as UTC (RFC 5322, 4.3)."""
    usual = _USUAL.search(value, max(0, len(value) - 60)) if len(value) < 200 else None
    if usual:
        day, month, year, hour, minute, second, offset, zone = usual.groups()
        east = int(offset[:3]) * 60 + int(offset[0] + offset[3:]) if offset else _ZONES.get(zone.lower(), 0)
        return _seconds((year, month, day), (hour, minute, second), east)
    return _unusual(" ".join(_COMMENT.sub(" ", value[:200]).split()))


def _unusual(value: str) -> int | None:
    for form in _forms():
        if found := form.search(value):
            parts = found.groupdict()
            hour = int(parts["hour"])
            if parts["half"]:
                hour = hour % 12 + (12 if parts["half"] in "Pp" else 0)
            zone = parts["zone"] or parts.get("early") or ""
            day = (parts["year"], parts["month"], parts["day"])
            seconds = _seconds(day, (str(hour), parts["minute"], parts["second"] or "0"), _minutes_east(zone))
            if seconds is not None:
                return seconds
    return None


@lru_cache(maxsize=1)
def _forms() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(form) for form in _FORMS)


def _seconds(day: tuple[str, str, str], time: tuple[str, str, str], minutes_east: int) -> int | None:
    year, month = int(day[0]), _MONTHS.get(day[1][:3].lower(), 0) or (int(day[1]) if day[1].isdigit() else 0)
    if len(day[0]) < 4:
        year += 2000 if year < 50 else 1900  # 102 is 2002, as clocks of the year wrote it
    hour, minute, second = map(int, time)
    if hour > 24 or minute > 59 or second > 61:
        return None
    try:
        days = date(year, month, int(day[2])).toordinal() - _UNIX_EPOCH
    except ValueError:
        return None
    return days * _DAY + hour * 3600 + minute * 60 + min(second, 59) - minutes_east * 60


def _minutes_east(zone: str) -> int:
    name = zone.rstrip("+-:0123456789 ")
    sign_and_digits = zone[len(name) :].strip().replace(":", "")
    if not sign_and_digits:
        return _ZONES.get(name.lower(), 0)
    digits = sign_and_digits[1:]
    hours, minutes = (int(digits[:-2]), int(digits[-2:])) if len(digits) > 2 else (int(digits or 0), 0)
    if hours > 14 or minutes > 59:
        return 0
    return (hours * 60 + minutes) * (-1 if sign_and_digits[0] == "-" else 1)


def document_date(message: Message, received: int) -> int:
    """The date a message is sorted and searched by, in Unix seconds.

    Its Date header when that parses, is 1980 or later and at most a day after `received` (the
    server's INTERNALDATE); else `received`.
    """
    if message.date is not None and _EARLIEST <= message.date <= received + _DAY:
        return message.date
    return received
