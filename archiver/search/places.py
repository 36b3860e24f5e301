"""A tree of place predicates as a condition for `Ledger.keys`: one row is one place.

Uses the columns account, folder, flags, labels and gone, and the functions `glob_folder(pattern, text)` and
`has_label(pattern, labels)`.
Values travel as parameters only.
"""

from __future__ import annotations

from archiver.search.tree import And, Node, Or, Place, SamePlace

_IS = {
    "unread": "instr(flags, 'S') = 0",
    "read": "instr(flags, 'S') > 0",
    "flagged": "instr(flags, 'F') > 0",
    "answered": "instr(flags, 'R') > 0",
    "draft": "instr(flags, 'D') > 0",
    "gone": "gone <> 0",
}


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
            return "glob_folder(?, account)", (value,)
        case Place("folder", value):
            pattern = value.rstrip("/")
            return "(glob_folder(?, folder) OR glob_folder(?, folder))", (pattern, f"{pattern}/*")
        case Place("label", value):
            return "has_label(?, labels)", (value.rstrip("/"),)
    raise TypeError(f"not a predicate on places: {type(node).__name__}")


def _joined(word: str, parts: tuple[Node, ...]) -> tuple[str, tuple[object, ...]]:
    compiled = [compile(part) for part in parts]
    where = word.join(text for text, _ in compiled)
    return f"({where})", tuple(parameter for _, parameters in compiled for parameter in parameters)
