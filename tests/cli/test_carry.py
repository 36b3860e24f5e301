"""Export and import on the command line: the whole way, and every way it can go wrong."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli import mails
from tests.cli.home import Home, complains, fails, until
from tests.exchange.conftest import mbox_of
from tests.store.tree import message

MESSAGES = len({letter.raw for letter in mails.LIBRARY})


@pytest.fixture
def mbox(tmp_path: Path) -> Path:
    path = tmp_path / "old.mbox"
    path.write_bytes(mbox_of(*map(message, range(20))))
    return path


def test_an_archive_of_imports_alone(home: Home, mbox: Path, tmp_path: Path) -> None:
    """No account is configured; everything works on what was imported."""
    out = home.good("import", str(mbox), "--account", "old").out
    assert out.startswith("old: 20 new messages") and "  INBOX: 20 new messages" in out
    assert home.good("search", "word7 account:old", "--json").json()["total"] == 1
    assert home.good("show", home.good("search", "word7").out[:8], "--raw").raw == message(7)
    assert "(not in the configuration)" in home.good("status").out
    assert home.good("verify", "old").code == 0
    again = home.good("import", str(mbox), "--account", "old", "--json").json()
    assert (again["stored"], again["known"]) == (0, 20)
    (home.root / "ledger.sqlite3").unlink()
    assert "knows 20 messages again" in home.good("search", "word7").err
    assert "holds      20 messages in 1 folder" in home.good("status").out
    assert home.good("verify").code == 0


def test_all_of_it_and_back(own_library: Home, tmp_path: Path) -> None:
    for name in ("all.zip", "all.mbox", "all.maildir", "all.eml"):
        report = own_library.good(
            "export", "--account", "work", "--to", str(tmp_path / name), "--json"
        ).json()
        places = MESSAGES + (0 if name == "all.mbox" else 1)  # one is in two folders
        assert (report["messages"], report["failed"], report["altered"]) == (places, 0, []), name
        account = name.partition(".")[2]
        own_library.good("import", str(tmp_path / name), "--account", account)
        counted = own_library.good("count", f"account:{account}").out
        assert int(counted.replace(",", "")) == MESSAGES, name
    assert own_library.good("verify").code == 0


def test_some_of_it(library: Home, tmp_path: Path) -> None:
    ids = [line.split()[0] for line in library.good("search", "gazette", "--limit", "3").lines()]
    listed = tmp_path / "ids"
    listed.write_text("\n".join(f"{each} and more" for each in ids[1:]) + "\n\n")
    target = tmp_path / "some.zip"
    library.good(
        "export", ids[0], "--from-file", str(listed), "--query", "invoice", "--flat", "--to", str(target)
    )
    with zipfile.ZipFile(target) as archive:
        found = [archive.read(name) for name in archive.namelist()]
    assert len(found) == 4 and mails.INVOICE in found
    piped = tmp_path / "piped.mbox"
    result = library.run("export", "--from-file", "-", "--to", str(piped), stdin=os.open(listed, os.O_RDONLY))
    assert result.code == 0, result
    assert piped.read_bytes().count(b"\nSubject: News number") == 2


def test_what_an_mbox_changes_is_named(home: Home, tmp_path: Path) -> None:
    (tmp_path / "lone.eml").write_bytes(b"Subject: lone\n\nbare line ends\n")
    home.good("import", str(tmp_path / "lone.eml"), "--account", "old")
    result = home.good("export", "--account", "old", "--to", str(tmp_path / "x.mbox"))
    key = home.good("search", "lone", "--format", "keys").out.strip()
    assert "1 message will come back" in result.out and f"  {key[:12]}" in result.lines()


class TestExportGoesWrong:
    def test_there_is_something_already(self, library: Home, tmp_path: Path) -> None:
        (tmp_path / "x.mbox").write_text("precious")
        fails(
            library, ["export", "--account", "work", "--to", str(tmp_path / "x.mbox")], 2, "is there already"
        )
        assert (tmp_path / "x.mbox").read_text() == "precious"
        (tmp_path / "dangling.zip").symlink_to("nowhere")
        fails(library, ["export", "--account", "work", "--to", str(tmp_path / "dangling.zip")], 2, "already")

    def test_no_such_place_message_account_folder_or_format(self, library: Home, tmp_path: Path) -> None:
        path = str(tmp_path / "x.mbox")
        for words, hint in (
            (["--account", "work", "--to", str(tmp_path / "no" / "x.mbox")], "there is no directory"),
            (["--account", "nobody", "--to", path], "accounts with mail: work"),
            (["--account", "work", "--folder", "Nowhere", "--to", path], "no folder like Nowhere"),
            (["--account", "work", "--to", str(tmp_path / "x")], "--format mbox"),
            (["--to", path], "nothing to export"),
            (["--query", "nosuchwordanywhere", "--to", path], "nothing was found"),
            (["0000", "--account", "work", "--to", path], "cannot both be named"),
            (["00000000", "--to", path], "no message has the id"),
            (["--from-file", str(tmp_path / "no"), "--to", path], "there is no file"),
        ):
            fails(library, ["export", *words], 2, hint)
        assert os.listdir(tmp_path) == []

    def test_a_lost_file_does_not_stop_the_others(self, own_library: Home, tmp_path: Path) -> None:
        key = own_library.good("search", "invoice", "--format", "keys").out.strip()
        next(own_library.root.rglob(f"*{key[:32]}*")).unlink()
        result = own_library.call("export", "--account", "work", "--to", str(tmp_path / "x.zip"))
        assert result.code == 3 and "1 message could not be read" in result.err
        with zipfile.ZipFile(tmp_path / "x.zip") as archive:
            assert len([name for name in archive.namelist() if name.endswith(".eml")]) == MESSAGES

    @pytest.mark.parametrize("format_", ["mbox", "zip", "eml", "maildir"])
    def test_no_room(self, home: Home, tmp_path: Path, format_: str) -> None:
        (tmp_path / "in.eml").write_bytes(message(1, "".join(map(str, range(60_000)))))
        home.good("import", str(tmp_path / "in.eml"), "--account", "old", "--no-index")
        out = tmp_path / "out"
        out.mkdir()

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        words = ["export", "--account", "old", "--format", format_, "--to", str(out / "x")]
        complains(home.run(*words, preexec_fn=limit), 75, "make room")
        assert os.listdir(out) == []

    def test_interrupted_nothing_is_left_and_after_a_kill_the_next_one_tidies(
        self, home: Home, mbox: Path, tmp_path: Path
    ) -> None:
        home.good("import", str(mbox), "--account", "old", "--no-index")
        out = tmp_path / "out"
        out.mkdir()
        for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            done = subprocess.run(
                [sys.executable, "-c", STOPPED, str(home.root), str(out / "x"), str(int(number))],
                capture_output=True,
                check=False,
            )
            left = sorted(os.listdir(out))
            if number == signal.SIGINT:
                assert (done.returncode, left) == (code, []), done
            else:
                assert (done.returncode, left) == (code, [".x.archiver-export"]), done
        home.good("export", "--account", "old", "--format", "eml", "--to", str(out / "x"))
        assert os.listdir(out) == ["x"]
        assert len([*(out / "x").rglob("*.eml")]) == 20


# An export that gets a signal at its tenth message.
STOPPED = """
import os, sys
from archiver.errors import InterruptedRun
from archiver.exchange import Wanted, give
from archiver.store.ledger import Ledger
root, path, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = []
def stop():
    seen.append(1)
    if len(seen) == 10 and number == 9:
        os.kill(os.getpid(), 9)
    return len(seen) >= 10
try:
    with Ledger(root) as ledger:
        give(ledger, Wanted(account="old"), path, "eml", stop=stop)
except InterruptedRun as exc:
    sys.exit(exc.exit_code)
"""


def as_anybody() -> None:
    """Let the process that follows be allowed no more than others when it is root's."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # to pass over permissions
        libc.prctl(24, capability, 0, 0, 0)


class TestImportGoesWrong:
    def test_no_such_file_and_no_mail(self, home: Home, tmp_path: Path) -> None:
        (tmp_path / "picture.mbox").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
        (tmp_path / "empty").write_bytes(b"")
        (tmp_path / "directory").mkdir()
        for name, hint in (
            ("missing", "there is no"),
            ("picture.mbox", "it is no mbox and no message"),
            ("empty", "is empty"),
            ("directory", "holds no mail"),
        ):
            fails(home, ["import", str(tmp_path / name), "--account", "old"], 2, hint, "an mbox, a Maildir")

    @pytest.mark.parametrize("name", ["Old", "a b", "../x", "", "-x", "é"])
    def test_a_name_that_no_account_can_have(self, home: Home, mbox: Path, name: str) -> None:
        fails(home, ["import", str(mbox), f"--account={name}"], 2, "no name of an account")
        assert not (home.root / "mail").exists()

    def test_a_zip_that_was_cut(self, home: Home, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for number in range(9):
                archive.writestr(f"{number}.eml", message(number))
        os.truncate(tmp_path / "x.zip", 2000)
        fails(home, ["import", str(tmp_path / "x.zip"), "--account", "old"], 1, "its end is missing", "again")

    def test_some_of_it_cannot_be_taken(self, home: Home, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("../out.eml", message(1))
            archive.writestr("good.eml", message(2))
            archive.writestr("\x1b[31m.txt", "steering")
        result = home.call("import", str(tmp_path / "x.zip"), "--account", "old")
        assert result.code == 3 and "1 message or file could not be taken" in result.err
        assert "not taken: ../out.eml: its path leads out" in result.err and "\x1b" not in result.err
        assert home.good("search", "word2", "--json").json()["total"] == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="root reads everything elsewhere")
    def test_unreadable(self, home: Home, mbox: Path) -> None:
        mbox.chmod(0)
        result = home.run("import", str(mbox), "--account", "old", preexec_fn=as_anybody)
        complains(result, 1, "cannot read", "check its permissions")

    def test_no_room(self, home: Home, tmp_path: Path) -> None:
        """What was taken before is kept, and the next run goes on."""
        source = tmp_path / "in"
        source.mkdir()
        for number in range(3):
            (source / f"{number}.eml").write_bytes(message(number, "x" * (3_000_000 if number == 2 else 10)))

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

        words = ["import", str(source), "--account", "old", "--no-index"]
        complains(home.run(*words, preexec_fn=limit), 75, "make room")
        assert home.good("import", str(source), "--account", "old", "--json").json()["failed"] == 0
        assert home.good("count", "account:old").out.strip() == "3"
        assert home.good("verify").code == 0

    def test_stopped_by_a_signal_it_goes_on(self, home: Home, tmp_path: Path) -> None:
        """The source is a pipe's other end, as it were: an mbox that grows while it is read."""
        path = tmp_path / "long.mbox"
        with open(path, "wb") as file:
            for number in range(6000):
                file.write(mbox_of(message(number)))
        with home.spawn("import", str(path), "--account", "old", "--no-index") as process:
            until(lambda: any(home.root.glob("mail/old/INBOX/cur/*")))
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        report = home.good("import", str(path), "--account", "old", "--no-index", "--json").json()
        if process.returncode == 130:
            assert b"stopping after the batch" in err and report["known"] > 0
        else:
            assert process.returncode == 0  # it was faster than the signal
        assert report["stored"] + report["known"] == 6000
        assert len([*home.root.glob("mail/old/INBOX/cur/*")]) == 6000
