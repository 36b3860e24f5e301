"""Hits on a terminal, two lines each: what it is, and where it was found with the part of the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from archiver.cli.hits import excerpt
from archiver.cli.text import columns, moment, name_of, one_line, pad, printable
from archiver.search.snippet import Snippet, snippet, wanted

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.archive.passages import Passage
    from archiver.archive.reports import Results, Row, ThreadLine, ThreadRow

# Narrower than this, the sender stands in the second line and the date has no time.
_WIDE = 72
_SENDER = 20
_SHORTEST_EXCERPT = 20


def print_table(archive: Archive, results: Results, where: Callable[[Row], str]) -> None:
    """Print the rows on stdout; `where` names the folders of one."""
    if not results.rows:
        return
    console = _console()
    wide = console.width >= _WIDE
    digits = max(len(row.id) for row in results.rows)
    titles = ("id".ljust(digits), pad("date", 16 if wide else 10), pad("from", _SENDER) if wide else "")
    _print(console, Text("  ".join(filter(None, (*titles, "subject"))), style="bold"))
    passages = archive.passages([row.hit.key for row in results.rows], results.tree)
    for row, passage in zip(results.rows, passages, strict=True):
        _print(console, _first(row, results, digits, wide))
        _print(console, _second(passage, row, results, where(row), console.width, wide))


def _console() -> Console:
    """What a sender calls himself is no markup."""
    return Console(highlight=False, markup=False, emoji=False)


def _print(console: Console, line: Text) -> None:
    console.print(line, no_wrap=True, overflow="ellipsis")


def _first(row: Row, results: Results, digits: int, wide: bool) -> Text:
    """Id, date, sender, subject with what was found in it, bold while unread; + for attachments."""
    date = moment(row.hit.date)
    line = Text.assemble((row.id.ljust(digits), "cyan"), "  ", date if wide else date[:10], "  ")
    if wide:
        line.append(pad(_sender(row, _SENDER), _SENDER) + "  ")
    if row.hit.has_attachment:
        line.append("+ ", style="yellow")
    subject = snippet(row.hit.subject, wanted(results.tree, "subject"), 200)
    shown = _marked(subject) if subject.text else Text("(no subject)")
    if row.unread:
        shown.stylize("bold")
    return line.append_text(shown)


def _second(passage: Passage, row: Row, results: Results, where: str, width: int, wide: bool) -> Text:
    """The folders, in half of the columns at most, and why it was found in what is left."""
    about = printable(where) if wide else f"{_sender(row, _SENDER)}, {printable(where)}"
    line = Text(f"  {one_line(about, width // 2 - 4)}  ", style="dim")
    left = width - columns(line.plain)
    if left >= _SHORTEST_EXCERPT:
        line.append_text(_marked(excerpt(passage, results, left)))
    return line


def _sender(row: Row, width: int) -> str:
    return one_line(name_of(row.hit.sender), width)


def _marked(found: Snippet) -> Text:
    shown = Text(printable(found.text))
    for start, end in found.marks:
        shown.stylize("bold not dim yellow", start, end)
    return shown


def print_threads(rows: Sequence[ThreadRow]) -> None:
    """Conversations, a line each: the first message found, how many were, who wrote, the subject."""
    from archiver.cli.threads import names, numbers

    console = _console()
    wide = console.width >= _WIDE
    digits = max((len(each.row.id) for each in rows), default=0)
    room = max((len(numbers(each)) for each in rows), default=0)
    for each in rows:
        date = moment(each.row.hit.date)
        line = Text.assemble((each.row.id.ljust(digits), "cyan"), "  ", date if wide else date[:10], "  ")
        line.append(numbers(each).rjust(room) + "  ", style="dim")
        if wide:
            line.append(pad(names(each.senders, _SENDER), _SENDER) + "  ")
        line.append(one_line(each.row.hit.subject, 200) or "(no subject)", style="bold" * each.row.unread)
        _print(console, line)


def print_thread(lines: Sequence[ThreadLine]) -> None:
    """A conversation: every line with what draws the tree before its sender."""
    from archiver.cli.thread import NARROW_LEVELS, absent, drawn, marks, missing, subject

    console = _console()
    wide = console.width >= _WIDE
    digits = max(len(line.row.id) for line in lines if line.row)
    stems = drawn(lines) if wide else drawn(lines, NARROW_LEVELS)
    for line, stem in zip(lines, stems, strict=True):
        if line.row is None:
            blank = " " * (digits + (24 if wide else 13))
            _print(console, Text.assemble(blank, (stem, "dim"), (absent(line), "dim italic")))
            continue
        row, date = line.row, moment(line.row.hit.date)
        shown = Text.assemble((row.id.ljust(digits), "cyan"), "  ", date if wide else date[5:10], "  ")
        shown.append(marks(line), style="yellow").append(" ").append(stem, style="dim")
        shown.append(missing(line), style="dim italic")
        style = " ".join(filter(None, ("bold" * row.unread, "reverse" * line.asked)))
        shown.append(_sender(row, _SENDER), style=style)
        if about := subject(line, 200):
            shown.append(f"  {about}")
        if row.gone:
            shown.append("  (gone)", style="dim")
        _print(console, shown)
