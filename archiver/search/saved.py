"""Saved searches, `saved:NAME` in a query: the text of one stands there in parentheses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from archiver.errors import QueryError

DEPTH_LIMIT = 10
"""How deep one saved search may be in another."""


def problems(searches: Mapping[str, str]) -> Iterator[tuple[str, QueryError]]:
    """What is wrong with each of them; one that only uses a wrong one is not named."""
    from archiver.search.query import parse

    for name, text in searches.items():
        try:
            parse(text, now=datetime.now(), message=lambda id: b"", saved=searches, within=(name,))
        except QueryError as error:
            if error.query == text:
                yield name, error
