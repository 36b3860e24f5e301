"""The index on Whoosh's files.

Readers take no lock: they map the segments of the newest commit and look for a newer one before each
answer. What writes imports Whoosh and is imported when it is first needed (start-up time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext

from archiver.errors import DamagedError
from archiver.search.ids import Ids
from archiver.search.index import Document, Hit, Hits, IndexState, Lock, Order, Places, Portion, Total
from archiver.search.tree import Node
from archiver.search.whoosh import record as records
from archiver.search.whoosh.evaluate import Reading
from archiver.search.whoosh.numbers import lacking, note
from archiver.search.whoosh.pages import by_date
from archiver.search.whoosh.record import REBUILD, Record
from archiver.search.whoosh.segment import Segment
from archiver.search.whoosh.totals import count, every, total


class Snapshot:
    """One commit, opened; never changes."""

    def __init__(self, record: Record, segments: Sequence[Segment]) -> None:
        self.record = record
        self.segments = segments


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

    def search(
        self, tree: Node, places: Places, order: Order = "newest", offset: int = 0, limit: int = 20
    ) -> Hits:
        readings = self._readings(places, whole=order == "relevance")
        wanted = offset + limit
        page: Sequence[tuple[int, int]]
        if order == "relevance":
            from archiver.search.whoosh.rank import by_score

            ranked, found = by_score(readings, tree, wanted)
            page, in_all = [entry[3:] for entry in ranked[offset:]], Total(found, exact=True)
        else:
            dated, found, scans = by_date(readings, tree, order == "newest", wanted)
            page, in_all = [entry[2:] for entry in dated[offset:]], total(tree, found, scans)
        return Hits(in_all, tuple(_hit(readings[at].segment, number) for at, number in page))

    def matches(self, tree: Node, places: Places) -> int:
        return sum(count(reading, tree, reading.everything) for reading in self._readings(places))

    def found(self, tree: Node, places: Places) -> Iterator[bytes]:
        for reading in self._readings(places):
            for some in every(reading, tree, reading.everything):
                yield from map(reading.segment.key, some)

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
        asked = _Asked(places)
        return [Reading(segment, asked, whole) for segment in self._segments()]

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
                    raise DamagedError(
                        "a file of the index is missing, or it was changed by others", hint=REBUILD
                    )
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


def _hit(segment: Segment, number: int) -> Hit:
    stored = segment.stored(number)
    return Hit(
        key=segment.key(number),
        date=segment.dates[number],
        size=segment.sizes[number],
        subject=stored.get("subject", ""),
        sender=stored.get("from", ""),
        has_attachment="attachment" in stored.get("has", "").split(),
    )
