"""Merged segments hold what one written at once would; which are merged, where, and who may stop it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from archiver.errors import DiskFullError, InterruptedRun, StoreError
from archiver.search.ids import Ids, id_term
from archiver.search.index import Document, IndexState, open_index
from archiver.search.whoosh import postings, write
from archiver.search.whoosh import record as records
from archiver.search.whoosh.gather import Gathered
from archiver.search.whoosh.merge import due, merge
from archiver.search.whoosh.record import SegmentRecord
from archiver.search.whoosh.segment import Segment
from tests.search.contract import key, samples
from tests.search.whoosh.test_gather import positions


def written(folder: Path, documents: Sequence[Document]) -> SegmentRecord:
    gathered = Gathered()
    for document in documents:
        gathered.add(document)
    return gathered.segment(str(folder))


def listed(segment: Segment) -> dict[str, dict[str, dict[bytes, list[int]]]]:
    """Field -> term -> key -> positions."""
    return {
        field: {
            term: {segment.keys[number]: spots for number, spots in of.items()}
            for term, of in positions(segment, field).items()
        }
        for field in ("subject", "body", "to")
    }


@given(
    seed=st.integers(0, 1 << 32),
    count=st.integers(2, 5),
    apart=st.booleans(),
    words=st.sampled_from([1, 3, 40]),
    gone=st.sampled_from([0.0, 0.02, 0.6]),
)
def test_as_if_written_at_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, apart: bool, words: int, gone: float
) -> None:
    """Neighbours in date and shuffled ones; lists of a block and of many; whole blocks and torn ones."""
    folder = tmp_path_factory.mktemp("merge")
    draw = Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "_BLOCK", 8)
        parts, live, number = [], [], 0
        for at in range(count):
            documents = []
            for _ in range(draw.randrange(1, 70)):
                text = " ".join(f"w{draw.randrange(words)}" for _ in range(draw.randrange(6)))
                date = draw.randrange(1000) + (1000 * at if apart else 0)
                documents.append(
                    Document(key(number), date, number, subject=text, body=f"{text} all {text}", to=(text,))
                )
                number += 1
            record = written(folder, documents)
            keys = Segment(str(folder), record).keys
            deleted = tuple(n for n in range(len(keys)) if draw.random() < gone)
            parts.append(replace(record, deleted=deleted))
            kept = set(keys).difference(keys[n] for n in deleted)
            live += [document for document in documents if document.key in kept]
        merged = merge(str(folder), parts, str(folder))
        if not live:
            assert merged is None
            return
        once = written(folder, live)
    assert merged is not None
    ours, expected = (Segment(str(folder), each) for each in (merged, once))
    assert ours.keys == expected.keys
    assert (ours.dates, ours.sizes) == (expected.dates, expected.sizes)
    assert listed(ours) == listed(expected)
    for field in ("subject", "body", "to"):
        assert ours.length_bytes(field) == expected.length_bytes(field)
        # Frequencies, lengths and first and last documents; where lists lie is another matter.
        assert [(term, entry[:23]) for term, entry in ours.terms.all(field)] == [
            (term, entry[:23]) for term, entry in expected.terms.all(field)
        ]
    assert [ours.stored(n) for n in range(len(live))] == [expected.stored(n) for n in range(len(live))]
    about = ("documents", "ordered", "oldest", "newest")
    assert [getattr(merged, name) for name in about] == [getattr(once, name) for name in about]


def test_blocks_are_taken_over_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "_BLOCK", 8)
    parts = [
        written(tmp_path, [Document(key(40 * at + n), 40 * at + n, 1, body="a a b") for n in range(34)])
        for at in range(3)
    ]
    unpacked: list[int] = []
    real = postings.Packed.unpacked

    def counting(block: postings.Packed) -> postings.Postings:
        unpacked.append(len(block.ids))
        return real(block)

    monkeypatch.setattr(postings.Packed, "unpacked", counting)
    merged = merge(str(tmp_path), parts, str(tmp_path))
    assert merged is not None and merged.documents == 102
    # For either term what is left after four blocks, and the block that comes next, but for the last.
    assert sorted(unpacked) == [2] * 6 + [8] * 4


def segment(number: int, documents: int, newest: int = 0, deleted: int = 0) -> SegmentRecord:
    return SegmentRecord(
        f"MAIN_{number}", 1, "", documents, True, newest - 10, newest, deleted=tuple(range(deleted))
    )


class TestDue:
    def test_eight_of_a_class(self) -> None:
        seven = [segment(n, 500) for n in range(7)]
        assert due(seven) == due([*seven, segment(8, 5000), segment(9, 60)]) == []
        assert due([*seven, segment(8, 70)]) == [*seven, segment(8, 70)]

    def test_those_that_are_closest_in_date(self) -> None:
        near = [segment(n, 100, newest=100_000 + 50 * n) for n in range(8)]
        far = [segment(20 + n, 100, newest=10_000 * n) for n in range(5)]
        assert due([*far, *near[::-1]]) == near

    def test_small_ones_first(self) -> None:
        large = [segment(n, 3000) for n in range(8)]
        small = [segment(10 + n, 10) for n in range(8)]
        assert due([*large, *small]) == small
        assert due(large) == large

    def test_of_large_ones_more_are_let_be(self) -> None:
        many = [segment(n, 4096, newest=100 * n) for n in range(24)]
        assert due(many[1:]) == []
        assert due(many) == many[:8]

    def test_one_that_is_more_than_a_fifth_deleted(self) -> None:
        assert due([segment(1, 100, deleted=20)]) == []
        assert due([segment(1, 100, deleted=21), segment(2, 10)]) == [segment(1, 100, deleted=21)]

    @given(st.lists(st.integers(1, 100_000), max_size=60))
    def test_it_comes_to_an_end_with_few_of_each_class(self, sizes: list[int]) -> None:
        segments = [segment(n, size, newest=n) for n, size in enumerate(sizes)]
        for number in range(1000):
            chosen = due(segments)
            if not chosen:
                break
            segments = [each for each in segments if each not in chosen]
            segments.append(segment(1000 + number, sum(each.documents for each in chosen)))
        assert due(segments) == []
        assert sum(each.documents for each in segments) == sum(sizes)
        assert len(segments) <= 3 * 7 + 3 * 23


class TestProcess:
    """More than so many documents are merged in a process of their own; here, all."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(write, "_IN_PROCESS", 0)
        folder = tmp_path / "index"
        index = open_index(str(folder))
        for number in range(8):
            index.apply(samples()[5 * number : 5 * number + 5], (), IndexState("L", number))
        return folder

    def assert_untouched(self, folder: Path) -> None:
        index = open_index(str(folder))
        index.apply((), (), IndexState("L", 9))
        assert len(list(folder.glob("*.seg"))) == 8
        assert not list(folder.glob("draft-*"))
        index.verify()

    def test_of_its_own(self, folder: Path) -> None:
        index = open_index(str(folder))
        assert index.maintain() is True
        assert (index.maintain(), index.count(), len(list(folder.glob("*.seg")))) == (False, 40, 1)

    def test_given_up(self, folder: Path) -> None:
        def stop() -> None:
            raise InterruptedRun()

        with pytest.raises(InterruptedRun):
            open_index(str(folder)).maintain(idle=stop)
        self.assert_untouched(folder)

    def test_killed(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(write, "_merge", killed)
        with pytest.raises(StoreError, match="killed"):
            open_index(str(folder)).maintain()
        self.assert_untouched(folder)

    def test_without_room(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(write, "_merge", full)
        with pytest.raises(DiskFullError):
            open_index(str(folder)).maintain()
        self.assert_untouched(folder)

    def test_replaced_meanwhile(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody else has merged them before this one read them."""
        index = open_index(str(folder))
        generation = records.newest(str(folder))
        assert generation is not None
        before = records.read(str(folder), generation)
        assert open_index(str(folder)).maintain() is True
        assert write.maintain(str(folder), before, nothing, lambda: None) is True
        assert (index.maintain(), index.count()) == (False, 40)


def nothing() -> AbstractContextManager[None]:
    raise AssertionError("the lock is not needed for that")


def killed(work: object) -> None:
    os._exit(1)


def full(work: object) -> Exception:
    return DiskFullError("no space left for the index")


def test_facts_of_documents_that_stand_between_those_of_others(tmp_path: Path) -> None:
    """A list of one posting has an empty value where longer ones of such a field have none."""
    others = [Document(key(n), 10 * n, 1, has_attachment=True, id=f"{n}@example.org") for n in range(9)]
    alone = Document(key(99), 45, 1, has_attachment=True, refers=("3@example.org",))
    segments = [written(tmp_path, others), written(tmp_path, [alone])]
    merged = merge(str(tmp_path), segments, str(tmp_path))
    assert merged
    found = Segment(str(tmp_path), merged)
    entry = found.terms.get("has", "attachment")
    assert entry and [ids for ids, _, _ in found.blocks(entry)] == [list(range(10))]
    assert found.ids(5) == Ids("", (id_term("3@example.org"),))
    assert [found.ids(number).own for number in (4, 6)] == [id_term(f"{n}@example.org") for n in (4, 5)]
