from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.charset import decode_text, readable

_SENTENCES = [
    ("gb2312", "gb18030", "朱镕基在北京，喆"),
    ("x-gbk", "gb18030", "繁體與简体"),
    ("big5", "big5hkscs", "香港嘅啲嘢"),
    ("shift_jis", "cp932", "①髙橋さん"),
    ("euc-jp", "euc_jis_2004", "①日本語"),
    ("ks_c_5601-1987", "cp949", "똠방각하"),
    ("windows-874", "cp874", "ภาษาไทย“”"),
    ("iso-8859-8-i", "cp1255", "שָׁלוֹם"),
    ("iso-8859-1", "cp1252", "“curly” – and €"),
    ("koi8-r", "koi8_r", "Привет"),
    ("x-mac-cyrillic", "mac_cyrillic", "Привет, мир"),
    ("iso-8859-2", "iso8859_2", "Příliš žluťoučký kůň"),
    ("unicode-1-1-utf-7", "utf_7", "Prüfung 1 + 1"),
    ("hz-gb-2312", "hz", "汉字 and ASCII"),
    ("utf-16le", "utf_16_le", "wide ширина"),
    ("iso-2022-jp", "iso2022_jp", "日本語"),
]


@pytest.mark.parametrize(("label", "codec", "text"), _SENTENCES)
def test_declared(label: str, codec: str, text: str) -> None:
    assert decode_text(text.encode(codec), label) == text


@pytest.mark.parametrize(("label", "_codec", "text"), _SENTENCES)
def test_utf8_under_any_label(label: str, _codec: str, text: str) -> None:
    if label not in ("unicode-1-1-utf-7", "hz-gb-2312"):
        assert decode_text(f"{text} 一 ไ".encode(), label) == f"{text} 一 ไ"


@pytest.mark.parametrize("label", ["", "us-ascii", "utf-8", "iso-8859-1", "x-unknown"])
def test_escapes_are_seen_without_a_label(label: str) -> None:
    assert decode_text("会議".encode("iso2022_jp"), label) == "会議"


@pytest.mark.parametrize("label", ["", "us-ascii", "x-unknown", "utf-8"])
def test_unlabelled_bytes_are_guessed(label: str) -> None:
    text = "Сегодня у нас хорошая погода."
    assert decode_text(text.encode("cp1251"), label) == text


def test_short_chinese_that_is_also_valid_utf8_stays_chinese() -> None:
    data = "一".encode("gb18030")
    assert data.decode("utf-8") == "һ"
    assert decode_text(data, "gb2312") == "一"
    assert decode_text(data, "koi8-r") == "һ"


def test_a_hint_comes_before_a_guess() -> None:
    data = "Ж".encode("koi8-r")
    assert decode_text(data, "", hint="koi8-r") == "Ж"
    assert decode_text(data, "windows-1251", hint="koi8-r") == data.decode("cp1251")


def test_western_called_latin1_is_not_taken_for_cyrillic() -> None:
    assert decode_text("no\xa0break\xa0\xa0\xa0spaces àèìòù".encode("cp1252"), "iso-8859-1").endswith("àèìòù")


def test_chinese_called_latin1_is_seen() -> None:
    text = "各位同事：下周三上午九点在三楼会议室开会，请准时参加。"
    assert decode_text(text.encode("gb18030"), "iso-8859-1") == text


def test_damage_is_local() -> None:
    assert (
        decode_text("Größenwahn ist für Köln, 大阪".encode()[:-1], "utf-8")
        == "Größenwahn ist für Köln, 大\ufffd"
    )
    assert decode_text("关于下周会议的通知".encode("gb18030")[:-1], "gb2312") == "关于下周会议的通\ufffd"


def test_byte_order_marks_are_no_text() -> None:
    assert decode_text(b"\xef\xbb\xbfabc") == "abc"
    assert decode_text("abc é".encode("utf-16")) == "abc é"


def test_called_utf16_but_ascii() -> None:
    assert decode_text(b"plain text", "utf-16") == "plain text"


def test_no_lone_surrogates_from_utf7() -> None:
    assert decode_text(b"+2AA-x", "utf-7").encode()


def test_readable_has_lf_and_no_controls() -> None:
    assert readable(b"a\r\nb\rc\n\x00\x1b[31md\x7f\te") == "a\nb\nc\n[31md\te"
    assert readable("a\x9bb\x85c é".encode()) == "abc é"


@given(
    st.binary(),
    st.sampled_from(["", "utf-8", "gb2312", "utf-7", "utf-16", "iso-2022-jp", "cp1252", "hz", "big5", "x"]),
)
def test_total_and_encodable(data: bytes, label: str) -> None:
    assert isinstance(decode_text(data, label).encode(), bytes)
    assert not set(readable(data, label)) & set(map(chr, (*range(9), 11, 12, *range(14, 32), 127, 0x9B)))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_utf8_is_always_right(text: str) -> None:
    text = text.replace("\x1b", "").removeprefix("\ufeff")
    assert decode_text(text.encode(), "utf-8") == text
