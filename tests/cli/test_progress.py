"""Progress without a terminal: a line now and then."""

from __future__ import annotations

import re

import pytest

from archiver.cli.progress import Lines, meter


def test_a_line_says_how_far_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(0)
    lines.expect("work", "INBOX", 1000)
    lines.expect("work", "Sent", 1000)
    lines.stored("work", 500, 5 << 20)
    lines.indexed(10, 2000)
    lines.read(1, 100)
    said = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"work: 500 of 2,000 messages, 5.0 MB, [\d,]+/s, about \d+ s left", said[0])
    assert said[1:] == ["indexed 10 of 2,000 messages", "read 1 file, 100 B"]


def test_not_before_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with meter(quiet) as progress:
            progress.expect("work", "INBOX", 1000)
            progress.stored("work", 500, 5 << 20)
            progress.indexed(10, 2000)
            progress.read(1, 100)
    assert capsys.readouterr().err == ""
