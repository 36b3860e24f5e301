"""The index follows the ledger: every change once, whatever is killed, damaged or exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from archiver.errors import DamagedError
from archiver.indexer import IndexReport, drain
from archiver.indexer import feed as feeding
from archiver.search.index import Bulk, Document, Index, IndexState, Total, open_index
from archiver.search.places import LedgerPlaces
from archiver.search.query import parse as parse_query
from archiver.search.whoosh import commit as committing
from archiver.search.whoosh import numbers
from archiver.search.whoosh import record as records
from archiver.search.whoosh.record import SegmentRecord
from archiver.store.layout import index_path
from archiver.store.maildir import key_of
from archiver.store.rebuild import rebuild
from archiver.verify import verify
from tests.indexer.fresh import assert_as_fresh, up_to_date
from tests.search.whoosh.test_damage import zero_postings
from tests.store.tree import Backup, Tree, message

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(str(tmp_path))
    yield made
    made.ledger.close()


@pytest.fixture
def index(tree: Tree) -> Iterator[Index]:
    opened = open_index(index_path(tree.root))
    yield opened
    opened.close()


def feed(tree: Tree, index: Index, **options: Callable[..., bool] | str | int) -> IndexReport:
    return drain(tree.ledger, index, nullcontext, **options)  # type: ignore[arg-type]


def found(tree: Tree, index: Index, query: str, stemming: str = "off") -> list[bytes]:
    asked = parse_query(query, now=NOW, stemming=stemming)
    hits = index.search(asked, LedgerPlaces(tree.ledger), limit=1000)
    assert hits.total == Total(len(hits.hits), exact=True)
    return [hit.key for hit in hits.hits]


def keys(numbers: Iterable[int]) -> set[bytes]:
    return {key_of(message(n)) for n in numbers}


def assert_equal(tree: Tree, index: Index) -> None:
    """What the ledger knows is in the index, once, and up to the last change."""
    assert index.keys() == tree.ledger.keys("1")
    assert index.count() == len(index.keys())
    assert index.state() == up_to_date(tree.ledger)


def segments(tree: Tree) -> list[Path]:
    return sorted(Path(index_path(tree.root)).glob("*.seg"))


def die_after(step: Callable[..., object]) -> Callable[..., None]:
    """The step, and a kill."""

    def died(*values: object) -> None:
        step(*values)
        raise KeyboardInterrupt

    return died


class TestDrain:
    def test_everything_then_only_what_is_new(self, tree: Tree, index: Index) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(n) for n in range(1, 8)])
        report = feed(tree, index)
        assert (report.added, report.removed, report.unreadable, report.rebuilt) == (7, 0, [], "")
        assert_equal(tree, index)
        assert found(tree, index, "word3") == [key_of(message(3))]
        assert feed(tree, index).added == 0
        tree.file(tree.folder("Other"), [message(n) for n in range(6, 10)], received=1_700_000_000)
        assert feed(tree, index).added == 2
        assert_equal(tree, index)
        assert set(found(tree, index, "folder:other subject:number")) == keys(range(6, 10))

    def test_what_a_message_says_of_itself(self, tree: Tree, index: Index) -> None:
        types = (
            "text/plain",
            "application/pkcs7-mime; smime-type=enveloped-data",
            "multipart/signed; boundary=b",
        )
        wires = [b"Content-Type: %b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n" % type_.encode() for type_ in types]
        tree.file(tree.folder(), wires)
        feed(tree, index)
        assert found(tree, index, "is:encrypted") == [key_of(wires[1])]
        assert found(tree, index, "is:signed") == [key_of(wires[2])]
        assert found(tree, index, "is:unread -is:signed -has:attachment") == [key_of(wires[0])]

    def test_nothing_at_all(self, tree: Tree, index: Index) -> None:
        assert feed(tree, index) == IndexReport()
        assert index.state() is None

    def test_a_few_at_once_under_the_lock(self, tree: Tree, index: Index) -> None:
        tree.file(tree.folder(), [message(n) for n in range(1, 18)])
        held: list[int] = []
        told: list[tuple[int, int]] = []

        @contextmanager
        def lock() -> Iterator[None]:
            held.append(index.count())
            yield

        drain(tree.ledger, index, lock, advance=lambda done, total: told.append((done, total)))
        assert held == [0, 17, 17]
        assert told == [(17, 17)]
        assert_equal(tree, index)

    def test_what_arrives_meanwhile_comes_along(self, tree: Tree, index: Index) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(n) for n in range(1, 8)])

        def arrive(done: int, total: int) -> None:
            if done == 7:
                tree.file(inbox, [message(n) for n in range(8, 11)], first=8)

        assert drain(tree.ledger, index, nullcontext, advance=arrive).added == 10
        assert_equal(tree, index)

    def test_a_few_large_ones_are_not_held_together(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feeding, "BATCH_BYTES", 250_000)
        wires = [message(n, body="large " * 20_000) for n in range(1, 6)] + [message(n) for n in range(6, 9)]
        tree.file(tree.folder(), wires)
        applied: list[tuple[int, int]] = []
        real = index.apply

        def apply(documents: Sequence[Document], removed: Sequence[bytes], state: IndexState) -> None:
            applied.append((len(documents), state.change))
            real(documents, removed, state)

        monkeypatch.setattr(index, "apply", apply)
        assert feed(tree, index).added == 8
        assert applied == [(3, 0), (5, 8)]
        assert_equal(tree, index)

    def test_a_document_asked_for_again_replaces_itself(self, tree: Tree, index: Index) -> None:
        tree.file(tree.folder(), [message(n) for n in range(1, 5)])
        feed(tree, index)
        tree.ledger.touch(keys([2, 3]) | {key_of(b"never seen")})
        assert feed(tree, index).added == 2
        assert_equal(tree, index)

    def test_an_older_copy_gives_an_undated_message_its_date(self, tree: Tree, index: Index) -> None:
        wire = b"Subject: undated\r\n\r\nbody\r\n"
        tree.file(tree.folder("New"), [wire], received=1_700_000_000)
        feed(tree, index)
        tree.file(tree.folder("Old"), [wire], received=1_500_000_000)
        feed(tree, index)
        hit = index.hit(key_of(wire))
        assert hit is not None and hit.date == 1_500_000_060

    def test_unreadable_documents_are_said_and_stop_nothing(self, tree: Tree, index: Index) -> None:
        paths = tree.file(tree.folder(), [message(n) for n in range(1, 6)])
        Path(paths[1]).write_bytes(b"rot")
        Path(paths[3]).unlink()
        report = feed(tree, index)
        assert report.added == 3
        assert {lost.key: lost.reason.partition(":")[0] for lost in report.unreadable} == {
            key_of(message(2)): f"the file of message {key_of(message(2)).hex()[:12]} is damaged",
            key_of(
                message(4)
            ): f"the file of message {key_of(message(4)).hex()[:12]} is gone from the archive",
        }
        assert index.keys() == keys([1, 3, 5])
        assert index.state() == up_to_date(tree.ledger)
        assert feed(tree, index) == IndexReport()


class TestStemming:
    def test_a_change_of_the_setting_builds_the_index_anew_and_is_said(
        self, tree: Tree, index: Index
    ) -> None:
        tree.file(tree.folder(), [message(1, "connections"), message(2, "connected")])
        feed(tree, index)
        assert found(tree, index, "connect") == []
        for language in ("english", "german", "off"):
            report = feed(tree, index, stemming=language)
            assert (report.rebuilt, report.added) == ("its words were stemmed in another way", 2)
            assert index.keys() == tree.ledger.keys("1")
            state = index.state()
            assert state and (state.stemming, state.change) == (language, tree.ledger.last_change())
            assert feed(tree, index, stemming=language) == IndexReport()
            assert len(found(tree, index, "connect", language)) == (2 if language == "english" else 0)

    def test_in_processes(self, tree: Tree, index: Index) -> None:
        tree.file(tree.folder(), [message(n, "connections") for n in range(1, feeding.FEW + 2)])
        feed(tree, index, stemming="english", workers=2)
        assert len(found(tree, index, "connected", "english")) == feeding.FEW + 1

    def test_another_ledger_too(self, tree: Tree, index: Index) -> None:
        tree.file(tree.folder(), [message(1), message(2)])
        feed(tree, index, stemming="english")
        rebuild(tree.lose_ledger())
        report = feed(tree, index, stemming="english")
        assert (report.added, report.rebuilt) == (0, "it was fed from another ledger")
        assert feed(tree, index, stemming="english") == IndexReport()


class TestAnotherLedger:
    def test_brought_in_line_without_reading_everything_again(self, tree: Tree, index: Index) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(n) for n in range(1, 10)])
        feed(tree, index)
        next(Path(tree.directory(inbox), "cur").glob("*U=4:2,")).unlink()
        tree.file(inbox, [message(10)], first=10)
        rebuild(tree.lose_ledger())
        report = feed(tree, index)
        assert (report.added, report.removed, report.rebuilt) == (1, 1, "it was fed from another ledger")
        assert index.keys() == tree.ledger.keys("1") == keys(set(range(1, 11)) - {4})
        assert feed(tree, index) == IndexReport()

    def test_a_ledger_put_back_from_a_backup(self, tree: Tree, index: Index) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        backup = Backup(tree)
        tree.file(inbox, [message(2), message(3)], first=2)
        feed(tree, index)
        backup.put_back()
        assert feed(tree, index).removed == 2
        tree.file(tree.folder(), [message(2), message(3)], first=2)
        assert feed(tree, index).added == 2
        assert_equal(tree, index)

    @pytest.mark.parametrize("step", ["", "rename", "touch", "apply"])
    def test_one_put_back_that_has_changed_as_often_since(
        self, tree: Tree, index: Index, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The numbers of its changes and documents mean others; a drain is killed at a step, or after it."""
        monkeypatch.setattr(numbers, "WORTH_NOTING", 1)
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        feed(tree, index)
        backup = Backup(tree)
        paths = tree.file(inbox, [message(n) for n in (2, 3, 4, 6)], first=2)
        feed(tree, index)
        assert noted_numbers(tree)
        backup.put_back()
        for path in (paths[0], paths[3]):
            Path(path).unlink()
        tree.file(tree.folder("Other"), [message(6)], flags="F")
        tree.file(inbox, [message(n) for n in (3, 4, 5)], first=3)
        with monkeypatch.context() as patch:
            for noun in (tree.ledger, index):
                if hasattr(noun, step):
                    patch.setattr(noun, step, die_after(getattr(noun, step)))
            with pytest.raises(KeyboardInterrupt) if step else nullcontext():
                feed(tree, index, tidy=False)
        feed(tree, index, tidy=False)  # segments and what is noted beside them stay
        other = open_index(index_path(tree.root))
        for asked in (index, other):
            assert_equal(tree, asked)
            assert set(found(tree, asked, "folder:other")) == keys([6])
            assert set(found(tree, asked, "folder:inbox")) == keys([1, 3, 4, 5])
            assert set(found(tree, asked, "is:flagged")) == keys([6])
            assert found(tree, asked, "word5") == [key_of(message(5))]
            assert found(tree, asked, "word2") == []
        assert feed(tree, index) == IndexReport()
        assert [each.kind for each in verify(tree.ledger, index).findings] == []

    def test_one_put_back_that_the_index_was_not_ahead_of(self, tree: Tree, index: Index) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        feed(tree, index)
        tree.file(inbox, [message(2)], first=2)
        backup, name = Backup(tree), tree.ledger.id
        tree.file(inbox, [message(3)], first=3)
        backup.put_back()
        tree.file(inbox, [message(4)], first=4)
        assert (report := feed(tree, index)).added == 2 and not report.rebuilt
        assert_equal(tree, index)
        assert tree.ledger.id == name

    @pytest.mark.parametrize("step", ["touch", "apply"])
    def test_killed_on_the_way(
        self, tree: Tree, index: Index, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(n) for n in range(1, 4)])
        feed(tree, index)
        tree.file(inbox, [message(n) for n in range(4, 7)], first=4)
        rebuild(tree.lose_ledger())

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(tree.ledger if step == "touch" else index, step, die)
            with pytest.raises(KeyboardInterrupt):
                feed(tree, index)
        feed(tree, index)
        assert_equal(tree, index)

    def test_mail_that_arrives_while_the_two_are_compared(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        feed(tree, index)
        rebuild(tree.lose_ledger())
        inbox = tree.folder()
        real = tree.ledger.keys

        def then_more(where: str) -> set[bytes]:
            known = real(where)
            tree.file(inbox, [message(2)], first=2)
            return known

        with monkeypatch.context() as patch:
            patch.setattr(tree.ledger, "keys", then_more)
            feed(tree, index)
        assert_equal(tree, index)
        assert index.keys() == keys([1, 2])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    """One byte in the middle, as a bad sector would have it; the last writer was killed."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    (path.parent / "writing").touch()


def remove(path: Path) -> None:
    path.unlink()


def recorded(tree: Tree) -> dict[str, SegmentRecord]:
    folder = index_path(tree.root)
    return {segment.id: segment for segment in records.read(folder, records.newest(folder) or 0).segments}


def noted_numbers(tree: Tree) -> dict[str, bytes]:
    """What is noted beside each segment."""
    found = Path(index_path(tree.root)).glob("*.numbers")
    return {path.name.partition(".")[0]: path.read_bytes() for path in found}


class TestDamaged:
    @pytest.mark.parametrize("harm", [cut, flip, remove])
    def test_only_what_a_damaged_segment_held_is_added_again(
        self, tree: Tree, index: Index, harm: Callable[[Path], None]
    ) -> None:
        inbox = tree.folder()
        for number in (1, 4, 7):
            before = segments(tree)
            tree.file(inbox, [message(n) for n in range(number, number + 3)], first=number)
            feed(tree, index, tidy=False)
            if number == 4:
                (damaged,) = set(segments(tree)) - set(before)
        tree.ledger.touch(keys([5]))
        feed(tree, index, tidy=False)
        harm(damaged)
        other = open_index(index_path(tree.root))
        tree.file(inbox, [message(10)], first=10)
        report = feed(tree, other)
        assert (report.added, report.removed) == (3, 0)
        assert report.rebuilt.endswith("; what it held is indexed again")
        assert_equal(tree, other)
        assert set(found(tree, other, "subject:number")) == keys(range(1, 11))
        other.verify()
        assert feed(tree, other) == IndexReport()
        other.close()

    @pytest.mark.parametrize("harm", [cut, flip, remove])
    def test_what_is_known_of_the_others_stays_and_of_it_goes(
        self,
        tree: Tree,
        index: Index,
        harm: Callable[[Path], None],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The record of dates and order, and the file of the ledger's numbers of each segment."""
        monkeypatch.setattr(numbers, "WORTH_NOTING", 1)
        inbox = tree.folder()
        for number in (1, 4, 7):
            tree.file(inbox, [message(n) for n in range(number, number + 3)], number, "F" * (number == 4))
            feed(tree, index)
        before, noted = recorded(tree), noted_numbers(tree)
        damaged = segments(tree)[1]
        assert len(before) == 3 and noted.keys() == before.keys()
        harm(damaged)
        other = open_index(index_path(tree.root))
        assert feed(tree, other).added == 3
        after = recorded(tree)
        kept = before.keys() - {damaged.stem}
        assert len(after) == 3 and damaged.stem not in after
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert all(segment.ordered for segment in after.values())
        now = noted_numbers(tree)
        assert now.keys() == after.keys()
        assert {name: now[name] for name in kept} == {name: noted[name] for name in kept}
        assert_as_fresh(tree.ledger, other, tmp_path / "fresh")
        other.close()

    @pytest.mark.parametrize("harm", [cut, flip, remove])
    def test_found_when_nothing_is_new(self, tree: Tree, index: Index, harm: Callable[[Path], None]) -> None:
        inbox = tree.folder()
        for number in (1, 3):
            tree.file(inbox, [message(number), message(number + 1)], first=number)
            feed(tree, index, tidy=False)
        harm(segments(tree)[0])
        other = open_index(index_path(tree.root))
        report = feed(tree, other)
        assert report.added == 2
        assert report.rebuilt.endswith("; what it held is indexed again")
        assert_equal(tree, other)
        other.verify()
        assert feed(tree, other) == IndexReport()
        other.close()

    def test_met_by_a_search_it_is_found_by_the_next_drain(self, tree: Tree, index: Index) -> None:
        tree.file(tree.folder(), [message(n) for n in range(1, 5)])
        feed(tree, index)
        zero_postings(Path(index_path(tree.root)))
        other = open_index(index_path(tree.root))
        assert feed(tree, other) == IndexReport()
        with pytest.raises(DamagedError, match="is damaged"):
            found(tree, other, "subject:number")
        assert feed(tree, other).added == 4
        assert set(found(tree, other, "subject:number")) == keys(range(1, 5))
        other.verify()
        other.close()

    @pytest.mark.parametrize("step", ["touch", "commit"])
    def test_killed_while_it_is_mended(
        self, tree: Tree, index: Index, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = tree.folder()
        for number in (1, 3):
            tree.file(inbox, [message(number), message(number + 1)], first=number)
            feed(tree, index)
        flip(segments(tree)[0])
        tree.file(inbox, [message(5)], first=5)

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            if step == "touch":
                patch.setattr(tree.ledger, "touch", die)
            else:
                patch.setattr(committing, "commit", die)
            with pytest.raises(KeyboardInterrupt):
                feed(tree, index)
        feed(tree, index)
        assert_equal(tree, index)
        assert set(found(tree, index, "subject:number")) == keys(range(1, 6))

    def test_damaged_in_the_middle_of_a_bulk_it_begins_again(self, tree: Tree, index: Index) -> None:
        tree.file(tree.folder(), [message(n) for n in range(1, 7)])
        feed(tree, index)
        state = index.state()
        assert state
        bulk = Bulk(state.change, 0, 0, 3)
        index.apply((), (), replace(state, change=0, bulk=bulk))
        flip(segments(tree)[0])
        report = feed(tree, index)
        assert (report.added, report.rebuilt.partition(" of")[2]) == (6, " the index is not what was written")
        assert_equal(tree, index)

    def test_a_damaged_table_of_contents_costs_nothing(self, tree: Tree, index: Index) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(n) for n in range(1, 6)])
        feed(tree, index)
        flip(next(Path(index_path(tree.root)).glob("*.toc")))
        tree.file(inbox, [message(6)], first=6)
        assert feed(tree, index).added == 1
        assert_equal(tree, index)
        index.verify()

    @pytest.mark.parametrize(
        ("pattern", "harm"),
        [
            *[("*.seg", cut), ("*.seg", flip), ("*.seg", remove)],
            *[("archiver-*.json", cut), ("archiver-*.json", remove)],
        ],
    )
    def test_rebuilt_and_said(
        self, tree: Tree, index: Index, pattern: str, harm: Callable[[Path], None]
    ) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(n) for n in range(1, 6)])
        feed(tree, index)
        harm(next(Path(index_path(tree.root)).glob(pattern)))
        tree.file(inbox, [message(6)], first=6)
        other = open_index(index_path(tree.root))
        report = feed(tree, other)
        assert report.rebuilt
        assert report.added == 6
        assert_equal(tree, other)
        assert set(found(tree, other, "subject:number")) == keys(range(1, 7))
        assert feed(tree, other) == IndexReport()
        other.close()

    def test_a_deleted_index_is_a_new_one(self, tree: Tree, index: Index) -> None:
        tree.file(tree.folder(), [message(n) for n in range(1, 6)])
        feed(tree, index)
        for path in Path(index_path(tree.root)).iterdir():
            path.unlink()
        other = open_index(index_path(tree.root))
        report = feed(tree, other)
        assert (report.added, report.rebuilt) == (5, "")
        assert_equal(tree, other)

    def test_found_while_tidying_up(self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        tree.file(tree.folder(), [message(n) for n in range(1, 6)])
        real = index.maintain
        found = iter([DamagedError("a segment is not what was written")])

        def once(*how: Any) -> bool:
            for error in found:
                raise error
            return real(*how)

        monkeypatch.setattr(index, "maintain", once)
        report = feed(tree, index)
        assert report.rebuilt == "a segment is not what was written; what it held is indexed again"
        assert report.added == 5
        assert_equal(tree, index)

    def test_an_index_that_is_always_damaged_is_an_error(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree.file(tree.folder(), [message(1)])

        def always(*_: object) -> None:
            raise DamagedError("bad memory")

        monkeypatch.setattr(index, "apply", always)
        with pytest.raises(DamagedError, match="bad memory"):
            feed(tree, index)

    def test_an_index_that_others_may_write_is_left_alone(self, tree: Tree, index: Index) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        feed(tree, index)
        before = sorted(path.name for path in Path(index_path(tree.root)).iterdir())
        Path(index_path(tree.root)).chmod(0o777)
        tree.file(inbox, [message(2)], first=2)
        other = open_index(index_path(tree.root))
        with pytest.raises(DamagedError, match="somebody else"):
            feed(tree, other)
        assert sorted(path.name for path in Path(index_path(tree.root)).iterdir()) == before

    def test_a_damaged_ledger_is_no_reason_to_throw_the_index_away(
        self, tree: Tree, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = tree.folder()
        tree.file(inbox, [message(1)])
        feed(tree, index)
        tree.file(inbox, [message(2)], first=2)

        def damaged(*_: object) -> None:
            raise DamagedError("the ledger is damaged")

        for method in ("changed", "last_change"):
            with monkeypatch.context() as patch, pytest.raises(DamagedError, match="ledger"):
                patch.setattr(tree.ledger, method, damaged)
                feed(tree, index)
            assert index.keys() == keys([1])
        assert len(segments(tree)) == 1
