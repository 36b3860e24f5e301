"""Shares of a bulk: told of in order, and a message that is deadly costs itself only."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.errors import ArchiverError, DiskFullError, StoreError
from archiver.indexer import shares
from archiver.indexer.reading import Documents, Unreadable
from archiver.indexer.shares import Answer, Line, Share, Written, write_share, written
from archiver.search.index import Document, Index, IndexState, open_index
from archiver.store.layout import index_path
from archiver.store.maildir import key_of
from archiver.store.records import Queued
from archiver.workers import Step, Workers
from tests.store.tree import Tree, message


def reading(harm: Callable[[], object], number: int) -> Callable[[Share, Step], Answer]:
    """What a worker does for which reading that message is harmful."""

    class Harmed(Documents):
        def read(self, queued: Queued) -> Document | Unreadable:
            if queued.key == key_of(message(number)):
                harm()
            return super().read(queued)

    def work(share: Share, step: Step) -> Answer:
        shares.__dict__["Documents"] = Harmed
        return write_share(share, step)

    return work


def killed_by_4(share: Share, step: Step) -> Answer:
    return reading(lambda: os._exit(1), 4)(share, step)


def endless_at_4(share: Share, step: Step) -> Answer:
    return reading(lambda: time.sleep(600), 4)(share, step)


def killed_at_once(share: Share, step: Step) -> Answer:
    os._exit(1)


def killed_by_writing_many(share: Share, step: Step) -> Answer:
    answer = write_share(share, step)
    if share.line.count > 3:
        os._exit(1)
    return answer


def slow_at_the_first(share: Share, step: Step) -> Answer:
    if share.number == 0:
        time.sleep(1)
    return write_share(share, step)


def ending_with_3(share: Share, step: Step) -> Answer:
    """Comes to an early end, in the first share after three messages and in the second after five."""
    steps = itertools.count(1)
    return write_share(share, lambda: next(steps) > (3, 5)[share.number])


def ending_after_4_killed(share: Share, step: Step) -> Answer:
    """Message 4 is the third of the second share: what comes after it is not gone through any more."""
    held = share.line.count
    return reading(lambda: os._exit(1), 4)(share, lambda: step() or (share.number == 1 and held == 3))


def full(share: Share, step: Step) -> Answer:
    return share.number, DiskFullError("no space left for the index", hint="make room")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(str(tmp_path))
    made.file(made.folder(), [message(n) for n in range(1, 13)])
    yield made
    made.ledger.close()


@pytest.fixture
def index(tree: Tree) -> Iterator[Index]:
    opened = open_index(index_path(tree.root))
    yield opened
    opened.close()


def _queued(tree: Tree) -> list[Queued]:
    tree.ledger.queue(0, 1000, (1 << 62, 0))
    return list(tree.ledger.queued(0, 12))


def ended(
    tree: Tree, index: Index, work: Callable[[Share, Step], Answer]
) -> tuple[list[tuple[int, int]], Written]:
    """Write two shares of six with this worker, adopt them; number and size of each, and what was said."""
    queued = _queued(tree)
    made = Written()
    told: list[tuple[int, int]] = []
    with index.drafting() as place, Workers.stepping(work, 2) as pool:
        wanted = [
            Share(n, Line.of(queued[6 * n : 6 * n + 6]), (0, 0), tree.root, place, 1 << 30, 0)
            for n in range(2)
        ]
        for share, result in written(pool, wanted, lambda: None):
            told.append((share.number, share.line.count))
            made = made.plus(result)
        index.adopt(made.portions, IndexState(tree.ledger.id, 12))
    index.verify()
    return told, made


def done(tree: Tree, index: Index, work: Callable[[Share, Step], Answer]) -> tuple[list[int], Written]:
    """The same where every share comes to its end; their numbers, and what was said."""
    told, made = ended(tree, index, work)
    assert {count for _, count in told} == {6}
    return [number for number, _ in told], made


def test_a_line_packed_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_PIECE", 3)
    for count in range(1, 8):
        queued = [Queued(n, 10 - n, bytes([n]) * 32, n, (("a/b", f"file{n}", "S"),)) for n in range(count)]
        line = Line.of(queued)
        assert (line.count, list(line)) == (count, queued)
        assert line.last == queued[-1]
    assert Line.of([]).count == 0


def everything_but(*numbers: int) -> set[bytes]:
    return {key_of(message(n)) for n in range(1, 13) if n not in numbers}


def test_in_order_whoever_is_first(tree: Tree, index: Index) -> None:
    order, made = done(tree, index, slow_at_the_first)
    assert (order, made.unreadable) == ([0, 1], ())
    assert index.keys() == everything_but()


def test_a_message_that_kills_its_process(tree: Tree, index: Index) -> None:
    order, made = done(tree, index, killed_by_4)
    assert made.unreadable == (Unreadable(key_of(message(4)), "reading it kills the process"),)
    assert (order, index.keys()) == ([0, 1], everything_but(4))


def test_a_message_that_never_ends(tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_DEADLINE", 3.0)
    order, made = done(tree, index, endless_at_4)
    assert made.unreadable == (Unreadable(key_of(message(4)), "reading it takes too long"),)
    assert (order, index.keys()) == ([0, 1], everything_but(4))


def test_an_early_end_is_kept_newest_first(tree: Tree, index: Index) -> None:
    numbers = {key_of(message(n)): n for n in range(1, 13)}
    newest_first = [numbers[queued.key] for queued in _queued(tree)]
    kept, made = ended(tree, index, ending_with_3)
    assert kept == [(0, 3), (1, 5)]
    assert index.keys() == {key_of(message(n)) for n in [*newest_first[:3], *newest_first[6:11]]}
    assert made.unreadable == ()


def test_a_share_that_was_taken_apart_and_ended_early_is_none(tree: Tree, index: Index) -> None:
    kept, _ = ended(tree, index, ending_after_4_killed)
    assert kept == [(0, 6)]
    assert index.count() == 6


def test_a_share_that_is_too_much_to_write(tree: Tree, index: Index) -> None:
    order, made = done(tree, index, killed_by_writing_many)
    assert (order, made.unreadable, len(made.portions)) == ([0, 1], (), 4)
    assert index.keys() == everything_but()


@pytest.mark.parametrize(("work", "error"), [(killed_at_once, StoreError), (full, DiskFullError)])
def test_what_is_no_fault_of_the_mail_ends_all(
    tree: Tree, index: Index, work: Callable[[Share, Step], Answer], error: type[ArchiverError]
) -> None:
    with pytest.raises(error):
        done(tree, index, work)
    assert index.state() is None
