from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.iso2022 import decode_iso2022


@pytest.mark.parametrize(
    "text", ["会議のお知らせ", "plain then 漢字 then plain", "カタカナ、ひらがな。", "一\n二\n三"]
)
@pytest.mark.parametrize("codec", ["iso2022_jp", "iso2022_jp_2", "iso2022_jp_3"])
def test_japanese(text: str, codec: str) -> None:
    assert decode_iso2022(text.encode(codec)) == text


def test_korean_shifts() -> None:
    assert decode_iso2022("회의 일정 abc 변경".encode("iso2022_kr")) == "회의 일정 abc 변경"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b$B-!-j\x1b(B", "①㈱"),  # the vendor row of Windows, under the standard's name
        (b"\x1b(I1234\x1b(B", "ｱｲｳｴ"),  # half-width katakana
        (b'\x1b$@$"\x1b(J!', "あ!"),  # the set of 1978, JIS-Roman after it
        (b'\x1b$B$"$"', "ああ"),  # never switched back
        (b"\x1b$A0!\x1b(B", "啊"),  # GB 2312
        (b"\x1b$)A\x0e0!\x0f!", "啊!"),  # the same by a shift
        (b"\x1b$(D0!\x1b(B", "丂"),  # JIS X 0212
        (b"\x1b.A\x1bNi!", "é!"),  # single shift two
        (b"\x1b$B\x24\x22\x24", "あ\ufffd"),  # half a character
    ],
)
def test_sets(data: bytes, text: str) -> None:
    assert decode_iso2022(data) == text


@pytest.mark.parametrize("data", [b"", b"plain", b"\x1b[31mred\x1b[0m", b"\x0e\x0f"])
def test_without_a_designation_it_is_something_else(data: bytes) -> None:
    assert decode_iso2022(data) is None


@given(
    st.lists(
        st.sampled_from(
            [b"\x1b$B", b"\x1b(B", b"\x1b$)C", b"\x0e", b"\x0f", b"\x1bN", b"\x1b.F", b"\xff", b"0", b"!a"]
        )
    )
)
def test_total(pieces: list[bytes]) -> None:
    text = decode_iso2022(b"".join(pieces))
    assert text is None or isinstance(text.encode(), bytes)
