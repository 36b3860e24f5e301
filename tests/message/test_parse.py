from __future__ import annotations

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import archiver.message
from archiver.errors import NotFoundError
from archiver.message import Address, Message, attachment_bytes, parse
from tests.message.samples import SAMPLES


def test_the_public_names() -> None:
    assert sorted(archiver.message.__all__) == [
        "Address", "Attachment", "Message", "attachment_bytes", "base_subject", "contents", "document_date",
        "lists", "message_id", "parse", "referred", "safe_filename",
    ]  # fmt: skip


def test_headers() -> None:
    message = parse(
        b"From: Ana <ana@example.org>\nTo: a@example.org\nto: b@example.org\nCc: c@example.org\n"
        b"Bcc: d@example.org\nSubject:  first\nSubject: second\n"
        b"Date: Tue, 05 Mar 2024 12:00:00 +0000\nX-Note: =?utf-8?Q?=C3=A4?=\n folded\n\nbody"
    )
    assert message.from_ == (Address("Ana", "ana@example.org"),)
    assert [found.address for found in message.to] == ["a@example.org", "b@example.org"]
    assert [found.address for found in (*message.cc, *message.bcc)] == ["c@example.org", "d@example.org"]
    assert (message.subject, message.date) == ("first", 1709640000)
    assert message.headers[0] == ("From", "Ana <ana@example.org>")
    assert message.headers[-1] == ("X-Note", "ä folded")
    assert [name for name, _ in message.headers].count("Subject") == 2


def test_nothing_at_all() -> None:
    assert parse(b"") == Message(
        "", (), (), (), (), None, "", "", (), encrypted=False, signed=False, calendar=False, headers=()
    )


def test_raw_header_bytes_follow_the_charset_of_the_body() -> None:
    raw = b"Subject: \xd0\xca\nContent-Type: text/plain; charset=%b\n\n"
    assert parse(raw % b"koi8-r").subject == "пй"
    nested = b"Subject: \xd0\xca\nContent-Type: multipart/mixed; boundary=b\n\n--b\n" + raw
    assert parse(nested % b"koi8-r").subject == "пй"
    assert parse(nested % b"windows-1251").subject == "РК"


def test_line_ends_do_not_matter() -> None:
    for raw in SAMPLES.values():
        lf = raw.replace(b"\r\n", b"\n")
        one, other = parse(lf), parse(lf.replace(b"\n", b"\r\n"))
        blank = {"attachments": ()}  # sizes of text attachments count the line ends
        assert msgspec.structs.replace(one, **blank) == msgspec.structs.replace(other, **blank)


def test_attachment_bytes() -> None:
    raw = SAMPLES["attachments.eml"]
    assert attachment_bytes(raw, "2").startswith(b"%PDF-1.4")
    assert attachment_bytes(raw, "1") == b"Four files are attached."
    assert attachment_bytes(raw, "4") == b"--- a\r\n+++ b\r\n@@ -1 +1 @@ \r\n-old\r\n+new"
    forwarded = SAMPLES["forwarded.eml"]
    assert attachment_bytes(forwarded, "2").startswith(b'From: "Zo\xc3\xab Inner"')
    assert attachment_bytes(forwarded, "2.2") == b"a,b\n1,2"
    assert attachment_bytes(SAMPLES["uuencoded.eml"], "1.uu1").startswith(b"These are notes")


@pytest.mark.parametrize(
    "part", ["", "0", "6", "1.1", "2.", "x", "1.uu1", "1.uu", "1.uu0", "1.uu99999999999", ".uu1"]
)
def test_no_such_part(part: str) -> None:
    with pytest.raises(NotFoundError):
        attachment_bytes(SAMPLES["attachments.eml"], part)


def check(raw: bytes) -> Message:
    """What holds for the message of any bytes."""
    message = parse(raw)
    assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message
    json.dumps(msgspec.to_builtins(message), ensure_ascii=False).encode()  # no lone surrogate anywhere
    addresses = (*message.from_, *message.to, *message.cc, *message.bcc)
    lines = [
        *(half for found in addresses for half in (found.name, found.address)),
        *(half for field in message.headers for half in field),
        *(half for found in message.attachments for half in (found.part, found.filename, found.content_type)),
        message.subject,
    ]
    assert not any(unicodedata.category(character) == "Cc" for line in lines for character in line)
    assert not set(message.text) & set(map(chr, (*range(9), *range(11, 32), *range(127, 160))))
    for found in message.attachments:
        assert len(attachment_bytes(raw, found.part)) == found.size
    return message


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample with stretches removed, repeated, replaced or taken from another one."""
    raw = bytearray(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 80)))
        other = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))]
        at = draw(st.integers(0, len(other)))
        raw[start:end] = draw(
            st.sampled_from(
                [b"", bytes(raw[start:end]) * 2, other[at : at + 200], b"\n", b"\xff", b"\0", b"\n\n", b"="]
            )
        )
    return bytes(raw)


@given(mutated())
def test_damaged_mail(raw: bytes) -> None:
    check(raw)


_FIELDS = ["From", "To", "Subject", "Date", "Content-Type", "Content-Disposition", "Bcc"]
_VALUES = [
    *("=?utf-8?B?", "?=", "=?x?q?=E4?=", "<", ">", "a@example.org", '"', "(", ";", " ", "\\", "ä", "\x00"),
    *("multipart/mixed", "text/html", "boundary=b", "name*=gb2312''%C4%", "charset=utf-7", "+2AA-"),
    *("\udcff\udce4", "\x1b$B", "&#xD800;"),
]
_LINES = [
    *("--b\n", "\n", "Content-Type: text/html; charset=utf-7\n", "+2AA-", "&#xD800;", "\x9b", "x\n"),
    "begin 644 \udcff\n#0V%T\n",
]


@given(
    st.lists(st.tuples(st.sampled_from(_FIELDS), st.lists(st.sampled_from(_VALUES), max_size=6))),
    st.lists(st.sampled_from(_LINES)),
)
def test_any_fields(fields: list[tuple[str, list[str]]], body: list[str]) -> None:
    head = "".join(f"{name}: {''.join(values)}\n" for name, values in fields)
    check((head + "\n" + "".join(body)).encode("utf-8", "surrogateescape"))
