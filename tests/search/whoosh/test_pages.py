"""What a page costs, and what is said about the pages that nobody looked at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from archiver.search.index import Document, Index, IndexState, Order, Total, open_index
from archiver.search.query import parse
from archiver.search.whoosh import lists, pages, totals
from archiver.search.whoosh.engine import WhooshIndex
from archiver.search.whoosh.pages import by_date
from tests.search.contract import NOW, key, no_places

COUNT = 6000
SEGMENT = 2000


def words(number: int) -> str:
    """Every document is `all`; two neighbours of four are `half`, and of these one in ten goes `half way`."""
    found = ["all"]
    if number % 4 < 2:
        found += ["half", "way" if number % 40 < 2 else "all", "way"]
    found += ["old"] * (number < COUNT // 3)
    found += ["seldom"] * (number % 500 == 7)
    return " ".join(found)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WhooshIndex]:
    """Three segments, each newer than the one before, but that the two newer ones overlap a little."""
    index = WhooshIndex(f"{tmp_path_factory.mktemp('pages')}/index")
    for start in range(0, COUNT, SEGMENT):
        numbers = range(start, start + SEGMENT)
        prepared = [Document(key(n), date(n), 10, body=words(n)) for n in numbers]
        index.apply(prepared, (), IndexState("L", start))
    yield index
    index.close()


def date(number: int) -> int:
    return 1_000_000_000 + 60 * (number - 500 * (2 * SEGMENT <= number < 2 * SEGMENT + 30))


def in_order(word: str) -> list[bytes]:
    numbers = [number for number in range(COUNT) if word in words(number)]
    return [key(number) for number in sorted(numbers, key=lambda n: (date(n), key(n)))]


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for each block that is unpacked."""
    blocks: list[int] = []
    for name in ("unpacked", "unpacked_ids"):

        def counting(data: memoryview, real: object = getattr(lists, name)) -> object:
            blocks.append(len(data))
            return real(data)  # type: ignore[operator]

        monkeypatch.setattr(lists, name, counting)
    return blocks


def search(index: Index, text: str, order: Order = "newest", offset: int = 0, limit: int = 20) -> list[bytes]:
    hits = index.search(parse(text, now=NOW), no_places, order, offset, limit).hits
    return [hit.key for hit in hits]


@pytest.mark.parametrize("text", ["all", "half", "half all", '"half way"', "al*", "-seldom", "body:all"])
@pytest.mark.parametrize("newest", [True, False])
def test_a_page_reads_little_and_only_where_it_is(
    index: WhooshIndex, unpacked: list[int], text: str, newest: bool
) -> None:
    tree = parse(text, now=NOW)
    found, _, scans = by_date(index._readings(no_places), tree, newest, 20)
    assert len(found) == 20
    assert len(unpacked) <= (24 if "way" in text else 10)
    assert [scan.looked > 0 for scan in scans] == [not newest, False, newest]


def test_a_date_leads_to_its_place(index: WhooshIndex, unpacked: list[int]) -> None:
    tree = parse("all before:2001-09-10", now=NOW)
    found, _, scans = by_date(index._readings(no_places), tree, True, 20)
    assert [entry[0] for entry in found] == [date(n) for n in range(number_before("2001-09-10"), 0, -1)][:20]
    assert sum(scan.looked for scan in scans) < 300
    assert len(unpacked) <= 4


def number_before(day: str) -> int:
    limit = datetime.fromisoformat(day).replace(tzinfo=NOW.tzinfo).timestamp()
    return max(number for number in range(COUNT) if date(number) < limit)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("word", ["all", "half", "old", "seldom"])
def test_pages_put_together_are_the_whole(index: WhooshIndex, word: str, order: Order) -> None:
    expected = in_order(word) if order == "oldest" else in_order(word)[::-1]
    found = [search(index, word, order, offset, 700) for offset in range(0, COUNT + 700, 700)]
    assert [each for page in found for each in page] == expected


def test_a_total_that_costs_little_is_counted(index: WhooshIndex) -> None:
    for text in ("seldom", "seldom all", "seldom OR old seldom", "half before:2001-09-10"):
        tree = parse(text, now=NOW)
        total = index.search(tree, no_places).total
        assert total == Total(index.matches(tree, no_places), exact=True)


@pytest.mark.parametrize(
    ("text", "true"), [("all", 6000), ("half", 3000), ('"half way"', 300), ("old", 2000), ("-old", 4000)]
)
def test_other_totals_are_estimated_from_everywhere(
    index: WhooshIndex, monkeypatch: pytest.MonkeyPatch, text: str, true: int
) -> None:
    monkeypatch.setattr(totals, "_CHEAP", 10)
    monkeypatch.setattr(totals, "_SAMPLES", 8)
    tree = parse(text, now=NOW)
    assert index.matches(tree, no_places) == true
    total = index.search(tree, no_places).total
    assert not total.exact
    assert total.count == pytest.approx(true, rel=0.3)
    assert len(str(total.count).rstrip("0")) <= 2


def test_what_samples_miss_is_estimated_from_the_page_or_counted(
    index: WhooshIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_CHEAP", 1)
    monkeypatch.setattr(totals, "_CHEAP", 1)
    monkeypatch.setattr(totals, "_SAMPLE", 3)
    tree = parse("seldom", now=NOW)
    assert index.matches(tree, no_places) == 12
    total = index.search(tree, no_places, limit=8).total
    assert not total.exact
    assert 8 <= total.count <= 20
    assert index.search(tree, no_places, limit=2).total == Total(12, exact=True)


def test_a_deep_page_has_at_least_what_was_seen(index: WhooshIndex) -> None:
    hits = index.search(parse("all", now=NOW), no_places, offset=COUNT - 30, limit=20)
    assert hits.total.count >= COUNT - 10
    hits = index.search(parse("all", now=NOW), no_places, offset=COUNT - 10, limit=20)
    assert (len(hits.hits), hits.total) == (10, Total(COUNT, exact=True))


def test_relevance_counts_all(index: WhooshIndex) -> None:
    hits = index.search(parse("half", now=NOW), no_places, "relevance", 0, 5)
    assert hits.total == Total(3000, exact=True)


def test_open_reads_nothing_of_the_documents(index: WhooshIndex, tmp_path: Path) -> None:
    opened = open_index(index.path)
    opened.search(parse("absent", now=NOW), no_places)
    for segment in opened._segments():  # type: ignore[attr-defined]
        assert not {"keys", "by_key", "dates", "sizes", "_stored", "live"} & vars(segment).keys()
