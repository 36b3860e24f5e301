"""Words found in all their forms, where the configuration asks for it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config.structs import Stemming
from archiver.search.analysis import stem_alternatives, stems, terms
from archiver.search.index import Document, Index, IndexState, open_index
from archiver.search.query import parse
from archiver.search.snippet import snippet, wanted
from archiver.search.stemming import CODES
from archiver.search.tree import Not, Or, Phrase, Prefix, Word
from tests.search.contract import no_places

NOW = datetime(2026, 1, 1)
LANGUAGES = [language for language in get_args(Stemming) if language != "off"]


def test_each_language_of_the_configuration_has_a_stemmer() -> None:
    assert list(CODES) == LANGUAGES
    for language in LANGUAGES:
        assert stems("", [], language) == []


@pytest.mark.parametrize(
    ("language", "words", "short"),
    [
        ("english", "connection Connections connected CONNECTING", "connect"),
        ("german", "Prüfung Prüfungen", "prufung"),
        ("french", "continuité continuités continuer", "continu"),
        ("russian", "новый новая новые", "нов"),
        ("spanish", "gestión gestiones", "gestion"),
        ("norwegian", "brødet brødene", "brod"),
    ],
)
def test_forms_of_a_word_have_one_stem(language: str, words: str, short: str) -> None:
    assert stems(words, terms(words), language) == [short] * len(words.split())


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=st.text(st.sampled_from("aeiouäöüßéñçøłğнийуе guersntlm'\u02bc-1京\u0303"), max_size=150))
def test_each_term_has_a_stem(language: str, text: str) -> None:
    listed = terms(text)
    found = stems(text, listed, language)
    assert len(found) == len(listed) and all(found)


def test_what_a_query_asks_for() -> None:
    def tree(text: str) -> object:
        return parse(text, now=NOW, stemming="english")

    either = ("invoices", "invoic", "=en:invoic")
    assert tree("Invoices") == Or(tuple(Word("", term) for term in either))
    assert tree("subject:invoices") == Or(tuple(Word("subject", term) for term in either))
    assert tree("-body:cat") == Not(Or((Word("body", "cat"), Word("body", "=en:cat"))))
    assert tree('"invoices"') == Word("", "invoices")
    assert tree("from:fields") == Word("from", "fields")
    assert tree("invoices*") == Prefix("", (), "invoices")
    assert tree("old-invoices") == Phrase("", ("old", "invoices"))
    assert parse("invoices", now=NOW) == Word("", "invoices")
    assert stem_alternatives("naïve", "english") == ("naive", "naiv", "=en:naiv")


def filled(folder: Path, stemming: str) -> Index:
    texts = ["We sent two invoices.", "An invoice was sent.", "Invoicing is slow", "in voice", "invoiced!"]
    index = open_index(str(folder))
    documents = [
        Document(bytes([number]) * 32, number, 10, body=text, from_=("Invoices <i@example.org>",))
        for number, text in enumerate(texts)
    ]
    index.apply(documents, (), IndexState("L", 1, stemming))
    return index


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("body:invoice", {0, 1, 2, 4}),
        ("body:invoicing", {0, 1, 2, 4}),
        ("body:invoic", {0, 1, 2, 4}),
        ("-body:invoices", {3}),
        ('body:"invoice"', {1}),
        ('"two invoices"', {0}),
        ("body:invoice*", {0, 1, 4}),
        ("from:invoice", set()),
        ("from:invoices", {0, 1, 2, 3, 4}),
    ],
)
def test_found_in_all_forms(tmp_path: Path, query: str, found: set[int]) -> None:
    index = filled(tmp_path / "index", "english")
    state = index.state()
    assert state == IndexState("L", 1, "english")
    hits = index.search(parse(query, now=NOW, stemming="english"), no_places)
    assert {hit.date for hit in hits.hits} == found


def test_other_forms_are_marked() -> None:
    tree = parse("invoice naïve", now=NOW, stemming="english")
    shown = snippet("Two invoices; naively, naïveté", wanted(tree, "body"), 80)
    assert [shown.text[start:end] for start, end in shown.marks] == ["invoices", "naively"]
