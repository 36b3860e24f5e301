"""Conversations found by the engine on Whoosh's files."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from archiver.search.index import Document, Index, IndexState, open_index
from archiver.search.query import parse
from archiver.search.tree import Thread
from archiver.search.whoosh import conversations
from tests.search.contract import NOW, key, no_places
from tests.search.conversations import ConversationContract


class TestConversations(ConversationContract):
    @classmethod
    def open(cls, path: str) -> Index:
        return open_index(path)


def test_a_conversation_without_end_is_cut(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "CONVERSATION_LIMIT", 10)
    index = open_index(f"{tmp_path}/index")
    chain = [Document(key(n), n, 1, id=f"{n}@x", refers=(f"{n - 1}@x",)) for n in range(20)]
    index.apply(chain, (), IndexState("L", 1))
    found = index.conversation(Thread(key=key(0)))
    assert [each.hit.key for each in found.messages] == [key(n) for n in range(10)]
    assert not found.whole
    (listed,) = index.search_threads(parse("-absent", now=NOW), no_places).hits
    assert (listed.matched, listed.messages) == (20, 20), "a list tells of all, whatever a walk does"
    index.apply((), [key(n) for n in range(10, 20)], IndexState("L", 2))
    assert index.conversation(Thread(key=key(0))).whole


def test_the_first_pages_put_no_sets_together(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_index(f"{tmp_path}/index")
    index.apply([Document(key(n), n, 1, id=f"{n}@x") for n in range(300)], (), IndexState("L", 1))
    monkeypatch.setattr(conversations, "Sets", None)
    walks: list[object] = []
    walk = conversations.Conversations.walk

    def counted(self: conversations.Conversations, start: Iterable[conversations.Spot]) -> object:
        walks.append(start)
        return walk(self, start)

    monkeypatch.setattr(conversations.Conversations, "walk", counted)
    found = index.search_threads(parse("-absent", now=NOW), no_places, offset=5, limit=20)
    assert [each.hit.key for each in found.hits] == [key(n) for n in range(294, 274, -1)]
    assert (found.more, len(walks)) == (True, 26)
