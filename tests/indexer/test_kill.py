"""kill -9 while documents are deleted and while a process merges: afterwards all is as in a fresh index."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from archiver.errors import StoreError
from archiver.indexer import drain
from archiver.search.index import Index, open_index
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from archiver.store.maildir import key_of
from archiver.store.rebuild import rebuild
from tests.cli.home import until
from tests.indexer.fresh import assert_as_fresh
from tests.indexer.test_bulk import dated
from tests.search.whoosh.test_kill import killed_at
from tests.store.tree import Tree

MERGER = """\
import os, sys
from archiver.search.index import open_index
from archiver.search.whoosh import write

def told(folder, segments, into, merge=write.merge):
    print(os.getpid(), flush=True)
    made = merge(folder, segments, into)
    print("merged", flush=True)
    return made

write._IN_PROCESS, write.merge = 0, told
if __name__ == "__main__":
    while open_index(sys.argv[1]).maintain():
        pass
"""

STEPS = 30
"""Touches of the file system that a drain of a few changes has at least."""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(str(tmp_path / "archive"))
    yield made
    made.ledger.close()


@pytest.fixture
def index(tree: Tree) -> Iterator[Index]:
    opened = open_index(index_path(tree.root))
    yield opened
    opened.close()


def keys(*numbers: int) -> set[bytes]:
    return {key_of(dated(n)) for n in numbers}


def in_pieces(tree: Tree, index: Index, first: int, pieces: int, size: int = 3) -> None:
    """File and index so many messages, in segments of a few each."""
    inbox = tree.folder()
    for at in range(first, first + pieces * size, size):
        tree.file(inbox, [dated(n) for n in range(at, at + size)], at, "F" if at % 2 else "")
        drain(tree.ledger, index, nullcontext, tidy=False)


def drained(root: str) -> None:
    with Ledger(root) as ledger:
        drain(ledger, open_index(index_path(root)), nullcontext)


def killed_at_steps(tree: Tree, rounds: int, check: Callable[[Index], object]) -> None:
    """Kill a drain at so many of its steps, the last of which it survives, on a fresh copy each time.

    `check` looks at what the kill left; the next drain makes it what a fresh index is.
    """
    tree.ledger.close()
    now = f"{tree.root}-now"
    for step in [*random.Random(5).sample(range(STEPS), rounds), 1000]:
        subprocess.run(["cp", "-a", tree.root, now], check=True)
        assert killed_at(step, lambda: drained(now)) == (step < STEPS)
        with Ledger(now) as ledger, closing(open_index(index_path(now))) as index:
            check(index)
            drain(ledger, index, nullcontext)
            assert_as_fresh(ledger, index, Path(f"{now}-{step}"))
        subprocess.run(["rm", "-r", now], check=True)


class TestDeleting:
    def test_what_is_replaced(self, tree: Tree, index: Index, rounds: int) -> None:
        in_pieces(tree, index, 1, 3)
        tree.ledger.touch(keys(2, 5, 6, 9))

        def check(killed: Index) -> None:
            assert killed.keys() == keys(*range(1, 10))
            assert killed.count() == 9

        killed_at_steps(tree, rounds, check)

    def test_what_another_ledger_lacks(self, tree: Tree, index: Index, rounds: int) -> None:
        in_pieces(tree, index, 1, 3)
        for path in Path(tree.directory(tree.folder()), "cur").glob("*U=[457]:*"):
            path.unlink()
        tree.file(tree.folder(), [dated(10)], first=10)
        rebuild(tree.lose_ledger())
        left = keys(1, 2, 3, 6, 8, 9)

        def check(killed: Index) -> None:
            assert killed.keys() in (keys(*range(1, 10)), left, left | keys(10))
            assert killed.count() == len(killed.keys())

        killed_at_steps(tree, rounds, check)


class TestMerging:
    def test_killed_while_a_process_merges(
        self, tree: Tree, index: Index, tmp_path: Path, rounds: int
    ) -> None:
        script = tmp_path / "merger.py"
        script.write_text(MERGER)
        chance = random.Random(11)
        for number in range(rounds):
            in_pieces(tree, index, 1 + 30 * number, 9)
            tree.ledger.touch(keys(2 + 30 * number, 9 + 30 * number))
            drain(tree.ledger, index, nullcontext, tidy=False)
            state, held = index.state(), index.keys()
            with merging(script, tree) as (process, _):
                time.sleep(chance.uniform(0, 0.1))  # any instant will do
                process.kill()
            other = open_index(index_path(tree.root))
            assert (other.state(), other.keys(), other.count()) == (state, held, len(held))
            drain(tree.ledger, other, nullcontext, tidy=False)
            assert_as_fresh(tree.ledger, other, tmp_path / f"fresh-{number}")
            drain(tree.ledger, other, nullcontext)
            assert_as_fresh(tree.ledger, other, tmp_path / f"fresh-{number}")
            other.close()
        until(lambda: swept(tree, index))

    def test_the_process_that_merges_is_killed(self, tree: Tree, index: Index, tmp_path: Path) -> None:
        """Who asked for it is told, the drafts are gone at once, and the next one merges."""
        in_pieces(tree, index, 1, 9)
        script = tmp_path / "merger.py"
        script.write_text(MERGER.replace("merge(folder", "os.read(0, 1) and merge(folder"))
        with merging(script, tree) as (process, worker):
            os.kill(worker, signal.SIGKILL)
            assert process.stderr is not None
            assert f"{StoreError.__name__}: the process that merges" in process.stderr.read()
        assert not drafts(tree)
        assert_as_fresh(tree.ledger, index, tmp_path / "fresh")
        drain(tree.ledger, index, nullcontext)
        assert len(list(Path(index_path(tree.root)).glob("*.seg"))) == 2
        assert_as_fresh(tree.ledger, index, tmp_path / "fresh")


@contextmanager
def merging(script: Path, tree: Tree) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that merges, from the moment on at which its worker begins; and the number of that."""
    command = [sys.executable, str(script), index_path(tree.root)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())


def drafts(tree: Tree) -> list[Path]:
    return list(Path(index_path(tree.root)).glob("draft-*"))


def swept(tree: Tree, index: Index) -> bool:
    """Whether a commit left no drafts; a worker whose parent was killed writes for a moment more."""
    tree.ledger.touch(keys(1))
    drain(tree.ledger, index, nullcontext)
    return not drafts(tree)
