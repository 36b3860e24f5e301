"""What changes an index: documents in and out, portions adopted, segments merged."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import islice
from typing import TypeAlias

import msgspec

from archiver.errors import ArchiverError, StoreError
from archiver.search.index import Document, IndexState, Lock, Portion
from archiver.search.whoosh import record as records
from archiver.search.whoosh.commit import commit, writing
from archiver.search.whoosh.gather import MOST, Gathered
from archiver.search.whoosh.merge import due, merge
from archiver.search.whoosh.parts import Parts
from archiver.search.whoosh.record import Record, SegmentRecord
from archiver.search.whoosh.sweep import drafts
from archiver.workers import Crashed, Workers

# Merging more documents than these is worth a process of its own: this one has other threads.
_IN_PROCESS = 1000


_Work: TypeAlias = "tuple[str, tuple[SegmentRecord, ...], str]"


class _Written(msgspec.Struct, frozen=True):
    """A portion: a segment in a directory of drafts."""

    place: str
    segment: SegmentRecord


class WhooshDraft(Gathered):
    """The Draft protocol."""

    def __init__(self, place: str, stemming: str) -> None:
        super().__init__(stemming)
        self._place = place

    def write(self) -> Portion:
        with records.told("write"):
            segment = self.segment(self._place)
        return Portion(segment.documents, msgspec.json.encode(_Written(self._place, segment)))


def apply(folder: str, documents: Iterable[Document], removed: Iterable[bytes], state: IndexState) -> None:
    """`Index.apply` on the directory of an index."""
    latest = {document.key: document for document in documents}
    rest = iter(latest.values())
    with writing(folder) as before:
        segments = _without(folder, before, latest.keys() | set(removed))
        while some := list(islice(rest, MOST)):
            gathered = Gathered(state.stemming)
            for document in some:
                gathered.add(document)
            segments.append(gathered.segment(folder))
        commit(folder, before, segments, state)


def adopt(folder: str, portions: Iterable[Portion], state: IndexState, outdated: AbstractSet[bytes]) -> None:
    """`Index.adopt` on the directory of an index."""
    written = [msgspec.json.decode(portion.about, type=_Written) for portion in portions]
    with writing(folder) as before:
        keys = {key for each in written for key in Parts(each.place, each.segment).keys}
        segments = _without(folder, before, keys - outdated)
        for each in written:
            segments.append(_deleting(each.place, each.segment, outdated))
            os.rename(os.path.join(each.place, each.segment.file), os.path.join(folder, each.segment.file))
        commit(folder, before, [each for each in segments if not _empty(each)], state)


def maintain(folder: str, record: Record, lock: Lock, idle: Callable[[], None]) -> bool:
    """`Index.maintain` on the directory of an index, whose newest record this is."""
    chosen = due(record.segments)
    if not chosen:
        return False
    with _tidying_alone(folder) as alone:
        if not alone:
            return False
        with drafts(folder) as place:
            try:
                merged = _merged(folder, chosen, place, idle)
            except FileNotFoundError as error:
                if records.newest(folder) != record.generation:
                    return True  # a commit replaced them meanwhile
                raise records.missing() from error
            with lock(), writing(folder) as before:
                return before is not None and _replace(folder, before, chosen, place, merged)


@contextmanager
def _tidying_alone(folder: str) -> Iterator[bool]:
    """Whether nobody else is merging: two of them would do the same."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _merged(
    folder: str, chosen: Sequence[SegmentRecord], place: str, idle: Callable[[], None]
) -> SegmentRecord | None:
    work = folder, tuple(chosen), place
    result: SegmentRecord | Exception | Crashed[_Work] | None
    if sum(segment.documents for segment in chosen) <= _IN_PROCESS:
        result = _merge(work)
    else:
        with Workers(_merge, 1) as pool:
            (result,) = pool.map([work], idle=idle)
    if isinstance(result, Crashed):
        raise StoreError("the process that merges segments of the index was killed", hint="is memory short?")
    if isinstance(result, Exception):
        raise result
    return result


def _merge(work: _Work) -> SegmentRecord | Exception | None:
    """Merge, here or in a worker, which would not live to tell of an exception."""
    folder, chosen, place = work
    try:
        with records.told("write"):
            try:
                return merge(folder, chosen, place)
            except FileNotFoundError as error:
                return error
    except ArchiverError as error:
        return error


def _replace(
    folder: str, before: Record, chosen: Sequence[SegmentRecord], place: str, merged: SegmentRecord | None
) -> bool:
    """Put the merged segment where the chosen ones are, without what was deleted of them meanwhile."""
    now = {segment.id: segment for segment in before.segments}
    ids = [segment.id for segment in chosen]
    if not now.keys() >= set(ids):
        return True
    gone = set()
    with _nothing_missing():
        for segment in chosen:
            keys = Parts(folder, segment).keys
            gone |= {keys[number] for number in set(now[segment.id].deleted).difference(segment.deleted)}
    segments = [segment for segment in before.segments if segment.id not in ids]
    if merged:
        segments.append(_deleting(place, merged, gone))
        os.rename(os.path.join(place, merged.file), os.path.join(folder, merged.file))
    commit(folder, before, segments, before.state)
    return True


@contextmanager
def _nothing_missing() -> Iterator[None]:
    """Who has the lock and reads the last commit: a file of that which is not there is damage."""
    try:
        yield
    except FileNotFoundError as error:
        raise records.missing() from error


def _without(folder: str, record: Record | None, keys: AbstractSet[bytes]) -> list[SegmentRecord]:
    """The segments of a commit with the documents of these keys deleted, if anything is left of them."""
    with _nothing_missing():
        segments = [_deleting(folder, segment, keys) for segment in record.segments] if record else []
    return [segment for segment in segments if not _empty(segment)]


def _deleting(folder: str, segment: SegmentRecord, keys: AbstractSet[bytes]) -> SegmentRecord:
    if not keys:
        return segment
    parts = Parts(folder, segment)
    with parts.reading():
        gone = set(parts.find(keys)).difference(segment.deleted)
    if not gone:
        return segment
    return msgspec.structs.replace(segment, deleted=tuple(sorted(gone.union(segment.deleted))))


def _empty(segment: SegmentRecord) -> bool:
    return len(segment.deleted) == segment.documents
