"""The index on Whoosh's files.

Readers take no lock: they map the segments of the newest commit and look for a newer one before each
answer. What writes imports Whoosh and is imported when it is first needed (start-up time).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING

from archiver.errors import DamagedError
from archiver.search.ids import Ids
from archiver.search.index import (
    DISPLAY_LIMIT,
    SENDERS_LIMIT,
    Conversation,
    Document,
    Hit,
    Hits,
    IndexState,
    Linked,
    Lock,
    Order,
    Places,
    Portion,
    Survey,
    ThreadHit,
    ThreadHits,
    Total,
)
from archiver.search.limits import Limits
from archiver.search.people import Role
from archiver.search.tree import Node, Thread
from archiver.search.whoosh import record as records
from archiver.search.whoosh.evaluate import Reading
from archiver.search.whoosh.numbers import lacking, note
from archiver.search.whoosh.pages import by_date
from archiver.search.whoosh.record import Record
from archiver.search.whoosh.segment import Segment
from archiver.search.whoosh.totals import count, every, total

if TYPE_CHECKING:
    from archiver.search.whoosh.conversations import Conversations, Spot


class Snapshot:
    """One commit, opened; never changes."""

    def __init__(self, record: Record, segments: Sequence[Segment]) -> None:
        self.record = record
        self.segments = segments

    @cached_property
    def conversations(self) -> Conversations:
        from archiver.search.whoosh.conversations import Conversations

        return Conversations(self.segments)


class WhooshIndex:
    """The Index protocol in one directory; see there for what each call does."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._snapshot: Snapshot | None = None

    def close(self) -> None:
        self._snapshot = None

    def state(self) -> IndexState | None:
        snapshot = self._current()
        return snapshot.record.state if snapshot else None

    def count(self) -> int:
        return sum(segment.record.documents - len(segment.record.deleted) for segment in self._segments())

    def keys(self) -> set[bytes]:
        return {segment.key(number) for segment in self._segments() for number in segment.live}

    def hit(self, key: bytes) -> Hit | None:
        for segment in self._segments():
            if (number := segment.by_key.get(key)) is not None:
                return _hit(segment, number)
        return None

    def ids(self, key: bytes) -> Ids | None:
        for segment in self._segments():
            if (number := segment.by_key.get(key)) is not None:
                return segment.ids(number)
        return None

    def conversation(self, of: Thread) -> Conversation:
        if (snapshot := self._current()) is None:
            return Conversation((), whole=True)
        conversations, segments = snapshot.conversations, snapshot.segments
        walked = conversations.of(of)
        spots = sorted(walked.found, key=conversations.place)
        return Conversation(
            tuple(Linked(_hit(segments[at], number), walked.found[at, number]) for at, number in spots),
            walked.whole,
        )

    def search_threads(
        self, tree: Node, places: Places, order: Order = "newest", offset: int = 0, limit: int = 20
    ) -> ThreadHits:
        if (snapshot := self._current()) is None:
            return ThreadHits((), more=False)
        from archiver.search.whoosh.conversations import page

        readings = self._readings(places, whole=order == "relevance")
        found, more = page(
            snapshot.conversations,
            lambda wanted: _ordered(readings, tree, order, wanted)[0],
            offset,
            limit,
        )
        place = snapshot.conversations.place
        return ThreadHits(
            tuple(_thread_hit(readings, tree, first, sorted(spots, key=place)) for first, spots in found),
            more,
        )

    def search(
        self, tree: Node, places: Places, order: Order = "newest", offset: int = 0, limit: int = 20
    ) -> Hits:
        readings = self._readings(places, whole=order == "relevance")
        found, in_all = _ordered(readings, tree, order, offset + limit)
        return Hits(in_all(), tuple(_hit(readings[at].segment, number) for at, number in found[offset:]))

    def matches(self, tree: Node, places: Places) -> int:
        return sum(count(reading, tree, reading.everything) for reading in self._readings(places))

    def found(self, tree: Node, places: Places) -> Iterator[bytes]:
        for reading in self._readings(places):
            for some in every(reading, tree, reading.everything):
                yield from map(reading.segment.key, some)

    def survey(
        self, tree: Node | None, places: Places, roles: Sequence[Role] = (), with_numbers: bool = False
    ) -> Survey:
        from archiver.search.whoosh.survey import survey

        return survey(self._readings(places), tree, roles, with_numbers)

    def verify(self) -> None:
        while snapshot := self._current():
            try:
                return records.check_hashes(self.path, snapshot.record)
            except DamagedError:
                # A commit meanwhile deletes what has become old; then there is something newer to look at.
                if records.newest(self.path) == snapshot.record.generation:
                    raise

    def apply(self, documents: Iterable[Document], removed: Iterable[bytes], state: IndexState) -> None:
        from archiver.search.whoosh.write import apply

        apply(self.path, documents, removed, state)

    def drafting(self) -> AbstractContextManager[str]:
        from archiver.search.whoosh.sweep import drafts

        return drafts(self.path)

    def adopt(
        self, portions: Iterable[Portion], state: IndexState, outdated: AbstractSet[bytes] = frozenset()
    ) -> None:
        from archiver.search.whoosh.write import adopt

        adopt(self.path, portions, state, outdated)

    def maintain(self, lock: Lock = nullcontext, idle: Callable[[], None] = lambda: None) -> bool:
        snapshot = self._current()
        if snapshot is None:
            return False
        from archiver.search.whoosh.write import maintain

        return maintain(self.path, snapshot.record, lock, idle)

    def note_numbers(self, places: Places) -> None:
        from archiver.search.whoosh.commit import locked

        if lacking(self._segments(), places.ledger):
            with locked(self.path), records.told("write"):
                for segment in lacking(self._segments(), places.ledger):
                    note(segment, places)

    def recover(self) -> None:
        from archiver.search.whoosh.commit import recover

        recover(self.path)

    def mend(self, before: Callable[[IndexState | None, set[bytes]], None]) -> None:
        from archiver.search.whoosh.commit import mend

        self._snapshot = None
        mend(self.path, before)

    def clear(self) -> None:
        from archiver.search.whoosh.commit import clear

        self._snapshot = None
        clear(self.path)

    def _readings(self, places: Places, whole: bool = False) -> list[Reading]:
        snapshot = self._current()
        if snapshot is None:
            return []
        asked = _Asked(places)
        threads, limits = _Threads(snapshot), Limits()
        return [
            Reading(segment, asked, whole, partial(threads.documents, at), limits)
            for at, segment in enumerate(snapshot.segments)
        ]

    def _segments(self) -> Sequence[Segment]:
        snapshot = self._current()
        return snapshot.segments if snapshot else ()

    def _current(self) -> Snapshot | None:
        """The newest commit, opened; None when there is none.

        A file that is gone belongs to a commit that has just become old, unless that is still the newest.
        """
        missing = None
        with records.told("read"):
            while (generation := records.newest(self.path)) is not None:
                if self._snapshot and self._snapshot.record.generation == generation:
                    return self._snapshot
                if generation == missing:
                    raise records.missing()
                try:
                    self._snapshot = self._open(generation)
                except FileNotFoundError:
                    missing = generation
        self._snapshot = None
        return None

    def _open(self, generation: int) -> Snapshot:
        records.check_private(self.path)
        record = records.read(self.path, generation)
        opened = self._snapshot.segments if self._snapshot else ()
        same = {segment.record.hash: segment for segment in opened if segment.record in record.segments}
        return Snapshot(record, [same.get(each.hash) or Segment(self.path, each) for each in record.segments])


class _Asked:
    """`Places` that asks the same question only once, however many segments want the answer."""

    def __init__(self, places: Places) -> None:
        self.ledger = places.ledger
        self.numbers = places.numbers
        self._places = places
        self._answers: dict[Node, AbstractSet[int]] = {}

    def documents(self, tree: Node) -> AbstractSet[int]:
        if tree not in self._answers:
            self._answers[tree] = self._places.documents(tree)
        return self._answers[tree]


class _Threads:
    """Conversations as sets of documents, each walked only once, however many segments want it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._found: dict[Thread, dict[int, set[int]]] = {}

    def documents(self, at: int, node: Thread) -> AbstractSet[int]:
        """Those in this segment."""
        if node not in self._found:
            found: defaultdict[int, set[int]] = defaultdict(set)
            for segment, number in self._snapshot.conversations.of(node).found:
                found[segment].add(number)
            self._found[node] = dict(found)
        return self._found[node].get(at, frozenset())


def _ordered(
    readings: Sequence[Reading], tree: Node, order: Order, wanted: int
) -> tuple[list[Spot], Callable[[], Total]]:
    """The first `wanted` documents found, or all; how to know how many there are."""
    if order == "relevance":
        from archiver.search.whoosh.rank import by_score

        ranked, found = by_score(readings, tree, wanted)
        return [entry[3:] for entry in ranked], lambda: Total(found, exact=True)
    if order in ("size", "sender"):
        from archiver.search.whoosh.sort import by_sender, by_size

        page, found = (by_size if order == "size" else by_sender)(readings, tree, wanted)
        return page, lambda: Total(found, exact=True)
    dated, found, scans = by_date(readings, tree, order == "newest", wanted)
    return [entry[2:] for entry in dated], lambda: total(tree, found, scans)


def _thread_hit(readings: Sequence[Reading], tree: Node, first: Spot, members: Sequence[Spot]) -> ThreadHit:
    """A conversation of these members, in the order of time, of which `first` was found first."""
    matched = 0
    for at, reading in enumerate(readings):
        if inside := {number for segment, number in members if segment == at}:
            matched += len(reading.live(tree, range(min(inside), max(inside) + 1), inside))
    hits = [_hit(readings[at].segment, number) for at, number in members[:SENDERS_LIMIT]]
    return ThreadHit(
        hit=_hit(readings[first[0]].segment, first[1]),
        matched=matched,
        messages=len(members),
        senders=tuple(dict.fromkeys(hit.sender for hit in hits if hit.sender)),
    )


def _hit(segment: Segment, number: int) -> Hit:
    stored = segment.stored(number)
    return Hit(
        key=segment.key(number),
        date=segment.dates[number],
        size=segment.sizes[number],
        subject=stored.get("subject", "")[:DISPLAY_LIMIT],
        sender=stored.get("from", "")[:DISPLAY_LIMIT],
        has_attachment="attachment" in stored.get("has", "").split(),
    )
