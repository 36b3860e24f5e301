"""archiver stats"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from archiver.cli.app import Session, as_text
from archiver.cli.behind import behind_facts, say_behind
from archiver.cli.text import columns, count, moment, one_line, pad, size

if TYPE_CHECKING:
    from archiver.archive.reports import Person, Stats

TABLES = ("month", "sender", "folder", "list", "size")
Rows: TypeAlias = "list[tuple[str, int]]"

_EIGHTHS = " ▏▎▍▌▋▊▉"
_NAME = 40
_SHORTEST_BAR = 8


@click.command(epilog="Exit codes: 0 counted, 1 the index is damaged, 2 the query or the usage is wrong.")
@click.argument("query", nargs=-1, callback=as_text)
@click.option("--by", type=click.Choice(TABLES), help="Only this table.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    metavar="N",
    help="Rows of a table at most, the newest months and the most of all others; 0: all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def command(session: Session, query: tuple[str, ...], by: str | None, limit: int, as_json: bool) -> None:
    """Count what a query finds by month, sender, folder, mailing list and size; everything without one.

    A message in several folders counts in each. Mail that is gone from the server counts, too.
    """
    found = session.archive().stats(" ".join(query))
    say_behind(found.behind)
    if as_json:
        from archiver.cli.output import print_json

        print_json(_facts(found, by, limit))
        return
    if by is None:
        span = f", {moment(found.oldest)[:10]} to {moment(found.newest)[:10]}" if found.messages else ""
        print(f"{count(found.messages, 'message')}, {size(found.bytes)}{span}")
    for name in TABLES if by is None else (by,):
        _table(name, _rows(found, name), limit, by is None)


def _rows(found: Stats, table: str) -> Rows:
    """Names and counts, the most first; months and sizes in their own order."""
    if table == "month":
        return list(found.months.items())
    if table == "sender":
        return [(_named(each), each.count) for each in found.senders]
    if table == "folder":
        return list(found.folders.items())
    if table == "list":
        return [(each.address, each.count) for each in found.lists]
    return list(zip(_classes(), found.sizes, strict=True)) if found.messages else []


def _named(person: Person) -> str:
    if not person.name:
        return person.address
    return f"{person.name} <{person.address}>" if person.address else person.name


def _classes() -> Iterator[str]:
    """What the classes of sizes are called."""
    from archiver.archive.figures import SIZES

    for end in SIZES:
        yield f"less than {_short(end)}"
    yield f"{_short(SIZES[-1])} or more"


def _short(bytes_: int) -> str:
    return f"{bytes_ >> 20}M" if bytes_ >= 1 << 20 else f"{bytes_ >> 10}k"


def _shown(rows: Sequence[Any], table: str, limit: int) -> Sequence[Any]:
    """As many rows as may be: the newest months, the first of all others."""
    return rows if not limit or table == "size" else rows[-limit:] if table == "month" else rows[:limit]


def _table(table: str, rows: Rows, limit: int, titled: bool) -> None:
    if not rows:
        return
    shown = _shown(rows, table, limit)
    if titled:
        left = len(rows) - len(shown)
        more = f" ({left:,} more: --by {table} --limit 0)" if left else ""
        print(f"\nby {table}{more}")
    for line in _lines(shown):
        print(line)


def _lines(rows: Sequence[tuple[str, int]]) -> Iterator[str]:
    """A line each: count, name and, on a terminal, a bar."""
    most = max(number for _, number in rows)
    digits = len(f"{most:,}")
    names = [one_line(name, _NAME) if sys.stdout.isatty() else one_line(name, 1000) for name, _ in rows]
    longest = max(map(columns, names))
    room = os.get_terminal_size().columns - digits - longest - 4 if sys.stdout.isatty() else 0
    for (_, number), name in zip(rows, names, strict=True):
        bar = f"  {_bar(number / most, room)}" if room >= _SHORTEST_BAR else ""
        yield f"{number:>{digits},}  {pad(name, longest) if bar else name}{bar}".rstrip()


def _bar(part: float, room: int) -> str:
    full, eighth = divmod(round(part * room * 8), 8)
    return "█" * full + (_EIGHTHS[eighth] if eighth else "")


def _facts(found: Stats, by: str | None, limit: int) -> dict[str, Any]:
    tables: dict[str, Any] = {
        "month": [{"month": name, "count": number} for name, number in found.months.items()],
        "sender": _people(found.senders),
        "folder": [{"folder": name, "count": number} for name, number in found.folders.items()],
        "list": [{"list": each.address, "name": each.name, "count": each.count} for each in found.lists],
        "size": [{"size": name, "count": number} for name, number in _rows(found, "size")],
    }
    return {
        "messages": found.messages,
        "bytes": found.bytes,
        "oldest": found.oldest,
        "newest": found.newest,
        **behind_facts(found.behind),
        **{
            f"by_{name}": _shown(rows, name, limit)
            for name, rows in tables.items()
            if by is None or name == by
        },
    }


def _people(people: Iterable[Person]) -> list[dict[str, Any]]:
    return [{"address": each.address, "name": each.name, "count": each.count} for each in people]
