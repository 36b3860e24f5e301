"""A query tree to the documents of one segment, as a set of their numbers.

Deleted documents never come out. A prefix stands for every term that begins so, looked at one after the
other: what is in memory grows with the documents, not with the terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from archiver.search.fields import CONTENT
from archiver.search.positions import unpack
from archiver.search.tree import (
    And,
    Content,
    DateRange,
    Has,
    Node,
    Not,
    Or,
    Phrase,
    Prefix,
    SamePlace,
    SizeRange,
    Word,
)
from archiver.search.whoosh.segment import Segment

Places = Callable[[Node], AbstractSet[bytes]]


def evaluate(segment: Segment, node: Node, places: Places) -> AbstractSet[int]:
    """The documents of the segment for which the tree holds."""
    match node:
        case And(parts):
            return _and(segment, parts, places)
        case Or(parts):
            return frozenset().union(*(evaluate(segment, part, places) for part in parts))
        case Not(part):
            return segment.live - evaluate(segment, part, places)
        case DateRange(start, end):
            return _between(segment, segment.dates, start, end)
        case SizeRange(low, high):
            return _between(segment, segment.sizes, low, high)
        case Has(what):
            return segment.live & _ids(segment, segment.terms.get("has", what))
        case SamePlace():
            return _of_keys(segment, places(node))
        case Word() | Phrase() | Prefix():
            return leaf_documents(segment, node)
    raise TypeError(f"not a query: {type(node).__name__}")


def leaf_documents(segment: Segment, leaf: Content) -> AbstractSet[int]:
    """The documents of a content leaf, in its field or in any."""
    fields = (leaf.field,) if leaf.field else CONTENT
    return segment.live & frozenset().union(*(_content(segment, each, leaf) for each in fields))


def _and(segment: Segment, parts: Sequence[Node], places: Places) -> AbstractSet[int]:
    """What is asked for first, then what is excluded; stops at nothing."""
    found: AbstractSet[int] | None = None
    for part in sorted(parts, key=lambda part: isinstance(part, Not)):
        if isinstance(part, Not):
            found = (segment.live if found is None else found) - evaluate(segment, part.part, places)
        else:
            mine = evaluate(segment, part, places)
            found = mine if found is None else found & mine
        if not found:
            return frozenset()
    return found or frozenset()


def _between(segment: Segment, values: Sequence[int], low: int | None, high: int | None) -> AbstractSet[int]:
    low = min(values, default=0) if low is None else low
    high = max(values, default=0) + 1 if high is None else high
    return segment.live.intersection([number for number, value in enumerate(values) if low <= value < high])


def _of_keys(segment: Segment, keys: AbstractSet[bytes]) -> AbstractSet[int]:
    if len(keys) < segment.record.documents // 4:
        by_key = segment.by_key
        return frozenset(by_key[key] for key in keys if key in by_key)
    return segment.live.intersection([number for number, key in enumerate(segment.keys) if key in keys])


def _content(segment: Segment, field: str, leaf: Content) -> AbstractSet[int]:
    """The documents of a leaf in one field, deleted ones among them."""
    match leaf:
        case Word(_, term):
            return _ids(segment, segment.terms.get(field, term))
        case Phrase(_, terms):
            return _row(segment, [segment.terms.get(field, term) for term in terms])
        case Prefix(_, terms, prefix):
            starting = segment.terms.starting(field, prefix)
            if terms:
                return _row(segment, [segment.terms.get(field, term) for term in terms], starting)
            return _any(segment, starting)


def _ids(segment: Segment, entry: bytes | None) -> AbstractSet[int]:
    if entry is None:
        return frozenset()
    return frozenset().union(*(ids for ids, _, _ in segment.blocks(entry)))


def _any(segment: Segment, entries: Iterable[bytes]) -> AbstractSet[int]:
    """The documents with any of the terms, however many terms there are."""
    found: set[int] = set()
    for entry in entries:
        for ids, _, _ in segment.blocks(entry):
            found.update(ids)
        if len(found) == segment.record.documents:
            break
    return found


def _row(
    segment: Segment, entries: Sequence[bytes | None], last: Iterable[bytes] | None = None
) -> AbstractSet[int]:
    """Documents with the terms in a row, then any of the `last`, one position after the other."""
    common = frozenset.intersection(*(frozenset(_ids(segment, entry)) for entry in entries))
    if not common:
        return common
    columns: list[Iterable[bytes]] = [[entry] for entry in entries if entry is not None]
    if last is not None:
        columns.append(last)
    ends: dict[int, set[int]] | None = None
    for column in columns:
        here = _positions(segment, column, common if ends is None else ends.keys())
        if ends is None:
            ends = here
        else:
            ends = {
                number: after
                for number, positions in here.items()
                if (after := positions & {position + 1 for position in ends[number]})
            }
    return frozenset(ends or ())


def _positions(segment: Segment, entries: Iterable[bytes], wanted: AbstractSet[int]) -> dict[int, set[int]]:
    """Where in the wanted documents any of the terms stands."""
    found: dict[int, set[int]] = {}
    for entry in entries:
        for ids, _, values in segment.blocks(entry):
            for number, value in zip(ids, values or (), strict=True):
                if number in wanted:
                    found.setdefault(number, set()).update(unpack(value))
    return found
