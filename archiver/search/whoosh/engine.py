"""The index on Whoosh's files.

Readers take no lock: they map the segments of the newest commit and look for a newer one before each
answer. What writes imports Whoosh and is imported when it is first needed (start-up time).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from heapq import nlargest

import msgspec

from archiver.errors import DamagedError
from archiver.search.index import Hit, Hits, IndexState, Order, Places, Prepared
from archiver.search.tree import Node
from archiver.search.whoosh import record as records
from archiver.search.whoosh.evaluate import evaluate
from archiver.search.whoosh.record import REBUILD, Record, SegmentRecord
from archiver.search.whoosh.segment import Segment


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
        return _state(snapshot.record) if snapshot else None

    def count(self) -> int:
        return sum(segment.record.documents - len(segment.record.deleted) for segment in self._segments())

    def keys(self) -> set[bytes]:
        return {key for segment in self._segments() for key in segment.by_key}

    def hit(self, key: bytes) -> Hit | None:
        for segment in self._segments():
            if (number := segment.by_key.get(key)) is not None:
                return _hit(segment, number)
        return None

    def search(
        self, tree: Node, places: Places, order: Order = "newest", offset: int = 0, limit: int = 20
    ) -> Hits:
        segments = self._segments()
        asked = _asked_once(places)
        found: list[AbstractSet[int]] = []
        for segment in segments:
            with segment.reading():
                found.append(evaluate(segment, tree, asked))
        page = _page(_values(segments, found, tree, order), segments, offset, limit)
        return Hits(sum(map(len, found)), tuple(_hit(segment, number) for segment, number in page))

    def verify(self) -> None:
        while snapshot := self._current():
            try:
                return records.check_hashes(self.path, snapshot.record)
            except DamagedError:
                # A commit meanwhile deletes what has become old; then there is something newer to look at.
                if records.newest(self.path) == snapshot.record.generation:
                    raise

    def apply(self, documents: Iterable[Prepared], removed: Iterable[bytes], state: IndexState) -> None:
        from archiver.search.whoosh.build import write_segment
        from archiver.search.whoosh.commit import commit, writing

        latest = {document.key: document for document in documents}
        gone = latest.keys() | set(removed)
        with writing(self.path) as storage:
            segments = [_without(segment, gone) for segment in self._segments()]
            segments = [segment for segment in segments if len(segment.deleted) < segment.documents]
            if latest:
                segments.append(write_segment(storage, latest.values()))
            commit(self.path, self._generation() + 1, segments, state)

    def maintain(self) -> bool:
        from archiver.search.whoosh.commit import commit, writing
        from archiver.search.whoosh.merge import due, merge

        if not due([segment.record for segment in self._segments()]):
            return False
        with writing(self.path) as storage:
            snapshot = self._current()
            if snapshot is None or not (chosen := due(snapshot.record.segments)):
                return False
            merged = merge(storage, [segment for segment in snapshot.segments if segment.record in chosen])
            segments = [segment for segment in snapshot.record.segments if segment not in chosen]
            segments += [merged] if merged else []
            commit(self.path, snapshot.record.generation + 1, segments, _state(snapshot.record))
        return True

    def clear(self) -> None:
        from archiver.search.whoosh.commit import clear

        self._snapshot = None
        clear(self.path)

    def _generation(self) -> int:
        return self._snapshot.record.generation if self._snapshot else 0

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


def _state(record: Record) -> IndexState | None:
    return None if record.ledger is None else IndexState(record.ledger, record.change)


def _without(segment: Segment, keys: AbstractSet[bytes]) -> SegmentRecord:
    """The segment with the documents of these keys deleted."""
    by_key = segment.by_key
    gone = {by_key[key] for key in keys & by_key.keys()}
    if not gone:
        return segment.record
    return msgspec.structs.replace(segment.record, deleted=tuple(sorted(gone.union(segment.record.deleted))))


def _asked_once(places: Places) -> Places:
    """The same question to the ledger once, however many segments ask it."""
    answers: dict[Node, AbstractSet[bytes]] = {}

    def ask(node: Node) -> AbstractSet[bytes]:
        if node not in answers:
            answers[node] = places(node)
        return answers[node]

    return ask


def _values(
    segments: Sequence[Segment], found: Sequence[AbstractSet[int]], tree: Node, order: Order
) -> list[list[tuple[float, int]]]:
    """For each segment (value, number) of what was found; the largest values are wanted."""
    if order == "relevance":
        from archiver.search.whoosh.rank import scores

        ranked = scores(segments, found, tree)
        return [
            [(by.get(number, 0.0), number) for number in numbers]
            for by, numbers in zip(ranked, found, strict=True)
        ]
    sign = 1 if order == "newest" else -1
    return [
        [(sign * segment.dates[number], number) for number in numbers]
        for segment, numbers in zip(segments, found, strict=True)
    ]


def _page(
    values: list[list[tuple[float, int]]], segments: Sequence[Segment], offset: int, limit: int
) -> list[tuple[Segment, int]]:
    """The part of the order that is asked for; equal values are ordered by date and key."""
    best = nlargest(offset + limit, (value for ranked in values for value, _ in ranked))
    if not best:
        return []
    least = best[-1]
    candidates = [
        (-value, -segment.dates[number], segment.key(number), segment, number)
        for segment, ranked in zip(segments, values, strict=True)
        for value, number in ranked
        if value >= least
    ]
    candidates.sort(key=lambda candidate: candidate[:3])
    return [(segment, number) for *_, segment, number in candidates[offset : offset + limit]]


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
