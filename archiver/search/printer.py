"""A tree as the text of a query that means the same, and leaf by leaf in words.

`parse(query_text(tree))` is the tree again, but for stems, which a query cannot ask for by themselves, and
for ids, which are kept as hashes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from archiver.search.analysis import is_paired
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

_Shown: TypeAlias = Callable[[int], str]

_pairs = re.compile(r"\\.|/", re.DOTALL)
_FACTS = ("encrypted", "signed")


def query_text(node: Node) -> str:
    """A query that becomes this tree."""
    match node:
        case And(parts):
            return " ".join(_grouped(part) for part in parts)
        case Or(parts):
            return " OR ".join(_grouped(part) for part in parts)
        case Not(part):
            return f"-{_grouped(part)}"
        case SamePlace(tree):
            return query_text(tree)
    return _leaf(node)


def _grouped(node: Node) -> str:
    inner = node.tree if isinstance(node, SamePlace) else node
    return f"({query_text(inner)})" if isinstance(inner, And | Or) else query_text(inner)


def _leaf(node: Node) -> str:
    match node:
        case Word(field, term):
            return _in(field, f'"{term}"')
        case Phrase(field, terms):
            return _in(field, f'"{_joined(terms)}"')
        case Prefix(field, terms, prefix):
            return _in(field, f'"{_joined((*terms, prefix))}*"')
        case Glob(field, pattern):
            return _in(field, pattern)
        case Fuzzy(field, term, edits):
            return _in(field, f"{term}~{edits}")
        case Near(field, rows, distance, ordered):
            operator = f" {'ADJ' if ordered else 'NEAR'}/{distance} "
            row = operator.join(f'"{_joined(terms)}"' for terms in rows)
            return _in(field, f"({row})")
        case Regex(field, pattern):
            return f"{field}:/{_pairs.sub(_slash_escaped, pattern)}/"
    return _fact(node)


def _fact(node: Node) -> str:
    match node:
        case All():
            return "*"
        case Exact("has", term):
            return f"is:{term}" if term in _FACTS else f"has:{term}"
        case Exact(field, term):
            return f'{field}:"{term}"'
        case DateRange(start, end):
            return f"date:{_range(start, end, '@')}"
        case Received(start, end):
            return f"received:{_range(start, end, '@')}"
        case SizeRange(low, high):
            return f"size:{_range(low, high)}"
        case Thread(key, id):
            return f'thread:"{key.hex() or id}"'
        case Place(field, value):
            return f"is:{value}" if field == "is" else f'{field}:"{value}"'
    raise TypeError(f"not a leaf of a query: {type(node).__name__}")


def _joined(terms: Sequence[str]) -> str:
    """A text of these terms: in scripts without spaces, pairs of characters overlap."""
    text, before = "", " "
    for term in terms:
        goes_on = len(before) == 2 and term[0] == before[1] and is_paired(before)
        text += term[1:] if goes_on else f" {term}"
        before = term
    return text.strip()


def _in(field: str, text: str) -> str:
    return f"{field}:{text}" if field else text


def _slash_escaped(found: re.Match[str]) -> str:
    return r"\/" if found[0] == "/" else found[0]


def _range(start: int | None, end: int | None, sign: str = "") -> str:
    """Both ends belong to a range that is written, and it has one at least."""
    first = "" if start is None else f"{sign}{start}"
    last = "" if end is None else f"{sign}{end - 1}"
    return f"{first}..{last}"


def words(node: Node) -> str:
    """What a leaf asks for, for people."""
    match node:
        case Word(field, term) if term.startswith("="):
            return f"{_field(field)} has a word of the stem {term.partition(':')[2]}"
        case Word(field, term):
            return f"{_field(field)} has {term}"
        case Phrase(field, terms):
            return f"{_field(field)} has in a row {_joined(terms)}"
        case Prefix(field, terms, prefix):
            return f"{_field(field)} has {_joined((*terms, prefix))}..."
        case Glob(field, pattern):
            return f"{_field(field)} has a word like {pattern}"
        case Fuzzy(field, term, edits):
            return f"{_field(field)} has a word {edits} letter{'s' * (edits > 1)} from {term}, or nearer"
        case Near(field, rows, distance, ordered):
            row = (", then " if ordered else ", ").join(map(_joined, rows))
            return f"{_field(field)} has at most {distance} words apart {row}"
        case Regex(field, pattern):
            return f"{field} matches /{pattern}/"
    return _fact_words(node)


def _fact_words(node: Node) -> str:
    match node:
        case All():
            return "every message"
        case Exact("has", term):
            return f"is {term}" if term in _FACTS else f"has {term}"
        case Exact(field, term):
            return f"{field} is {term}"
        case DateRange(start, end):
            return f"dated {_span(start, end, _moment)}"
        case Received(start, end):
            return f"received {_span(start, end, _moment)}"
        case SizeRange(low, high):
            return f"bytes {_span(low, high, lambda size: f'{size:,}')}"
        case Thread():
            return "in the conversation"
        case Place("is", value):
            return f"is {value}"
        case Place(field, value):
            return f"{field} is {value}"
    raise TypeError(f"not a leaf of a query: {type(node).__name__}")


def _field(field: str) -> str:
    return field or "any text"


def _span(start: int | None, end: int | None, shown: _Shown) -> str:
    first = "" if start is None else f"from {shown(start)}"
    last = "" if end is None else f"before {shown(end)}"
    return " ".join(filter(None, (first, last))) or "any"


def _moment(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
