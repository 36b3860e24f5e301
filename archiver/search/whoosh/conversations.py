"""Conversations in the index: nothing is stored of them but the ids that messages have and name.

One is walked, from a message to whatever has or names one of its ids, by the term lists of all segments.
For a page far into many of them all messages are put into sets at once, which takes longer than some
walks, and the same for any page. Both find what `threads.groups` says.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TypeAlias

import msgspec

from archiver.search.ids import LOST, NONE, Ids, hashes, term_of
from archiver.search.index import CONVERSATION_LIMIT
from archiver.search.threads import SPAN, Sets
from archiver.search.tree import Thread
from archiver.search.whoosh.segment import Segment

Spot: TypeAlias = "tuple[int, int]"
"""A document: the number of its segment, its number there."""

WALKS = 100
"""So many conversations are walked for a page, whatever the index; for many more, sets are made of all."""

_DOCUMENTS_A_WALK = 200


class Walked(msgspec.Struct, frozen=True):
    """The documents of a conversation and what ties them; `whole`: there are no others."""

    found: Mapping[Spot, Ids]
    whole: bool


class Conversations:
    """Those of one commit; deleted documents tie nothing."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._deleted = [frozenset(segment.record.deleted) for segment in segments]
        self._guesses: dict[str, Mapping[Spot, Sequence[Spot]]] = {}

    def of(self, thread: Thread) -> Walked:
        """What the node stands for; nothing when no document is meant by it."""
        if thread.id:
            return self.walk(self._naming(thread.id))
        return self.walk(self._live((at, s.find({thread.key})) for at, s in enumerate(self._segments)))

    def walk(self, start: Iterable[Spot]) -> Walked:
        """Whatever hangs together with these documents."""
        found: dict[Spot, Ids] = {}
        asked = {""}
        waiting = deque(start)
        while waiting:
            spot = waiting.popleft()
            if spot in found:
                continue
            if len(found) == CONVERSATION_LIMIT:
                return Walked(found, whole=False)
            found[spot] = ids = self._segments[spot[0]].ids(spot[1])
            for term in {ids.own, *ids.refers} - asked:
                waiting += self._naming(term)
            asked.update((ids.own, *ids.refers))
            waiting += self._guessed(ids.topic).get(spot, ())
        return Walked(found, whole=True)

    def are_walked(self, count: int) -> bool:
        """Whether so many of them are walked in less time than it takes to have `sets`."""
        documents = sum(segment.record.documents for segment in self._segments)
        return "sets" not in vars(self) and count < max(WALKS, documents // _DOCUMENTS_A_WALK)

    def place(self, spot: Spot) -> tuple[int, bytes]:
        """Its place in the order of time."""
        segment = self._segments[spot[0]]
        return segment.dates[spot[1]], segment.key(spot[1])

    def _naming(self, term: str) -> Iterator[Spot]:
        """The documents that have this id or refer to it."""
        yield from self._having("id", term)
        yield from self._having("refers", term)

    def _having(self, field: str, term: str) -> Iterator[Spot]:
        return self._live((at, _having(each, field, term)) for at, each in enumerate(self._segments))

    def _live(self, found: Iterable[tuple[int, Iterable[int]]]) -> Iterator[Spot]:
        for at, numbers in found:
            for number in numbers:
                if number not in self._deleted[at]:
                    yield at, number

    def _guessed(self, topic: str) -> Mapping[Spot, Sequence[Spot]]:
        """Replies of this topic that name nobody, and whom they seem to answer: each to each."""
        if topic not in self._guesses:
            joined: defaultdict[Spot, list[Spot]] = defaultdict(list)
            if topic and (lost := set(self._having("topic", LOST + topic))):
                for before, spot in pairwise(sorted(self._having("topic", topic), key=self.place)):
                    if spot in lost and self.place(spot)[0] - self.place(before)[0] <= SPAN:
                        joined[before].append(spot)
                        joined[spot].append(before)
            self._guesses[topic] = dict(joined)
        return self._guesses[topic]

    @cached_property
    def sets(self) -> list[list[int]]:
        """For each segment the conversation of each document, as a number."""
        begins = list(accumulate((segment.record.documents for segment in self._segments), initial=0))
        sets = Sets(begins[-1])
        naming: dict[bytes, int] = {}
        lost: set[bytes] = set()
        for at, segment in enumerate(self._segments):
            with segment.reading():
                for number, packed in self._packed(at):
                    own, topic, *refers = hashes(packed)
                    document = begins[at] + number
                    for each in (own, *refers):
                        if each != NONE and (first := naming.setdefault(each, document)) != document:
                            sets.join(first, document)
                    if packed[0] and not refers:
                        lost.add(topic)
        for topic in lost - {NONE}:
            for (at, number), others in self._guessed(term_of(topic)).items():
                for other_at, other in others:
                    sets.join(begins[at] + number, begins[other_at] + other)
        return [[*map(sets.find, range(low, high))] for low, high in pairwise(begins)]

    def _packed(self, at: int) -> Iterator[tuple[int, bytes]]:
        """The ids of every document of a segment that has some."""
        for number, packed in enumerate(self._segments[at].all_ids()):
            if packed and number not in self._deleted[at]:
                yield number, packed


def _having(segment: Segment, field: str, term: str) -> AbstractSet[int]:
    """The documents of a segment with a term, deleted ones too."""
    with segment.reading():
        entry = segment.terms.get(field, term)
        return segment.postings(entry).within(range(segment.record.documents)) if entry else frozenset()


def page(
    conversations: Conversations, ordered: Callable[[int], Sequence[Spot]], offset: int, limit: int
) -> tuple[list[tuple[Spot, Sequence[Spot]]], bool]:
    """The page of conversations: the first document of each, and all; and whether others follow.

    `ordered` gives so many of the documents found, or all, in order.
    """
    if conversations.are_walked(offset + limit):
        try:
            return _page(_Walks(conversations), ordered, offset, limit)
        except _TooLargeError:
            pass
    return _page(_Sets(conversations), ordered, offset, limit)


def _page(
    known: _Walks | _Sets, ordered: Callable[[int], Sequence[Spot]], offset: int, limit: int
) -> tuple[list[tuple[Spot, Sequence[Spot]]], bool]:
    wanted, firsts = 0, dict[Spot, Spot]()
    while len(firsts) <= offset + limit:
        before, wanted = wanted, 4 * (wanted or offset + limit + 1)
        found = ordered(wanted)
        for spot in found[before:]:
            firsts.setdefault(known.name(spot), spot)
            if len(firsts) > offset + limit:
                break
        if len(found) < wanted:
            break
    chosen = dict(list(firsts.items())[offset : offset + limit])
    members = known.members(chosen)
    return [(spot, members[name]) for name, spot in chosen.items()], len(firsts) > offset + limit


class _TooLargeError(Exception):
    """A conversation was not walked to its end; walking on from each of its documents would take long."""


class _Walks:
    """Conversations found by walks; the name of each is one of its documents."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._names: dict[Spot, Spot] = {}
        self._found: dict[Spot, Sequence[Spot]] = {}

    def name(self, spot: Spot) -> Spot:
        if spot not in self._names:
            walked = self._conversations.walk([spot])
            if not walked.whole:
                raise _TooLargeError
            self._names.update(dict.fromkeys(walked.found, spot))
            self._found[spot] = list(walked.found)
        return self._names[spot]

    def members(self, names: Iterable[Spot]) -> dict[Spot, Sequence[Spot]]:
        return {name: self._found[name] for name in names}


class _Sets:
    """Conversations of all messages; the name of each is its number."""

    def __init__(self, conversations: Conversations) -> None:
        self._sets = conversations.sets

    def name(self, spot: Spot) -> Spot:
        return 0, self._sets[spot[0]][spot[1]]

    def members(self, names: Iterable[Spot]) -> dict[Spot, Sequence[Spot]]:
        found: dict[Spot, list[Spot]] = {name: [] for name in names}
        numbers = {number for _, number in found}
        for at, column in enumerate(self._sets):
            for number, name in enumerate(column):
                if name in numbers:
                    found[0, name].append((at, number))
        return dict(found)
