"""When imported mail was received, by its `From ` line."""

from __future__ import annotations

import time

import pytest

from archiver.exchange.dates import received

NOW = 1_750_000_000.0
NOTHING = 7


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"From a Sat Feb  1 10:20:30 2020\n", 1580552430),
        (b"From a Sat Feb 29 10:20:30 2020\r\n", 1582971630),
        (b"From 1585@xxx Sat Feb 01 10:20:30 +0100 2020", 1580548830),
        (b"From a Sat, 1 Feb 2020 10:20:30 -0100\n", 1580556030),
        (b"From a Sat Feb  1 10:20 2020\n", 1580552400),
        (b"From a Sat Xyz  1 10:20:30 2020\n", NOTHING),
        (b"From a Sat Feb 31 10:20:30 2020\n", 1583144430),
        (b"From a Thu Jan  1 00:00:00 1970\n", NOTHING),
        (b"From a Thu Jan  1 00:00:00 2100\n", NOTHING),
        (b"From a Thu Jan  1 00:00:00 0000\n", NOTHING),
        (b"From a Thu Jan  0 99:99:99 9999\n", NOTHING),
        (b"From MAILER-DAEMON\n", NOTHING),
    ],
)
def test_envelopes(line: bytes, expected: int) -> None:
    assert received(b"", line, NOTHING, NOW) == expected


def test_a_long_header_takes_no_time() -> None:
    begun = time.process_time()
    received(b"Received: " + b"x;\n\t" * 200_000, b"", NOTHING, NOW)
    received(b"received:\n \n" * 100_000, b"", NOTHING, NOW)
    assert time.process_time() - begun < 2
