"""Forms of words, and words that are a few edits apart."""

from __future__ import annotations

import re
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.search.patterns import Probe, fitting, longest, probes, within
from tests.search.plain import edited


def holds(probe: Probe, term: str, edits: int) -> bool:
    match probe.kind:
        case "whole":
            return term == probe.text
        case "start":
            return term.startswith(probe.text)
        case "end":
            return term.endswith(probe.text)
    low = max(probe.at - edits, 0)
    return term.find(probe.text, low, probe.at + edits + len(probe.text)) >= 0


@given(st.text("abc", min_size=1, max_size=9), st.text("abc", max_size=9), st.integers(0, 3))
def test_within_is_what_the_definition_says(word: str, other: str, edits: int) -> None:
    assert within(word, other, edits) is (edited(word, other) <= edits)


@given(st.text("abcd", min_size=6, max_size=9), st.integers(1, 2), st.data())
def test_a_probe_holds_for_every_word_that_is_near(word: str, edits: int, data: st.DataObject) -> None:
    other = word
    for _ in range(edits):
        at = data.draw(st.integers(0, len(other)))
        letter = data.draw(st.sampled_from("abcd"))
        changed = (
            other[:at] + letter + other[at:],
            other[:at] + other[at + 1 :],
            other[:at] + letter + other[at + 1 :],
            other[:at] + other[at + 1 : at + 2] + other[at : at + 1] + other[at + 2 :],
        )
        other = data.draw(st.sampled_from(changed))
    if edited(word, other) <= edits:
        assert any(holds(probe, other, edits) for probe in probes(word, edits))


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("*oic*", "invoice oic voice", "oi oc ioc"),
        ("in*ce", "invoice ince", "invoices vince"),
        ("*a*b*c", "abc xaxbxc", "cba abcx"),
        ("*a.c", "xa.c", "xabc"),
    ],
)
def test_forms(pattern: str, fits: str, does_not: str) -> None:
    assert [word for word in fits.split() if not fitting(pattern)(word)] == []
    assert [word for word in does_not.split() if fitting(pattern)(word)] == []
    assert longest("a*bcd*ef") == "bcd"


@given(st.text("ab*", max_size=8), st.text("ab", max_size=9))
def test_a_form_fits_what_an_expression_of_the_same_form_does(pattern: str, term: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert fitting(pattern)(term) is (re.fullmatch(expression, term) is not None)


def test_many_stars_take_no_longer_than_a_few() -> None:
    """Trying all places of each stretch with all of the others would take years."""
    began = thread_time()
    assert not fitting("*" + "a*" * 30 + "b")("a" * 64)
    assert thread_time() - began < 1
