from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.fields import MAX_HEADER_BYTES, Fields, header_block


def block(data: bytes) -> tuple[Fields, bytes]:
    fields, body, _ = header_block(data, 0, len(data))
    return fields, data[body:]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_fields_in_order_unfolded(end: bytes) -> None:
    data = b"A: 1\nB:2\nA:  three\n\tfolded\n more\n\nbody\nX: no\n".replace(b"\n", end)
    fields, body = block(data)
    assert fields == [("A", "1"), ("B", "2"), ("A", "three folded more")]
    assert body.splitlines() == [b"body", b"X: no"]


def test_mixed_line_ends() -> None:
    assert block(b"A: 1\r\nB: 2\n\r\nbody") == ([("A", "1"), ("B", "2")], b"body")
    assert block(b"A: 1\nB: 2\r\n\nbody\r\n\r\n") == ([("A", "1"), ("B", "2")], b"body\r\n\r\n")
    assert block(b"A: 1\r\r\nB: 2\r\r\n\r\r\nbody") == ([("A", "1"), ("B", "2")], b"body")


def test_no_header() -> None:
    assert block(b"\nbody") == ([], b"body")
    assert block(b"\r\nbody") == ([], b"body")
    assert block(b"only text\nand more") == ([], b"only text\nand more")
    assert block(b"") == ([], b"")


def test_no_body() -> None:
    assert block(b"A: 1\nB: 2") == ([("A", "1"), ("B", "2")], b"")
    assert block(b"A: 1\n") == ([("A", "1")], b"")


def test_mbox_line_at_the_top_is_skipped() -> None:
    assert block(b"From ana@example.org Tue Mar  5 2024\nA: 1\n\nb") == ([("A", "1")], b"b")
    assert block(b">From ana@example.org Tue Mar  5 2024\nA: 1\n\nb") == ([("A", "1")], b"b")


def test_a_line_folded_without_blank_belongs_to_the_field_above() -> None:
    fields, body = block(b"Content-Type: multipart/mixed;\nboundary=x\nSubject: s\n\nbody")
    assert fields == [("Content-Type", "multipart/mixed; boundary=x"), ("Subject", "s")]
    assert body == b"body"


def test_text_without_a_blank_line_begins_the_body() -> None:
    assert block(b"Subject: s\nHello there\nBye\n\nMore") == ([("Subject", "s")], b"Hello there\nBye\n\nMore")


def test_a_delimiter_without_a_blank_line_begins_the_body() -> None:
    data = b"Subject: s\nThis is a multipart message.\n--b\nContent-Type: text/plain\n\nx\n--b--"
    assert block(data) == ([("Subject", "s")], data[11:])


def test_obsolete_forms() -> None:
    fields, body = block(
        b"Subject : s\r\n \r\n  and more\r\nDate\t: now\r\nFrom\r\n : a@example.org\r\n\r\nb"
    )
    assert fields == [("Subject", "s   and more"), ("Date", "now"), ("From", "a@example.org")]
    assert body == b"b"


def test_raw_bytes_survive_as_surrogates() -> None:
    fields, _ = block(b"Subject: caf\xe9 \xc3\xa9\n\n")
    assert fields == [("Subject", "caf\udce9 é")]


def test_control_characters_become_blanks() -> None:
    assert block(b"Subject: a\x00b\x07c\x7fd\n\n")[0] == [("Subject", "a b c d")]


def test_plainness() -> None:
    for value, plain in ((b"abc", True), (b"=?utf-8?q?a?=", False), (b"\xc3\xa9", False), (b"\x1b$B", False)):
        data = b"Subject: " + value + b"\n\n"
        assert header_block(data, 0, len(data))[2] is plain


def test_only_between_start_and_end() -> None:
    data = b"X: 0\n\nA: 1\n\nbody\n\nB: 2"
    fields, body, _ = header_block(data, 6, 16)
    assert (fields, data[body:16]) == ([("A", "1")], b"body")


def test_an_endless_header_is_cut() -> None:
    fields, body = block(b"A: " + b"x" * (2 * MAX_HEADER_BYTES) + b"\nB: 2\n\nbody")
    assert [name for name, _ in fields] == ["A"]
    assert body == b"body"


_LINES = st.sampled_from(
    [
        b"A: 1",
        b"Subject: x",
        b" folded",
        b"\tfolded",
        b"junk",
        b"",
        b"\r",
        b" ",
        b"From x",
        b"--b",
        b"\xff: y",
        b": z",
        b"a b: c",
        b"\x1b:",
    ]
)


@given(st.lists(st.tuples(_LINES, st.sampled_from([b"\n", b"\r\n", b"\r\r\n"]))))
def test_total_and_inside(lines: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(line + end for line, end in lines)
    fields, body, _ = header_block(data, 0, len(data))
    assert 0 <= body <= len(data)
    assert all(name and "\n" not in name + value for name, value in fields)
