"""A page of what a search finds in the order of dates, without looking at much more than the page.

Each segment is looked through from one end, a window at a time, always the one whose next document would
come first; what is found is certain of its place as soon as no segment can bring anything before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import gt, lt
from typing import TypeAlias

from archiver.search.tree import Node
from archiver.search.whoosh.evaluate import Reading, cost, span

Entry: TypeAlias = "tuple[int, bytes, int, int]"
"""A document found: date, key, the number of its segment, its number there."""

Bound: TypeAlias = "tuple[int, bytes]"
"""Date and key of a document."""

_WINDOW = 128
# A tree that costs no more is evaluated for the whole segment at once.
_CHEAP = 512
_LAST_KEY = b"\xff" * 33


class Scan:
    """A segment's matching documents from its newest on, or from its oldest."""

    def __init__(self, number: int, reading: Reading, tree: Node, newest: bool, wanted: int) -> None:
        self.reading = reading
        self.left = reading.everything
        self._number = number
        self._tree = tree
        self._newest = newest
        self._wanted = wanted
        self.looked = 0
        self._size = 0

    def next(self) -> Bound:
        """The date and key of the next document that is looked at, or more than those; needs some `left`.

        Until the first step it is only known from the record: the file is not read before its turn.
        """
        segment, number = self.reading.segment, self.left[-1 if self._newest else 0]
        if not self._size:
            return (segment.record.newest, _LAST_KEY) if self._newest else (segment.record.oldest, b"")
        return segment.dates[number], segment.key(number)

    def step(self) -> list[Entry]:
        """What is found in the next window; in no order."""
        if not self._size:
            self._start()
        size = min(self._size, len(self.left))
        cut = len(self.left) - size if self._newest else size
        first, second = self.left[:cut], self.left[cut:]
        self.left, window = (first, second) if self._newest else (second, first)
        self.looked += size
        self._size *= 2
        segment, at = self.reading.segment, self._number
        found = self.reading.live(self._tree, window)
        return [(segment.dates[number], segment.key(number), at, number) for number in found]

    def _start(self) -> None:
        """Where to look, and how large the first window is: as large as the page may need."""
        self.left = span(self.reading, self._tree)
        price = cost(self.reading, self._tree)
        if price <= _CHEAP or not self.reading.segment.record.ordered:
            self._size = max(len(self.left), 1)
        else:
            self._size = max(_WINDOW, self._wanted * len(self.left) // price)


def by_date(
    readings: Sequence[Reading], tree: Node, newest: bool, wanted: int
) -> tuple[list[Entry], int, list[Scan]]:
    """The first `wanted` documents in order, or all; how many were found, and how far the segments are."""
    share = wanted // max(len(readings), 1)
    scans = [Scan(number, reading, tree, newest, share) for number, reading in enumerate(readings)]
    first, before = (max, gt) if newest else (min, lt)
    ready: list[Entry] = []
    waiting: list[Entry] = []
    going = [scan for scan in scans if scan.left]
    while going and len(ready) < wanted:
        waiting += first(going, key=Scan.next).step()
        going = [scan for scan in going if scan.left]
        bound = first(map(Scan.next, going)) if going else None
        certain = [entry for entry in waiting if bound is None or before(entry, bound)]
        if certain:
            waiting = [entry for entry in waiting if bound is not None and not before(entry, bound)]
            ready += sorted(certain, reverse=newest)
    return ready[:wanted], len(ready) + len(waiting), scans
