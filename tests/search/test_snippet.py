"""The part of a text that shows why it was found."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.search.analysis import terms
from archiver.search.query import parse
from archiver.search.snippet import PATTERNS, TEXT_LIMIT, Snippet, _columns, snippet, spans, wanted
from tests.search.test_analysis import ANY_SCRIPT

FOX = "The quick brown fox jumps over the lazy dog and runs away into the deep forest"
TOKYO = "我昨天去了东京都看朋友，然后我们一起吃了晚饭，非常开心，谢谢你的邀请。"


def shown(found: Snippet) -> str:
    """The text with its marks as brackets."""
    text = found.text
    for start, end in reversed(found.marks):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def cut(query: str, text: str, width: int = 40) -> str:
    found = snippet(text, wanted(parse(query, now=datetime(2026, 1, 1)), "body"), width)
    assert _columns(found.text) <= width
    return shown(found)


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("fox", "a fox", "a [fox]"),
        ("fox", FOX, "…quick brown [fox] jumps over the lazy…"),
        ("forest", FOX, "…dog and runs away into the deep [forest]"),
        ("the", "The the", "[The] [the]"),
        ('"lazy dog"', FOX, "…over the [lazy dog] and runs away into…"),
        ("jum*", "It jumps. Jump!", "It [jumps]. [Jump]!"),
        ("fox -dog", "dog fox", "dog [fox]"),
        ("subject:fox", "fox", "fox"),
        ("body:fox", "fox", "[fox]"),
        ("Angstrom", "Ein Ångström", "Ein [Ångström]"),
        ("strasse", "die Straße", "die [Straße]"),
        ("东京", TOKYO, "我昨天去了[东京]都看朋友，然后我们一起吃…"),
        ("京", TOKYO, "我昨天去了东[京]都看朋友，然后我们一起吃…"),
        ("东京都", TOKYO, "我昨天去了[东京都]看朋友，然后我们一起吃…"),
        ("パソコン", "半角ﾊﾟｿｺﾝ です", "半角[ﾊﾟｿｺﾝ] です"),
        ("a b", "a b ab", "[a] [b] ab"),
        ("2.7.4 7.4", "in v2.7.4 or v3.7.4, v2.7", "in [v2.7.4] or v3.[7.4], v2.7"),
        ("Word", "Word™ in Word2", "[Word]™ in Word2"),
        ("tm", "Word™", "Word[™]"),
        ("zzz", FOX, "The quick brown fox jumps over the lazy…"),
        ("fox", "one\n\n> two\tfox\r\n", "one > two [fox]"),
        ("fox", "", ""),
    ],
)
def test_snippet(query: str, text: str, expected: str) -> None:
    assert cut(query, text) == expected


def test_the_window_with_most_of_the_words_wins() -> None:
    text = "brown " + "x " * 100 + "a fox and a brown bear " + "y " * 100
    assert "[fox] and a [brown]" in cut("fox brown", text)


def test_of_many_patterns_only_the_first_are_tried() -> None:
    query = " OR ".join(f"letters{chr(97 + n % 26)}{chr(97 + n // 26)}~2" for n in range(300))
    looked_for = wanted(parse(f"{query} OR plain", now=datetime(2026, 1, 1)), "body")
    assert sum(each.fits is not None for each in looked_for) == PATTERNS
    assert ("plain",) in {each.terms for each in looked_for}


def test_a_match_far_in_the_text_is_found_and_one_too_far_is_not() -> None:
    assert "[fox]" in cut("fox", "word " * 10_000 + "fox")
    assert cut("fox", "word " * (TEXT_LIMIT // 5 + 1) + "fox").startswith("word word")


@given(ANY_SCRIPT)
def test_spans_are_the_terms_of_the_index(text: str) -> None:
    listed = spans(text)
    assert [span.term for span in listed] == terms(text)
    assert all(0 <= span.start < span.end <= len(text) for span in listed)


@given(ANY_SCRIPT.map(lambda text: text * 3), st.integers(10, 60))
def test_fits_and_marks_only_what_was_asked(text: str, width: int) -> None:
    asked = wanted(parse("a OR 東 OR か", now=datetime(2026, 1, 1)), "body")
    found = snippet(text, asked, width)
    assert _columns(found.text) <= width
    assert all(start < end <= len(found.text) for start, end in found.marks)
    assert list(found.marks) == sorted(found.marks)
