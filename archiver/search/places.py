"""Facts of places, from the ledger: a tree of predicates as a condition on its table `place`.

One row is one place, so that predicates joined by AND hold for one and the same; a tag, which is the
message's, holds for all of its places. Uses the columns document, folder, flags, labels, received and gone,
the table `folder`, and the functions `glob_folder(pattern, text)` and `has_label(pattern, labels)`.
Values travel as parameters only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import msgspec

from archiver.search.tree import And, Node, Or, Place, Received, SamePlace

if TYPE_CHECKING:
    from archiver.search.index import IndexState
    from archiver.store.ledger import Ledger

_IS = {
    "unread": "instr(flags, 'S') = 0",
    "read": "instr(flags, 'S') > 0",
    "flagged": "instr(flags, 'F') > 0",
    "answered": "instr(flags, 'R') > 0",
    "draft": "instr(flags, 'D') > 0",
    "gone": "gone <> 0",
}


Tagged = Callable[[str], str]
"""The numbers of the documents with a tag that fits a glob, with commas between."""


class LedgerPlaces:
    """`index.Places` of an open ledger, for an index with this state.

    Before the index is brought in line with a ledger that was put back from a backup, numbers are asked.
    """

    def __init__(self, ledger: Ledger, state: IndexState | None = None) -> None:
        self._ledger = ledger
        self._has_noted = state is None or fed_from(ledger, state)

    @property
    def ledger(self) -> str:
        return self._ledger.id if self._has_noted else ""

    def documents(self, tree: Node) -> AbstractSet[int]:
        match tree:
            case SamePlace(Place("tag", value)):
                return msgspec.json.decode(f"[{self._tagged(_pattern(value))}]", type=set[int])
        return self._ledger.documents(*compile(tree, self._tagged))

    def _tagged(self, pattern: str) -> str:
        from archiver.store.layout import user_path
        from archiver.store.tags import Tags

        if not os.path.exists(user_path(self._ledger.root)):
            return ""
        with Tags(self._ledger.root) as tags:
            return tags.documents(pattern)

    def numbers(self, keys: Sequence[bytes]) -> Sequence[int]:
        return self._ledger.numbers(keys)


def fed_from(ledger: Ledger, state: IndexState) -> bool:
    """Whether an index was fed from this ledger, whose history up to there is still the same."""
    return (state.ledger, state.mark) == (ledger.id, ledger.mark(state.seen))


def compile(node: Node, tagged: Tagged) -> tuple[str, tuple[object, ...]]:
    """(where, parameters) of a SamePlace or of the tree inside one."""
    match node:
        case SamePlace(tree):
            return compile(tree, tagged)
        case And(parts):
            return _joined(" AND ", [compile(part, tagged) for part in parts])
        case Or(parts):
            return _joined(" OR ", [compile(part, tagged) for part in parts])
        case Received(start, end):
            return _between("received", start, end)
        case Place("is", value):
            return _IS[value], ()
        case Place("account", value):
            return _in_folders("glob_folder(?, account)"), (value,)
        case Place("folder", value):
            pattern = _pattern(value)
            return _in_folders("glob_folder(?, name) OR glob_folder(?, name)"), (pattern, f"{pattern}/*")
        case Place("label", value):
            return "has_label(?, labels)", (_pattern(value),)
        case Place("tag", value):
            return "document IN (SELECT value FROM json_each(?))", (f"[{tagged(_pattern(value))}]",)
    raise TypeError(f"not a predicate on places: {type(node).__name__}")


def _between(column: str, start: int | None, end: int | None) -> tuple[str, tuple[object, ...]]:
    bounds = [(f"{column} >= ?", start), (f"{column} < ?", end)]
    asked = [(text, bound) for text, bound in bounds if bound is not None]
    return " AND ".join(text for text, _ in asked) or "TRUE", tuple(bound for _, bound in asked)


def _in_folders(where: str) -> str:
    """There are few folders and many places: names are compared once for each folder."""
    return f"folder IN (SELECT id FROM folder WHERE {where})"


def _pattern(value: str) -> str:
    return value.rstrip("/")


def _joined(word: str, compiled: Sequence[tuple[str, tuple[object, ...]]]) -> tuple[str, tuple[object, ...]]:
    where = word.join(text for text, _ in compiled)
    return f"({where})", tuple(parameter for _, parameters in compiled for parameter in parameters)
