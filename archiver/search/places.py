"""Facts of places, from the ledger: a tree of predicates as a condition on its table `place`.

One row is one place, so that predicates joined by AND hold for one and the same. Uses the columns folder,
flags, labels and gone, the table `folder`, and the functions `glob_folder(pattern, text)` and
`has_label(pattern, labels)`. Values travel as parameters only.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from archiver.search.tree import And, Node, Or, Place, SamePlace

if TYPE_CHECKING:
    from archiver.store.ledger import Ledger

_IS = {
    "unread": "instr(flags, 'S') = 0",
    "read": "instr(flags, 'S') > 0",
    "flagged": "instr(flags, 'F') > 0",
    "answered": "instr(flags, 'R') > 0",
    "draft": "instr(flags, 'D') > 0",
    "gone": "gone <> 0",
}


class LedgerPlaces:
    """`index.Places` of an open ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def ledger(self) -> str:
        return self._ledger.id

    def documents(self, tree: Node) -> AbstractSet[int]:
        return self._ledger.documents(*compile(tree))

    def numbers(self, keys: Sequence[bytes]) -> Sequence[int]:
        return self._ledger.numbers(keys)


def compile(node: Node) -> tuple[str, tuple[object, ...]]:
    """(where, parameters) of a SamePlace or of the tree inside one."""
    match node:
        case SamePlace(tree):
            return compile(tree)
        case And(parts):
            return _joined(" AND ", parts)
        case Or(parts):
            return _joined(" OR ", parts)
        case Place("is", value):
            return _IS[value], ()
        case Place("account", value):
            return _in_folders("glob_folder(?, account)"), (value,)
        case Place("folder", value):
            pattern = value.rstrip("/")
            return _in_folders("glob_folder(?, name) OR glob_folder(?, name)"), (pattern, f"{pattern}/*")
        case Place("label", value):
            return "has_label(?, labels)", (value.rstrip("/"),)
    raise TypeError(f"not a predicate on places: {type(node).__name__}")


def _in_folders(where: str) -> str:
    """There are few folders and many places: names are compared once for each folder."""
    return f"folder IN (SELECT id FROM folder WHERE {where})"


def _joined(word: str, parts: tuple[Node, ...]) -> tuple[str, tuple[object, ...]]:
    compiled = [compile(part) for part in parts]
    where = word.join(text for text, _ in compiled)
    return f"({where})", tuple(parameter for _, parameters in compiled for parameter in parameters)
