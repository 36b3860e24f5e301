"""Names of charsets as mail writes them -> codecs of this Python.

Follows the WHATWG encoding labels where mail and the web agree: a label stands for the widest
superset in use (GB2312 is GB18030, Latin-1 is windows-1252). Unknown labels are never handed to
`codecs.lookup`, which would try to import a module of that name and remember it for ever.
"""

from __future__ import annotations

import re
from encodings.aliases import aliases
from functools import lru_cache

ISO2022 = "iso2022"  # our own decoder, see iso2022.py

_NOT_TEXT = {
    "base64_codec",
    "bz2_codec",
    "hex_codec",
    "quopri_codec",
    "rot_13",
    "uu_codec",
    "zlib_codec",
    "mbcs",
}
_NO_ALIAS = (
    "cp874 cp720 cp737 cp856 cp875 cp1006 koi8_r koi8_t koi8_u mac_arabic mac_croatian mac_farsi mac_romanian"
)
_KNOWN = {*aliases.values(), *_NO_ALIAS.split()} - _NOT_TEXT

_SUPERSETS = {
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "cp950": "big5",
    "big5hkscs": "big5",
    "utf_8_sig": "utf_8",
    "iso2022_kr": ISO2022,
    **dict.fromkeys((f"iso2022_jp{suffix}" for suffix in ("", "_1", "_2", "_2004", "_3", "_ext")), ISO2022),
}

# Labels without punctuation, lower case; what Python calls by another name or not at all.
_LABELS = {
    "": "",
    "8bit": "",
    "7bit": "ascii",
    "ansi": "cp1252",
    "ansix341968": "ascii",
    "ascii": "ascii",
    "usascii": "ascii",
    "asciius": "ascii",
    "binary": "",
    "default": "",
    "none": "",
    "unknown": "",
    "unknown8bit": "",
    "userdefined": "",
    "autodetect": "",
    "big5": "big5",
    "big5eten": "big5",
    "big5hkscs": "big5",
    "cnbig5": "big5",
    "xbig5": "big5",
    "gb": "gb18030",
    "gb231280": "gb18030",
    "csgb2312": "gb18030",
    "isoir58": "gb18030",
    "cngb": "gb18030",
    "euccn": "gb18030",
    "eucgb2312cn": "gb18030",
    "windows936": "gb18030",
    "hzgb2312": "hz",
    "hzgb": "hz",
    "autodetectjp": ISO2022,
    "autodetectkr": "cp949",
    "iso2022cn": ISO2022,
    "iso2022cnext": ISO2022,
    "iso2022jpms": ISO2022,
    "iso2022jp1": ISO2022,
    "cp50220": ISO2022,
    "cp50221": ISO2022,
    "cp50222": ISO2022,
    "windows50221": ISO2022,
    "iso2022": ISO2022,
    "jis": ISO2022,
    "jisx0208": ISO2022,
    "sjis": "cp932",
    "mskanji": "cp932",
    "windows31j": "cp932",
    "windows932": "cp932",
    "shiftjis": "cp932",
    "shiftjisx0213": "shift_jis_2004",
    "eucjp": "euc_jp",
    "eucjpms": "euc_jp",
    "cp51932": "euc_jp",
    "ksc56011987": "cp949",
    "ksc56011989": "cp949",
    "ksc5601": "cp949",
    "ksc5601187": "cp949",
    "isoir149": "cp949",
    "windows949": "cp949",
    "windows1361": "johab",
    "unicode11utf7": "utf_7",
    "unicode20utf7": "utf_7",
    "unicode11utf8": "utf_8",
    "unicode20utf8": "utf_8",
    "unicode11": "utf_16",
    "unicode": "utf_8",
    "utf": "utf_8",
    "utf8mac": "utf_8",
    "utf8sig": "utf_8",
    "utf8mb4": "utf_8",
    "iso10646ucs2": "utf_16_be",
    "ucs2": "utf_16",
    "ucs4": "utf_32",
    "iso88591": "cp1252",
    "iso8859": "cp1252",
    "88591": "cp1252",
    "latin": "cp1252",
    "iso88598": "cp1255",
    "iso88598i": "cp1255",
    "iso88598e": "cp1255",
    "logical": "cp1255",
    "visual": "cp1255",
    "iso88596i": "iso8859_6",
    "iso88596e": "iso8859_6",
    "iso885912": "iso8859_14",
    "tis620": "cp874",
    "dos874": "cp874",
    "windows874": "cp874",
    "koi": "koi8_r",
    "koi8": "koi8_r",
    "koi8ru": "koi8_u",
    "mac": "mac_roman",
    "macintosh": "mac_roman",
    "macce": "mac_latin2",
    "maccentraleurroman": "mac_latin2",
    "macjapanese": "cp932",
    "macchinesesimp": "gb18030",
    "macchinesetrad": "big5",
    "mackorean": "cp949",
    "machebrew": "cp1255",
    "macthai": "cp874",
    "macukrainian": "mac_cyrillic",
    "macicelandic": "mac_iceland",
    "winsami2": "cp1252",
}

_CODE_PAGE = re.compile(r"(?:windows|win|cp|ibm|dos|ms|microsoftcp|codepage)(\d{3,5})\Z")
_PUNCTUATION = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=512)
def codec_for(label: str) -> str:
    """The codec for a charset label, "" when it says nothing. Bounded, total; ignores case and junk.

    The answer is a name `bytes.decode` accepts, or ISO2022.
    """
    words = label[:80].strip(" \t\"'").lower()
    words = re.split(r"[;,\s\"'*]", words.removeprefix("charset=").strip("\"' "), maxsplit=1)[0].partition(
        "$"
    )[0]
    bare = _PUNCTUATION.sub("", words)
    for name in (bare, bare.removeprefix("x"), bare.removeprefix("xx"), bare.removeprefix("cs")):
        if name in _LABELS:
            return _LABELS[name]
        if found := _python_name(name):
            return found
    return ""


def _python_name(bare: str) -> str:
    page = _CODE_PAGE.match(bare)
    candidate = _BARE_NAMES.get("cp" + page[1] if page else bare, "")
    return _SUPERSETS.get(candidate, candidate)


_BARE_NAMES = {
    **{_PUNCTUATION.sub("", alias): codec for alias, codec in aliases.items() if codec in _KNOWN},
    **{_PUNCTUATION.sub("", codec): codec for codec in _KNOWN},
}
