"""The part of a text that shows why it was found.

Uses the analysis of the index: what is marked is what matched, folded or not. Looks at the first
TEXT_LIMIT characters; no match there gives the beginning of the text without marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from unicodedata import east_asian_width

import msgspec

from archiver.search.analysis import (
    SIGNS,
    TERM_LIMIT,
    fold,
    is_paired,
    is_version,
    stem_term,
    stems,
    word_pattern,
)
from archiver.search.patterns import fitting, within
from archiver.search.stemming import CODES
from archiver.search.tree import Content, Fuzzy, Glob, Near, Node, Phrase, Prefix, Word, content

PATTERNS = 20
"""Patterns and words with `~` of one query that are marked."""

TEXT_LIMIT = 100_000
FIRST_LOOK = 8_000

_ascii = re.compile(f"[a-z0-9]{{1,{TERM_LIMIT}}}")


class Wanted(msgspec.Struct, frozen=True):
    """Terms in a row to look for; with `prefix`, the last one is only the start of a term.

    With `fits`, a term that passes that test is looked for, whatever `terms` has.
    """

    terms: tuple[str, ...]
    prefix: bool = False
    fits: Callable[[str], object] | None = None


class Snippet(msgspec.Struct, frozen=True):
    """A line of text, and the [start, end) of each match in it, ascending and apart."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()


class Span(msgspec.Struct, frozen=True):
    """A term and where its characters are in the text as it was written."""

    term: str
    start: int
    end: int


def wanted(tree: Node, field: str) -> tuple[Wanted, ...]:
    """What a query looks for in one field, negations left out; of many patterns only the first ones.

    Each pattern is tried on every word of a text, which nothing interrupts.
    """
    found: dict[Wanted, None] = {}
    patterns = 0
    for leaf in content(tree):
        patterns += isinstance(leaf, Glob | Fuzzy)
        if leaf.field in ("", field) and (patterns <= PATTERNS or not isinstance(leaf, Glob | Fuzzy)):
            found.update(dict.fromkeys(_wanted(leaf)))
    return tuple(found)


def _wanted(leaf: Content) -> Iterator[Wanted]:
    match leaf:
        case Word(_, term):
            yield Wanted((term,))
        case Phrase(_, terms):
            yield Wanted(terms)
        case Prefix(_, terms, prefix):
            yield Wanted((*terms, prefix), prefix=True)
        case Near(_, rows):
            yield from map(Wanted, rows)
        case Glob(_, pattern):
            yield Wanted((pattern,), fits=fitting(pattern))
        case Fuzzy(_, term, edits):
            yield Wanted((term,), fits=lambda other: within(term, other, edits))


def snippet(text: str, terms: Sequence[Wanted], width: int) -> Snippet:
    """The first stretch of `width` columns that has the most of the terms, on one line.

    A wide character takes two columns. Cut at words, in scripts without spaces anywhere; `…` stands
    where the text goes on and counts.
    """
    line, matches = "", []
    for limit in (FIRST_LOOK, TEXT_LIMIT):
        line = " ".join(_beginning(text, limit).split())
        matches = sorted([*_matches(spans(line), terms), *_stem_matches(line, terms)])
        if matches or len(text) <= limit:
            break
    start, end = _window(line, *_best(matches, width), width)
    before, after = "…" * (start > 0), "…" * (end < len(line) or len(text) > TEXT_LIMIT)
    shift = len(before) - start
    marks = [(left + shift, right + shift) for left, right, _ in matches if left >= start and right <= end]
    return Snippet(before + line[start:end] + after, tuple(_apart(marks)))


def _beginning(text: str, limit: int) -> str:
    """About `limit` characters, not ending inside a word."""
    if len(text) <= limit:
        return text
    space = text.rfind(" ", limit - 200, limit)
    return text[: space if space > 0 else limit]


def spans(text: str) -> list[Span]:
    """The terms of the text as `analysis.terms` gives them, with their places in the text."""
    if text.isascii():
        return [Span(found[0], found.start(), found.end()) for found in _ascii.finditer(text.lower())]
    folded, places = _folded(text)
    result: list[Span] = []
    for found in word_pattern().finditer(folded):
        for term, start in _parts(found[0], found.start()):
            result.append(Span(term, places[start][0], places[start + len(term) - 1][1]))
    return result


def _parts(word: str, start: int) -> Iterator[tuple[str, int]]:
    if is_paired(word):
        return ((word[at : at + 2], start + at) for at in range(len(word)))
    return ((word[at : at + TERM_LIMIT], start + at) for at in range(0, len(word), TERM_LIMIT))


@cache
def _clusters() -> re.Pattern[str]:
    """A run of ASCII, or a character and what may melt into it when folded.

    Letters, digits, signs and ASCII begin something new; marks, joiners, and vowels and finals of
    Hangul may not.
    """
    melting = "\u0640\u1160-\u11ff\u3131-\u318e\ud7b0-\ud7fb\uff9e-\uffdc"
    return re.compile(
        f"[\\x00-\\x7f]+(?=[\\x00-\\x7f])|[\\s\\S](?:(?![\\w\\s\\x00-\\x7f{SIGNS}])[\\s\\S]|[{melting}])*"
    )


_fold = lru_cache(maxsize=16384)(fold)


def _folded(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The folded text, and for each of its characters the [start, end) it comes from."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    for found in _clusters().finditer(text):
        written, (start, end) = found[0], found.span()
        if end - start > 1 and written.isascii():
            parts.append(written.lower())
            places.extend(zip(range(start, end), range(start + 1, end + 1), strict=True))
        else:
            parts.append(_fold(written))
            places.extend([(start, end)] * len(parts[-1]))
    return "".join(parts), places


def _matches(listed: Sequence[Span], terms: Sequence[Wanted]) -> Iterator[tuple[int, int, int]]:
    """(start, end, index of what matched)."""
    first: dict[str, list[tuple[int, Wanted]]] = {}
    starts: list[tuple[int, Wanted]] = []
    for index, each in enumerate(terms):
        if each.fits or (each.prefix and len(each.terms) == 1):
            starts.append((index, each))
        else:
            first.setdefault(each.terms[0], []).append((index, each))
    for at, span in enumerate(listed):
        number = first.get(span.term[1:], ()) if is_version(span.term) else ()
        for index, each in [*first.get(span.term, ()), *number, *starts]:
            if _matches_at(listed, at, each):
                yield span.start, _end(listed[at + len(each.terms) - 1], each), index


def _stem_matches(line: str, terms: Sequence[Wanted]) -> Iterator[tuple[int, int, int]]:
    """The same, of words with a stem that is looked for."""
    wanted = {each.terms[0]: index for index, each in enumerate(terms) if each.terms[0].startswith("=")}
    for language in CODES:
        if any(term.startswith(stem_term("", language)) for term in wanted):
            listed = spans(line)
            for span, short in zip(
                listed, stems(line, [span.term for span in listed], language), strict=True
            ):
                if (index := wanted.get(stem_term(short, language))) is not None:
                    yield span.start, span.end, index


def _matches_at(listed: Sequence[Span], at: int, each: Wanted) -> bool:
    if each.fits:
        return bool(each.fits(listed[at].term))
    row = [span.term for span in listed[at : at + len(each.terms)]]
    if len(row) < len(each.terms):
        return False
    *before, last = zip(row, each.terms, strict=True)
    return all(map(_same, before)) and (_same(last) or (each.prefix and last[0].startswith(last[1])))


def _same(pair: tuple[str, str]) -> bool:
    """Whether a term of the text is the one that is wanted, or a version of that number."""
    found, wanted = pair
    return found == wanted or (found[1:] == wanted and is_version(found))


def _end(last: Span, each: Wanted) -> int:
    """A single character asked for is a prefix of a pair: only it is marked."""
    wanted = each.terms[-1]
    one = each.prefix and len(wanted) == 1 and len(last.term) == 2 and is_paired(wanted)
    return last.start + 1 if one else last.end


def _columns(text: str) -> int:
    return len(text) if text.isascii() else sum(_width(character) for character in text)


def _width(character: str) -> int:
    return 2 if character > "\u10ff" and east_asian_width(character) in "WF" else 1


def _best(matches: Sequence[tuple[int, int, int]], width: int) -> tuple[int, int]:
    """The [start, end) to be shown: from the first match of the window with the most different ones."""
    best, most = (0, 0), 0
    for at, (start, end, _) in enumerate(matches):
        seen = set()
        for _, right, index in matches[at:]:
            if right - start > width * 2 // 3:
                break
            seen.add(index)
            end = max(end, right)
        if len(seen) > most:
            best, most = (start, end), len(seen)
    return best


def _window(line: str, start: int, end: int, width: int) -> tuple[int, int]:
    """The [left, right) around a match that fits into so many columns with its `…`."""
    if _columns(line) <= width:
        return 0, len(line)
    left = _left(line, start, width // 3)
    right = _right(line, left, end, width - 1 - (left > 0))
    return (_left(line, right, width - 1), right) if right == len(line) else (left, right)


def _left(line: str, at: int, columns: int) -> int:
    """At most so many columns to the left, then on to the beginning of a word."""
    left = at
    while left and (columns := columns - _width(line[left - 1])) >= 0:
        left -= 1
    if left and _inside_word(line, left):
        space = line.find(" ", left, at)
        left = space if space >= 0 else left
    return left + line[left : left + 1].isspace()


def _right(line: str, at: int, least: int, columns: int) -> int:
    """At most so many columns to the right, then back to the end of a word if that spares `least`."""
    right = at
    while right < len(line) and (columns := columns - _width(line[right])) >= 0:
        right += 1
    if right < len(line) and _inside_word(line, right):
        right = max(line.rfind(" ", max(at, least), right), 0) or right
    return right


def _inside_word(line: str, at: int) -> bool:
    return not line[at - 1].isspace() and not line[at].isspace() and not is_paired(line[at])


def _apart(marks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping and touching marks as one."""
    apart: list[tuple[int, int]] = []
    for start, end in sorted(marks):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart
