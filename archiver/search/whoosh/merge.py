"""Several segments to one, by lists of postings; deleted documents are left behind.

Which ones: eight of a size class (a class is a factor of eight in documents), adjacent in date, or one that
is more than a fifth deleted. So there are at most seven segments of a class, and a document is
rewritten once for each class it rises through.

All is read and written as a stream: what is in memory is a block of each segment's list of the term in
hand, and some bytes for each document and each term.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from heapq import merge as merge_sorted
from itertools import compress, groupby
from operator import itemgetter
from typing import TypeVar

from archiver.search.fields import CONTENT
from archiver.search.positions import string
from archiver.search.whoosh.build import Columns, Lists, write
from archiver.search.whoosh.parts import Parts, Rows
from archiver.search.whoosh.postings import Postings, ascending, blocks, weights_of
from archiver.search.whoosh.record import SegmentRecord
from archiver.search.whoosh.segment import LENGTHS, Terms

_T = TypeVar("_T")
FACTOR = 8
DELETED_SHARE = 0.2
_REMEMBERED = 1 << 15
# Terms after which what was read of the segments is let go.
_LET_GO = 2000


def due(segments: Sequence[SegmentRecord]) -> list[SegmentRecord]:
    """The segments to make one of now, the smallest class first; none when all is tidy."""
    classes: dict[int, list[SegmentRecord]] = {}
    for segment in segments:
        if len(segment.deleted) > segment.documents * DELETED_SHARE:
            return [segment]
        classes.setdefault(_size_class(segment), []).append(segment)
    full = [number for number, members in classes.items() if len(members) >= FACTOR]
    return _closest(classes[min(full)]) if full else []


def _size_class(segment: SegmentRecord) -> int:
    left, number = segment.documents - len(segment.deleted), 0
    while left >= FACTOR * FACTOR:
        left, number = left // FACTOR, number + 1
    return number


def _closest(segments: list[SegmentRecord]) -> list[SegmentRecord]:
    """The eight in a row that span the least time: what is far apart in date is better kept apart."""
    segments.sort(key=lambda segment: (segment.oldest, segment.newest))
    rows = [segments[at : at + FACTOR] for at in range(len(segments) - FACTOR + 1)]
    return min(rows, key=lambda row: max(each.newest for each in row) - row[0].oldest)


def merge(source: str, segments: Sequence[SegmentRecord], into: str) -> SegmentRecord | None:
    """Write one segment with the live documents of these, by (date, key); None when there are none.

    DamagedError when one of them cannot be read.
    """
    sources = [_Source(source, each) for each in segments]
    with ExitStack() as stack:
        for each in sources:
            stack.enter_context(each.reading())
        whose, numbers = _order(sources)
        return write(into, _columns(sources, whose, numbers), _fields(sources)) if whose else None


class _Source(Parts):
    """A segment that is merged; `now` has the new number of each document, -1 for those that are deleted."""

    def __init__(self, folder: str, record: SegmentRecord) -> None:
        super().__init__(folder, record)
        self.now = array("i", [-1]) * record.documents
        self.dates = self.numbers(".date.col")
        self.terms = Terms(self.part(".trm"))
        self._lists = self.part(".pst")

    def lengths(self, field: str) -> bytes:
        return bytes(self.part(f"._{field}_len.col")).ljust(self.record.documents, b"\0")

    @property
    def stored(self) -> Sequence[bytes]:
        return Rows(self.part("._stored.col"), self.begins("._stored.col"))

    def in_order(self, at: int) -> Iterable[tuple[int, bytes, int, int]]:
        """(date, key, at, number) of the live documents, ascending."""
        deleted = set(self.record.deleted)
        keys = self.keys
        found = (
            (self.dates[number], keys[number], at, number)
            for number in range(self.record.documents)
            if number not in deleted
        )
        return found if self.record.ordered else sorted(found)

    def listed(self, field: str, at: int) -> Iterator[tuple[bytes, int, bytes]]:
        """(term, at, entry), ascending."""
        for term, entry in self.terms.all(field):
            yield term, at, entry

    def postings(self, entry: bytes) -> Iterator[Postings]:
        """The postings of a term in order, under the new numbers, without those of deleted documents."""
        if self.record.ordered:
            return self._blocks(entry)
        ids: list[int] = []
        weights: list[int] = []
        values: list[bytes] = []
        for numbers, heavy, opcodes in self._blocks(entry):
            ids += numbers
            weights += heavy
            values += opcodes or ()
        return iter([ascending(ids, weights, values)] if ids else [])

    def _blocks(self, entry: bytes) -> Iterator[Postings]:
        for block in blocks(entry, self._lists):
            ids, _, values = block
            weights = [*map(int, weights_of(block))]
            opcodes = [*map(_strings.__getitem__, values)] if values else None
            numbers = [*map(self.now.__getitem__, ids)]
            if self.record.deleted:
                kept = [number >= 0 for number in numbers]
                numbers, weights = [*compress(numbers, kept)], [*compress(weights, kept)]
                opcodes = opcodes and [*compress(opcodes, kept)]
            if numbers:
                yield numbers, weights, opcodes


class _Strings(dict[bytes, bytes]):
    """Values as opcodes; the many that are alike are made once."""

    def __missing__(self, value: bytes) -> bytes:
        made = string(value)
        if len(self) < _REMEMBERED:
            self[value] = made
        return made


_strings = _Strings()


def _order(sources: Sequence[_Source]) -> tuple[array[int], array[int]]:
    """For each document of the merged segment which source it is from, and its number there."""
    whose, numbers = array("H"), array("I")
    for _, _, at, number in merge_sorted(*(each.in_order(at) for at, each in enumerate(sources))):
        sources[at].now[number] = len(whose)
        whose.append(at)
        numbers.append(number)
    return whose, numbers


def _columns(sources: Sequence[_Source], whose: array[int], numbers: array[int]) -> Columns:
    def column(values: Sequence[Sequence[_T]]) -> Iterator[_T]:
        return (values[at][number] for at, number in zip(whose, numbers, strict=True))

    lengths = {field: bytes(column([each.lengths(field) for each in sources])) for field in CONTENT}
    return Columns(
        dates=array("q", column([each.dates for each in sources])),
        sizes=array("q", column([each.numbers(".size.col") for each in sources])),
        ordered=True,
        lengths=lengths,
        totals={field: _total(field, sources, lengths[field]) for field in CONTENT},
        keys=column([each.keys for each in sources]),
        stored=column([each.stored for each in sources]),
    )


def _total(field: str, sources: Sequence[_Source], lengths: bytes) -> int:
    """How many terms the field has in all: about, when documents are left behind."""
    if any(each.record.deleted for each in sources):
        return sum(map(LENGTHS.__getitem__, lengths))
    return sum(each.record.lengths.get(field, 0) for each in sources)


def _fields(sources: Sequence[_Source]) -> Iterator[tuple[str, Lists]]:
    for field in sorted({field for each in sources for field in each.terms.fields}):
        yield field, _lists(field, sources)


def _lists(field: str, sources: Sequence[_Source]) -> Lists:
    """Every term of the field in order, with its postings in all segments."""
    found = merge_sorted(*(each.listed(field, at) for at, each in enumerate(sources)))
    for count, (term, entries) in enumerate(groupby(found, key=itemgetter(0)), 1):
        yield term, _woven([sources[at].postings(entry) for _, at, entry in entries], field in CONTENT)
        if count % _LET_GO == 0:
            for each in sources:
                each.let_go()


def _woven(lists: Sequence[Iterator[Postings]], positions: bool) -> Iterator[Postings]:
    """The postings of several lists in the order of their ids, in parts, a block of each list in memory.

    A part is what no list has anything before: all up to the least of the last ids of the blocks in hand.
    Without `positions` there are no values: one posting alone has an empty one where others have none.
    """
    heads = [(block, each) for each in lists if (block := next(each, None))]
    while len(heads) > 1:
        least = min(block[0][-1] for block, _ in heads)
        ids: list[int] = []
        weights: list[int] = []
        values: list[bytes] = []
        left = []
        for block, rest in heads:
            cut = bisect_right(block[0], least)
            ids += block[0][:cut]
            weights += block[1][:cut]
            values += (block[2] or ())[:cut]
            after: Postings | None = block
            if cut == len(block[0]):
                after = next(rest, None)
            elif cut:
                after = block[0][cut:], block[1][cut:], block[2] and block[2][cut:]
            if after:
                left.append((after, rest))
        heads = left
        yield ascending(ids, weights, values if positions else None)
    for block, rest in heads:
        for numbers, heavy, packed in (block, *rest):
            yield numbers, heavy, packed if positions else None
