"""Folders renamed on a server with MAILBOXIDs (RFC 8474): the directory follows, and nothing is fetched."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.config import Folders
from archiver.store.layout import FOLDER_FILE
from archiver.store.ledger import Ledger
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, Scripted, mail, only
from tests.pull.steps import NOON, fetches, lose_ledger
from tests.pull.test_machine import MEMORY
from tests.servers.cyrus import User
from tests.servers.fake import FakeConnection, FakeServer
from tests.servers.pymap import Mail, Pymap


class DeathError(BaseException):
    """The process ends here, as far as the pull can tell."""


@pytest.fixture(params=[False, True], ids=["", "qresync"])
def server(request: pytest.FixtureRequest) -> FakeServer:
    """INBOX, A and B with two messages each, and A/sub with one; UIDVALIDITY tells none from another."""
    made = FakeServer(objectid=True, qresync=request.param)
    for number, name in enumerate(("INBOX", "A", "B", "A/sub")):
        for each in range(1 if name == "A/sub" else 2):
            made.folder(name).add(mail(10 * number + each), {"\\Seen"} if each else ())
    return made


def pulled(archive: Archive, server: FakeServer) -> FakeConnection:
    connection = server.connect()
    assert archive.pull(connection).complete
    return connection


def directories(archive: Archive) -> dict[str, str]:
    """Directories below the account's and the folders they say they are."""
    return {
        str(path.parent.relative_to(archive.mail)): json.loads(path.read_text())["raw"]
        for path in sorted(archive.mail.rglob(FOLDER_FILE))
    }


def follows(archive: Archive, server: FakeServer) -> None:
    """Nothing is fetched, the directories have the new names, nothing was ever gone."""
    with Ledger(archive.root) as ledger:
        ids = {folder.mailboxid: folder.id for folder in ledger.folders()}
    connection = pulled(archive, server)
    assert fetches(connection.asked) == []
    as_on(archive, server)
    with Ledger(archive.root) as ledger:
        assert {f.mailboxid: f.id for f in ledger.folders() if f.mailboxid in ids} == ids
        assert all(folder.listed for folder in ledger.folders())
    assert not any(spot.gone for spot in checks.spots(archive.root))
    assert archive.pull(server.connect()).folders == []


def as_on(archive: Archive, server: FakeServer) -> None:
    checks.converged(archive.root, server.messages())
    assert directories(archive) == {name: name for name in server.folders}
    with Ledger(archive.root) as ledger:
        assert {folder.mailboxid: (folder.raw, folder.name, folder.path) for folder in ledger.folders()} == {
            folder.mailboxid: (name, name, f"work/{name}") for name, folder in server.folders.items()
        }
    for path in archive.mail.rglob(FOLDER_FILE):
        described = json.loads(path.read_text())
        assert described["mailboxid"] == server.folders[described["raw"]].mailboxid


RENAMES: list[dict[str, str]] = [
    {"A": "C"},
    {"A": "Z/deep/er"},
    {"A": "A/below"},
    {"A": "C", "A/sub": "C/sub"},
    {"A/sub": "Sub"},
    {"B": "A/b"},
    {"A": "B", "B": "A"},
    {"A": "B", "B": "C"},
    {"B": "A", "A": "C", "A/sub": "B"},
    {"A": "B", "B": "A/sub", "A/sub": "A"},
    {"A": "A/sub", "A/sub": "A"},
    {"A": "a"},
]


class TestFollows:
    @pytest.mark.parametrize("names", RENAMES, ids=str)
    def test_the_new_names(self, archive: Archive, server: FakeServer, names: dict[str, str]) -> None:
        pulled(archive, server)
        server.rename(**names)
        follows(archive, server)
        server.rename(**{new: old for old, new in names.items()})
        follows(archive, server)

    @pytest.mark.parametrize("names", RENAMES, ids=str)
    def test_what_happened_meanwhile_as_well(
        self, archive: Archive, server: FakeServer, names: dict[str, str]
    ) -> None:
        pulled(archive, server)
        server.folder("A").add(mail(90))
        server.folder("B").flag(1, {"\\Flagged"})
        server.folder("A/sub").expunge(1)
        server.rename(**names)
        server.folder("A/Fresh").add(mail(1))
        connection = pulled(archive, server)
        assert fetches(connection.asked) == [3]
        as_on(archive, server)
        assert sum(spot.gone > 0 for spot in checks.spots(archive.root)) == 1

    @pytest.mark.parametrize("names", RENAMES, ids=str)
    def test_another_uidvalidity(self, archive: Archive, server: FakeServer, names: dict[str, str]) -> None:
        """An epoch as any other: files are claimed, by the names of their contents."""
        pulled(archive, server)
        inodes = {path.stat().st_ino for path in checks.files(archive.root)}
        server.rename(**names)
        for number, folder in enumerate(server.folders.values(), 7):
            folder.renumber(number)
        connection = server.connect()
        report = archive.pull(connection)
        assert fetches(connection.asked) == []
        assert report.total("claimed") == report.total("stored") == len(server.messages())
        as_on(archive, server)
        assert {path.stat().st_ino for path in checks.files(archive.root)} == inodes

    def test_and_is_told(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        server.rename(A="C")
        report = archive.pull(server.connect())
        assert (only(report, "C").renamed, report.total("stored")) == ("A", 0)

    def test_only_the_folders_that_are_asked_for(self, archive: Archive, server: FakeServer) -> None:
        """Or none with a new name: it is not gone all the same."""
        pulled(archive, server)
        server.rename(A="C", B="D")
        connection = server.connect()
        archive.pull(connection, only=["INBOX"])
        assert not any(spot.gone for spot in checks.spots(archive.root))
        follows(archive, server)

    def test_out_of_what_is_configured(self, archive: Archive, server: FakeServer) -> None:
        archive.folders = Folders(exclude=("X*",))
        pulled(archive, server)
        server.rename(A="X")
        follows(archive, server)

    def test_nobody_is_asked_again_and_again(self, archive: Archive, server: FakeServer) -> None:
        """That a folder was deleted does not make every pull look at every folder."""
        archive.folders = Folders(exclude=("X*",))
        server.folder("X").add(mail(1))
        pulled(archive, server)
        del server.folders["A"]
        pulled(archive, server)
        connection = pulled(archive, server)
        asked = [call for call in connection.asked if call[0] in ("status", "examine")]
        assert asked == [("status", "INBOX", "A/sub", "B")]


class TestAnotherOfThatName:
    def test_that_was_deleted(self, archive: Archive, server: FakeServer) -> None:
        """What it had stays, in a directory beside."""
        pulled(archive, server)
        del server.folders["B"]
        server.rename(A="B")
        connection = pulled(archive, server)
        assert fetches(connection.asked) == []
        checks.converged(archive.root, server.messages())
        checks.readable(archive.root, mail(20), mail(21))
        assert {(spot.folder, spot.uid) for spot in checks.spots(archive.root) if spot.gone} == {
            ("B", 1),
            ("B", 2),
        }
        aside = next(path for path in directories(archive) if path.startswith("B%~"))
        assert directories(archive)["B"] == "B" and len(checks.files_in(archive.root, f"work/{aside}")) == 2
        assert archive.pull(server.connect()).folders == []
        lose_ledger(archive)
        assert fetches(pulled(archive, server).asked) == []
        checks.converged(archive.root, server.messages())

    def test_and_again(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        for name in ("A", "A/sub", "INBOX"):
            del server.folders["B"]
            server.rename(**{name: "B"})
            assert fetches(pulled(archive, server).asked) == []
            checks.converged(archive.root, server.messages())
        assert len(checks.files(archive.root)) == 7
        assert directories(archive)["B"] == "B"

    def test_that_is_new(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        server.rename(A="C")
        server.folder("A").add(mail(90))
        server.folder("A").add(mail(91))
        assert fetches(pulled(archive, server).asked) == [1, 2]
        as_on(archive, server)

    def test_made_anew_is_another_life(self, archive: Archive, server: FakeServer) -> None:
        """Though nothing but its MAILBOXID tells."""
        pulled(archive, server)
        del server.folders["A"]
        server.folder("A").add(mail(90))
        server.folder("A").add(mail(91))
        server.folder("A").modseq = 3
        report = only(archive.pull(server.connect()), "A")
        assert (report.new_epoch, report.stored) == (True, 2)
        as_on(archive, server)
        checks.readable(archive.root, mail(10), mail(11))

    def test_in_a_directory_somebody_made(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        stranger = archive.mail / "C" / "cur" / "stranger"
        stranger.parent.mkdir(parents=True)
        stranger.write_bytes(b"mine")
        server.rename(A="C")
        assert fetches(pulled(archive, server).asked) == []
        assert stranger.read_bytes() == b"mine"
        stranger.unlink()
        as_on(archive, server)

    def test_whose_directory_was_deleted(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        for path in sorted((archive.mail / "B").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (archive.mail / "B").rmdir()
        server.rename(B="D")
        server.folder("D").add(mail(90))
        assert fetches(pulled(archive, server).asked) == [3]
        assert directories(archive)["D"] == "D"
        assert {path.name for path in (archive.mail / "D").iterdir() if path.is_dir()} == {
            "cur",
            "new",
            "tmp",
        }

    def test_in_the_directory_of_one_whose_name_is_lost(self, archive: Archive, server: FakeServer) -> None:
        server.folder("C").add(mail(90))
        pulled(archive, server)
        del server.folders["C"]
        (archive.mail / "C" / FOLDER_FILE).unlink()
        lose_ledger(archive)
        server.rename(A="C")
        assert fetches(pulled(archive, server).asked) == []
        checks.readable(archive.root, mail(90))
        assert len(checks.files_in(archive.root, "work/C")) == 1
        (beside,) = (path for path, raw in directories(archive).items() if raw == "C")
        assert beside.startswith("C%~") and len(checks.files_in(archive.root, f"work/{beside}")) == 2

    def test_in_the_directory_of_another_archive(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        copied = archive.mail / "C"
        shutil.copytree(archive.mail / "B", copied)
        told = {"raw": "C", "name": "C", "delimiter": "/", "mailboxid": "F99"}
        (copied / FOLDER_FILE).write_text(json.dumps(told))
        server.rename(A="C")
        assert fetches(pulled(archive, server).asked) == []
        assert json.loads((copied / FOLDER_FILE).read_text()) == told
        assert [f.kind for f in checks.findings(archive.root)] == ["copy"]

    def test_and_without_a_message(self, archive: Archive, server: FakeServer) -> None:
        """Nothing is known of it but its name, which is as good."""
        server.folder("Empty")
        server.folder("Void")
        pulled(archive, server)
        for names in ({"Empty": "Void", "Void": "Empty"}, {"A": "Empty", "Empty": "A"}):
            server.rename(**names)
            follows(archive, server)


class TestIsBelievedOfExamine:
    @pytest.mark.parametrize("garbage", ["F9", "F2", "F1", ""])
    @pytest.mark.parametrize("names", RENAMES, ids=str)
    def test_not_of_status(
        self, archive: Archive, server: FakeServer, names: dict[str, str], garbage: str
    ) -> None:
        """Which may be anything (Cyrus), also what is true of another."""
        pulled(archive, server)
        server.rename(**names)
        for new in names.values():
            server.folder(new).garbage = garbage or None
        connection = server.connect()
        archive.pull(connection)
        assert fetches(connection.asked) == []
        as_on(archive, server)

    def test_what_status_alone_says_is_no_rename(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        server.folder("C").garbage = server.folder("A").mailboxid
        server.folder("C").add(mail(90))
        del server.folders["A"]
        assert fetches(pulled(archive, server).asked) == [1]
        assert {spot.folder for spot in checks.spots(archive.root) if spot.gone} == {"A"}
        checks.converged(archive.root, server.messages())

    def test_but_not_that_two_mailboxes_are_one(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        one = server.folder("A").mailboxid
        del server.folders["A"]
        for name in ("C", "D"):
            server.folder(name).mailboxid = one
            server.folder(name).add(mail(90))
        for _ in range(2):
            pulled(archive, server)
            checks.converged(archive.root, server.messages())
            assert {name: directories(archive)[name] for name in "ACD"} == {"A": "A", "C": "C", "D": "D"}

    def test_a_folder_that_cannot_be_opened(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        server.rename(A="C")
        server.folder("C").refused = "NO"
        assert not archive.pull(server.connect()).complete
        server.folder("C").refused = ""
        assert fetches(pulled(archive, server).asked) == []
        as_on(archive, server)

    def test_without_mailboxids_it_is_a_new_folder(self, archive: Archive) -> None:
        server = FakeServer()
        server.folder("A").add(mail(1))
        archive.pull(server.connect())
        server.rename(A="C")
        connection = server.connect()
        archive.pull(connection)
        assert fetches(connection.asked) == [1]
        assert set(directories(archive)) == {"INBOX", "A", "C"}

    def test_of_another_account(self, archive: Archive, server: FakeServer) -> None:
        pulled(archive, server)
        other = FakeServer(objectid=True)
        other.folder("C").add(mail(90))
        archive.imap = type(archive.imap)(
            host="imap.example.net", user="me", security="tls", password=archive.imap.password
        )
        assert other.folder("C").mailboxid == server.folder("A").mailboxid
        pulled(archive, other)
        assert directories(archive)["A"] == "A"
        checks.converged(archive.root, other.messages())


STEPS = ("described", "carried", "left", "followed")


class TestKilled:
    @pytest.mark.parametrize("lost", [False, True], ids=["", "ledger lost"])
    @pytest.mark.parametrize("names", [*RENAMES, {"A": "B", "": "B"}], ids=str)
    def test_at_every_step(self, memory: Path, names: dict[str, str], lost: bool) -> None:
        """With "" a folder is deleted before, so that another can have its name."""
        server = FakeServer(objectid=True)
        for number, name in enumerate(("INBOX", "A", "B", "A/sub")):
            for each in range(2):
                server.folder(name).add(mail(10 * number + each))
        before = Archive(memory / "before")
        pulled(before, server)
        if deleted := names.get(""):
            del server.folders[deleted]
        server.rename(**names)
        steps: Counter[str] = Counter()
        undisturbed = copy_of(before, memory / "undisturbed")
        undisturbed.pull(server.connect(), fault=lambda step: steps.update([step]))
        wanted = directories(undisturbed)
        assert set(STEPS) <= steps.keys()
        for death in [(step, number + 1) for step in STEPS for number in range(steps[step])]:
            archive = copy_of(before, memory / f"{death[0]}-{death[1]}")
            with pytest.raises(DeathError):
                archive.pull(server.connect(), fault=dies(*death))
            if lost:
                lose_ledger(archive)
            try:
                assert fetches(pulled(archive, server).asked) == []
                checks.converged(archive.root, server.messages())
                assert directories(archive) == wanted
                assert len(checks.files(archive.root)) == 8
                assert archive.pull(server.connect()).folders == []
            except AssertionError as error:
                raise AssertionError(f"killed at {death}: {error}") from error


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where there is such a place: hundreds of archives are made."""
    path = Path(tempfile.mkdtemp(dir=MEMORY))
    yield path
    shutil.rmtree(path)


def copy_of(archive: Archive, path: Path) -> Archive:
    shutil.copytree(archive.path, path)
    return Archive(path, archive.imap, now=archive.now)


def dies(step: str, number: int) -> Callable[[str], None]:
    left = number

    def fault(name: str) -> None:
        nonlocal left
        left -= name == step
        if left == 0:
            raise DeathError(name)

    return fault


class TestServers:
    def test_pymap(self, start_pymap: Callable[..., Pymap], archive_of: ArchiveOf) -> None:
        folders = {"INBOX": [1], "A": [2, 3], "A/sub": [4], "Küche": [5]}
        server = start_pymap({name: [Mail(mail(n)) for n in each] for name, each in folders.items()})
        archive = archive_of(server)
        archive.sync()
        server.rename("A", "Lists/Ä")
        server.rename("Küche", "A")
        report = archive.sync()
        assert (report.total("stored"), report.total("gone")) == (0, 0)
        assert {r.folder: r.renamed for r in report.folders} == {
            "A": "Küche",
            "Lists/Ä": "A",
            "Lists/Ä/sub": "A/sub",
        }
        checks.converged(
            archive.root,
            {
                ("INBOX", 101): mail(1),
                ("Lists/Ä", 101): mail(2),
                ("Lists/Ä", 102): mail(3),
                ("Lists/Ä/sub", 101): mail(4),
                ("A", 101): mail(5),
            },
        )
        assert set(directories(archive)) == {"INBOX", "A", "Lists/Ä", "Lists/Ä/sub"}
        assert archive.sync().folders == []

    def test_cyrus(self, cyrus_mailbox: User, archive_of: ArchiveOf) -> None:
        """Whose STATUS tells garbage, and is not asked: EXAMINE tells it all."""
        archive = archive_of(cyrus_mailbox.server, user=cyrus_mailbox.name)
        cyrus_mailbox.create("A", "A/sub", "B", "Küche")
        folders = {"INBOX": [1], "A": [2, 3], "A/sub": [4], "B": [5], "Küche": [6, 7]}
        for name, numbers in folders.items():
            for number in numbers:
                cyrus_mailbox.save(mail(number), name, date=NOON)
        archive.sync()
        inodes = {path.stat().st_ino for path in checks.files(archive.root)}
        for old, new in (("A", "Lists"), ("B", "A"), ("Küche", "tmp"), ("Lists/sub", "Küche"), ("tmp", "B")):
            cyrus_mailbox.rename(old, new)
        latest = cyrus_mailbox.save(mail(8), "B", date=NOON)
        report = archive.sync()
        assert {r.folder: r.renamed for r in report.folders} == {
            "A": "B",
            "B": "Küche",
            "Küche": "A/sub",
            "Lists": "A",
        }
        assert (report.total("bytes"), report.total("gone")) == (len(mail(8)), 0)
        checks.converged(
            archive.root,
            {
                ("INBOX", 1): mail(1),
                ("Lists", 1): mail(2),
                ("Lists", 2): mail(3),
                ("Küche", 1): mail(4),
                ("A", 1): mail(5),
                ("B", 1): mail(6),
                ("B", 2): mail(7),
                ("B", latest): mail(8),
            },
        )
        assert set(directories(archive)) == {"INBOX", "A", "B", "Küche", "Lists"}
        assert inodes <= {path.stat().st_ino for path in checks.files(archive.root)}
        assert archive.sync().folders == []

    @pytest.mark.parametrize("status", [["LIST-STATUS"], []], ids=["LIST-STATUS", "STATUS"])
    def test_scripted(self, scripted: Scripted, archive_of: ArchiveOf, status: list[str]) -> None:
        server = scripted()
        server.account.late = (*server.account.late, "OBJECTID", *status)
        for number, name in enumerate(("INBOX", "A (old)", "B")):
            server.folder(name).add(mail(number), extra={"EMAILID": f"(M{number})"})
            server.folder(name).extra["MAILBOXID"] = f"(F-{number}_x)"
        archive = archive_of(server)
        archive.sync()
        assert json.loads((archive.mail / "A (old)" / FOLDER_FILE).read_text())["mailboxid"] == "F-1_x"
        one, two = server.folder("A (old)"), server.folder("B")
        one.name, two.name = "B", "C)"
        server.commands.clear()
        report = archive.sync()
        assert {r.folder: r.renamed for r in report.folders} == {"B": "A (old)", "C)": "B"}
        assert not any("BODY" in command.arguments for command in server.commands)
        checks.converged(archive.root, {("INBOX", 1): mail(0), ("B", 1): mail(1), ("C)", 1): mail(2)})
        server.commands.clear()
        archive.sync()
        assert "EXAMINE" not in server.names()


def test_the_file_says_it_before_the_first_message(archive: Archive, server: FakeServer) -> None:
    seen: list[str] = []

    def fault(step: str) -> None:
        if step in ("opened", "written", "moved"):
            told = [json.loads(path.read_text()) for path in archive.mail.rglob(FOLDER_FILE)]
            seen.append(next(each["mailboxid"] for each in told if each["raw"] == "INBOX"))

    archive.pull(server.connect(), fault=fault)
    assert set(seen) == {"F1"}


def test_a_killed_run_says_it_the_next_time(archive: Archive, server: FakeServer) -> None:
    for number in range(1, 4):
        with pytest.raises(DeathError):
            archive.pull(server.connect(), fault=dies("identified", number))
    pulled(archive, server)
    as_on(archive, server)
    assert Path(archive.mail / "A").is_dir()
