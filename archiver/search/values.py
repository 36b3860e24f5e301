"""Dates and sizes as a query writes them.

A date stands for the span it names: a year, a month, a day, of `@N` a second. `7d`, `3w`, `2m` and `1y` name
the day that long before today, and `now` is today. Days begin at midnight in the zone of `now`: the system's
own when `now` has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

_T = TypeVar("_T")

_calendar = re.compile(r"(\d{4})(?:([-/])(\d{1,2})(?:\2(\d{1,2}))?)?\Z")
_compact = re.compile(r"(\d{4})(\d\d)(\d\d)\Z")
_second = re.compile(r"@(-?\d{1,11})\Z")
_relative = re.compile(r"(\d{1,5})([dwmy])\Z")
_size = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)([kmgt]?)(?:i?b)?\Z")
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class BadValue(ValueError):
    """What is wrong with a value; `offset` is where in it."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


def size(text: str) -> int:
    """Bytes; `k`, `M`, `G`, `T` are powers of 1024, in either case, with or without `B`."""
    found = _size.match(text.lower())
    if not found:
        raise BadValue("is not a size: write 500, 200k, 5M or 1G")
    return int(float(found[1]) * 1024 ** _UNITS[found[2]])


def size_range(text: str) -> tuple[int | None, int | None]:
    """[low, high) of bytes for `size:`, a range that has both its ends; one size alone is that or more."""
    first, dots, last = text.partition("..")
    if not dots:
        return size(text), None
    if not first and not last:
        raise BadValue("has neither a beginning nor an end")
    low = size(first) if first else None
    high = _shifted(lambda: size(last) + 1, len(first) + 2) if last else None
    if low is not None and high is not None and low >= high:
        raise BadValue("ends before it begins")
    return low, high


def _shifted(read: Callable[[], _T], offset: int) -> _T:
    """What is read from a part of a value that begins so far in it."""
    try:
        return read()
    except BadValue as error:
        raise BadValue(str(error), offset) from error


def age(text: str, now: datetime) -> int:
    """The Unix second at which the day so long ago begins."""
    if not _relative.match(text.lower()):
        raise BadValue("is no age: write 7d, 3w, 2m or 1y")
    return span(text, now)[0]


def span(text: str, now: datetime) -> tuple[int, int]:
    """The Unix seconds [start, end) a date stands for."""
    today = datetime(now.year, now.month, now.day, tzinfo=now.tzinfo)
    text = text.lower()
    if second := _second.match(text):
        return int(second[1]), int(second[1]) + 1
    try:
        start, end = _relative_span(text, today) or _calendar_span(text, today)
        return int(start.timestamp()), int(end.timestamp())
    except (ValueError, OverflowError) as error:
        raise BadValue("is not a date: write 2024, 2024-03, 2024-03-05, today, yesterday or 7d") from error


def date_range(text: str, now: datetime) -> tuple[int | None, int | None]:
    """[start, end) for `date:`, a date or a range; a lone `7d` is everything since then."""
    first, dots, last = text.partition("..")
    if not dots:
        start, end = span(text, now)
        return start, None if _relative.match(text.lower()) else end
    if not first and not last:
        raise BadValue("has neither a beginning nor an end")
    low = span(first, now)[0] if first else None
    high = _shifted(lambda: span(last, now)[1], len(first) + 2) if last else None
    if low is not None and high is not None and low >= high:
        raise BadValue("ends before it begins")
    return low, high


def _relative_span(text: str, today: datetime) -> tuple[datetime, datetime] | None:
    if text in ("now", "today", "yesterday"):
        day = today - timedelta(days=text == "yesterday")
    elif found := _relative.match(text):
        day = _before(today, int(found[1]), found[2])
    else:
        return None
    return day, day + timedelta(days=1)


def _before(today: datetime, count: int, unit: str) -> datetime:
    if unit in "dw":
        return today - timedelta(days=count * (7 if unit == "w" else 1))
    year, month = divmod(today.year * 12 + today.month - 1 - count * (12 if unit == "y" else 1), 12)
    return _last_valid(today, year, month + 1)


def _last_valid(today: datetime, year: int, month: int) -> datetime:
    """The same day of another month, or that month's last day when it is shorter."""
    following = datetime(year + month // 12, month % 12 + 1, 1)
    return today.replace(year=year, month=month, day=min(today.day, (following - timedelta(days=1)).day))


def _calendar_span(text: str, today: datetime) -> tuple[datetime, datetime]:
    found = _compact.match(text) or _calendar.match(text)
    if not found:
        raise ValueError(text)
    year, *rest = [int(each) for each in found.groups() if each and each.isdecimal()]
    month, day = (*rest, 1, 1)[:2]
    start = datetime(year, month, day, tzinfo=today.tzinfo)
    if len(rest) == 2:
        return start, start + timedelta(days=1)
    if rest:
        return start, start.replace(year=year + month // 12, month=month % 12 + 1)
    return start, start.replace(year=year + 1)
