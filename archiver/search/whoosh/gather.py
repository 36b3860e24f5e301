"""Documents gathered in memory, to become a segment.

Every term of a field has an array of the places where it stands. A place is a position in the texts of
all documents one after the other, so that four bytes hold a document and a position in it, and analysing a
text is one `append` for each of its words. When the segment is written, places are turned back into
documents and positions, by steps that go through whole arrays.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import sub
from typing import Self

from archiver.search import ids
from archiver.search.analysis import is_version, stem_term, stems, terms
from archiver.search.fields import CONTENT, STEMMED, TERMS
from archiver.search.index import Document, exact_terms, shown, texts
from archiver.search.positions import INTEGERS, packed, string
from archiver.search.whoosh.build import Columns, Lists, length_byte, pack_stored, write
from archiver.search.whoosh.postings import Postings, ascending
from archiver.search.whoosh.record import SegmentRecord

MOST = 1 << 16
"""So many documents are gathered at most."""

_CACHED = 4096
# What is held for a place, a term, and a document beside them, in bytes.
_PLACE, _TERM, _DOCUMENT = 7, 220, 1000


class Gathered:
    """Documents with different keys, on their way into one segment."""

    def __init__(self, stemming: str = "off") -> None:
        self._fields = {field: _Field(stemming if field in STEMMED else "off") for field in CONTENT}
        self._keys: list[bytes] = []
        self._dates = array("q")
        self._sizes = array("q")
        self._stored: list[bytes] = []
        self._ids: list[bytes] = []
        self._exact: dict[str, defaultdict[str, list[int]]] = {field: defaultdict(list) for field in TERMS}

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def memory(self) -> int:
        """About how many bytes all this takes, also while it is written."""
        fields = list(self._fields.values())
        places = sum(field.places for field in fields)
        found = sum(len(field.found) for field in fields) + sum(map(len, self._exact.values()))
        return places * _PLACE + found * _TERM + len(self) * _DOCUMENT

    def add(self, document: Document) -> None:
        number = len(self._keys)
        for field, values in texts(document).items():
            self._fields[field].add(number, values)
        for field, found in exact_terms(document).items():
            listed = self._exact[field]
            for term in found:
                listed[term].append(number)
        self._keys.append(document.key)
        self._dates.append(document.date)
        self._sizes.append(document.size)
        self._stored.append(pack_stored(shown(document)))
        self._ids.append(ids.pack(document.id, document.refers, document.topic, document.is_reply))

    def segment(self, folder: str) -> SegmentRecord:
        """Write a segment of all documents, one at least, in the order of (date, key)."""
        order = sorted(range(len(self)), key=lambda number: (self._dates[number], self._keys[number]))
        ranks = array("I", bytes(4 * len(self)))
        for rank, number in enumerate(order):
            ranks[number] = rank
        columns = Columns(
            dates=array("q", map(self._dates.__getitem__, order)),
            sizes=array("q", map(self._sizes.__getitem__, order)),
            ordered=True,
            lengths={
                name: bytes(map(field.lengths.__getitem__, order)) for name, field in self._fields.items()
            },
            totals={name: field.total for name, field in self._fields.items()},
            keys=map(self._keys.__getitem__, order),
            stored=map(self._stored.__getitem__, order),
            ids=map(self._ids.__getitem__, order),
        )
        return write(folder, columns, self._lists(ranks))

    def _lists(self, ranks: Sequence[int]) -> Iterator[tuple[str, Lists]]:
        for name, field in sorted(self._fields.items()):
            yield name, field.lists(ranks)
        for name, found in sorted(self._exact.items()):
            yield name, _exact_lists(found, ranks)


def _exact_lists(found: dict[str, list[int]], ranks: Sequence[int]) -> Lists:
    for term, numbers in sorted(found.items()):
        yield term.encode(), ((sorted(map(ranks.__getitem__, numbers)), [1] * len(numbers), None),)


class _Found(dict[str, "array[int]"]):
    """Term -> places, ascending."""

    def __missing__(self, term: str) -> array[int]:
        made = self[term] = _Version.of(self[term[1:]]) if is_version(term) else array("I")
        return made


class _Version(array):  # type: ignore[type-arg]
    """The places of the number of a version: what is behind its `v` stands there, too."""

    number: array[int]

    @classmethod
    def of(cls, number: array[int]) -> Self:
        made = cls("I")
        made.number = number
        return made

    def append(self, place: int) -> None:
        super().append(place)
        self.number.append(place)


class _Field:
    """One field of all documents: `owners` has the document of every place, `begins` where each begins."""

    def __init__(self, stemming: str) -> None:
        self.found = _Found()
        self.lengths = bytearray()
        self.total = 0
        self.places = 0
        self._stemming = stemming
        self._owners = array("H")
        self._begins = array("I")

    def add(self, number: int, values: Iterable[str]) -> None:
        """A gap between the values keeps a phrase from beginning in one and ending in the next.

        A stem that is a term already is none again; stems and numbers of versions do not count.
        """
        found = self.found
        count = 0
        place = begin = self.places
        for value in values:
            listed = terms(value)
            for at, term in enumerate(listed, place):
                found[term].append(at)
            if self._stemming != "off":
                self._add_stems(place, listed, stems(value, listed, self._stemming))
            count += len(listed)
            place += len(listed) + 1
        self._begins.append(begin)
        self._owners += array("H", (number,)) * (place - begin)
        self.places = place
        self.lengths.append(length_byte(count))
        self.total += count

    def _add_stems(self, place: int, listed: list[str], short: list[str]) -> None:
        for at, (term, stem) in enumerate(zip(listed, short, strict=True), place):
            if stem != term:
                self.found[stem_term(stem, self._stemming)].append(at)

    def lists(self, ranks: Sequence[int]) -> Lists:
        """Every term with its postings; `ranks` gives a document's number in the segment."""
        for term, places in sorted(self.found.items()):
            yield term.encode(), (self._postings(places, ranks),)

    def _postings(self, places: array[int], ranks: Sequence[int]) -> Postings:
        if len(places) == 1:
            owner = self._owners[places[0]]
            return [ranks[owner]], [1], [_alone[places[0] - self._begins[owner]]]
        counted = Counter(map(self._owners.__getitem__, places))
        begins = [*map(self._begins.__getitem__, counted)]
        weights = [*counted.values()]
        if len(weights) == len(places):
            values = [*map(_alone.__getitem__, map(sub, places, begins))]
        else:
            values = _values(places, weights, begins)
        return ascending([*map(ranks.__getitem__, counted)], weights, values)


def _values(places: array[int], counts: Sequence[int], begins: Sequence[int]) -> list[bytes]:
    """The values of postings with so many places each, in documents that begin there."""
    steps = [0, *map(sub, places[1:], places)]
    starts = [*accumulate(counts[:-1], initial=0)]
    for start, begin in zip(starts, begins, strict=True):
        steps[start] = places[start] - begin
    opcodes = [*map(INTEGERS.__getitem__, steps)]
    values: list[bytes] = []
    for start, count in zip(starts, counts, strict=True):
        if count == 1:
            values.append(_alone[steps[start]])
        else:
            inside = b"".join(opcodes[start : start + count])
            before, after = _frame(count, len(inside))
            values.append(before + inside + after)
    return values


class _Alone(dict[int, bytes]):
    """A position -> the opcodes of a value that has only that one; the small ones are remembered."""

    def __missing__(self, position: int) -> bytes:
        made = string(packed(1, INTEGERS[position]))
        if position < _CACHED:
            self[position] = made
        return made


_alone = _Alone()


@lru_cache(maxsize=4096)
def _frame(count: int, size: int) -> tuple[bytes, bytes]:
    """What stands before and after so many bytes of opcodes in a value of several positions."""
    whole = string(packed(count, bytes(size)))
    return whole[: -size - 2], whole[-2:]
