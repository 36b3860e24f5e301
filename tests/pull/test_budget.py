"""No more in a day than the provider, or the user, allows; and nothing lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.errors import UnavailableError
from archiver.pull import Budget
from archiver.store.ledger import Ledger
from tests.pull import checks
from tests.pull.conftest import Archive, mail
from tests.servers.fake import FakeServer


def test_the_pull_stops_and_goes_on_another_day(archive: Archive) -> None:
    server = FakeServer()
    for number in range(10):
        server.folder().add(mail(number))
    size = len(mail(0))
    first = Budget(limit=3 * size, spent=size)
    with pytest.raises(UnavailableError, match="daily limit") as caught:
        archive.pull(server.connect(), budget=first)
    assert caught.value.exit_code == 75 and 0 < (caught.value.wait or 0) <= 86400 * 1.1
    assert (first.spent, len(checks.live(archive.root))) == (2 * size, 2)
    with pytest.raises(UnavailableError):
        archive.pull(server.connect(), budget=Budget(limit=3 * size, spent=3 * size))
    assert len(checks.live(archive.root)) == 2
    assert archive.pull(server.connect(), budget=Budget(limit=100 * size)).complete
    checks.converged(archive.root, server.messages())


def test_without_a_limit_there_is_enough() -> None:
    budget = Budget()
    budget.spend(1 << 60)
    budget.insist()


def test_the_ledger_counts_by_day(tmp_path: Path) -> None:
    with Ledger(str(tmp_path)) as ledger:
        assert ledger.spent("work", "2024-03-05") == 0
        ledger.spend("work", "2024-03-05", 10)
        ledger.spend("work", "2024-03-05", 5)
        ledger.spend("home", "2024-03-05", 1)
        assert ledger.spent("work", "2024-03-05") == 15
        assert ledger.spent("work", "2024-03-06") == 0
        ledger.spend("work", "2024-03-06", 7)
        assert (ledger.spent("work", "2024-03-06"), ledger.spent("home", "2024-03-05")) == (7, 1)
