"""The plain evaluation: one document at a time, no index. What every engine is compared with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache
from itertools import pairwise, product
from typing import cast

import msgspec

from archiver.search import analysis
from archiver.search.ids import id_term
from archiver.search.index import Document
from archiver.search.regex import compiled
from archiver.search.threads import Link, groups
from archiver.search.tree import (
    All,
    And,
    DateRange,
    Exact,
    Fuzzy,
    Glob,
    Near,
    Node,
    Not,
    Or,
    Phrase,
    Place,
    Prefix,
    Received,
    Regex,
    SamePlace,
    SizeRange,
    Thread,
    Word,
)

_ANYWHERE = ("from", "to", "cc", "subject", "body", "attachment", "filename")
Places = Callable[[Node], AbstractSet[bytes]]


def found(tree: Node, documents: Iterable[Document], places: Places) -> list[Document]:
    """The documents for which the tree holds, newest first."""
    documents = list(documents)
    tree = _resolved(tree, documents)
    matching = [document for document in documents if holds(tree, document, places)]
    return sorted(matching, key=lambda document: (document.date, document.key), reverse=True)


def in_order(documents: Iterable[Document], order: str) -> list[Document]:
    """Documents, newest first, by their size or the first address they are from."""
    if order == "size":
        return sorted(documents, key=lambda document: document.size, reverse=True)
    if order == "sender":
        return sorted(documents, key=lambda document: min(_senders(document), default="\uffff"))
    return list(documents)[:: -1 if order == "oldest" else 1]


def _senders(document: Document) -> list[str]:
    return [each.rpartition("<")[2].rstrip(">").lower() for each in document.from_]


def people(documents: Iterable[Document], field: str) -> Counter[tuple[str, str]]:
    """How many documents have each address and name in a field."""
    return Counter(
        each
        for document in documents
        for each in {
            (address.rstrip(">").lower(), " ".join(name.split()))
            for name, _, address in (shown.rpartition("<") for shown in getattr(document, field))
        }
    )


class _Among(msgspec.Struct, frozen=True):
    """A conversation, by the keys of its documents."""

    keys: frozenset[bytes]


def _resolved(node: Node, documents: Sequence[Document]) -> Node:
    """The tree with what each conversation in it is."""
    match node:
        case Thread(key, id):
            links = [Link(d.key, d.date, d.id, d.refers, d.topic, d.is_reply) for d in documents]
            for group in groups(links):
                if any(each.key == key or id in map(id_term, (each.own, *each.refers)) for each in group):
                    return cast("Node", _Among(frozenset(each.key for each in group)))
            return cast("Node", _Among(frozenset()))
        case And(parts):
            return And(tuple(_resolved(part, documents) for part in parts))
        case Or(parts):
            return Or(tuple(_resolved(part, documents) for part in parts))
        case Not(part):
            return Not(_resolved(part, documents))
    return node


def holds(node: Node, document: Document, places: Places) -> bool:
    if isinstance(node, _Among):
        return document.key in node.keys
    match node:
        case And(parts):
            return all(holds(part, document, places) for part in parts)
        case Or(parts):
            return any(holds(part, document, places) for part in parts)
        case Not(part):
            return not holds(part, document, places)
        case DateRange(start, end):
            return (start is None or start <= document.date) and (end is None or document.date < end)
        case SizeRange(low, high):
            return (low is None or low <= document.size) and (high is None or document.size < high)
        case Exact(field, term):
            return term in _exact(document, field)
        case SamePlace():
            return document.key in places(node)
        case All():
            return True
        case Glob(field, pattern):
            fits = re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL).fullmatch
            return any(fits(term) for listed in _listed(document, field) for term in listed)
        case Fuzzy(field, term, edits):
            return any(
                edited(term, other) <= edits for listed in _listed(document, field) for other in listed
            )
        case Near(field, rows, distance, ordered):
            names = (field,) if field else _ANYWHERE
            return any(_near(_joined(document, name), rows, distance, ordered) for name in names)
        case Regex(field, pattern):
            return compiled(pattern).search(_shown(document, field).encode()) is not None
        case Word(field, term):
            return any(term in listed for listed in _listed(document, field))
        case Phrase(field, row):
            return any(_row(listed, row, None) for listed in _listed(document, field))
        case Prefix(field, row, prefix):
            return any(_row(listed, row, prefix) for listed in _listed(document, field))
    raise TypeError(node)


def _exact(document: Document, field: str) -> set[str]:
    """The terms of a field that are asked for as a whole."""
    facts = {"attachment": "has_attachment", "encrypted": "is_encrypted", "signed": "is_signed"}
    values: dict[str, set[str]] = {
        "has": {fact for fact, attribute in facts.items() if getattr(document, attribute)}
        | {
            kind
            for kind, end in (("pdf", ".pdf"), ("image", ".png"))
            if any(name.endswith(end) for name in document.filenames)
        }
        | ({"calendar"} if document.has_calendar else set()),
        "mimetype": {part for each in document.mimetypes for part in (each, each.partition("/")[0])},
        "id": {id_term(document.id)} if document.id else set(),
        "refers": set(map(id_term, document.refers)),
        "topic": {id_term(document.topic)} if document.topic else set(),
    }
    return values[field]


def _listed(document: Document, field: str) -> list[list[str]]:
    """The terms of each value of a field, or of all that a word without a field is looked for in."""
    values: dict[str, Sequence[str]] = {
        "from": document.from_,
        "to": document.to,
        "cc": document.cc,
        "bcc": document.bcc,
        "list": document.lists,
        "attachment": document.attachments,
        "subject": (document.subject,),
        "body": (document.body,),
        "filename": document.filenames,
    }
    return [terms(value) for name in ((field,) if field else _ANYWHERE) for value in values[name]]


def _joined(document: Document, field: str) -> list[str]:
    """The terms of all values of a field by their positions, between the values a gap."""
    return [term for listed in _listed(document, field) for term in (*listed, "")]


def _near(listed: list[str], rows: Sequence[Sequence[str]], distance: int, ordered: bool) -> bool:
    spots = [
        [(at, at + len(row)) for at in range(len(listed)) if tuple(listed[at : at + len(row)]) == tuple(row)]
        for row in rows
    ]
    return any(
        all(
            1 <= second[0] - first[1] + 1 <= distance
            or (not ordered and 1 <= first[0] - second[1] + 1 <= distance)
            for first, second in pairwise(chosen)
        )
        for chosen in product(*spots)
    )


terms = lru_cache(1 << 14)(analysis.terms)


@cache
def edited(word: str, other: str) -> int:
    """How many edits two words are apart, as the definition has it."""

    @cache
    def apart(at: int, to: int) -> int:
        if not at or not to:
            return at + to
        best = min(apart(at - 1, to) + 1, apart(at, to - 1) + 1)
        best = min(best, apart(at - 1, to - 1) + (word[at - 1] != other[to - 1]))
        if at > 1 and to > 1 and word[at - 1] == other[to - 2] and word[at - 2] == other[to - 1]:
            best = min(best, apart(at - 2, to - 2) + 1)
        return best

    return apart(len(word), len(other))


def _shown(document: Document, field: str) -> str:
    """What a regular expression looks at."""
    values: dict[str, Sequence[str]] = {
        "from": document.from_,
        "to": document.to,
        "cc": document.cc,
        "bcc": document.bcc,
        "subject": (document.subject,),
        "filename": document.filenames,
        "list": document.lists,
    }
    return ", ".join(values[field]).replace("\n", " ")


def _row(listed: list[str], row: Sequence[str], prefix: str | None) -> bool:
    for at in range(len(listed)):
        end = at + len(row)
        if tuple(listed[at:end]) == tuple(row):
            if prefix is None:
                return True
            if end < len(listed) and listed[end].startswith(prefix):
                return True
    return False


def received(place: tuple[str, str]) -> int:
    """The INTERNALDATE of a place, made up."""
    return 1_700_000_000 + 86_400 * len(place[0] + place[1])


def same_place(tree: Node, place: tuple[str, str]) -> bool:
    """Whether a place, (folder, is), has what a tree of places asks for; names are compared as they are."""
    match tree:
        case SamePlace(inner):
            return same_place(inner, place)
        case And(parts):
            return all(same_place(part, place) for part in parts)
        case Or(parts):
            return any(same_place(part, place) for part in parts)
        case Place("folder", value):
            return place[0] == value
        case Place("is", value):
            return place[1] == value
        case Received(start, end):
            day = received(place)
            return (start is None or start <= day) and (end is None or day < end)
    raise TypeError(tree)
