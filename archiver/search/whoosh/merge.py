"""Several segments to one, by lists of postings; deleted documents are left behind.

Which ones: eight of a size class (a class is a factor of eight in documents), or one that is more
than a fifth deleted. So there are at most seven segments of a class, and a document is rewritten once
for each class it rises through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from heapq import merge as merge_sorted
from itertools import groupby
from operator import itemgetter

from archiver.search.fields import CONTENT
from archiver.search.whoosh.build import Documents, Posting, finish, write_terms
from archiver.search.whoosh.postings import Block, weights_of
from archiver.search.whoosh.record import SegmentRecord
from archiver.search.whoosh.segment import LENGTHS, Segment
from archiver.search.whoosh.storage import PrivateStorage

FACTOR = 8
DELETED_SHARE = 0.2


def due(segments: Sequence[SegmentRecord]) -> list[SegmentRecord]:
    """The segments to make one of now, the smallest class first; none when all is tidy."""
    classes: dict[int, list[SegmentRecord]] = {}
    for segment in segments:
        if len(segment.deleted) > segment.documents * DELETED_SHARE:
            return [segment]
        classes.setdefault(_size_class(segment), []).append(segment)
    full = [number for number, members in classes.items() if len(members) >= FACTOR]
    return classes[min(full)] if full else []


def _size_class(segment: SegmentRecord) -> int:
    left, number = segment.documents - len(segment.deleted), 0
    while left >= FACTOR * FACTOR:
        left, number = left // FACTOR, number + 1
    return number


def merge(storage: PrivateStorage, segments: Sequence[Segment]) -> SegmentRecord | None:
    """Write one segment with the live documents of these, by (date, key); None when there are none."""
    if not any(segment.live for segment in segments):
        return None
    documents = Documents(storage)
    numbers = _copy_documents(segments, documents)
    documents.close()
    fields = sorted({field for segment in segments for field in segment.terms.fields})
    write_terms(storage, documents, ((field, _terms(field, segments, numbers)) for field in fields))
    return finish(storage, documents)


def _copy_documents(segments: Sequence[Segment], documents: Documents) -> list[dict[int, int]]:
    """For each segment old number -> new number of its live documents."""
    numbers: list[dict[int, int]] = [{} for _ in segments]
    with ExitStack() as stack:
        for segment in segments:
            stack.enter_context(segment.reading())
        lengths = [{field: each.length_bytes(field) for field in CONTENT} for each in segments]
        for date, key, at, number in merge_sorted(*map(_in_order, segments, range(len(segments)))):
            segment = segments[at]
            numbers[at][number] = documents.add(
                key,
                date,
                segment.sizes[number],
                segment.stored(number),
                {field: LENGTHS[of[number]] for field, of in lengths[at].items()},
            )
    return numbers


def _in_order(segment: Segment, at: int) -> Iterable[tuple[int, bytes, int, int]]:
    """(date, key, at, number) of the live documents, ascending."""
    found = ((segment.dates[number], segment.key(number), at, number) for number in sorted(segment.live))
    return found if segment.record.ordered else sorted(found)


def _terms(
    field: str, segments: Sequence[Segment], numbers: Sequence[dict[int, int]]
) -> Iterator[tuple[str, Posting]]:
    """Every term some live document has, in order, with its postings in all segments."""
    lists = [_listed(at, field, segment) for at, segment in enumerate(segments)]
    with ExitStack() as stack:
        for segment in segments:
            stack.enter_context(segment.reading())
        for term, entries in groupby(merge_sorted(*lists), key=itemgetter(0)):
            ids: list[int] = []
            weights: list[float] = []
            values: list[bytes] = []
            for _, at, entry in entries:
                for block in segments[at].blocks(entry):
                    mine, heavy, packed = _renumbered(block, numbers[at], bool(segments[at].record.deleted))
                    ids += mine
                    weights += heavy
                    values += packed
            if ids:
                # One posting alone has an empty value where others of its field have none.
                yield term.decode(), _ascending(ids, weights, values if field in CONTENT else None)


def _ascending(ids: list[int], weights: list[float], values: list[bytes] | None) -> Posting:
    """Postings of several segments as those of one: their documents may have been shuffled together."""
    if ids == (ascending := sorted(ids)):
        return ids, weights, values
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return ascending, [weights[at] for at in order], values and [values[at] for at in order]


def _listed(at: int, field: str, segment: Segment) -> Iterator[tuple[bytes, int, bytes]]:
    for term, entry in segment.terms.all(field):
        yield term, at, entry


def _renumbered(
    block: Block, numbers: dict[int, int], deleted: bool
) -> tuple[list[int], Sequence[float], Sequence[bytes]]:
    """A block with the new numbers, without what is deleted."""
    ids, _, values = block
    weights = weights_of(block)
    if not deleted:
        return [numbers[number] for number in ids], weights, values or ()
    kept = [at for at, number in enumerate(ids) if number in numbers]
    packed = [values[at] for at in kept] if values else ()
    return [numbers[ids[at]] for at in kept], [weights[at] for at in kept], packed
