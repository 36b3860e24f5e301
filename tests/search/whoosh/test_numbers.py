"""The ledger's numbers beside a segment: noted, believed only when whole, and never needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from archiver.search.index import Index, IndexState, open_index
from archiver.search.query import parse
from archiver.search.whoosh import numbers
from tests.search import plain
from tests.search.contract import NOW, Facts, key, samples, with_place

ASKED = parse("folder:A -is:read", now=NOW)


class Counting(Facts):
    """Facts that remember how many numbers were asked for."""

    def __init__(self, ledger: str = "L", shift: int = 0) -> None:
        super().__init__(with_place)
        self.ledger = ledger
        self.shift = shift
        self.asked = 0

    def numbers(self, keys: Sequence[bytes]) -> Sequence[int]:
        self.asked += len(keys)
        return [number + self.shift for number in super().numbers(keys)]


@pytest.fixture(autouse=True)
def worth_noting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "WORTH_NOTING", 10)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = open_index(str(tmp_path / "index"))
    index.apply(samples()[:40], (), IndexState("L", 1))
    index.apply(samples()[40:45], (), IndexState("L", 2))
    return index


def files(index: Index) -> list[Path]:
    return list(Path(index.path).glob("*.numbers"))  # type: ignore[attr-defined]


def answers(index: Index, facts: Facts) -> bool:
    """Whether a new process finds what it should."""
    expected = plain.found(ASKED, samples()[:45], with_place)
    hits = open_index(index.path).search(ASKED, facts, limit=1000).hits  # type: ignore[attr-defined]
    assert expected
    return [hit.key for hit in hits] == [document.key for document in expected]


def asked(index: Index, facts: Counting) -> int:
    """How many numbers a right answer took, beside those of the documents that have such places."""
    facts.asked = 0
    assert answers(index, facts)
    return facts.asked - sum(len(facts.found(part)) for part in (parse("folder:A", now=NOW), READ))


READ = parse("is:read", now=NOW)


def test_numbers_that_are_noted_are_not_asked(index: Index) -> None:
    facts = Counting()
    assert asked(index, facts) == 45
    index.note_numbers(facts)
    assert len(files(index)) == 1
    assert asked(index, facts) == 5


def test_nothing_to_note_takes_no_lock(index: Index) -> None:
    facts = Counting()
    index.note_numbers(facts)
    before, facts.asked = files(index)[0].stat(), 0
    index.note_numbers(facts)
    assert (facts.asked, files(index)[0].stat()) == (0, before)


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 164])
def test_a_damaged_file_is_not_believed(index: Index, damage: bytes) -> None:
    facts = Counting()
    index.note_numbers(facts)
    files(index)[0].write_bytes(damage)
    assert asked(index, facts) == 45


def test_one_wrong_bit_is_seen(index: Index) -> None:
    facts = Counting()
    index.note_numbers(facts)
    (path,) = files(index)
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    assert asked(index, facts) == 45


def test_another_ledger_has_other_numbers(index: Index) -> None:
    index.note_numbers(Counting())
    other = Counting("M", shift=7)
    assert asked(index, other) == 45
    index.apply((), (), IndexState("M", 1))
    assert files(index) == []
    index.note_numbers(other)
    assert asked(index, other) == 5
    assert answers(index, Counting())


def test_what_the_ledger_does_not_know_is_asked_again(index: Index) -> None:
    class Ignorant(Counting):
        def numbers(self, keys: Sequence[bytes]) -> Sequence[int]:
            return [0 if each == key(3) else n for each, n in zip(keys, super().numbers(keys), strict=True)]

    index.note_numbers(Ignorant())
    assert files(index) == []
    opened = open_index(index.path)  # type: ignore[attr-defined]
    opened.search(ASKED, Ignorant())
    hits = opened.search(ASKED, Counting(), limit=1000).hits
    assert len(hits) == len(plain.found(ASKED, samples()[:45], with_place))


def test_the_file_goes_with_its_segment(index: Index) -> None:
    index.note_numbers(Counting())
    (before,) = files(index)
    index.apply((), [key(number) for number in range(30)], IndexState("L", 3))
    assert files(index) == [before]
    assert index.maintain()
    assert files(index) == []
