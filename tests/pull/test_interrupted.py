from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.config import Folders
from archiver.errors import ConnectionLostError, DiskFullError, InterruptedRun, StoreError
from tests.conftest import missing
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, Scripted, mail, only
from tests.pull.steps import fetches, loaded, mended
from tests.servers.fake import FakeServer
from tests.servers.scripted import cut


class TestInterrupted:
    def test_cut_in_mid_literal(self, scripted: Scripted, archive_of: ArchiveOf) -> None:
        server = scripted()
        for number in range(1, 9):
            server.folder().add(mail(number, "x" * 1000))
        answer = 2600  # two whole messages and a part of the third
        server.on("UID FETCH", cut(answer), when=lambda c: "BODY" in c.arguments, times=1)
        archive = archive_of(server)
        with pytest.raises(ConnectionLostError) as caught:
            archive.sync()
        assert (caught.value.account, caught.value.folder) == ("work", "INBOX")
        assert set(checks.live(archive.root)) == {("INBOX", 1), ("INBOX", 2)}
        assert checks.findings(archive.root) == []
        report = only(archive.sync())
        assert report.stored == 6
        checks.converged(archive.root, {("INBOX", n): mail(n, "x" * 1000) for n in range(1, 9)})

    def test_lost_between_folders(self, archive: Archive) -> None:
        server = loaded(1, 2, 3)
        server.folder("Work").add(mail(4))
        for cut_after in (0, 1, 2):
            with pytest.raises(ConnectionLostError):
                archive.pull(server.connect(cut_after=cut_after))
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())

    def test_stopped(self, archive: Archive) -> None:
        server = loaded(*range(10))
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return asked > 4

        connection = server.connect()
        with pytest.raises(InterruptedRun):
            archive.pull(connection, stop=stop)
        assert connection.abandoned
        assert 0 < len(checks.live(archive.root)) < 10
        stored = set(checks.live(archive.root))
        connection = server.connect()
        archive.pull(connection)
        assert not {("INBOX", uid) for uid in fetches(connection.asked)} & stored
        checks.converged(archive.root, server.messages())

    @pytest.mark.parametrize("gone", [True, False])
    def test_what_a_killed_run_stored_is_known_though_its_folder_is_not_asked_again(
        self, archive: Archive, gone: bool
    ) -> None:
        server = loaded(1)
        server.folder("Work").add(mail(2))

        class DeathError(BaseException): ...

        def fault(step: str) -> None:
            if step == "durable" and len(checks.files(archive.root)) == 2:
                raise DeathError

        with pytest.raises(DeathError):
            archive.pull(server.connect(), fault=fault)
        if gone:
            del server.folders["Work"]
        else:
            archive.folders = Folders(exclude=("Work",))
        report = archive.pull(server.connect())
        assert [(r.folder, r.adopted) for r in report.folders if r.adopted] == [("Work", 1)]
        checks.readable(archive.root, mail(2))
        checks.converged(archive.root, server.messages())

    def test_what_is_lacking_and_what_vanished_may_be_as_many(self, archive: Archive) -> None:
        server = loaded(1, 2, 3, 4)
        archive.pull(server.connect())
        path = checks.files(archive.root)[0]
        path.unlink()
        mended(archive)
        kept = next(uid for _, uid in server.messages() if f",U={uid}:" not in path.name)
        server.folder().expunge(kept)
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())


class TestDisk:
    """A disk that refuses, after some of a group is there already."""

    def refused(self, archive: Archive, server: FakeServer, error: OSError) -> StoreError:
        """The error of a pull during which nothing can be written into tmp/."""
        real = os.open

        def refuse(path: str, flags: int, *rest: int, **named: int) -> int:
            if f"{archive.path.name}/mail" in str(path) and "/tmp/" in str(path).rpartition("/mail/")[2]:
                raise error
            return real(path, flags, *rest, **named)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(StoreError) as caught:
            patch.setattr(os, "open", refuse)
            archive.pull(server.connect())
        return caught.value

    def test_new_mail(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        server.folder().add(mail(2))
        error = self.refused(archive, server, PermissionError(13, "Permission denied"))
        assert (error.exit_code, error.account, error.folder) == (1, "work", "INBOX")
        assert "permissions" in (error.hint or "")
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())

    def test_full(self, archive: Archive) -> None:
        server = loaded(1)
        error = self.refused(archive, server, OSError(28, "No space left on device"))
        assert (error.exit_code, error.transient) == (75, True)
        assert "make room" in (error.hint or "")
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())

    def test_after_files_were_claimed(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        server.folder().renumber(9)
        server.folder().add(mail(3))
        self.refused(archive, server, OSError(28, "No space left on device"))
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == 3

    def test_after_files_were_linked_and_flags_changed(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        server.folder("Work").add(mail(1))
        server.folder("Work").add(mail(2))
        self.refused(archive, server, OSError(28, "No space left on device"))
        server.folder("Work").flag(1, {"\\Seen"})
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    if os.geteuid() != 0:
        missing("only root can mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("this machine mounts no tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("ballast", [0, 1_200_000, 1_700_000, 1_850_000])
def test_a_disk_that_is_full_in_the_middle(small_disk: Path, ballast: int) -> None:
    """At whatever write it happens: an error that says so, nothing lost, and the next run completes."""
    archive = Archive(small_disk / "archive")
    server = FakeServer()
    for number in range(40):
        server.folder("INBOX" if number % 2 else "Work").add(mail(number, "x" * 100_000))
    heavy = small_disk / "ballast"
    heavy.write_bytes(b"x" * ballast)
    with pytest.raises(DiskFullError) as caught:
        archive.pull(server.connect())
    assert (caught.value.exit_code, caught.value.transient) == (75, True)
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    checks.readable(archive.root, *checks.live(archive.root).values())
    archive.pull(server.connect())
    checks.converged(archive.root, server.messages())
