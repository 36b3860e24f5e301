"""The contract, on the engine on Whoosh's files."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.search.index import Index, IndexState, open_index
from archiver.search.whoosh import groups, lexicon, lists, numbers, pages, postings, rank, shown, totals
from tests.search.contract import IndexContract, key, places, sample, samples
from tests.search.whoosh.stock import write_with_stock


class TestWhooshIndex(IndexContract):
    @classmethod
    def open(cls, path: str) -> Index:
        return open_index(path)

    @pytest.fixture(scope="class", params=["whole", "overlapping", "merged", "stock"])
    @classmethod
    def filled(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Index]:
        """The documents in segments of each kind; but for the first, everything is read in small pieces."""
        folder = tmp_path_factory.mktemp("filled") / "index"
        with pytest.MonkeyPatch.context() as patch:
            if request.param != "whole":
                in_small_pieces(patch)
            index = open_index(str(folder))
            {"merged": merged, "stock": stock}.get(request.param, cls.fill)(index)
            if request.param != "whole":
                index.note_numbers(places)
            yield index
            index.close()


def in_small_pieces(patch: pytest.MonkeyPatch) -> None:
    """Let 300 documents be many of everything."""
    patch.setattr(postings, "_BLOCK", 7)
    patch.setattr(lists, "_KEPT", 2)
    patch.setattr(groups, "_LISTS", 2)
    patch.setattr(shown, "_PIECE", 32)
    patch.setattr(shown, "_FEW", 3)
    patch.setattr(lexicon, "_LINES", 3)
    patch.setattr(pages, "_WINDOW", 3)
    patch.setattr(pages, "_CHEAP", 2)
    patch.setattr(rank, "_WINDOW", 9)
    patch.setattr(totals, "_COUNTED", 11)
    patch.setattr(numbers, "WORTH_NOTING", 50)


def merged(index: Index) -> None:
    """All in one segment."""
    documents = list(samples())
    for start in range(0, 300, 38):
        index.apply(documents[start : start + 38], (), IndexState("L", 4))
    while index.maintain():
        pass
    assert len(segments(index)) == 1


def stock(index: Index) -> None:
    """A segment of Whoosh's own writer, in no order, some of its documents replaced by those of another."""
    documents = [sample(n, random.Random(-n)) if n % 7 == 0 else samples()[n] for n in range(200)]
    write_with_stock(Path(index.path), documents)  # type: ignore[attr-defined]
    index.apply([*samples()[200:], *samples()[::7]], [key(9999)], IndexState("L", 4))
    assert len(segments(index)) == 2


def segments(index: Index) -> list[Path]:
    return list(Path(index.path).glob("*.seg"))  # type: ignore[attr-defined]
