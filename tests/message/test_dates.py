from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message import document_date, parse
from archiver.message.dates import parse_date

_NOON = 1709640000  # 2024-03-05 12:00:00 UTC


@pytest.mark.parametrize(
    "value",
    [
        "Tue, 05 Mar 2024 12:00:00 +0000",
        "Tue, 5 Mar 2024 13:00:00 +0100",
        "5 Mar 2024 07:00:00 -0500 (EST)",
        "Tue, 05 Mar 2024 12:00:00 GMT",
        "Tue, 05 Mar 2024 12:00:00 UT",
        "Tue, 05 Mar 2024 12:00:00 Z",
        "Tue, 05 Mar 2024 12:00:00",
        "Tue, 05 Mar 2024 12:00 +0000",
        "Tue,  5 Mar 2024 12:00:00 +0000",
        "tue, 5 MAR 2024 12:00:00 +0000",
        "Tuesday, 5 March 2024 12:00:00 +0000",
        "Tue, 5 Mar 24 12:00:00 +0000",
        "Tue, 5 Mar 124 12:00:00 +0000",
        "Tue, 05-Mar-2024 12:00:00 GMT",
        "Tue, 5 Mar 2024 07:00:00 EST",
        "Tue, 5 Mar 2024 04:00:00 PST",
        "Tue, 5 Mar 2024 13:00:00 MET",
        "Tue, 5 Mar 2024 21:00:00 JST",
        "Tue, 5 Mar 2024 15:00:00 MSK",
        "Tue, 5 Mar 2024 12:00:00 NOSUCH",
        "Tue, 5 Mar 2024 14:00:00 GMT+2",
        "Tue, 5 Mar 2024 14:00:00 +02:00",
        "Tue, 5 Mar 2024 12.00.00 +0000",
        "Tue, 5 Mar 2024 12:00:00.250 +0000",
        "Tue, 5 Mar 2024 12:00:00 PM",
        "Tue (really), 5 Mar (sic) 2024 12:00:00 (UTC) +0000",
        "Tue,\t5  Mar\t2024\t12:00:00\t+0000",
        "Tue Mar  5 12:00:00 2024",
        "Tue Mar 5 07:00:00 EST 2024",
        "Tue Mar 5 13:00:00 2024 +0100",
        "Mar 5, 2024 12:00:00 PM",
        "5 Mrz 2024 12:00:00 +0000",
        "2024-03-05T12:00:00Z",
        "2024-03-05 13:00:00+01:00",
        "2024/03/05 12:00:00",
        "Date: Tue, 05 Mar 2024 12:00:00 +0000",
        "Tue, 05 Mar 2024 12:00:00 +0000 junk",
    ],
)
def test_one_moment_in_many_forms(value: str) -> None:
    assert parse_date(value) == _NOON


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:00:00 +0000", 0),
        ("Wed, 31 Dec 1969 23:59:59 +0000", -1),
        ("Fri, 31 Dec 99 23:59:59 GMT", 946684799),
        ("Sat, 30 Jun 2012 23:59:60 +0000", 1341100799),  # a leap second
        ("Tue, 05 Mar 2024 24:00:00 +0000", _NOON + 43200),
        ("Tue, 05 Mar 2024 12:00:00 -1234", _NOON + 45240),
    ],
)
def test_edges(value: str, seconds: int) -> None:
    assert parse_date(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "today",
        "Tue, 31 Feb 2024 12:00:00 +0000",
        "Tue, 05 Foo 2024 12:00:00 +0000",
        "Tue, 05 Mar 2024",
        "99 Mar 2024 99:99:99",
        "5 Mar 0000 12:00:00",
        "12:00:00 +0000",
    ],
)
def test_hopeless(value: str) -> None:
    assert parse_date(value) is None


@given(
    st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9998, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_what_the_standard_library_writes_is_read(moment: datetime, minutes: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_date(format_datetime(moment)) == since.days * 86400 + since.seconds


@given(
    st.lists(
        st.sampled_from(
            [
                "1",
                "31",
                "2024",
                "Mar",
                "May",
                " ",
                "-",
                ":",
                "12:00",
                "+0100",
                "GMT",
                ",",
                "T",
                "PM",
                "(",
                ")",
                "٣",
            ]
        )
    )
)
def test_total(pieces: list[str]) -> None:
    found = parse_date("".join(pieces))
    assert found is None or isinstance(found, int)


def test_document_date() -> None:
    message = parse(b"Date: Tue, 05 Mar 2024 12:00:00 +0000\n\n")
    assert document_date(message, _NOON + 10**6) == _NOON
    assert document_date(message, _NOON - 86400) == _NOON  # a clock a day ahead is believed
    assert document_date(message, _NOON - 86401) == _NOON - 86401  # more is not
    assert document_date(msgspec.structs.replace(message, date=None), 5) == 5
    assert document_date(msgspec.structs.replace(message, date=315532799), _NOON) == _NOON
    assert document_date(msgspec.structs.replace(message, date=315532800), _NOON) == 315532800
