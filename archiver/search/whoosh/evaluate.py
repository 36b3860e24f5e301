"""A query tree to the documents of one segment, window by window.

A window is a range of document numbers; in it, a tree becomes a set of them. So a search that begins at
one end of a segment stops at the page, and what it does not come to is not read. Deleted documents are
among the numbers; who asks leaves them out at the end (`Reading.live`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, partial
from itertools import compress
from typing import TypeVar

from archiver.search.fields import ANYWHERE
from archiver.search.index import Places
from archiver.search.limits import Limits
from archiver.search.positions import starts
from archiver.search.tree import (
    All,
    And,
    Content,
    DateRange,
    Exact,
    Fuzzy,
    Glob,
    Near,
    Node,
    Not,
    Or,
    Phrase,
    Prefix,
    Regex,
    SamePlace,
    SizeRange,
    Thread,
    Word,
)
from archiver.search.whoosh.groups import Group
from archiver.search.whoosh.lists import Postings
from archiver.search.whoosh.numbers import numbers
from archiver.search.whoosh.rows import in_a_row, near
from archiver.search.whoosh.segment import Segment

T = TypeVar("T")

# What it costs to compare the positions of a document, and to read a posting whose block has no other
# that is wanted: in postings.
_LOOK = 25
_ALONE = 100


class Reading:
    """One query's view of a segment: the lists it has looked up."""

    def __init__(
        self,
        segment: Segment,
        places: Places,
        whole: bool = False,
        thread: Callable[[Thread], AbstractSet[int]] = lambda node: frozenset(),
        limits: Limits | None = None,
    ) -> None:
        """`whole`: more will be read of a list than its ids. `thread`: documents of a conversation.

        `limits`: those of the query, in all segments together.
        """
        self.segment = segment
        self.whole = whole
        self.everything = range(segment.record.documents)
        self.thread = thread
        self.limits = limits or Limits()
        self._places = places
        self._deleted = frozenset(segment.record.deleted)
        self._postings: dict[tuple[str, str], Postings | None] = {}
        self._starting: dict[tuple[str, str], Group] = {}
        self._groups: dict[tuple[str, Glob | Fuzzy], Group] = {}
        self._ordered: dict[int, list[Node]] = {}

    def live(self, node: Node, window: range, among: AbstractSet[int] | None = None) -> AbstractSet[int]:
        """The documents in the window (and `among` those) for which the tree holds, no deleted ones."""
        with self.segment.reading(), self.limits.running():
            return matching(self, node, window, among) - self._deleted

    def postings(self, field: str, term: str) -> Postings | None:
        """None when no document has the term."""
        key = field, term
        if key not in self._postings:
            entry = self.segment.terms.get(field, term)
            self._postings[key] = self.segment.postings(entry, self.whole) if entry else None
        return self._postings[key]

    def starting(self, field: str, prefix: str) -> Group:
        """The terms that begin so."""
        key = field, prefix
        if key not in self._starting:
            terms = self.segment.terms
            self._starting[key] = Group(self.segment, lambda: terms.starting(field, prefix), self.limits)
        return self._starting[key]

    def group(self, field: str, leaf: Glob | Fuzzy) -> Group:
        """The terms that are as the leaf says."""
        key = field, leaf
        if key not in self._groups:
            from archiver.search.whoosh.expand import expanded

            with self.limits.running():
                entries = expanded(self.segment, field, leaf, self.limits)
            self._groups[key] = Group(self.segment, lambda: entries, self.limits)
        return self._groups[key]

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


def matching(
    reading: Reading, node: Node, window: range, among: AbstractSet[int] | None = None
) -> AbstractSet[int]:
    """The documents in the window for which the tree holds; only some of `among`, when that is given."""
    reading.limits.check()
    match node:
        case And():
            return _and(reading, node, window, among)
        case Or(parts):
            return frozenset().union(*(matching(reading, part, window, among) for part in parts))
        case Not(part):
            asked = frozenset(window) if among is None else among
            return asked - matching(reading, part, window, asked)
        case All():
            return frozenset(window) if among is None else among
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
        case Phrase() | Prefix() | Near():
            in_fields = (_in_field(reading, each, node, window, among) for each in fields_of(node))
            return frozenset().union(*in_fields)
        case Glob() | Fuzzy():
            groups = (reading.group(field, node) for field in fields_of(node))
            return frozenset().union(*(each.within(window, among) for each in groups))
        case Regex(field, pattern):
            return reading.segment.shown(field).matching(pattern, window, among, reading.limits)
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
        case Phrase() | Near():
            return sum(_LOOK * _rarest(reading, field, _terms(node)) for field in fields_of(node))
        case Glob() | Fuzzy():
            return sum(reading.group(field, node).frequency for field in fields_of(node))
        case Regex():
            return _LOOK * len(reading.everything)
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


def _terms(leaf: Phrase | Prefix | Near) -> Sequence[str]:
    """All that have to be there."""
    return [term for row in leaf.rows for term in row] if isinstance(leaf, Near) else leaf.terms


def _in_field(
    reading: Reading,
    field: str,
    leaf: Phrase | Prefix | Near,
    window: range,
    among: AbstractSet[int] | None,
) -> AbstractSet[int]:
    """The documents with the terms of a leaf in a row, or near each other, in one field."""
    if isinstance(leaf, Prefix) and not leaf.terms:
        return reading.starting(field, leaf.prefix).within(window, among)
    lists = {term: reading.postings(field, term) for term in _terms(leaf)}
    found = among
    for each in sorted(lists.values(), key=lambda each: each.frequency if each else 0):
        found = each.within(window, found) if each else None
        if not found:
            return frozenset()
    known, found = {term: each for term, each in lists.items() if each}, found or frozenset()
    if isinstance(leaf, Near):
        return near(leaf, [[known[term] for term in row] for row in leaf.rows], found)
    rows = in_a_row([known[term] for term in leaf.terms], found)
    if isinstance(leaf, Phrase):
        return {number for number, _ in rows}
    begins = dict(rows)
    last = reading.starting(field, leaf.prefix).values(begins.keys()) if begins else ()
    size = len(leaf.terms)
    return {number for number, packed in last if not begins[number].isdisjoint(starts(packed, size))}
