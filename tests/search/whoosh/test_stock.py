"""Ours and stock Whoosh's: each reads what the other wrote, and they agree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import whoosh.index
from whoosh import query, scoring
from whoosh.codec.whoosh3 import W3Codec
from whoosh.util.numeric import byte_to_length

from archiver.search.analysis import terms
from archiver.search.fields import CONTENT
from archiver.search.index import IndexState, Order, open_index
from archiver.search.positions import unpack
from archiver.search.query import parse
from archiver.search.whoosh.evaluate import Reading
from archiver.search.whoosh.rank import scores, weights
from archiver.search.whoosh.segment import LENGTHS, Segment
from tests.search.contract import NOW, key, no_places, samples
from tests.search.whoosh.stock import record_stock, write_with_stock

QUERIES: dict[str, Callable[[str], Any]] = {
    "alpha": lambda field: query.Term(field, "alpha"),
    "naive": lambda field: query.Term(field, "naive"),
    "東京": lambda field: query.Term(field, "東京"),
    "absent": lambda field: query.Term(field, "absent"),
    '"alpha beta"': lambda field: query.Phrase(field, ["alpha", "beta"]),
    '"report v2"': lambda field: query.Phrase(field, ["report", "v2"]),
    "al*": lambda field: query.Prefix(field, "al"),
    "alpha OR beta": lambda field: query.Or([query.Term(field, "alpha"), query.Term(field, "beta")]),
    "alpha beta": lambda field: query.And([query.Term(field, "alpha"), query.Term(field, "beta")]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments of ours, with deletions."""
    folder = tmp_path_factory.mktemp("stock") / "index"
    index = open_index(str(folder))
    for start in (0, 100, 200):
        gone = [key(number) for number in range(start - 100, start, 9)]
        index.apply(samples()[start : start + 100], gone, IndexState("L", start))
    return folder


def stock_hits(folder: Path, wanted: Any) -> set[bytes]:
    with whoosh.index.open_dir(str(folder)).searcher() as searcher:
        keys = searcher.reader().column_reader("key")
        return {bytes(keys[number]) for number in searcher.docs_for_query(wanted)}


def our_hits(folder: Path, text: str) -> set[bytes]:
    hits = open_index(str(folder)).search(parse(text, now=NOW), no_places, limit=1000)
    return {hit.key for hit in hits.hits}


@pytest.mark.parametrize("field", CONTENT)
@pytest.mark.parametrize("text", QUERIES)
def test_stock_whoosh_finds_the_same(folder: Path, text: str, field: str) -> None:
    assert stock_hits(folder, QUERIES[text](field)) == our_hits(folder, f"{field}:({text})")


@pytest.mark.parametrize("text", QUERIES)
def test_after_stock_whoosh_optimised_it(folder: Path, tmp_path: Path, text: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    stock: Any = whoosh.index.open_dir(str(copy))
    stock.optimize()
    assert stock_hits(copy, QUERIES[text]("body")) == our_hits(folder, f"body:({text})")
    with stock.reader() as reader:
        documents = {bytes(reader.column_reader("key")[n]): n for n in reader.all_doc_ids()}
        ours = open_index(str(folder))
        assert documents.keys() == ours.keys()
        for each, number in documents.items():
            hit = ours.hit(each)
            stored = reader.stored_fields(number)
            assert hit and (stored["subject"], stored["from"]) == (hit.subject, hit.sender)
            assert reader.column_reader("date")[number] == hit.date
            assert reader.column_reader("size")[number] == hit.size


@pytest.fixture(scope="module")
def optimised(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same index as Whoosh makes it one segment, and a record of ours for that."""
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("optimised") / "index"))
    stock: Any = whoosh.index.open_dir(str(copy))
    stock.optimize()
    record_stock(copy)
    return copy


@pytest.mark.parametrize("field", CONTENT)
@pytest.mark.parametrize("text", [*QUERIES, "-alpha", '"alpha be*"', "東*"])
def test_what_stock_whoosh_optimised_is_read(folder: Path, optimised: Path, text: str, field: str) -> None:
    tree = parse(f"{field}:({text})", now=NOW)
    orders: tuple[Order, ...] = ("newest", "oldest")
    for order in orders:
        before = open_index(str(folder)).search(tree, no_places, order, 5, 1000)
        assert open_index(str(optimised)).search(tree, no_places, order, 5, 1000) == before


def test_what_stock_whoosh_optimised_is_merged_and_goes_on(optimised: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(optimised, tmp_path / "index"))
    index = open_index(str(copy))
    before = index.keys()
    gone = sorted(before)[::3]
    index.apply([samples()[0]], gone, IndexState("L", 2))
    assert index.maintain()
    assert index.keys() == before.difference(gone) | {key(0)}
    assert all(segment.record.ordered for segment in _segments(copy))
    assert stock_hits(copy, query.Term("body", "alpha")) == our_hits(copy, "body:alpha")


@pytest.mark.parametrize("field", ["subject", "body"])
@pytest.mark.parametrize("text", ["alpha", "alpha OR beta", "alpha beta", "naive OR 東京 OR gamma"])
def test_scores_are_those_of_stock_whoosh(folder: Path, text: str, field: str) -> None:
    tree = parse(f"{field}:({text})", now=NOW)
    words = [word for word in terms(text) if len(word) > 2 or word == "東京"]
    joined = query.And if text == "alpha beta" else query.Or
    wanted = joined([query.Term(field, word) for word in dict.fromkeys(words)])
    with whoosh.index.open_dir(str(folder)).searcher(weighting=scoring.BM25F()) as searcher:
        keys = searcher.reader().column_reader("key")
        expected = {bytes(keys[hit.docnum]): hit.score for hit in searcher.search(wanted, limit=None)}
    readings = [Reading(segment, no_places) for segment in _segments(folder)]
    wanted_words = weights(readings, tree)
    ours = {
        reading.segment.key(number): score
        for reading in readings
        for number, score in scores(reading, wanted_words, tree, reading.everything).items()
    }
    assert ours.keys() == expected.keys() and expected
    assert ours == pytest.approx(expected)


def _segments(folder: Path) -> list[Segment]:
    from archiver.search.whoosh import record as records

    generation = records.newest(str(folder))
    assert generation is not None
    return [Segment(str(folder), each) for each in records.read(str(folder), generation).segments]


def test_a_segment_of_the_stock_writer_can_be_changed(tmp_path: Path) -> None:
    write_with_stock(tmp_path / "index", samples())
    index = open_index(str(tmp_path / "index"))
    index.apply([samples()[0]], [key(1)], IndexState("L", 2))
    assert index.count() == 299


def test_stock_reads_every_posting_we_wrote(folder: Path) -> None:
    stock: Any = whoosh.index.open_dir(str(folder))
    checked = 0
    with stock.reader() as reader:
        for (segment_reader, _), segment in zip(reader.leaf_readers(), _segments(folder), strict=True):
            decode = segment_reader.schema["body"].format.decode_positions
            for field, term in segment_reader.all_terms():
                entry = segment.terms.get(field, term.decode())
                assert entry is not None
                ours: dict[int, bytes] = {}
                for ids, _, values in segment.blocks(entry):
                    ours.update(zip(ids, values or [b""] * len(ids), strict=True))
                matcher = segment_reader._terms.matcher(field, term, segment_reader.schema[field].format)
                theirs = {}
                while matcher.is_active():
                    theirs[matcher.id()] = matcher.value()
                    matcher.next()
                assert theirs.keys() == ours.keys()
                if field in CONTENT:
                    assert all(decode(theirs[n]) == unpack(ours[n]) for n in theirs)
                checked += len(theirs)
    assert checked > 5000


def test_length_bytes_stand_for_what_they_do_in_whoosh() -> None:
    assert list(LENGTHS) == [byte_to_length(byte) for byte in range(256)]


def test_the_toc_holds_stock_classes_only(folder: Path) -> None:
    (toc,) = folder.glob("_MAIN_*.toc")
    assert b"archiver" not in toc.read_bytes()
    assert isinstance(whoosh.index.open_dir(str(folder))._segments()[0].codec(), W3Codec)


SEARCH = """
import sys
from datetime import datetime
from archiver.search.index import open_index
from archiver.search.query import parse
from tests.search.contract import no_places
hits = open_index(sys.argv[1]).search(parse("alpha OR 東*", now=datetime.now()), no_places)
print(hits.total.count, [name for name in sys.modules if name.split(".")[0] == "whoosh"])
"""


def test_searching_does_not_import_whoosh(folder: Path) -> None:
    command = [sys.executable, "-c", SEARCH, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total, modules = done.stdout.split(maxsplit=1)
    assert int(total) > 0
    assert modules.strip() == "[]"
