"""What verify finds: each difference made by hand, found, told apart, and nothing changed by looking."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import pytest

from archiver.errors import InterruptedRun
from archiver.indexer import drain
from archiver.search.index import Index, open_index
from archiver.store import hashing
from archiver.store.hashing import Checked, Task
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from archiver.store.maildir import key_of
from archiver.store.records import Stored
from archiver.verify import REMEDIES, Finding, Kind, VerifyReport, files, run, verify
from archiver.workers import Workers
from tests.indexer.fresh import up_to_date
from tests.store.tree import Tree, forget, message

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """Two accounts; messages 1 to 4 in work/INBOX, 3 to 5 in work/Lists/a, 1 and 9 in home/INBOX; indexed."""
    made = Tree(str(tmp_path))
    made.file(made.folder(), [message(n) for n in range(1, 5)])
    made.file(made.folder("Lists/a"), [message(n) for n in range(3, 6)], first=10, flags="S")
    made.file(made.folder(account="home"), [message(1), message(9)])
    made.ledger.rebuilt()
    yield made
    made.ledger.close()


@pytest.fixture
def index(tree: Tree) -> Iterator[Index]:
    opened = open_index(index_path(tree.root))
    drain(tree.ledger, opened, nullcontext)
    yield opened
    opened.close()


def look(tree: Tree, index: Index, *accounts: str) -> list[Finding]:
    """What verify finds; looking must leave every byte as it is."""
    before = snapshot(tree.root)
    found = verify(tree.ledger, index, accounts).findings
    assert snapshot(tree.root) == before
    return found


def snapshot(root: str) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(root).rglob("*")
        if path.is_file() and not path.name.startswith("ledger.sqlite3-")
    }


def path_of(tree: Tree, uid: int, folder: str = "work/INBOX") -> Path:
    (found,) = Path(tree.root, "mail", folder, "cur").glob(f"*,U={uid}:2,*")
    return found


def kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def test_nothing_differs(tree: Tree, index: Index) -> None:
    told: list[tuple[int, int]] = []
    report = verify(tree.ledger, index, advance=lambda files, size: told.append((files, size)))
    size = sum(path.stat().st_size for path in Path(tree.root, "mail").rglob("*:2,*"))
    assert report == VerifyReport(folders=3, places=9, files=9, bytes=size, documents=6, indexed=6)
    assert told == [(9, size)]


def test_an_empty_archive(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    assert verify(tree.ledger, open_index(index_path(tree.root))) == VerifyReport()
    tree.ledger.close()


def test_other_programs_may_rename(tree: Tree, index: Index) -> None:
    path = path_of(tree, 2)
    path.rename(f"{path}RS")
    path = path_of(tree, 3)
    path.rename(path.parent.parent / "new" / path.name.partition(":")[0])
    assert look(tree, index) == []


class TestFiles:
    def test_missing(self, tree: Tree, index: Index) -> None:
        path = path_of(tree, 2)
        path.unlink()
        (finding,) = look(tree, index)
        assert (finding.kind, finding.account, finding.folder, finding.uid) == ("missing", "work", "INBOX", 2)
        assert (finding.key, finding.path) == (key_of(message(2)).hex(), path.name.partition(":")[0])
        assert (finding.gone, finding.harmless) == (False, False)
        assert [p.id for p in tree.ledger.places(tree.folder(), [2])] == [finding.place]

    def test_missing_and_gone_from_the_server(self, tree: Tree, index: Index) -> None:
        path_of(tree, 2).unlink()
        tree.ledger.set_gone(tree.folder(), [2], 5)
        assert [(f.kind, f.gone) for f in look(tree, index)] == [("missing", True)]

    def test_a_whole_directory(self, tree: Tree, index: Index) -> None:
        shutil.rmtree(Path(tree.root, "mail", "work"))
        found = look(tree, index)
        assert kinds(found) == ["missing"] * 7
        assert {f.folder for f in found} == {"INBOX", "Lists/a"}

    @pytest.mark.parametrize("position", [0, 40, -1])
    def test_one_flipped_bit(self, tree: Tree, index: Index, position: int) -> None:
        path = path_of(tree, 11, "work/Lists/a")
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)
        (finding,) = look(tree, index)
        assert (finding.kind, finding.folder, finding.uid, finding.path) == (
            "damaged",
            "Lists/a",
            11,
            str(path),
        )

    @pytest.mark.parametrize("content", [b"", message(2)[:50], message(3).replace(b"\r\n", b"\n")])
    def test_cut_or_exchanged(self, tree: Tree, index: Index, content: bytes) -> None:
        path_of(tree, 2).write_bytes(content)
        assert [(f.kind, f.uid) for f in look(tree, index)] == [("damaged", 2)]

    def test_the_bytes_of_another_message_under_its_own_name(self, tree: Tree, index: Index) -> None:
        """The name fits the bytes, but the ledger knows another message here."""
        tree.ledger._db.execute(
            "UPDATE place SET document = (SELECT document FROM place WHERE uid = 11) WHERE uid = 2"
            " AND folder = (SELECT id FROM folder WHERE account = 'work' AND name = 'INBOX')"
        )
        assert ("damaged", 2) in [(f.kind, f.uid) for f in look(tree, index)]

    @pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
    @pytest.mark.parametrize("double", [False, True])
    def test_one_that_cannot_be_read(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch, number: int, double: bool
    ) -> None:
        """It may be good: it is neither damaged nor the lesser of two."""
        bad, real = [str(path_of(tree, 2))], hashing._hash
        if double:
            shutil.copy(bad[0], f"{bad[0]}T")
            bad.append(f"{bad[0]}T")

        def refuse(path: str, **how: Any) -> Any:
            if path in bad:
                raise OSError(number, "refused", path)
            return real(path, **how)

        monkeypatch.setattr(hashing, "_hash", refuse)
        (finding,) = look(tree, index)
        assert (finding.kind, finding.path, finding.harmless) == ("unreadable", bad[0], False)

    def test_renamed_or_removed_while_it_looks(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renamed, removed, real = path_of(tree, 2), path_of(tree, 3), files._listing

        def then(folder: str) -> object:
            listing = real(folder)
            if folder.endswith("work/INBOX"):
                renamed.rename(f"{renamed}S")
                removed.unlink()
            return listing

        monkeypatch.setattr(files, "_listing", then)
        assert [(f.kind, f.uid) for f in verify(tree.ledger, index).findings] == [("missing", 3)]

    def test_moved_behind_its_back_while_it_lists(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, real = path_of(tree, 2), files._names
        new = path.rename(path.parent.parent / "new" / path.name)

        def names(directory: str) -> list[str]:
            if directory.endswith("work/INBOX/new"):
                new.rename(path)
            return real(directory)

        monkeypatch.setattr(files, "_names", names)
        assert verify(tree.ledger, index).findings == []

    def test_unknown(self, tree: Tree, index: Index) -> None:
        lost = tree.ledger.places(tree.folder(), [2])[0]
        forget(tree.ledger, lost.id)
        found = look(tree, index)
        assert kinds(found) == ["unknown", "stray"]
        assert found[0].path == str(path_of(tree, 2))

    def test_files_that_are_not_ours(self, tree: Tree, index: Index) -> None:
        for name in ("1000.M1P1.host:2,S", ".dovecot.index"):
            Path(tree.root, "mail/work/INBOX/cur", name).write_bytes(b"theirs")
        assert look(tree, index) == []

    @pytest.mark.parametrize("second", ["same", "rotten"])
    def test_two_files_of_one_name(self, tree: Tree, index: Index, second: str) -> None:
        path = path_of(tree, 2)
        copy = Path(f"{path}T")
        shutil.copy(path, copy)
        if second == "rotten":  # whichever is whole stays, whatever its flags
            path.write_bytes(b"rot")
        (finding,) = look(tree, index)
        assert (finding.kind, finding.path) == ("double", str(copy if second == "same" else path))
        assert finding.harmless


def dies(task: Task) -> Checked:
    """What a hasher does that is killed over every task."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class TestHashers:
    """Processes that hash: the same findings, and nobody left."""

    @pytest.mark.parametrize("work", [hashing.check, dies])
    def test_find_the_same(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch, work: Callable[[Task], Checked]
    ) -> None:
        path_of(tree, 2).unlink()
        path_of(tree, 11, "work/Lists/a").write_bytes(b"rot")
        path_of(tree, 1, "home/INBOX").write_bytes(b"rot")
        shutil.copy(path_of(tree, 3), f"{path_of(tree, 3)}T")
        alone = verify(tree.ledger, index)
        monkeypatch.setattr(run, "CHUNK_FILES", 2)
        with Workers(work, 2) as hashers:
            assert verify(tree.ledger, index, hashers=hashers) == alone
        assert [f.kind for f in alone.findings] == ["damaged", "missing", "double", "damaged"]

    def test_few_are_under_way(self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder of a million is not read into memory before it is hashed."""
        monkeypatch.setattr(run, "CHUNK_FILES", 1)
        taken: list[int] = []
        real = Ledger.stored

        def stored(ledger: Ledger, folder: int) -> Iterator[Stored]:
            for place in real(ledger, folder):
                taken.append(place.id)
                yield place

        monkeypatch.setattr(Ledger, "stored", stored)
        lead: list[int] = []
        with Workers(hashing.check, 1) as hashers:
            verify(
                tree.ledger,
                index,
                hashers=hashers,
                advance=lambda files, size: lead.append(len(taken) - files),
            )
        assert len(lead) == 9 and max(lead) <= 2

    def test_stopped(self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run, "CHUNK_FILES", 1)
        told: list[int] = []
        with pytest.raises(InterruptedRun), Workers(hashing.check, 2) as hashers:
            verify(
                tree.ledger,
                index,
                hashers=hashers,
                advance=lambda files, size: told.append(files),
                stop=lambda: len(told) == 3,
            )
        assert len(told) == 3


class TestFolders:
    def test_unknown(self, tree: Tree, index: Index) -> None:
        stranger = Tree(tree.root + "-other")
        stranger.file(stranger.folder("Strange/日本"), [message(50)])
        stranger.ledger.close()
        shutil.copytree(Path(stranger.root, "mail/work/Strange"), Path(tree.root, "mail/work/Strange"))
        (finding,) = look(tree, index)
        assert (finding.kind, finding.account, finding.folder) == ("folder", "work", "Strange/日本")
        assert finding.path == "work/Strange/日本"

    def test_a_copy_of_a_known_one(self, tree: Tree, index: Index) -> None:
        shutil.copytree(Path(tree.root, "mail/work/INBOX"), Path(tree.root, "mail/work/INBOX.bak"))
        (finding,) = look(tree, index)
        assert (finding.kind, finding.harmless) == ("copy", True)
        assert finding.detail == "work/INBOX.bak says that it is the folder in work/INBOX"

    def test_failed_uids_are_told(self, tree: Tree, index: Index) -> None:
        tree.ledger.fail(tree.folder(), 77, "the server sent no body", 0)
        (finding,) = look(tree, index)
        assert (finding.kind, finding.uid, finding.harmless) == ("failed", 77, False)
        assert finding.detail == "the server sent no body (tried 1 times)"
        tree.ledger.set_listed("work", ["Lists/a"])
        (finding,) = look(tree, index)
        assert finding.harmless  # the folder is gone from the server, and the message with it


class TestIndex:
    def test_lacking_and_stray(self, tree: Tree, index: Index) -> None:
        index.apply((), [key_of(message(2))], up_to_date(tree.ledger))
        forget(tree.ledger, tree.ledger.places(tree.folder(account="home"), [2])[0].id)
        path_of(tree, 2, "home/INBOX").unlink()
        found = look(tree, index)
        assert [(f.kind, f.key, f.harmless) for f in found] == [
            ("unindexed", key_of(message(2)).hex(), False),
            ("stray", key_of(message(9)).hex(), True),
        ]

    def test_none_at_all(self, tree: Tree) -> None:
        found = look(tree, open_index(index_path(tree.root)))
        assert kinds(found) == ["unindexed"] * 6

    @pytest.mark.parametrize("pattern", ["*.seg", "*.toc"])
    def test_a_flipped_byte(self, tree: Tree, index: Index, pattern: str) -> None:
        path = next(Path(index_path(tree.root)).glob(pattern))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        (finding,) = look(tree, index)
        assert (finding.kind, finding.key, finding.harmless) == ("unindexed", "", False)
        assert "the index is damaged" in finding.detail


class TestScope:
    def test_one_account(self, tree: Tree, index: Index) -> None:
        path_of(tree, 2).unlink()
        path_of(tree, 2, "home/INBOX").unlink()
        for account in ("work", "home"):
            assert [(f.kind, f.account) for f in look(tree, index, account)] == [("missing", account)]
        assert len(look(tree, index, "work", "home")) == len(look(tree, index)) == 2

    def test_it_can_be_stopped(self, tree: Tree, index: Index) -> None:
        with pytest.raises(InterruptedRun):
            verify(tree.ledger, index, stop=lambda: True)


def test_every_kind_has_its_remedy_and_its_line_in_the_manual() -> None:
    assert set(REMEDIES) == set(get_args(Kind))
    manual = (PROJECT / "docs" / "commands.md").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^\| (\w+)(\*?) \|", manual, re.MULTILINE))
    harmless = {kind for kind in get_args(Kind) if Finding(kind=kind, messages=1).harmless}
    assert {kind: "*" if kind in harmless else "" for kind in get_args(Kind)}.items() <= lines.items()


def test_a_folder_that_cannot_be_listed_is_said_and_the_others_are_compared(
    tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = os.path.join(tree.root, "mail", "work", "INBOX")
    path_of(tree, 1, "home/INBOX").unlink()
    real_names, real_scan = os.listdir, os.scandir

    def refused(path: str) -> bool:
        if str(path).startswith(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return False

    monkeypatch.setattr(os, "listdir", lambda path: refused(path) or real_names(path))
    monkeypatch.setattr(os, "scandir", lambda path: refused(path) or real_scan(path))
    report = verify(tree.ledger, index)
    missing, first, further = report.findings
    assert (first.kind, first.folder, first.messages) == ("unreadable", "INBOX", 4)
    assert first.detail == "work/INBOX cannot be listed: Permission denied"
    assert (missing.kind, missing.account) == ("missing", "home")
    assert (further.kind, further.path) == ("unreadable", "work/INBOX")
    assert not first.harmless
