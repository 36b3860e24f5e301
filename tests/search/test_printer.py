"""A tree printed as a query is read as the same tree."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given

from archiver.search.printer import query_text, words
from archiver.search.query import parse
from archiver.search.tree import And, Node, Not, Or, SamePlace
from tests.search.trees import texts, trees

NOW = datetime(2026, 3, 31, tzinfo=UTC)


@given(trees())
def test_a_printed_tree_is_read_as_the_same(tree: Node) -> None:
    assert parse(query_text(tree), now=NOW) == tree


@given(texts())
def test_what_was_read_is_printed_and_read_as_the_same(text: str) -> None:
    if "id:" not in text:
        tree = parse(text, now=NOW)
        assert parse(query_text(tree), now=NOW) == tree


@given(trees())
def test_every_leaf_is_told_in_words(tree: Node) -> None:
    match tree:
        case And(parts) | Or(parts):
            for part in parts:
                test_every_leaf_is_told_in_words.hypothesis.inner_test(part)  # type: ignore[attr-defined]
        case Not(part) | SamePlace(part):
            test_every_leaf_is_told_in_words.hypothesis.inner_test(part)  # type: ignore[attr-defined]
        case _:
            assert words(tree)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("invoice", "any text has invoice"),
        ('subject:"a b"', "subject has in a row a b"),
        ("in*", "any text has in..."),
        ("*voi*", "any text has a word like *voi*"),
        ("voice~", "any text has a word 1 letter from voice, or nearer"),
        ("body:(a ADJ/3 b)", "body has at most 3 words apart a, then b"),
        ("from:/a+/", "from matches /a+/"),
        ("has:pdf", "has pdf"),
        ("is:signed", "is signed"),
        ("mimetype:image", "mimetype is image"),
        ("size:1k..2k", "bytes from 1,024 before 2,049"),
        ("*", "every message"),
    ],
)
def test_in_words(text: str, told: str) -> None:
    assert words(parse(text, now=NOW)) == told
