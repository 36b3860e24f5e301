from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message import attachment_bytes, parse
from archiver.message.cms import signed_content
from tests.message.test_body import listed, multipart, part

_END = b"\0\0"
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_DATA = bytes.fromhex("06092a864886f70d010701")
_ENTITY = part("text/plain; charset=utf-8", "Größe".encode())


def tlv(tag: int, content: bytes) -> bytes:
    """An element with its length (DER)."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 128 + len(length))) + length + content


def open_ended(tag: int, content: bytes) -> bytes:
    """An element that ends with an end (BER), as what is written in a stream has it."""
    return bytes((tag, 128)) + content + _END


def signed(content: bytes, *, pieces: int = 0, kind: bytes = _SIGNED_DATA) -> bytes:
    """CMS data that signs the content, its certificates and signature left out."""
    put = open_ended if pieces else tlv
    octets = tlv(0x04, content)
    if pieces:
        octets = put(
            0x24, b"".join(tlv(0x04, content[at : at + pieces]) for at in range(0, len(content), pieces))
        )
    inner = put(0x30, _DATA + put(0xA0, octets))
    return put(0x30, kind + put(0xA0, put(0x30, tlv(0x02, b"\1") + tlv(0x31, b"\x30\0") + inner)))


@pytest.mark.parametrize("pieces", [0, 1, 7, 1000])
@pytest.mark.parametrize("content", [b"x", b"text " * 100, bytes(70_000)])
def test_what_is_signed(content: bytes, pieces: int) -> None:
    assert signed_content(signed(content, pieces=pieces)) == content


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        signed(b"x", kind=bytes.fromhex("06092a864886f70d010703")),
        signed(b"x").replace(b"\x02\1\1", b"\x03\1\1"),
        tlv(0x30, _SIGNED_DATA + tlv(0xA0, tlv(0x30, tlv(2, b"\1") + tlv(0x31, b"") + tlv(0x30, _DATA)))),
        signed(b"text" * 40)[:30],
    ],
)
def test_nothing_else(data: bytes) -> None:
    assert signed_content(data) == b""


def test_what_was_cut_counts_as_far_as_it_goes() -> None:
    assert signed_content(signed(b"text" * 40)[:-10]) == (b"text" * 40)[:-10]


def opaque(entity: bytes, parameters: str = "; smime-type=signed-data; name=smime.p7m") -> bytes:
    data = base64.encodebytes(signed(entity, pieces=100))
    return part(f"application/pkcs7-mime{parameters}", data, "Content-Transfer-Encoding: base64")


def test_the_text_of_a_signed_message_is_read() -> None:
    message = parse(opaque(_ENTITY))
    assert (message.text, message.signed, message.encrypted, message.attachments) == (
        "Größe",
        True,
        False,
        (),
    )


def test_attachments_inside_it() -> None:
    raw = opaque(multipart("mixed", _ENTITY, part("application/pdf; name=a.pdf", b"%PDF")), "")
    message = parse(raw)
    assert (message.text, message.signed) == ("Größe", True)
    assert listed(message) == [("1.1.2", "a.pdf", "application/pdf")]
    assert attachment_bytes(raw, "1.1.2") == b"%PDF"


def test_signed_twice_and_inside_a_forward() -> None:
    message = parse(part("message/rfc822", opaque(opaque(_ENTITY))))
    assert (message.text, message.signed) == ("\nGröße", False)


def test_what_is_encrypted_is_an_attachment() -> None:
    raw = part("application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", b"\x30\x80")
    assert listed(parse(raw)) == [("1", "smime.p7m", "application/pkcs7-mime")]


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    whole = signed(b"content", pieces=3)
    assert len(signed_content(data)) <= len(data)
    assert len(signed_content(whole[:20] + data + whole[20:])) <= len(whole) + len(data)


@pytest.mark.parametrize(
    "data",
    [
        signed(bytes(2_000_000), pieces=1),
        b"\x30\x80" * 2_000_000,
        signed(b"x", pieces=1)[:-16] + b"\x04\0" * 3_000_000,
        bytes((0x30, 0xFF)) + b"\xff" * 5_000_000,
    ],
)
def test_bounded_time(data: bytes) -> None:
    start = time.process_time()
    signed_content(data)
    assert time.process_time() - start < 2


def test_signed_in_signed_without_end_is_bounded() -> None:
    raw = _ENTITY
    for _ in range(200):
        raw = part("application/pkcs7-mime", signed(raw))
    start = time.process_time()
    parse(raw)
    assert time.process_time() - start < 2
