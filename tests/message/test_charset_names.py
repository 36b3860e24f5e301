from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.charset_names import _KNOWN, ISO2022, codec_for


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("utf-8", "utf_8"),
        ("UTF8", "utf_8"),
        ('"utf-8"', "utf_8"),
        ("utf-8; format=flowed", "utf_8"),
        ("utf-8*en", "utf_8"),
        ("charset=koi8-r", "koi8_r"),
        ("us-ascii", "ascii"),
        ("ISO-8859-1", "cp1252"),
        ("iso8859-1", "cp1252"),
        ("windows-1252", "cp1252"),
        ("windows1251", "cp1251"),
        ("win-1251", "cp1251"),
        ("cp-850", "cp850"),
        ("iso-8859-15", "iso8859_15"),
        ("iso-8859-9", "cp1254"),
        ("ISO-8859-8-I", "cp1255"),
        ("gb2312", "gb18030"),
        ("GBK", "gb18030"),
        ("x-gbk", "gb18030"),
        ("hz-gb-2312", "hz"),
        ("big5", "big5"),
        ("Big5-HKSCS", "big5"),
        ("cn-big5", "big5"),
        ("shift_jis", "cp932"),
        ("x-sjis", "cp932"),
        ("windows-31j", "cp932"),
        ("euc-jp", "euc_jp"),
        ("ISO-2022-JP", ISO2022),
        ("_iso-2022-jp$ESC", ISO2022),
        ("cp50220", ISO2022),
        ("iso-2022-kr", ISO2022),
        ("ks_c_5601-1987", "cp949"),
        ("euc-kr", "cp949"),
        ("windows-874", "cp874"),
        ("tis-620", "cp874"),
        ("iso-8859-11", "cp874"),
        ("x-mac-cyrillic", "mac_cyrillic"),
        ("x-mac-ce", "mac_latin2"),
        ("macintosh", "mac_roman"),
        ("unicode-1-1-utf-7", "utf_7"),
        ("utf-16le", "utf_16_le"),
    ],
)
def test_label(label: str, codec: str) -> None:
    assert codec_for(label) == codec


@pytest.mark.parametrize(
    "label", ["", "x-unknown", "unknown-8bit", "default", "none", "viscii", "no such charset"]
)
def test_labels_that_say_nothing(label: str) -> None:
    assert codec_for(label) == ""


@pytest.mark.parametrize(
    "label", ["base64", "rot13", "hex", "zlib", "bz2", "idna", "punycode", "unicode_escape", "undefined"]
)
def test_codecs_that_are_no_charsets_are_not_reached(label: str) -> None:
    assert codec_for(label) == ""


@given(st.text())
def test_total_and_always_decodable(label: str) -> None:
    codec = codec_for(label)
    assert codec in ("", ISO2022) or isinstance(b"a".decode(codec, "replace"), str)


def test_every_known_codec_makes_text() -> None:
    for codec in _KNOWN:
        assert isinstance(b"ab".decode(codec, "replace"), str)
