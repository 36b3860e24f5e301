"""A bulk in shares: each is read, analysed and written by one process, and they are told of in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from archiver.attachments import Reading, Tally
from archiver.errors import ArchiverError, StoreError
from archiver.indexer.reading import Documents, Unreadable
from archiver.search.index import Portion, Received, Stretch, open_draft
from archiver.store.records import Queued
from archiver.workers import Crashed, Step, Workers

# Seconds without a step (a message, or writing what was gathered) before a process is given up.
_DEADLINE = 300.0
_PIECE = 200
# A process that dies before its first step is no fault of the mail.
_TRIES = 3


class Line(msgspec.Struct, frozen=True):
    """Documents newest first, packed: there are many, and several shares of them in memory."""

    count: int
    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, queued: Iterable[Queued]) -> Line:
        rest = iter(queued)
        pieces = []
        count = 0
        while some := list(islice(rest, _PIECE)):
            count += len(some)
            pieces.append(msgspec.msgpack.encode(some))
        return cls(count, tuple(pieces))

    def __iter__(self) -> Iterator[Queued]:
        for piece in self.pieces:
            yield from msgspec.msgpack.decode(piece, type=list[Queued])

    @property
    def last(self) -> Queued:
        return msgspec.msgpack.decode(self.pieces[-1], type=list[Queued])[-1]


class Share(msgspec.Struct, frozen=True):
    """Documents for one process, newest first. `number` is the share's place among all.

    They follow `after`. `root` is the archive, `place` one for drafts; `memory`: bytes of gathered documents
    after which they are written. `seen`: changes up to this one are in what was queued.
    """

    number: int
    line: Line
    after: Received
    root: str
    place: str
    memory: int
    seen: int
    stemming: str = "off"
    reading: Reading | None = None
    tries: int = 0

    @property
    def stretch(self) -> Stretch:
        last = self.line.last
        return Stretch(self.after, (last.received, last.document))


class Written(msgspec.Struct, frozen=True):
    """What became of a share, or of a part of it; `left`: so many at its end were not gone through."""

    portions: tuple[Portion, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    left: int = 0
    attachments: Tally = Tally()

    def plus(self, other: Written) -> Written:
        return Written(
            self.portions + other.portions,
            self.unreadable + other.unreadable,
            attachments=self.attachments.plus(other.attachments),
        )


Answer: TypeAlias = "tuple[int, Written | ArchiverError]"
Pool: TypeAlias = "Workers[Share, Answer]"


def write_share(share: Share, step: Step) -> Answer:
    """Write a share; runs in a worker. A step for each document, and one more."""
    try:
        with closing(Documents(share.root, share.reading)) as documents:
            return share.number, _write(share, documents, step)
    except ArchiverError as error:
        return share.number, error


def _write(share: Share, documents: Documents, step: Step) -> Written:
    draft = open_draft(share.place, share.stemming)
    portions: list[Portion] = []
    unreadable: list[Unreadable] = []
    left = share.line.count
    for queued in share.line:
        if step():
            break  # the newest of it are a share, too
        left -= 1
        document = documents.read(queued)
        if isinstance(document, Unreadable):
            unreadable.append(document)
            continue
        draft.add(document)
        if draft.memory > share.memory:
            portions.append(draft.write())
            draft = open_draft(share.place, share.stemming)
    step()
    if len(draft):
        portions.append(draft.write())
    return Written(tuple(portions), tuple(unreadable), left, documents.tally())


def written(pool: Pool, shares: Iterable[Share], idle: Callable[[], None]) -> Iterator[tuple[Share, Written]]:
    """What became of each share, in their order.

    A share that kills its process is taken apart: the message in hand alone, and what is before and after it.
    So in the end only that message is given up. When the processes were asked to end early, the newest part
    of a share that was under way is told of as a share.
    """
    source = iter(shares)
    again: deque[Share] = deque()
    made: dict[int, _Made] = {}
    following = 0

    def items() -> Iterator[Share]:
        while share := again.popleft() if again else next(source, None):
            made.setdefault(share.number, _Made(share))
            yield share

    while True:
        for answer in pool.map(items(), deadline=_DEADLINE, idle=idle):
            if isinstance(answer, Crashed):
                pieces, lost = _taken_apart(answer)
                again.extend(pieces)
                made[answer.item.number].add(lost, len(pieces) - 1)
            else:
                number, result = answer
                if isinstance(result, ArchiverError):
                    raise result
                made[number].add(result, -1)
            while following in made and made[following].done:
                finished = made.pop(following)
                following += 1
                yield finished.share, finished.written
        if not again or pool.ending:
            break
    yield from ((each.share, each.written) for each in made.values() if each.done)


class _Made:
    """What was made of a share so far, and how many parts of it are under way."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.written = Written()
        self._open = 1
        self._whole = True

    @property
    def done(self) -> bool:
        return self._open == 0 and self.share.line.count > 0

    def add(self, written: Written, change: int) -> None:
        """Count what was made of a part. A share that was taken apart and came to an early end is none."""
        self._whole = self._whole and change <= 0
        if written.left and not self._whole:
            return
        if written.left:
            line = Line.of(islice(self.share.line, self.share.line.count - written.left))
            self.share = replace(self.share, line=line)
        self.written = self.written.plus(written)
        self._open += change


def _taken_apart(crashed: Crashed[Share]) -> tuple[list[Share], Written]:
    """What to try in place of a share whose process died, and what is given up."""
    share = crashed.item
    if crashed.steps == 0 and not crashed.late:
        if share.tries == _TRIES:
            raise StoreError("processes that read mail are killed as they start", hint="is memory short?")
        return [replace(share, tries=share.tries + 1)], Written()
    queued = list(share.line)
    if len(queued) == 1:
        reason = "reading it takes too long" if crashed.late else "reading it kills the process"
        return [], Written((), (Unreadable(queued[0].key, reason),))
    return [replace(share, line=Line.of(part)) for part in _parts(queued, crashed.steps) if part], Written()


def _parts(queued: Sequence[Queued], steps: int) -> list[Sequence[Queued]]:
    """The message at that step alone, what is around it; two halves, when it was all being written."""
    at = max(steps, 1) - 1
    if at == len(queued):
        return [queued[: len(queued) // 2], queued[len(queued) // 2 :]]
    return [queued[:at], queued[at : at + 1], queued[at + 1 :]]
