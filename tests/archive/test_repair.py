"""What repair does about each finding: mended where it can be, fetched again else, and nothing deleted."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from archiver.archive.repair import repair
from archiver.indexer import drain
from archiver.search.index import Index, open_index
from archiver.store import hashing
from archiver.store.layout import FolderFile, index_path, read_folder_file
from archiver.store.maildir import key_of
from archiver.store.reader import Reader
from archiver.verify import Finding, verify
from tests.indexer.fresh import up_to_date
from tests.store.tree import Tree, forget, message


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """1 to 4 in work/INBOX, 3 and 4 in work/Copy too (copies, not links), 9 in home/INBOX; all indexed."""
    made = Tree(str(tmp_path))
    made.file(made.folder(), [message(n) for n in range(1, 5)], flags="S")
    made.file(made.folder("Copy"), [message(3), message(4)])
    made.file(made.folder(account="home"), [message(9)])
    made.ledger.rebuilt()
    for folder in made.ledger.folders():
        made.ledger.settle(folder, cursor=9, uidnext=10, messages=4, modseq=None, flags_at=1.0)
    yield made
    made.ledger.close()


@pytest.fixture
def index(tree: Tree) -> Iterator[Index]:
    opened = open_index(index_path(tree.root))
    drain(tree.ledger, opened, nullcontext)
    yield opened
    opened.close()


def contents(root: str) -> set[str]:
    """Hashes of every message file anywhere in the archive, quarantine included."""
    return {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for top in ("mail", "quarantine")
        for path in Path(root, top).rglob("*")
        if path.is_file() and path.name != ".folder.json"
    }


def mend(tree: Tree, index: Index, *accounts: str) -> tuple[set[str], list[Finding]]:
    """Look, repair, drain, look again: whom to fetch from, and what is left. Nothing may be lost by it."""
    before = contents(tree.root)
    found = verify(tree.ledger, index, accounts).findings
    assert found
    refetch = repair(tree.ledger, index, found)
    drain(tree.ledger, index, nullcontext)
    assert contents(tree.root) >= before
    return refetch, verify(tree.ledger, index, accounts).findings


def path_of(tree: Tree, uid: int, folder: str = "work/INBOX") -> Path:
    (found,) = Path(tree.root, "mail", folder, "cur").glob(f"*,U={uid}:2,*")
    return found


def quarantined(tree: Tree) -> list[str]:
    top = Path(tree.root, "quarantine")
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


class TestMissing:
    def test_linked_from_another_copy(self, tree: Tree, index: Index) -> None:
        path = path_of(tree, 3)
        path.unlink()
        assert mend(tree, index) == (set(), [])
        assert path.samefile(path_of(tree, 1, "work/Copy"))
        assert Reader(tree.ledger).wire(key_of(message(3))) == message(3)

    @pytest.mark.parametrize("number", [errno.EXDEV, errno.EACCES, errno.ENOSYS])
    def test_copied_where_links_fail(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        path = path_of(tree, 3)
        path.unlink()

        def refuse(*_: object) -> None:
            raise OSError(number, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        assert mend(tree, index) == (set(), [])
        assert path.stat().st_nlink == 1
        assert path.read_bytes() == message(3).replace(b"\r\n", b"\n")

    def test_never_from_a_rotten_copy(self, tree: Tree, index: Index) -> None:
        path_of(tree, 3).unlink()
        path_of(tree, 1, "work/Copy").write_bytes(b"rot")
        refetch, left = mend(tree, index)
        assert refetch == {"work"}
        # Until a pull brings it back.
        assert {(f.kind, f.folder) for f in left} == {("missing", "INBOX"), ("missing", "Copy")}

    def test_fetched_again_when_there_is_no_other(self, tree: Tree, index: Index) -> None:
        path_of(tree, 2).unlink()
        refetch, _ = mend(tree, index)
        assert refetch == {"work"}
        inbox = tree.folder()
        assert set(tree.ledger.failures(inbox)) == {2}
        assert inbox.uidnext is None
        tree.file(inbox, [message(2)], first=2, flags="S")  # as the pull does
        drain(tree.ledger, index, nullcontext)
        assert verify(tree.ledger, index).findings == []

    def test_a_whole_folder(self, tree: Tree, index: Index) -> None:
        shutil.rmtree(Path(tree.root, "mail/work/INBOX"))
        refetch, left = mend(tree, index)
        assert refetch == {"work"}
        assert {finding.kind for finding in left} == {"missing"}  # until a pull brings those back
        assert set(tree.ledger.failures(tree.folder())) == {1, 2}
        assert path_of(tree, 4).samefile(path_of(tree, 2, "work/Copy"))

    @pytest.mark.parametrize("why", ["gone", "earlier", "imported"])
    def test_what_no_server_has_goes_on_being_told(self, tree: Tree, index: Index, why: str) -> None:
        inbox = tree.folder()
        path_of(tree, 2).unlink()
        if why == "gone":
            tree.ledger.set_gone(inbox, [2], 5)
        elif why == "earlier":
            tree.ledger.new_epoch(inbox.id, 8)
        else:
            tree.ledger._db.execute(
                "UPDATE place SET epoch = -1, uid = -1 WHERE id = ?", (tree.ledger.places(inbox, [2])[0].id,)
            )
        refetch, left = mend(tree, index)
        assert refetch == set()
        assert [(f.kind, f.key) for f in left] == [("missing", key_of(message(2)).hex())]


class TestDamaged:
    def test_set_aside_and_linked_from_another_copy(self, tree: Tree, index: Index) -> None:
        path = path_of(tree, 3)
        path.write_bytes(b"rot")
        assert mend(tree, index) == (set(), [])
        assert quarantined(tree) == [f"work/INBOX/cur/{path.name}"]
        assert path.samefile(path_of(tree, 1, "work/Copy"))

    def test_set_aside_and_fetched_again(self, tree: Tree, index: Index) -> None:
        path_of(tree, 2).write_bytes(b"rot")
        refetch, _ = mend(tree, index)
        assert refetch == {"work"}
        assert Path(tree.root, "quarantine", quarantined(tree)[0]).read_bytes() == b"rot"
        assert Path(tree.root, "quarantine").stat().st_mode & 0o777 == 0o700

    def test_again_and_again_keeps_every_one(self, tree: Tree, index: Index) -> None:
        name = path_of(tree, 3).name
        for rot in (b"one", b"two", b"three"):
            path_of(tree, 3).write_bytes(rot)
            # The other name of the same bytes, if repair made a link, is damaged by the same.
            copy = path_of(tree, 1, "work/Copy")
            if copy.read_bytes() == rot:
                copy.unlink()
                copy.write_bytes(message(3).replace(b"\r\n", b"\n"))
            assert mend(tree, index) == (set(), [])
        assert quarantined(tree) == [f"work/INBOX/cur/{name}{end}" for end in ("", ".2", ".3")]

    def test_two_names_of_one_rotten_file(self, tree: Tree, index: Index) -> None:
        """Looking at one account only, its other name in another account is no remedy."""
        other, path = tree.folder("Linked", account="home"), path_of(tree, 2)
        (copy,) = tree.file(other, [message(2)])
        os.unlink(copy)
        os.link(path, copy)
        path.write_bytes(b"rot")
        refetch, _ = mend(tree, index, "work")
        assert refetch == {"work"}
        assert set(tree.ledger.failures(tree.folder())) == {2}

    def test_renamed_before_it_could_be_set_aside(self, tree: Tree, index: Index) -> None:
        path = path_of(tree, 2)
        path.write_bytes(b"rot")
        found = verify(tree.ledger, index).findings
        path.rename(f"{path}T")
        assert repair(tree.ledger, index, found) == set()
        assert [f.kind for f in verify(tree.ledger, index).findings] == ["damaged"]


class TestNameless:
    @pytest.mark.parametrize("content", [None, b"", b"{"])
    def test_a_known_folder_gets_its_name_from_the_ledger(
        self, tree: Tree, index: Index, content: bytes | None
    ) -> None:
        path = Path(tree.root, "mail/work/Copy/.folder.json")
        path.unlink() if content is None else path.write_bytes(content)
        (finding,) = verify(tree.ledger, index).findings
        assert (finding.kind, finding.account, finding.folder) == ("nameless", "work", "Copy")
        assert not finding.harmless
        assert verify(tree.ledger, index, ("home",)).findings == []
        assert mend(tree, index) == (set(), [])
        assert read_folder_file(str(path.parent)) == FolderFile("Copy", "Copy", "/")

    def test_an_unknown_one_is_taken_in(self, tree: Tree, index: Index) -> None:
        stranger = Tree(tree.root + "-other")
        stranger.file(stranger.folder("A: b"), [message(50)])
        stranger.ledger.close()
        target = Path(tree.root, "mail/work/A%3A b")
        shutil.copytree(Path(stranger.root, "mail/work/A%3A b"), target)
        (target / ".folder.json").unlink()
        assert mend(tree, index) == (set(), [])
        assert [spot.folder for spot in tree.ledger.spots(key_of(message(50)))] == ["A: b"]
        assert index.hit(key_of(message(50)))


class TestUnreadable:
    def test_is_left_where_it_is(self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        bad, real = str(path_of(tree, 2)), hashing._hash

        def refuse(path: str, *, crlf: bool) -> tuple[int, bytes]:
            if path == bad:
                raise OSError(errno.EIO, "Input/output error", path)
            return real(path, crlf=crlf)

        monkeypatch.setattr(hashing, "_hash", refuse)
        refetch, left = mend(tree, index)
        assert (refetch, [f.kind for f in left], quarantined(tree)) == (set(), ["unreadable"], [])
        assert 2 in tree.ledger.known(tree.folder())


def test_what_went_away_meanwhile_does_not_stop_it(tree: Tree, index: Index) -> None:
    shutil.copytree(Path(tree.root, "mail/work/Copy"), Path(tree.root, "mail/work/Strange"))
    strange = Path(tree.root, "mail/work/Strange")
    (strange / ".folder.json").write_text('{"raw": "Strange", "name": "Strange", "delimiter": "/"}')
    path_of(tree, 2).write_bytes(b"rot")
    path_of(tree, 3).unlink()
    found = verify(tree.ledger, index).findings
    assert {f.kind for f in found} == {"folder", "damaged", "missing"}
    shutil.rmtree(strange)
    path_of(tree, 2).unlink()
    assert repair(tree.ledger, index, found) == {"work"}
    assert Reader(tree.ledger).wire(key_of(message(3))) == message(3)


class TestUnknown:
    def test_a_file_is_taken_in(self, tree: Tree, index: Index) -> None:
        forget(tree.ledger, tree.ledger.places(tree.folder(), [2])[0].id)
        assert mend(tree, index) == (set(), [])
        assert set(tree.ledger.known(tree.folder())) == {1, 2, 3, 4}
        assert index.hit(key_of(message(2)))

    def test_a_foreign_file_with_a_name_of_ours_is_set_aside(self, tree: Tree, index: Index) -> None:
        path = path_of(tree, 2)
        name = path.name.replace(",U=2:", ",U=99:")
        path.with_name(name).write_bytes(b"something else")
        assert mend(tree, index) == (set(), [])
        assert quarantined(tree) == [f"work/INBOX/cur/{name}"]

    def test_a_second_file_is_set_aside(self, tree: Tree, index: Index) -> None:
        path = path_of(tree, 2)
        shutil.copy(path, f"{path}T")
        assert mend(tree, index) == (set(), [])
        assert quarantined(tree) == [f"work/INBOX/cur/{path.name}T"]

    def test_w_lost_by_another_program(self, tree: Tree, index: Index) -> None:
        path = path_of(tree, 2)
        lost = path.rename(path.with_name(path.name.replace(f",W={len(message(2))}", "")))
        assert mend(tree, index) == (set(), [])
        assert tree.ledger.places(tree.folder(), [2])[0].file == lost.name.partition(":")[0]
        assert len(list(path.parent.iterdir())) == 4

    def test_a_folder_is_taken_in(self, tree: Tree, index: Index) -> None:
        stranger = Tree(tree.root + "-other")
        stranger.file(stranger.folder("Strange"), [message(50), message(51)])
        stranger.ledger.close()
        shutil.copytree(Path(stranger.root, "mail/work/Strange"), Path(tree.root, "mail/work/Strange"))
        assert mend(tree, index) == (set(), [])
        assert set(tree.ledger.known(tree.folder("Strange"))) == {1, 2}
        assert index.count() == 7

    def test_folders_that_read_alike_are_not_mixed_up(self, tree: Tree, index: Index) -> None:
        """The raw names differ, the readable one is the same."""
        other = tree.ledger.add_folder("work", "COPY-raw", "Copy", "work/Copy%~0123456789abcdef")
        shutil.copytree(Path(tree.root, "mail/work/INBOX"), Path(tree.root, "mail", other.path))
        (Path(tree.root, "mail", other.path) / ".folder.json").write_text(
            '{"raw": "COPY-raw", "name": "Copy", "delimiter": "/"}'
        )
        assert mend(tree, index) == (set(), [])
        assert set(tree.ledger.known(tree.ledger.folder(other.id))) == {1, 2, 3, 4}
        assert set(tree.ledger.known(tree.folder("Copy"))) == {1, 2}


class TestIndex:
    def test_lacking_documents_are_indexed_and_strays_removed(self, tree: Tree, index: Index) -> None:
        index.apply((), [key_of(message(2))], up_to_date(tree.ledger))
        forget(tree.ledger, tree.ledger.places(tree.folder(account="home"), [1])[0].id)
        path_of(tree, 1, "home/INBOX").unlink()
        assert mend(tree, index) == (set(), [])
        assert index.keys() == {key_of(message(n)) for n in (1, 2, 3, 4)}

    @pytest.mark.parametrize("pattern", ["*.seg", "*.toc", "*"])
    @pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
    def test_a_damaged_one_is_built_anew(self, tree: Tree, index: Index, pattern: str, harm: str) -> None:
        for path in [
            path for path in Path(index_path(tree.root)).glob(pattern) if path.suffix in (".seg", ".toc")
        ]:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data if harm == "flip" else data[:-9])
            if harm == "remove":
                path.unlink()
        other = open_index(index_path(tree.root))
        assert mend(tree, other) == (set(), [])
        assert other.count() == 5
        other.close()

    def test_a_deleted_one(self, tree: Tree, index: Index) -> None:
        shutil.rmtree(index_path(tree.root))
        other = open_index(index_path(tree.root))
        assert mend(tree, other) == (set(), [])
        assert other.count() == 5


def test_everything_at_once(tree: Tree, index: Index) -> None:
    path_of(tree, 1).unlink()
    path_of(tree, 3).write_bytes(b"rot")
    path_of(tree, 4).unlink()
    shutil.copy(path_of(tree, 2), f"{path_of(tree, 2)}R")
    tree.ledger.fail(tree.folder(), 77, "no body", 0)
    index.apply((), [key_of(message(9))], up_to_date(tree.ledger))
    refetch, left = mend(tree, index)
    assert refetch == {"work"}
    assert {f.kind for f in left} == {"failed", "missing"}
    tree.file(tree.folder(), [message(1)], flags="S")
    drain(tree.ledger, index, nullcontext)
    assert [f.kind for f in verify(tree.ledger, index).findings] == ["failed"]
