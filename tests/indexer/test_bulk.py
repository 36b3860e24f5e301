"""Much mail at once: newest first, every step kept, nothing skipped or doubled, whoever is killed."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import DamagedError, InterruptedRun, LockedError
from archiver.indexer import IndexReport, bulk, drain
from archiver.indexer import feed as feeding
from archiver.search.index import LATEST, Bulk, Index, IndexState, Stretch, open_index
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from archiver.store.maildir import key_of
from tests.cli.home import until
from tests.indexer.fresh import assert_as_fresh, up_to_date
from tests.indexer.test_drain import cut, flip, remove
from tests.store.tree import Tree, message

UNDATED = b"Subject: undated\r\n\r\nbody\r\n"
CHILD = """\
import sys
from contextlib import nullcontext
from archiver.indexer import bulk, drain, feed
from archiver.search.index import open_index
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
feed.FEW, bulk.SHARE, bulk._WORTH = 3, 10, 1
if __name__ == "__main__":
    with Ledger(sys.argv[1]) as ledger:
        print("ready", flush=True)
        drain(ledger, open_index(index_path(sys.argv[1])), nullcontext, workers=2)
"""

SLOW = """\
import signal, sys, time
from contextlib import nullcontext
from archiver.errors import InterruptedRun
from archiver.indexer import bulk, drain, shares
from archiver.search.index import open_index
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger

class Slow(shares.Documents):
    def read(self, queued):
        time.sleep(0.02)
        return super().read(queued)

shares.Documents = Slow
if __name__ == "__main__":
    asked = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    def advance(done, total):
        print(done, flush=True)
    with Ledger(sys.argv[1]) as ledger:
        index = open_index(index_path(sys.argv[1]))
        try:
            drain(ledger, index, nullcontext, workers=2, advance=advance, stop=lambda: bool(asked))
        except InterruptedRun:
            print("interrupted", flush=True)
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """More than three changes are a bulk, in shares of ten documents."""
    monkeypatch.setattr(feeding, "FEW", 3)
    monkeypatch.setattr(bulk, "SHARE", 10)
    made = Tree(str(tmp_path))
    yield made
    made.ledger.close()


@pytest.fixture
def index(tree: Tree) -> Iterator[Index]:
    opened = open_index(index_path(tree.root))
    yield opened
    opened.close()


def dated(number: int) -> bytes:
    """A message dated so many hours after its century began, as `Tree.file` dates INTERNALDATE."""
    day, hour = divmod(number, 24)
    return message(number).replace(b"02 Jan 2023 03:04:05", b"%02d Jan 2023 %02d:04:05" % (day + 2, hour))


def keys(numbers: range) -> set[bytes]:
    return {key_of(dated(n)) for n in numbers}


def assert_true(ledger: Ledger, index: Index) -> None:
    """The index holds what its state says, and nothing else, each once."""
    state = index.state()
    expected: set[bytes] = set()
    if state:
        expected = {queued.key for queued in ledger.changed(0, state.change)}
    if state and state.bulk:
        expected |= {
            queued.key
            for queued in ledger.changed(0, state.bulk.upto)
            if covers(state.bulk, (queued.received, queued.document))
        }
    assert index.keys() == expected
    assert index.count() == len(expected)


def covers(state: Bulk, document: tuple[int, int]) -> bool:
    ahead = (document < stretch.after and document >= stretch.last for stretch in state.ahead)
    return document >= state.reached or any(ahead)


def assert_done(tree: Tree, index: Index) -> None:
    assert index.state() == up_to_date(tree.ledger)
    assert index.keys() == tree.ledger.keys("1")
    assert index.count() == len(index.keys())
    index.verify()


class Watched:
    """The lock of an index; what it held whenever the lock was let go."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.seen: list[tuple[IndexState | None, set[bytes]]] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        yield
        self.seen.append((self._index.state(), self._index.keys()))

    @property
    def sizes(self) -> list[int]:
        return [len(held) for _, held in self.seen]


def test_newest_first_and_true_at_every_step(
    tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_WORTH", 1)
    tree.file(tree.folder(), [dated(n) for n in range(45)])
    lock = Watched(index)
    told: list[tuple[int, int]] = []
    report = drain(
        tree.ledger, index, lock, workers=2, advance=lambda done, total: told.append((done, total))
    )
    assert (report.added, report.unreadable) == (45, [])
    assert_done(tree, index)
    assert sorted(set(lock.sizes)) == [0, 8, 16, 24, 32, 40, 45]
    assert lock.sizes == sorted(lock.sizes)
    for state, held in lock.seen:
        assert held == keys(range(45 - len(held), 45))
        if state and state.bulk:
            assert (state.change, state.bulk.upto, state.bulk.done) == (0, 45, len(held))
    assert told == sorted(told) and told[-1] == (45, 45)


def test_stopped_and_continued_where_it_was(tree: Tree, index: Index) -> None:
    tree.file(tree.folder(), [dated(n) for n in range(45)])
    lock = Watched(index)
    with pytest.raises(InterruptedRun):
        drain(tree.ledger, index, lock, workers=1, stop=lambda: bool(lock.seen) and lock.sizes[-1] >= 18)
    held = index.count()
    assert 18 <= held < 45
    assert_true(tree.ledger, index)
    told: list[tuple[int, int]] = []
    report = drain(tree.ledger, index, nullcontext, advance=lambda done, total: told.append((done, total)))
    assert report.added == 45 - held
    assert told[0][0] >= held and told[-1] == (45, 45)
    assert_done(tree, index)


def test_stopped_in_the_middle_of_shares_everything_read_is_kept(
    tree: Tree, index: Index, tmp_path: Path
) -> None:
    tree.file(tree.folder(), [dated(n) for n in range(600)])
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    reached = 0
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, str(script), tree.root], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            told = int(next(line for line in process.stdout if int(line) >= reached + 60))
            process.terminate()
            *_, last = process.stdout
        assert last == "interrupted\n"
        state = index.state()
        assert state and state.bulk and state.bulk.ahead and state.bulk.since
        assert index.count() == state.bulk.done >= told - 2  # those in the hands of the processes
        assert_true(tree.ledger, index)
        reached = index.count()
    assert drain(tree.ledger, index, nullcontext).added == 600 - reached > 0
    assert_done(tree, index)


@given(st.data())
def test_shares_in_any_order_and_early_ends_come_to_the_whole(data: st.DataObject) -> None:
    """Documents (n, n), newest first; each run divides what is left among shares, and keeps parts of some."""
    count = data.draw(st.integers(1, 40))
    state = Bulk(0, LATEST, LATEST, 0)
    for _ in range(data.draw(st.integers(1, 4))):
        left = [n for n in range(count, 0, -1) if not covers(state, (n, n))]
        size, after = data.draw(st.integers(1, 12)), state.reached
        shares = []
        for at in range(0, len(left), size):
            shares.append((after, left[at : at + size]))
            after = (shares[-1][1][-1],) * 2
        for after, share in data.draw(st.permutations(shares)):
            if kept := share[: data.draw(st.integers(0, len(share)))]:
                state = state.further(Stretch(after, (kept[-1],) * 2), len(kept))
                left = [n for n in left if n not in kept]
        assert [n for n in range(count, 0, -1) if not covers(state, (n, n))] == left
        assert state.done == count - len(left)
        if not left:
            assert state.ahead == () and state.since == 1


def test_mail_that_comes_meanwhile_does_not_wait_for_the_end(tree: Tree, index: Index) -> None:
    inbox = tree.folder()
    tree.file(inbox, [dated(n) for n in range(45)])
    lock = Watched(index)

    def arrive(done: int, total: int) -> None:
        if not arrived:
            arrived.append(done)
            tree.file(inbox, [dated(45), dated(46)], first=46, received=1_700_000_000)

    arrived: list[int] = []
    report = drain(tree.ledger, index, lock, workers=1, advance=arrive)
    assert report.added == 47
    assert_done(tree, index)
    during = [held for state, held in lock.seen if state and state.bulk and keys(range(45, 47)) <= held]
    assert during and len(during[0]) < 47


def locked() -> nullcontext[None]:
    raise LockedError("somebody else does it")


def test_who_comes_while_a_bulk_goes_on_adds_what_is_new_and_leaves_the_rest(
    tree: Tree, index: Index
) -> None:
    inbox = tree.folder()
    tree.file(inbox, [dated(n) for n in range(45)])
    other = open_index(index_path(tree.root))
    reports: list[IndexReport] = []

    def meanwhile(done: int, total: int) -> None:
        if index.count() and not reports:
            tree.file(inbox, [dated(45)], first=46, received=1_700_000_000)
            with Ledger(tree.root) as ledger:
                reports.append(drain(ledger, other, nullcontext, bulk_lock=locked))
                assert_true(ledger, other)
            assert other.hit(key_of(dated(45)))

    report = drain(tree.ledger, index, nullcontext, workers=1, advance=meanwhile)
    assert (reports[0].added, report.added) == (1, 45)
    assert_done(tree, index)
    other.close()


def test_what_was_indexed_anew_meanwhile_is_not_put_back(tree: Tree, index: Index) -> None:
    """An older copy comes, and with it the date of a message, while a process has read the newer one."""
    inbox = tree.folder()
    tree.file(inbox, [*(dated(n) for n in range(9)), UNDATED])
    other = open_index(index_path(tree.root))
    dates: list[int] = []

    @contextmanager
    def lock() -> Iterator[None]:
        state = index.state()
        if state and state.bulk and not dates:
            dates.append(0)
            while not list(Path(index_path(tree.root)).glob("draft-*/*.seg")):
                time.sleep(0.01)
            with Ledger(tree.root) as ledger:
                older = tree.folder("Older")
                tree.file(older, [UNDATED], received=1_500_000_000)
                drain(ledger, other, nullcontext, bulk_lock=locked)
            hit = other.hit(key_of(UNDATED))
            assert hit
            dates[:] = [hit.date]
        yield

    drain(tree.ledger, index, lock, workers=1)
    hit = index.hit(key_of(UNDATED))
    assert hit and [hit.date] == dates == [1_500_000_060]
    assert_done(tree, index)
    other.close()


def test_an_older_copy_of_the_last_of_a_share_hides_nothing(
    tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when all is lined up; the run ends there. What is between the two dates is not done."""
    tree.file(tree.folder(), [dated(n) for n in range(45)])
    lined_up = tree.ledger.queue

    def then_an_older_copy(*line: Any) -> int:
        count = lined_up(*line)
        tree.file(tree.folder("Older"), [dated(36)], received=1_500_000_000)
        return count

    with monkeypatch.context() as patch:
        patch.setattr(tree.ledger, "queue", then_an_older_copy)
        with pytest.raises(InterruptedRun):
            drain(tree.ledger, index, nullcontext, workers=1, stop=lambda: index.count() > 0)
    assert 0 < index.count() < 45
    drain(tree.ledger, index, nullcontext)
    assert_done(tree, index)


def test_emptied_meanwhile_it_begins_again(tree: Tree, index: Index) -> None:
    tree.file(tree.folder(), [dated(n) for n in range(45)])
    other = open_index(index_path(tree.root))
    lock = Watched(index)
    cleared: list[int] = []

    def clear(done: int, total: int) -> None:
        if not cleared and index.count() >= 9:
            cleared.append(index.count())
            other.clear()

    drain(tree.ledger, index, lock, workers=1, advance=clear)
    assert cleared
    assert_done(tree, index)


def test_what_is_in_the_index_already_is_replaced(tree: Tree, index: Index) -> None:
    tree.file(tree.folder(), [dated(n) for n in range(20)])
    drain(tree.ledger, index, nullcontext)
    tree.ledger.touch(keys(range(5, 15)))
    assert drain(tree.ledger, index, nullcontext).added == 10
    assert_done(tree, index)


def test_those_that_cannot_be_read_are_said(tree: Tree, index: Index) -> None:
    paths = tree.file(tree.folder(), [dated(n) for n in range(45)])
    Path(paths[7]).unlink()
    Path(paths[30]).write_bytes(b"rot")
    report = drain(tree.ledger, index, nullcontext, workers=2)
    assert report.added == 43
    assert {lost.key for lost in report.unreadable} == {key_of(dated(7)), key_of(dated(30))}
    assert tree.ledger.last_change() == 45 and index.state() == up_to_date(tree.ledger)
    assert drain(tree.ledger, index, nullcontext) == IndexReport()


def test_files_that_other_programs_renamed(tree: Tree, index: Index) -> None:
    for path in map(Path, tree.file(tree.folder(), [dated(n) for n in range(12)])):
        path.rename(f"{path}S")
    assert drain(tree.ledger, index, nullcontext).added == 12
    assert_done(tree, index)


def test_a_process_writes_whenever_it_holds_enough(
    tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_LEAST", 5_000)
    tree.file(tree.folder(), [dated(n) for n in range(45)])
    assert drain(tree.ledger, index, nullcontext, workers=1, memory=1, tidy=False).added == 45
    assert_done(tree, index)
    assert len(list(Path(index_path(tree.root)).glob("*.seg"))) > 45 // 9


@pytest.mark.parametrize(
    ("count", "wanted", "memory", "processes"),
    [(100_000, 4, 512, 4), (100_000, 8, 512, 6), (100_000, 4, 200, 2), (100_000, 2, 64, 1), (500, 4, 512, 2)],
)
def test_processes_share_the_memory(count: int, wanted: int, memory: int, processes: int) -> None:
    found, each = bulk._divided(count, wanted, memory << 20, bulk._WORKER)
    assert found == processes
    assert each >= 24 << 20
    assert bulk._OWN + found * (bulk._WORKER + each) <= max(memory, 132) << 20


@pytest.mark.parametrize(("count", "processes"), [(1, 1), (401, 2), (18_000, 2), (100_000, 2), (100_001, 3)])
def test_shares_are_of_one_size_and_as_many_for_each_process(count: int, processes: int) -> None:
    size = bulk._share_size(count, processes)
    shares = -(-count // size)
    assert size <= bulk.SHARE
    assert count < 400 or shares % processes == 0


@pytest.mark.parametrize("harm", [cut, flip, remove])
def test_damaged_half_way_it_begins_again(
    tree: Tree, index: Index, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """Nobody knows what was lost of a bulk; that it is done again is said."""
    tree.file(tree.folder(), [dated(n) for n in range(45)])
    with pytest.raises(InterruptedRun):
        drain(tree.ledger, index, nullcontext, workers=1, stop=lambda: index.count() > 0)
    state = index.state()
    assert state and state.bulk and 0 < index.count() < 45
    harm(min(Path(index_path(tree.root)).glob("*.seg")))
    other = open_index(index_path(tree.root))
    report = drain(tree.ledger, other, nullcontext)
    assert report.added == 45
    assert re.match(r"\S+\.seg of the index|a file of the index is missing", report.rebuilt)
    assert_as_fresh(tree.ledger, other, tmp_path / "fresh")
    other.close()


@pytest.mark.parametrize("harm", [cut, flip, remove])
def test_damaged_while_it_goes_on(
    tree: Tree, index: Index, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    tree.file(tree.folder(), [dated(n) for n in range(45)])
    harmed: list[Path] = []

    def advance(done: int, total: int) -> None:
        if index.count() and not harmed:
            harmed.append(min(Path(index_path(tree.root)).glob("*.seg")))
            harm(harmed[0])
            # A search meets it, or the next who reads it all.
            with pytest.raises(DamagedError):
                open_index(index_path(tree.root)).verify()

    report = drain(tree.ledger, index, nullcontext, workers=1, advance=advance)
    assert report.rebuilt and report.added == 45
    assert_as_fresh(tree.ledger, index, tmp_path / "fresh")


class TestKilled:
    def test_at_any_instant_nothing_is_skipped_or_doubled(
        self, tree: Tree, index: Index, rounds: int, tmp_path: Path
    ) -> None:
        tree.file(tree.folder(), [dated(n) for n in range(300)])
        script = tmp_path / "child.py"
        script.write_text(CHILD)
        chance = random.Random(7)
        reached = 0
        for _ in range(2 * rounds):
            with subprocess.Popen(
                [sys.executable, str(script), tree.root], stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(chance.uniform(0, 2))  # any instant will do
                process.kill()
            assert_true(tree.ledger, index)
            assert index.count() >= reached
            reached = index.count()
        until(lambda: committed_and_swept(tree, index))
        assert_done(tree, index)


def committed_and_swept(tree: Tree, index: Index) -> bool:
    """Whether a commit left no drafts; a worker whose parent was killed writes for a moment more."""
    tree.ledger.touch(keys(range(1)))
    drain(tree.ledger, index, nullcontext)
    return not list(Path(index_path(tree.root)).glob("draft-*"))
