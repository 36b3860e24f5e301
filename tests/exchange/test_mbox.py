"""mbox: every line comes back, messages are parted where they were, and the four dialects are told apart."""

from __future__ import annotations

import contextlib
import io
import mailbox
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.exchange import mbox
from archiver.exchange.mbox import Dialect, counted, letters, native

SEPARATOR = b"From alice@example.org Mon Jan  1 00:00:00 2024\n"

lines = st.sampled_from(
    [
        b"",
        b"From ",
        b">From x",
        b">>From ",
        b"From alice",
        SEPARATOR[:-1],
        b"Subject: x",
        b"\r",
        b"text",
        b" From ",
    ]
)
wires = st.lists(st.tuples(lines, st.sampled_from([b"\r\n", b"\r\n", b"\n", b""])), max_size=8).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)


def render(wire: bytes, received: int) -> bytes:
    return mbox.render(wire, received)[0]


def survives(wire: bytes) -> bool:
    return mbox.render(wire, 0)[1]


def read(data: bytes, dialect: Dialect | None = None) -> list[bytes]:
    return [whole(letter) for letter in letters(io.BytesIO(data), dialect)]


def whole(letter: mbox.Letter) -> bytes:
    return letter.body if isinstance(letter.body, bytes) else b"".join(letter.body)


def even(text: bytes) -> bytes:
    """With line ends of one kind, and none at the end."""
    return re.sub(rb"\r*\n", b"\n", text).rstrip(b"\r\n")


class TestRoundTrip:
    @given(st.lists(wires, max_size=5))
    @example([b"a\r\n", b"", b"\r\nFrom \r\n", b"x: 1\r\n\r\n\r\nFrom a Mon 10:00\r\n"])
    def test_what_is_said_to_survive_comes_back_and_nothing_else(self, wires: list[bytes]) -> None:
        found = [native(body) for body in read(b"".join(render(wire, 0) for wire in wires))]
        assert len(found) == len(wires)
        assert [wire == back for wire, back in zip(wires, found, strict=True)] == [*map(survives, wires)]

    @given(st.lists(wires, min_size=1, max_size=5))
    def test_only_line_ends_and_the_last_line_differ(self, wires: list[bytes]) -> None:
        found = read(b"".join(render(wire, 0) for wire in wires))
        for wire, back in zip(wires, found, strict=True):
            assert even(wire) == even(back)

    @given(st.lists(wires, min_size=1, max_size=5), st.integers(1, 50))
    def test_pieces_of_any_size(self, wires: list[bytes], size: int) -> None:
        data = b"".join(render(wire, 0) for wire in wires)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mbox, "_PIECE", size)
            assert read(data) == [
                letter.body for letter in letters(io.BytesIO(data)) if isinstance(letter.body, bytes)
            ]

    @given(st.lists(wires, min_size=1, max_size=4), st.integers(1, 40))
    def test_large_messages_in_pieces(self, wires: list[bytes], size: int) -> None:
        data = b"".join(render(wire, 0) for wire in wires)
        expected = read(data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mbox, "_PIECE", size)
            patch.setattr(mbox, "LARGE", 3)
            patch.setattr(mbox, "_TAIL", len(SEPARATOR) + 120)
            assert read(data) == expected

    def test_others_read_it(self, tmp_path: Path) -> None:
        bodies = [b"Subject: one\r\n\r\nFrom here\r\n", b"Subject: two\r\n\r\n>From there\r\n\r\n"]
        (tmp_path / "x.mbox").write_bytes(b"".join(render(body, 86400) for body in bodies))
        with contextlib.closing(mailbox.mbox(tmp_path / "x.mbox")) as opened:
            found = [*opened]
        assert [each["subject"] for each in found] == ["one", "two"]
        assert [each.get_from() for each in found] == ["MAILER-DAEMON Fri Jan  2 00:00:00 1970"] * 2
        assert found[1].get_payload() == ">>From there\n\n"


class TestEnvelope:
    @pytest.mark.parametrize(
        ("header", "sender"),
        [
            (b"Return-Path: <a@example.org>\r\nFrom: b@example.org\r\n", b"a@example.org"),
            (b"From: =?utf-8?q?B?= <b@example.org>\r\n", b"b@example.org"),
            (b"Return-Path: <>\r\nFrom: nobody\r\n", b"MAILER-DAEMON"),
            (b"Return-Path: <a b@example.org>\r\n", b"MAILER-DAEMON"),
        ],
    )
    def test_it_names_the_sender(self, header: bytes, sender: bytes) -> None:
        line = render(header + b"\r\n", 1_700_000_000).partition(b"\n")[0]
        assert line == b"From " + sender + b" Tue Nov 14 22:13:20 2023"

    def test_a_date_no_calendar_has(self) -> None:
        assert render(b"", 1 << 60).startswith(b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n")


class TestParting:
    def test_a_sentence_is_no_envelope(self) -> None:
        body = b"Subject: x\n\ntext\n\nFrom now on it is different.\nBye\n"
        assert read(SEPARATOR + body + b"\n" + SEPARATOR + b"Subject: y\n\n\n") == [body, b"Subject: y\n\n"]

    def test_a_date_in_a_line_within_a_paragraph_is_none(self) -> None:
        body = b"Subject: x\n\ntext\n" + SEPARATOR + b"more\n"
        assert read(SEPARATOR + body) == [body]

    @pytest.mark.parametrize(
        "line",
        [
            b"From - Mon Jan  1 00:00:00 2024",
            b"From 1585@xxx Mon Jan 01 00:00:00 +0000 2024",
            b"From alice Mon, 1 Jan 2024 00:00:00 +0100",
            b"From MAILER-DAEMON",
        ],
    )
    def test_envelopes_of_all_kinds(self, line: bytes) -> None:
        data = b"".join(line + b"\nSubject: %d\n\ntext\n\n" % number for number in range(3))
        assert read(data) == [b"Subject: %d\n\ntext\n" % number for number in range(3)]

    def test_lines_that_end_with_crlf(self) -> None:
        data = (SEPARATOR + b"Subject: x\n\n>From me\n\n").replace(b"\n", b"\r\n") * 2
        assert read(data) == [b"Subject: x\r\n\r\nFrom me\r\n"] * 2

    def test_no_blank_line_at_the_end_and_no_end_of_the_last_line(self) -> None:
        assert read(SEPARATOR + b"Subject: x\n\ntext") == [b"Subject: x\n\ntext"]


def quoted(text: bytes) -> bytes:
    return SEPARATOR + b"Subject: x\n\n" + text + b"\n"


class TestDialects:
    def test_rd_unless_something_says_otherwise(self) -> None:
        assert read(quoted(b">From a\n>>From b\n")) == [b"Subject: x\n\nFrom a\n>From b\n"]

    def test_o_where_a_line_is_not_quoted(self) -> None:
        text = b"text\nFrom a\n>From b\n>>From c\n"
        assert read(quoted(text)) == [b"Subject: x\n\ntext\nFrom a\nFrom b\n>>From c\n"]

    def test_o_when_told(self) -> None:
        assert read(quoted(b">From a\n>>From b\n"), "mboxo") == [b"Subject: x\n\nFrom a\n>>From b\n"]

    @staticmethod
    def with_length(body: bytes) -> bytes:
        return SEPARATOR + b"Subject: x\nContent-Length: %d\n\n" % len(body) + body + b"\n"

    def test_cl_by_its_lengths(self) -> None:
        data = self.with_length(b">From a\n") + self.with_length(b"b\n")
        assert counted(io.BytesIO(data)) == "mboxcl"
        assert [body[-7:] for body in read(data, "mboxcl")] == [b"From a\n", b": 2\n\nb\n"]

    def test_cl2_holds_whole_messages_unquoted(self) -> None:
        inner = b"a\n\n" + SEPARATOR + b"Subject: inner\n\n>From b\n"
        data = self.with_length(inner) + self.with_length(b"c\n")
        assert counted(io.BytesIO(data)) == "mboxcl2"
        first, second = read(data, "mboxcl2")
        assert first.endswith(inner) and second.endswith(b"\n\nc\n")

    @pytest.mark.parametrize("length", [0, 1, 400, 10**14])
    def test_a_length_that_leads_nowhere_means_nothing(self, length: int) -> None:
        data = SEPARATOR + b"Content-Length: %d\n\ntext\n\n" % length + self.with_length(b"b\n")
        assert counted(io.BytesIO(data)) is None

    def test_one_message_cannot_swallow_the_others(self) -> None:
        others = quoted(b"a\n") * 2
        swallowing = SEPARATOR + b"Content-Length: %d\n\n" % (len(others) + 3) + b"x\n\n" + others
        data = swallowing + quoted(b"b\n")
        assert counted(io.BytesIO(data)) is None
        assert len(read(data)) == 4

    def test_a_large_message_by_its_length(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mbox, "LARGE", 30)
        monkeypatch.setattr(mbox, "_PIECE", 7)
        data = self.with_length(b"From x\n>From a\n" * 9) + self.with_length(b"b\n")
        first, second = read(data, "mboxcl")
        assert first.endswith(b"From x\nFrom a\n" * 9) and second.endswith(b"b\n")


@pytest.mark.parametrize("text", [b"\n>From ", b"From ", b"\n\n"])
def test_a_hostile_file_takes_no_longer_than_another(text: bytes) -> None:
    data = SEPARATOR + text * (2_000_000 // len(text))
    assert sum(map(len, read(data))) > 1_000_000
