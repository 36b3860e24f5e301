"""The tree a query becomes: small, frozen, and all an engine has to understand.

Content leaves (Word, Phrase, Prefix, Glob, Fuzzy, Near) carry a field of `fields.CONTENT`, or "" for any of
`fields.ANYWHERE`.
Place predicates (Place) appear only inside SamePlace, which holds for a document when one of its
places satisfies the whole tree in it; that tree has And, Or, Place and Received only. Negation is the
complement on documents and never inside SamePlace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import msgspec


class Word(msgspec.Struct, frozen=True):
    """A document whose field has the term."""

    field: str
    term: str


class Phrase(msgspec.Struct, frozen=True):
    """A document whose field has the terms in a row; two terms at least."""

    field: str
    terms: tuple[str, ...]


class Prefix(msgspec.Struct, frozen=True):
    """A document whose field has the terms in a row and then a term that begins with `prefix`."""

    field: str
    terms: tuple[str, ...]
    prefix: str


class Glob(msgspec.Struct, frozen=True):
    """A document whose field has a term of this form; each `*` in it stands for any characters, or none."""

    field: str
    pattern: str


class Fuzzy(msgspec.Struct, frozen=True):
    """A document whose field has a term at most so many edits from this one.

    An edit is a letter more, less or another one, or two neighbours swapped; no letter is edited twice.
    """

    field: str
    term: str
    edits: int


class Near(msgspec.Struct, frozen=True):
    """A document that has rows of terms near each other in one field; two rows at least.

    Each row ends or begins at most `distance` terms from where its neighbour among `rows` begins or ends, and
    they do not overlap. `ordered`: they stand in the order of `rows`.
    """

    field: str
    rows: tuple[tuple[str, ...], ...]
    distance: int
    ordered: bool = False


class Regex(msgspec.Struct, frozen=True):
    """A document in which a regular expression matches what is shown of a field, in any case."""

    field: str
    pattern: str


class All(msgspec.Struct, frozen=True):
    """Every document."""


class DateRange(msgspec.Struct, frozen=True):
    """start <= date < end in Unix seconds; None is open."""

    start: int | None
    end: int | None


class SizeRange(msgspec.Struct, frozen=True):
    """low <= wire bytes < high; None is open."""

    low: int | None
    high: int | None


class Exact(msgspec.Struct, frozen=True):
    """A document that has this very term in a field of `fields.TERMS`, such as `attachment` in `has`."""

    field: str
    term: str


class Thread(msgspec.Struct, frozen=True):
    """A document of the conversation that the one with this key, or what has or names this id, belongs to.

    `id` is a term of the field `id`; just one of the two is given.
    """

    key: bytes = b""
    id: str = ""


class Place(msgspec.Struct, frozen=True):
    """A fact of one place: `field` is account, folder, label or is; `value` a glob or a flag's name."""

    field: str
    value: str


class Received(msgspec.Struct, frozen=True):
    """A fact of one place: start <= INTERNALDATE < end in Unix seconds; None is open."""

    start: int | None
    end: int | None


class SamePlace(msgspec.Struct, frozen=True):
    """A document with one place for which `tree` holds."""

    tree: Node


class Not(msgspec.Struct, frozen=True):
    """Every document but those of `part`."""

    part: Node


class And(msgspec.Struct, frozen=True):
    """The documents all parts have in common; two parts at least."""

    parts: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    """The documents of any part; two parts at least."""

    parts: tuple[Node, ...]


Content: TypeAlias = Word | Phrase | Prefix | Glob | Fuzzy | Near
Leaf: TypeAlias = Content | Regex | All | DateRange | SizeRange | Exact | Thread
Node: TypeAlias = Leaf | Place | Received | SamePlace | Not | And | Or


def both(parts: Iterable[Node]) -> Node:
    """All of the parts (one at least), flattened, their place predicates pulled into one SamePlace.

    `folder:A is:unread` asks for an unread copy in A, not for a copy in A and an unread one anywhere.
    """
    flat = list(_flatten(parts, And))
    places = [part.tree for part in flat if isinstance(part, SamePlace)]
    rest: list[Node] = [part for part in flat if not isinstance(part, SamePlace)]
    if places:
        rest.append(SamePlace(_joined(list(_flatten(places, And)), And)))
    return _joined(rest, And)


def either(parts: Iterable[Node]) -> Node:
    """Any of the parts (one at least), flattened; places only stay one question about places."""
    flat = list(_flatten(parts, Or))
    places = [part.tree for part in flat if isinstance(part, SamePlace)]
    if places and len(places) == len(flat):
        return SamePlace(_joined(list(_flatten(places, Or)), Or))
    return _joined(flat, Or)


def negated(part: Node) -> Node:
    """The complement; twice is nothing."""
    return part.part if isinstance(part, Not) else Not(part)


def content(node: Node) -> Iterator[Content]:
    """The content leaves that are asked for, not those under a negation, in the order of the query."""
    if isinstance(node, Content):
        yield node
    elif isinstance(node, And | Or):
        for part in node.parts:
            yield from content(part)


def _flatten(parts: Iterable[Node], kind: type[And] | type[Or]) -> Iterator[Node]:
    for part in parts:
        if isinstance(part, kind):
            yield from _flatten(part.parts, kind)
        else:
            yield part


def _joined(parts: list[Node], kind: Callable[[tuple[Node, ...]], Node]) -> Node:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))
