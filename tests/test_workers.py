"""Worker processes: every item answered once, whatever becomes of a worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.workers import Crashed, Step, Workers, worker_count

Task = tuple[str, Any]
Pool = Workers[Task, Any]


def act(task: Task) -> Any:
    """What the tests let workers do: one function, so that one pool serves most of them."""
    match task:
        case "square", number:
            return number * number
        case "echo", data:
            return data
        case "pid", _:
            return os.getpid()
        case "print_pid", seconds:
            os.write(1, b"%d\n" % os.getpid())
            time.sleep(seconds)
        case "sleep", seconds:
            os.write(1, b"%d\n" % os.getpid())
            time.sleep(seconds)
            return seconds
        case "sum", seconds:
            os.write(1, b"%d\n" % os.getpid())
            end = time.monotonic() + seconds
            return sum(1 for _ in iter(lambda: time.monotonic() < end, False))
        case "exit", code:
            os._exit(code)
        case "kill", number:
            os.kill(os.getpid(), number)
        case "half", _:
            # The beginning of an answer, as it is when the kill comes while a long one is sent.
            pipe = sys._getframe(1).f_locals["pipe"]
            os.write(pipe.fileno(), struct.pack("!i", 1000) + b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    return None


def walk(task: Task, step: Step) -> Any:
    match task:
        case "steps", count:
            for _ in range(count):
                step()
                time.sleep(0.3)
            return count
        case "stuck", count:
            for _ in range(count):
                step()
            time.sleep(600)


def delegate(task: Task, step: Step) -> Any:
    with Workers(act, 1) as workers:
        return list(workers.map([task]))


@pytest.fixture(scope="module")
def walkers() -> Iterator[Pool]:
    with Workers.stepping(walk, 2) as workers:
        list(workers.map([("steps", 0)] * 4))
        yield workers


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Workers(act, 2) as workers:
        yield workers


def finished(answers: Iterable[Any]) -> list[Any]:
    return sorted(answer for answer in answers if not isinstance(answer, Crashed))


def children() -> set[int]:
    return {process.pid for process in multiprocessing.active_children() if process.pid}


def test_every_item_is_answered_once(pool: Pool) -> None:
    assert finished(pool.map(("square", n) for n in range(100))) == [n * n for n in range(100)]
    assert list(pool.map([])) == []
    assert list(pool.map([("square", 7)])) == [49]


def test_in_processes_of_their_own(pool: Pool) -> None:
    pids = set(pool.map([("pid", None)] * 50))
    assert os.getpid() not in pids
    assert pids <= children()
    assert 1 <= len(pids) <= 2


def test_answers_come_as_they_are_ready(pool: Pool) -> None:
    answers = list(pool.map([("sleep", 0.5), *[("square", n) for n in range(4)]]))
    assert answers == [0, 1, 4, 9, 0.5]


def test_large_items_and_answers_do_not_lock_each_other(pool: Pool) -> None:
    items = [bytes([n]) * 3_000_000 for n in range(6)]
    assert finished(pool.map(("echo", item) for item in items)) == items


def test_one_item_more_is_taken_than_there_are_workers(pool: Pool) -> None:
    taken = 0

    def items() -> Iterator[Task]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield "square", number

    for answered, _ in enumerate(pool.map(items())):
        assert taken <= min(answered + 1 + 2 + 1, 20)


def test_a_worker_that_dies_costs_its_item_only(pool: Pool) -> None:
    deadly: list[Task] = [("exit", 3), ("exit", 0), ("kill", signal.SIGKILL), ("half", None)]
    squares: list[Task] = [("square", n) for n in range(9)]
    answers = list(pool.map([deadly[0], *squares[:4], deadly[1], *squares[4:], *deadly[2:]]))
    crashed = [answer.item for answer in answers if isinstance(answer, Crashed)]
    assert sorted(map(str, crashed)) == sorted(map(str, deadly))
    assert finished(answers) == [n * n for n in range(9)]
    assert len(children()) == 2


def test_a_worker_killed_while_it_waits(pool: Pool) -> None:
    victim, other = children()
    os.kill(victim, signal.SIGKILL)
    answers = list(pool.map([("pid", n) for n in range(6)]))
    assert [a.item[0] for a in answers if isinstance(a, Crashed)] == ["pid"]
    assert victim not in answers and other in answers


def test_an_item_that_never_ends_is_late(pool: Pool) -> None:
    list(pool.map([("square", 0)] * 4))  # both have started
    before, begun = children(), time.monotonic()
    squares: list[Task] = [("square", n) for n in range(4)]
    answers = list(pool.map([("sleep", 600), *squares], deadline=0.5))
    assert 0.5 <= time.monotonic() - begun < 30
    (crashed,) = [answer for answer in answers if isinstance(answer, Crashed)]
    assert (crashed.item, crashed.late) == (("sleep", 600), True)
    assert finished(answers) == [0, 1, 4, 9]
    assert len(children()) == 2 and len(children() & before) == 1
    assert finished(pool.map(squares)) == [0, 1, 4, 9]


def test_a_slow_reader_makes_no_item_late(pool: Pool) -> None:
    """What is answered in time counts, though it was read after the deadline."""
    list(pool.map([("square", 0)] * 4))
    answers = pool.map([("square", 2), ("sleep", 0.1)], deadline=0.6)
    assert next(answers) == 4
    time.sleep(0.8)
    assert list(answers) == [0.1]


def test_an_item_that_goes_on_is_not_late(walkers: Pool) -> None:
    answers = list(walkers.map([("steps", 5), ("stuck", 3)], deadline=0.6))
    assert finished(answers) == [5]
    (crashed,) = [answer for answer in answers if isinstance(answer, Crashed)]
    assert (crashed.item, crashed.late, crashed.steps) == (("stuck", 3), True, 3)


def test_what_is_under_way_is_told_between_the_answers(walkers: Pool) -> None:
    before = walkers.steps()
    seen: list[int] = []
    assert list(walkers.map([("steps", 5)], idle=lambda: seen.append(walkers.steps() - before))) == [5]
    assert 0 < seen[0] < seen[1] < seen[-1] == 5
    assert walkers.steps() == before + 5


def test_who_waits_can_give_up(pool: Pool) -> None:
    def give_up() -> None:
        raise ZeroDivisionError

    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), Workers(act, 1) as workers:
        list(workers.map([("sleep", 60)], idle=give_up))
    assert time.monotonic() - begun < 30


def test_a_worker_that_dies_is_not_late(pool: Pool) -> None:
    (crashed,) = pool.map([("exit", 3)], deadline=60)
    assert isinstance(crashed, Crashed) and not crashed.late


def test_ctrl_c_is_for_the_parent_to_hear(pool: Pool) -> None:
    """It reaches the whole process group; the workers go on until the parent says otherwise."""
    list(pool.map([("square", 0)] * 4))
    for pid in children():
        os.kill(pid, signal.SIGINT)
    answers = pool.map([("sleep", 0.2), ("sleep", 0.2)])
    for pid in children():
        os.kill(pid, signal.SIGINT)
    assert list(answers) == [0.2, 0.2]


def test_the_end_of_the_block_is_the_end_of_the_workers() -> None:
    before = children()
    with Workers(act, 2) as workers:
        started = children() - before
        assert list(workers.map([("square", 3)])) == [9]
    assert len(started) == 2
    assert not started & children()


def test_an_error_in_the_block_does_not_wait_for_long_work() -> None:
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), Workers(act, 2) as workers:
        for _ in workers.map([("square", 2), ("sleep", 60), ("sleep", 60)]):
            raise ZeroDivisionError
    assert time.monotonic() - begun < 30


def test_workers_may_have_workers() -> None:
    before = children()
    with Workers.stepping(delegate, 1, parents=True) as workers:
        assert list(workers.map([("square", 3), ("square", 4)])) == [[9], [16]]
    assert children() <= before


def test_a_worker_that_is_killed_takes_its_workers_along(capfd: pytest.CaptureFixture[str]) -> None:
    with Workers.stepping(delegate, 1, parents=True) as workers:
        (crashed,) = workers.map([("print_pid", 600)], deadline=5)
        assert isinstance(crashed, Crashed) and crashed.late
    inner = int(capfd.readouterr().out)
    end = time.monotonic() + 30
    while os.path.exists(f"/proc/{inner}") and "Z" not in Path(f"/proc/{inner}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_how_many() -> None:
    assert worker_count(7) == 7
    assert worker_count(0) == min(len(os.sched_getaffinity(0)), 4)
