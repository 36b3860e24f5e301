"""Gathered documents: what stands where, in which order they come out, how much memory it takes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.search.index import Document, IndexState, open_index
from archiver.search.positions import unpack
from archiver.search.whoosh.build import length_byte, pack_stored
from archiver.search.whoosh.gather import Gathered
from archiver.search.whoosh.parts import Parts
from archiver.search.whoosh.postings import weights_of
from archiver.search.whoosh.segment import LENGTHS, Segment
from tests.search.contract import key, samples


def segment(folder: Path, documents: list[Document], stemming: str = "off") -> Segment:
    gathered = Gathered(stemming)
    for document in documents:
        gathered.add(document)
    return Segment(str(folder), gathered.segment(str(folder)))


def positions(found: Segment, field: str) -> dict[str, dict[int, list[int]]]:
    """Term -> document -> positions, with the weights checked."""
    listed: dict[str, dict[int, list[int]]] = {}
    for term, entry in found.terms.all(field):
        into = listed.setdefault(term.decode(), {})
        for block in found.blocks(entry):
            assert block[2] is not None
            for number, weight, value in zip(block[0], weights_of(block), block[2], strict=True):
                into[number] = unpack(value)
                assert len(into[number]) == weight
    return listed


def test_values_of_a_field_are_kept_apart(tmp_path: Path) -> None:
    found = segment(tmp_path, [Document(key(1), 1, 1, to=("a b a", "", "b c"), subject="a")])
    assert positions(found, "to") == {"a": {0: [0, 2]}, "b": {0: [1, 5]}, "c": {0: [6]}}
    assert positions(found, "subject") == {"a": {0: [0]}}
    assert found.record.lengths == {"to": 5, "subject": 1}


def test_the_number_of_a_version_stands_where_the_version_does(tmp_path: Path) -> None:
    documents = [
        Document(key(1), 1, 1, to=("v2 2 vi2 v", "v10.v2")),
        Document(key(2), 2, 1, to=("x 2 v2",)),
        Document(key(3), 3, 1, to=("2",)),
    ]
    found = segment(tmp_path, documents)
    assert positions(found, "to") == {
        "v2": {0: [0, 6], 1: [2]},
        "2": {0: [0, 1, 6], 1: [1, 2], 2: [0]},
        "vi2": {0: [2]},
        "v": {0: [3]},
        "v10": {0: [5]},
        "10": {0: [5]},
        "x": {1: [0]},
    }
    assert found.record.lengths == {"to": 10}


def test_the_stem_stands_where_the_word_does(tmp_path: Path) -> None:
    documents = [
        Document(key(1), 1, 1, subject="two connections", to=("connections",)),
        Document(key(2), 2, 1, subject="connect connected"),
    ]
    found = segment(tmp_path, documents, "english")
    assert positions(found, "subject") == {
        "two": {0: [0]},
        "connections": {0: [1]},
        "=en:connect": {0: [1], 1: [1]},
        "connect": {1: [0]},
        "connected": {1: [1]},
    }
    assert positions(found, "to") == {"connections": {0: [0]}}
    assert found.record.lengths == {"subject": 4, "to": 1}


@given(st.integers(0, 1 << 32), st.integers(1, 400), st.integers(1, 12))
def test_every_occurrence_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, words: int
) -> None:
    """Many and few documents, many and few words, so that lists of all lengths come up."""
    draw = Random(seed)
    listed = [[f"w{draw.randrange(words)}" for _ in range(draw.randrange(8))] for _ in range(count)]
    dates = [draw.randrange(50) for _ in range(count)]
    documents = [
        Document(key(n), dates[n], 1, body=" ".join(texts), to=tuple(texts[:3]))
        for n, texts in enumerate(listed)
    ]
    found = segment(tmp_path_factory.mktemp("segment"), documents)
    order = sorted(range(count), key=lambda n: (dates[n], key(n)))
    expected: dict[str, dict[int, list[int]]] = {}
    apart: dict[str, dict[int, list[int]]] = {}
    for number, n in enumerate(order):
        for at, word in enumerate(listed[n]):
            expected.setdefault(word, {}).setdefault(number, []).append(at)
        for at, word in enumerate(listed[n][:3]):
            apart.setdefault(word, {}).setdefault(number, []).append(2 * at)
    assert positions(found, "body") == expected
    assert positions(found, "to") == apart
    assert found.keys == [key(n) for n in order]
    assert list(found.dates) == sorted(dates)


def test_positions_beyond_what_is_remembered(tmp_path: Path) -> None:
    body = " ".join(["filler"] * 70_000 + ["late"] + ["filler"] * 300 + ["late", "last"])
    found = positions(segment(tmp_path, [Document(key(1), 1, 1, body=body)]), "body")
    assert found["late"] == {0: [70_000, 70_301]}
    assert found["last"] == {0: [70_302]}
    assert len(found["filler"][0]) == 70_300


def test_memory_grows_with_what_is_gathered() -> None:
    gathered = Gathered()
    seen = [gathered.memory]
    for document in samples()[:50]:
        gathered.add(document)
        seen.append(gathered.memory)
    assert seen == sorted(set(seen))


def test_more_documents_than_a_segment_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.search.whoosh.write.MOST", 30)
    index = open_index(str(tmp_path / "index"))
    index.apply(samples()[:100], (), IndexState("L", 1))
    assert len(list((tmp_path / "index").glob("*.seg"))) == 4
    assert index.keys() == {key(n) for n in range(100)}


@pytest.mark.parametrize("size", [0, 10, 65_400, 70_000])
def test_what_is_shown_is_kept(tmp_path: Path, size: int) -> None:
    import pickle
    import zlib

    kept = {"subject": "ä" * size, "from": "b"}
    assert pickle.loads(zlib.decompress(pack_stored(kept))) == kept


def test_documents_are_found_by_keys_that_begin_alike(tmp_path: Path) -> None:
    keys = [bytes(8) + bytes([n]) * 24 for n in range(6)] + [b"x" * 32]
    gathered = Gathered()
    for number, each in enumerate(keys):
        gathered.add(Document(each, number, 1))
    parts = Parts(str(tmp_path), gathered.segment(str(tmp_path)))
    assert parts.find({keys[2], keys[4], bytes(8) + b"?" * 24}) == [2, 4]
    assert parts.find({keys[6]}) == [6]
    assert parts.find({b"y" * 32}) == parts.find(set()) == []
    assert list(parts.keys) == keys


def test_lengths_are_kept_as_whoosh_does() -> None:
    from whoosh.util.numeric import length_to_byte

    for length in [*range(3000), *range(3000, 120_000, 97), 106_373, 106_374, 1 << 30]:
        assert length_byte(length) == length_to_byte(length)
    assert all(length_byte(length) == byte for byte, length in enumerate(LENGTHS) if byte > 1)
