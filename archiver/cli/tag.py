"""archiver tag"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from archiver.cli.app import Session, as_text
from archiver.cli.behind import behind_facts, say_behind
from archiver.cli.text import count
from archiver.errors import UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive

_CHANGES = "archiver.tag"


class _Command(click.Command):
    """Takes `+x` and `-y` before the query for tags, which click would take for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = 0
        changes: list[str] = []
        options: list[str] = []
        while at < len(args) and args[at] != "--" and args[at][:1] in ("+", "-"):
            (options if _is_option(args[at]) else changes).append(args[at])
            at += 1
            if options and options[-1] in ("--export", "--import") and at < len(args):
                options.append(args[at])
                at += 1
        ctx.meta[_CHANGES] = changes
        return super().parse_args(ctx, [*options, *args[at:]])


def _is_option(word: str) -> bool:
    return word.startswith("--") or word == "-h"


@click.command(
    cls=_Command,
    epilog="Exit codes: 0 done, also when nothing had to be changed, 1 tags cannot be read or written,"
    " 2 the query, a name or the usage is wrong.",
    options_metavar="[OPTIONS] [+TAG|-TAG]...",
)
@click.argument("query", nargs=-1, callback=as_text)
@click.option("--dry-run", is_flag=True, help="Say how many messages would change; change nothing.")
@click.option("--list", "listing", is_flag=True, help="Print every tag and how many messages have it.")
@click.option(
    "--export",
    "export",
    metavar="FILE",
    help="Write all tags as text, to a new file; - is the standard output.",
)
@click.option(
    "--import", "source", metavar="FILE", help="Change tags as such a text says; - is the standard input."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report for programs.")
@click.pass_context
def command(
    ctx: click.Context,
    query: tuple[str, ...],
    dry_run: bool,
    listing: bool,
    export: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """Give tags to every message a query finds, or take them away: archiver tag +project -todo QUERY

    A tag is yours: no server hears of it, and no rebuilding loses it. tag:NAME finds it. A query that
    begins with a minus goes after a double dash: archiver tag +old -- -date:2024..
    """
    session: Session = ctx.obj
    words = list(as_text(ctx, ctx.command.params[0], tuple(ctx.meta[_CHANGES])))
    if sum((listing, export is not None, source is not None, bool(words or query))) != 1:
        raise UsageError(
            "one thing at a time: +TAG or -TAG and a query, --list, --export or --import",
            hint="archiver tag --help says what there is",
        )
    archive = session.archive()
    if listing:
        _list(archive, as_json)
    elif export is not None:
        _export(archive, export)
    elif source is not None:
        _import(archive, source, dry_run, as_json)
    else:
        _tag(archive, words, " ".join(query), dry_run, as_json)


def _tag(archive: Archive, words: Sequence[str], query: str, dry_run: bool, as_json: bool) -> None:
    from archiver.store.tags import changes_in

    change = changes_in(" ".join(words))
    if " +" in f" {query}":
        raise UsageError(
            "tags stand before the query", hint="a + in quotes is one to look for: archiver tag +x '\"+1\"'"
        )
    if not words or not query:
        raise UsageError(
            f"{'no tag' if not words else 'no query'} is given",
            hint="as in: archiver tag +project subject:plan",
        )
    report = archive.tag(query, change, dry_run=dry_run)
    say_behind(report.behind)
    facts = {"matched": report.matched, "changed": report.changed, "dry_run": dry_run}
    would = "would change" if dry_run else "changed"
    text = f"{count(report.matched, 'message')} found, {report.changed:,} {would}"
    _print({**facts, **behind_facts(report.behind)}, text, as_json)


def _list(archive: Archive, as_json: bool) -> None:
    counts = archive.tag_counts()
    lines = [f"{number:>9,}  {name}" for name, number in counts.items()]
    _print(counts, "\n".join(lines), as_json)


def _export(archive: Archive, target: str) -> None:
    from archiver.cli.output import write_bytes
    from archiver.exchange.beside import insist_free, new_file

    if target != "-":
        insist_free(target)
    data = "".join(archive.export_tags()).encode()
    if target == "-":
        write_bytes(data)
        return
    with new_file(target) as descriptor, open(descriptor, "wb", closefd=False) as file:
        file.write(data)


def _import(archive: Archive, source: str, dry_run: bool, as_json: bool) -> None:
    report = archive.import_tags(_lines(source), source, dry_run=dry_run)
    would = "would change" if dry_run else "changed"
    unknown = f"; {report.unknown:,} of them not in the archive" if report.unknown else ""
    text = f"{count(report.messages, 'message')} read, {report.changed:,} {would}{unknown}"
    facts = {"messages": report.messages, "changed": report.changed, "unknown": report.unknown}
    _print({**facts, "dry_run": dry_run}, text, as_json)


def _lines(source: str) -> list[str]:
    try:
        if source == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig").splitlines()
        with open(source, encoding="utf-8-sig") as file:
            return file.read().split("\n")
    except OSError as exc:
        raise UsageError(f"cannot read {source}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{source} is not UTF-8 text (byte {exc.start})", hint="save it as UTF-8") from exc


def _print(facts: Any, text: str, as_json: bool) -> None:
    if as_json:
        from archiver.cli.output import print_json

        print_json(facts)
    elif text:
        print(text)
