"""BM25F as Whoosh's own searcher computes it, over the documents that were found.

Scores add up over the words of the query that are asked for, in every field they are looked for; a
phrase counts by its words, a prefix as one word that is 1 where it matches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from math import log

from archiver.search.fields import CONTENT
from archiver.search.tree import Node, Prefix, Word, content
from archiver.search.whoosh.evaluate import leaf_documents
from archiver.search.whoosh.postings import frequency, weights_of
from archiver.search.whoosh.segment import LENGTHS, Segment

_B = 0.75
_K1 = 1.2


def scores(
    segments: Sequence[Segment], found: Sequence[AbstractSet[int]], tree: Node
) -> list[dict[int, float]]:
    """For each segment the scores of its found documents that a word of the query is in."""
    result: list[dict[int, float]] = [defaultdict(float) for _ in segments]
    for leaf in set(content(tree)):
        if isinstance(leaf, Prefix):
            for segment, wanted, into in zip(segments, found, result, strict=True):
                for number in leaf_documents(segment, leaf) & wanted:
                    into[number] += 1.0
    for field, term in _words(tree):
        _add(segments, found, field, term, result)
    return result


def _words(tree: Node) -> Iterable[tuple[str, str]]:
    """Every (field, term) once."""
    asked: dict[tuple[str, str], None] = {}
    for leaf in content(tree):
        words = (leaf.term,) if isinstance(leaf, Word) else leaf.terms
        for field in (leaf.field,) if leaf.field else CONTENT:
            asked.update(dict.fromkeys((field, word) for word in words))
    return asked


def _add(
    segments: Sequence[Segment],
    found: Sequence[AbstractSet[int]],
    field: str,
    term: str,
    result: list[dict[int, float]],
) -> None:
    documents = sum(segment.record.documents for segment in segments)
    average = sum(segment.record.lengths.get(field, 0) for segment in segments) / documents or 1.0
    entries = [segment.terms.get(field, term) for segment in segments]
    rarity = log(documents / (sum(map(frequency, filter(None, entries))) + 1)) + 1
    for segment, wanted, entry, into in zip(segments, found, entries, result, strict=True):
        if entry is None or not wanted:
            continue
        with segment.reading():
            lengths = segment.length_bytes(field)
            for block in segment.blocks(entry):
                for number, weight in zip(block[0], weights_of(block), strict=True):
                    if number in wanted:
                        norm = _K1 * (1 - _B + _B * LENGTHS[lengths[number]] / average)
                        into[number] += rarity * weight * (_K1 + 1) / (weight + norm)
