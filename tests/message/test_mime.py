from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.mime import MAX_DEPTH, MAX_PARTS, Part, read_structure


def tree(raw: bytes) -> list[tuple[str, str]]:
    """Number and type of every part but whole messages that are multiparts (they share a number)."""
    return [(part.number, part.type) for part in read_structure(raw).walk() if part.number]


def contents(raw: bytes) -> list[bytes]:
    return [part.content() for part in read_structure(raw).walk() if not part.children]


def _head(boundary: str, subtype: str = "mixed") -> bytes:
    return f'Content-Type: multipart/{subtype}; boundary="{boundary}"\n\n'.encode()


def multipart(boundary: str, *parts: bytes, subtype: str = "mixed") -> bytes:
    return (
        _head(boundary, subtype)
        + b"".join(f"--{boundary}\n".encode() + part + b"\n" for part in parts)
        + f"--{boundary}--\n".encode()
    )


_TEXT = b"Content-Type: text/plain\n\ntext"
_IMAGE = b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo="


def test_single_part() -> None:
    assert tree(b"Subject: x\n\nbody") == [("1", "text/plain")]
    assert contents(b"Subject: x\n\nbody") == [b"body"]


def test_numbers_as_imap_counts() -> None:
    inner = b"Content-Type: message/rfc822\n\nSubject: in\n" + multipart(
        "c", _TEXT, multipart("d", _TEXT, _IMAGE)
    )
    single = b"Content-Type: message/rfc822\n\nSubject: in\n\nbody"
    raw = b"Subject: x\n" + multipart("a", multipart("b", _TEXT, _IMAGE), inner, single)
    assert tree(raw) == [
        ("1", "multipart/mixed"),
        ("1.1", "text/plain"),
        ("1.2", "image/png"),
        ("2", "message/rfc822"),
        ("2", "multipart/mixed"),
        ("2.1", "text/plain"),
        ("2.2", "multipart/mixed"),
        ("2.2.1", "text/plain"),
        ("2.2.2", "image/png"),
        ("3", "message/rfc822"),
        ("3.1", "text/plain"),
    ]


def test_a_message_that_is_a_message() -> None:
    raw = b"Content-Type: message/rfc822\n\nSubject: in\n\nbody"
    assert tree(raw) == [("1", "message/rfc822"), ("1.1", "text/plain")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_line_end_before_a_delimiter_is_not_content(end: bytes) -> None:
    raw = multipart("b", b"\none\n", b"\ntwo").replace(b"\n", end)
    assert contents(raw) == [b"one" + end, b"two"]


def test_preamble_and_epilogue_are_no_parts() -> None:
    raw = multipart("b", _TEXT).replace(b"\n\n--b", b"\n\npreamble\n--b", 1) + b"epilogue\n"
    assert contents(raw) == [b"text"]


def test_similar_boundaries() -> None:
    raw = multipart("b", multipart("bb", b"\n1", b"\n2"), b"\n--bbb is text\n --b is too\n--b x\n--")
    assert contents(raw) == [b"1", b"2", b"--bbb is text\n --b is too\n--b x\n--"]


def test_delimiters_with_blanks_after() -> None:
    assert contents(b"Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\nx\n--b-- \n") == [b"x"]


def test_two_delimiters_in_a_row() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\nx\n--b\n\n--b--"
    assert contents(raw) == [b"x", b""]


def test_unclosed() -> None:
    assert contents(_head("b") + b"--b\n\none\n--b\n" + _head("c") + b"--c\n\ntwo") == [b"one", b"two"]
    assert contents(_head("b") + b"--b") == [b""]


def test_the_outer_boundary_ends_the_inner_part() -> None:
    assert contents(_head("b") + b"--b\n" + _head("c") + b"--c\n\nx\n--b\n\ny\n--b--") == [b"x", b"y"]


@pytest.mark.parametrize("declared", ["", "; boundary=wrong", '; boundary=""'])
def test_an_undeclared_boundary_is_found(declared: str) -> None:
    head = f"Content-Type: multipart/mixed{declared}\n\n".encode()
    assert contents(head + b"--real one \nContent-Type: text/plain\n\nx\n--real one\n\ny\n") == [b"x", b"y\n"]


def test_a_multipart_without_parts_is_text() -> None:
    assert tree(b"Content-Type: multipart/mixed; boundary=b\n\njust text") == [("1", "text/plain")]


@pytest.mark.parametrize(
    "value", ["", "text", "/plain", "text/plain/x", "te xt/plain", "t\xe4xt/plain", "a" * 200 + "/b"]
)
def test_no_such_type_is_text(value: str) -> None:
    assert tree(f"Content-Type: {value}\n\nx".encode("latin-1")) == [("1", "text/plain")]


def test_digest_parts_are_messages() -> None:
    raw = multipart("b", b"\nSubject: one\n\n1", b"Content-Type: text/plain\n\n2", subtype="digest")
    assert tree(raw) == [("1", "message/rfc822"), ("1.1", "text/plain"), ("2", "text/plain")]


def test_encoded_messages_are_looked_into() -> None:
    raw = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKYm9keQ=="
    assert contents(raw) == [b"body"]


def test_partial_messages() -> None:
    first = b'Content-Type: message/partial; number=1; total=2; id="x"\n\nSubject: y\n\nbody'
    assert tree(first) == [("1", "message/partial"), ("1.1", "text/plain")]
    assert tree(first.replace(b"number=1", b"number=2")) == [("1", "message/partial")]


def test_leading_blank_lines_and_marks() -> None:
    for before in (b"\n\n", b"\r\n", b"\xef\xbb\xbf", b"   \n\n"):
        (part,) = read_structure(before + b"Subject: x\n\nbody").walk()
        assert (part.fields, part.body) == ([("Subject", "x")], b"body")


def test_only_carriage_returns() -> None:
    (part,) = read_structure(b"Subject: x\r\rline\rline").walk()
    assert (part.fields, part.body) == ([("Subject", "x")], b"line\nline")


def _nested(depth: int) -> Iterator[bytes]:
    for level in range(depth):
        yield f'Content-Type: multipart/mixed; boundary="b{level}"\n\n--b{level}\n'.encode()


def _depth(part: Part) -> int:
    return 1 + max((_depth(child) for child in part.children), default=0)


def test_depth_is_bounded() -> None:
    assert _depth(read_structure(b"".join(_nested(5)))) == 6
    assert _depth(read_structure(b"".join(_nested(5 * MAX_DEPTH)))) == MAX_DEPTH + 1
    assert _depth(read_structure(b"Content-Type: message/rfc822\n\n" * 500)) == MAX_DEPTH + 1


def test_parts_are_bounded() -> None:
    raw = multipart("b", *[b"\nx"] * 3 * MAX_PARTS)
    assert len(list(read_structure(raw).walk())) == MAX_PARTS
    nested = multipart("a", *[multipart("b", *[multipart("c", *[b"\nx"] * 100)] * 100)] * 100)
    assert len(list(read_structure(nested).walk())) == MAX_PARTS


_PIECES = [
    *(b"Content-Type: multipart/mixed; boundary=b\n", b"Content-Type: message/rfc822\n", b"Subject: x\n"),
    *(b"Content-Type: text/plain\n", b"Content-Transfer-Encoding: base64\n", b"\n", b"\r\n"),
    *(b"--b\n", b"--b--\n", b"--b", b"x", b"\xff"),
]


@given(st.lists(st.sampled_from(_PIECES), max_size=60))
def test_total_and_numbers_unique(pieces: list[bytes]) -> None:
    parts = list(read_structure(b"".join(pieces)).walk())
    numbers = [part.number for part in parts if not (part.is_multipart and part.children)]
    assert len(numbers) == len(set(numbers))
    assert all(0 <= part.start <= part.end <= len(part.data) for part in parts)
