"""A deleted ledger comes back from the tree, equal in all that the tree holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.errors import StoreError
from archiver.store.ledger import Ledger
from archiver.store.maildir import files, key_of, parse_name
from archiver.store.rebuild import Adopted, adopt, rebuild
from archiver.store.records import Folder
from tests.store.conftest import Trace, fast_directory
from tests.store.tree import Tree, forget, message

Fact = tuple[object, ...]
CHILD = """\
import sys
from archiver.store import rebuild
from archiver.store.ledger import Ledger
rebuild._BATCH = 5
with Ledger(sys.argv[1]) as ledger:
    real = ledger.add_places
    def slowly(*arguments):
        print("batch", flush=True)
        sys.stdin.readline()
        return real(*arguments)
    ledger.add_places = slowly
    rebuild.rebuild(ledger)
"""


def facts(ledger: Ledger) -> set[Fact]:
    """All that the tree holds of every place: V and U count in the present epoch only."""
    found: set[Fact] = set()
    for folder in ledger.folders():
        keys = {stored.id: stored.key for stored in ledger.stored(folder.id)}
        for place in ledger.all_places(folder.id):
            current = place.epoch == folder.epoch
            where = (folder.account, folder.name, folder.raw, folder.path, folder.uidvalidity)
            uid = place.uid if current else None
            found.add((*where, current, uid, keys[place.id], place.received, place.file, place.flags))
    return found


def documents(ledger: Ledger) -> set[tuple[bytes, int]]:
    return {(spot.key, spot.size) for key in ledger.keys("1") for spot in ledger.spots(key)}


@pytest.fixture
def full(tree: Tree) -> Tree:
    """Two accounts, nested folders, an earlier epoch, the same message twice, other line ends."""
    inbox = tree.folder("INBOX")
    tree.file(inbox, [message(n) for n in range(1, 8)], flags="S")
    tree.file(tree.folder("Lists/日本"), [message(n) for n in range(5, 11)], first=100)
    tree.file(tree.folder("Lists"), [b"bare\nline ends\n", b"", b"\r", message(1)], flags="FR")
    tree.file(tree.folder("INBOX", account="home", uidvalidity=1), [message(1), message(20)])
    old = tree.folder("Moved", uidvalidity=3)
    tree.file(old, [message(30), message(31)])
    tree.file(tree.folder("Moved", uidvalidity=4), [message(32)], flags="T")
    tree.folder("Empty")
    tree.ledger.rebuilt()
    return tree


class TestRebuild:
    def test_equal_in_all_that_the_tree_holds(self, full: Tree) -> None:
        before, sizes = facts(full.ledger), documents(full.ledger)
        told: list[tuple[str, int]] = []
        ledger = full.lose_ledger()
        assert ledger.fresh
        adopted = rebuild(ledger, lambda name, count: told.append((name, count)))
        assert adopted == Adopted(22, ())
        assert facts(ledger) == before
        assert documents(ledger) == sizes
        assert dict(told)["work/Lists/日本"] == 6 and dict(told)["work/Empty"] == 0
        assert ledger.last_change() == ledger.document_count() == len(sizes)
        for folder in ledger.folders():
            assert (folder.cursor, folder.uidnext, folder.modseq, folder.flags_at) == (0, None, None, 0)

    def test_again_changes_nothing(self, full: Tree) -> None:
        ledger = full.lose_ledger()
        rebuild(ledger)
        before, last = facts(ledger), ledger.last_change()
        assert rebuild(ledger) == Adopted(0, ())
        assert (facts(ledger), ledger.last_change()) == (before, last)

    @settings(max_examples=25)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["INBOX", "A", "A/b"]),
                st.integers(1, 3),
                st.lists(st.binary(max_size=6), min_size=1, max_size=4),
                st.sampled_from(["", "S", "FRT"]),
            ),
            max_size=6,
        )
    )
    def test_for_any_history(self, history: list[tuple[str, int, list[bytes], str]]) -> None:
        with fast_directory() as root:
            tree = Tree(root)
            first: dict[tuple[str, int], int] = {}
            for name, uidvalidity, wires, flags in sorted(history, key=lambda each: each[1]):
                uid = first.get((name, uidvalidity), 1)
                tree.file(tree.folder(name, uidvalidity=uidvalidity), wires, uid, flags)
                first[name, uidvalidity] = uid + len(wires)
            before, sizes = facts(tree.ledger), documents(tree.ledger)
            ledger = tree.lose_ledger()
            rebuild(ledger)
            assert (facts(ledger), documents(ledger)) == (before, sizes)
            ledger.close()

    def test_rotten_bytes_are_reported_and_not_taken(self, full: Tree) -> None:
        path = str(next(Path(full.root, "mail", "work", "INBOX", "cur").glob("*U=3:2,S")))
        content = Path(path).read_bytes()
        Path(path).write_bytes(content.replace(b"word3", b"wOrd3"))
        ledger = full.lose_ledger()
        assert rebuild(ledger) == Adopted(21, (path,))
        assert ledger.spots(key_of(message(3))) == []
        assert os.path.exists(path)
        Path(path).write_bytes(content)
        assert rebuild(ledger) == Adopted(1, ())

    def test_foreign_files_are_left_alone(self, full: Tree) -> None:
        before = facts(full.ledger)
        cur = Path(full.root, "mail", "work", "INBOX", "cur")
        (cur / "1600000000.M1P1.host:2,S").write_bytes(message(99))
        (cur.parent / "new" / "note.txt").touch()
        ledger = full.lose_ledger()
        assert rebuild(ledger) == Adopted(22, ())
        assert facts(ledger) == before

    def test_imported_files_have_no_uid(self, full: Tree) -> None:
        data = message(50).replace(b"\r\n", b"\n")
        name = f"5.{key_of(message(50)).hex()[:32]}.archiver,S={len(data)},W={len(message(50))}"
        Path(full.root, "mail", "work", "Empty", "cur", f"{name}:2,S").write_bytes(data)
        ledger = full.lose_ledger()
        rebuild(ledger)
        (spot,) = ledger.spots(key_of(message(50)))
        assert (spot.folder, spot.received, spot.flags, spot.current) == ("Empty", 5, "S", 0)
        (place,) = ledger.all_places(spot.folder_id)
        assert place.epoch == -1 and place.uid < 0

    def test_what_other_programs_did_to_names(self, full: Tree) -> None:
        cur = Path(full.root, "mail", "work", "INBOX", "cur")
        one, two, three = (next(cur.glob(f"*U={uid}:2,S")) for uid in (1, 2, 3))
        one.rename(cur / one.name.replace(":2,S", ":2,RS"))
        two.rename(cur.parent / "new" / two.name.partition(":")[0])
        three.rename(cur / three.name.replace(f",W={len(message(3))}", ""))
        ledger = full.lose_ledger()
        assert rebuild(ledger) == Adopted(22, ())
        assert {n: ledger.spots(key_of(message(n)))[-1].flags for n in (2, 3)} == {2: "", 3: "S"}
        assert {s.flags for s in ledger.spots(key_of(message(1))) if s.path == "work/INBOX"} == {"RS"}

    def test_a_file_renamed_while_it_is_read(self, full: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        ledger = full.lose_ledger()

        def then_renamed(folder: str) -> object:
            listing = list(files(folder))
            for name, flags, path in listing:
                if path.endswith("U=1:2,S"):
                    os.rename(path, os.path.join(folder, "cur", f"{name}:2,{flags}T"))
                if path.endswith("U=2:2,S"):
                    os.unlink(path)
            return listing

        monkeypatch.setattr("archiver.store.rebuild.files", then_renamed)
        assert rebuild(ledger) == Adopted(21, ())

    def test_a_tree_that_cannot_be_read(self, full: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        ledger = full.lose_ledger()

        def refuse(path: str) -> object:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(StoreError, match="cannot list the archive: Permission denied"):
            rebuild(ledger)

    def test_killed_and_continued(self, full: Tree, rounds: int) -> None:
        before = facts(full.ledger)
        for turn in range(max(rounds, 3)):
            full.lose_ledger().close()
            for kill in range(2):
                with subprocess.Popen(
                    [sys.executable, "-c", CHILD, full.root],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                ) as process:
                    assert process.stdin is not None and process.stdout is not None
                    for _ in range(turn % 4 + kill):
                        assert process.stdout.readline() == "batch\n"
                        print(file=process.stdin, flush=True)
                    assert process.stdout.readline() == "batch\n"
                    process.send_signal(signal.SIGKILL)
            full.ledger = Ledger(full.root)
            assert full.ledger.fresh
            assert facts(full.ledger) != before
            rebuild(full.ledger)
            assert facts(full.ledger) == before


class TestNameless:
    @pytest.mark.parametrize("content", [None, b"", b"{"])
    def test_is_taken_in_under_the_name_of_its_directory(self, full: Tree, content: bytes | None) -> None:
        path = Path(full.root, "mail/work/Lists/日本/.folder.json")
        path.unlink() if content is None else path.write_bytes(content)
        ledger = full.lose_ledger()
        assert rebuild(ledger) == Adopted(22, (), ("work/Lists/日本",))
        assert [spot.folder for spot in ledger.spots(key_of(message(10)))] == ["Lists/日本"]
        assert rebuild(ledger) == Adopted(0, (), ("work/Lists/日本",))

    def test_what_the_ledger_knows_stays(self, full: Tree) -> None:
        Path(full.root, "mail/work/INBOX/.folder.json").unlink()
        before = facts(full.ledger)
        assert rebuild(full.ledger) == Adopted(0, (), ("work/INBOX",))
        assert facts(full.ledger) == before


class TestAdopt:
    def test_nothing_lacking(self, full: Tree) -> None:
        for folder in full.ledger.folders():
            assert adopt(full.ledger, folder) == Adopted(0, ())

    def test_files_a_killed_run_left(self, tree: Tree) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        others = Tree(tree.root + "/other")
        others.file(others.folder(), [message(2), message(3)], first=2)
        for path in Path(others.root, "mail/work/INBOX/cur").iterdir():
            path.rename(Path(tree.directory(inbox), "cur", path.name))
        others.ledger.close()
        assert adopt(tree.ledger, inbox) == Adopted(2, ())
        assert set(tree.ledger.known(inbox)) == {1, 2, 3}

    def test_names_are_durable_before_the_ledger_knows(
        self, tree: Tree, trace: Trace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        forget(tree.ledger, tree.ledger.places(inbox, [1])[0].id)
        cur, real = os.path.join(tree.directory(inbox), "cur"), tree.ledger.add_places

        def add(*arguments: Any) -> None:
            assert ("fsync", cur, "") in trace.calls
            real(*arguments)

        monkeypatch.setattr(tree.ledger, "add_places", add)
        trace.calls.clear()
        assert adopt(tree.ledger, inbox).messages == 1

    def test_two_files_of_one_uid_are_believed_neither(self, tree: Tree) -> None:
        inbox = tree.folder()
        for number in (1, 2):
            tree.file(inbox, [message(number)])
        ledger = tree.lose_ledger()
        assert rebuild(ledger) == Adopted(2, ())
        folder = ledger.folders()[0]
        assert ledger.known(folder) == {}
        assert [place.epoch for place in ledger.all_places(folder.id)] == [0, 0]
        assert all(ledger.claimable(folder, key_of(message(n))) for n in (1, 2))

    def test_a_claim_that_was_killed_before_the_ledger_knew(self, tree: Tree) -> None:
        (path,) = tree.file(tree.folder(uidvalidity=7), [message(1)])
        new = tree.folder(uidvalidity=8)
        os.rename(path, path.replace(",V=7,U=1:", ",V=8,U=55:"))
        assert adopt(tree.ledger, new) == Adopted(1, ())
        (place,) = tree.ledger.all_places(new.id)
        assert (place.epoch, place.uid) == (new.epoch, 55)
        assert (parsed := parse_name(place.file)) and parsed[0].uidvalidity == 8

    def test_only_a_place_whose_file_is_gone_can_have_been_claimed(self, tree: Tree) -> None:
        """The same content was there twice; one of the two files became the new UID's."""
        first, _ = tree.file(tree.folder(uidvalidity=7), [message(1), message(1)])
        new = tree.folder(uidvalidity=8)
        os.rename(first, first.replace(",V=7,U=1:", ",V=8,U=55:"))
        assert adopt(tree.ledger, new) == Adopted(1, ())
        found = {(place.epoch, place.uid) for place in tree.ledger.all_places(new.id)}
        assert found == {(new.epoch - 1, 2), (new.epoch, 55)}

    def test_a_lost_file_of_the_present_is_no_claim(self, tree: Tree) -> None:
        """Its place stays, for verify to tell and a pull to bring the file back."""
        inbox = tree.folder()
        one, two = tree.file(inbox, [message(1), message(1)])
        os.unlink(one)
        forget(tree.ledger, tree.ledger.places(inbox, [2])[0].id)
        assert adopt(tree.ledger, inbox) == Adopted(1, ())
        assert set(tree.ledger.known(inbox)) == {1, 2}
        assert os.path.exists(two)

    def test_a_renamed_base_takes_its_place_again(self, tree: Tree) -> None:
        inbox = tree.folder()
        (path,) = tree.file(inbox, [message(1)])
        os.rename(path, lost := path.replace(f",W={len(message(1))}", ""))
        assert adopt(tree.ledger, inbox) == Adopted(1, ())
        (place,) = tree.ledger.all_places(inbox.id)
        assert (place.uid, place.file) == (1, os.path.basename(lost).partition(":")[0])

    def test_files_of_an_unknown_life_of_the_folder(self, tree: Tree) -> None:
        inbox = tree.folder(uidvalidity=7)
        (path,) = tree.file(inbox, [message(1)])
        os.rename(path, path.replace(",V=7,", ",V=99,"))
        forget(tree.ledger, tree.ledger.all_places(inbox.id)[0].id)
        assert adopt(tree.ledger, inbox) == Adopted(1, ())
        assert tree.ledger.known(inbox) == {}
        assert tree.ledger.folder(inbox.id).uidvalidity == 7
        assert len(tree.ledger.claimable(inbox, key_of(message(1)))) == 1

    def test_a_folder_without_a_directory(self, tree: Tree) -> None:
        folder: Folder = tree.ledger.add_folder("work", "Nowhere", "Nowhere", "work/Nowhere")
        assert adopt(tree.ledger, folder) == Adopted(0, ())
