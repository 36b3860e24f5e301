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
from typing import TypeAlias, TypeVar

from archiver.search.fields import CONTENT
from archiver.search.whoosh.build import Columns, Lists, write
from archiver.search.whoosh.parts import Parts, Rows
from archiver.search.whoosh.postings import Packed, Postings, ascending, parts
from archiver.search.whoosh.record import SegmentRecord
from archiver.search.whoosh.segment import LENGTHS, Terms

Part: TypeAlias = "Postings | Packed"
_T = TypeVar("_T")
FACTOR = 8
_LARGE, _MANY = 3, 24
"""From that class on (4,096 documents) so many are let be: merging a message takes a quarter of the time that
indexing it took, and shares of a bulk, neighbours in date, hardly cost a search more than their merger."""
DELETED_SHARE = 0.2
# Terms after which what was read of the segments is let go.
_LET_GO = 2000


def due(segments: Sequence[SegmentRecord]) -> list[SegmentRecord]:
    """The segments to make one of now, the smallest class first; none when all is tidy."""
    classes: dict[int, list[SegmentRecord]] = {}
    for segment in segments:
        if len(segment.deleted) > segment.documents * DELETED_SHARE:
            return [segment]
        classes.setdefault(_size_class(segment), []).append(segment)
    full = [n for n, members in classes.items() if len(members) >= (FACTOR if n < _LARGE else _MANY)]
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
        self.dates = self.column(".date.col")
        self.terms = Terms(self.part(".trm"))
        self._lists = self.part(".pst")

    def lengths(self, field: str) -> bytes:
        return bytes(self.part(f"._{field}_len.col")).ljust(self.record.documents, b"\0")

    def rows(self, name: str) -> Sequence[bytes]:
        """A column of values of any size."""
        return Rows(self.part(f".{name}.col"), self.begins(f".{name}.col"))

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

    def postings(self, entry: bytes) -> Iterator[Part]:
        """The postings of a term in order, under the new numbers, without those of deleted documents."""
        if self.record.ordered:
            return self._renumbered(entry)
        ids: list[int] = []
        weights: list[int] = []
        values: list[bytes] = []
        for part in self._renumbered(entry):
            numbers, heavy, opcodes = _unpacked(part)
            ids += numbers
            weights += heavy
            values += opcodes or ()
        return iter([ascending(ids, weights, values)] if ids else [])

    def _renumbered(self, entry: bytes) -> Iterator[Part]:
        for part in parts(entry, self._lists):
            numbers = [*map(self.now.__getitem__, _ids(part))]
            if not self.record.deleted or min(numbers) >= 0:
                yield _numbered(part, numbers)
                continue
            _, weights, values = _unpacked(part)
            kept = [number >= 0 for number in numbers]
            if any(kept):
                values = values and [*compress(values, kept)]
                yield [*compress(numbers, kept)], [*compress(weights, kept)], values


def _ids(part: Part) -> Sequence[int]:
    return part.ids if isinstance(part, Packed) else part[0]


def _unpacked(part: Part) -> Postings:
    return part.unpacked() if isinstance(part, Packed) else part


def _numbered(part: Part, numbers: list[int]) -> Part:
    if isinstance(part, Packed):
        part.ids = numbers
        return part
    return numbers, part[1], part[2]


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
        sizes=array("q", column([each.column(".size.col") for each in sources])),
        ordered=True,
        lengths=lengths,
        totals={field: _total(field, sources, lengths[field]) for field in CONTENT},
        keys=column([each.keys for each in sources]),
        stored=column([each.rows("_stored") for each in sources]),
        ids=column([each.rows("ids") for each in sources]),
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
        lists = [sources[at].postings(entry) for _, at, entry in entries]
        yield term, _woven(lists if field in CONTENT else [*map(_without_values, lists)])
        if count % _LET_GO == 0:
            for each in sources:
                each.let_go()


def _without_values(parts: Iterable[Part]) -> Iterator[Part]:
    """The postings of a field without positions: one alone has an empty value where others have none."""
    return ((*_unpacked(part)[:2], None) for part in parts)


def _woven(lists: Sequence[Iterator[Part]]) -> Iterator[Part]:
    """The postings of several lists in the order of their ids, in parts, a part of each list in memory."""
    heads = [(part, each) for each in lists if (part := next(each, None))]
    while heads:
        heads.sort(key=lambda head: _ids(head[0])[0])
        part, rest = heads[0]
        # What begins after this part has ended is not in its way, and most are neighbours in date.
        if len(heads) == 1 or _ids(part)[-1] < _ids(heads[1][0])[0]:
            heads[:1] = [(after, rest) for after in [next(rest, None)] if after]
        else:
            part, heads = _shuffled(heads)
        yield part


def _shuffled(
    heads: Sequence[tuple[Part, Iterator[Part]]],
) -> tuple[Postings, list[tuple[Part, Iterator[Part]]]]:
    """All up to the least of the last ids of the parts in hand, as one part; what is left of these."""
    least = min(_ids(part)[-1] for part, _ in heads)
    ids: list[int] = []
    weights: list[int] = []
    values: list[bytes] = []
    left: list[tuple[Part, Iterator[Part]]] = []
    for part, rest in heads:
        cut = bisect_right(_ids(part), least)
        if not cut:
            left.append((part, rest))
            continue
        numbers, heavy, opcodes = _unpacked(part)
        ids += numbers[:cut]
        weights += heavy[:cut]
        values += opcodes[:cut] if opcodes else ()
        if cut < len(numbers):
            left.append(((numbers[cut:], heavy[cut:], opcodes and opcodes[cut:]), rest))
        elif after := next(rest, None):
            left.append((after, rest))
    return ascending(ids, weights, values or None), left
