"""Saved searches, `saved:NAME` in a query: the text of one stands there in parentheses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from archiver.errors import QueryError

DEPTH_LIMIT = 10
"""How deep one saved search may be in another."""


def leads_back(name: str) -> str:
    """What is said of a search that needs itself."""
    return f"saved:{name} leads back to itself"


def problems(searches: Mapping[str, str]) -> Iterator[tuple[str, QueryError]]:
    """What is wrong with each of them; one that only uses a wrong one is not named, each of a loop is."""
    # By itself first: what is wrong with those it uses shall not hide what is wrong with it.
    good = dict.fromkeys(searches, "*")
    for name, text in searches.items():
        error = _wrong(text, good, ()) or _wrong(text, searches, (name,))
        if error and (error.query == text or error.message == leads_back(name)):
            yield name, error


def _wrong(text: str, searches: Mapping[str, str], within: tuple[str, ...]) -> QueryError | None:
    from archiver.search.query import parse

    try:
        parse(text, now=datetime.now(), message=lambda id: b"", saved=searches, within=within)
    except QueryError as error:
        return error
    return None
