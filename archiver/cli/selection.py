"""Which messages a verb is about: ids, a query, ids from a file or from standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archiver.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive


def chosen(archive: Archive, ids: tuple[str, ...], query: str | None, file: str | None) -> list[bytes]:
    """Their keys, each once, in the order in which they were named; what a query finds comes oldest first."""
    keys = archive.resolve_all([*ids, *(_ids(file) if file is not None else ())])
    if query is not None:
        keys += archive.search_keys(query)
    return list(dict.fromkeys(keys))


def _ids(path: str) -> Iterator[str]:
    """The first word of each line that has one; `-` is standard input."""
    try:
        if path == "-":
            lines = sys.stdin.read().splitlines()
        else:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", hint="it should have an id in each line") from None
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    for line in lines:
        if words := line.split():
            yield words[0]
