"""Pages by size and by sender: every document found is looked at, and nothing is read of those not shown.

What is in memory are the numbers of the documents found, and of one segment their sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import chain, groupby
from typing import TypeAlias

from archiver.search.people import LETTERS
from archiver.search.tree import Node
from archiver.search.whoosh.evaluate import Reading
from archiver.search.whoosh.survey import matches, picked

Place: TypeAlias = "tuple[int, int]"
"""The number of a segment, and of a document in it."""

_SENDERS = LETTERS["from"]


def by_size(readings: Sequence[Reading], tree: Node, wanted: int) -> tuple[list[Place], int]:
    """The largest `wanted` documents, largest first, equal ones newest first; and how many were found."""
    found = [matches(reading, tree) for reading in readings]
    columns = [reading.segment.sizes for reading in readings]
    sizes = sorted(chain.from_iterable(map(picked, columns, found)), reverse=True)
    least = sizes[min(wanted, len(sizes)) - 1] if sizes else 0
    best = []
    for at, (reading, column, some) in enumerate(zip(readings, columns, found, strict=True)):
        best += [(column[n], *_age(reading, n), at, n) for n in some if column[n] >= least]
    return [entry[3:] for entry in sorted(best, reverse=True)[:wanted]], len(sizes)


def by_sender(readings: Sequence[Reading], tree: Node, wanted: int) -> tuple[list[Place], int]:
    """The first `wanted` documents by the address they are from, one's newest first; who has none is last."""
    left = [set(matches(reading, tree)) for reading in readings]
    total = sum(map(len, left))
    page: list[Place] = []
    listed = merge(*(_listed(at, reading) for at, reading in enumerate(readings)))
    for _, group in groupby(listed, key=lambda each: each[0]):
        if len(page) >= wanted:
            return page[:wanted], total
        page += _newest_first(readings, _taken(readings, left, [(at, entry) for _, at, entry in group]))
    page += _newest_first(readings, [(at, number) for at, some in enumerate(left) for number in some])
    return page[:wanted], total


def _listed(at: int, reading: Reading) -> Iterator[tuple[bytes, int, bytes]]:
    """(address, number of the segment, entry) of each sender, by address; those without one are left out."""
    with reading.segment.reading():
        for term, entry in reading.segment.terms.of("people", _SENDERS):
            address = term.partition(b"\t")[0]
            if len(address) > len(_SENDERS):
                yield address, at, entry


def _taken(
    readings: Sequence[Reading], left: list[set[int]], entries: Sequence[tuple[int, bytes]]
) -> list[Place]:
    """The documents of these lists that are left; a document comes once, whoever else it is from."""
    taken: list[Place] = []
    for at, entry in entries:
        reading = readings[at]
        with reading.segment.reading():
            here = left[at].intersection(reading.segment.documents(entry))
        left[at] -= here
        taken += [(at, number) for number in here]
    return taken


def _newest_first(readings: Sequence[Reading], places: list[Place]) -> list[Place]:
    return sorted(places, key=lambda place: _age(readings[place[0]], place[1]), reverse=True)


def _age(reading: Reading, number: int) -> tuple[int, bytes]:
    return reading.segment.dates[number], reading.segment.key(number)
