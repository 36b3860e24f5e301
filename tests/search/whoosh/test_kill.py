"""kill -9 at every step of a commit, and at random: the index is what it was, or what it was to become."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import whoosh.index

from archiver.search.index import Index, IndexState, open_draft, open_index
from archiver.search.query import parse
from archiver.search.whoosh import record as records
from archiver.search.whoosh.commit import writing
from tests.search.contract import NOW, key, no_places, samples

_STEPS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock")


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that kills itself at the step-th touch of the file system; whether it died."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event in _STEPS or (event == "open" and arguments[2] & os.O_CREAT):
                seen += 1
                if seen > step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def holds(path: str, index: Index, numbers: set[int]) -> bool:
    """Whether the index holds these documents, says so everywhere, and stock Whoosh agrees."""
    with whoosh.index.open_dir(path).reader() as stock:
        assert stock.doc_count() == len(numbers)
    everything = index.search(parse("-absent", now=NOW), no_places, limit=1000)
    assert {hit.key for hit in everything.hits} == index.keys()
    return index.keys() == {key(number) for number in numbers}


def steps_until_done(path: str, work: Callable[[], object], check: Callable[[], bool]) -> list[bool]:
    """Kill the work at every step in turn, on a fresh copy each time; whether each left the new state."""
    outcomes = []
    for step in range(1000):
        fresh = f"{path}-{step}"
        subprocess.run(["cp", "-a", path, fresh], check=True)
        os.rename(fresh, f"{path}-now")
        died = killed_at(step, work)
        outcomes.append(check())
        subprocess.run(["rm", "-r", f"{path}-now"], check=True)
        if not died:
            return outcomes
    raise AssertionError("the work has no end")


@pytest.fixture
def path(tmp_path: object) -> str:
    path = f"{tmp_path}/index"
    index = open_index(path)
    for number in range(9):
        index.apply([samples()[number]], (), IndexState("L", number))
    return path


def test_a_commit_killed_at_every_step(path: str) -> None:
    new = [document for document in samples()[8:12]]

    def work() -> None:
        open_index(f"{path}-now").apply(new, [key(0)], IndexState("L", 100))

    def check() -> bool:
        index = open_index(f"{path}-now")
        done = index.state() == IndexState("L", 100)
        assert done or index.state() == IndexState("L", 8)
        assert holds(f"{path}-now", index, set(range(1, 12)) if done else set(range(9)))
        index.apply([samples()[20]], (), IndexState("L", 101))
        index.verify()
        assert index.state() == IndexState("L", 101)
        assert holds(f"{path}-now", index, {*(range(1, 12) if done else range(9)), 20})
        _nothing_is_left(f"{path}-now")
        return done

    outcomes = steps_until_done(path, work, check)
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) > 10 and outcomes.count(True) > 3


def test_adopting_killed_at_every_step(path: str) -> None:
    def work() -> None:
        index = open_index(f"{path}-now")
        with index.drafting() as place:
            portions = []
            for start in (8, 10):
                draft = open_draft(place)
                for document in samples()[start : start + 2]:
                    draft.add(document)
                portions.append(draft.write())
            index.adopt(portions, IndexState("L", 100), {key(11)})

    def check() -> bool:
        index = open_index(f"{path}-now")
        done = index.state() == IndexState("L", 100)
        assert done or index.state() == IndexState("L", 8)
        assert holds(f"{path}-now", index, set(range(11)) if done else set(range(9)))
        index.apply([samples()[20]], (), IndexState("L", 101))
        index.verify()
        assert holds(f"{path}-now", index, {*range(11 if done else 9), 20})
        _nothing_is_left(f"{path}-now")
        return done

    outcomes = steps_until_done(path, work, check)
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) > 10 and outcomes.count(True) > 3


def test_the_first_commit_killed_at_every_step(path: str) -> None:
    subprocess.run(["rm", "-r", path], check=True)
    os.mkdir(path, 0o700)

    def work() -> None:
        open_index(f"{path}-now").apply([samples()[1]], (), IndexState("L", 1))

    def check() -> bool:
        index = open_index(f"{path}-now")
        done = index.state() is not None
        assert index.keys() == ({key(1)} if done else set())
        index.apply([samples()[2]], (), IndexState("L", 2))
        assert holds(f"{path}-now", index, {1, 2} if done else {2})
        _nothing_is_left(f"{path}-now")
        return done

    outcomes = steps_until_done(path, work, check)
    assert outcomes == sorted(outcomes) and set(outcomes) == {False, True}


def test_a_merge_killed_at_every_step(path: str) -> None:
    def work() -> None:
        open_index(f"{path}-now").maintain()

    def check() -> bool:
        index = open_index(f"{path}-now")
        assert index.state() == IndexState("L", 8)
        assert holds(f"{path}-now", index, set(range(9)))
        done = not index.maintain()
        index.apply([samples()[9]], (), IndexState("L", 9))
        index.verify()
        assert holds(f"{path}-now", index, set(range(10)))
        _nothing_is_left(f"{path}-now")
        return done

    outcomes = steps_until_done(path, work, check)
    assert outcomes == sorted(outcomes) and set(outcomes) == {False, True}


def test_clearing_killed_at_every_step(path: str) -> None:
    def work() -> None:
        open_index(f"{path}-now").clear()

    def check() -> bool:
        index = open_index(f"{path}-now")
        cleared = index.state() is None
        assert cleared or holds(f"{path}-now", index, set(range(9)))
        index.apply([samples()[1]], (), IndexState("L", 9))
        index.verify()
        _nothing_is_left(f"{path}-now")
        return cleared

    outcomes = steps_until_done(path, work, check)
    assert outcomes == sorted(outcomes) and set(outcomes) == {False, True}


def _nothing_is_left(path: str) -> None:
    """Nothing but the files of the last commit and the lock."""
    generation = records.newest(path)
    assert generation is not None
    record = records.read(path, generation)
    expected = {records.name(generation), records.toc_name(generation), "MAIN_WRITELOCK"}
    assert set(os.listdir(path)) == expected | {segment.file for segment in record.segments}


WRITER = """
import sys
from archiver.search.index import IndexState, open_index
from tests.search.contract import key, samples
index = open_index(sys.argv[1])
number = index.state().change if index.state() else 0
prepared = samples()
print("ready", flush=True)
while True:
    number += 1
    at = number % 300
    index.apply(prepared[at : at + 3], [key((number - 100) % 300)], IndexState("L", number))
    if number % 5 == 0:
        index.maintain()
"""


def after(changes: int) -> set[bytes]:
    """The keys in the index of WRITER after so many changes."""
    keys: set[bytes] = set()
    for number in range(1, changes + 1):
        keys.discard(key((number - 100) % 300))
        keys |= {document.key for document in samples()[number % 300 : number % 300 + 3]}
    return keys


def assert_one_commit(reader: Index) -> None:
    """What is found is what some commit held that was the last one at the time."""
    first = change(reader)
    hits = reader.search(parse("alpha OR -absent", now=NOW), no_places, limit=1000)
    found = [hit.key for hit in hits.hits]
    assert len(found) == len(set(found)) == hits.total.count
    assert any(after(number) == set(found) for number in range(first, change(reader) + 1))


def change(index: Index) -> int:
    state = index.state()
    return state.change if state else 0


def test_killed_at_random_while_somebody_reads(tmp_path: object, rounds: int) -> None:
    path = f"{tmp_path}/index"
    reader = open_index(path)
    draw = random.Random()
    reached = 0
    for _ in range(rounds):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        assert writer.stdout and writer.stdout.readline() == b"ready\n"
        end = time.monotonic() + draw.uniform(0.05, 1)
        while time.monotonic() < end:
            assert_one_commit(reader)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        index = open_index(path)
        reached = max(reached, change(index))
        assert change(index) == reached
        assert index.keys() == after(reached) == reader.keys()
        index.verify()
    assert reached > 0


def test_the_lock_of_a_killed_writer_is_free(path: str) -> None:
    child = os.fork()
    if child == 0:
        with writing(path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert os.path.exists(f"{path}/writing")
    open_index(path).apply((), [key(0)], IndexState("L", 9))
    assert not os.path.exists(f"{path}/writing")
