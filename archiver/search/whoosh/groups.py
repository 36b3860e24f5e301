"""Several terms as if they were one: those that begin so, have a form, or are a few edits from a word."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import cached_property

from archiver.search.limits import Limits
from archiver.search.whoosh.lists import Postings
from archiver.search.whoosh.postings import frequency
from archiver.search.whoosh.segment import Segment

# Lists of one group that are held at once; of more, only their documents are.
_LISTS = 4096
_OFTEN = 256


class Group:
    """The postings of several terms. What is in memory grows with the documents, not with the terms."""

    def __init__(self, segment: Segment, entries: Callable[[], Iterable[bytes]], limits: Limits) -> None:
        """`entries`: those of the terms, however often they are asked for."""
        self._segment = segment
        self._entries = entries
        self._limits = limits

    def _all(self) -> Iterator[Postings]:
        for count, entry in enumerate(self._entries()):
            if count % _OFTEN == 0:
                self._limits.check()
            yield self._segment.postings(entry)

    @cached_property
    def frequency(self) -> int:
        """In how many documents each of the terms is, added up."""
        return sum(map(frequency, self._entries()))

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
                for one in lists:
                    self._limits.check()
                    alone |= one.within(range(one.last + 1))
                lists.clear()
        return sorted(alone), lists

    def within(self, window: range, among: AbstractSet[int] | None) -> AbstractSet[int]:
        """As `Postings.within`."""
        alone, lists = self._known
        found = set(alone[bisect_left(alone, window.start) : bisect_left(alone, window.stop)])
        if among is not None:
            found &= among
        for count, each in enumerate(lists):
            if count % _OFTEN == 0:
                self._limits.check()
            if each.first < window.stop and each.last >= window.start:
                found |= each.within(window, among)
        return found

    def values(self, wanted: AbstractSet[int]) -> Iterator[tuple[int, bytes]]:
        """As `Postings.values`; a document comes once for each of the terms it has."""
        low, high = min(wanted), max(wanted)
        for each in self._all():
            if each.first <= high and each.last >= low:
                yield from each.values(wanted)
