"""Text for terminals: harmless, in columns, and positions that stay true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.cli.text import columns, count, cut, moment, one_line, pad, pointed, printable, size, span
from tests.cli.mails import HOSTILE

UNSTEERING = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


class TestPrintable:
    @given(st.text())
    def test_steers_nothing_and_keeps_positions(self, text: str) -> None:
        shown = printable(text)
        assert len(shown) == len(text)
        assert all(char.isprintable() or char in UNSTEERING for char in shown)
        assert [b for a, b in zip(text, shown, strict=True) if a.isprintable() and a != b] == []

    def test_keeps_lines_where_wanted(self) -> None:
        assert printable("a\tb\nc\r\n\x0b\x85d\u2028") == "a b c    d "
        assert printable("a\tb\nc\r\n\u2028", lines=True) == "a\tb\nc \n "

    def test_shows_that_something_was_there(self) -> None:
        assert printable("\x1b[1m\u202e\x9b\ud800") == "\ufffd[1m\ufffd\ufffd\ufffd"

    def test_keeps_what_words_need(self) -> None:
        assert printable("می\u200cخواهم 👨\u200d👩") == "می\u200cخواهم 👨\u200d👩"


class TestColumns:
    @pytest.mark.parametrize(
        ("text", "width"),
        [("", 0), ("abc", 3), ("中文", 4), ("한", 2), ("ｱ", 1), ("e\u0301", 1), ("\u200b", 0)],
    )
    def test_width(self, text: str, width: int) -> None:
        assert columns(text) == width

    @given(st.text(), st.integers(1, 60))
    def test_one_line_fits(self, text: str, width: int) -> None:
        line = one_line(text, width)
        assert columns(line) <= max(width, 1) and "\n" not in line
        assert columns(pad(line, width)) == max(width, columns(line))

    def test_cutting_says_so(self) -> None:
        assert one_line("one   two\nthree", 9) == "one two …"
        assert (cut("中文中文", 8), cut("中文中文", 7), cut("中文中文", 6)) == (
            "中文中文",
            "中文中…",
            "中文…",
        )

    def test_invisible_padding_goes(self) -> None:
        assert one_line(f"Sale\u034f\u200b\u00ad {HOSTILE[:1]}", 20) == "Sale \ufffd"


class TestPointed:
    @given(st.text(max_size=300), st.data(), st.integers(20, 100))
    def test_the_caret_is_below_the_position(self, text: str, data: st.DataObject, width: int) -> None:
        position = data.draw(st.integers(0, len(text)))
        line, caret = pointed(text, position, width)
        assert columns(line) <= width and caret.strip() == "^"
        before = columns(caret) - 1
        rest = printable(text[position:])
        at = next(i for i in range(len(line) + 1) if columns(line[:i]) == before)
        while at < len(line) and columns(line[at]) == 0 and not rest.startswith(line[at]):
            at += 1
        assert rest[:1] == "" or line[at : at + 1] in (rest[0], "…") or columns(rest[0]) == 0


class TestAmounts:
    def test_sizes(self) -> None:
        numbers = (0, 1023, 1024, 1536, 200 * 1024, 5 << 20, 3 << 40, 5000 << 40)
        shown = ["0 B", "1023 B", "1.0 kB", "1.5 kB", "200 kB", "5.0 MB", "3.0 TB", "5000 TB"]
        assert [size(number) for number in numbers] == shown

    def test_spans(self) -> None:
        assert [span(seconds) for seconds in (5, 61, 7200, 200_000)] == ["5 s", "1 min", "2 h", "2 d"]

    def test_counts(self) -> None:
        assert [count(number, "message") for number in (0, 1, 2000)] == [
            "0 messages",
            "1 message",
            "2,000 messages",
        ]

    def test_moments(self) -> None:
        assert moment(None) == "never"
        assert moment(1e20) == moment(-1e20) == "no valid date"
