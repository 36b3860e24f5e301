"""Saved searches inside queries, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from archiver.errors import QueryError
from archiver.search.query import LENGTH_LIMIT, PLACES_LIMIT, parse
from archiver.search.saved import DEPTH_LIMIT, problems

NOW = datetime(2026, 3, 31, tzinfo=UTC)
SAVED = {
    "money": "subject:(invoice OR receipt)",
    "open": "saved:money -tag:paid",
    "here": "folder:INBOX",
}


def chain(length: int) -> dict[str, str]:
    return {f"n{number}": f"saved:n{number + 1}" for number in range(length)} | {f"n{length}": "word"}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("saved:money", "subject:(invoice OR receipt)"),
        ("SAVED:Money", "subject:(invoice OR receipt)"),
        ('march saved:"money"', "march (subject:invoice OR subject:receipt)"),
        ("-saved:money", "-(subject:(invoice OR receipt))"),
        ("saved:open bob", "(subject:(invoice OR receipt) -tag:paid) bob"),
        ("saved:(money OR here)", "subject:(invoice OR receipt) OR folder:INBOX"),
        ("saved:here is:unread", "folder:INBOX is:unread"),
    ],
)
def test_stands_for_its_text_in_parentheses(text: str, meaning: str) -> None:
    assert parse(text, now=NOW, saved=SAVED) == parse(meaning, now=NOW)


@pytest.mark.parametrize(
    ("saved", "text", "position", "words"),
    [
        (SAVED, "x saved:mony", 8, "no search is saved as mony"),
        ({}, "saved:money", 6, "no search is saved as money"),
        (SAVED, "saved:", 6, "needs a value"),
        (SAVED, "subject:(saved:money)", 9, "cannot stand inside"),
        ({"a": "x saved:b", "b": "saved:a"}, "saved:a", 6, "leads back to itself"),
        ({"a": "saved:a"}, "saved:a", 6, "leads back to itself"),
        (chain(DEPTH_LIMIT + 2), "saved:n0", 6, "deep in each other"),
        ({"a": "form:x"}, "saved:a", 0, "no field is called form:"),
        ({"a": "word " * 10}, "saved:a " * 1000, 8 * 200 + 6, "longer than"),
        ({"a": "folder:x " * 20}, "saved:a " * 20, 7, f"more than {PLACES_LIMIT} accounts"),
    ],
)
def test_mistakes(saved: Mapping[str, str], text: str, position: int, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        parse(text, now=NOW, saved=saved)
    assert caught.value.position == position


def test_a_chain_is_as_deep_as_may_be() -> None:
    assert parse("saved:n0", now=NOW, saved=chain(DEPTH_LIMIT)) == parse("word", now=NOW)


def test_what_multiplies_is_bounded() -> None:
    saved = {f"n{number}": f"saved:n{number + 1} " * 10 for number in range(9)} | {"n9": "word"}
    with pytest.raises(QueryError, match=f"longer than {LENGTH_LIMIT}"):
        parse("saved:n0", now=NOW, saved=saved)


def test_each_of_a_loop_is_named_and_none_that_only_leads_into_it() -> None:
    loop = {"a": "x saved:b", "b": "saved:c", "c": "saved:a", "into": "y saved:a", "good": "word"}
    assert [(name, error.message, error.hint) for name, error in problems(loop)] == [
        ("a", "saved:a leads back to itself", "a -> b -> c -> a"),
        ("b", "saved:b leads back to itself", "b -> c -> a -> b"),
        ("c", "saved:c leads back to itself", "c -> a -> b -> c"),
    ]


def test_what_one_uses_hides_no_mistake_of_its_own() -> None:
    wrong = {"bad": "form:x", "uses": "saved:bad (y", "loop": "saved:loop OR"}
    assert [(name, error.position) for name, error in problems(wrong)] == [
        ("bad", 0),
        ("uses", 10),
        ("loop", 11),
    ]


def test_what_is_wrong_is_said_once() -> None:
    wrong = {**SAVED, "bad": "form:x", "uses": "saved:bad", "lost": "saved:nothing", "round": "saved:round"}
    assert [(name, error.position) for name, error in problems(wrong)] == [
        ("bad", 0),
        ("lost", 6),
        ("round", 6),
    ]
    assert list(problems(SAVED)) == []
    assert list(problems(chain(DEPTH_LIMIT))) == []
