"""What archiver search --threads prints: a line for each conversation."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from archiver.cli.app import say
from archiver.cli.behind import behind_facts, say_behind
from archiver.cli.hits import facts
from archiver.cli.text import count, moment, name_of, one_line, pad

if TYPE_CHECKING:
    from archiver.archive.reports import ThreadResults, ThreadRow

_SENDERS = 30
_SUBJECT = 100


def show_threads(results: ThreadResults, offset: int, as_json: bool) -> None:
    """Print a page; its notices too."""
    say_behind(results.behind)
    if as_json:
        from archiver.cli.output import print_json

        print_json(_facts(results, offset))
        return
    if sys.stdout.isatty():
        from archiver.cli.table import print_threads

        print_threads(results.rows)
    else:
        for each in results.rows:
            subject = one_line(each.row.hit.subject, _SUBJECT)
            who = pad(names(each.senders, _SENDERS), _SENDERS)
            print(f"{each.row.id}  {moment(each.row.hit.date)} {numbers(each):>8} {who}  {subject}".rstrip())
    say(_range(results, offset))


def numbers(row: ThreadRow) -> str:
    """`2/5`: messages found, of all; `5` when they are the same."""
    return f"{row.messages:,}" if row.matched == row.messages else f"{row.matched:,}/{row.messages:,}"


def names(senders: Iterable[str], width: int) -> str:
    """Who wrote, by name or, where there is none, address; first names where there are several."""
    known = [*map(name_of, senders)]
    if len(known) > 1:
        known = [name.split()[0] if "@" not in name and name.split() else name for name in known]
    return one_line(", ".join(dict.fromkeys(known)), width)


def _range(results: ThreadResults, offset: int) -> str:
    last = offset + len(results.rows)
    shown = f"{offset + 1:,} to {last:,}"
    if results.more:
        return f"conversations {shown}; --offset {last} goes on"
    if results.rows:
        return f"{shown} of {count(last, 'conversation')}" if offset else count(last, "conversation")
    return f"nothing from {offset + 1:,} on" if offset else count(0, "conversation")


def _facts(results: ThreadResults, offset: int) -> dict[str, object]:
    return {
        "offset": offset,
        "more": results.more,
        **behind_facts(results.behind),
        "threads": [
            {
                "matched": each.matched,
                "messages": each.messages,
                "senders": each.senders,
                "hit": facts(each.row),
            }
            for each in results.rows
        ],
    }
