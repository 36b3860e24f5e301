"""How a query was understood: its tree in words, and how many messages each part of it finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from archiver.archive.find import Asked, asking
from archiver.search.printer import words
from archiver.search.tree import And, Node, Not, Or, SamePlace

if TYPE_CHECKING:
    from archiver.archive import Archive


class Explained(msgspec.Struct, frozen=True):
    """A line of the tree, `depth` levels in, and how many messages it finds by itself.

    `at`: where it stands in the query, None for what joins several parts.
    """

    depth: int
    text: str
    count: int
    at: int | None


def explain(archive: Archive, text: str) -> tuple[Explained, ...]:
    """The tree of a query, line by line, the whole of it first; QueryError when it is wrong."""
    with asking(archive, text) as asked:
        return tuple(_lines(asked, asked.tree, 0))


def _lines(asked: Asked, node: Node, depth: int) -> Iterator[Explained]:
    if not isinstance(node, And | Or | Not | SamePlace):
        yield _line(asked, node, depth, words(node))
        return
    if isinstance(node, SamePlace):
        yield from _place_lines(asked, node, depth)
        return
    heads = {And: "all of these", Or: "any of these", Not: "none of this"}
    yield _line(asked, node, depth, heads[type(node)])
    for part in (node.part,) if isinstance(node, Not) else node.parts:
        yield from _lines(asked, part, depth + 1)


def _place_lines(asked: Asked, node: SamePlace, depth: int) -> Iterator[Explained]:
    """Facts that hold for one and the same place, each counted by itself, too."""
    if not isinstance(node.tree, And | Or):
        yield _line(asked, node, depth, words(node.tree))
        return
    both = isinstance(node.tree, And)
    yield _line(asked, node, depth, "in one place all of these" if both else "any of these")
    for part in node.tree.parts:
        yield from _lines(asked, SamePlace(part), depth + 1)


def _line(asked: Asked, node: Node, depth: int, text: str) -> Explained:
    return Explained(depth, text, asked.index.matches(node, asked.places), asked.where.get(node))
