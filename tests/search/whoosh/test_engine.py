"""The contract, on the engine on Whoosh's files."""

from __future__ import annotations

from archiver.search.index import Index, open_index
from tests.search.contract import IndexContract


class TestWhooshIndex(IndexContract):
    @classmethod
    def open(cls, path: str) -> Index:
        return open_index(path)
