from __future__ import annotations

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.transfer import decode_transfer, decode_uu, decoded_size


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"aGVsbG8", b"hello"),  # padding lost
        (b"aGVsbG8===", b"hello"),
        (b"aGVsbG9", b"hello"),  # stray bits
        (b"aGVsbG8hI", b"hello!"),  # cut after one letter of four
        (b"aGVs!!\x00bG8=", b"hello"),  # foreign bytes
        (b"aGk=aGk=", b"hihi"),  # pieces padded one by one
        (b"aGVsbG8=\n____________\nA list at lists.example.org\n", b"hello"),
        (b"aGVsbG8h\n-- \nfooter of the list, added without asking\n", b"hello!"),
        (b"", b""),
        (b"=", b""),
    ],
)
def test_base64(data: bytes, content: bytes) -> None:
    assert decode_transfer(data, "base64") == content


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"a=3Db", b"a=b"),
        (b"soft=\nbreak=\r\nagain", b"softbreakagain"),
        (b"soft= \nbreak", b"softbreak"),
        (b"100% = all, =ZZ, =", b"100% = all, =ZZ, "),
        (b"=e4=E4", b"\xe4\xe4"),
        (b"\xe4 raw", b"\xe4 raw"),
    ],
)
def test_quoted_printable(data: bytes, content: bytes) -> None:
    assert decode_transfer(data, "quoted-printable") == content


def test_other_encodings_change_nothing() -> None:
    for encoding in ("", "7bit", "8bit", "binary", "x-nonsense"):
        assert decode_transfer(b"a=3D\r\n", encoding) == b"a=3D\r\n"


def test_uuencode() -> None:
    lines = [binascii.b2a_uu(b"some content, "), binascii.b2a_uu(b"more of it")]
    whole = b"begin 644 name.txt\n" + b"".join(lines) + b"`\nend\nafter"
    assert decode_uu(whole) == b"some content, more of it"
    assert decode_uu(whole.replace(b"\n", b"\r\n")) == b"some content, more of it"
    assert decode_uu(b"".join(lines)) == b"some content, more of it"
    assert decode_uu(lines[0] + b"\xff\xff broken\n" + lines[1]) == b"some content, more of it"


@given(st.binary(), st.integers(1, 90))
def test_base64_of_any_line_length(content: bytes, width: int) -> None:
    encoded = base64.b64encode(content)
    lines = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    assert decode_transfer(lines, "base64") == content
    assert decoded_size(lines, "base64") == len(content)


@given(st.binary())
def test_quoted_printable_round_trip(content: bytes) -> None:
    content = content.replace(b"\r", b"")
    assert decode_transfer(quopri.encodestring(content), "quoted-printable") == content


@given(
    st.lists(
        st.sampled_from(
            [b"aGVs", b"b", b"=", b"==", b"\n", b" ", b"-- x y", b"\xff", b"__", b"begin 644 x\n", b"#0V%T\n"]
        )
    ),
    st.sampled_from(["base64", "quoted-printable", "x-uuencode", "7bit"]),
)
def test_size_is_the_size_of_the_content(pieces: list[bytes], encoding: str) -> None:
    data = b"".join(pieces)
    assert decoded_size(data, encoding) == len(decode_transfer(data, encoding))
