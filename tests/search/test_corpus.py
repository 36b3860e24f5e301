"""Real mail of many languages, and mail that breaks parsers: all of it is indexed and found by its own words.

Reads the collections beside the project, ../shared/corpus, which are not part of it.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from archiver.message import parse as parse_message
from archiver.search.index import Document, Index, IndexState, document, open_index
from archiver.search.query import parse
from archiver.search.snippet import snippet, wanted
from bench import languages
from tests.search.contract import no_places

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"

# Two characters of Han, Kana or Hangul, else a whole word, as a person would copy it.
_PAIR = re.compile(r"[\u4e00-\u9fff\u3041-\u3096\u30a1-\u30fa\uac00-\ud7a3]{2}")
_WORD = re.compile(r"(?<![^\s\"'(,.:;<])[^\W_]{2,60}(?![^\s\"'),.:;>!?])")


def messages(name: str) -> Iterator[bytes]:
    path = CORPUS / f"{name}.tar.xz"
    if not path.exists():
        pytest.skip(f"NOT TESTED on real mail: {path} is not there")
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)):
                yield file.read()


def own_words(text: str) -> str | None:
    """Something of the text that must find it."""
    found = _PAIR.search(unicodedata.normalize("NFC", text)) or _WORD.search(text)
    return found[0] if found else None


def unfound(index: Index, documents: list[Document]) -> list[tuple[bytes, str]]:
    missed = []
    for each in documents:
        for field, text in (("subject", each.subject), ("body", each.body)):
            words = own_words(text)
            if words is None:
                continue
            tree = parse(f'{field}:"{words}"', now=datetime(2026, 1, 1))
            hits = index.search(tree, no_places, limit=10_000)
            if each.key not in {hit.key for hit in hits.hits}:
                missed.append((each.key, field))
            if field == "body" and words in text[:5000]:
                assert snippet(text, wanted(tree, "body"), 120).marks
    return missed


@pytest.mark.parametrize("name", ["multilingual", "torture"])
def test_every_message_is_found_by_its_own_words(name: str, tmp_path: Path) -> None:
    documents = [
        document(hashlib.sha256(raw).digest(), 1_700_000_000, len(raw), parse_message(raw))
        for raw in messages(name)
    ]
    index = open_index(str(tmp_path / "index"))
    index.apply(documents, (), IndexState("L", 1))
    assert index.keys() == {each.key for each in documents}
    asked = sum(own_words(text) is not None for each in documents for text in (each.subject, each.body))
    assert asked > len(documents)
    assert unfound(index, documents) == []


def test_words_of_an_independent_decoder_find_their_message(tmp_path: Path) -> None:
    if not languages.CORPUS.exists():
        pytest.skip(f"NOT TESTED on real mail: {languages.CORPUS} is not there")
    messages = languages.unpacked(languages.CORPUS)
    archive, _ = languages.filled(tmp_path, list(messages.values()))
    asked = [each for path, raw in messages.items() for each in languages.own(path, raw)]
    missed = languages.missed(asked, lambda each: each.key in archive.search_keys(each.query))
    assert len(asked) > 300
    assert languages.least(asked, missed) >= languages.TARGET, [(each.path, each.query) for each in missed]
