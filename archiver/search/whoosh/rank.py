"""BM25F as Whoosh's own searcher computes it, and the documents that have most of it.

Scores add up over the words of the query that are asked for, in every field they are looked for; a
phrase counts by its words; a prefix, a form or a word with edits as one word that is 1 where it matches.

Every document found is scored. The heads of the blocks tell the heaviest posting in each, but of a common
word nearly every block has one as good as any: leaving blocks out by it was measured to save nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from math import log
from typing import TypeAlias

import msgspec

from archiver.search.tree import Content, Fuzzy, Glob, Near, Node, Phrase, Prefix, Word, content
from archiver.search.whoosh.evaluate import Reading, fields_of, matching, span
from archiver.search.whoosh.postings import weights_of
from archiver.search.whoosh.segment import LENGTHS

Scored: TypeAlias = "tuple[float, int, bytes, int, int]"
"""A document found: score, date, key, the number of its segment, its number there."""

_B = 0.75
_K1 = 1.2
# Its blocks are kept unpacked from finding to scoring.
_WINDOW = 4096


class Weight(msgspec.Struct, frozen=True):
    """What a word of the query counts: `rarity` times w / (w + `norms` of the field's length byte)."""

    field: str
    term: str
    rarity: float
    norms: tuple[float, ...]


def by_score(readings: Sequence[Reading], tree: Node, wanted: int) -> tuple[list[Scored], int]:
    """The best `wanted` documents, best first, equal ones newest first; and how many were found."""
    words = weights(readings, tree)
    best: list[Scored] = []
    least, count = 0.0, 0
    for at, reading in enumerate(readings):
        segment, within = reading.segment, span(reading, tree)
        for start in range(0, len(within), _WINDOW):
            found = scores(reading, words, tree, within[start : start + _WINDOW])
            count += len(found)
            best += [
                (score, segment.dates[number], segment.key(number), at, number)
                for number, score in found.items()
                if score >= least
            ]
            if len(best) >= 2 * wanted > 0:
                best.sort(reverse=True)
                del best[wanted:]
                least = best[-1][0]
    return sorted(best, reverse=True)[:wanted], count


def weights(readings: Sequence[Reading], tree: Node) -> list[Weight]:
    """Every word of the query in every field, once."""
    asked = {
        (field, term): None for leaf in content(tree) for field in fields_of(leaf) for term in _words(leaf)
    }
    return [_weight(readings, field, term) for field, term in asked]


def _words(leaf: Content) -> Sequence[str]:
    match leaf:
        case Word(_, term):
            return (term,)
        case Phrase(_, terms) | Prefix(_, terms):
            return terms
        case Near(_, rows):
            return [term for row in rows for term in row]
    return ()


def _weight(readings: Sequence[Reading], field: str, term: str) -> Weight:
    records = [reading.segment.record for reading in readings]
    documents = sum(record.documents for record in records)
    average = sum(record.lengths.get(field, 0) for record in records) / documents or 1.0
    lists = [postings for reading in readings if (postings := reading.postings(field, term))]
    rarity = log(documents / (sum(each.frequency for each in lists) + 1)) + 1
    norms = tuple(_K1 * (1 - _B + _B * length / average) for length in LENGTHS)
    return Weight(field, term, rarity * (_K1 + 1), norms)


def scores(reading: Reading, words: Sequence[Weight], tree: Node, window: range) -> dict[int, float]:
    """The scores of what is found in the window."""
    with reading.segment.reading():
        result = dict.fromkeys(reading.live(tree, window), 0.0)
        for leaf in _groups(tree):
            for number in matching(reading, leaf, window, result.keys()):
                result[number] += 1.0
        for word in words:
            _add(reading, word, result)
        return result


def _add(reading: Reading, word: Weight, result: dict[int, float]) -> None:
    postings = reading.postings(word.field, word.term)
    if postings is None:
        return
    lengths, rarity, norms = reading.segment.length_bytes(word.field), word.rarity, word.norms
    for wanted, block in postings.blocks(result.keys()):
        for number, weight in zip(block[0], weights_of(block), strict=True):
            if number in wanted:
                result[number] += rarity * weight / (weight + norms[lengths[number]])


def _groups(tree: Node) -> AbstractSet[Content]:
    return {leaf for leaf in content(tree) if isinstance(leaf, Prefix | Glob | Fuzzy)}
