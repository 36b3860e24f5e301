"""Text to terms, the same way for the index and for a query.

The index of a term in the list that `terms` returns is its position. Compatibility forms, case and
soft hyphens are folded everywhere; accents only on Latin, Greek, Cyrillic, Hebrew and Arabic letters:
elsewhere (Japanese voiced syllables, Hangul, the vowels of Thai and Indic scripts) a mark is part of
the letter. Words are runs of letters and digits; `_`, `.`, `-`, `@` part words, so every part of an
address or file name is a term and the whole is a phrase. Scripts written without spaces (Han, Kana,
Hangul, Thai, Lao, Khmer, Myanmar) become overlapping pairs of characters and, at the end of a run,
its last character alone: each character begins exactly one term, so any two characters are found as
a term, more as a phrase, a single one as a prefix.

No stop words. Two further terms stand in the index in the position of a word: its stem, where words
are stemmed, and the number of a version, so that `2.7` finds `v2.7`.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from unicodedata import category, combining, normalize

from archiver.search.stemming import CODES, stem

TERM_LIMIT = 64
"""Characters of a term; a longer run of letters is several terms, one after the other."""

PAIRED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003fffd"  # Han
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\U0001b000-\U0001b16f"  # Kana
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u1100-\u11ff\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb"  # Hangul
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf"  # Thai, Lao
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u1000-\u103f\u1050-\u109d\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"  # Myanmar
)
"""Characters of scripts written without spaces between words, as the inside of a regex class."""

_FIRST_PAIRED = "\u0e01"

# Bases that lose their accents, and the accents: Latin, Greek, Cyrillic, Hebrew, Arabic.
_BASES = (
    "a-z\u00df-\u02af\u0370-\u0482\u048a-\u052f\u05d0-\u05f2\u0620-\u064a\u066e\u066f\u0671-\u06d5\u06e5\u06e6"
    "\u06ee\u06ef\u06fa-\u06ff\u0750-\u077f\u0870-\u08c9\u1c80-\u1c8f\u1d00-\u1dbf\u1e00-\u1fff"
    "\u2c60-\u2c7f\ua640-\ua66e\ua680-\ua69d\ua720-\ua7ff"
)
_ACCENTS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f"
    "\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff"
    "\u1ab0-\u1ace\u1dc0-\u1dff\u20d0-\u20f0\u2de0-\u2dff\ua66f-\ua672\ua674-\ua67d\ua69e\ua69f\ufe20-\ufe2f"
)

# Marks go on with the word they are written on, but `\w` does not know them. Ranges of marks,
# closed over letters and unassigned characters between them.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0711-\u07f3\u07fd\u0816-\u082d\u0859-\u085b\u0898-\u08e1"
    "\u08e3-\u0963\u0981-\u09e3\u09fe-\u0a75\u0a81-\u0ae3\u0afa-\u0b63\u0b82-\u0bd7\u0c00-\u0c63\u0c81-\u0c83"
    "\u0cbc-\u0d4d\u0d57-\u0d63\u0d81-\u0df3\u0f18\u0f19\u0f35\u0f37\u0f39\u0f3e-\u0f84\u0f86-\u0fbc\u0fc6"
    "\u135d-\u135f\u1712-\u1734\u1752-\u1773\u180b-\u180d\u180f-\u193b\u1a17-\u1a1b\u1a55-\u1a7f\u1ab0-\u1b44"
    "\u1b6b-\u1b73\u1b80-\u1bf3\u1c24-\u1c37\u1cd0-\u1cd2\u1cd4-\u1dff\u20d0-\u20f0\u2cef-\u2cf1\u2d7f-\u2dff"
    "\u302a-\u302f\ua66f-\ua672\ua674-\ua67d\ua69e-\ua6f1\ua802-\ua827\ua82c\ua880-\ua8c5\ua8e0-\ua8f1"
    "\ua8ff-\ua92d\ua947-\ua953\ua980-\ua9c0\uaa29-\uaa4d\uaab0-\uaac1\uaaeb-\uaaef\uaaf5\uaaf6\uabe3-\uabea"
    "\uabec\uabed\ufb1e\ufe20-\ufe2f\U000101fd-\U0001037a\U00010a01-\U00010a3f\U00010d24-\U00010eac"
    "\U00011000-\U00011046\U00011070-\U000110ba\U000110c2\U00011100-\U00011134\U00011180-\U000111c0"
    "\U0001122c-\U00011237\U000112df-\U00011446\U0001145e-\U000114c3\U000115af-\U000115c0\U000115dc-\U00011640"
    "\U000116ab-\U000116b7\U0001182c-\U0001183a\U0001e2ae-\U0001e2ef\U0001e8d0-\U0001e94a"
)

# What no normal form takes off, and the apostrophe that is a letter and is typed as one that is none.
_STROKES = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t", "ı": "i", "\u02bc": "'"})

# Letters of ASCII in lower case, what parts words as spaces.
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_ascii_words = re.compile(f"[a-z0-9]{{1,{TERM_LIMIT}}}").findall
# Most texts that are not ASCII have no more than some letters of Latin-1 and signs: no marks, nothing paired.
_plain_words = re.compile(f"[^\\W_]{{1,{TERM_LIMIT}}}").findall
_not_plain = re.compile("[^\x00-\xff\u2000-\u20cf\u2100-\u2cee]").search
SIGNS = (
    "\u00bc-\u00be\u20a8\u2100\u2101\u2105\u2106\u2116\u2120-\u2122\u213b\u2150-\u215f\u2189\u2460-\u24ff"
    "\U0001f100-\U0001f1ff"
)
"""Signs that stand for letters or digits beside the words they are written to (½, №, ™, ①), likewise."""

# Written inside words but not part of them: soft hyphen, joiners, tatweel, variation selectors.
_INVISIBLE = "\u00ad\u0640\u200c\u200d\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef"
_invisible_or_sign = re.compile(f"[{_INVISIBLE}{SIGNS}]")
_stroke = re.compile("[øđłħŧı\u02bc]+")

# Marks in a row that count, as in stream-safe text (UAX #15): putting n of them in order takes n² steps.
_MARK_LIMIT = 30
# What becomes a mark when normalised and is none by its class.
_HIDDEN_MARKS = "\u0f73\u0f75\u0f81\uff9e\uff9f"
_perhaps_mark = re.compile(
    r"[^\w\s\x00-\u02ff\u2000-\u20cf\u2100-\u2cee\u3000-\u3029\uff01-\uff9d]|[\uff9e\uff9f]"
)
_perhaps_marks = re.compile(rf"(?:{_perhaps_mark.pattern}){{{_MARK_LIMIT + 1},}}")


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Words of folded text, one paired character, accents on a base that loses them.

    Compiled at the first text that is not ASCII: it costs milliseconds.
    """
    words = re.compile(f"[{PAIRED}]+|(?:[^\\W_{PAIRED}]+[{_MARKS}]*)+")
    accents = re.compile(f"[{_ACCENTS}](?<=[{_BASES}].)[{_ACCENTS}]*", re.DOTALL)
    return words, re.compile(f"[{PAIRED}]"), accents


def word_pattern() -> re.Pattern[str]:
    """Words of folded text; a run of a script without spaces is one."""
    return _patterns()[0]


def fold(text: str) -> str:
    """The text in the one form in which it is compared."""
    if text.isascii():
        return text.lower()
    text = _case_folded(text)
    if text.isascii():
        return text
    text = normalize("NFC", _patterns()[2].sub("", normalize("NFD", text)))
    return _stroke.sub(lambda match: match[0].translate(_STROKES), text)


def _case_folded(text: str) -> str:
    """The text folded but for its accents, not yet in a normal form."""
    # A mark may become two, so what is cut before normalising is not short yet.
    return _few_marks(normalize("NFKC", _few_marks(_invisible_or_sign.sub(_apart, text)))).casefold()


def _apart(found: re.Match[str]) -> str:
    return f" {found[0]} " if category(found[0])[0] in "NS" else ""


def _few_marks(text: str) -> str:
    """The text with no more than _MARK_LIMIT marks in a row; ordinary text is looked at only in samples."""
    if not _perhaps_mark.search(text[_MARK_LIMIT :: _MARK_LIMIT + 1]):
        return text
    return _perhaps_marks.sub(lambda found: _cut(found[0]), text)


def _cut(run: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in run:
        marks = marks + 1 if combining(character) or character in _HIDDEN_MARKS else 0
        if marks <= _MARK_LIMIT:
            kept.append(character)
    return "".join(kept)


def terms(text: str) -> list[str]:
    """The terms of a text; the index in the list is the position."""
    return _words(text if text.isascii() else fold(text))


def _words(folded: str) -> list[str]:
    """The terms of a folded text, or of one in ASCII as it is."""
    if folded.isascii():
        spaced = folded.translate(_ASCII).split()
        # What is short, nearly everything, takes half the time this way.
        return spaced if max(map(len, spaced), default=0) <= TERM_LIMIT else _ascii_words(folded.lower())
    if not _not_plain(folded):
        return _plain_words(folded)
    words, paired, _ = _patterns()
    found: list[str] = []
    for word in words.findall(folded):
        if word[0] >= _FIRST_PAIRED and paired.match(word):
            found.extend([word[at : at + 2] for at in range(len(word))])
        elif len(word) <= TERM_LIMIT:
            found.append(word)
        else:
            found.extend([word[at : at + TERM_LIMIT] for at in range(0, len(word), TERM_LIMIT)])
    return found


def stems(text: str, listed: list[str], stemming: str) -> list[str]:
    """The stem of each term of a text, folded; `listed` are its terms.

    The stemmer is shown the words with their accents: they are part of many endings.
    """
    code, words = CODES[stemming], listed
    if not text.isascii():
        accented = _words(normalize("NFC", _case_folded(text)).replace("\u02bc", "'"))
        words = accented if len(accented) == len(listed) else listed
    return [_stem(word, code) for word in words]


@lru_cache(maxsize=1 << 16)
def _stem(word: str, code: str) -> str:
    return fold(stem(word, code))


def stem_term(found: str, stemming: str) -> str:
    """What a stem is in the index, where no word begins so."""
    return f"={CODES[stemming]}:{found}"


def is_version(term: str) -> bool:
    """Whether it is a number behind a `v`."""
    return term[0] == "v" and term[1:].isdecimal()


def is_paired(text: str) -> bool:
    """Whether the text begins with a character of a script written without spaces."""
    return text >= _FIRST_PAIRED and _patterns()[1].match(text) is not None


def ends_in_word(text: str) -> bool:
    """Whether the last character is part of a word."""
    return bool(text) and (text[-1].isalnum() or category(text[-1])[0] == "M")


def query_terms(text: str, *, star: bool = False) -> tuple[tuple[str, ...], str | None]:
    """What a word or phrase of a query asks for: terms in a row, then perhaps the start of one more.

    `star` is the `*` written after the text. The single character that ends a run in the index is
    not asked for at the end of a query, where the run may go on; one character alone is a prefix.
    """
    found = terms(text)
    if not found or not is_paired(found[-1]):
        return (tuple(found[:-1]), found[-1]) if star and found else (tuple(found), None)
    if len(found) > 1 and len(found[-2]) == 2 and is_paired(found[-2]):
        return tuple(found[:-1]), None
    return tuple(found[:-1]), found[-1]


def stem_alternatives(text: str, stemming: str) -> tuple[str, ...]:
    """The terms of which one must be there where a word of a query is asked for by its stem."""
    listed = terms(text)
    short = stems(text, listed, stemming)[0]
    return tuple(dict.fromkeys((listed[0], short, stem_term(short, stemming))))
