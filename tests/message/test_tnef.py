from __future__ import annotations

import base64
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message import attachment_bytes, parse
from archiver.message.tnef import read_tnef
from tests.message.test_body import listed, multipart, part

_SIGNATURE = b"\x78\x9f\x3e\x22\x01\x00"
_INTERFACE = bytes(16)
_NAME, _CONTENT, _TEXT, _HTML = 0x3707, 0x3701, 0x1000, 0x1013
_STRING8, _UNICODE, _BINARY, _OBJECT, _LONG = 0x1E, 0x1F, 0x102, 0x0D, 3


def attribute(identifier: int, data: bytes, level: int = 1) -> bytes:
    return struct.pack("<BII", level, identifier, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def stream(*attributes: bytes, code_page: int = 1252) -> bytes:
    return _SIGNATURE + attribute(0x69007, struct.pack("<II", code_page, 0)) + b"".join(attributes)


def prop(identifier: int, type_: int, *values: bytes, name: bytes = b"") -> bytes:
    head = struct.pack("<HH", type_, identifier) + name
    return head + struct.pack("<I", len(values)) + b"".join(map(padded, values))


def padded(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value + bytes(-len(value) % 4)


def properties(*listed: bytes) -> bytes:
    return struct.pack("<I", len(listed)) + b"".join(listed)


def file(title: bytes, content: bytes, *listed: bytes) -> bytes:
    more = attribute(0x69005, properties(*listed), 2) if listed else b""
    return (
        attribute(0x69002, bytes(14), 2)
        + attribute(0x18010, title, 2)
        + attribute(0x6800F, content, 2)
        + more
    )


_OLD = file(b"GIR-LI~1.DOC\0", b"first")
_LONG_NAME = file(
    b"RECHNU~1.PDF\0", b"second", prop(_NAME, _UNICODE, "Rechnung März.pdf\0".encode("utf-16le"))
)
_CYRILLIC = file("отчёт.txt\0".encode("cp1251"), b"third")


def found(data: bytes) -> list[tuple[str, bytes]]:
    return [(each.name, data[each.start : each.end]) for each in read_tnef(data).files]


@pytest.mark.parametrize(
    ("data", "files"),
    [
        (stream(), []),
        (stream(_OLD, _LONG_NAME), [("GIR-LI~1.DOC", b"first"), ("Rechnung März.pdf", b"second")]),
        (stream(_CYRILLIC, code_page=1251), [("отчёт.txt", b"third")]),
        (stream(file(b"a\0", b"x", prop(_NAME, _STRING8, b"\xc4rger.txt\0"))), [("Ärger.txt", b"x")]),
        (stream(file(b"", b"x")), [("", b"x")]),
        (stream(_OLD)[:-4], [("GIR-LI~1.DOC", b"fir")]),
        (b"PK\x03\x04" + stream(_OLD)[4:], []),
        (b"", []),
    ],
)
def test_files(data: bytes, files: list[tuple[str, bytes]]) -> None:
    assert found(data) == files


def test_properties_of_all_kinds_are_passed_over() -> None:
    others = (
        struct.pack("<HHI", _LONG, 0x0E20, 5),
        struct.pack("<HHI8s", 0x1000 | 20, 0x6001, 1, bytes(8)),
        prop(0x6002, 0x1000 | _STRING8, b"one\0", b"three\0"),
        prop(0x8001, _UNICODE, b"x\0", name=bytes(16) + struct.pack("<II", 0, 7)),
        prop(
            0x8002,
            _UNICODE,
            b"x\0",
            name=bytes(16) + struct.pack("<I", 1) + padded("Keyword".encode("utf-16le")),
        ),
    )
    data = stream(file(b"a\0", b"x", *others, prop(_NAME, _STRING8, b"behind them\0")))
    assert found(data) == [("behind them", b"x")]


def test_files_of_a_message_inside_are_among_the_others() -> None:
    inner = stream(_LONG_NAME, attribute(0x2800C, b"inner text\0"))
    outer = stream(_OLD, file(b"m\0", b"", prop(_CONTENT, _OBJECT, _INTERFACE + inner)), _CYRILLIC)
    assert [content for _, content in found(outer)] == [b"first", b"second", b"third"]
    assert read_tnef(outer).text == "inner text"


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (attribute(0x2800C, b"plain \xe9\0"), "plain é"),
        (attribute(0x69003, properties(prop(_TEXT, _UNICODE, "Größe\0".encode("utf-16le")))), "Größe"),
        (attribute(0x69003, properties(prop(_HTML, _BINARY, b"<p>rich <b>form</b>"))), "rich form"),
        (
            attribute(
                0x69003, properties(prop(_HTML, _BINARY, b"<p>rich"), prop(_TEXT, _STRING8, b"plain\0"))
            ),
            "plain",
        ),
    ],
)
def test_text(attributes: bytes, text: str) -> None:
    assert read_tnef(stream(attributes)).text == text


def mail(data: bytes, type_: str = "application/ms-tnef", text: bytes = b"the plain form") -> bytes:
    winmail = part(
        f"{type_}; name=winmail.dat", base64.encodebytes(data), "Content-Transfer-Encoding: base64"
    )
    return multipart("mixed", part("text/plain", text), winmail)


@pytest.mark.parametrize("type_", ["application/ms-tnef", "application/octet-stream"])
def test_in_a_message(type_: str) -> None:
    raw = mail(stream(_OLD, _LONG_NAME, attribute(0x2800C, b"the same text")), type_)
    message = parse(raw)
    assert message.text == "the plain form"
    assert listed(message) == [
        ("2", "winmail.dat", type_),
        ("2.tnef1", "GIR-LI~1.DOC", "application/octet-stream"),
        ("2.tnef2", "Rechnung März.pdf", "application/octet-stream"),
    ]
    assert [attachment_bytes(raw, each.part) for each in message.attachments[1:]] == [b"first", b"second"]
    assert [each.size for each in message.attachments[1:]] == [5, 6]


def test_its_text_counts_where_there_is_no_other() -> None:
    data = stream(attribute(0x2800C, b"only here"))
    assert parse(mail(data, text=b" \n")).text == "only here"
    raw = part("application/ms-tnef", base64.encodebytes(data), "Content-Transfer-Encoding: base64")
    assert parse(raw).text == "only here"


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    read_tnef(_SIGNATURE + data)


_WHOLE = stream(
    _OLD,
    attribute(
        0x69003, properties(prop(_HTML, _BINARY, b"<p>rich"), prop(0x6002, 0x1000 | _STRING8, b"a", b"b"))
    ),
    file(b"m\0", b"", prop(_CONTENT, _OBJECT, _INTERFACE + stream(_LONG_NAME))),
)


@given(st.integers(0, len(_WHOLE)), st.binary(max_size=6), st.integers(0, 6))
def test_damaged(at: int, put: bytes, left_out: int) -> None:
    raw = mail(_WHOLE[:at] + put + _WHOLE[at + left_out :])
    for each in parse(raw).attachments:
        assert len(attachment_bytes(raw, each.part)) == each.size


def nested(depth: int) -> bytes:
    data = stream(_OLD)
    for _ in range(depth):
        data = stream(file(b"m\0", b"", prop(_CONTENT, _OBJECT, _INTERFACE + data)))
    return data


@pytest.mark.parametrize(
    "data",
    [
        _SIGNATURE + attribute(0x6800F, b"") * 1_000_000,
        stream(_OLD * 100_000),
        stream(attribute(0x69003, properties(*[struct.pack("<HHI", _LONG, 0x0E20, 5)] * 1_000_000))),
        stream(
            attribute(0x69003, struct.pack("<IHHI", 1, 0x1000 | _LONG, 0x6001, 0xFFFFFFFF) + bytes(8_000_000))
        ),
        stream(attribute(0x69003, struct.pack("<IHHI", 1, _STRING8, 0x6001, 0xFFFFFFFF) + bytes(8_000_000))),
        nested(200),
    ],
)
def test_bounded_time(data: bytes) -> None:
    start = time.process_time()
    assert len(read_tnef(data).files) <= 1_000
    assert time.process_time() - start < 1
