"""What the documents of a query are together, without looking at one after the other.

People are counted over the term lists of the field `people`: few addresses write most of the mail.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter

from archiver.search.index import Survey
from archiver.search.people import LETTERS, Role
from archiver.search.tree import Node
from archiver.search.whoosh.evaluate import Reading
from archiver.search.whoosh.postings import frequency_and_first
from archiver.search.whoosh.totals import every


def survey(
    readings: Sequence[Reading], tree: Node | None, roles: Sequence[Role], with_numbers: bool
) -> Survey:
    """See `Index.survey`."""
    made = Survey(array("q"), array("q"), array("I"), {role: Counter() for role in roles})
    for reading in readings:
        found = matches(reading, tree)
        made.dates.extend(picked(reading.segment.dates, found))
        made.sizes.extend(picked(reading.segment.sizes, found))
        if with_numbers:
            made.numbers.extend(picked(reading.numbers, found))
        for role in roles:
            made.people[role].update(dict(_people(reading, role, found)))
    return made


def matches(reading: Reading, tree: Node | None) -> frozenset[int]:
    """The documents of a segment for which the tree holds; without one, all."""
    if tree is None:
        return reading.segment.live
    return frozenset[int]().union(*every(reading, tree, reading.everything))


def picked(column: Sequence[int], found: AbstractSet[int]) -> Sequence[int]:
    """The values of these documents."""
    if len(found) == len(column):
        return column
    numbers = sorted(found)
    if len(numbers) < 2:
        return [column[number] for number in numbers]
    values: tuple[int, ...] = itemgetter(*numbers)(column)
    return values


def _people(reading: Reading, role: Role, found: frozenset[int]) -> Iterator[tuple[str, int]]:
    """Every term of the role that some of the documents have, without its letter, and how many have it."""
    segment = reading.segment
    whole = len(found) == segment.record.documents
    with segment.reading():
        for term, entry in segment.terms.of("people", LETTERS[role]):
            frequency, first = frequency_and_first(entry)
            if frequency == 1:
                count = int(first in found)
            elif whole:
                count = frequency
            else:
                count = len(found.intersection(segment.documents(entry)))
            if count:
                yield term[1:].decode(), count
