"""kill -9 between every two steps of an import: done again, it comes to what an undisturbed one comes to."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from archiver.store.ledger import Ledger
from archiver.store.rebuild import rebuild
from tests.cli.conftest import home, pycache
from tests.cli.home import Home
from tests.exchange.conftest import Box, little, maildir, mbox_of
from tests.pull import checks
from tests.store.conftest import fast_directory
from tests.store.tree import message

__all__ = ["home", "pycache"]

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two folders, twins within and across, and a message that comes through a file."""
    into = tmp_path / "in"
    maildir(into / "a", *map(message, (1, 2, 3, 1, 4)), flags="S")
    large = message(9, "word\r\n" * 2000)
    into.joinpath("b.mbox").write_bytes(mbox_of(message(5), message(1), large, message(6)))
    return into


def test_at_every_step(source: Path) -> None:
    with fast_directory() as path:
        undisturbed = Box(path)
        steps: Counter[str] = Counter()
        with little():
            undisturbed.take(source, fault=lambda step: steps.update([step]))
        facts = undisturbed.facts()
        undisturbed.ledger.close()
    assert set(steps) == {"opened", "written", "linked", "synced", "moved", "durable", "known"}
    assert len(facts) == 8
    for step, times in steps.items():
        for number in sorted({1, times}):
            for lost in {False, number == 1}:
                with fast_directory() as path:
                    killed_there(path, source, (step, str(number)))
                    box = Box(path)
                    if lost:
                        rebuild(box.lose_ledger())
                    with little():
                        box.take(source)
                    assert box.facts() == facts, (step, number, lost)
                    assert checks.findings(path) == [], (step, number, lost)
                    checks.nothing_between(path)
                    box.ledger.close()


def killed_there(root: str, source: Path, death: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "tests.exchange.driver", root, str(source), *death]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done
    with Ledger(root) as ledger:
        ledger.rebuilt()


def test_at_any_instant(home: Home, tmp_path: Path, rounds: int) -> None:
    """The real command, killed at random moments until it comes to its end."""
    path = tmp_path / "long.mbox"
    with open(path, "wb") as file:
        for number in range(4000):
            file.write(mbox_of(message(number)))
    chance = random.Random(rounds)
    killed = 0
    for _ in range(rounds):
        with home.spawn("import", str(path), "--account", "old") as process:
            try:
                process.wait(chance.uniform(0.2, 1.5))
            except subprocess.TimeoutExpired:
                process.kill()
            killed += process.wait() == -signal.SIGKILL
    report = home.good("import", str(path), "--account", "old", "--json").json()
    assert killed and report["failed"] == 0
    found = home.good("verify", "--json").json()["found"]
    assert found["findings"] == []
    assert found["places"] == found["files"] == found["indexed"] == 4000
    checks.nothing_between(str(home.root))
