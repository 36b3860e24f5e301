"""Documents of a segment stand in the order of their dates, and the record says which do."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.search.index import Document, IndexState, open_index
from archiver.search.query import parse
from archiver.search.whoosh import record as records
from archiver.search.whoosh.merge import merge
from archiver.search.whoosh.segment import Segment
from tests.search.contract import NOW, key, no_places, samples
from tests.search.whoosh.stock import write_with_stock


def segments(folder: Path) -> list[Segment]:
    generation = records.newest(str(folder))
    assert generation is not None
    return [Segment(str(folder), each) for each in records.read(str(folder), generation).segments]


def dates_and_keys(segment: Segment) -> list[tuple[int, bytes]]:
    return list(zip(segment.dates, segment.keys, strict=True))


def assert_true(segment: Segment) -> None:
    """What the record says of the order holds."""
    found = dates_and_keys(segment)
    assert segment.record.ordered == (found == sorted(found))
    assert (segment.record.oldest, segment.record.newest) == (min(segment.dates), max(segment.dates))


def expected(numbers: range) -> list[tuple[int, bytes]]:
    return sorted((document.date, document.key) for document in samples()[numbers.start : numbers.stop])


def test_a_batch_is_written_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    open_index(str(folder)).apply(samples()[:90], (), IndexState("L", 1))
    (segment,) = segments(folder)
    assert dates_and_keys(segment) == expected(range(90))
    assert segment.record.ordered
    assert_true(segment)


def test_dates_before_1970_and_one_document_alone(tmp_path: Path) -> None:
    index = open_index(str(tmp_path / "index"))
    index.apply([Document(key(1), -5, 0), Document(key(2), -9, 0)], (), IndexState("L", 1))
    index.apply([Document(key(3), -7, 0)], (), IndexState("L", 2))
    first, second = segments(tmp_path / "index")
    assert (first.record.oldest, first.record.newest, first.record.ordered) == (-9, -5, True)
    assert (second.record.oldest, second.record.newest, second.record.ordered) == (-7, -7, True)


def test_overlapping_segments_are_merged_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    index = open_index(str(folder))
    for start in (0, 100, 200):
        index.apply(samples()[start : start + 100], [key(3)], IndexState("L", start))
    record = merge(str(folder), [each.record for each in segments(folder)], str(folder))
    assert record is not None and record.ordered
    merged = Segment(str(folder), record)
    live = set(range(300)) - {3}
    assert dates_and_keys(merged) == sorted((samples()[n].date, samples()[n].key) for n in live)
    assert_true(merged)
    for field in merged.terms.fields:
        for _, entry in merged.terms.all(field):
            ids = [number for block in merged.blocks(entry) for number in block[0]]
            assert ids == sorted(set(ids))


@pytest.mark.parametrize("text", ["alpha", '"alpha beta"', "al*", "-gamma", "has:attachment"])
def test_a_segment_that_was_written_in_no_order_is_merged_in_order(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "index"
    write_with_stock(folder, samples())
    (stock,) = segments(folder)
    assert not stock.record.ordered
    assert_true(stock)
    index = open_index(str(folder))
    before = index.search(parse(text, now=NOW), no_places, limit=1000)
    index.apply((), [key(n) for n in range(0, 300, 3)], IndexState("L", 2))
    assert index.maintain()
    (merged,) = segments(folder)
    assert merged.record.ordered
    assert_true(merged)
    kept = {key(n) for n in range(300) if n % 3}
    after = index.search(parse(text, now=NOW), no_places, limit=1000)
    assert after.hits == tuple(hit for hit in before.hits if hit.key in kept)
