"""archiver search"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from archiver.cli.app import Session, say
from archiver.cli.text import count, moment, one_line, printable

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.archive.reports import Results, Row
    from archiver.search.index import Order
    from archiver.store.records import Spot


class _Command(click.Command):
    """Help that ends with the query language, from the table that drives the parser."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from archiver.search.fields import help_text

        formatter.write("\nQuery language:\n\n")
        for line in help_text().splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")


@click.command(cls=_Command)
@click.argument("query", nargs=-1, required=True)
@click.option(
    "--sort", type=click.Choice(["newest", "oldest", "relevance"]), default="newest", show_default=True
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print hits for programs.")
@click.option(
    "--format", "shape", type=click.Choice(["table", "paths", "keys"]), default="table", show_default=True
)
@click.pass_obj
def command(
    session: Session, query: tuple[str, ...], sort: Order, limit: int, offset: int, as_json: bool, shape: str
) -> None:
    """Find messages; the first column is the id that show, attachments and resend take.

    A query that begins with a minus goes after a double dash: archiver search -- -is:read
    """
    archive = session.archive()
    results = archive.search(" ".join(query), order=sort, offset=offset, limit=limit)
    if results.pending:
        say(f"{count(results.pending, 'message')} not indexed yet: archiver sync or reindex does it")
    if as_json:
        from archiver.cli.output import print_json

        print_json(_facts(results, offset))
    elif shape == "keys":
        for row in results.rows:
            print(row.hit.key.hex())
    elif shape == "paths":
        for path in archive.paths([row.hit.key for row in results.rows]):
            print(path)
    else:
        _table(archive, results, offset)


def _facts(results: Results, offset: int) -> dict[str, Any]:
    return {
        "total": results.total,
        "offset": offset,
        "hits": [
            {
                "id": row.id,
                "key": row.hit.key.hex(),
                "date": row.hit.date,
                "size": row.hit.size,
                "from": row.hit.sender,
                "subject": row.hit.subject,
                "attachment": row.hit.has_attachment,
                "places": [place_facts(spot) for spot in row.spots],
            }
            for row in results.rows
        ],
    }


def place_facts(spot: Spot) -> dict[str, Any]:
    """A place for `--json`; `gone` is null, or when it was found gone (Unix seconds)."""
    return {
        "account": spot.account,
        "folder": spot.folder,
        "flags": spot.flags,
        "gone": spot.gone or None,
        "received": spot.received,
    }


def where(row: Row) -> str:
    """The folders of a message, each once; those it is gone from marked."""
    names = {f"{s.account}/{s.folder}{' (gone)' if s.gone else ''}": None for s in row.spots}
    return ", ".join(names)


def _table(archive: Archive, results: Results, offset: int) -> None:
    if sys.stdout.isatty():
        _rich_table(archive, results)
    else:
        for row in results.rows:
            mark = "+" if row.hit.has_attachment else " "
            sender, subject = one_line(row.hit.sender, 30), one_line(row.hit.subject, 100)
            print(
                f"{row.id}  {moment(row.hit.date)} {mark} {sender:<30}  {subject}  [{printable(where(row))}]"
            )
    last = offset + len(results.rows)
    if results.rows and (last < results.total or offset):
        say(f"{offset + 1:,} to {last:,} of {count(results.total, 'message')}; --offset {last} goes on")
    else:
        say(count(results.total, "message"))


def _rich_table(archive: Archive, results: Results) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True, style="cyan")
    table.add_column("date", no_wrap=True)
    table.add_column("from", max_width=28, no_wrap=True, overflow="ellipsis")
    table.add_column("subject", ratio=1)
    for row in results.rows:
        unread = any(not spot.gone and "S" not in spot.flags for spot in row.spots)
        subject = Text(one_line(row.hit.subject, 200) or "(no subject)", style="bold" if unread else "")
        if row.hit.has_attachment:
            subject.append(" +", style="yellow")
        subject.append(f"  {printable(where(row))}", style="dim")
        excerpt = _excerpt(archive, row, results)
        if excerpt:
            subject.append("\n").append_text(excerpt)
        table.add_row(row.id, moment(row.hit.date), one_line(row.hit.sender, 60), subject)
    if results.rows:
        Console(highlight=False).print(table)


def _excerpt(archive: Archive, row: Row, results: Results) -> Any:
    """The part of the text that shows why it was found, matches marked; None when it cannot be read."""
    from rich.text import Text

    from archiver.errors import ArchiverError
    from archiver.search.snippet import snippet

    try:
        text = archive.message(row.hit.key).text
    except ArchiverError:
        return None
    cut, spans = snippet(text, results.tree, 160)
    shown = Text(printable(cut), style="dim")
    for start, end in spans:
        shown.stylize("bold not dim", start, end)
    return shown if cut.strip() else None
