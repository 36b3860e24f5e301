from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.words import decode_phrase, decode_value, decode_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?UTF-8?b?R3LDvMOfZQ==?=", "Grüße"),
        ("=?iso-8859-1?q?a_b=5Fc?=", "a b_c"),
        ("Re: =?utf-8?Q?=C3=A4?= and =?utf-8?Q?=C3=B6?=.", "Re: ä and ö."),
        ("=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab"),
        ("=?utf-8?Q?a?= \t  =?iso-8859-1?B?5A==?=", "aä"),
        (
            "=?utf-8?B?5Lya6K2w44Gu6LOH5paZ44KS?= =?utf-8?B?6YCB44KK44G+?= =?utf-8?B?44GZ?=",
            "会議の資料を送ります",
        ),
        ("=?utf-8?Q?=E4=BC?= =?utf-8?Q?=9A?=", "会"),  # one character in two words
        ("=?utf-8?B?5Lya6?= =?utf-8?B?K2w?=", "会議"),  # base64 cut anywhere
        ("=?gb2312?B?udjT2g==?=", "关于"),
        ("=?ks_c_5601-1987?B?yLjAxw==?=", "회의"),
        ("=?iso-2022-jp?B?GyRCMnE1RBsoQg==?=", "会議"),
        ("=?koi8-r?Q?=EF=D4=DE=A3=D4?=", "Отчёт"),
        ("=?windows-874?B?4LfC?=", "เทย"),
        ("=?utf-8*en?Q?language?=", "language"),
        ("=?x-unknown?Q?=CF=F0=E8=E2=E5=F2?=", "Привет"),
        ("=??Q?empty?=", "empty"),
        ("=?utf-8?Q??=", ""),
        ("=?utf-8?Q?a b c?=", "a b c"),  # blanks are forbidden inside, and sent
        ("=?utf-8?Q?caf\u00e9?=", "café"),  # so are raw characters
        ("x=?utf-8?Q?=C3=A4?=y", "xäy"),
        ('"=?utf-8?Q?=C3=A4?="', '"ä"'),
        ("=?utf-8?Q?no end =C3=A4", "no end ä"),
        ("=?utf-8?B?R3LDvMOfZQ", "Grüße"),
        ("=?utf-8?B?R3LDvA= =?utf-8?Q?=C3=9Fe?=", "Grüße"),  # the end of the first one lost
        ("=?utf-8?B?!!!?=", ""),
        ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        ("=? not a word ?=", "=? not a word ?="),
        ("1 =? 2", "1 =? 2"),
    ],
)
def test_encoded_words(value: str, text: str) -> None:
    assert decode_words(value) == text


def test_raw_bytes() -> None:
    assert decode_value("caf\udce9") == "café"
    assert decode_value(b"\xd0\xca".decode("utf-8", "surrogateescape"), hint="koi8-r") == "пй"
    assert decode_value("already é") == "already é"
    assert decode_value("\x1b$B2q5D\x1b(B") == "会議"


def test_one_line_without_controls() -> None:
    assert decode_value("=?utf-8?Q?a=0D=0ABcc:_x=00?=") == "a Bcc: x "
    assert decode_value("a\x1bb\tc") == "a b c"


def test_phrases_have_single_blanks() -> None:
    assert decode_phrase("  a   =?utf-8?Q?_=C3=A4_?=   b ") == "a ä b"


@given(
    st.lists(
        st.sampled_from(
            ["=?", "?=", "utf-8", "?Q?", "?B?", "=C3", "=A4", " ", "x", "5Lya", "=", "\udcff", "ä", "\x1b$B"]
        )
    )
)
def test_total(pieces: list[str]) -> None:
    value = decode_value("".join(pieces))
    assert value.encode() or value == ""
    assert not any(character < " " for character in value)


@given(st.text(st.characters(exclude_categories=["C"]), max_size=30), st.integers(1, 40))
def test_any_split_of_the_bytes_comes_back(text: str, size: int) -> None:
    data = text.encode()
    words = [data[at : at + size] for at in range(0, len(data), size)]
    encoded = " ".join("=?utf-8?Q?" + "".join(f"={byte:02X}" for byte in word) + "?=" for word in words)
    assert decode_words(encoded) == text.removeprefix("\ufeff")
