"""A hit for programs: one object, the same in `--json`, `--format jsonl` and, by name, in templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archiver.cli.text import columns, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from archiver.archive import Archive
    from archiver.archive.passages import Passage
    from archiver.archive.reports import Results, Row
    from archiver.search.snippet import Snippet
    from archiver.store.records import Spot

SNIPPET_WIDTH = 160
"""Columns of a snippet where no terminal says how many there are."""


def facts(row: Row, found: Snippet | None = None) -> dict[str, Any]:
    """With `found` also the part of the text that matched: offsets are of its characters."""
    shown = {} if found is None else {"snippet": {"text": found.text, "marks": found.marks}}
    return {
        "id": row.id,
        "key": row.hit.key.hex(),
        "date": row.hit.date,
        "size": row.hit.size,
        "from": row.hit.sender,
        "subject": row.hit.subject,
        "attachment": row.hit.has_attachment,
        "tags": row.tags,
        "places": [_place(spot) for spot in row.spots],
        **shown,
    }


def _place(spot: Spot) -> dict[str, Any]:
    """`gone` is null, or when it was found gone (Unix seconds)."""
    return {
        "account": spot.account,
        "folder": spot.folder,
        "flags": spot.flags,
        "labels": spot.label_names,
        "gone": spot.gone or None,
        "received": spot.received,
    }


def folders(row: Row) -> str:
    """The folders of a message, each once, those it is gone from marked."""
    names = {f"{s.account}/{s.folder}{' (gone)' if s.gone else ''}": None for s in row.spots}
    return ", ".join(names)


def excerpts(archive: Archive, results: Results, wanted: bool) -> Iterator[Snippet | None]:
    """Of each row, where it is wanted, the part of the text that was found, or the text's beginning."""
    if not wanted:
        yield from (None for _ in results.rows)
        return
    for passage in archive.passages([row.hit.key for row in results.rows], results.tree):
        yield excerpt(passage, results, SNIPPET_WIDTH)


def excerpt(passage: Passage, results: Results, width: int) -> Snippet:
    """The part of a passage that was found in so many columns, after the name of the file it is from."""
    from archiver.search.snippet import Snippet, snippet, wanted

    name = one_line(passage.name, width // 3)
    head = f"{name}: " if name else ""
    found = snippet(passage.text, wanted(results.tree, passage.field), width - columns(head))
    marks = tuple((start + len(head), end + len(head)) for start, end in found.marks)
    return Snippet(head + found.text, marks)
