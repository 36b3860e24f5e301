"""Import: every kind of source, what becomes of flags, dates and folders, and what is never taken twice."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.errors import InterruptedRun
from archiver.exchange import incoming, mbox
from archiver.store import filing
from archiver.store.ledger import Ledger
from archiver.store.maildir import key_of
from archiver.store.reader import Reader
from archiver.store.rebuild import rebuild
from tests.exchange.conftest import Box, maildir, mbox_of, numbers
from tests.pull import checks
from tests.store.tree import message

SENT = 1_672_628_645
"""When all of `message` were sent, by their Date."""


def tree(path: Path) -> None:
    """A little of everything."""
    maildir(path, message(1), flags="SF")
    maildir(path, message(2), sub="new")
    maildir(path / ".Lists.K&APw-che", message(3))
    maildir(path / "nested" / "deep", message(4))
    (path / "tmp" / "unfinished").write_bytes(message(99))
    (path / "letters").mkdir()
    (path / "letters" / "a.eml").write_bytes(message(5))
    (path / "letters" / "B.EML").write_bytes(message(6).replace(b"\r\n", b"\n"))
    (path / "Sent.mbox").write_bytes(mbox_of(message(7), message(8)))
    (path / "Archive.sbd").mkdir()
    (path / "Archive.sbd" / "2019").write_bytes(mbox_of(message(9)))
    (path / "notes.txt").write_text("Not a mail at all")


TREE = {
    "INBOX": [1, 2],
    "Lists/Küche": [3],
    "nested/deep": [4],
    "letters": [5, 6],
    "Sent": [7, 8],
    "Archive/2019": [9],
}


def as_directory(source: Path, target: Path) -> Path:
    return source


def as_zip(source: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source))
    return target


def as_tar(mode: str) -> Callable[[Path, Path], Path]:
    def packed(source: Path, target: Path) -> Path:
        with tarfile.open(target, f"w:{mode}") as archive:  # type: ignore[call-overload]
            archive.add(source, ".")
        return target

    return packed


@pytest.mark.parametrize("packed", [as_directory, as_zip, *map(as_tar, ("", "gz", "bz2", "xz"))])
class TestSources:
    def test_every_kind_of_mail_is_found(
        self, box: Box, tmp_path: Path, packed: Callable[[Path, Path], Path]
    ) -> None:
        tree(tmp_path / "tree")
        report = box.take(packed(tmp_path / "tree", tmp_path / "packed"))
        assert numbers(box) == TREE
        assert (report.stored, report.known, report.failed) == (9, 0, 0)
        assert report.folders == {name: len(found) for name, found in TREE.items()}
        assert report.passed_over == ["notes.txt"]
        assert checks.findings(box.root) == []
        checks.nothing_between(box.root)

    def test_again_nothing_is_new(
        self, box: Box, tmp_path: Path, packed: Callable[[Path, Path], Path]
    ) -> None:
        tree(tmp_path / "tree")
        source = packed(tmp_path / "tree", tmp_path / "packed")
        box.take(source)
        before = box.facts()
        report = box.take(source)
        assert (report.stored, report.known) == (0, 9)
        assert box.facts() == before
        checks.nothing_between(box.root)


class TestFolders:
    def test_all_of_it_below_a_folder(self, box: Box, tmp_path: Path) -> None:
        tree(tmp_path / "tree")
        box.take(tmp_path / "tree", folder="From/home")
        assert set(box.wires()) == {f"From/home/{name}" if name != "INBOX" else "From/home" for name in TREE}

    def test_a_single_mbox_or_message_goes_to_the_inbox_or_there(self, box: Box, tmp_path: Path) -> None:
        (tmp_path / "a.mbox").write_bytes(mbox_of(message(1)))
        (tmp_path / "b.eml").write_bytes(message(2))
        (tmp_path / "c").write_bytes(message(3))
        for source in "a.mbox", "b.eml", "c":
            box.take(tmp_path / source)
        box.take(tmp_path / "a.mbox", folder="Old")
        assert numbers(box) == {"INBOX": [1, 2, 3], "Old": [1]}

    def test_twins_are_one_file(self, box: Box, tmp_path: Path) -> None:
        maildir(tmp_path / "in/a", message(1), message(1), message(1))
        maildir(tmp_path / "in/b", message(1))
        report = box.take(tmp_path / "in")
        assert (report.stored, report.known, report.linked) == (2, 2, 1)
        (spot, twin) = box.ledger.spots(key_of(message(1)))
        reader = Reader(box.ledger)
        assert os.path.samefile(reader.path(spot) or "", reader.path(twin) or "")

    def test_the_servers_separator_is_taken_for_new_folders(self, box: Box, tmp_path: Path) -> None:
        """So that a server's folder of that name is the same one later."""
        from archiver.store.layout import FolderFile, claim_folder

        path = claim_folder(box.root, "old", FolderFile("INBOX.Sent", "INBOX/Sent", "."))
        box.ledger.add_folder("old", "INBOX.Sent", "INBOX/Sent", path)
        maildir(tmp_path / "in/a/b", message(1))
        box.take(tmp_path / "in")
        assert {folder.raw for folder in box.ledger.folders("old")} == {"INBOX.Sent", "a.b"}


def test_a_directory_whose_name_is_no_text(box: Box, tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/K\xfcche")
    with open(os.fsencode(tmp_path) + b"/K\xfcche/a.eml", "wb") as file:
        file.write(message(1))
    box.take(tmp_path)
    assert numbers(box) == {"Küche": [1]}


class TestFlagsAndDates:
    def test_flags_of_a_maildir(self, box: Box, tmp_path: Path) -> None:
        maildir(tmp_path / "in", message(1), flags="FSXa")
        maildir(tmp_path / "in", message(2), sub="new")
        box.take(tmp_path / "in")
        assert {fact[3] for fact in box.facts()} == {"FS", ""}

    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            (
                b"Received: from a; 1 Feb 2020 00:00:00 +0000\r\nDate: 1 Mar 2021 00:00:00 +0000\r\n",
                1580515200,
            ),
            (b"Received: from a\r\n\tby b;\r\n\tSat, 1 Feb 2020 01:00:00 +0100\r\n", 1580515200),
            (b"Received: nonsense\r\nDate: 1 Mar 2021 00:00:00 +0000\r\n", 1614556800),
            (b"Date: 1 Mar 1921 00:00:00 +0000\r\n", 1_234_567_890),
            (b"Date: 1 Mar 2921 00:00:00 +0000\r\n", 1_234_567_890),
            (b"Subject: none\r\n\r\nDate: 1 Mar 2021 00:00:00 +0000\r\n", 1_234_567_890),
        ],
    )
    def test_when_it_was_received(self, box: Box, tmp_path: Path, header: bytes, expected: int) -> None:
        (tmp_path / "a.eml").write_bytes(header + b"Subject: x\r\n\r\ntext\r\n")
        os.utime(tmp_path / "a.eml", (0, 1_234_567_890))
        box.take(tmp_path / "a.eml")
        assert {fact[2] for fact in box.facts()} == {expected}

    def test_an_envelope_tells_first(self, box: Box, tmp_path: Path) -> None:
        text = b"From a Sat Feb  1 00:00:00 2020\nDate: 1 Mar 2021 00:00:00 +0000\n\ntext\n"
        (tmp_path / "in").write_bytes(text + b"\n" + text.replace(b"2020", b"1970").replace(b"text", b"more"))
        box.take(tmp_path / "in")
        assert sorted(fact[2] for fact in box.facts()) == [1580515200, 1614556800]


def key_of_a_small_one(wire: bytes) -> bytes:
    assert len(wire) < 5000, "held in memory"
    return key_of(wire)


class TestLarge:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mbox, "LARGE", 2000)
        monkeypatch.setattr(mbox, "_PIECE", 700)
        monkeypatch.setattr(incoming, "_PIECE", 300)

    LONG = message(1, "From me\r\n" * 2000)
    LONE = message(2, "From me\r\n" * 2000) + b"lone\nline\r\n"

    def test_they_come_through_a_file(self, box: Box, tmp_path: Path) -> None:
        maildir(tmp_path / "in/maildir", self.LONG)
        (tmp_path / "in/box").write_bytes(mbox_of(message(3), self.LONG, self.LONE, message(4)))
        for name, wire in (("a", self.LONG), ("b", self.LONG.replace(b"\r\n", b"\n"))):
            (tmp_path / f"in/{name}.eml").write_bytes(wire)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("archiver.exchange.taking.key_of", key_of_a_small_one)
            report = box.take(tmp_path / "in")
        assert (report.stored, report.linked, report.failed) == (7, 2, 0)
        found = box.wires()
        assert found["maildir"] == [self.LONG]
        assert set(found["INBOX"]) == {self.LONG, self.LONG.replace(b"\r\n", b"\n")}
        assert set(found["box"]) == {message(3), self.LONG, self.LONE, message(4)}
        checks.nothing_between(box.root)
        assert box.take(tmp_path / "in").known == 7
        checks.nothing_between(box.root)

    def test_in_a_maildir_of_ours(self, box: Box, tmp_path: Path) -> None:
        box.file(box.folder(), [self.LONG, self.LONE, self.LONG.replace(b"\r\n", b"\n")])
        box.give(tmp_path / "maildir", account="work")
        assert box.take(tmp_path / "maildir").failed == 0
        assert box.wires() == box.wires("work")

    def test_what_is_larger_than_any_mail_is_not_taken(
        self, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(incoming, "LARGEST", 3000)
        (tmp_path / "in").write_bytes(mbox_of(message(3), self.LONG, message(4)))
        report = box.take(tmp_path / "in")
        assert numbers(box) == {"INBOX": [3, 4]}
        assert [(f.where, "larger than" in f.why) for f in report.failures] == [("message 2", True)]
        checks.nothing_between(box.root)


class TestGoingOn:
    def test_stopped_it_keeps_what_it_has(
        self, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filing, "BATCH_MESSAGES", 3)
        (tmp_path / "in").write_bytes(mbox_of(*map(message, range(10))))
        asked = iter(range(100))
        with pytest.raises(InterruptedRun):
            box.take(tmp_path / "in", stop=lambda: next(asked) == 4)
        assert len(box.wires()["INBOX"]) == 5
        checks.nothing_between(box.root)
        report = box.take(tmp_path / "in")
        assert (report.stored, report.known) == (5, 5)
        assert numbers(box) == {"INBOX": [*range(10)]}

    def test_a_lost_ledger_knows_it_again(self, box: Box, tmp_path: Path) -> None:
        maildir(tmp_path / "in", *map(message, range(5)), flags="S")
        box.take(tmp_path / "in")
        facts = box.facts()
        before = {(spot.file, spot.current) for spot in checks.spots(box.root)}
        rebuild(box.lose_ledger())
        assert box.facts() == facts
        assert {(spot.file, spot.current) for spot in checks.spots(box.root)} == before
        assert [folder.epoch for folder in box.ledger.folders("old")] == [0]
        assert box.take(tmp_path / "in").known == 5

    def test_before_a_file_is_written_the_folder_is_open(self, box: Box, tmp_path: Path) -> None:
        (tmp_path / "in").write_bytes(mbox_of(message(1)))
        seen = []

        def fault(step: str) -> None:
            with Ledger(box.root) as ledger:
                seen.append((step, [folder.open for folder in ledger.folders("old")]))

        box.take(tmp_path / "in", fault=fault)
        steps = [step for step, _ in seen]
        assert steps == ["opened", "written", "synced", "moved", "durable", "known"]
        assert all(state == [1] for _, state in seen)
        assert [folder.open for folder in box.ledger.folders("old")] == [0]
