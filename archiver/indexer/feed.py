"""An index and the ledger it is fed from: how far it is, and what changed since, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from archiver.attachments import Reading, Tally
from archiver.errors import DamagedError, InterruptedRun
from archiver.indexer.reading import Documents, Unreadable
from archiver.search.index import Attachments, Document, Index, IndexState, Lock
from archiver.search.places import LedgerPlaces, fed_from
from archiver.search.tree import Exact
from archiver.store.ledger import Ledger
from archiver.store.records import Queued

FEW = 400
"""So many changes are gone through at once: starting processes for them would cost more than it saves."""

BATCH_BYTES = 64 << 20
"""Messages of so many bytes are in memory until they are committed."""

PATIENCE = 2.0
"""Seconds that who asks to stop waits at least for what is in hand."""

_OTHER = "it was fed from another ledger"
_STEMMED = "its words were stemmed in another way"


class IndexReport(msgspec.Struct, kw_only=True):
    """What a drain did: documents added, removed, and those it could not read; why it was built anew.

    `left`: somebody else is at the rest.
    """

    added: int = 0
    removed: int = 0
    rebuilt: str = ""
    left: bool = False
    unreadable: list[Unreadable] = msgspec.field(default_factory=list)
    attachments: Tally = Tally()

    def plus(self, later: IndexReport) -> IndexReport:
        """What this drain and a later one did together."""
        return IndexReport(
            added=self.added + later.added,
            removed=self.removed + later.removed,
            rebuilt=self.rebuilt or later.rebuilt,
            left=later.left,
            unreadable=[*self.unreadable, *later.unreadable],
            attachments=self.attachments.plus(later.attachments),
        )


class AgainError(Exception):
    """The index is not what it was a moment ago: begin again."""


class Feed:
    """The two, the lock of the index, and a report of what was done; close it. Most methods need the lock.

    `reading` is what may be spent on attachments, None as long as they are none of the index's.
    """

    def __init__(
        self, ledger: Ledger, index: Index, lock: Lock, stemming: str, reading: Reading | None = None
    ) -> None:
        self.ledger = ledger
        self.index = index
        self.lock = lock
        self.stemming = stemming
        self.reading: Reading | None = None
        self.report = IndexReport()
        self._may_read = reading
        self._damages = 0
        self._documents = Documents(ledger.root)
        self._prepared: dict[tuple[bytes, int], Document | Unreadable] = {}

    @property
    def reads(self) -> bool:
        """Whether attachments are read, and not only known."""
        return self.reading is not None and not self.reading.known

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Around what is done with the index: found damaged, it is mended, or else emptied, then AgainError.

        Damaged for the third time it is left alone.
        """
        try:
            yield
        except DamagedError as exc:
            self._damages += 1
            if self._damages > 2:
                raise
            if self._damages > 1 or not mended(self.ledger, self.index):
                self._begin_anew(exc.message)
            else:
                self.report.rebuilt = f"{exc.message}; what it held is indexed again"
            raise AgainError from exc

    def _begin_anew(self, reason: str) -> None:
        self.index.clear()
        attachments = self.report.attachments
        self.report = IndexReport(removed=self.report.removed, rebuilt=reason, attachments=attachments)

    def is_ours(self, state: IndexState) -> bool:
        """Whether the index was fed from this ledger, and its words stemmed as they are to be."""
        return state.stemming == self.stemming and fed_from(self.ledger, state)

    def reached(self, state: IndexState, change: int) -> IndexState:
        """The state when everything up to this change was looked at."""
        mark = self.ledger.mark(change) or 0
        if state.bulk:
            return replace(state, bulk=replace(state.bulk, upto=change), mark=mark)
        return replace(state, change=change, mark=mark)

    def position(self) -> IndexState:
        """How far the index is, after making it one of this ledger."""
        with self.whole():
            self.index.recover()
            state = self.index.state()
        if state and state.stemming != self.stemming:
            self._begin_anew(_STEMMED)
            state = None
        if state is None:
            state = IndexState(self.ledger.id, 0, self.stemming)
            return self._reading_for(replace(state, attachments=self._attachments("off")))
        # Before looking at what is there, since a pull may go on: what it adds now comes as a change.
        last = self.ledger.last_change()
        if self.is_ours(state):
            return self._reading_for(self._with_attachments(state))
        if state.ledger == self.ledger.id:
            # Put back from a backup: numbers of documents noted since then are given out a second time.
            self.ledger.rename()
        self.report.rebuilt = self.report.rebuilt or _OTHER
        known = self.ledger.keys("1")
        with self.whole():
            present = self.index.keys()
        # First, so that a kill between the two leaves the index another ledger's, and all this is done again.
        self.ledger.touch(known - present)
        state = IndexState(self.ledger.id, 0, self.stemming, attachments=state.attachments)
        state = self.reached(state, last)
        with self.whole():
            self.index.apply((), present - known, state)
        self.report.removed += len(present - known)
        return self._reading_for(self._with_attachments(state))

    def _attachments(self, before: Attachments) -> Attachments:
        """Whether texts of attachments are to be in the index, which had them as `before` says."""
        if self._may_read is None:
            return "off"
        if self._may_read.known:
            return "off" if before == "off" else "some"
        return "on"

    def _with_attachments(self, state: IndexState) -> IndexState:
        """The state, after asking again for all that has attachments where they come in or go out.

        Not in the middle of a bulk, which ends as it began.
        """
        wanted = self._attachments(state.attachments)
        if wanted == state.attachments or (state.bulk and wanted != "some"):
            return state
        if wanted != "some":
            with self.whole():
                concerned = set(self.index.found(Exact("has", "attachment"), LedgerPlaces(self.ledger)))
            # First, so that a kill between the two repeats work and loses nothing.
            self.ledger.touch(concerned)
        state = replace(state, attachments=wanted)
        with self.whole():
            self.index.apply((), (), state)
        return state

    def _reading_for(self, state: IndexState) -> IndexState:
        """The state, after seeing to it that what comes is read as it says."""
        reading = self._may_read if state.attachments != "off" else None
        if reading != self.reading:
            self.close()
            self.reading = reading
            self._documents = Documents(self.ledger.root, reading)
        return state

    def prepare(self, stop: Callable[[], bool]) -> None:
        """Read the few documents that come next while the lock is not held: attachments may take long."""
        if self._may_read is None or self._may_read.known:
            return
        try:
            state = self.index.state() or IndexState(self.ledger.id, 0, self.stemming, attachments="on")
        except DamagedError:
            return
        if state.attachments == "off" or not self.is_ours(state) or self.is_much(state):
            return
        self._reading_for(state)
        size, end = 0, time.monotonic() + PATIENCE
        for queued in self.ledger.changed(state.seen, self.ledger.last_change()):
            if time.monotonic() > end and stop():
                raise InterruptedRun()
            self._prepared[queued.key, queued.received] = self._documents.read(queued)
            size += queued.size
            if size >= BATCH_BYTES:
                break

    def _read(self, queued: Queued) -> Document | Unreadable:
        return self._prepared.pop((queued.key, queued.received), None) or self._documents.read(queued)

    def close(self) -> None:
        self._prepared.clear()
        self.report.attachments = self.report.attachments.plus(self._documents.tally())
        self._documents.close()

    def is_much(self, state: IndexState) -> bool:
        """Whether more than a few changes were not looked at."""
        return self.ledger.last_change() - state.seen > FEW

    def catch_up(self, state: IndexState) -> int:
        """Go through the changes that were not looked at, a few of them; how many documents those were."""
        last = self.ledger.last_change()
        batch: list[Document] = []
        size = done = 0
        for queued in self.ledger.changed(state.seen, last):
            done += 1
            document = self._read(queued)
            if isinstance(document, Unreadable):
                self.report.unreadable.append(document)
                continue
            batch.append(document)
            size += queued.size
            if size >= BATCH_BYTES:
                self._add(batch, state)
                batch, size = [], 0
        if last > state.seen:
            self._add(batch, self.reached(state, last))
        return done

    def _add(self, batch: list[Document], state: IndexState) -> None:
        with self.whole():
            self.index.apply(batch, (), state)
        self.report.added += len(batch)


def mended(ledger: Ledger, index: Index) -> bool:
    """Let a damaged index go on with what is sound of it, and ask for the rest; False when that cannot be.

    In the middle of a bulk nobody knows what was lost of it.
    """

    def ask_again(state: IndexState | None, kept: set[bytes]) -> None:
        if state is None or state.ledger != ledger.id or state.bulk:
            raise DamagedError("the index is of no use")
        # First, so that a kill between the two repeats work and loses nothing.
        ledger.touch(ledger.keys("1") - kept)

    try:
        index.mend(ask_again)
    except DamagedError:
        return False
    return True
