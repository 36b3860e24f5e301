"""Which charset undeclared bytes are in, by how its scripts use their bytes.

Only for bytes that are not UTF-8 and that nothing trustworthy describes. Tells apart the
charsets that real mail leaves undeclared: Cyrillic, Greek, Hebrew, Arabic and Thai single-byte
sets by their frequent letters, the Chinese, Japanese and Korean sets by how their pairs are
built, Western from Central European by impossible letters. Linear; looks at the first 64 KiB.
"""

from __future__ import annotations

import re
from collections import Counter

_SAMPLE = 1 << 16
_ASCII = bytes(range(0x80))
_PAIR = re.compile(rb"[\x80-\xff][\x40-\xff]?")
_RUN = re.compile(rb"[\x80-\xff]+")
_ASCII_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IN_WORD = re.compile(rb"[A-Za-z][\x80-\xff]{1,4}(?![\x80-\xff])")
_INSIDE_WORD = re.compile(rb"(?<=[A-Za-z])[\x80-\xff](?=[A-Za-z])")

# Letters that make up at least six of ten in ordinary text of the script.
_CYRILLIC = "оеаинтсрвлкмдпуяь"
_FREQUENT = {
    "cp1251": _CYRILLIC,
    "koi8_r": _CYRILLIC,
    "iso8859_5": _CYRILLIC,
    "cp866": _CYRILLIC,
    "cp1253": "αοιετσνηυρςάίόέή",
    "cp1255": "יוהלאבתשמרנ",
    "cp1256": "اليمنوتربةعد",
    "iso8859_6": "اليمنوتربةعد",
    "cp874": "านรกอเงมยล่้วทสตคปัี",
}
_FREQUENT_BYTES = {codec: letters.encode(codec) for codec, letters in _FREQUENT.items()}
_THAI_VOWELS = bytes([*range(0xD0, 0xDB), *range(0xE0, 0xED)])
_CAPITALS = {codec: _CYRILLIC.upper().encode(codec) for codec in ("cp1251", "koi8_r", "iso8859_5", "cp866")}


def guess(data: bytes, letters: int = 4) -> str:
    """A codec name, or "" when the bytes show no script clearly (then they are most likely Western).

    `letters` is how many bytes beyond ASCII it takes to be sure of one.
    """
    sample = data[:_SAMPLE]
    spaced = sample.replace(b"\xa0", b" ")  # the no-break space of most single-byte sets
    runs = _RUN.findall(spaced)
    if not runs:
        return ""
    if _is_latin(spaced, runs):
        return _latin(spaced)
    high = spaced.translate(None, _ASCII)
    if len(high) < letters or len(set(high)) < min(letters, 8) // 2:
        return ""
    return _script(high, _FREQUENT_BYTES, 0.62) or _pairs(sample) or _script(high, _CAPITALS, 0.7)


def _is_latin(sample: bytes, runs: list[bytes]) -> bool:
    """Lone bytes beyond ASCII, or short runs of them inside words that are mostly ASCII."""
    if sum(len(run) == 1 for run in runs) >= 0.75 * len(runs):
        return True
    letters = len(sample) - len(sample.translate(None, _ASCII_LETTERS))
    return letters > 3 * sum(map(len, runs)) and len(_IN_WORD.findall(sample)) >= 0.7 * len(runs)


def _latin(sample: bytes) -> str:
    """Central European when the bytes would be signs inside words in Western text and letters in theirs."""
    inside = b"".join(_INSIDE_WORD.findall(sample))
    odd = sum(not letter.isalpha() for letter in inside.decode("cp1252", "replace"))
    if odd * 6 < len(inside) or not inside:
        return ""
    candidates = {codec: inside.decode(codec, "replace") for codec in ("cp1250", "iso8859_2")}
    letters = {codec: sum(map(str.isalpha, text)) for codec, text in candidates.items()}
    best = max(letters, key=lambda codec: letters[codec])
    return best if letters[best] > len(inside) - odd else ""


def _script(high: bytes, table: dict[str, bytes], least: float) -> str:
    share = {codec: 1 - len(high.translate(None, letters)) / len(high) for codec, letters in table.items()}
    best = max(share, key=lambda codec: share[codec])
    if best == "cp874" and len(high) - len(high.translate(None, _THAI_VOWELS)) < 0.15 * len(high):
        return ""  # consonants only: pairs of another script
    return best if share[best] >= least else ""


def _pairs(sample: bytes) -> str:
    pairs = _PAIR.findall(sample)
    whole = [pair for pair in pairs if len(pair) == 2]
    if len(whole) < 2 or len(pairs) - len(whole) > len(pairs) * 0.03:
        return ""
    leads = Counter(pair[0] for pair in whole)
    count = len(whole)
    low_trails = sum(pair[1] < 0xA1 for pair in whole) / count
    low_leads = _between(leads, 0x80, 0xA0) / count
    if low_leads > 0.5:
        likely = ["cp932" if _between(leads, 0x82, 0x83) > 0.1 * count else "gb18030"]
    elif low_trails > 0.12 and low_leads < 0.02 and _between(leads, 0xA1, 0xC6) > 0.7 * count:
        likely = ["big5", "cp949"]
    elif low_trails > 0.02:
        likely = ["gb18030", "cp949", "big5"]
    else:
        likely = [_euc(leads, count)]
    return next((codec for codec in likely if codec and _fits(sample, codec, count)), "")


def _fits(sample: bytes, codec: str, count: int) -> bool:
    """Whether nearly all pairs mean something; the last may be cut."""
    return sample.decode(codec, "replace").count("\ufffd") <= 1 + count // 100


def _euc(leads: Counter[int], count: int) -> str:
    """Of the sets whose bytes are all 0xA1 or above."""
    if leads[0xA4] > 0.15 * count or _between(leads, 0xA4, 0xA5) > 0.6 * count:
        return "euc_jp"
    letters = _between(leads, 0xB0, 0xF7)
    if _between(leads, 0xB0, 0xC8) > 0.93 * letters and letters > 2:
        return "cp949"
    return "gb18030" if _between(leads, 0xB0, 0xD7) > 0.7 * letters and letters else ""


def _between(leads: Counter[int], first: int, last: int) -> int:
    return sum(leads[lead] for lead in range(first, last + 1))
