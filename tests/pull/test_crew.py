"""A pull shared between several connections: the same archive, whatever one of them meets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from archiver.errors import ConnectError, ConnectionLostError, InterruptedRun, StoreError
from archiver.imap import Connection, connect
from archiver.pull import AccountReport
from archiver.pull.crew import Crew
from tests.conftest import AnyUser
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, mail, small_groups
from tests.pull.steps import delivered
from tests.servers.fake import FakeServer


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders are shared from ten messages on, in shares of five."""
    monkeypatch.setattr("archiver.pull.worker._SHARE", 5)
    with small_groups():
        yield


class Agency:
    """Hires connections to a server, and counts them; `cuts` is after how many messages each one is lost."""

    def __init__(self, server: FakeServer, *cuts: int | None, refuse: bool = False) -> None:
        self.server = server
        self.cuts = list(cuts)
        self.refuse = refuse
        self.hired = 0
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[Connection]:
        with self._lock:
            self.hired += 1
            cut = self.cuts.pop(0) if self.cuts else None
        if self.refuse:
            raise ConnectError("too many connections")
        yield self.server.connect(cut_after=cut)

    def pull(self, archive: Archive, connections: int = 4, **options: Any) -> AccountReport:
        return archive.pull(self.server.connect(), hire=self, connections=connections, **options)


def large(*, twins: bool = False) -> FakeServer:
    """Two folders of twenty messages, and ten of two."""
    server = FakeServer()
    for number in range(20):
        server.folder().add(mail(number % 7 if twins else number))
        server.folder("Large").add(mail(number % 7 if twins else 100 + number))
    for name in range(10):
        for number in range(2):
            server.folder(f"Small {name}").add(mail(1000 * name + number))
    return server


def test_is_the_same_archive(archive: Archive) -> None:
    server = large()
    agency = Agency(server)
    report = agency.pull(archive)
    assert agency.hired == 3
    assert report.total("stored") == len(server.messages()) == 60
    assert {r.folder: r.stored for r in report.folders}["Large"] == 20
    checks.converged(archive.root, server.messages())
    assert agency.pull(archive).folders == []


def test_nobody_is_hired_for_little(archive: Archive) -> None:
    server = FakeServer()
    server.folder().add(mail(1))
    agency = Agency(server)
    agency.pull(archive)
    assert agency.hired == 0


def test_a_server_that_wants_no_more_connections(archive: Archive) -> None:
    server = large()
    assert Agency(server, refuse=True).pull(archive).complete
    checks.converged(archive.root, server.messages())


@pytest.mark.parametrize("cuts", [(0, 0, 0), (1, 7, None), (3, 3, 3), (11, 2, 30)])
@pytest.mark.parametrize("twins", [False, True])
def test_helpers_whose_line_is_lost(archive: Archive, cuts: tuple[int | None, ...], twins: bool) -> None:
    """What one had begun another does again, and nothing is there twice."""
    server = large(twins=twins)
    report = Agency(server, *cuts).pull(archive)
    assert report.complete
    checks.converged(archive.root, server.messages())
    assert report.total("stored") == 60


def test_a_failed_message_is_counted_once(archive: Archive) -> None:
    server = large()
    server.folder("Large").mails[17].refused = "NO"
    report = Agency(server, 2, 2, 2).pull(archive)
    assert (report.total("failed"), report.total("waiting")) == (1, 1)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("attempt", range(3))
def test_uids_counted_anew_in_a_folder_of_twins(archive: Archive, same: bool, attempt: int) -> None:
    """Those who share the folder want the same files for the new UIDs."""
    server = large(twins=True)
    archive.pull(server.connect())
    before = len(checks.files(archive.root))
    for name in ("INBOX", "Large"):
        server.folder(name).expunge(2)
        server.folder(name).renumber(1 if same else 9)
    report = Agency(server, 9, None, 4).pull(archive)
    assert report.complete
    checks.converged(archive.root, server.messages())
    assert len(checks.files(archive.root)) == before


def test_a_stop_stops_them_all(archive: Archive) -> None:
    server = large()
    left = iter(range(30))
    lock = threading.Lock()

    def stop() -> bool:
        with lock:
            return next(left, None) is None

    with pytest.raises(InterruptedRun):
        Agency(server).pull(archive, stop=stop)
    assert 0 < len(checks.live(archive.root)) < 60
    assert checks.findings(archive.root) == []
    Agency(server).pull(archive)
    checks.converged(archive.root, server.messages())


def test_the_captains_line_is_lost(archive: Archive) -> None:
    server = large()
    with pytest.raises(ConnectionLostError):
        archive.pull(server.connect(cut_after=3), hire=Agency(server), connections=3)
    assert checks.findings(archive.root) == []
    Agency(server).pull(archive)
    checks.converged(archive.root, server.messages())


def test_an_error_of_the_disk_in_a_helper_ends_the_run(archive: Archive) -> None:
    server = large()

    def fault(step: str) -> None:
        if step == "moved" and threading.current_thread() is not threading.main_thread():
            raise StoreError("no more")

    with pytest.raises(StoreError, match="no more"):
        Agency(server).pull(archive, fault=fault)
    Agency(server).pull(archive)
    checks.converged(archive.root, server.messages())


def test_on_real_servers(
    any_mailbox: AnyUser, archive_of: ArchiveOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.pull.worker._NEAR", 0.0)
    messages = delivered(any_mailbox, *range(60))
    archive = archive_of(any_mailbox.server, user=any_mailbox.name)
    hired: list[str] = []

    @contextmanager
    def hire() -> Iterator[Connection]:
        with connect(archive.imap, lambda: any_mailbox.password) as connection:
            hired.append(threading.current_thread().name)
            yield connection

    assert archive.sync(hire=hire, connections=3).total("stored") == 60
    assert len(hired) == 2
    checks.converged(archive.root, messages)


class TestCrew:
    def crew(self, size: int = 3) -> Crew[str]:
        @contextmanager
        def hire() -> Iterator[str]:
            yield threading.current_thread().name

        return Crew(hire, size)

    def jobs(self, number: int) -> list[Callable[[str], int]]:
        return [lambda worker, n=n: n * n for n in range(number)]  # type: ignore[misc]

    @pytest.mark.parametrize("helpers", [0, 1, 5])
    def test_gives_the_results_in_order(self, helpers: int) -> None:
        with self.crew() as crew:
            assert crew.together(self.jobs(50), "captain", helpers) == [n * n for n in range(50)]
            assert crew.together([], "captain", helpers) == []

    def test_jobs_may_share_out_jobs(self) -> None:
        with self.crew() as crew:
            inner = [lambda worker: sum(crew.together(self.jobs(5), worker, 2)) for _ in range(4)]
            assert crew.together(inner, "captain", 0) == [30] * 4

    def test_the_first_error_ends_it(self) -> None:
        begun: list[int] = []

        def job(worker: str, n: int) -> int:
            begun.append(n)
            if n == 3:
                raise StoreError("no")
            time.sleep(0.001)  # a job lets the others get a word in
            return n

        with self.crew() as crew, pytest.raises(StoreError, match="no"):
            crew.together([lambda worker, n=n: job(worker, n) for n in range(1000)], "captain", 2)  # type: ignore[misc]
        assert len(begun) < 1000

    @pytest.mark.parametrize("first", [ConnectionLostError("lost"), InterruptedRun()])
    def test_an_error_of_the_disk_is_not_hidden_by_the_end_of_a_line(self, first: Exception) -> None:
        """Or the folder would pass for one that was left in good order."""
        both = threading.Barrier(2)

        def job(worker: str) -> None:
            both.wait(10)
            if worker == "captain":
                raise first
            while crew._batches[0].error is None:
                time.sleep(0.001)
            raise StoreError("no more")

        with self.crew() as crew, pytest.raises(StoreError, match="no more"):
            crew.together([job, job], "captain", 1)

    def test_leaves_no_thread_behind(self) -> None:
        before = threading.active_count()
        with self.crew() as crew:
            crew.together(self.jobs(10), "captain", 2)
        assert threading.active_count() == before
