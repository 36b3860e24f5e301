"""The value of a field of facts to the leaf of the tree that asks for it. BadValue when it is none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from archiver.search import values
from archiver.search.fields import CHOICES, SYNONYMS, Field
from archiver.search.ids import id_term
from archiver.search.tokens import nearest
from archiver.search.tree import DateRange, Exact, Node, Place, Received, SamePlace, SizeRange


def _date(field: Field, text: str, now: datetime) -> Node:
    if field.name == "received":
        return SamePlace(Received(*values.date_range(text, now)))
    if field.name == "before":
        return DateRange(None, values.span(text, now)[0])
    if field.name == "after":
        return DateRange(values.span(text, now)[0], None)
    return DateRange(*values.date_range(text, now))


def _age(field: Field, text: str, now: datetime) -> Node:
    day = values.age(text, now)
    return DateRange(None, day) if field.name == "older_than" else DateRange(day, None)


def _size(field: Field, text: str, now: datetime) -> Node:
    if field.name == "size":
        return SizeRange(*values.size_range(text))
    size = values.size(text)
    return SizeRange(size + 1, None) if field.name == "larger" else SizeRange(None, size)


def _name(field: Field, text: str, now: datetime) -> Node:
    if not text.strip("/ "):
        raise values.BadValue("names nothing")
    return SamePlace(Place(field.name, text.lstrip("/") if field.name == "folder" else text))


def _choice(field: Field, text: str, now: datetime) -> Node:
    name, value = SYNONYMS.get((field.name, text.lower()), (field.name, text.lower()))
    if row := CHOICES.get((name, value)):
        return SamePlace(Place(row.name, value)) if row.kind == "place" else Exact("has", value)
    values_ = [word for name, word in CHOICES if name == field.name]
    near = nearest(value, values_)
    raise values.BadValue(f"is unknown: did you mean {near}?" if near else f"is none of {', '.join(values_)}")


def _term(field: Field, text: str, now: datetime) -> Node:
    wanted = _id(text) if field.name == "id" else _type(text)
    if not wanted:
        raise values.BadValue("names nothing")
    return Exact(field.name, wanted)


def _id(text: str) -> str:
    bare = text.strip().strip("<>").strip()
    return bare and id_term(bare)


def _type(text: str) -> str:
    """The main type alone for `image/*`."""
    wanted = text.strip().lower().removesuffix("/*")
    if "*" in wanted:
        raise values.BadValue("has a * elsewhere than in image/*", text.index("*"))
    return wanted


LEAVES: dict[str, Callable[[Field, str, datetime], Node]] = {
    "age": _age,
    "date": _date,
    "term": _term,
    "size": _size,
    "name": _name,
    "choice": _choice,
}
"""By what a field takes."""
