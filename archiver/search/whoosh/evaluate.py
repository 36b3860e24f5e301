"""A query tree to the documents of one segment, window by window.

A window is a range of document numbers; in it, a tree becomes a set of them. So a search that begins at
one end of a segment stops at the page, and what it does not come to is not read. Deleted documents are
among the numbers; who asks leaves them out at the end (`Reading.live`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, partial
from itertools import compress
from typing import TypeVar

from archiver.search.fields import ANYWHERE
from archiver.search.index import Places
from archiver.search.positions import starts
from archiver.search.tree import (
    And,
    Content,
    DateRange,
    Exact,
    Node,
    Not,
    Or,
    Phrase,
    Prefix,
    SamePlace,
    SizeRange,
    Thread,
    Word,
)
from archiver.search.whoosh.lists import Postings
from archiver.search.whoosh.numbers import numbers
from archiver.search.whoosh.segment import Segment

T = TypeVar("T")

# What it costs to compare the positions of a document, and to read a posting whose block has no other
# that is wanted: in postings.
_LOOK = 25
_ALONE = 100
# Lists of one prefix that are held at once; of more, only their documents are.
_LISTS = 4096


class Reading:
    """One query's view of a segment: the lists it has looked up."""

    def __init__(
        self,
        segment: Segment,
        places: Places,
        whole: bool = False,
        thread: Callable[[Thread], AbstractSet[int]] = lambda node: frozenset(),
    ) -> None:
        """`whole`: more will be read of a list than its ids. `thread`: documents of a conversation."""
        self.segment = segment
        self.whole = whole
        self.everything = range(segment.record.documents)
        self.thread = thread
        self._places = places
        self._deleted = frozenset(segment.record.deleted)
        self._postings: dict[tuple[str, str], Postings | None] = {}
        self._starting: dict[tuple[str, str], Starting] = {}
        self._ordered: dict[int, list[Node]] = {}

    def live(self, node: Node, window: range, among: AbstractSet[int] | None = None) -> AbstractSet[int]:
        """The documents in the window (and `among` those) for which the tree holds, no deleted ones."""
        with self.segment.reading():
            return matching(self, node, window, among) - self._deleted

    def postings(self, field: str, term: str) -> Postings | None:
        """None when no document has the term."""
        key = field, term
        if key not in self._postings:
            entry = self.segment.terms.get(field, term)
            self._postings[key] = self.segment.postings(entry, self.whole) if entry else None
        return self._postings[key]

    def starting(self, field: str, prefix: str) -> Starting:
        key = field, prefix
        if key not in self._starting:
            self._starting[key] = Starting(self.segment, field, prefix)
        return self._starting[key]

    def documents(self, node: SamePlace) -> AbstractSet[int]:
        """The documents with such a place, by the ledger's numbers."""
        return self._places.documents(node)

    @cached_property
    def numbers(self) -> Sequence[int]:
        """The ledger's number of each document."""
        return numbers(self.segment, self._places)

    def cheapest_first(self, node: And) -> list[Node]:
        """The parts in the order in which to ask them: each only about what those before it left."""
        if id(node) not in self._ordered:
            self._ordered[id(node)] = sorted(node.parts, key=partial(cost, self))
        return self._ordered[id(node)]


class Starting:
    """The terms that begin so, as if they were one.

    What is in memory grows with the documents, not with the terms.
    """

    def __init__(self, segment: Segment, field: str, prefix: str) -> None:
        self._segment = segment
        self._prefix = field, prefix

    def _all(self) -> Iterator[Postings]:
        return map(self._segment.postings, self._segment.terms.starting(*self._prefix))

    @cached_property
    def _known(self) -> tuple[list[int], list[Postings]]:
        """Documents that are known without a list, ascending; the lists with all others."""
        alone: set[int] = set()
        lists: list[Postings] = []
        for each in self._all():
            if each.frequency == 1:
                alone.add(each.first)
                continue
            lists.append(each)
            if len(lists) == _LISTS:
                alone.update(*(each.within(range(each.last + 1)) for each in lists))
                lists.clear()
        return sorted(alone), lists

    def within(self, window: range, among: AbstractSet[int] | None) -> AbstractSet[int]:
        """As `Postings.within`."""
        alone, lists = self._known
        found = set(alone[bisect_left(alone, window.start) : bisect_left(alone, window.stop)])
        if among is not None:
            found &= among
        near = [each for each in lists if each.first < window.stop and each.last >= window.start]
        return found.union(*(each.within(window, among) for each in near))

    def values(self, wanted: AbstractSet[int]) -> Iterator[tuple[int, bytes]]:
        """As `Postings.values`; a document comes once for each of the terms it has."""
        low, high = min(wanted), max(wanted)
        for each in self._all():
            if each.first <= high and each.last >= low:
                yield from each.values(wanted)


def matching(
    reading: Reading, node: Node, window: range, among: AbstractSet[int] | None = None
) -> AbstractSet[int]:
    """The documents in the window for which the tree holds; only some of `among`, when that is given."""
    match node:
        case And():
            return _and(reading, node, window, among)
        case Or(parts):
            return frozenset().union(*(matching(reading, part, window, among) for part in parts))
        case Not(part):
            asked = frozenset(window) if among is None else among
            return asked - matching(reading, part, window, asked)
        case DateRange(start, end):
            dates = reading.segment.dates
            return _holding(window, among, dates, partial(_inside, low=start, high=end))
        case SizeRange(low, high):
            return _holding(window, among, reading.segment.sizes, partial(_inside, low=low, high=high))
        case Thread():
            everywhere = reading.thread(node) if among is None else reading.thread(node) & among
            return {number for number in everywhere if number in window}
        case SamePlace():
            return _holding(window, among, reading.numbers, reading.documents(node).__contains__)
        case Word() | Exact():
            found = [each.within(window, among) for each in _lists(reading, node)]
            return found[0] if len(found) == 1 else frozenset().union(*found)
        case Phrase() | Prefix():
            in_fields = (_in_field(reading, each, node, window, among) for each in fields_of(node))
            return frozenset().union(*in_fields)
    raise TypeError(f"not a query: {type(node).__name__}")


def span(reading: Reading, node: Node) -> range:
    """A range of documents outside which the tree holds for none; found without reading a list."""
    everything = reading.everything
    match node:
        case And(parts):
            spans = [span(reading, part) for part in parts]
            return range(max(each.start for each in spans), min(each.stop for each in spans))
        case Or(parts):
            return _hull([span(reading, part) for part in parts])
        case DateRange(start, end) if reading.segment.record.ordered:
            dates = reading.segment.dates
            low = 0 if start is None else bisect_left(dates, start)
            return everything[low : None if end is None else bisect_left(dates, end)]
        case Word() | Exact():
            return _hull([range(each.first, each.last + 1) for each in _lists(reading, node)])
        case Thread():
            return _hull([range(number, number + 1) for number in reading.thread(node)])
    return everything


def cost(reading: Reading, node: Node) -> int:
    """What it takes to evaluate the tree for the whole segment; the unit is a posting that is read."""
    match node:
        case And(parts):
            first, *others = sorted(cost(reading, part) for part in parts)
            # Each document that is left may be in a block of its own.
            return first + sum(min(other, first * _ALONE) for other in others)
        case Or(parts):
            return sum(cost(reading, part) for part in parts)
        case Word() | Exact():
            return sum(each.frequency for each in _lists(reading, node))
        case Phrase(_, terms):
            return sum(_LOOK * _rarest(reading, field, terms) for field in fields_of(node))
        case SamePlace():
            return len(reading.documents(node))
        case Thread():
            return len(reading.thread(node))
    return len(reading.everything)


def most(reading: Reading, node: Node) -> int:
    """As many documents as there can be in the segment, or more."""
    match node:
        case And(parts):
            return min(most(reading, part) for part in parts)
        case Or(parts):
            return sum(most(reading, part) for part in parts)
        case Phrase(_, terms):
            return sum(_rarest(reading, field, terms) for field in fields_of(node))
        case Word() | Exact() | Thread() | SamePlace():
            return cost(reading, node)
    return len(reading.everything)


def fields_of(leaf: Content | Exact) -> Sequence[str]:
    """The fields in which it is looked for."""
    return (leaf.field,) if leaf.field else ANYWHERE


def _rarest(reading: Reading, field: str, terms: Sequence[str]) -> int:
    """In how many documents the rarest of the terms is."""
    found = [reading.postings(field, term) for term in terms]
    return min(each.frequency if each else 0 for each in found)


def _lists(reading: Reading, node: Word | Exact) -> list[Postings]:
    """The list of a term in each field, where there is one."""
    return [each for field in fields_of(node) if (each := reading.postings(field, node.term))]


def _hull(spans: Iterable[range]) -> range:
    filled = [each for each in spans if each]
    return range(min((s.start for s in filled), default=0), max((s.stop for s in filled), default=0))


def _and(reading: Reading, node: And, window: range, among: AbstractSet[int] | None) -> AbstractSet[int]:
    found = among
    for part in reading.cheapest_first(node):
        found = matching(reading, part, window, found)
        if not found:
            break
    return frozenset() if found is None else found


def _inside(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or low <= value) and (high is None or value < high)


def _holding(
    window: range, among: AbstractSet[int] | None, column: Sequence[T], test: Callable[[T], bool]
) -> AbstractSet[int]:
    """The documents whose value in the column passes the test."""
    if among is None:
        return set(compress(window, map(test, column[window.start : window.stop])))
    return {number for number in among if test(column[number])}


def _in_field(
    reading: Reading, field: str, leaf: Phrase | Prefix, window: range, among: AbstractSet[int] | None
) -> AbstractSet[int]:
    """The documents with the terms of a leaf in a row, in one field."""
    if isinstance(leaf, Prefix) and not leaf.terms:
        return reading.starting(field, leaf.prefix).within(window, among)
    row = [reading.postings(field, term) for term in leaf.terms]
    found = among
    for each in sorted(row, key=lambda each: each.frequency if each else 0):
        found = each.within(window, found) if each else None
        if not found:
            return frozenset()
    rows = _in_a_row([each for each in row if each], found or frozenset())
    if isinstance(leaf, Phrase):
        return {number for number, _ in rows}
    begins = dict(rows)
    last = reading.starting(field, leaf.prefix).values(begins.keys()) if begins else ()
    return {number for number, packed in last if not begins[number].isdisjoint(starts(packed, len(row)))}


def _in_a_row(lists: Sequence[Postings], wanted: AbstractSet[int]) -> Iterator[tuple[int, set[int]]]:
    """Of the wanted documents, which have all the terms, those that have them in a row, and where."""
    first, *others = [dict(each.values(wanted)) for each in lists]
    for number, packed in first.items():
        begins = set(starts(packed, 0))
        for at, column in enumerate(others, 1):
            begins.intersection_update(starts(column[number], at))
            if not begins:
                break
        if begins:
            yield number, begins
