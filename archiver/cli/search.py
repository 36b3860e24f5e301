"""archiver search"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from archiver.cli.app import Session, as_text, say
from archiver.cli.behind import behind_facts, say_behind
from archiver.cli.text import count, moment, one_line, pad, printable
from archiver.errors import UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.archive.reports import Results, Row
    from archiver.cli.template import Slot
    from archiver.search.fields import Field
    from archiver.search.index import Order

_SENDER = 30
_SUBJECT = 100
_SHAPES = ("table", "paths", "keys", "ids", "jsonl")


class _Command(click.Command):
    """Help that ends with the query language, from the table that drives the parser."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from archiver.search.fields import FIELDS, SYNTAX, values_text

        with formatter.section("Query language"):
            formatter.write_dl([_in_two(line) for line in SYNTAX.splitlines()])
        with formatter.section("Fields, by example"):
            formatter.write_dl(
                [(field.example, " ".join([field.description, *_also(field)])) for field in FIELDS]
            )
        with formatter.section("Their values"):
            for line in values_text():
                formatter.write_text(line)
        super().format_epilog(ctx, formatter)


def _in_two(line: str) -> tuple[str, str]:
    form, _, about = line.partition("  ")
    return form, about.strip()


def _also(field: Field) -> list[str]:
    return [f"(also {alias}:)" for alias in field.aliases]


def _as_shape(ctx: click.Context, parameter: click.Parameter, value: str) -> str | Sequence[str | Slot]:
    """The name of a shape, or a template."""
    if value in _SHAPES:
        return value
    if "{" not in value:
        raise click.BadParameter(
            f"{value!r} is none of {', '.join(_SHAPES)}, nor a template with a {{name}} in it", ctx, parameter
        )
    from archiver.cli.template import parse

    as_text(ctx, parameter, value)
    return parse(value)


@click.command(
    cls=_Command,
    epilog="Exit codes: 0 also without a hit, 1 the index is damaged, 2 the query or the usage is wrong.",
)
@click.argument("query", nargs=-1, required=True, callback=as_text)
@click.option(
    "--sort",
    type=click.Choice(["newest", "oldest", "relevance", "size", "sender"]),
    default="newest",
    show_default=True,
    help="What comes first: size is the largest, sender goes by address.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="How many to show at most.",
)
@click.option(
    "--offset",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="How many to leave out first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the hits for programs.")
@click.option(
    "--format",
    "shape",
    default="table",
    show_default=True,
    metavar="SHAPE",
    callback=_as_shape,
    help="A table for people; or a line each: paths (the file), keys (the whole key), ids, jsonl (an object);"
    " or as a template says: '{date} {from:20} {subject}'.",
)
@click.option(
    "--snippets", "with_snippets", is_flag=True, help="Show the part of the text that was found, too."
)
@click.option("--threads", is_flag=True, help="Print conversations, a line each, instead of messages.")
@click.option(
    "--explain",
    "explaining",
    is_flag=True,
    help="Show how the query is understood, and what each part finds.",
)
@click.pass_obj
def command(
    session: Session,
    query: tuple[str, ...],
    sort: Order,
    limit: int,
    offset: int,
    as_json: bool,
    shape: str | Sequence[str | Slot],
    with_snippets: bool,
    threads: bool,
    explaining: bool,
) -> None:
    """Find messages; the first column is the id that show, attachments and resend take.

    Mail that is gone from the server is found too, and marked. A + stands for attachments. A query that
    begins with a minus goes after a double dash: archiver search -- -is:read
    """
    archive = session.archive()
    if explaining:
        return _explain(archive, " ".join(query), as_json)
    if threads:
        from archiver.cli.threads import show_threads

        if shape != "table" or with_snippets:
            raise UsageError("--threads excludes --format and --snippets", hint="choose one")
        found = archive.search_threads(" ".join(query), order=sort, offset=offset, limit=limit)
        return show_threads(found, offset, as_json)
    if as_json and shape not in ("table", "jsonl"):
        raise UsageError(
            "--json excludes --format", hint="choose one; --format jsonl prints an object a line"
        )
    results = archive.search(" ".join(query), order=sort, offset=offset, limit=limit)
    say_behind(results.behind)
    if as_json or shape == "jsonl":
        _objects(archive, results, offset, with_snippets, as_json)
    elif shape in ("keys", "ids"):
        for row in results.rows:
            print(row.hit.key.hex() if shape == "keys" else row.id)
    elif shape == "paths":
        _paths(archive, results)
    elif shape == "table":
        _table(archive, results, with_snippets)
        say(_range(results, offset) + _why_empty(archive, results))
    else:
        _lines(archive, results, shape)


def _explain(archive: Archive, text: str, as_json: bool) -> None:
    """The tree of a query in words: how many messages each part finds, and at which character it stands."""
    lines = archive.explain(text)
    if as_json:
        from archiver.cli.output import print_json

        return print_json([msgspec.structs.asdict(line) for line in lines])
    for line in lines:
        at = "" if line.at is None else f"  at {line.at + 1}"
        print(f"{line.count:>10,}  {printable('  ' * line.depth + line.text)}{at}")


def _objects(archive: Archive, results: Results, offset: int, with_snippets: bool, whole: bool) -> None:
    """One object with all the hits, or one a line for each."""
    from archiver.cli.hits import excerpts, facts
    from archiver.cli.output import print_json, print_json_line

    found = excerpts(archive, results, with_snippets)
    hits = [facts(row, each) for row, each in zip(results.rows, found, strict=True)]
    if not whole:
        for hit in hits:
            print_json_line(hit)
        return
    total = {"total": results.total.count, "exact": results.total.exact, "offset": offset}
    print_json({**total, **behind_facts(results.behind), "hits": hits})


def _lines(archive: Archive, results: Results, shape: Sequence[str | Slot]) -> None:
    """A line for each hit, as a template says."""
    from archiver.cli.hits import excerpts
    from archiver.cli.template import Hit, render, wants

    found = excerpts(archive, results, wants(shape, "snippet"))
    for row, excerpt in zip(results.rows, found, strict=True):
        path = next(archive.paths([row.hit.key]), "") if wants(shape, "path") else ""
        print(render(shape, Hit(row, path, excerpt.text if excerpt else "")))


def _paths(archive: Archive, results: Results) -> None:
    from archiver.cli.output import print_path

    printed = 0
    for path in archive.paths([row.hit.key for row in results.rows]):
        print_path(path)
        printed += 1
    if lost := len(results.rows) - printed:
        say(f"{count(lost, 'message')} without a file: archiver verify says which")


def _where(row: Row) -> str:
    """The folders of a message, then its tags."""
    from archiver.cli.hits import folders

    return " ".join((folders(row), *(f"+{name}" for name in row.tags)))


def _range(results: Results, offset: int) -> str:
    """Which part of the hits is shown; after one of several pages whose number is estimated, more follow."""
    about = "" if results.total.exact else "about "
    total, last = about + count(results.total.count, "message"), offset + len(results.rows)
    if not results.rows and results.total.count:
        return f"nothing from {offset + 1:,} on; {total} in all"
    if about or last < results.total.count:
        return f"{offset + 1:,} to {last:,} of {total}; --offset {last} goes on"
    return f"{offset + 1:,} to {last:,} of {total}" if offset else total


def _why_empty(archive: Archive, results: Results) -> str:
    """A mistyped `archive:` looks like this, too."""
    if results.total.count:
        return ""
    with archive.ledger() as ledger:
        return "" if ledger.document_count() else "; the archive is empty, archiver sync fills it"


def _table(archive: Archive, results: Results, with_snippets: bool) -> None:
    if sys.stdout.isatty():
        from archiver.cli.table import print_table

        print_table(archive, results, _where)
        return
    from archiver.cli.hits import excerpts

    found = excerpts(archive, results, with_snippets)
    for row, excerpt in zip(results.rows, found, strict=True):
        mark = "+" if row.hit.has_attachment else " "
        sender, subject = one_line(row.hit.sender, _SENDER), one_line(row.hit.subject, _SUBJECT)
        places = printable(_where(row))
        print(f"{row.id}  {moment(row.hit.date)} {mark} {pad(sender, _SENDER)}  {subject}  [{places}]")
        if excerpt and excerpt.text:
            print(f"{'':{len(row.id)}}  {printable(excerpt.text)}")
