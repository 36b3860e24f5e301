"""A page of what a search finds in the order of dates, without looking at much more than the page.

Each segment is looked through from one end, a window at a time, always the one whose next document would
come first; what is found is certain of its place as soon as no segment can bring anything before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import gt, lt
from typing import TypeAlias

from archiver.search.tree import Node
from archiver.search.whoosh.evaluate import Reading, cost, most, span

Entry: TypeAlias = "tuple[int, bytes, int, int]"
"""A document found: date, key, the number of its segment, its number there."""

Bound: TypeAlias = "tuple[int, bytes]"
"""Date and key of a document."""

_WINDOW = 128
# A tree that costs no more is evaluated for the whole segment at once.
_CHEAP = 1024
_LAST_KEY = b"\xff" * 33


class Scan:
    """A segment's matching documents from its newest on, or from its oldest."""

    def __init__(self, number: int, reading: Reading, tree: Node, newest: bool) -> None:
        self.reading = reading
        self.left = reading.everything
        self.looked = 0
        self._number = number
        self._tree = tree
        self._newest = newest
        self._found = 0
        self._size = 0

    def next(self) -> Bound:
        """The date and key of the next document that is looked at, or more than those; needs some `left`.

        Until the first step it is only known from the record: the file is not read before its turn.
        """
        segment, number = self.reading.segment, self.left[-1 if self._newest else 0]
        if not self._size:
            return (segment.record.newest, _LAST_KEY) if self._newest else (segment.record.oldest, b"")
        return segment.dates[number], segment.key(number)

    def step(self, missing: int) -> list[Entry]:
        """What is found in the next window, in no order; the window may hold so many documents, or more."""
        if not self._size:
            self.left = span(self.reading, self._tree)
        self._size = max(self._window(missing), _WINDOW)
        size = min(self._size, len(self.left))
        cut = len(self.left) - size if self._newest else size
        first, second = self.left[:cut], self.left[cut:]
        self.left, window = (first, second) if self._newest else (second, first)
        if not window:
            return []
        segment, at = self.reading.segment, self._number
        found = self.reading.live(self._tree, window)
        self.looked += size
        self._found += len(found)
        return [(segment.dates[number], segment.key(number), at, number) for number in found]

    def _window(self, missing: int) -> int:
        """How large the next window should be: as the lists promise, then as the windows before it tell."""
        if not self._size:
            if not self.reading.segment.record.ordered or cost(self.reading, self._tree) <= _CHEAP:
                return len(self.left)
            return missing * len(self.left) // most(self.reading, self._tree)
        if not self._found:
            return self._size * 2
        # Some more than on average, or the last few take one window after the other.
        return min(missing * self.looked * 9 // (self._found * 8), self._size * 4)


def by_date(
    readings: Sequence[Reading], tree: Node, newest: bool, wanted: int
) -> tuple[list[Entry], int, list[Scan]]:
    """The first `wanted` documents in order, or all; how many were found, and how far the segments are."""
    scans = [Scan(number, reading, tree, newest) for number, reading in enumerate(readings)]
    first, before = (max, gt) if newest else (min, lt)
    ready: list[Entry] = []
    waiting: list[Entry] = []
    going = [scan for scan in scans if scan.left]
    while going and len(ready) < wanted:
        missing = wanted - len(ready) - len(waiting)
        waiting += first(going, key=Scan.next).step(missing // len(going))
        going = [scan for scan in going if scan.left]
        bound = first(map(Scan.next, going)) if going else None
        certain = [entry for entry in waiting if bound is None or before(entry, bound)]
        if certain:
            waiting = [entry for entry in waiting if bound is not None and not before(entry, bound)]
            ready += sorted(certain, reverse=newest)
    return ready[:wanted], len(ready) + len(waiting), scans
