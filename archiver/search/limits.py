"""What a query may take: so that none, however it is written, holds up the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time
from typing import TYPE_CHECKING

from archiver.errors import TooCostlyError

if TYPE_CHECKING:
    from archiver.search.tree import Node

SECONDS = 2.0
"""Of computing, for finding; waiting for the disk does not count, nor what is done with what was found."""

TERMS = 200_000
"""Words that a pattern or a word with `~` may stand for, each counted once in every field and segment."""


class Limits:
    """What one query has taken so far."""

    def __init__(self, seconds: float = SECONDS, terms: int = TERMS) -> None:
        self._seconds = seconds
        self._terms = terms
        self._used = 0.0
        self._since: float | None = None
        self._counted: dict[Node, int] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time in here counts."""
        if self._since is not None:
            yield
            return
        self._since = thread_time()
        try:
            yield
        finally:
            self._used += thread_time() - self._since
            self._since = None

    def check(self) -> None:
        """TooCostlyError when the time is up. To be called every few milliseconds."""
        if self._since is not None and self._used + thread_time() - self._since > self._seconds:
            raise TooCostlyError(
                f"the query takes longer than {self._seconds:g} seconds",
                None,
                hint="narrow it, as with after:1y, a field, or longer words",
            )

    def count(self, leaf: Node, terms: int = 1) -> None:
        """TooCostlyError when the leaf stands for too many words."""
        counted = self._counted[leaf] = self._counted.get(leaf, 0) + terms
        if counted > self._terms:
            raise TooCostlyError(
                f"more than {self._terms:,} different words are like this",
                leaf,
                hint="write more of the word, or in which field it is",
            )
