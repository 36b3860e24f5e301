"""Locks the kernel keeps: one holder, and none the instant the holder is gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archiver.errors import InterruptedRun, LockedError, StoreError
from archiver.store.locks import holder, lock

HOLD = """\
import sys, time
from archiver.store.locks import lock
with lock(sys.argv[1], "account-work", "sync"):
    print("held", flush=True)
    sys.stdin.readline()
"""
# A run as it is: locks held while workers, started before, do something; each prints its PID when it does.
WORK = """\
import sys
from archiver.store.locks import lock
from archiver.workers import Workers
from tests.test_workers import act
if __name__ == "__main__":
    with Workers(act, 2) as workers, lock(sys.argv[1], "account-work", "sync"):
        list(workers.map([(sys.argv[2], 30)] * 2))
        list(workers.map([("print_pid", 0.3)] * 2))
        sys.stdin.readline()
"""


@contextmanager
def holding(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until a line is written to it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def is_free(root: Path) -> bool:
    try:
        with lock(str(root), "account-work", "test", wait=False):
            return True
    except LockedError:
        return False


def test_one_holder_and_it_says_who(tmp_path: Path) -> None:
    with holding(tmp_path) as other:
        assert holder(str(tmp_path), "account-work") == f"PID {other.pid}, sync"
        with pytest.raises(LockedError) as caught:
            lock(str(tmp_path), "account-work", "verify", wait=False).__enter__()
        assert caught.value.message == f"account-work is in use by PID {other.pid}, sync"
        assert caught.value.exit_code == 75
        with lock(str(tmp_path), "account-home", "verify", wait=False):
            pass
    assert holder(str(tmp_path), "account-work") is None


def test_nobody_holds_what_never_was(tmp_path: Path) -> None:
    assert holder(str(tmp_path), "account-work") is None
    assert os.listdir(tmp_path) == []


def test_one_process_cannot_have_it_twice_either(tmp_path: Path) -> None:
    with lock(str(tmp_path), "index", "one"), pytest.raises(LockedError):
        lock(str(tmp_path), "index", "two", wait=False).__enter__()
    with lock(str(tmp_path), "index", "three", wait=False):
        pass


def test_who_waits_is_told_once_and_then_gets_it(tmp_path: Path) -> None:
    told: list[str] = []
    with holding(tmp_path) as other:
        assert other.stdin is not None

        def waiting(who: str) -> None:
            told.append(who)
            threading.Timer(0.2, lambda: print("done", file=other.stdin, flush=True)).start()

        with lock(str(tmp_path), "account-work", "sync", waiting=waiting):
            assert holder(str(tmp_path), "account-work") == f"PID {os.getpid()}, sync"
        assert told == [f"PID {other.pid}, sync"]


def test_who_waits_can_be_stopped(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    with holding(tmp_path), pytest.raises(InterruptedRun):
        lock(str(tmp_path), "account-work", "sync", stop=lambda: next(asked)).__enter__()


def test_a_shorter_purpose_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    with lock(str(tmp_path), "index", "a purpose of many words"):
        pass
    with lock(str(tmp_path), "index", "x"):
        assert holder(str(tmp_path), "index") == f"PID {os.getpid()}, x"


def test_the_file_is_private_and_stays(tmp_path: Path) -> None:
    for _ in range(2):
        with lock(str(tmp_path / "root"), "index", "test"):
            pass
    path = tmp_path / "root" / "locks" / "index.lock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_released_whatever_happens_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock(str(tmp_path), "account-work", "test"):
        raise ZeroDivisionError
    assert is_free(tmp_path)


def test_where_no_lock_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "locks").touch()
    with pytest.raises(StoreError, match="cannot lock the archive"):
        lock(str(tmp_path), "index", "test").__enter__()


def test_free_the_instant_a_holder_is_killed(tmp_path: Path, rounds: int) -> None:
    for _ in range(rounds):
        with holding(tmp_path) as other:
            assert not is_free(tmp_path)
            other.kill()
            other.wait()
            assert is_free(tmp_path)


def test_asking_who_holds_it_stops_nobody_from_taking_it(tmp_path: Path) -> None:
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            holder(str(tmp_path), "daemon")

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    told: list[str] = []
    try:
        for _ in range(100):
            with lock(str(tmp_path), "daemon", "run", wait=False):
                pass
            with lock(str(tmp_path), "daemon", "run", waiting=told.append):
                pass
    finally:
        done.set()
        for asker in askers:
            asker.join()
    assert told == []


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("work", ["square", "sleep", "sum"])
def test_a_killed_parent_frees_its_locks_and_takes_its_workers_along(tmp_path: Path, work: str) -> None:
    """Whether the workers wait for work (after `square`), wait in it or compute."""
    script = tmp_path / "run.py"
    script.write_text(WORK)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), work],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert len(set(workers)) == 2 and all(map(is_running, workers))
        assert not is_free(tmp_path)
        parent.kill()
        parent.wait()
        assert is_free(tmp_path)
        killed = time.monotonic()
        while any(map(is_running, workers)) and time.monotonic() < killed + 5:
            time.sleep(0.01)
        assert time.monotonic() - killed < 1
